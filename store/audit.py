"""The audit log: append-only, each record bound to the one before it by a hash.

Personal data stand beside the chain: only their salted hash goes into it, so that they can be erased.
"""

import hashlib
import json
import secrets
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import AuditEntry, AuditRecord, from_unix, to_unix

GENESIS: Final = bytes(32)  # what the first record is bound to
_SALT_OCTETS: Final = 16
_TAIL: Final = "audit"  # of a memo: sequence, time and hash of the last record
_LAST_MOMENT: Final = 253_402_300_799  # the end of the year 9999
_COLUMNS = "sequence, at, actor, action, outcome, detail, personal_salt, personal, personal_hash, hash"


def _record(row: tuple[Any, ...]) -> AuditRecord:
    return AuditRecord(row[0], _moment(row[1]), *row[2:])


def _moment(at: Any) -> datetime:
    """Return the time of a record; for what somebody made no time of, one that breaks the chain."""
    return from_unix(_unix_or_zero(at))


def _unix_or_zero(at: Any) -> int:
    return at if type(at) is int and 0 <= at <= _LAST_MOMENT else 0


def personal_hash(salt: bytes, personal: str) -> bytes:
    """Return what the chain holds of personal data."""
    return hashlib.sha256(salt + personal.encode()).digest()


_encoded: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def record_text(record: AuditRecord) -> bytes:
    """Return the octets of a record that its hash is over."""
    return _text(
        record.sequence,
        to_unix(record.at),
        AuditEntry(record.at, record.actor, record.action, record.outcome, record.detail),
        record.personal_hash,
    )


def _text(sequence: int, at: int, entry: AuditEntry, bound: bytes | None) -> bytes:
    personal = None if bound is None else bound.hex()
    return _encoded([sequence, at, entry.actor, entry.action, entry.outcome, entry.detail, personal]).encode(
        "ascii"
    )


def text_digest(record: AuditRecord) -> bytes:
    """Return the SHA-256 of a record's text: all that a proof about other records shows of this one."""
    return hashlib.sha256(record_text(record)).digest()


def link(previous: bytes, digest: bytes) -> bytes:
    """Return the hash of the record whose text has this digest, bound to the hash of the one before."""
    return hashlib.sha256(previous + digest).digest()


def record_hash(previous: bytes, record: AuditRecord) -> bytes:
    """Return the hash of a record bound to the hash of the one before (its own `hash` is not read)."""
    return link(previous, text_digest(record))


def append(tx: Transaction, entry: AuditEntry) -> AuditRecord:
    """Append a record and return it. Its time never goes back behind the record before."""
    last = tx.memo.get(_TAIL) or tx.one("SELECT sequence, at, hash FROM audit ORDER BY sequence DESC LIMIT 1")
    before, since, previous = last or (0, 0, GENESIS)
    sequence, at = before + 1, max(to_unix(entry.at), _unix_or_zero(since))
    salt = secrets.token_bytes(_SALT_OCTETS) if entry.personal is not None else None
    bound = personal_hash(salt, entry.personal) if salt and entry.personal is not None else None
    bound_to = link(previous, hashlib.sha256(_text(sequence, at, entry, bound)).digest())
    columns = (entry.actor, entry.action, entry.outcome, entry.detail, salt, entry.personal, bound, bound_to)
    tx.execute(
        f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (sequence, at, *columns)
    )
    tx.memo[_TAIL] = sequence, at, bound_to
    return AuditRecord(sequence, from_unix(at), *columns)


def head(tx: Transaction) -> AuditRecord | None:
    """Return the last record, or None when there is none."""
    row = tx.one(f"SELECT {_COLUMNS} FROM audit ORDER BY sequence DESC LIMIT 1")
    return _record(row) if row else None


def get(tx: Transaction, sequence: int) -> AuditRecord | None:
    """Return one record, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM audit WHERE sequence = ?", (sequence,))
    return _record(row) if row else None


def newest(tx: Transaction, limit: int) -> list[AuditRecord]:
    """Return the last records, the newest first, at most `limit`."""
    return [
        _record(row)
        for row in tx.all(f"SELECT {_COLUMNS} FROM audit ORDER BY sequence DESC LIMIT ?", (limit,))
    ]


def after(tx: Transaction, sequence: int, limit: int) -> list[AuditRecord]:
    """Return the records after `sequence` in order, at most `limit`."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?", (sequence, limit)
    )
    return [_record(row) for row in rows]
