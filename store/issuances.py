"""The intent to issue: durable before anything is signed."""

from datetime import datetime
from typing import Any, Literal

from store.database import Transaction
from store.records import IssuanceRecord, serial_to_blob, to_unix

_COLUMNS = (
    "id, authority, serial, profile, subject, spki_sha256, tbs, tbs_sha256, requested_by, credential,"
    " enrollment, crl_shard, state"
)


def _record(row: tuple[Any, ...]) -> IssuanceRecord:
    return IssuanceRecord(row[0], row[1], int.from_bytes(row[2], "big"), *row[3:])


def reserve(
    tx: Transaction,
    *,
    authority: int,
    serial: int,
    profile: str,
    subject: str,
    spki_sha256: bytes,
    tbs: bytes,
    tbs_sha256: bytes,
    requested_by: str,
    credential: int | None,
    enrollment: int | None,
    crl_shard: int,
    state: Literal["prepared", "signing"],
    now: datetime,
) -> IssuanceRecord:
    """Reserve the serial and store the intent; a serial used before breaks a constraint."""
    row = tx.one(
        "INSERT INTO issuances (authority, serial, profile, subject, spki_sha256, tbs, tbs_sha256,"
        " requested_by, credential, enrollment, crl_shard, state, prepared_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            authority,
            serial_to_blob(serial),
            profile,
            subject,
            spki_sha256,
            tbs,
            tbs_sha256,
            requested_by,
            credential,
            enrollment,
            crl_shard,
            state,
            to_unix(now),
        ),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return IssuanceRecord(
        row[0],
        authority,
        serial,
        profile,
        subject,
        spki_sha256,
        tbs,
        tbs_sha256,
        requested_by,
        credential,
        enrollment,
        crl_shard,
        state,
    )


def mark_signing(tx: Transaction, issuance: int) -> bool:
    """Note that the signature is about to be asked for; False when it is not prepared any more."""
    return (
        tx.execute("UPDATE issuances SET state = 'signing' WHERE id = ? AND state = 'prepared'", (issuance,))
        == 1
    )


def mark_issued(tx: Transaction, issuance: int, now: datetime) -> bool:
    """Note that the certificate is recorded; False when it is not being signed."""
    return (
        tx.execute(
            "UPDATE issuances SET state = 'issued', finished_at = ? WHERE id = ? AND state = 'signing'",
            (to_unix(now), issuance),
        )
        == 1
    )


def mark_voided(tx: Transaction, issuance: int, now: datetime) -> bool:
    """Note that no certificate will come of it; False when it had ended already."""
    return (
        tx.execute(
            "UPDATE issuances SET state = 'voided', finished_at = ?"
            " WHERE id = ? AND state IN ('prepared', 'signing')",
            (to_unix(now), issuance),
        )
        == 1
    )


def mark_delivered(tx: Transaction, authority: int, serial: int, now: datetime) -> None:
    """Note that the client took its certificate."""
    tx.execute(
        "UPDATE issuances SET delivered_at = ? WHERE authority = ? AND serial = ? AND delivered_at IS NULL",
        (to_unix(now), authority, serial_to_blob(serial)),
    )


def unfinished(tx: Transaction) -> list[IssuanceRecord]:
    """Return the issuances that neither ended in a certificate nor were voided, oldest first."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM issuances WHERE state IN ('prepared', 'signing') ORDER BY id")
    return [_record(row) for row in rows]


def undelivered(
    tx: Transaction, requested_by: str, profile: str, spki_sha256: bytes
) -> IssuanceRecord | None:
    """Return the newest issuance to this requester, for this key, that no client has taken yet, or None."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM issuances WHERE spki_sha256 = ? AND requested_by = ? AND profile = ?"
        " AND state = 'issued' AND delivered_at IS NULL ORDER BY id DESC LIMIT 1",
        (spki_sha256, requested_by, profile),
    )
    return _record(row) if row else None


def of_enrollment(tx: Transaction, enrollment: int) -> IssuanceRecord | None:
    """Return the issuance that uses up the approval of an enrolment, finished or not, or None."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM issuances WHERE enrollment = ? AND state != 'voided'", (enrollment,)
    )
    return _record(row) if row else None


def undelivered_of_enrollment(tx: Transaction, enrollment: int) -> IssuanceRecord | None:
    """Return the issuance of an enrolment that no client has taken yet, or None."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM issuances WHERE enrollment = ? AND state = 'issued'"
        " AND delivered_at IS NULL",
        (enrollment,),
    )
    return _record(row) if row else None


def of_credential(tx: Transaction, credential: int) -> IssuanceRecord | None:
    """Return the newest issuance with a credential that was not voided, or None."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM issuances WHERE credential = ? AND state != 'voided'"
        " ORDER BY id DESC LIMIT 1",
        (credential,),
    )
    return _record(row) if row else None


def subjects_of_key(tx: Transaction, spki_sha256: bytes) -> set[str]:
    """Return the subjects for which this key was certified, or is about to be."""
    rows = tx.all(
        "SELECT DISTINCT subject FROM issuances WHERE spki_sha256 = ? AND state != 'voided'", (spki_sha256,)
    )
    return {row[0] for row in rows}
