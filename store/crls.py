"""Published CRLs and their numbers."""

from typing import Any

from store.database import Transaction
from store.records import CRLRecord, from_unix, to_unix

_COLUMNS = "authority, number, this_update, next_update, events_to, sha256, crl"


def _record(row: tuple[Any, ...]) -> CRLRecord:
    return CRLRecord(row[0], row[1], from_unix(row[2]), from_unix(row[3]), *row[4:])


def add(tx: Transaction, record: CRLRecord) -> None:
    """Record a published CRL as the newest; the bytes of the one before are let go."""
    tx.execute("UPDATE crls SET crl = NULL WHERE authority = ? AND crl IS NOT NULL", (record.authority,))
    tx.execute(
        f"INSERT INTO crls ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            record.authority,
            record.number,
            to_unix(record.this_update),
            to_unix(record.next_update),
            record.events_to,
            record.sha256,
            record.crl,
        ),
    )


def latest(tx: Transaction, authority: int) -> CRLRecord | None:
    """Return the newest CRL of an authority, or None before the first."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM crls WHERE authority = ? ORDER BY number DESC LIMIT 1", (authority,)
    )
    return _record(row) if row else None
