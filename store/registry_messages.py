"""What the civil registry told: each message once, by the registry's own number."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import from_unix, to_unix

_COLUMNS: Final = "id, sequence, kind, effective_at, person, outcome, received_at, received_by"


@dataclass(frozen=True, slots=True)
class RegistryMessageRecord:
    """A message; `person` None: of nobody who was on record."""

    id: str
    sequence: int
    kind: str
    effective_at: datetime
    person: int | None
    outcome: str
    received_at: datetime
    received_by: str


def _record(row: tuple[Any, ...]) -> RegistryMessageRecord:
    values = list(row)
    values[3], values[6] = from_unix(row[3]), from_unix(row[6])
    return RegistryMessageRecord(*values)


def add(tx: Transaction, message: RegistryMessageRecord) -> None:
    """Add a message; one of this number that is there already breaks a constraint."""
    tx.execute(
        f"INSERT INTO registry_messages ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            message.id,
            message.sequence,
            message.kind,
            to_unix(message.effective_at),
            message.person,
            message.outcome,
            to_unix(message.received_at),
            message.received_by,
        ),
    )


def get(tx: Transaction, message: str) -> RegistryMessageRecord | None:
    """Return a message by the registry's number, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM registry_messages WHERE id = ?", (message,))
    return _record(row) if row else None


def has_later(
    tx: Transaction, person: int, kinds: Collection[str], effective_at: datetime, sequence: int, message: str
) -> bool:
    """Return whether of these kinds a message of a person is known that took effect after this one.

    Of one moment the sequence decides, and of one sequence the number.
    """
    row = tx.one(
        f"SELECT 1 FROM registry_messages WHERE person = ? AND kind IN ({', '.join('?' * len(kinds))})"
        " AND (effective_at, sequence, id) > (?, ?, ?) LIMIT 1",
        (person, *sorted(kinds), to_unix(effective_at), sequence, message),
    )
    return row is not None
