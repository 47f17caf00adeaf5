"""Offices where people apply, and when they work."""

from dataclasses import dataclass
from typing import Any, Final

from store.database import Transaction

_COLUMNS: Final = "id, code, name, kind, opens_at, closes_at, break_from, break_to, weekdays, version"


@dataclass(frozen=True, slots=True)
class OfficeRecord:
    """An office; times are minutes after midnight, `weekdays` digits of which 1 is Monday."""

    id: int
    code: str
    name: str
    kind: str
    opens_at: int
    closes_at: int
    break_from: int
    break_to: int
    weekdays: str
    version: int


def _record(row: tuple[Any, ...]) -> OfficeRecord:
    return OfficeRecord(*row)


def add(tx: Transaction, office: OfficeRecord) -> OfficeRecord:
    """Add an office, whatever its id and version are, and return it; a code in use breaks a constraint."""
    row = tx.one(
        f"INSERT INTO offices ({_COLUMNS}) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, 1) RETURNING {_COLUMNS}",
        (
            office.code,
            office.name,
            office.kind,
            office.opens_at,
            office.closes_at,
            office.break_from,
            office.break_to,
            office.weekdays,
        ),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return _record(row)


def change(tx: Transaction, office: OfficeRecord) -> bool:
    """Set all of an office but its code; False where its version is another one by now."""
    return (
        tx.execute(
            "UPDATE offices SET name = ?, kind = ?, opens_at = ?, closes_at = ?, break_from = ?,"
            " break_to = ?, weekdays = ?, version = version + 1 WHERE id = ? AND version = ?",
            (
                office.name,
                office.kind,
                office.opens_at,
                office.closes_at,
                office.break_from,
                office.break_to,
                office.weekdays,
                office.id,
                office.version,
            ),
        )
        == 1
    )


def with_code(tx: Transaction, code: str) -> OfficeRecord | None:
    """Return the office of this code, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM offices WHERE code = ?", (code,))
    return _record(row) if row else None


def get(tx: Transaction, office: int) -> OfficeRecord | None:
    """Return an office, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM offices WHERE id = ?", (office,))
    return _record(row) if row else None


def in_order(tx: Transaction, limit: int) -> list[OfficeRecord]:
    """Return the offices by their codes."""
    return [_record(row) for row in tx.all(f"SELECT {_COLUMNS} FROM offices ORDER BY code LIMIT ?", (limit,))]


def set_day(tx: Transaction, office: int, day: str, *, works: bool) -> None:
    """Note that an office works on a day, or does not, whatever the day of the week."""
    tx.execute(
        "INSERT INTO office_days (office, day, works) VALUES (?, ?, ?)"
        " ON CONFLICT (office, day) DO UPDATE SET works = excluded.works",
        (office, day, int(works)),
    )


def days(tx: Transaction, office: int, from_day: str, to_day: str) -> dict[str, bool]:
    """Return the days of an office that differ from its week, both ends included."""
    rows = tx.all(
        "SELECT day, works FROM office_days WHERE office = ? AND day BETWEEN ? AND ?",
        (office, from_day, to_day),
    )
    return {day: bool(works) for day, works in rows}
