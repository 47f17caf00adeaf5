"""Requests that came in a signed message, by their hash: what they led to, should they come again."""

from typing import NamedTuple

from store import certificates
from store.database import Transaction
from store.records import CertificateRecord


class Answered(NamedTuple):
    """What a request led to: the state of its issuance, and the certificate where it was issued."""

    state: str
    certificate: CertificateRecord | None


def add(tx: Transaction, sha256: bytes, issuance: int) -> None:
    """Note what a request leads to, instead of what came to nothing before."""
    tx.execute(
        "INSERT INTO signed_requests (sha256, issuance) VALUES (?, ?)"
        " ON CONFLICT (sha256) DO UPDATE SET issuance = excluded.issuance",
        (sha256, issuance),
    )


def find(tx: Transaction, sha256: bytes) -> Answered | None:
    """Return what a request led to, None where it is new or came to nothing."""
    row = tx.one(
        "SELECT i.state, i.authority, i.serial FROM signed_requests s JOIN issuances i ON i.id = s.issuance"
        " WHERE s.sha256 = ? AND i.state != 'voided'",
        (sha256,),
    )
    if row is None:
        return None
    return Answered(row[0], certificates.get(tx, row[1], int.from_bytes(row[2], "big")))
