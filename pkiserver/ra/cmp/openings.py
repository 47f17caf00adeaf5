"""How a transaction gets into the store: in the same store transaction as the first intent to issue.

So a certificate is never without the transaction that has to be confirmed, whenever the server stops.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pkiserver.errors import ConflictError
from pkiserver.ra.cmp.errors import TransactionIDInUseError
from pkiserver.ra.cmp.stages import Request
from store import cmp_transactions as rows
from store import issuances
from store.cmp_transactions import TransactionState
from store.database import Transaction
from store.records import IssuanceRecord

KEPT: Final = ("waiting", "challenged")  # states in which the request is needed again
MAX_WAITING: Final = 1_000  # transactions of one sender, each with its request


@dataclass(frozen=True, slots=True)
class Opening:
    """What a transaction becomes once a certificate is to be issued; `deadline`: of certConf, or None."""

    request: Request
    state: TransactionState
    deadline: datetime | None

    def reserved(self, cert_req_id: int) -> Callable[[Transaction, IssuanceRecord], None]:
        """Return what notes the intent for one certificate request, see `AuthorizedRequest.reserved`."""

        def note(tx: Transaction, intent: IssuanceRecord) -> None:
            rows.link(tx, self._number(tx), cert_req_id, intent.id)
            # The answer is given again for the same message, not for another one of the same key.
            issuances.mark_delivered(tx, intent.authority, intent.serial, self.request.now)

        return note

    def take_over(self, tx: Transaction, cert_req_id: int, issuance: IssuanceRecord) -> None:
        """Have this transaction end what another one began: the same certificate, asked for in a new one.

        That one is not waited for any more; where it was confirmed, this one needs no certConf.
        """
        waits = rows.is_unconfirmed(tx, issuance.authority, issuance.serial)
        ends = waits or self.state == "ended"
        opening = self if ends else replace(self, state="confirmed", deadline=None)
        rows.let_go(tx, issuance.id)
        rows.link(tx, opening._number(tx), cert_req_id, issuance.id)

    def _number(self, tx: Transaction) -> int:
        request = self.request
        found = rows.find(tx, *request.key)
        if found is None:
            return open_transaction(tx, request, self.state, deadline=self.deadline)
        if found.request_sha256 != request.request_sha256:
            raise TransactionIDInUseError("the transactionID is that of another transaction of yours")
        if found.state in KEPT:
            rows.move(
                tx,
                found.id,
                from_state=found.state,
                to_state=self.state,
                deadline=self.deadline,
            )
        return found.id


def open_transaction(
    tx: Transaction, request: Request, state: TransactionState, *, deadline: datetime | None = None
) -> int:
    """Open the transaction of a request and return its number; where it waits the request is kept.

    `ConflictError` where its sender has too many that wait.
    """
    waits = state in KEPT
    if waits and rows.count_waiting(tx, request.sender.id) >= MAX_WAITING:
        raise ConflictError(f"{MAX_WAITING} other transactions of yours wait")
    return rows.open_transaction(
        tx,
        transaction_id=request.checked.transaction_id,
        sender=request.sender.id,
        body=request.body.tag,
        pvno=request.checked.message.header.pvno,
        state=state,
        request_sha256=request.request_sha256,
        request=request.checked.message.der if waits else None,
        nonce_key=request.nonce_key,
        now=request.now,
        deadline=deadline,
        profile=request.profile,
    )


def keep_challenge(tx: Transaction, request: Request, answer_sha256: bytes, deadline: datetime) -> None:
    """Have a transaction wait for the answer to a challenge, until `deadline`; open it where it is new."""
    number = request.transaction.id if request.transaction else open_transaction(tx, request, "challenged")
    rows.challenge(tx, number, answer_sha256, deadline)
