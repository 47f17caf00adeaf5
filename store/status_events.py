"""Status events in commit order, and holds."""

from datetime import datetime
from typing import Any

from store.database import Transaction
from store.records import (
    HoldRecord,
    StatusEventRecord,
    from_unix,
    serial_to_blob,
    to_unix,
)

_HEAD = "status_events"  # of a memo: the last sequence number
_EVENT = "sequence, authority, serial, from_state, to_state, reason, effective_at, actor"


def _event(row: tuple[Any, ...]) -> StatusEventRecord:
    serial, effective_at = int.from_bytes(row[2], "big"), from_unix(row[6])
    return StatusEventRecord(row[0], row[1], serial, row[3], row[4], row[5], effective_at, row[7])


def append(
    tx: Transaction,
    *,
    authority: int,
    serial: int,
    from_state: str | None,
    to_state: str,
    reason: int | None,
    effective_at: datetime,
    actor: str,
    audit: int | None = None,
    case: int | None = None,
    act: int | None = None,
) -> int:
    """Append an event and return its sequence number: the next one, given by the single writer.

    `audit` is the record of the same commit, where it was written before the event; `case` the one that was
    decided so, `act` the bulk act that it is of.
    """
    sequence = head(tx) + 1
    tx.execute(
        f"INSERT INTO status_events ({_EVENT}, audit, decided_case, act)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            sequence,
            authority,
            serial_to_blob(serial),
            from_state,
            to_state,
            reason,
            to_unix(effective_at),
            actor,
            audit,
            case,
            act,
        ),
    )
    tx.memo[_HEAD] = sequence
    return sequence


def head(tx: Transaction) -> int:
    """Return the sequence number of the last event, 0 when there is none."""
    known: int | None = tx.memo.get(_HEAD)
    if known is not None:
        return known
    row = tx.one("SELECT max(sequence) FROM status_events")
    return row[0] or 0 if row else 0


def after(tx: Transaction, sequence: int, limit: int) -> list[StatusEventRecord]:
    """Return the events after `sequence` in order, at most `limit`."""
    rows = tx.all(
        f"SELECT {_EVENT} FROM status_events WHERE sequence > ? ORDER BY sequence LIMIT ?", (sequence, limit)
    )
    return [_event(row) for row in rows]


def of_certificate(tx: Transaction, authority: int, serial: int) -> list[StatusEventRecord]:
    """Return the events of one certificate in order."""
    rows = tx.all(
        f"SELECT {_EVENT} FROM status_events WHERE authority = ? AND serial = ? ORDER BY sequence",
        (authority, serial_to_blob(serial)),
    )
    return [_event(row) for row in rows]


def open_hold(
    tx: Transaction,
    authority: int,
    serial: int,
    holder: str,
    opened_at: datetime,
    *,
    decision: int | None = None,
    act: int | None = None,
) -> None:
    """Open a hold; a second open one of the same holder, decision and act breaks a constraint."""
    tx.execute(
        "INSERT INTO holds (authority, serial, holder, decision, act, opened_at) VALUES (?, ?, ?, ?, ?, ?)",
        (authority, serial_to_blob(serial), holder, decision, act, to_unix(opened_at)),
    )


def close_hold(
    tx: Transaction,
    authority: int,
    serial: int,
    holder: str,
    closed_at: datetime,
    *,
    decision: int | None = None,
    act: int | None = None,
) -> None:
    """Close the open hold of this holder by this decision, or bulk act."""
    tx.execute(
        "UPDATE holds SET closed_at = ? WHERE authority = ? AND serial = ? AND holder = ?"
        " AND coalesce(decision, 0) = ? AND coalesce(act, 0) = ? AND closed_at IS NULL",
        (to_unix(closed_at), authority, serial_to_blob(serial), holder, decision or 0, act or 0),
    )


def open_holds(tx: Transaction, authority: int, serial: int) -> list[HoldRecord]:
    """Return the open holds of a certificate, oldest first."""
    rows = tx.all(
        "SELECT holder, opened_at, decision, act FROM holds"
        " WHERE authority = ? AND serial = ? AND closed_at IS NULL ORDER BY id",
        (authority, serial_to_blob(serial)),
    )
    return [HoldRecord(row[0], from_unix(row[1]), row[2], row[3]) for row in rows]
