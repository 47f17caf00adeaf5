"""Applications that a holder signed: by which certificate, in answer to which challenge."""

from datetime import datetime

from store.applications import ApplicationRecord, of_certificate, of_columns
from store.database import Transaction
from store.records import CertificateRecord, serial_to_blob, to_unix


def add(tx: Transaction, *, application: int, challenge: bytes, authority: int, serial: int) -> None:
    """Note what an application was signed with; a challenge that was answered before breaks a constraint."""
    tx.execute(
        "INSERT INTO renewals (application, challenge, authority, serial) VALUES (?, ?, ?, ?)",
        (application, challenge, authority, serial_to_blob(serial)),
    )


def is_answered(tx: Transaction, challenge: bytes) -> bool:
    """Return whether an application answered this challenge."""
    return tx.one("SELECT 1 FROM renewals WHERE challenge = ?", (challenge,)) is not None


def signed_with(tx: Transaction, credential: int) -> tuple[int, int] | None:
    """Return authority and serial of the certificate that signed the application of a credential, or None."""
    row = tx.one(
        "SELECT r.authority, r.serial FROM credentials c JOIN applications a ON a.credential = c.reference"
        " JOIN renewals r ON r.application = a.id WHERE c.id = ?",
        (credential,),
    )
    return (row[0], int.from_bytes(row[1], "big")) if row else None


def of_person(tx: Transaction, person: int, limit: int) -> list[ApplicationRecord]:
    """Return the applications that a person signed, the newest first."""
    return of_columns(
        tx,
        "FROM applications a JOIN renewals r ON r.application = a.id WHERE a.person = ?"
        " ORDER BY a.id DESC LIMIT ?",
        (person, limit),
    )


def open_since(tx: Transaction, moment: datetime, limit: int) -> list[ApplicationRecord]:
    """Return signed applications that have not ended, to which nothing happened since; the oldest first."""
    return of_columns(
        tx,
        "FROM applications a WHERE a.channel = 'online' AND a.state IN ('issuing', 'failed', 'issued')"
        " AND a.updated_at <= ? ORDER BY a.updated_at, a.id LIMIT ?",
        (to_unix(moment), limit),
    )


def of_subject(tx: Transaction, subject: str) -> ApplicationRecord | None:
    """Return the newest application from which a certificate of this subject came, or None."""
    found = of_columns(
        tx,
        "FROM certificates c JOIN applications a ON a.authority = c.authority AND a.serial = c.serial"
        " WHERE c.subject = ? ORDER BY a.id DESC LIMIT 1",
        (subject,),
    )
    return found[0] if found else None


def behind(tx: Transaction, certificate: CertificateRecord) -> ApplicationRecord | None:
    """Return the application that a certificate came of; for a renewed one, that of its subject; or None."""
    found = of_certificate(tx, certificate.authority, certificate.serial)
    return found or of_subject(tx, certificate.subject)
