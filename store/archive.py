"""Archive units and the packages in which they are handed over: manifests, signatures, receipts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import from_unix, to_unix

_UNIT: Final = "id, application, decided_case, made_at, made_by, manifest, signature, package"
_PACKAGE: Final = "id, made_at, made_by, manifest, signature, taken_at, receipt, receipt_signature"


@dataclass(frozen=True, slots=True)
class UnitRecord:
    """A unit of an application or of a case; `package` is the one by which it was handed over."""

    id: int
    application: int | None
    decided_case: int | None
    made_at: datetime
    made_by: str
    manifest: bytes
    signature: bytes
    package: int | None


@dataclass(frozen=True, slots=True)
class PackageRecord:
    """A package; what is said of its hand-over is None until then."""

    id: int
    made_at: datetime
    made_by: str
    manifest: bytes
    signature: bytes
    taken_at: datetime | None
    receipt: bytes | None
    receipt_signature: bytes | None


def _unit(row: tuple[Any, ...]) -> UnitRecord:
    values = list(row)
    values[3] = from_unix(row[3])
    return UnitRecord(*values)


def _package(row: tuple[Any, ...]) -> PackageRecord:
    values = list(row)
    values[1] = from_unix(row[1])
    values[5] = from_unix(row[5]) if row[5] is not None else None
    return PackageRecord(*values)


def next_unit(tx: Transaction) -> int:
    """Return the number that the next unit gets, which is signed before it is kept."""
    row = tx.one("SELECT coalesce(max(id), 0) + 1 FROM archive_units", ())
    return int(row[0]) if row else 1


def next_package(tx: Transaction) -> int:
    """Return the number that the next package gets."""
    row = tx.one("SELECT coalesce(max(id), 0) + 1 FROM archive_packages", ())
    return int(row[0]) if row else 1


def add_unit(tx: Transaction, unit: UnitRecord) -> None:
    """Keep a signed unit; its number taken, or a second one of a thing, breaks a constraint."""
    tx.execute(
        f"INSERT INTO archive_units ({_UNIT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            unit.id,
            unit.application,
            unit.decided_case,
            to_unix(unit.made_at),
            unit.made_by,
            unit.manifest,
            unit.signature,
            unit.package,
        ),
    )


def unit(tx: Transaction, number: int) -> UnitRecord | None:
    """Return a unit, or None."""
    row = tx.one(f"SELECT {_UNIT} FROM archive_units WHERE id = ?", (number,))
    return _unit(row) if row else None


def unit_of(tx: Transaction, application: int | None, case: int | None) -> UnitRecord | None:
    """Return the unit of an application or of a case, or None."""
    row = tx.one(
        f"SELECT {_UNIT} FROM archive_units WHERE application IS ? AND decided_case IS ?", (application, case)
    )
    return _unit(row) if row else None


def pending_applications(tx: Transaction, until: datetime, limit: int) -> list[int]:
    """Return finished applications, last changed before `until`, whose unit nobody has taken yet."""
    rows = tx.all(
        "SELECT a.id FROM applications a LEFT JOIN archive_units u ON u.application = a.id"
        " WHERE a.state IN ('delivered', 'closed') AND a.name_key IS NOT NULL AND a.updated_at < ?"
        " AND u.package IS NULL ORDER BY a.id LIMIT ?",
        (to_unix(until), limit),
    )
    return [row[0] for row in rows]


def pending_cases(tx: Transaction, until: datetime, limit: int) -> list[int]:
    """Return cases that were decided before `until`, whose unit nobody has taken yet."""
    rows = tx.all(
        "SELECT c.id FROM cases c LEFT JOIN archive_units u ON u.decided_case = c.id"
        " WHERE c.state != 'received' AND c.decided_at < ? AND u.package IS NULL ORDER BY c.id LIMIT ?",
        (to_unix(until), limit),
    )
    return [row[0] for row in rows]


def units_of_person(tx: Transaction, person: int) -> list[int]:
    """Return the numbers of the units of a person's applications and cases."""
    rows = tx.all(
        "SELECT u.id FROM archive_units u JOIN applications a ON a.id = u.application WHERE a.person = ?"
        " UNION ALL SELECT u.id FROM archive_units u JOIN cases c ON c.id = u.decided_case"
        " WHERE c.person = ?",
        (person, person),
    )
    return [row[0] for row in rows]


def add_package(tx: Transaction, package: PackageRecord) -> None:
    """Keep a signed package that nobody has taken yet."""
    tx.execute(
        "INSERT INTO archive_packages (id, made_at, made_by, manifest, signature) VALUES (?, ?, ?, ?, ?)",
        (package.id, to_unix(package.made_at), package.made_by, package.manifest, package.signature),
    )


def package(tx: Transaction, number: int) -> PackageRecord | None:
    """Return a package, or None."""
    row = tx.one(f"SELECT {_PACKAGE} FROM archive_packages WHERE id = ?", (number,))
    return _package(row) if row else None


def hand_over(tx: Transaction, number: int, at: datetime, receipt: bytes, signature: bytes) -> bool:
    """Keep the receipt of a package; False where it has one."""
    return (
        tx.execute(
            "UPDATE archive_packages SET taken_at = ?, receipt = ?, receipt_signature = ?"
            " WHERE id = ? AND taken_at IS NULL",
            (to_unix(at), receipt, signature, number),
        )
        == 1
    )


def set_package(tx: Transaction, unit: int, package: int) -> bool:
    """Note by which package a unit was handed over; False where another one did."""
    return (
        tx.execute("UPDATE archive_units SET package = ? WHERE id = ? AND package IS NULL", (package, unit))
        == 1
    )
