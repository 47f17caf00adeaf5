"""Purges of documents: which ones one person asked to erase, until a second person confirmed it."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import from_unix, to_unix

_COLUMNS: Final = "id, kind, documents, ground, asked_by, asked_role, asked_person, asked_at, decided_at"


@dataclass(frozen=True, slots=True)
class PurgeRecord:
    """A purge of documents of one kind of thing; `decided_at` is None while it waits."""

    id: int
    kind: str
    documents: tuple[int, ...]
    ground: str
    asked_by: str
    asked_role: str
    asked_person: int | None
    asked_at: datetime
    decided_at: datetime | None


def _record(row: tuple[Any, ...]) -> PurgeRecord:
    values = list(row)
    values[2] = tuple(json.loads(row[2]))
    values[7] = from_unix(row[7])
    values[8] = from_unix(row[8]) if row[8] is not None else None
    return PurgeRecord(*values)


def ask(
    tx: Transaction,
    *,
    kind: str,
    documents: list[int],
    ground: str,
    by: str,
    role: str,
    person: int | None,
    now: datetime,
) -> PurgeRecord:
    """Write down what is asked for."""
    row = tx.one(
        "INSERT INTO document_purges (kind, documents, ground, asked_by, asked_role, asked_person, asked_at)"
        f" VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}",
        (kind, json.dumps(documents), ground, by, role, person, to_unix(now)),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return _record(row)


def get(tx: Transaction, purge: int) -> PurgeRecord | None:
    """Return a purge, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM document_purges WHERE id = ?", (purge,))
    return _record(row) if row else None


def decide(tx: Transaction, purge: int, by: str, now: datetime) -> bool:
    """Note that a purge was confirmed; False where it was before."""
    return (
        tx.execute(
            "UPDATE document_purges SET decided_at = ?, decided_by = ? WHERE id = ? AND decided_at IS NULL",
            (to_unix(now), by, purge),
        )
        == 1
    )


def of_applications(
    tx: Transaction, after: int, ended_before: datetime, handed_over: bool, limit: int
) -> list[tuple[int, str | None]]:
    """Return kept documents behind a number whose application and certificate ended before then.

    Each with the subject of the certificate, whose later certificates the caller looks at. `handed_over`:
    those alone that the archive has taken.
    """
    rows = tx.all(
        "SELECT d.id, c.subject FROM documents d JOIN applications a ON a.id = d.application"
        " LEFT JOIN certificates c ON c.authority = a.authority AND c.serial = a.serial"
        " LEFT JOIN archive_units u ON u.application = a.id"
        " WHERE d.id > ? AND d.erased_at IS NULL AND a.updated_at < ? AND coalesce(c.not_after, 0) < ?"
        " AND (? = 0 OR u.package IS NOT NULL) ORDER BY d.id LIMIT ?",
        (after, to_unix(ended_before), to_unix(ended_before), int(handed_over), limit),
    )
    return [(row[0], row[1]) for row in rows]


def of_cases(
    tx: Transaction, after: int, ended_before: datetime, handed_over: bool, limit: int
) -> list[tuple[int, str | None]]:
    """Return kept documents of cases as `of_applications` does: decided, and their certificate ended."""
    rows = tx.all(
        "SELECT d.id, c.subject FROM documents d JOIN cases k ON k.id = d.decided_case"
        " LEFT JOIN certificates c ON c.authority = k.authority AND c.serial = k.serial"
        " LEFT JOIN archive_units u ON u.decided_case = k.id"
        " WHERE d.id > ? AND d.erased_at IS NULL AND k.decided_at < ? AND coalesce(c.not_after, 0) < ?"
        " AND (? = 0 OR u.package IS NOT NULL) ORDER BY d.id LIMIT ?",
        (after, to_unix(ended_before), to_unix(ended_before), int(handed_over), limit),
    )
    return [(row[0], row[1]) for row in rows]
