"""Authorities, each with its generations (a row a key), and their delegated OCSP signers."""

from datetime import datetime
from typing import Any

from store.database import Transaction
from store.records import AuthorityRecord, AuthorityState, ResponderRecord, from_unix, to_unix

_AUTHORITY = "id, name, parent, key_label, certificate, generation, state, activate_at, ended_at"
_RESPONDER = "id, authority, key_label, certificate, not_after"


def add_authority(
    tx: Transaction,
    name: str,
    parent: str | None,
    key_label: str | None,
    *,
    generation: int = 1,
    state: AuthorityState = "active",
) -> None:
    """Add a generation of an authority that has no certificate yet."""
    tx.execute(
        "INSERT INTO authorities (name, parent, key_label, generation, state) VALUES (?, ?, ?, ?, ?)",
        (name, parent, key_label, generation, state),
    )


def set_certificate(tx: Transaction, authority: int, certificate: bytes) -> None:
    """Give an authority its certificate (DER)."""
    tx.execute("UPDATE authorities SET certificate = ? WHERE id = ?", (certificate, authority))


def all_authorities(tx: Transaction) -> list[AuthorityRecord]:
    """Return every generation of every authority, parents before children as they were added."""
    rows = tx.all(f"SELECT {_AUTHORITY} FROM authorities ORDER BY id")
    return [_authority(row) for row in rows]


def _authority(row: tuple[Any, ...]) -> AuthorityRecord:
    activation, end_of = (None if seconds is None else from_unix(seconds) for seconds in row[7:9])
    return AuthorityRecord(row[0], row[1], row[2], row[3], row[4], row[5], row[6], activation, end_of)


def state_of(tx: Transaction, authority: int) -> AuthorityState:
    """Return the state of a generation that is there."""
    state: AuthorityState = tx.all("SELECT state FROM authorities WHERE id = ?", (authority,))[0][0]
    return state


def move(tx: Transaction, authority: int, before: AuthorityState, after: AuthorityState) -> bool:
    """Have a generation change its state; False where it is not in the state it is to leave."""
    changed = tx.execute(
        "UPDATE authorities SET state = ?, activate_at = NULL WHERE id = ? AND state = ?",
        (after, authority, before),
    )
    return changed == 1


def activate_at(tx: Transaction, authority: int, at: datetime | None) -> bool:
    """Note when a published generation is to become active, None: when told; False where it is no such."""
    changed = tx.execute(
        "UPDATE authorities SET activate_at = ? WHERE id = ? AND state = 'published'",
        (None if at is None else to_unix(at), authority),
    )
    return changed == 1


def end(tx: Transaction, authority: int, now: datetime) -> None:
    """Note that the last CRL of a generation is due; the first time counts. A compromised one stays so."""
    tx.execute(
        "UPDATE authorities SET ended_at = ?, activate_at = NULL,"
        " state = CASE state WHEN 'compromised' THEN state ELSE 'ended' END"
        " WHERE id = ? AND ended_at IS NULL",
        (to_unix(now), authority),
    )


def has_ended(tx: Transaction, authority: int) -> bool:
    """Return whether the last CRL of a generation is due or out."""
    return tx.one("SELECT 1 FROM authorities WHERE id = ? AND ended_at IS NOT NULL", (authority,)) is not None


def add_link(tx: Transaction, subject: int, issuer: int, certificate: bytes) -> bool:
    """Add the link (DER) by which one root certifies another's key; False where there is one already."""
    added = tx.execute(
        "INSERT INTO imported_links (subject, issuer, certificate) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (subject, issuer, certificate),
    )
    return added == 1


def links_in_force(tx: Transaction) -> list[bytes]:
    """Return the links (DER) that were added, but for those of a root that is compromised or was dropped."""
    rows = tx.all(
        "SELECT imported_links.certificate FROM imported_links"
        " JOIN authorities AS subject ON subject.id = imported_links.subject"
        " JOIN authorities AS issuer ON issuer.id = imported_links.issuer"
        " WHERE subject.state NOT IN ('compromised', 'dropped')"
        " AND issuer.state NOT IN ('compromised', 'dropped') ORDER BY imported_links.subject, issuer.id"
    )
    return [row[0] for row in rows]


def add_responder(
    tx: Transaction, authority: int, key_label: str, certificate: bytes, not_after: datetime
) -> None:
    """Add a delegated OCSP signer; the newest of an authority is the one in use."""
    tx.execute(
        "INSERT INTO responders (authority, key_label, certificate, not_after) VALUES (?, ?, ?, ?)",
        (authority, key_label, certificate, to_unix(not_after)),
    )


def labels_of(tx: Transaction, authority: int) -> list[str]:
    """Return the labels of the keys of a generation that are here: its own and its OCSP signers'."""
    rows = tx.all(
        "SELECT key_label FROM authorities WHERE id = ? AND key_label IS NOT NULL"
        " UNION ALL SELECT key_label FROM responders WHERE authority = ?",
        (authority, authority),
    )
    return [row[0] for row in rows]


def all_responders(tx: Transaction) -> list[ResponderRecord]:
    """Return every OCSP signer ever made, oldest first."""
    rows = tx.all(f"SELECT {_RESPONDER} FROM responders ORDER BY id")
    return [ResponderRecord(row[0], row[1], row[2], row[3], from_unix(row[4])) for row in rows]
