"""OCSP responses that are kept: those from around changes of status, as evidence of what was answered."""

import hashlib
from collections.abc import Iterable
from datetime import datetime

from store.database import Transaction
from store.records import ArchivedResponseRecord, from_unix, serial_to_blob, to_unix


def add(tx: Transaction, records: Iterable[ArchivedResponseRecord]) -> None:
    """Keep responses; one that is kept already stays as it is."""
    tx.execute_many(
        "INSERT INTO ocsp_archive (authority, serial, this_update, next_update, entry, sha256)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (authority, serial, sha256) DO NOTHING",
        (
            (
                record.authority,
                serial_to_blob(record.serial),
                to_unix(record.this_update),
                to_unix(record.next_update),
                record.entry,
                hashlib.sha256(record.entry).digest(),
            )
            for record in records
        ),
    )


def at(tx: Transaction, authority: int, serial: int, moment: datetime) -> ArchivedResponseRecord | None:
    """Return the newest kept response with thisUpdate <= moment < nextUpdate, or None."""
    row = tx.one(
        "SELECT this_update, next_update, entry FROM ocsp_archive WHERE authority = ? AND serial = ?"
        " AND this_update <= ? AND next_update > ? ORDER BY this_update DESC, id DESC LIMIT 1",
        (authority, serial_to_blob(serial), to_unix(moment), to_unix(moment)),
    )
    if row is None:
        return None
    return ArchivedResponseRecord(authority, serial, from_unix(row[0]), from_unix(row[1]), row[2])
