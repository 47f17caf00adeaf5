"""CMP transactions and what their certificate requests led to (RFC 9810 §5.1.1).

A transaction is known by its transactionID and by who protects its messages: nobody takes up another's. It
is opened in the store transaction that reserves the first serial, so that request and certificates are one.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from store import certificates
from store.database import Transaction
from store.records import CertificateRecord, from_unix, serial_to_blob, to_unix

# waiting: for approval. challenged: for popdecr. unconfirmed: certificates were issued, certConf is missing.
# The others are ends: confirmed and refused by certConf (the second also by time), ended without one.
TransactionState = Literal["waiting", "challenged", "unconfirmed", "confirmed", "refused", "ended"]

_COLUMNS: Final = (
    "id, transaction_id, sender, body, pvno, state, request_sha256, request, nonce_key,"
    " opened_at, deadline, challenge, profile"
)


@dataclass(frozen=True, slots=True)
class CMPTransaction:
    """A transaction as it stands; `deadline` is there while it is unconfirmed or challenged.

    `request` is kept where it had to wait, and looked at again at each poll. `challenge` is the SHA-256 of
    the answer to one.
    """

    id: int
    transaction_id: bytes
    sender: str
    body: int
    pvno: int
    state: TransactionState
    request_sha256: bytes
    request: bytes | None
    nonce_key: bytes
    opened_at: datetime
    deadline: datetime | None
    challenge: bytes | None = None
    profile: str | None = None


class Requested(NamedTuple):
    """What a certificate request led to: its issuance, and the certificate once there is one."""

    cert_req_id: int
    issuance: int
    state: str
    credential: int | None
    enrollment: int | None
    certificate: CertificateRecord | None

    @property
    def is_revoked(self) -> bool:
        """Whether there is a certificate, and it is revoked."""
        return self.certificate is not None and self.certificate.state == "revoked"


def _record(row: tuple[Any, ...]) -> CMPTransaction:
    return CMPTransaction(
        id=row[0],
        transaction_id=row[1],
        sender=row[2],
        body=row[3],
        pvno=row[4],
        state=row[5],
        request_sha256=row[6],
        request=row[7],
        nonce_key=row[8],
        opened_at=from_unix(row[9]),
        deadline=None if row[10] is None else from_unix(row[10]),
        challenge=row[11],
        profile=row[12],
    )


def open_transaction(
    tx: Transaction,
    *,
    transaction_id: bytes,
    sender: str,
    body: int,
    pvno: int,
    state: TransactionState,
    request_sha256: bytes,
    request: bytes | None = None,
    nonce_key: bytes,
    now: datetime,
    deadline: datetime | None = None,
    profile: str | None = None,
) -> int:
    """Open a transaction and return its number; one of this sender and transactionID breaks a constraint."""
    row = tx.one(
        "INSERT INTO cmp_transactions (transaction_id, sender, body, pvno, state, request_sha256, request,"
        " nonce_key, opened_at, deadline, profile) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            transaction_id,
            sender,
            body,
            pvno,
            state,
            request_sha256,
            request,
            nonce_key,
            to_unix(now),
            None if deadline is None else to_unix(deadline),
            profile,
        ),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return int(row[0])


def find(tx: Transaction, transaction_id: bytes, sender: str) -> CMPTransaction | None:
    """Return the transaction of this transactionID and sender, or None."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM cmp_transactions WHERE transaction_id = ? AND sender = ?",
        (transaction_id, sender),
    )
    return _record(row) if row else None


def with_id(tx: Transaction, transaction_id: bytes) -> list[CMPTransaction]:
    """Return the transactions of this transactionID, of whichever sender."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM cmp_transactions WHERE transaction_id = ?", (transaction_id,))
    return [_record(row) for row in rows]


def move(
    tx: Transaction,
    number: int,
    *,
    from_state: TransactionState,
    to_state: TransactionState,
    deadline: datetime | None = None,
) -> bool:
    """Bring a transaction from one state to another; False where it is not in that state any more.

    What was confirmed or refused needs its request no more: that is forgotten.
    """
    return (
        tx.execute(
            "UPDATE cmp_transactions SET state = ?1, deadline = ?2,"
            " request = CASE WHEN ?1 IN ('confirmed', 'refused') THEN NULL ELSE request END"
            " WHERE id = ?3 AND state = ?4",
            (to_state, None if deadline is None else to_unix(deadline), number, from_state),
        )
        == 1
    )


def challenge(tx: Transaction, number: int, answer_sha256: bytes, deadline: datetime) -> None:
    """Note which answer a challenged transaction waits for, instead of one that was noted before."""
    tx.execute(
        "UPDATE cmp_transactions SET challenge = ?, deadline = ? WHERE id = ? AND state = 'challenged'",
        (answer_sha256, to_unix(deadline), number),
    )


def end_challenge(tx: Transaction, number: int) -> None:
    """End a challenged transaction whose answer was wrong; its request is needed no more."""
    tx.execute(
        "UPDATE cmp_transactions SET state = 'ended', deadline = NULL, request = NULL"
        " WHERE id = ? AND state = 'challenged'",
        (number,),
    )


def link(tx: Transaction, number: int, cert_req_id: int, issuance: int) -> None:
    """Note which issuance a certificate request leads to, instead of one that came to nothing."""
    tx.execute(
        "INSERT INTO cmp_requests (cmp_transaction, cert_req_id, issuance) VALUES (?, ?, ?)"
        " ON CONFLICT (cmp_transaction, cert_req_id) DO UPDATE SET issuance = excluded.issuance",
        (number, cert_req_id, issuance),
    )


def let_go(tx: Transaction, issuance: int) -> None:
    """Have no unconfirmed transaction wait for the confirmation of an issuance: another one does."""
    tx.execute(
        "DELETE FROM cmp_requests WHERE issuance = ? AND cmp_transaction IN"
        " (SELECT id FROM cmp_transactions WHERE state = 'unconfirmed')",
        (issuance,),
    )


def requested(tx: Transaction, number: int) -> list[Requested]:
    """Return what the requests of a transaction led to, in the order of their certReqId."""
    rows = tx.all(
        "SELECT r.cert_req_id, i.id, i.state, i.credential, i.enrollment, i.authority, i.serial"
        " FROM cmp_requests r JOIN issuances i ON i.id = r.issuance WHERE r.cmp_transaction = ?"
        " ORDER BY r.cert_req_id",
        (number,),
    )
    return [
        Requested(
            cert_req_id=row[0],
            issuance=row[1],
            state=row[2],
            credential=row[3],
            enrollment=row[4],
            certificate=certificates.get(tx, row[5], int.from_bytes(row[6], "big")),
        )
        for row in rows
    ]


def is_unconfirmed(tx: Transaction, authority: int, serial: int) -> bool:
    """Return whether a certificate was issued by CMP, and its confirmation is missing."""
    found = tx.one(
        "SELECT 1 FROM issuances i JOIN cmp_requests r ON r.issuance = i.id"
        " JOIN cmp_transactions t ON t.id = r.cmp_transaction"
        " WHERE i.authority = ? AND i.serial = ? AND t.state = 'unconfirmed'",
        (authority, serial_to_blob(serial)),
    )
    return found is not None


def due(tx: Transaction, now: datetime, limit: int) -> list[CMPTransaction]:
    """Return unconfirmed and challenged transactions whose time is over, the longest overdue first."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM cmp_transactions WHERE state IN ('unconfirmed', 'challenged')"
        " AND deadline <= ? ORDER BY deadline LIMIT ?",
        (to_unix(now), limit),
    )
    return [_record(row) for row in rows]


def count_waiting(tx: Transaction, sender: str) -> int:
    """Return how many transactions of a sender wait for approval or for the answer to a challenge."""
    row = tx.one(
        "SELECT count(*) FROM cmp_transactions WHERE state IN ('waiting', 'challenged') AND sender = ?",
        (sender,),
    )
    return int(row[0]) if row else 0


def count_unconfirmed(tx: Transaction) -> int:
    """Return how many transactions wait for certConf."""
    row = tx.one(
        "SELECT count(*) FROM cmp_transactions WHERE state IN ('unconfirmed', 'challenged')"
        " AND state = 'unconfirmed'"  # both terms: the index is of the first
    )
    return int(row[0]) if row else 0
