"""The status of many certificates of one authority read and changed by a statement each, not one by one.

What may happen to which of them is decided by who calls; serials are the 16 octets of the store.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from store import status_events
from store.database import Transaction
from store.records import from_unix, to_unix

_HEAD: Final = "status_events"  # of a memo, as `status_events` keeps it
Named = tuple[int, bytes]  # authority and serial


class StandingRow(NamedTuple):
    """Where a certificate stands; `last_at` is of its newest event in time, `act` of its one open hold."""

    serial: bytes
    state: str
    not_after_s: int
    shard: int
    previous: int
    last_at_s: int
    holds: int
    act: int | None


def standings(tx: Transaction, authority: int, serials: Sequence[bytes]) -> list[StandingRow]:
    """Return where these certificates stand, in the order of serials."""
    rows = tx.all(
        "SELECT c.serial, c.state, c.not_after, c.crl_shard,"
        " (SELECT max(e.sequence) FROM status_events e"
        "   WHERE e.authority = c.authority AND e.serial = c.serial),"
        " (SELECT max(e.effective_at) FROM status_events e"
        "   WHERE e.authority = c.authority AND e.serial = c.serial),"
        " (SELECT count(*) FROM holds h"
        "   WHERE h.authority = c.authority AND h.serial = c.serial AND h.closed_at IS NULL),"
        " (SELECT max(h.act) FROM holds h"
        "   WHERE h.authority = c.authority AND h.serial = c.serial AND h.closed_at IS NULL)"
        f" FROM certificates c WHERE c.authority = ? AND c.serial IN ({_places(serials)}) ORDER BY c.serial",
        (authority, *serials),
    )
    return [StandingRow(row[0], row[1], row[2], row[3], row[4] or 0, row[5] or 0, *row[6:]) for row in rows]


@dataclass(frozen=True, slots=True)
class Step:
    """One change of state that many certificates of an authority make at one moment, for an act."""

    act: int
    authority: int
    from_state: str
    to_state: str
    reason: int | None
    effective_at: datetime
    actor: str
    audit: int


def add_events(tx: Transaction, step: Step, serials: Sequence[bytes]) -> int:
    """Append an event for each certificate; return the sequence number of the first."""
    first = status_events.head(tx) + 1
    at = to_unix(step.effective_at)
    common = (step.from_state, step.to_state, step.reason, at, step.actor, step.audit, step.act)
    tx.execute_many(
        "INSERT INTO status_events (sequence, authority, serial, from_state, to_state, reason, effective_at,"
        " actor, audit, act) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((sequence, step.authority, serial, *common) for sequence, serial in enumerate(serials, first)),
    )
    tx.memo[_HEAD] = first + len(serials) - 1
    return first


def set_states(tx: Transaction, authority: int, serials: Sequence[bytes], state: str) -> None:
    """Store the state that the events led to."""
    tx.execute(
        f"UPDATE certificates SET state = ? WHERE authority = ? AND serial IN ({_places(serials)})",
        (state, authority, *serials),
    )


def open_holds(tx: Transaction, step: Step, serials: Sequence[bytes], holder: str) -> None:
    """Open the act's hold on certificates that have none of it."""
    at = to_unix(step.effective_at)
    tx.execute_many(
        "INSERT INTO holds (authority, serial, holder, act, opened_at) VALUES (?, ?, ?, ?, ?)",
        ((step.authority, serial, holder, step.act, at) for serial in serials),
    )


def close_holds(tx: Transaction, step: Step, serials: Sequence[bytes], placed_by: int) -> None:
    """Close the holds that an act had placed."""
    tx.execute(
        "UPDATE holds SET closed_at = ? WHERE act = ? AND closed_at IS NULL AND authority = ?"
        f" AND serial IN ({_places(serials)})",
        (to_unix(step.effective_at), placed_by, step.authority, *serials),
    )


def begin_entries(
    tx: Transaction, step: Step, first: int, rows: Sequence[StandingRow], entries: Sequence[bytes]
) -> None:
    """Have CRLs hold these entries, DER, of certificates that they say nothing of, from their events on."""
    at = to_unix(step.effective_at)
    tx.execute_many(
        "INSERT INTO crl_entries (authority, serial, since, shard, revoked_at, reason, not_after, entry)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (step.authority, row.serial, since, row.shard, at, step.reason, row.not_after_s, entry)
            for since, (row, entry) in enumerate(zip(rows, entries, strict=True), first)
        ),
    )


def end_entries(tx: Transaction, step: Step, first: int, serials: Sequence[bytes]) -> None:
    """Have CRLs say nothing of these certificates any more, from their events on."""
    tx.execute_many(
        "UPDATE crl_entries SET until = ? WHERE authority = ? AND serial = ? AND until IS NULL",
        ((until, step.authority, serial) for until, serial in enumerate(serials, first)),
    )


def event_line(sequence: int, serial: bytes, previous: int) -> str:
    """Return what the digest of a batch holds of one event: its number, whose it is, and the one before."""
    return f"{sequence} {serial.hex()} {previous}\n"


def lines_digest(lines: Iterable[str]) -> str:
    """Return the SHA-256 of lines, which the audit record of a batch has."""
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()


def lines_of(tx: Transaction, first: int, count: int) -> list[str]:
    """Return the lines of a batch's events, as `event_line` made them."""
    rows = tx.all(
        "SELECT sequence, serial, coalesce((SELECT max(b.sequence) FROM status_events b"
        " WHERE b.authority = e.authority AND b.serial = e.serial AND b.sequence < e.sequence), 0)"
        " FROM status_events e WHERE sequence BETWEEN ? AND ? ORDER BY sequence",
        (first, first + count - 1),
    )
    return [event_line(*row) for row in rows]


def events_of(tx: Transaction, act: int, first: int, last: int) -> list[tuple[int, int, bytes, datetime]]:
    """Return sequence, authority, serial and time of an act's events between two."""
    rows = tx.all(
        "SELECT sequence, authority, serial, effective_at FROM status_events"
        " WHERE sequence BETWEEN ? AND ? AND act = ? ORDER BY sequence",
        (first, last, act),
    )
    return [(row[0], row[1], row[2], from_unix(row[3])) for row in rows]


def issued(
    tx: Transaction, authority: int, profile: str, begun: tuple[int, int], now: datetime, limit: int
) -> list[Named]:
    """Return the certificates of a profile in use that began within [from, until), Unix seconds."""
    found: list[tuple[Any, ...]] = []
    for state in ("active", "suspended"):
        found += tx.all(
            "SELECT authority, serial FROM certificates INDEXED BY certificates_listed WHERE authority = ?"
            " AND profile = ? AND state = ? AND not_before >= ? AND not_before < ? AND not_after >= ?"
            " LIMIT ?",
            (authority, profile, state, *begun, to_unix(now), limit),
        )
    return [(row[0], row[1]) for row in found]


def of_organization(tx: Transaction, organization: int, now: datetime, limit: int) -> list[Named]:
    """Return the certificates in use of an organisation's officers: applied for, and what renewed those."""
    rows = tx.all(
        "SELECT DISTINCT c.authority, c.serial FROM applications a"
        " JOIN certificates f ON f.authority = a.authority AND f.serial = a.serial"
        " JOIN certificates c ON c.subject = f.subject"
        " WHERE a.organization = ? AND c.state != 'revoked' AND c.not_after >= ? LIMIT ?",
        (organization, to_unix(now), limit),
    )
    return [(row[0], row[1]) for row in rows]


def held_by(tx: Transaction, act: int, limit: int) -> list[Named]:
    """Return the certificates on which a hold of an act is open."""
    rows = tx.all(
        "SELECT authority, serial FROM holds WHERE act = ? AND closed_at IS NULL LIMIT ?", (act, limit)
    )
    return [(row[0], row[1]) for row in rows]


def profiles_of(tx: Transaction, authority: int, serials: Sequence[bytes]) -> dict[bytes, str]:
    """Return the profiles of those of these certificates that there are."""
    rows = tx.all(
        f"SELECT serial, profile FROM certificates WHERE authority = ? AND serial IN ({_places(serials)})",
        (authority, *serials),
    )
    return dict(rows)


def _places(values: Sequence[bytes]) -> str:
    return ", ".join("?" * len(values))
