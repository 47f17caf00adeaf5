"""Documents that were made as PDF: what proves them. Their octets are personal data of their rows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import from_unix, to_unix

_COLUMNS: Final = "id, kind, language, application, decided_case, octets, sha256, made_at, made_by, erased_at"


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document of an application or of a case, one of the two."""

    kind: str
    language: str
    application: int | None
    decided_case: int | None
    octets: int
    sha256: bytes
    made_at: datetime
    made_by: str


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """A document without its octets; `erased_at` is since when they are no more."""

    id: int
    kind: str
    language: str
    application: int | None
    decided_case: int | None
    octets: int
    sha256: bytes
    made_at: datetime
    made_by: str
    erased_at: datetime | None


def _record(row: tuple[Any, ...]) -> DocumentRecord:
    values = list(row)
    for column in (7, 9):
        values[column] = from_unix(row[column]) if row[column] is not None else None
    return DocumentRecord(*values)


def add(tx: Transaction, new: NewDocument) -> DocumentRecord:
    """Add a document; the very same one made before breaks a constraint."""
    row = tx.one(
        "INSERT INTO documents (kind, language, application, decided_case, octets, sha256, made_at, made_by)"
        f" VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}",
        (
            new.kind,
            new.language,
            new.application,
            new.decided_case,
            new.octets,
            new.sha256,
            to_unix(new.made_at),
            new.made_by,
        ),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return _record(row)


def same(tx: Transaction, new: NewDocument) -> DocumentRecord | None:
    """Return the document of the same thing with the same octets, or None."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM documents WHERE application IS ? AND decided_case IS ? AND kind = ?"
        " AND language = ? AND sha256 = ?",
        (new.application, new.decided_case, new.kind, new.language, new.sha256),
    )
    return _record(row) if row else None


def get(tx: Transaction, document: int) -> DocumentRecord | None:
    """Return a document, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM documents WHERE id = ?", (document,))
    return _record(row) if row else None


def of_application(tx: Transaction, application: int, limit: int) -> list[DocumentRecord]:
    """Return the documents of an application, the oldest first."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM documents WHERE application = ? ORDER BY id LIMIT ?", (application, limit)
    )
    return [_record(row) for row in rows]


def of_case(tx: Transaction, case: int, limit: int) -> list[DocumentRecord]:
    """Return the documents of a case, the oldest first."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM documents WHERE decided_case = ? ORDER BY id LIMIT ?", (case, limit)
    )
    return [_record(row) for row in rows]


def of_person(tx: Transaction, person: int) -> list[int]:
    """Return the numbers of the documents that are kept of a person's applications and cases."""
    rows = tx.all(
        "SELECT d.id FROM documents d JOIN applications a ON a.id = d.application"
        " WHERE a.person = ? AND d.erased_at IS NULL"
        " UNION ALL SELECT d.id FROM documents d JOIN cases c ON c.id = d.decided_case"
        " WHERE c.person = ? AND d.erased_at IS NULL",
        (person, person),
    )
    return [row[0] for row in rows]


def mark_erased(tx: Transaction, document: int, now: datetime) -> bool:
    """Note that a document's octets are no more; False where they were erased before."""
    return (
        tx.execute(
            "UPDATE documents SET erased_at = ? WHERE id = ? AND erased_at IS NULL", (to_unix(now), document)
        )
        == 1
    )
