"""The outbox: letters that wait, were sent or given up; to whom, and what they say, is personal data."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import from_unix, to_unix

_COLUMNS: Final = (
    "id, about, template, language, medium, person, state, attempts, next_at, expires_at, created_at,"
    " done_at, failure"
)


@dataclass(frozen=True, slots=True)
class LetterRecord:
    """A letter without its recipient and its words; `failure` is why the last attempt failed."""

    id: int
    about: str
    template: str
    language: str
    medium: str
    person: int | None
    state: str
    attempts: int
    next_at: datetime
    expires_at: datetime | None
    created_at: datetime
    done_at: datetime | None
    failure: str | None


def _record(row: tuple[Any, ...]) -> LetterRecord:
    values = list(row)
    for column in (8, 9, 10, 11):
        values[column] = from_unix(row[column]) if row[column] is not None else None
    return LetterRecord(*values)


def add(
    tx: Transaction,
    *,
    about: str,
    template: str,
    language: str,
    medium: str,
    person: int | None,
    now: datetime,
    expires_at: datetime | None,
) -> int | None:
    """Add a letter that waits and return its id; None where there is one about the same already."""
    row = tx.one(
        "INSERT INTO letters (about, template, language, medium, person, state, attempts, next_at,"
        " expires_at, created_at) VALUES (?, ?, ?, ?, ?, 'waiting', 0, ?, ?, ?)"
        " ON CONFLICT (about) DO NOTHING RETURNING id",
        (
            about,
            template,
            language,
            medium,
            person,
            to_unix(now),
            to_unix(expires_at) if expires_at else None,
            to_unix(now),
        ),
    )
    return int(row[0]) if row else None


def due(tx: Transaction, medium: str, now: datetime, limit: int) -> list[LetterRecord]:
    """Return the letters to be sent now by a medium, those that wait longest first."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM letters WHERE state = 'waiting' AND medium = ? AND next_at <= ?"
        " ORDER BY next_at, id LIMIT ?",
        (medium, to_unix(now), limit),
    )
    return [_record(row) for row in rows]


def waiting_about(tx: Transaction, prefix: str) -> int:
    """Return how many letters to webhooks wait that are about what begins so."""
    row = tx.one(
        "SELECT count(*) FROM letters WHERE state = 'waiting' AND medium = 'webhook'"
        " AND substr(about, 1, length(?)) = ?",
        (prefix, prefix),
    )
    return int(row[0]) if row else 0


def finish(tx: Transaction, letter: int, state: str, at: datetime, failure: str | None = None) -> None:
    """Note that a waiting letter was sent, or is given up and why."""
    tx.execute(
        "UPDATE letters SET state = ?, done_at = ?, failure = ?, attempts = attempts + 1"
        " WHERE id = ? AND state = 'waiting'",
        (state, to_unix(at), failure, letter),
    )


def postpone(tx: Transaction, letter: int, next_at: datetime, failure: str) -> None:
    """Note an attempt that failed, and when to try again."""
    tx.execute(
        "UPDATE letters SET attempts = attempts + 1, next_at = ?, failure = ?"
        " WHERE id = ? AND state = 'waiting'",
        (to_unix(next_at), failure, letter),
    )


def get(tx: Transaction, letter: int) -> LetterRecord | None:
    """Return a letter, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM letters WHERE id = ?", (letter,))
    return _record(row) if row else None


def of_person(tx: Transaction, person: int, limit: int) -> list[LetterRecord]:
    """Return the letters to a person, the newest first."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM letters WHERE person = ? ORDER BY id DESC LIMIT ?", (person, limit)
    )
    return [_record(row) for row in rows]


def waiting_for(tx: Transaction, person: int) -> list[int]:
    """Return the letters that wait to be sent to a person."""
    rows = tx.all("SELECT id FROM letters WHERE person = ? AND state = 'waiting' ORDER BY id", (person,))
    return [row[0] for row in rows]


def in_state(tx: Transaction, state: str, before: int | None, limit: int) -> list[LetterRecord]:
    """Return letters in a state, the newest first, from `before` on backwards, which was seen."""
    seen = before if before is not None else 1 << 62
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM letters WHERE state = ? AND id < ? ORDER BY id DESC LIMIT ?",
        (state, seen, limit),
    )
    return [_record(row) for row in rows]


def count(tx: Transaction, state: str) -> dict[str, int]:
    """Return how many letters are in a state, by their medium."""
    return dict(tx.all("SELECT medium, count(*) FROM letters WHERE state = ? GROUP BY medium", (state,)))
