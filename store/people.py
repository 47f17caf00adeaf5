"""People: their names, and what was changed of them. All else of them is in `store.personal_data`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import from_unix, to_unix

_COLUMNS: Final = "id, parent_name, clan_name, given_name, version, created_at, updated_at, erased_at"
_CHANGE: Final = "id, person, version, field, actor, ground, at"
_ERASURE: Final = "person, version, asked_by, asked_role, asked_person, ground, asked_at"
_LAST: Final = "\U0010ffff"  # sorts after any text that begins as the prefix does


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """A person; the names are None once they are erased, the clan's also where there is none."""

    id: int
    parent_name: str | None
    clan_name: str | None
    given_name: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    erased_at: datetime | None


@dataclass(frozen=True, slots=True)
class PersonChangeRecord:
    """One field that was changed, in which version; the value before is personal data of this row."""

    id: int
    person: int
    version: int
    field: str
    actor: str
    ground: str
    at: datetime


@dataclass(frozen=True, slots=True)
class NameRow:
    """Names as they are written and as they are searched by."""

    parent_name: str
    clan_name: str | None
    given_name: str
    name_key: str
    full_name_key: str


def _record(row: tuple[Any, ...]) -> PersonRecord:
    erased_at = None if row[7] is None else from_unix(row[7])
    values: tuple[Any, ...] = (*row[:5], from_unix(row[5]), from_unix(row[6]), erased_at)
    return PersonRecord(*values)


def add(tx: Transaction, names: NameRow, now: datetime) -> PersonRecord:
    """Add a person and return them."""
    row = tx.one(
        "INSERT INTO people (parent_name, clan_name, given_name, name_key, full_name_key, version,"
        f" created_at, updated_at) VALUES (?, ?, ?, ?, ?, 1, ?, ?) RETURNING {_COLUMNS}",
        (*_values(names), to_unix(now), to_unix(now)),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return _record(row)


def _values(names: NameRow) -> tuple[str | None, ...]:
    return names.parent_name, names.clan_name, names.given_name, names.name_key, names.full_name_key


def change(tx: Transaction, person: int, seen_version: int, names: NameRow, now: datetime) -> bool:
    """Set the names and count the version; False where it is another one by now, or all is erased."""
    return (
        tx.execute(
            "UPDATE people SET parent_name = ?, clan_name = ?, given_name = ?, name_key = ?,"
            " full_name_key = ?, version = version + 1, updated_at = ?"
            " WHERE id = ? AND version = ? AND erased_at IS NULL",
            (*_values(names), to_unix(now), person, seen_version),
        )
        == 1
    )


def erase(tx: Transaction, person: int, now: datetime) -> bool:
    """Remove the names; False where they were, or there is no such person."""
    return (
        tx.execute(
            "UPDATE people SET parent_name = NULL, clan_name = NULL, given_name = NULL, name_key = NULL,"
            " full_name_key = NULL, version = version + 1, updated_at = ?, erased_at = ?"
            " WHERE id = ? AND erased_at IS NULL",
            (to_unix(now), to_unix(now), person),
        )
        == 1
    )


def get(tx: Transaction, person: int) -> PersonRecord | None:
    """Return a person, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM people WHERE id = ?", (person,))
    return _record(row) if row else None


def with_name_prefix(
    tx: Transaction, prefix: str, limit: int, after: int | None = None
) -> list[PersonRecord]:
    """Return people whose name begins so, the given name first or the parent's, in the order of these names.

    From behind the person `after` on, where they are given; nobody comes twice.
    """
    end = prefix + _LAST
    key, last = _place(tx, prefix, after)
    in_order = (
        f"SELECT {{key}}, {_COLUMNS} FROM people WHERE ({{key}}, id) > (?, ?) AND {{key}} < ?"
        " {besides} ORDER BY {key}, id LIMIT ?"
    )
    by_given = in_order.format(key="name_key", besides="")
    by_parent = in_order.format(key="full_name_key", besides="AND NOT (name_key >= ? AND name_key < ?)")
    rows = tx.all(
        f"SELECT * FROM ({by_given}) UNION ALL SELECT * FROM ({by_parent}) ORDER BY 1, 2 LIMIT ?",
        (key, last, end, limit, key, last, end, prefix, end, limit, limit),
    )
    return [_record(row[1:]) for row in rows]


def _place(tx: Transaction, prefix: str, person: int | None) -> tuple[str, int]:
    """Return where in the order of names that begin so a person stands; the beginning for None."""
    if person is None:
        return prefix, 0
    row = tx.one("SELECT name_key, full_name_key FROM people WHERE id = ?", (person,))
    keys = [key for key in row or () if key is not None and key.startswith(prefix)]
    return (keys[0], person) if keys else (prefix, 0)


def add_change(
    tx: Transaction, *, person: int, version: int, field: str, actor: str, ground: str, now: datetime
) -> int:
    """Note that a field was changed; return the row whose personal data the value before is."""
    row = tx.one(
        "INSERT INTO person_changes (person, version, field, actor, ground, at) VALUES (?, ?, ?, ?, ?, ?)"
        " RETURNING id",
        (person, version, field, actor, ground, to_unix(now)),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return int(row[0])


def changes(tx: Transaction, person: int, limit: int) -> list[PersonChangeRecord]:
    """Return what was changed of a person, the latest first."""
    rows = tx.all(
        f"SELECT {_CHANGE} FROM person_changes WHERE person = ? ORDER BY id DESC LIMIT ?", (person, limit)
    )
    values: list[tuple[Any, ...]] = [(*row[:6], from_unix(row[6])) for row in rows]
    return [PersonChangeRecord(*value) for value in values]


def all_change_ids(tx: Transaction, person: int) -> list[int]:
    """Return the rows of all changes of a person, of which personal data are kept."""
    return [row[0] for row in tx.all("SELECT id FROM person_changes WHERE person = ?", (person,))]


@dataclass(frozen=True, slots=True)
class ErasureRecord:
    """An erasure that somebody asked for, of a person as they saw it; a second person is to confirm it."""

    person: int
    version: int
    asked_by: str
    asked_role: str
    asked_person: int | None
    ground: str
    asked_at: datetime


def ask_erasure(tx: Transaction, asked: ErasureRecord) -> None:
    """Note an erasure that was asked for, in place of one before."""
    tx.execute(
        f"INSERT OR REPLACE INTO person_erasures ({_ERASURE}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            asked.person,
            asked.version,
            asked.asked_by,
            asked.asked_role,
            asked.asked_person,
            asked.ground,
            to_unix(asked.asked_at),
        ),
    )


def asked_erasure(tx: Transaction, person: int) -> ErasureRecord | None:
    """Return the erasure that was asked for, or None."""
    row = tx.one(f"SELECT {_ERASURE} FROM person_erasures WHERE person = ?", (person,))
    if row is None:
        return None
    values: tuple[Any, ...] = (*row[:6], from_unix(row[6]))
    return ErasureRecord(*values)


def end_erasure(tx: Transaction, person: int) -> None:
    """Forget that an erasure was asked for."""
    tx.execute("DELETE FROM person_erasures WHERE person = ?", (person,))
