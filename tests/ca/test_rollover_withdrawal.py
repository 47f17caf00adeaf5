"""Steps of a roll-over that are taken back: a planned activation, and a key that never issued."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pkiserver.ca.ca_certificates import ca_certificates
from pkiserver.core import Core
from pkiserver.errors import ConflictError
from protocols.asn1.ocsp import CRLReason
from store import certificates, crl_entries
from store.records import AuditRecord

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue

CA = "infrastructure"
DAY = timedelta(days=1)


async def walk(core: Core, step: str, name: str = CA, **arguments: Any) -> list[dict[str, Any]]:
    """Take a step as the command line does."""
    rows: list[dict[str, Any]] = await core.commands.run(
        f"ca.rollover.{step}", {"name": name, **arguments}, "user:1", lambda *_: None
    )
    return rows


def served(core: Core, handle: str) -> list[str]:
    """Return the public files that bear the name of a generation."""
    return sorted(path.name for path in core.home.public.glob(f"*/{handle}.*"))


async def test_a_planned_activation_is_cancelled(
    core: Core, clock: "FakeClock", audited: Callable[[Core], Awaitable[list[AuditRecord]]]
) -> None:
    await walk(core, "prepare")
    await walk(core, "publish")
    with pytest.raises(ConflictError, match=r"no activation of infrastructure\.2 is planned"):
        await walk(core, "cancel")
    await walk(core, "activate", at=(clock.now() + DAY).isoformat())
    assert [row["activate_at"] for row in await walk(core, "cancel")] == [None, None]
    clock.advance(2 * DAY)
    assert await core.rollover.activate_due() is False
    assert core.authorities.get(CA).handle == CA
    await walk(core, "activate", at=None)
    assert core.authorities.get(CA).handle == "infrastructure.2"
    assert "authority.unschedule" in [one.action for one in await audited(core)]


@pytest.mark.parametrize("state", ["prepared", "published", "planned"])
async def test_a_key_that_never_issued_is_dropped(
    core: Core,
    clock: "FakeClock",
    issue: "Issue",
    audited: Callable[[Core], Awaitable[list[AuditRecord]]],
    state: str,
) -> None:
    await walk(core, "prepare")
    if state != "prepared":
        await walk(core, "publish")
        assert served(core, "infrastructure.2")
    if state == "planned":
        await walk(core, "activate", at=(clock.now() + DAY).isoformat())
    present, coming = core.authorities.get(CA), core.authorities.get("infrastructure.2")
    rows = await walk(core, "drop")
    assert [row["state"] for row in rows] == ["active", "dropped"]
    root = core.authorities.get("root")
    serial = coming.certificate.serial_number
    entry = await core.storage.read(lambda tx: crl_entries.current(tx, root.id, serial))
    assert entry is not None
    assert entry.reason == CRLReason.CESSATION_OF_OPERATION
    kept = await core.storage.read(lambda tx: certificates.get(tx, root.id, serial))
    assert kept is not None
    assert core.authorities.get(CA) == present
    assert coming.handle not in [one.handle for one in core.authorities]
    assert coming.der not in ca_certificates(core.authorities, clock.now())
    await core.crl_publisher.work()
    assert served(core, "infrastructure.2") == []
    clock.advance(2 * DAY)
    assert await core.rollover.activate_due() is False
    assert await core.hierarchy.maintain() is False  # no OCSP signer for it
    assert (await issue(core)).authority == present.id
    assert "authority.drop" in [one.action for one in await audited(core)]


async def test_the_next_one_gets_a_number_and_a_key_of_its_own(core: Core, issue: "Issue") -> None:
    await walk(core, "prepare")
    await walk(core, "drop")
    for step in ("prepare", "publish"):
        await walk(core, step)
    await walk(core, "activate", at=None)
    third = core.authorities.get(CA)
    assert (third.handle, third.key_label) == ("infrastructure.3", "ca-infrastructure.3")
    assert (await issue(core)).authority == third.id


async def test_a_root_s_links_lead_past_the_one_that_was_dropped(core: Core, clock: "FakeClock") -> None:
    clock.advance(366 * DAY)
    await core.hierarchy.maintain()
    await walk(core, "prepare", "root")
    (link,) = (update.new_with_old for update in core.authorities.root_updates)
    assert link is not None
    await walk(core, "drop", "root")
    first = core.authorities.get("root.1")
    entry = await core.storage.read(lambda tx: crl_entries.current(tx, first.id, link.serial_number))
    assert entry is not None
    assert core.authorities.root_updates == ()
    await walk(core, "prepare", "root")
    (update,) = core.authorities.root_updates
    assert (update.old, update.new) == (
        first.certificate,
        core.authorities.get("root.3").certificate,
    )
    assert len(update.links) == 2


@pytest.mark.parametrize("step", ["cancel", "drop"])
async def test_there_is_nothing_to_take_back(core: Core, step: str) -> None:
    with pytest.raises(ConflictError, match="nothing to take back"):
        await walk(core, step)
    for forward in ("prepare", "publish"):
        await walk(core, forward)
    await walk(core, "activate", at=None)
    with pytest.raises(ConflictError, match="nothing to take back"):  # it issues
        await walk(core, step)


async def test_it_is_not_dropped_while_it_is_activated(core: Core) -> None:
    await walk(core, "prepare")
    coming = core.authorities.record(f"{CA}.2")
    await walk(core, "publish")
    withdrawal = core.commands._services.rollover_withdrawal
    with pytest.raises(ConflictError, match="not prepared any more"):
        await withdrawal.drop(coming, "user:1")
    assert core.authorities.record(f"{CA}.2").state == "published"
