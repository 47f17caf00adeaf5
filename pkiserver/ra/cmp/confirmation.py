"""How transactions end: certConf (RFC 9810 §5.3.18), the client's error (§5.3.21), or too much time.

A certificate that is refused, or not confirmed in time, is revoked, and what entitled to it does so again.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from cryptography import x509

from pkiserver import audit
from pkiserver.ca.own_certificates import SYSTEM
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, PKIServerError, RefusedError
from pkiserver.ra.cmp.errors import BadCertIDError, CertConfirmedError
from pkiserver.ra.cmp.stages import Reply, Request
from pkiserver.ra.lifecycle import Action, Command
from pkiserver.ra.status_changes import StatusChanges
from pkiserver.storage import Storage
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.confirmation import PKI_CONFIRM, CertStatus, parse_cert_confirm
from protocols.cmp.header import Version
from protocols.cmp.status import ErrorMsgContent, PKIStatus
from store import audit as audit_chain
from store import cmp_transactions as rows
from store import credentials, enrollments
from store.cmp_transactions import CMPTransaction, Requested
from store.database import Transaction

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)

HASHES: Final = {oid.SHA256: "sha256", oid.SHA384: "sha384", oid.SHA512: "sha512"}
_REVOKE: Final = Command(Action.REVOKE)
_ACCEPTING: Final = (PKIStatus.ACCEPTED, PKIStatus.GRANTED_WITH_MODS)
MAX_DUE: Final = 100  # transactions that one round of upkeep ends; the next one comes a second later
CONFIRMED: Final = Reply(PKIBody(BodyType.PKICONF, PKI_CONFIRM))


class Confirmation:
    """Ends transactions."""

    def __init__(self, storage: Storage, clock: Clock, status_changes: StatusChanges) -> None:
        self._storage = storage
        self._clock = clock
        self._status_changes = status_changes

    async def confirm(self, request: Request) -> Reply:
        """Answer a certConf; durable when this returns. Raises `RefusedError`, `BadCertIDError`."""
        transaction = _transaction(request)
        issued = await self._issued(transaction)
        refused = _refused(request, issued)
        if not refused:
            now = request.now
            await self._storage.write(lambda tx: _confirm(tx, transaction, request.sender.actor, now))
            return CONFIRMED
        kept = len(issued) - len(refused)
        await self._withdraw(transaction, refused, request.sender.actor, "refused", kept=kept)
        return CONFIRMED

    async def confirm_again(self, request: Request) -> Reply:
        """Answer a certConf that says what one said before; `CertConfirmedError` for another one."""
        transaction = _transaction(request)
        issued = await self._issued(transaction)
        refused = {one.cert_req_id for one in _refused(request, issued)}
        if refused != {one.cert_req_id for one in issued if one.is_revoked}:
            raise CertConfirmedError("the certificate was confirmed or refused before")
        return CONFIRMED

    async def abort(self, request: Request) -> Reply:
        """Answer a client's error: what it was about to get is withdrawn (RFC 9810 §5.3.21)."""
        der.whole(request.body.content_der, ErrorMsgContent.parse)
        transaction = _transaction(request)
        issued = await self._issued(transaction)
        await self._withdraw(transaction, issued, request.sender.actor, "aborted")
        return CONFIRMED

    async def expire(self, transaction: CMPTransaction) -> None:
        """Withdraw what was not confirmed in time."""
        issued = await self._issued(transaction)
        await self._withdraw(transaction, issued, SYSTEM, "not confirmed in time")

    async def _issued(self, transaction: CMPTransaction) -> list[Requested]:
        found = await self._storage.read(lambda tx: rows.requested(tx, transaction.id))
        return [one for one in found if one.certificate is not None]

    async def _withdraw(
        self,
        transaction: CMPTransaction,
        refused: Sequence[Requested],
        actor: str,
        why: str,
        *,
        kept: int = 0,
    ) -> None:
        """Revoke certificates and let what entitled to them do so again; a crash between leaves it due."""
        for one in refused:
            await self._revoke(one, actor)
        now = self._clock.now()
        to_state: rows.TransactionState = "confirmed" if kept else "refused"

        def write(tx: Transaction) -> None:
            moved = rows.move(
                tx,
                transaction.id,
                from_state=transaction.state,
                to_state=to_state,
            )
            if not moved:
                return
            for one in refused:
                _reopen(tx, one, actor, now)
            _audit(tx, now, actor, "cmp.withdraw", transaction, why=why, certificates=len(refused))

        await self._storage.write(write)

    async def _revoke(self, refused: Requested, actor: str) -> None:
        record = refused.certificate
        if record is None:
            return
        try:
            await self._status_changes.carry_out(record.authority, record.serial, _REVOKE, actor)
        except ConflictError as error:  # somebody revoked it, or it expired: it is of no use either way
            _log.info("unconfirmed-was-settled", reason=str(error))


def _transaction(request: Request) -> CMPTransaction:
    if request.transaction is None:
        raise RefusedError("there is no transaction of this transactionID and sender")
    return request.transaction


def _confirm(tx: Transaction, transaction: CMPTransaction, actor: str, now: datetime) -> None:
    moved = rows.move(
        tx,
        transaction.id,
        from_state="unconfirmed",
        to_state="confirmed",
    )
    if not moved:
        raise CertConfirmedError("the certificate was confirmed or refused before")
    _audit(tx, now, actor, "cmp.confirm", transaction)


def _reopen(tx: Transaction, refused: Requested, actor: str, now: datetime) -> None:
    if refused.credential is not None:
        credentials.give_back_refused_use(tx, refused.credential)
    if refused.enrollment is None:
        return
    again = enrollments.reopen(tx, refused.enrollment, now)
    if again is not None:
        entry = audit.entry(now, actor, "enrollment.reopen", enrollment=again, after=refused.enrollment)
        audit_chain.append(tx, entry)


def _audit(
    tx: Transaction, now: datetime, actor: str, action: str, transaction: CMPTransaction, **detail: Any
) -> None:
    entry = audit.entry(now, actor, action, transaction_id=transaction.transaction_id.hex(), **detail)
    audit_chain.append(tx, entry)


def _refused(request: Request, issued: Sequence[Requested]) -> list[Requested]:
    """Return which certificates a certConf refuses: also those that it is silent on (§5.3.18)."""
    statuses = parse_cert_confirm(request.body.content_der)
    of = {one.cert_req_id: one for one in issued}
    ids = [one.cert_req_id for one in statuses]
    if len(set(ids)) < len(ids) or not set(ids) <= set(of):
        raise RefusedError("certConf names no certificate of this transaction, or one twice")
    accepted = {
        status.cert_req_id for status in statuses if _accepts(status, of, request.checked.message.header.pvno)
    }
    return [one for one in issued if one.cert_req_id not in accepted]


def _accepts(status: CertStatus, issued: Mapping[int, Requested], pvno: int) -> bool:
    record = issued[status.cert_req_id].certificate
    if record is None or status.cert_hash != _cert_hash(record.certificate, status.hash_alg, pvno):
        raise BadCertIDError("certHash is not that of the certificate")
    info = status.status_info
    if info is None or info.status in _ACCEPTING:
        if info is not None and info.fail_info:
            raise RefusedError("failInfo stands beside a status that accepts")
        return True
    if info.status is not PKIStatus.REJECTION:
        raise RefusedError("a certificate is accepted or rejected")
    return False


def _cert_hash(certificate: bytes, named: AlgorithmIdentifier | None, pvno: int) -> bytes:
    """Return the hash by the algorithm of the certificate's signature, or by hashAlg (RFC 9810 §5.3.18).

    Signatures without a hash of their own have SHA-512 (RFC 9481 §2.1 of Ed25519).
    """
    if named is not None:
        if pvno < Version.CMP2021:
            raise RefusedError("hashAlg needs pvno 3 (RFC 9810 §5.3.18)")
        if named.oid not in HASHES:
            raise RefusedError("hashAlg is SHA-256, SHA-384 or SHA-512")
        return hashlib.new(HASHES[named.oid], certificate).digest()
    signed_with = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    return hashlib.new(signed_with.name if signed_with else "sha512", certificate).digest()


async def expire_due(
    confirmation: Confirmation, due: Sequence[CMPTransaction], busy: set[tuple[bytes, str]]
) -> int:
    """Withdraw what was not confirmed in time, save what is being answered; return how many there were."""
    ended = 0
    for transaction in due:
        key = (transaction.transaction_id, transaction.sender)
        if key in busy:
            continue
        busy.add(key)
        try:
            await confirmation.expire(transaction)
            ended += 1
        except PKIServerError as error:  # the next round tries again
            _log.error("unconfirmed-not-withdrawn", reason=str(error))
        finally:
            busy.discard(key)
    return ended
