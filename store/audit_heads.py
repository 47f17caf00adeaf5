"""Signed heads of the audit log, and up to which one each way has sent them. Append-only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import from_unix, to_unix

_COLUMNS: Final = "id, sequence, at, cms"


@dataclass(frozen=True, slots=True)
class AuditHeadRecord:
    """A head: its number, the audit record that it is of, when it was signed, and the SignedData in DER."""

    id: int
    sequence: int
    at: datetime
    cms: bytes


def _record(row: tuple[Any, ...]) -> AuditHeadRecord:
    return AuditHeadRecord(row[0], row[1], from_unix(row[2]), row[3])


def add(tx: Transaction, sequence: int, at: datetime, cms: bytes) -> AuditHeadRecord:
    """Add a head and return it; its number follows that of the last one."""
    last = newest(tx)
    record = AuditHeadRecord(last.id + 1 if last else 1, sequence, at, cms)
    tx.execute(
        f"INSERT INTO audit_heads ({_COLUMNS}) VALUES (?, ?, ?, ?)", (record.id, sequence, to_unix(at), cms)
    )
    return record


def newest(tx: Transaction) -> AuditHeadRecord | None:
    """Return the last head, or None before the first."""
    row = tx.one(f"SELECT {_COLUMNS} FROM audit_heads ORDER BY id DESC LIMIT 1")
    return _record(row) if row else None


def get(tx: Transaction, number: int) -> AuditHeadRecord | None:
    """Return the head of this number, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM audit_heads WHERE id = ?", (number,))
    return _record(row) if row else None


def after(tx: Transaction, number: int, limit: int) -> list[AuditHeadRecord]:
    """Return the heads after this number in order, at most `limit`."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM audit_heads WHERE id > ? ORDER BY id LIMIT ?", (number, limit))
    return [_record(row) for row in rows]


def covering(tx: Transaction, sequence: int) -> AuditHeadRecord | None:
    """Return the first head of this audit record or a later one, or None."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM audit_heads WHERE sequence >= ? ORDER BY sequence, id LIMIT 1", (sequence,)
    )
    return _record(row) if row else None


def sent(tx: Transaction, way: str) -> int | None:
    """Return the number of the last head that went this way, or None where none did."""
    row = tx.one("SELECT head FROM audit_head_ways WHERE way = ?", (way,))
    return int(row[0]) if row else None


def note_sent(tx: Transaction, way: str, number: int) -> None:
    """Note up to which head this way has sent them."""
    tx.execute(
        "INSERT INTO audit_head_ways (way, head) VALUES (?, ?)"
        " ON CONFLICT (way) DO UPDATE SET head = excluded.head",
        (way, number),
    )
