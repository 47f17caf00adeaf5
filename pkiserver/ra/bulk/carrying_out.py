"""One batch of a bulk act carried out in one transaction: events, holds, CRL entries, and its audit record.

Certificates that all stand alike (most do) are changed together, as the transition table decides of one of
them; the others one by one, as any other change of status. What a batch did is on record once: the digest
of its events proves each (`status.evidence`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pkiserver import audit
from pkiserver.errors import ConflictError
from pkiserver.ra.bulk.rules import KINDS
from pkiserver.ra.cases.rules import GROUNDS, Kind
from pkiserver.ra.lifecycle import Action, Change, Command, Hold, HoldOwner, Standing, State, decide
from pkiserver.ra.status_changes import change_status
from protocols.crl import revoked_entries
from store import audit as audit_chain
from store import bulk_acts, bulk_status, status_events
from store.bulk_acts import ActRecord, BatchRecord
from store.bulk_status import StandingRow, Step
from store.database import Transaction
from store.records import to_unix

OWNER: Final = HoldOwner.AUTHORITY  # a holder's restoration never lifts what a bulk act placed


@dataclass(frozen=True, slots=True)
class Done:
    """What a batch came to; `last_event` None: it changed nothing."""

    changed: int
    passed_over: int
    last_event: int | None


def carry_out(tx: Transaction, act: ActRecord, batch: BatchRecord, now: datetime) -> Done:
    """Carry a batch out, and note how far the act is by that."""
    rows = bulk_status.standings(tx, batch.authority, batch.serials)
    command = command_of(act)
    alike = [row for row in rows if _is_plain(row, command, now)]
    before = status_events.head(tx)
    changed = _change_alike(tx, act, batch, command, alike, now) if alike else 0
    others = set(alike)
    for row in rows:
        if row not in others:
            changed += _change_one(tx, act, batch.authority, row, command, now)
    head = status_events.head(tx)
    passed_over = len(batch.serials) - changed
    events = (before + 1, head) if head > before else None
    bulk_acts.note_done(tx, batch, events, changed=changed, passed_over=passed_over)
    return Done(changed, passed_over, head if events is not None else None)


def command_of(act: ActRecord) -> Command:
    """Return what an act does to each of its certificates."""
    kind = Kind(act.kind)
    placed_by = act.lifts if kind is Kind.RESTORE else act.id
    return Command(KINDS[kind], OWNER, GROUNDS[act.ground].reason, act=placed_by)


def _is_plain(row: StandingRow, command: Command, now: datetime) -> bool:
    """Return whether a certificate stands as most do: nothing else is open on it, or of later than now."""
    if row.not_after_s < to_unix(now) or row.last_at_s > to_unix(now):
        return False
    if command.action is Action.RESTORE:
        return (row.state, row.holds, row.act) == (State.SUSPENDED.value, 1, command.act)
    return (row.state, row.holds) == (State.ACTIVE.value, 0)


def _decided(command: Command, now: datetime) -> Change:
    """Return what the transition table says of a certificate that stands as `_is_plain` asks."""
    if command.action is Action.RESTORE:
        held = (Hold(OWNER, now, act=command.act),)
        return decide(Standing(State.SUSPENDED, now, held, now), command, now)
    return decide(Standing(State.ACTIVE, now), command, now)


def _change_alike(
    tx: Transaction,
    act: ActRecord,
    batch: BatchRecord,
    command: Command,
    rows: Sequence[StandingRow],
    now: datetime,
) -> int:
    change, serials = _decided(command, now), [row.serial for row in rows]
    from_state: dict[str, Any] = {"from": rows[0].state}  # a word of Python's
    first = status_events.head(tx) + 1
    lines = (
        bulk_status.event_line(sequence, row.serial, row.previous) for sequence, row in enumerate(rows, first)
    )
    record = audit_chain.append(
        tx,
        audit.entry(
            now,
            act.decided_by or act.proposed_by,
            f"bulk.{act.kind}",
            act=act.id,
            batch=batch.number,
            authority=batch.authority,
            first=first,
            count=len(rows),
            events=bulk_status.lines_digest(lines),
            effective_at=now.isoformat(),
            **from_state,
            to=change.to_state.value,
            by=OWNER.value,
            reason=change.reason.name if change.reason is not None else None,
        ),
    )
    step = Step(
        act=act.id,
        authority=batch.authority,
        from_state=rows[0].state,
        to_state=change.to_state.value,
        reason=None if change.reason is None else change.reason.value,
        effective_at=now,
        actor=record.actor,
        audit=record.sequence,
    )
    bulk_status.add_events(tx, step, serials)
    bulk_status.set_states(tx, batch.authority, serials, step.to_state)
    if change.closes and act.lifts is not None:
        bulk_status.close_holds(tx, step, serials, act.lifts)
    if change.opens is not None:
        bulk_status.open_holds(tx, step, serials, OWNER.value)
    if change.revoked_at is None or change.reason is None:
        bulk_status.end_entries(tx, step, first, serials)
    else:
        entries = revoked_entries(serials, change.revoked_at, change.reason.value)
        bulk_status.begin_entries(tx, step, first, rows, entries)
    return len(rows)


def _change_one(
    tx: Transaction, act: ActRecord, authority: int, row: StandingRow, command: Command, now: datetime
) -> int:
    """Change one certificate as by itself; 0 where its state does not allow it, as of a revoked one."""
    serial = int.from_bytes(row.serial, "big")
    try:
        change_status(tx, authority, serial, command, act.decided_by or act.proposed_by, now, act=act.id)
    except ConflictError:
        return 0
    return 1
