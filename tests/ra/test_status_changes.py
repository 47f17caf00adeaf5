"""Status commands on a real store: one transaction holds event, hold, what a CRL says, and audit."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto.crl import RevokedCertificate

from pkiserver import audit
from pkiserver.errors import ConflictError, NotFoundError, UnavailableError
from pkiserver.ra.lifecycle import Action, Command, HoldOwner, State
from pkiserver.ra.status_changes import Changed, StatusChanges
from pkiserver.storage import Storage
from protocols.asn1.ocsp import CRLReason
from store import audit as audit_chain
from store import authorities, certificates, crl_entries, status_events
from store.database import Database, Transaction
from store.records import CertificateRecord, HoldRecord, StatusEventRecord

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SERIAL = 0x4A_0000_0000_0000_0000_0000_0000_0000_01
NAMED = (1, SERIAL)
SUSPEND, RESTORE = Command(Action.SUSPEND), Command(Action.RESTORE)
REVOKE = Command(Action.REVOKE, reason=CRLReason.KEY_COMPROMISE)
BY_AUTHORITY = HoldOwner.AUTHORITY
CERTIFICATE = CertificateRecord(
    authority=1,
    serial=SERIAL,
    profile="device",
    subject="CN=a",
    spki_sha256=bytes(32),
    not_before=NOW - HOUR,
    not_after=NOW + 1000 * HOUR,
    state="active",
    certificate=b"certificate",
)


class Setup:
    """Status changes on a store with one certificate, and the events that were announced."""

    def __init__(self, path: Path, clock: Any) -> None:
        self.database = Database(path)
        self.storage = Storage(self.database)
        self.clock = clock
        self.clock.moment = NOW
        self.announced = 0
        self.changes = StatusChanges(self.storage, clock, self._announce)

    async def _announce(self, _sequence: int) -> None:
        self.announced += 1

    async def carry_out(self, command: Command, serial: int = SERIAL) -> Changed:
        return await self.changes.carry_out(1, serial, command, "registrar:7")

    async def told(self) -> dict[str, Any] | None:
        """Return what the next CRL will say of the certificate, decoded from its DER entry."""
        record = await self.storage.read(lambda tx: crl_entries.current(tx, *NAMED))
        if record is None:
            return None
        entry = RevokedCertificate.load(record.entry, strict=True)
        assert (entry["user_certificate"].native, entry["revocation_date"].native) == (
            SERIAL,
            record.revoked_at,
        )
        assert record.not_after == CERTIFICATE.not_after
        reason = entry.crl_reason_value.native if entry.crl_reason_value else None
        return {"at": record.revoked_at, "code": record.reason, "reason": reason}

    async def state(self) -> str:
        found = await self.storage.read(lambda tx: certificates.get(tx, *NAMED))
        assert found is not None
        return found.state

    async def holds(self) -> list[HoldRecord]:
        return await self.storage.read(lambda tx: status_events.open_holds(tx, *NAMED))

    async def events(self) -> list[StatusEventRecord]:
        return await self.storage.read(lambda tx: status_events.of_certificate(tx, *NAMED))


@pytest.fixture
async def setup(tmp_path: Path, clock: Any) -> AsyncIterator[Setup]:
    made = Setup(tmp_path / "test.db", clock)

    def fill(tx: Transaction) -> None:
        authorities.add_authority(tx, "infrastructure", None, "ca-infrastructure")
        certificates.add(tx, CERTIFICATE)

    await made.storage.write(fill)
    yield made
    made.database.close()


async def test_suspending(setup: Setup, recorded: Any) -> None:
    changed = await setup.carry_out(SUSPEND)
    assert (changed.sequence, changed.change.to_state) == (1, State.SUSPENDED)
    assert changed.certificate == CERTIFICATE
    assert await setup.state() == "suspended"
    assert await setup.holds() == [HoldRecord("holder", NOW)]
    assert await setup.told() == {"at": NOW, "code": 6, "reason": "certificate_hold"}
    assert await setup.events() == [
        StatusEventRecord(1, 1, SERIAL, "active", "suspended", 6, NOW, "registrar:7")
    ]
    assert await recorded(setup.storage) == [
        {
            "at": NOW,
            "actor": "registrar:7",
            "action": "certificate.suspend",
            "outcome": "done",
            "authority": 1,
            "serial": f"{SERIAL:x}",
            "sequence": 1,
            "previous": None,
            "effective_at": NOW.isoformat(),
            "to": "suspended",
            "by": "holder",
            "reason": "CERTIFICATE_HOLD",
        }
    ]
    assert setup.announced == 1


async def test_restoring(setup: Setup, recorded: Any) -> None:
    await setup.carry_out(SUSPEND)
    setup.clock.moment += HOUR
    changed = await setup.carry_out(RESTORE)
    assert (changed.sequence, changed.change.to_state) == (2, State.ACTIVE)
    assert await setup.state() == "active"
    assert await setup.holds() == []
    assert await setup.told() is None
    assert (await setup.events())[1] == StatusEventRecord(
        2, 1, SERIAL, "suspended", "active", None, NOW + HOUR, "registrar:7"
    )
    restored = (await recorded(setup.storage))[1]
    assert (restored["action"], restored["to"], restored["reason"]) == ("certificate.restore", "active", None)


async def test_revoking(setup: Setup) -> None:
    await setup.carry_out(REVOKE)
    assert await setup.state() == "revoked"
    assert await setup.told() == {"at": NOW, "code": 1, "reason": "key_compromise"}
    assert [(one.from_state, one.to_state, one.reason) for one in await setup.events()] == [
        ("active", "revoked", 1)
    ]


async def test_revoking_without_a_reason_says_none_in_the_entry(setup: Setup) -> None:
    """reasonCode unspecified is left out (RFC 5280 §5.3.1)."""
    await setup.carry_out(Command(Action.REVOKE))
    assert await setup.told() == {"at": NOW, "code": 0, "reason": None}


async def test_a_revocation_keeps_the_date_of_the_hold(setup: Setup) -> None:
    await setup.carry_out(SUSPEND)
    setup.clock.moment += HOUR
    await setup.carry_out(REVOKE)
    assert await setup.told() == {"at": NOW, "code": 1, "reason": "key_compromise"}
    assert await setup.holds() == []
    assert (await setup.events())[1].effective_at == NOW + HOUR


async def test_the_date_of_a_suspension_does_not_move_with_its_holds(setup: Setup) -> None:
    """The entry stood on CRLs all the while: it keeps its date (X.509)."""
    for hours, command in enumerate(
        [SUSPEND, Command(Action.SUSPEND, BY_AUTHORITY), RESTORE, SUSPEND, RESTORE, REVOKE]
    ):
        setup.clock.moment = NOW + hours * HOUR
        await setup.carry_out(command)
        told = await setup.told()
        assert told is not None
        assert told["at"] == NOW
    assert told["reason"] == "key_compromise"


async def test_a_suspension_after_a_restoration_has_its_own_date(setup: Setup) -> None:
    for hours, command in enumerate([SUSPEND, RESTORE, SUSPEND]):
        setup.clock.moment = NOW + hours * HOUR
        await setup.carry_out(command)
    assert await setup.told() == {"at": NOW + 2 * HOUR, "code": 6, "reason": "certificate_hold"}


async def test_a_holder_does_not_lift_the_hold_of_the_authority(setup: Setup) -> None:
    await setup.carry_out(SUSPEND)
    setup.clock.moment += HOUR
    await setup.carry_out(Command(Action.SUSPEND, BY_AUTHORITY))
    await setup.carry_out(RESTORE)
    assert await setup.state() == "suspended"
    assert await setup.holds() == [HoldRecord("authority", NOW + HOUR)]
    assert await setup.told() == {"at": NOW, "code": 6, "reason": "certificate_hold"}
    with pytest.raises(ConflictError, match="suspended by the authority, who alone"):
        await setup.carry_out(RESTORE)
    await setup.carry_out(Command(Action.RESTORE, BY_AUTHORITY))
    assert (await setup.state(), await setup.told()) == ("active", None)


@pytest.mark.parametrize("command", [SUSPEND, RESTORE, REVOKE], ids=lambda command: command.action.value)
async def test_revoked_is_final(setup: Setup, recorded: Any, command: Command) -> None:
    await setup.carry_out(REVOKE)
    before = (await setup.told(), await setup.events(), setup.announced)
    with pytest.raises(ConflictError, match="final"):
        await setup.carry_out(command)
    assert (await setup.told(), await setup.events(), setup.announced) == before
    assert await setup.state() == "revoked"
    assert len(await recorded(setup.storage)) == 1  # the caller audits a refusal, see Commands and Enrollment


async def test_an_expired_certificate_is_left_alone(setup: Setup) -> None:
    setup.clock.moment = CERTIFICATE.not_after + timedelta(seconds=1)
    with pytest.raises(ConflictError, match="expired"):
        await setup.carry_out(REVOKE)
    assert (await setup.state(), await setup.told(), await setup.events()) == ("active", None, [])


async def test_a_certificate_that_is_not_there(setup: Setup, recorded: Any) -> None:
    with pytest.raises(NotFoundError, match="no certificate with serial"):
        await setup.carry_out(REVOKE, SERIAL + 1)
    assert await recorded(setup.storage) == []
    assert setup.announced == 0


async def test_only_the_named_certificate_changes(setup: Setup) -> None:
    other = replace(CERTIFICATE, serial=SERIAL + 1)
    await setup.storage.write(lambda tx: certificates.add(tx, other))
    await setup.carry_out(REVOKE, other.serial)
    assert (await setup.state(), await setup.told(), await setup.events()) == ("active", None, [])


async def test_time_never_goes_back(setup: Setup, recorded: Any) -> None:
    """With the clock behind, an event bears the time of the last record; so do holds and revocations."""
    await setup.carry_out(SUSPEND)
    setup.clock.moment = NOW - 5 * HOUR
    await setup.carry_out(Command(Action.SUSPEND, BY_AUTHORITY))
    await setup.carry_out(REVOKE)
    with pytest.raises(ConflictError):
        await setup.carry_out(REVOKE)
    assert [event.effective_at for event in await setup.events()] == [NOW, NOW, NOW]
    assert [record["at"] for record in await recorded(setup.storage)] == [NOW] * 3
    told = await setup.told()
    assert told is not None
    assert told["at"] == NOW


async def test_a_clock_that_was_ahead_does_not_hinder_revocation(setup: Setup) -> None:
    """Records of a time beyond the certificate's end are on file; the clock is right again."""
    late = CERTIFICATE.not_after + HOUR
    await setup.storage.write(lambda tx: audit_chain.append(tx, audit.entry(late, "tests", "later")))
    await setup.carry_out(REVOKE)
    told = await setup.told()
    assert told is not None
    assert told["at"] == NOW


async def test_nothing_is_kept_of_a_change_that_cannot_be_audited(setup: Setup) -> None:
    await setup.storage.write(
        lambda tx: tx.execute(
            "CREATE TRIGGER no_audit BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    )
    with pytest.raises(UnavailableError):
        await setup.carry_out(SUSPEND)
    assert (await setup.state(), await setup.told()) == ("active", None)
    assert (await setup.holds(), await setup.events(), setup.announced) == ([], [], 0)
    await setup.storage.write(lambda tx: tx.execute("DROP TRIGGER no_audit"))
    assert (await setup.carry_out(SUSPEND)).sequence == 1


async def test_of_the_same_commands_at_once_one_is_carried_out(setup: Setup) -> None:
    results = await asyncio.gather(*(setup.carry_out(SUSPEND) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(result, Changed) for result in results) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 19
    assert (len(await setup.events()), len(await setup.holds()), setup.announced) == (1, 1, 1)
