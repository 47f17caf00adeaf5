"""Published CRLs, each with what its entries do not tell, so that it can be made again; and shards."""

from datetime import datetime
from typing import Any

from store import facts
from store.database import Transaction
from store.records import CRLRecord, CRLShardRecord, from_unix, to_unix

FULL = "full"
DELTA = "delta"

_NUMBERS_AFTER = "crl-numbers-after"
_COLUMNS = (
    "authority, scope, kind, number, base_number, this_update, next_update, events_to, not_expired_at,"
    " entries, octets, sha256, head, tail, signature"
)


def _record(row: tuple[Any, ...]) -> CRLRecord:
    this_update, next_update = from_unix(row[5]), from_unix(row[6])
    not_expired_at = None if row[8] is None else from_unix(row[8])
    scope = (row[0], row[1], row[2], row[3], row[4])
    return CRLRecord(*scope, this_update, next_update, row[7], not_expired_at, *row[9:])


def add(tx: Transaction, record: CRLRecord) -> None:
    """Record a published CRL; a number used before for its kind breaks a constraint."""
    tx.execute(
        f"INSERT INTO crls ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.authority,
            record.scope,
            record.kind,
            record.number,
            record.base_number,
            to_unix(record.this_update),
            to_unix(record.next_update),
            record.events_to,
            None if record.not_expired_at is None else to_unix(record.not_expired_at),
            record.entries,
            record.octets,
            record.sha256,
            record.head,
            record.tail,
            record.signature,
        ),
    )


def get(tx: Transaction, authority: int, scope: int, kind: str, number: int) -> CRLRecord | None:
    """Return one published CRL, or None."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM crls WHERE authority = ? AND scope = ? AND kind = ? AND number = ?",
        (authority, scope, kind, number),
    )
    return _record(row) if row else None


def latest(tx: Transaction, authority: int, scope: int, kind: str) -> CRLRecord | None:
    """Return the newest CRL of one scope and kind, or None before the first."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM crls WHERE authority = ? AND scope = ? AND kind = ?"
        " ORDER BY number DESC LIMIT 1",
        (authority, scope, kind),
    )
    return _record(row) if row else None


def in_force_at(tx: Transaction, authority: int, scope: int, kind: str, moment: datetime) -> CRLRecord | None:
    """Return the newest CRL of one scope and kind whose thisUpdate is not after `moment`, or None."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM crls WHERE authority = ? AND scope = ? AND kind = ? AND this_update <= ?"
        " ORDER BY this_update DESC, number DESC LIMIT 1",
        (authority, scope, kind, to_unix(moment)),
    )
    return _record(row) if row else None


def use_numbers_after(tx: Transaction, number: int) -> None:
    """Have every further CRL numbered above `number`, whatever is recorded of those before."""
    facts.put(tx, _NUMBERS_AFTER, str(number))


def numbers_after(tx: Transaction) -> int:
    """Return what `use_numbers_after` was told last, 0 before."""
    return int(facts.get(tx, _NUMBERS_AFTER) or 0)


def add_shard(tx: Transaction, record: CRLShardRecord) -> None:
    """Record a shard; its address never changes, for certificates name it."""
    tx.execute(
        "INSERT INTO crl_shards (authority, shard, url) VALUES (?, ?, ?)",
        (record.authority, record.shard, record.url),
    )


def shards(tx: Transaction, authority: int) -> list[CRLShardRecord]:
    """Return the shards of an authority, in order; those that no new certificate gets included."""
    rows = tx.all(
        "SELECT authority, shard, url FROM crl_shards WHERE authority = ? ORDER BY shard", (authority,)
    )
    return [CRLShardRecord(*row) for row in rows]
