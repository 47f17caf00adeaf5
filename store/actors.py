"""Actors: who acts here, by which certificates, and in which roles."""

from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import (
    ActorCertificateRecord,
    ActorRecord,
    RoleRecord,
    from_unix,
    serial_to_blob,
    to_unix,
)

_ACTOR: Final = "a.id, a.name, a.person, a.version, a.added_at, a.added_by"
_ROLE: Final = "r.id, r.role, r.office, r.organization, r.everywhere, r.granted_at, r.granted_by"
_CERTIFICATE: Final = "authority, serial, added_at, added_by, removed_at, removed_by"


def _record(tx: Transaction, row: tuple[Any, ...]) -> ActorRecord:
    return _actor(row, roles(tx, row[0]))


def _actor(row: tuple[Any, ...], held: tuple[RoleRecord, ...]) -> ActorRecord:
    return ActorRecord(
        id=row[0],
        name=row[1],
        person=row[2],
        version=row[3],
        added_at=from_unix(row[4]),
        added_by=row[5],
        roles=held,
    )


def add(tx: Transaction, *, name: str, now: datetime, by: str) -> ActorRecord:
    """Add an actor that has no certificate and no role yet; a name in use breaks a constraint."""
    tx.execute(
        "INSERT INTO actors (name, version, added_at, added_by) VALUES (?, 0, ?, ?)",
        (name, to_unix(now), by),
    )
    found = with_name(tx, name)
    assert found is not None  # noqa: S101 - it was inserted just now
    return found


def get(tx: Transaction, actor: int) -> ActorRecord | None:
    """Return the actor with this number, or None."""
    row = tx.one(f"SELECT {_ACTOR} FROM actors a WHERE a.id = ?", (actor,))
    return _record(tx, row) if row else None


def with_name(tx: Transaction, name: str) -> ActorRecord | None:
    """Return the actor of this name, or None."""
    row = tx.one(f"SELECT {_ACTOR} FROM actors a WHERE a.name = ?", (name,))
    return _record(tx, row) if row else None


def with_certificate(tx: Transaction, authority: int, serial: int) -> ActorRecord | None:
    """Return the actor that has this certificate now, or None."""
    rows = tx.all(
        f"SELECT {_ACTOR}, {_ROLE} FROM actor_certificates c JOIN actors a ON a.id = c.actor"
        " LEFT JOIN actor_roles r ON r.actor = a.id AND r.withdrawn_at IS NULL"
        " WHERE c.authority = ? AND c.serial = ? AND c.removed_at IS NULL ORDER BY r.id",
        (authority, serial_to_blob(serial)),
    )
    # One row for each role; where it has none, a single one without any.
    return _actor(rows[0], tuple(_role(row[6:]) for row in rows if row[6] is not None)) if rows else None


def page(tx: Transaction, before: int, limit: int) -> list[ActorRecord]:
    """Return the actors with numbers below `before`, the newest first."""
    rows = tx.all(f"SELECT {_ACTOR} FROM actors a WHERE a.id < ? ORDER BY a.id DESC LIMIT ?", (before, limit))
    return [_record(tx, row) for row in rows]


def set_person(tx: Transaction, actor: int, person: int | None) -> None:
    """Note who an actor is, None where they are not on record; that counts its version."""
    tx.execute("UPDATE actors SET person = ?, version = version + 1 WHERE id = ?", (person, actor))


def of_person(tx: Transaction, person: int) -> list[ActorRecord]:
    """Return the actors that a person is."""
    rows = tx.all(f"SELECT {_ACTOR} FROM actors a WHERE a.person = ?", (person,))
    return [_record(tx, row) for row in rows]


def add_certificate(
    tx: Transaction, *, actor: int, authority: int, serial: int, now: datetime, by: str
) -> None:
    """Add a certificate of an actor and count its version; one that an actor has breaks a constraint."""
    tx.execute(
        "INSERT INTO actor_certificates (actor, authority, serial, added_at, added_by)"
        " VALUES (?, ?, ?, ?, ?)",
        (actor, authority, serial_to_blob(serial), to_unix(now), by),
    )
    tx.execute("UPDATE actors SET version = version + 1 WHERE id = ?", (actor,))


def certificates(tx: Transaction, actor: int, limit: int) -> list[ActorCertificateRecord]:
    """Return the certificates of an actor, removed ones too, the newest first."""
    rows = tx.all(
        f"SELECT {_CERTIFICATE} FROM actor_certificates WHERE actor = ? ORDER BY id DESC LIMIT ?",
        (actor, limit),
    )
    return [
        ActorCertificateRecord(
            authority=row[0],
            serial=int.from_bytes(row[1], "big"),
            added_at=from_unix(row[2]),
            added_by=row[3],
            removed_at=None if row[4] is None else from_unix(row[4]),
            removed_by=row[5],
        )
        for row in rows
    ]


def has_certificate(tx: Transaction, actor: int) -> bool:
    """Return whether an actor has a certificate now."""
    row = tx.one("SELECT 1 FROM actor_certificates WHERE actor = ? AND removed_at IS NULL", (actor,))
    return row is not None


def remove_certificates(tx: Transaction, actor: int, now: datetime, by: str) -> int:
    """Remove every certificate of an actor and count its version; return how many there were."""
    removed = tx.execute(
        "UPDATE actor_certificates SET removed_at = ?, removed_by = ? WHERE actor = ? AND removed_at IS NULL",
        (to_unix(now), by, actor),
    )
    tx.execute("UPDATE actors SET version = version + 1 WHERE id = ?", (actor,))
    return removed


def roles(tx: Transaction, actor: int) -> tuple[RoleRecord, ...]:
    """Return the roles that an actor has now, in the order in which they were granted."""
    rows = tx.all(
        f"SELECT {_ROLE} FROM actor_roles r WHERE r.actor = ? AND r.withdrawn_at IS NULL ORDER BY r.id",
        (actor,),
    )
    return tuple(map(_role, rows))


def _role(row: tuple[Any, ...]) -> RoleRecord:
    return RoleRecord(row[0], row[1], row[2], row[3], bool(row[4]), from_unix(row[5]), row[6])


def add_role(
    tx: Transaction,
    *,
    actor: int,
    role: str,
    office: int | None,
    organization: int | None,
    everywhere: bool,
    now: datetime,
    by: str,
) -> None:
    """Give an actor a role; one that it has in this place breaks a constraint."""
    tx.execute(
        "INSERT INTO actor_roles (actor, role, office, organization, everywhere, granted_at, granted_by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (actor, role, office, organization, int(everywhere), to_unix(now), by),
    )


def end_role(tx: Transaction, role: int, now: datetime, by: str) -> None:
    """Take a role back."""
    tx.execute(
        "UPDATE actor_roles SET withdrawn_at = ?, withdrawn_by = ? WHERE id = ? AND withdrawn_at IS NULL",
        (to_unix(now), by, role),
    )


def count_with_role(tx: Transaction, role: str) -> int:
    """Return how many actors have a role."""
    row = tx.one(
        "SELECT count(DISTINCT actor) FROM actor_roles WHERE role = ? AND withdrawn_at IS NULL", (role,)
    )
    return int(row[0]) if row else 0
