"""The rows of actors, their roles, and proposals to change them."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from store import actor_proposals, actors
from store.actor_proposals import Change
from store.errors import StorageError
from store.records import ActorRecord, RoleRecord

if TYPE_CHECKING:
    from tests.store.conftest import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def add(store: "Store", name: str, *serials: int) -> int:
    made: ActorRecord = await store.write(actors.add, name=name, now=NOW, by="user:7")
    for serial in serials:
        await store.write(
            actors.add_certificate, actor=made.id, authority=1, serial=serial, now=NOW, by="user:7"
        )
    return made.id


async def give(store: "Store", actor: int, role: str, everywhere: bool = False) -> None:
    await store.write(
        actors.add_role,
        actor=actor,
        role=role,
        office=None,
        organization=None,
        everywhere=everywhere,
        now=NOW,
        by="user:7",
    )


async def test_both_ways(store: "Store") -> None:
    station, kiosk = await add(store, "station", 5, 6), await add(store, "kiosk", 7)
    await give(store, station, "ra")
    role = RoleRecord(1, "ra", None, None, False, NOW, "user:7")
    found = ActorRecord(station, "station", None, 2, NOW, "user:7", (role,))
    assert await store.read(actors.with_certificate, 1, 5) == found
    assert await store.read(actors.with_name, "station") == found
    assert await store.read(actors.with_certificate, 2, 5) is None
    assert await store.read(actors.with_certificate, 1, 8) is None
    assert [one.id for one in await store.read(actors.page, 99, 9)] == [kiosk, station]
    assert await store.read(actors.page, station, 9) == []
    assert (found.has_role("ra"), found.has_role("plant")) == (True, False)


@pytest.mark.parametrize(("name", "serial"), [("station", 9), ("other", 5)])
async def test_names_and_certificates_are_of_one_actor(store: "Store", name: str, serial: int) -> None:
    await add(store, "station", 5)
    with pytest.raises(StorageError, match="UNIQUE"):
        await add(store, name, serial)


async def test_certificates_leave_together_and_may_come_back(store: "Store") -> None:
    station = await add(store, "station", 5, 6)
    assert await store.write(actors.remove_certificates, station, NOW + HOUR, "user:8") == 2
    assert await store.write(actors.remove_certificates, station, NOW + HOUR, "user:8") == 0
    assert await store.read(actors.with_certificate, 1, 5) is None
    removed = (await store.read(actors.certificates, station, 9))[-1]
    assert (removed.serial, removed.removed_at, removed.removed_by) == (5, NOW + HOUR, "user:8")
    await store.write(actors.add_certificate, actor=station, authority=1, serial=5, now=NOW, by="user:7")
    assert (await store.read(actors.with_certificate, 1, 5)).version == 5


async def test_roles_end_and_are_counted(store: "Store") -> None:
    ann, bat = await add(store, "ann"), await add(store, "bat")
    for actor in (ann, bat):
        await give(store, actor, "administrator")
    await give(store, ann, "registrar", everywhere=True)
    with pytest.raises(StorageError, match="UNIQUE"):
        await give(store, ann, "registrar", everywhere=True)
    assert await store.read(actors.count_with_role, "administrator") == 2
    (first, second) = await store.read(actors.roles, ann)
    assert (first.role, second.role, second.everywhere) == ("administrator", "registrar", True)
    await store.write(actors.end_role, first.id, NOW, "user:8")
    assert await store.read(actors.roles, ann) == (second,)
    assert await store.read(actors.count_with_role, "administrator") == 1
    await give(store, ann, "administrator")


async def test_a_proposal_is_decided_once(store: "Store") -> None:
    ann = await add(store, "ann")
    change = Change("certificate", authority=1, serial=5)
    made = await store.write(actor_proposals.add, actor=ann, change=change, version=3, now=NOW, by="user:7")
    assert (made.change, made.version, made.state) == (change, 3, "waiting")
    assert await store.read(actor_proposals.count_waiting) == 1
    assert await store.write(actor_proposals.decide, made.id, "done", NOW + HOUR, "user:8")
    assert not await store.write(actor_proposals.decide, made.id, "refused", NOW + HOUR, "user:9")
    found = await store.read(actor_proposals.get, made.id)
    assert (found.state, found.decided_at, found.decided_by) == ("done", NOW + HOUR, "user:8")
    assert await store.read(actor_proposals.page, "waiting", 99, 9) == []
    assert await store.read(actor_proposals.page, None, 99, 9) == [found]
