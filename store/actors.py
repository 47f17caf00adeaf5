"""Programs that act on behalf of others: a name and a role for a certificate."""

from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import ActorRecord, from_unix, serial_to_blob, to_unix

_COLUMNS: Final = "id, name, role, authority, serial, added_at, added_by, removed_at, removed_by"


def _record(row: tuple[Any, ...]) -> ActorRecord:
    return ActorRecord(
        id=row[0],
        name=row[1],
        role=row[2],
        authority=row[3],
        serial=int.from_bytes(row[4], "big"),
        added_at=from_unix(row[5]),
        added_by=row[6],
        removed_at=None if row[7] is None else from_unix(row[7]),
        removed_by=row[8],
    )


def add(
    tx: Transaction, *, name: str, role: str, authority: int, serial: int, now: datetime, by: str
) -> None:
    """Add a certificate of an actor; one that an actor has already breaks a constraint."""
    tx.execute(
        "INSERT INTO actors (name, role, authority, serial, added_at, added_by) VALUES (?, ?, ?, ?, ?, ?)",
        (name, role, authority, serial_to_blob(serial), to_unix(now), by),
    )


def with_certificate(tx: Transaction, authority: int, serial: int) -> ActorRecord | None:
    """Return the actor that has this certificate now, or None."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM actors WHERE authority = ? AND serial = ? AND removed_at IS NULL",
        (authority, serial_to_blob(serial)),
    )
    return _record(row) if row else None


def newest(tx: Transaction, limit: int) -> list[ActorRecord]:
    """Return the actors, removed ones too, the newest first."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM actors ORDER BY id DESC LIMIT ?", (limit,))
    return [_record(row) for row in rows]


def page(tx: Transaction, before: int, limit: int) -> list[ActorRecord]:
    """Return the actors with numbers below `before`, removed ones too, the newest first."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM actors WHERE id < ? ORDER BY id DESC LIMIT ?", (before, limit))
    return [_record(row) for row in rows]


def get(tx: Transaction, actor: int) -> ActorRecord | None:
    """Return the actor with this number, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM actors WHERE id = ?", (actor,))
    return _record(row) if row else None


def remove(tx: Transaction, name: str, now: datetime, by: str) -> int:
    """Remove every certificate of an actor; return how many there were."""
    return tx.execute(
        "UPDATE actors SET removed_at = ?, removed_by = ? WHERE name = ? AND removed_at IS NULL",
        (to_unix(now), by, name),
    )
