"""Suspending, restoring and revoking: one command, one transaction, one event."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pkiserver import audit
from pkiserver.ca.issuance import OnEvent
from pkiserver.clock import Clock
from pkiserver.errors import NotFoundError, PreconditionFailedError
from pkiserver.ra.lifecycle import Change, Command, Hold, HoldOwner, Standing, State, decide
from pkiserver.storage import Storage
from protocols.crl import revoked_entry
from protocols.x509.certificate import serial_text
from store import audit as audit_chain
from store import certificates, crl_entries, status_events, status_history
from store.database import Transaction
from store.records import CertificateRecord, CRLEntryRecord


@dataclass(frozen=True, slots=True)
class Changed:
    """A change that is on disk, with the sequence number of its event."""

    sequence: int
    certificate: CertificateRecord
    change: Change


class StatusChanges:
    """Carries out status commands; `on_event` is awaited after each commit."""

    def __init__(self, storage: Storage, clock: Clock, on_event: OnEvent) -> None:
        self._storage = storage
        self._clock = clock
        self._on_event = on_event

    async def carry_out(
        self, authority: int, serial: int, command: Command, actor: str, *, seen: int | None = None
    ) -> Changed:
        """Carry a command out; durable when this returns. `seen` is the last event that who asks knew of.

        Raises `NotFoundError`, `PreconditionFailedError` where there is a newer one, or `ConflictError` when
        the state does not allow it. A refusal is audited by the caller, who knows what it was part of.
        """
        now = self._clock.now()
        changed = await self._storage.write(
            lambda tx: change_status(tx, authority, serial, command, actor, now, seen=seen)
        )
        await self.announce(changed)
        return changed

    async def announce(self, changed: Changed) -> None:
        """Tell of a change that is on disk; one that nobody was told of is followed all the same, later."""
        await self._on_event(changed.sequence)


def change_status(
    tx: Transaction,
    authority: int,
    serial: int,
    command: Command,
    actor: str,
    now: datetime,
    *,
    seen: int | None = None,
    case: int | None = None,
    act: int | None = None,
) -> Changed:
    """Carry a command out in the caller's transaction, which tells of the event once it is committed.

    `case` is the one that was decided so, `act` the bulk act that it is of. Errors are those of
    `StatusChanges.carry_out`.
    """
    certificate = certificates.get(tx, authority, serial)
    if certificate is None:
        raise NotFoundError(f"no certificate with serial {serial_text(serial)}")
    # The times of a certificate's events never go back, whatever the clock says; those of others may lie in
    # the future, where the clock was ahead for a while.
    events = status_events.of_certificate(tx, authority, serial)
    if seen is not None and [event.sequence for event in events[-1:]] != [seen]:
        raise PreconditionFailedError("the certificate's status was changed meanwhile: look at it again")
    now = max([now, *(event.effective_at for event in events)])
    change = decide(_standing(tx, certificate), command, now)
    sequence = _store(tx, certificate, change, actor, now, case, act)
    done = audit.entry(
        now,
        actor,
        f"certificate.{command.action.value}",
        authority=authority,
        serial=serial_text(serial),
        sequence=sequence,
        previous=events[-1].sequence if events else None,  # so that nobody can leave an event out
        effective_at=now.isoformat(),
        to=change.to_state.value,
        by=command.owner.value,
        reason=change.reason.name if change.reason is not None else None,
        **_told_of_invalidity(change),
        **_told_of_cause(case, act),
    )
    status_history.set_audit_record(tx, sequence, audit_chain.append(tx, done).sequence)
    return Changed(sequence, certificate, change)


def _standing(tx: Transaction, certificate: CertificateRecord) -> Standing:
    holds = status_events.open_holds(tx, certificate.authority, certificate.serial)
    told = crl_entries.current(tx, certificate.authority, certificate.serial)
    return Standing(
        State(certificate.state),
        certificate.not_after,
        tuple(Hold(HoldOwner(hold.holder), hold.opened_at, hold.decision, hold.act) for hold in holds),
        told.revoked_at if told else None,
    )


def _store(
    tx: Transaction,
    certificate: CertificateRecord,
    change: Change,
    actor: str,
    now: datetime,
    case: int | None,
    act: int | None,
) -> int:
    named = (certificate.authority, certificate.serial)
    for hold in change.closes:
        status_events.close_hold(tx, *named, hold.owner.value, now, decision=hold.decision, act=hold.act)
    if (opened := change.opens) is not None:
        status_events.open_hold(tx, *named, opened.owner.value, now, decision=opened.decision, act=opened.act)
    certificates.set_state(tx, *named, change.to_state.value)
    sequence = status_events.append(
        tx,
        authority=certificate.authority,
        serial=certificate.serial,
        from_state=certificate.state,
        to_state=change.to_state.value,
        reason=change.reason.value if change.reason is not None else None,
        effective_at=now,
        actor=actor,
        case=case,
        act=act,
    )
    if change.revoked_at is None or change.reason is None:
        crl_entries.end(tx, *named, sequence)
    else:
        entry = revoked_entry(
            certificate.serial, change.revoked_at, change.reason.value, change.invalid_since
        )
        crl_entries.begin(
            tx,
            CRLEntryRecord(
                authority=certificate.authority,
                serial=certificate.serial,
                since=sequence,
                until=None,
                shard=certificate.crl_shard,
                revoked_at=change.revoked_at,
                reason=change.reason.value,
                not_after=certificate.not_after,
                entry=entry,
            ),
        )
    return sequence


def _told_of_invalidity(change: Change) -> dict[str, Any]:
    return {} if change.invalid_since is None else {"invalid_since": change.invalid_since.isoformat()}


def _told_of_cause(case: int | None, act: int | None) -> dict[str, Any]:
    return ({} if case is None else {"case": case}) | ({} if act is None else {"act": act})
