"""Enrolment credentials: their uses and the wrong attempts left."""

import json
from datetime import datetime
from typing import Any, Final

from store import audit
from store.database import Transaction
from store.records import CredentialRecord, from_unix, to_unix

MAX_GIVEN_BACK: Final = 10  # of one credential: each costs a revocation, which stays in the CRL for years

_COLUMNS = (
    "id, reference, secret_hash, sealed_secret, profile, subject, san, limit_mnt, uses_left, attempts_left,"
    " created_at, expires_at, cancelled_at"
)


def _record(row: tuple[Any, ...]) -> CredentialRecord:
    return CredentialRecord(
        id=row[0],
        reference=row[1],
        secret_hash=row[2],
        sealed_secret=row[3],
        profile=row[4],
        subject=row[5],
        san=tuple(json.loads(row[6])),
        limit_mnt=row[7],
        uses_left=row[8],
        attempts_left=row[9],
        created_at=from_unix(row[10]),
        expires_at=from_unix(row[11]),
        cancelled_at=None if row[12] is None else from_unix(row[12]),
    )


def add(
    tx: Transaction,
    *,
    reference: str,
    secret_hash: bytes | None,
    sealed_secret: bytes | None = None,
    profile: str,
    subject: str,
    san: tuple[str, ...],
    limit_mnt: int | None,
    uses: int,
    attempts: int,
    created_at: datetime,
    expires_at: datetime,
    audit_sequence: int,
) -> None:
    """Add a credential: by the hash of its secret, sealed, or without one; `audit_sequence` records it."""
    tx.execute(
        "INSERT INTO credentials (reference, secret_hash, sealed_secret, profile, subject, san, limit_mnt,"
        " uses_left, attempts_left, created_at, expires_at, audit)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            reference,
            secret_hash,
            sealed_secret,
            profile,
            subject,
            json.dumps(san),
            limit_mnt,
            uses,
            attempts,
            to_unix(created_at),
            to_unix(expires_at),
            audit_sequence,
        ),
    )


def get(tx: Transaction, reference: str) -> CredentialRecord | None:
    """Return the credential with this reference, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM credentials WHERE reference = ?", (reference,))
    return _record(row) if row else None


def newest(tx: Transaction, limit: int) -> list[CredentialRecord]:
    """Return the credentials, the newest first."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM credentials ORDER BY id DESC LIMIT ?", (limit,))
    return [_record(row) for row in rows]


def take_use(tx: Transaction, credential: int, now: datetime) -> bool:
    """Take one use; False when there is none to take, or it was cancelled or has expired."""
    return (
        tx.execute(
            "UPDATE credentials SET uses_left = uses_left - 1 WHERE id = ? AND uses_left > 0"
            " AND attempts_left > 0 AND cancelled_at IS NULL AND expires_at > ?",
            (credential, to_unix(now)),
        )
        == 1
    )


def give_back_use(tx: Transaction, credential: int) -> None:
    """Give back the use of an issuance that was voided."""
    tx.execute("UPDATE credentials SET uses_left = uses_left + 1 WHERE id = ?", (credential,))


def give_back_refused_use(tx: Transaction, credential: int) -> bool:
    """Give back the use of a certificate that its client refused; False after `MAX_GIVEN_BACK` times."""
    return (
        tx.execute(
            "UPDATE credentials SET uses_left = uses_left + 1, given_back = given_back + 1"
            " WHERE id = ? AND given_back < ?",
            (credential, MAX_GIVEN_BACK),
        )
        == 1
    )


def take_attempt(tx: Transaction, credential: int) -> bool:
    """Count a wrong secret; True when it was the one that locks the credential."""
    taken = tx.execute(
        "UPDATE credentials SET attempts_left = attempts_left - 1 WHERE id = ? AND attempts_left > 0",
        (credential,),
    )
    locked = "SELECT 1 FROM credentials WHERE id = ? AND attempts_left = 0"
    return taken == 1 and tx.one(locked, (credential,)) is not None


def cancel(tx: Transaction, reference: str, now: datetime) -> bool:
    """Cancel a credential; False when there is none of this reference that is not cancelled."""
    return (
        tx.execute(
            "UPDATE credentials SET cancelled_at = ? WHERE reference = ? AND cancelled_at IS NULL",
            (to_unix(now), reference),
        )
        == 1
    )


def cancel_unused(
    tx: Transaction, now: datetime, *, organization: int | None = None, person: int | None = None
) -> list[str]:
    """Cancel what has a use left of an organisation's, or a person's, applications; return the references.

    Where a client refused its certificate, the use was given back, though the application has come to one.
    """
    column, value = ("organization", organization) if person is None else ("person", person)
    rows = tx.all(
        "UPDATE credentials SET cancelled_at = ? WHERE cancelled_at IS NULL AND uses_left > 0"
        f" AND reference IN (SELECT credential FROM applications WHERE {column} = ?)"
        " RETURNING reference",
        (to_unix(now), value),
    )
    return sorted(row[0] for row in rows)


def erase(tx: Transaction, reference: str, now: datetime) -> bool:
    """Remove whom a credential is for, here and beside the audit record; it enrols nothing any more.

    False where there is no credential of this reference.
    """
    cancel(tx, reference, now)
    row = tx.one("SELECT audit FROM credentials WHERE reference = ?", (reference,))
    if row is None:
        return False
    tx.execute("UPDATE credentials SET subject = '', san = '[]' WHERE reference = ?", (reference,))
    audit.erase_personal(tx, row[0])
    return True
