"""Enrolments that somebody has to approve, and what became of them.

None is ever deleted: one is open while it waits or is approved and has not run out.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from store.database import Transaction, Value
from store.owners import Owners
from store.records import EnrollmentRecord, from_unix, serial_to_blob, to_unix

Decision = Literal["approved", "refused"]

_COLUMNS: Final = (
    "id, authority, profile, subject, san, limit_mnt, spki_sha256, asked_by, requested_at, expires_at, state,"
    " decided_by, decided_at, reason, serial"
)
_OPEN: Final = "state IN ('waiting', 'approved') AND expires_at > ?"  # in the words of the partial indexes
_FILTERS: Final = {
    "waiting": f"state = 'waiting' AND {_OPEN}",
    "approved": f"state = 'approved' AND {_OPEN}",
    "refused": "state = 'refused'",
    "issued": "state = 'issued'",
    "expired": "state IN ('waiting', 'approved') AND expires_at <= ?",
}
STATES: Final = tuple(_FILTERS)


@dataclass(frozen=True, slots=True)
class Application:
    """What makes two requests the same: who asks, for whom, for which key."""

    authority: int
    profile: str
    subject: str
    san: tuple[str, ...]
    limit_mnt: int | None
    spki_sha256: bytes
    asked_by: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many wait for a decision, and since when the first of them does."""

    count: int
    since: datetime | None


def _record(row: tuple[Any, ...]) -> EnrollmentRecord:
    return EnrollmentRecord(
        id=row[0],
        authority=row[1],
        profile=row[2],
        subject=row[3],
        san=tuple(json.loads(row[4])),
        limit_mnt=row[5],
        spki_sha256=row[6],
        asked_by=row[7],
        requested_at=from_unix(row[8]),
        expires_at=from_unix(row[9]),
        state=row[10],
        decided_by=row[11],
        decided_at=None if row[12] is None else from_unix(row[12]),
        reason=row[13],
        serial=None if row[14] is None else int.from_bytes(row[14], "big"),
    )


def _values(application: Application) -> tuple[Value, ...]:
    return (
        application.authority,
        application.profile,
        application.subject,
        json.dumps(application.san),
        application.limit_mnt,
        application.spki_sha256,
        application.asked_by,
    )


def add(tx: Transaction, application: Application, now: datetime, expires_at: datetime) -> EnrollmentRecord:
    """Add an enrolment that waits."""
    row = tx.one(
        "INSERT INTO enrollments (authority, profile, subject, san, limit_mnt, spki_sha256, asked_by,"
        " requested_at, expires_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting')"
        f" RETURNING {_COLUMNS}",
        (*_values(application), to_unix(now), to_unix(expires_at)),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return _record(row)


def get(tx: Transaction, enrollment: int) -> EnrollmentRecord | None:
    """Return the enrolment with this number, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM enrollments WHERE id = ?", (enrollment,))
    return _record(row) if row else None


def latest(tx: Transaction, application: Application) -> EnrollmentRecord | None:
    """Return the newest enrolment of the same application, whatever became of it, or None."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM enrollments WHERE authority = ? AND profile = ? AND subject = ? AND san = ?"
        " AND limit_mnt IS ? AND spki_sha256 = ? AND asked_by = ? ORDER BY id DESC LIMIT 1",
        _values(application),
    )
    return _record(row) if row else None


def with_state(
    tx: Transaction, state: str | None, now: datetime, limit: int, after: int | None = None
) -> list[EnrollmentRecord]:
    """Return the enrolments that are so now (of `STATES`), those that wait by age; None: all.

    All others come with the newest first. From behind `after` on, where that is given.
    """
    order, behind = ("id", "id > ?") if state == "waiting" else ("id DESC", "id < ?")
    which = "1" if state is None else _FILTERS[state]
    end = 0 if state == "waiting" else (1 << 63) - 1
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM enrollments WHERE {which} AND {behind} ORDER BY {order} LIMIT ?",
        (*[to_unix(now)] * which.count("?"), end if after is None else after, limit),
    )
    return [_record(row) for row in rows]


def page(
    tx: Transaction, state: str | None, owners: Owners, now: datetime, before: int, limit: int
) -> list[EnrollmentRecord]:
    """Return enrolments of these owners with numbers below `before`, the newest first.

    Of those that are so now (of `STATES`); None: all.
    """
    which = "1" if state is None else _FILTERS[state]
    whose, values = owners.condition()
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM enrollments WHERE {which} AND id < ? AND {whose} ORDER BY id DESC LIMIT ?",
        (*[to_unix(now)] * which.count("?"), before, *values, limit),
    )
    return [_record(row) for row in rows]


def count_open(tx: Transaction, now: datetime, asked_by: str | None = None) -> int:
    """Return how many are open, of one who asks or in all."""
    statement, values = f"SELECT count(*) FROM enrollments WHERE {_OPEN}", (to_unix(now),)
    row = (
        tx.one(statement, values)
        if asked_by is None
        else tx.one(f"{statement} AND asked_by = ?", (*values, asked_by))
    )
    return int(row[0]) if row else 0


def waiting(tx: Transaction, now: datetime) -> Waiting:
    """Return what waits for a decision."""
    row = tx.one(
        f"SELECT count(*), min(requested_at) FROM enrollments WHERE {_FILTERS['waiting']}", (to_unix(now),)
    )
    return Waiting(row[0], None if row[1] is None else from_unix(row[1])) if row else Waiting(0, None)


def decide(
    tx: Transaction, enrollment: int, decision: Decision, by: str, now: datetime, reason: str | None
) -> None:
    """Note a decision; whether it may be taken is the caller's business, in this transaction."""
    tx.execute(
        "UPDATE enrollments SET state = ?, decided_by = ?, decided_at = ?, reason = ? WHERE id = ?",
        (decision, by, to_unix(now), reason, enrollment),
    )


def is_approved(tx: Transaction, enrollment: int, now: datetime) -> bool:
    """Return whether a certificate may be made of an enrolment now."""
    return (
        tx.one(
            "SELECT 1 FROM enrollments WHERE id = ? AND state = 'approved' AND expires_at > ?",
            (enrollment, to_unix(now)),
        )
        is not None
    )


def reopen(tx: Transaction, enrollment: int, now: datetime) -> int | None:
    """Let what was approved be issued anew, as a new enrolment; None where its time is over."""
    row = tx.one(
        "INSERT INTO enrollments (authority, profile, subject, san, limit_mnt, spki_sha256, asked_by,"
        " requested_at, expires_at, state, decided_by, decided_at) SELECT authority, profile, subject, san,"
        " limit_mnt, spki_sha256, asked_by, requested_at, expires_at, 'approved', decided_by, decided_at"
        " FROM enrollments WHERE id = ? AND state = 'issued' AND expires_at > ? RETURNING id",
        (enrollment, to_unix(now)),
    )
    return None if row is None else int(row[0])


def mark_issued(tx: Transaction, enrollment: int, serial: int) -> None:
    """Note the certificate that came of an enrolment."""
    tx.execute(
        "UPDATE enrollments SET state = 'issued', serial = ? WHERE id = ? AND state = 'approved'",
        (serial_to_blob(serial), enrollment),
    )
