"""Certificates that ended by time alone: noted once, at their place in the order of status events."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from store import status_events
from store.database import Transaction
from store.records import from_unix, serial_to_blob, to_unix

STATES: Final = ("active", "suspended")  # a revoked certificate stays revoked


@dataclass(frozen=True, slots=True)
class EndedRecord:
    """A certificate whose validity is over, and the state that it had then."""

    authority: int
    serial: int
    state: str
    not_after: datetime


def due(
    tx: Transaction, authority: int, state: str, begin: datetime, end: datetime, limit: int
) -> list[EndedRecord]:
    """Return certificates in a state that ended from `begin` on and before `end`, and are not noted."""
    rows = tx.all(
        "SELECT serial, not_after FROM certificates"
        " WHERE authority = ? AND state = ? AND not_after >= ? AND not_after < ?"
        " AND NOT EXISTS (SELECT 1 FROM expiries e"
        " WHERE e.authority = certificates.authority AND e.serial = certificates.serial)"
        " ORDER BY not_after LIMIT ?",
        (authority, state, to_unix(begin), to_unix(end), limit),
    )
    return [EndedRecord(authority, int.from_bytes(row[0], "big"), state, from_unix(row[1])) for row in rows]


def add(tx: Transaction, ended: EndedRecord) -> None:
    """Note that a certificate ended, behind the last status event; noted twice breaks a constraint."""
    tx.execute(
        "INSERT INTO expiries (follows, authority, serial, state, not_after) VALUES (?, ?, ?, ?, ?)",
        (
            status_events.head(tx),
            ended.authority,
            serial_to_blob(ended.serial),
            ended.state,
            to_unix(ended.not_after),
        ),
    )


def of_certificate(tx: Transaction, authority: int, serial: int) -> EndedRecord | None:
    """Return what was noted of the end of a certificate, or None."""
    row = tx.one(
        "SELECT state, not_after FROM expiries WHERE authority = ? AND serial = ?",
        (authority, serial_to_blob(serial)),
    )
    return EndedRecord(authority, serial, row[0], from_unix(row[1])) if row else None
