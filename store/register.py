"""What the public register tells of status events: in commit order, by serial, by day.

Only what changes the status that everybody may know: a second hold on a suspended certificate is nobody's
business. Whose hold it is, and who acted, is not read here.
"""

from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import PublicEventRecord, from_unix, serial_to_blob, to_unix

_COLUMNS: Final = "sequence, authority, serial, to_state, reason, effective_at"
_PUBLIC: Final = "(from_state IS NULL OR from_state != to_state)"


def _event(row: tuple[Any, ...]) -> PublicEventRecord:
    return PublicEventRecord(row[0], row[1], int.from_bytes(row[2], "big"), row[3], row[4], from_unix(row[5]))


def after(tx: Transaction, sequence: int, limit: int) -> list[PublicEventRecord]:
    """Return the events after `sequence` in commit order, at most `limit`."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM status_events WHERE sequence > ? AND {_PUBLIC} ORDER BY sequence LIMIT ?",
        (sequence, limit),
    )
    return [_event(row) for row in rows]


def of_serial(tx: Transaction, serial: int, limit: int) -> list[PublicEventRecord]:
    """Return the newest events of this serial, of whatever authority, in commit order, at most `limit`."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM status_events WHERE serial = ? AND {_PUBLIC}"
        " AND authority IN (SELECT id FROM authorities)"
        " ORDER BY sequence DESC LIMIT ?",
        (serial_to_blob(serial), limit),
    )
    return [_event(row) for row in reversed(rows)]


def between(
    tx: Transaction, begin: datetime, end: datetime, sequence: int, limit: int
) -> list[PublicEventRecord]:
    """Return the events before `end` that follow `sequence` of the second `begin`, at most `limit`.

    By time, and in commit order within a second.
    """
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM status_events"
        " WHERE (effective_at, sequence) > (?, ?) AND effective_at < ?"
        f" AND {_PUBLIC} ORDER BY effective_at, sequence LIMIT ?",
        (to_unix(begin), sequence, to_unix(end), limit),
    )
    return [_event(row) for row in rows]


def days(tx: Transaction, sequence: int) -> set[int]:
    """Return the days, counted from the epoch in UTC, of the events after `sequence`."""
    rows = tx.all(
        "SELECT DISTINCT effective_at / 86400 FROM status_events WHERE sequence > ?",
        (sequence,),
    )
    return {row[0] for row in rows}


def first_time(tx: Transaction) -> datetime | None:
    """Return the time of the earliest event, or None when there is none."""
    row = tx.one("SELECT min(effective_at) FROM status_events")
    return from_unix(row[0]) if row and row[0] is not None else None
