"""The rows of enrolments that await approval, and of actors, on a real database."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from store import authorities, enrollments, issuances
from store.database import Database, Transaction
from store.enrollments import STATES, Application, Waiting
from store.errors import StorageError
from store.records import EnrollmentRecord

Result = TypeVar("Result")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
APPLICATION = Application(1, "device", "CN=a", ("dns:a", "dns:b"), None, bytes(32), "credential:one")


class Store:
    """A database with the authority `root` (1)."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path)

    async def write(self, function: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        return await self.database.write(lambda tx: function(tx, *arguments, **named))

    async def read(self, function: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        return await self.database.read(lambda tx: function(tx, *arguments, **named))

    async def add(self, application: Application = APPLICATION, hours: int = 1) -> EnrollmentRecord:
        return await self.write(enrollments.add, application, NOW, NOW + hours * HOUR)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "test.db")
    await opened.write(authorities.add_authority, "root", None, "ca-root")
    yield opened
    opened.database.close()


async def test_enrolments_both_ways(store: Store) -> None:
    added = await store.add()
    assert added == EnrollmentRecord(
        1,
        *(1, "device", "CN=a", ("dns:a", "dns:b"), None, bytes(32), "credential:one"),
        *(NOW, NOW + HOUR, "waiting"),
    )
    assert await store.read(enrollments.get, 1) == added
    await store.write(enrollments.decide, 1, "refused", "user:7", NOW, "no such gate")
    decided = {"decided_by": "user:7", "decided_at": NOW, "reason": "no such gate"}
    assert await store.read(enrollments.get, 1) == replace(added, state="refused", **decided)
    assert await store.read(enrollments.get, 2) is None


@pytest.mark.parametrize(
    "change",
    [
        {"profile": "tls-server"},
        {"subject": "CN=b"},
        {"san": ("dns:a",)},
        {"limit_mnt": 5},
        {"spki_sha256": b"\1" * 32},
        {"asked_by": "credential:two"},
    ],
    ids=str,
)
async def test_the_same_application_is_found_and_no_other(store: Store, change: dict[str, Any]) -> None:
    await store.add()
    newest = await store.add()
    assert await store.read(enrollments.latest, APPLICATION) == newest
    assert await store.read(enrollments.latest, replace(APPLICATION, **change)) is None


async def test_what_is_open_runs_out(store: Store) -> None:
    for hours, asked_by in ((1, "credential:one"), (2, "credential:two"), (3, "credential:one")):
        await store.add(replace(APPLICATION, asked_by=asked_by), hours)
    await store.write(enrollments.decide, 2, "approved", "user:7", NOW, None)
    await store.add(hours=4)
    await store.write(enrollments.decide, 4, "refused", "user:7", NOW, "no")
    for passed, open_ones, of_one in ((0, 3, 2), (1, 2, 1), (2, 1, 1), (3, 0, 0)):
        moment = NOW + passed * HOUR
        assert await store.read(enrollments.count_open, moment) == open_ones
        assert await store.read(enrollments.count_open, moment, "credential:one") == of_one
    assert await store.read(enrollments.waiting, NOW) == Waiting(2, NOW)
    assert await store.read(enrollments.waiting, NOW + 3 * HOUR) == Waiting(0, None)


async def test_lists_by_state(store: Store) -> None:
    for _ in range(6):
        await store.add(hours=2)
    await store.write(enrollments.decide, 2, "approved", "user:7", NOW, None)
    await store.write(enrollments.decide, 3, "refused", "user:7", NOW, "no")
    await store.write(enrollments.decide, 4, "approved", "user:7", NOW, None)
    await store.write(enrollments.mark_issued, 4, 99)

    async def listed(state: str | None, hours: int, limit: int = 10) -> list[int]:
        found = await store.read(enrollments.with_state, state, NOW + hours * HOUR, limit)
        return [one.id for one in found]

    want = {"waiting": [1, 5, 6], "approved": [2], "refused": [3], "issued": [4], "expired": []}
    assert {state: await listed(state, 0) for state in STATES} == want
    want |= {"waiting": [], "approved": [], "expired": [6, 5, 2, 1]}
    assert {state: await listed(state, 2) for state in STATES} == want
    assert await listed(None, 0) == [6, 5, 4, 3, 2, 1]
    assert await listed("waiting", 0, limit=2) == [1, 5]


async def test_only_what_is_approved_becomes_a_certificate(store: Store) -> None:
    await store.add()
    await store.write(enrollments.mark_issued, 1, 99)
    assert (await store.read(enrollments.get, 1)).state == "waiting"  # type: ignore[union-attr] - it is there
    assert not await store.read(enrollments.is_approved, 1, NOW)
    await store.write(enrollments.decide, 1, "approved", "user:7", NOW, None)
    assert await store.read(enrollments.is_approved, 1, NOW)
    assert not await store.read(enrollments.is_approved, 1, NOW + HOUR)
    await store.write(enrollments.mark_issued, 1, 99)
    issued = await store.read(enrollments.get, 1)
    assert issued is not None
    assert (issued.state, issued.serial, issued.decided_by) == ("issued", 99, "user:7")


def reserve(tx: Transaction, serial: int) -> int:
    intent = issuances.reserve(
        tx,
        authority=1,
        serial=serial,
        profile="device",
        subject="CN=a",
        spki_sha256=bytes(32),
        tbs=b"tbs",
        tbs_sha256=b"hash",
        requested_by="tests",
        credential=None,
        enrollment=1,
        crl_shard=0,
        state="prepared",
        now=NOW,
    )
    return intent.id


async def test_the_store_itself_holds_an_approval_to_one_certificate(store: Store) -> None:
    await store.add()
    first = await store.write(reserve, 5)
    with pytest.raises(StorageError, match="UNIQUE"):
        await store.write(reserve, 6)
    await store.write(issuances.mark_voided, first, NOW)
    assert await store.read(issuances.of_enrollment, 1) is None
    second = await store.write(reserve, 7)
    assert await store.read(issuances.undelivered_of_enrollment, 1) is None
    await store.write(issuances.mark_signing, second)
    await store.write(issuances.mark_issued, second, NOW)
    with pytest.raises(StorageError, match="UNIQUE"):
        await store.write(reserve, 8)
    found = await store.read(issuances.undelivered_of_enrollment, 1)
    assert found is not None
    assert found.serial == 7
    await store.write(issuances.mark_delivered, 1, 7, NOW)
    assert await store.read(issuances.undelivered_of_enrollment, 1) is None
    assert await store.read(issuances.of_enrollment, 1) is not None
