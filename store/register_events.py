"""The register as who is connected follows it: status events and expiries in one order that only grows.

A status event stands at (its sequence, 0), an expiry at (the last sequence when it was noted, its id). Both
are given by the one writer in commit order, so nothing ever comes in before what was read.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import from_unix

# What led to an event stands beside it: the case decided so, and the application of the certificate.
_CERTIFICATE: Final = (
    " LEFT JOIN certificates c ON c.authority = e.authority AND c.serial = e.serial"
    " LEFT JOIN applications a ON a.serial IS NOT NULL AND a.authority = e.authority AND a.serial = e.serial"
)
_EVENTS: Final = (
    "SELECT e.sequence, 0, e.authority, e.serial, e.from_state, e.to_state, e.reason, e.effective_at,"
    " c.profile, c.not_after, a.id, coalesce(k.person, a.person), k.id,"
    " CASE WHEN e.from_state IS NULL THEN a.channel ELSE k.channel END, k.ground, o.code"
    f" FROM status_events e{_CERTIFICATE} LEFT JOIN cases k ON k.id = e.decided_case"
    " LEFT JOIN offices o ON o.id = CASE WHEN e.from_state IS NULL THEN a.office ELSE k.office END"
    " WHERE e.sequence > ? AND (e.from_state IS NULL OR e.from_state != e.to_state)"
    " ORDER BY e.sequence LIMIT ?"
)
_EXPIRIES: Final = (
    "SELECT e.follows, e.id, e.authority, e.serial, e.state, 'expired', NULL, e.not_after,"
    " c.profile, c.not_after, a.id, a.person, NULL, NULL, NULL, NULL"
    f" FROM expiries e{_CERTIFICATE} WHERE e.id > ? ORDER BY e.id LIMIT ?"
)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """How far the register was read: the last status event, and the last expiry."""

    sequence: int
    expiry: int


@dataclass(frozen=True, slots=True)
class RegisterEvent:
    """A change of the status that a certificate has, or its end, with what led to it.

    `office` is the code of the one that received the application, of a new certificate, or the case.
    """

    place: Place
    authority: int
    serial: int
    from_state: str | None
    to_state: str
    reason: int | None
    at: datetime
    profile: str | None
    not_after: datetime | None
    application: int | None
    person: int | None
    case: int | None
    channel: str | None
    ground: str | None
    office: str | None


def after(tx: Transaction, place: Place, limit: int) -> list[RegisterEvent]:
    """Return what follows a place, in order, at most `limit`; the last one's place is where to go on."""
    rows = tx.all(_EVENTS, (place.sequence, limit)) + tx.all(_EXPIRIES, (place.expiry, limit))
    found = []
    expiry = place.expiry
    for row in sorted(rows, key=lambda row: (row[0], row[1]))[:limit]:
        expiry = max(expiry, row[1])
        found.append(_event(row, Place(row[0], expiry)))
    return found


def last_expiry(tx: Transaction) -> int:
    """Return the id of the expiry that was noted last, 0 when there is none."""
    row = tx.one("SELECT max(id) FROM expiries")
    return row[0] or 0 if row else 0


def _event(row: tuple[Any, ...], place: Place) -> RegisterEvent:
    authority, serial, from_state, to_state, reason, at, profile, not_after = row[2:10]
    return RegisterEvent(
        place,
        authority,
        int.from_bytes(serial, "big"),
        from_state,
        to_state,
        reason,
        from_unix(at),
        profile,
        from_unix(not_after) if not_after is not None else None,
        *row[10:],
    )
