"""What CRLs and OCSP say of suspended and revoked certificates, and from which event till which they say it.

A row says: from status event `since` on, CRLs hold this DER entry, until event `until` (exclusive; None:
still). What holds at an event never changes afterwards, so that a CRL can be read in parts, each in a
transaction of its own, and an old one made again. Scope 0 is every certificate of an authority, a higher one
a shard of them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.database import Transaction, Value
from store.records import CRLEntryRecord, from_unix, serial_to_blob, to_unix

_COLUMNS = "authority, serial, since, until, shard, revoked_at, reason, not_after, entry"


def _record(row: tuple[Any, ...]) -> CRLEntryRecord:
    serial, revoked_at, not_after = int.from_bytes(row[1], "big"), from_unix(row[5]), from_unix(row[7])
    return CRLEntryRecord(row[0], serial, row[2], row[3], row[4], revoked_at, row[6], not_after, row[8])


def begin(tx: Transaction, record: CRLEntryRecord) -> None:
    """Have CRLs say this from event `since` on, in place of what they said; not where it is the same."""
    told = current(tx, record.authority, record.serial)
    if told is not None and told.entry == record.entry:
        return
    end(tx, record.authority, record.serial, record.since)
    tx.execute(
        f"INSERT INTO crl_entries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.authority,
            serial_to_blob(record.serial),
            record.since,
            record.until,
            record.shard,
            to_unix(record.revoked_at),
            record.reason,
            to_unix(record.not_after),
            record.entry,
        ),
    )


def end(tx: Transaction, authority: int, serial: int, until: int) -> None:
    """Have CRLs say nothing of a certificate any more, from this event on."""
    tx.execute(
        "UPDATE crl_entries SET until = ? WHERE authority = ? AND serial = ? AND until IS NULL",
        (until, authority, serial_to_blob(serial)),
    )


def current(tx: Transaction, authority: int, serial: int) -> CRLEntryRecord | None:
    """Return what CRL and OCSP say of this certificate now, or None when it is good."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM crl_entries WHERE authority = ? AND serial = ? AND until IS NULL",
        (authority, serial_to_blob(serial)),
    )
    return _record(row) if row else None


def of_certificate(tx: Transaction, authority: int, serial: int) -> list[CRLEntryRecord]:
    """Return all that was ever said of one certificate, in order."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM crl_entries WHERE authority = ? AND serial = ? ORDER BY since",
        (authority, serial_to_blob(serial)),
    )
    return [_record(row) for row in rows]


def at(tx: Transaction, authority: int, serial: int, position: int) -> CRLEntryRecord | None:
    """Return what was said of this certificate once event `position` had happened, or None for good."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM crl_entries WHERE authority = ? AND serial = ? AND {_IN_FORCE}",
        (authority, serial_to_blob(serial), position, position),
    )
    return _record(row) if row else None


_IN_FORCE = "since <= ? AND (until IS NULL OR until > ?)"


@dataclass(frozen=True, slots=True)
class EntryChunk:
    """Some entries of a full CRL in serial order, joined; `last` is where the next chunk goes on."""

    joined: bytes
    count: int
    last: int


def chunk(
    tx: Transaction,
    authority: int,
    scope: int,
    position: int,
    not_expired_at: datetime | None,
    after: int,
    limit: int,
) -> EntryChunk | None:
    """Return the entries in force at an event, of serials after `after`, at most `limit`; None: no more.

    Entries of certificates that had ended before `not_expired_at` are left out.
    """
    # The expression keeps the engine off the primary key, by which it would walk through all shards.
    of_scope = "authority + 0 = ? AND shard > 0 AND shard = ?" if scope else "authority = ? AND 0 = ?"
    rows = tx.all(
        f"SELECT serial, entry FROM crl_entries WHERE {of_scope} AND serial > ? AND {_IN_FORCE}"
        " AND not_after >= ? ORDER BY serial LIMIT ?",
        (authority, scope, serial_to_blob(after), position, position, _floor(not_expired_at), limit),
    )
    if not rows:
        return None
    joined = b"".join([entry for _, entry in rows])
    return EntryChunk(joined, len(rows), int.from_bytes(rows[-1][0], "big"))


@dataclass(frozen=True, slots=True)
class EntryChange:
    """What a delta CRL says of one certificate; `entry` None: it is to be removed from the base."""

    serial: int
    revoked_at: datetime
    entry: bytes | None


def changes(
    tx: Transaction,
    authority: int,
    scope: int,
    base: int,
    base_not_expired_at: datetime | None,
    position: int,
    limit: int,
) -> list[EntryChange]:
    """Return how the entries in force at event `position` differ from those of `base`, in serial order.

    `base` is the event up to which a full CRL tells, and `base_not_expired_at` what it left out: no entry is
    removed that it had not. At most `limit` are returned, all for -1; `revoked_at` is of the entry told of.
    """
    of_scope, shard = _of_scope(scope)
    # Sorted here: to have them in order, the engine would walk through all entries by serial.
    begun = tx.all(
        f"SELECT serial, revoked_at, entry FROM crl_entries WHERE authority = ?{of_scope}"
        f" AND since > ? AND {_IN_FORCE} LIMIT ?",
        (authority, *shard, base, position, position, limit),
    )
    # Also what began after the base: a delta in between may have told of it (RFC 5280 §5.2.4). Without the
    # index named, the grouping has the engine walk through all entries by serial.
    ended = tx.all(
        "SELECT serial, max(revoked_at), NULL FROM crl_entries AS ended INDEXED BY crl_entries_ended"
        f" WHERE authority = ?{of_scope}"
        " AND until > ? AND until <= ? AND not_after >= ?"
        " AND NOT EXISTS (SELECT 1 FROM crl_entries WHERE authority = ended.authority"
        f" AND serial = ended.serial AND {_IN_FORCE}) GROUP BY serial LIMIT ?",
        (
            *(authority, *shard, base, position, _floor(base_not_expired_at)),
            *(position, position, limit),
        ),
    )
    rows = sorted([*begun, *ended], key=lambda row: row[0])
    rows = rows[:limit] if limit >= 0 else rows
    return [EntryChange(int.from_bytes(row[0], "big"), from_unix(row[1]), row[2]) for row in rows]


def last_changes(tx: Transaction, authority: int, after: int) -> dict[int, int]:
    """Return the scopes of which entries began or ended after an event, each with the last such event."""
    rows = tx.all(
        "SELECT shard, max(position) FROM ("
        "SELECT shard, since AS position FROM crl_entries WHERE authority = ? AND since > ?"
        " UNION ALL SELECT shard, until FROM crl_entries WHERE authority = ? AND until > ?"
        ") GROUP BY shard",
        (authority, after, authority, after),
    )
    found: dict[int, int] = dict(rows)
    if found:
        found[0] = max(found.values())
    return found


def _of_scope(scope: int) -> tuple[str, tuple[Value, ...]]:
    return (" AND shard = ?", (scope,)) if scope else ("", ())


def _floor(not_expired_at: datetime | None) -> int:
    return to_unix(not_expired_at) if not_expired_at is not None else 0
