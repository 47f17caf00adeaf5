"""Authorities and their delegated OCSP signers."""

from datetime import datetime
from typing import Any

from store.database import Transaction
from store.records import AuthorityRecord, ResponderRecord, from_unix, to_unix

_AUTHORITY = "id, name, parent, key_label, certificate, ended_at"
_RESPONDER = "id, authority, key_label, certificate, not_after"


def add_authority(tx: Transaction, name: str, parent: str | None, key_label: str | None) -> None:
    """Add an authority that has no certificate yet."""
    tx.execute(
        "INSERT INTO authorities (name, parent, key_label) VALUES (?, ?, ?)", (name, parent, key_label)
    )


def set_certificate(tx: Transaction, name: str, certificate: bytes) -> None:
    """Give an authority its certificate (DER)."""
    tx.execute("UPDATE authorities SET certificate = ? WHERE name = ?", (certificate, name))


def all_authorities(tx: Transaction) -> list[AuthorityRecord]:
    """Return every authority, parents before children as they were added."""
    rows = tx.all(f"SELECT {_AUTHORITY} FROM authorities ORDER BY id")
    return [_authority(row) for row in rows]


def _authority(row: tuple[Any, ...]) -> AuthorityRecord:
    ended_at = None if row[5] is None else from_unix(row[5])
    return AuthorityRecord(row[0], row[1], row[2], row[3], row[4], ended_at)


def end(tx: Transaction, authority: int, now: datetime) -> None:
    """Note that an authority issues nothing more; the first time counts."""
    tx.execute(
        "UPDATE authorities SET ended_at = ? WHERE id = ? AND ended_at IS NULL", (to_unix(now), authority)
    )


def has_ended(tx: Transaction, authority: int) -> bool:
    """Return whether an authority issues nothing more."""
    return tx.one("SELECT 1 FROM authorities WHERE id = ? AND ended_at IS NOT NULL", (authority,)) is not None


def add_responder(
    tx: Transaction, authority: int, key_label: str, certificate: bytes, not_after: datetime
) -> None:
    """Add a delegated OCSP signer; the newest of an authority is the one in use."""
    tx.execute(
        "INSERT INTO responders (authority, key_label, certificate, not_after) VALUES (?, ?, ?, ?)",
        (authority, key_label, certificate, to_unix(not_after)),
    )


def all_responders(tx: Transaction) -> list[ResponderRecord]:
    """Return every OCSP signer ever made, oldest first."""
    rows = tx.all(f"SELECT {_RESPONDER} FROM responders ORDER BY id")
    return [ResponderRecord(row[0], row[1], row[2], row[3], from_unix(row[4])) for row in rows]
