"""CMP as its transports ask for it: bytes in, bytes out; every step of a message in its order.

1. parsed; 2. version; 3. protection, so that answers can have the same; 4. header; 5. operation of the path;
6. transaction and nonce; 7. what the table of transitions says; 8. answered and protected.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Final

import structlog

from config.schema_cmp import CMP
from pkiserver.clock import Clock
from pkiserver.errors import PKIServerError, RefusedError, UnavailableError
from pkiserver.ra.cmp import nonces
from pkiserver.ra.cmp.answers import Answers
from pkiserver.ra.cmp.confirmation import MAX_DUE, Confirmation, expire_due
from pkiserver.ra.cmp.errors import BadMessageCheckError, BadRecipientNonceError, WrongIntegrityError
from pkiserver.ra.cmp.header_checks import check_header, require_version
from pkiserver.ra.cmp.operations import require_operation
from pkiserver.ra.cmp.senders import Sender, Senders
from pkiserver.ra.cmp.stages import (
    CheckedMessage,
    Handler,
    Refusal,
    RefusedAs,
    Reply,
    Request,
    Target,
)
from pkiserver.ra.cmp.transactions import KINDS, Kind, State, Step, step_of
from pkiserver.ra.credentials import WrongCredentialError
from pkiserver.ra.refusals import Refusals
from pkiserver.storage import Storage
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.header import PartialHeader, PKIHeader
from protocols.cmp.message import MalformedMessageError, PKIMessage, parse_pki_message
from protocols.cmp.status import ErrorMsgContent
from protocols.errors import ErrorKind, ProtocolError
from store import cmp_transactions as rows
from store.cmp_transactions import CMPTransaction

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)

COUNTED: Final = tuple(body.name.lower() for body, kind in KINDS.items() if kind is not Kind.OTHER)
OUTCOMES: Final = ("done", "refused")
MAX_BUSY: Final = 4_096  # messages in work at once; the listeners have bounds of their own below it
_NOT_AUDITED: Final = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.PENDING})


@dataclass(slots=True)
class _Progress:
    """How far a message came, for the answer to it: what was read, and who was authenticated."""

    header: PKIHeader | PartialHeader
    body: BodyType | None = None
    sender: Sender | None = None
    server_nonce: bytes | None = None


class CMPService:
    """Answers messages; one a server. `answered` counts them by body and outcome."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        senders: Senders,
        answers: Answers,
        confirmation: Confirmation,
        refusals: Refusals,
        handlers: Mapping[Step, Handler],
        again: Mapping[Kind, Handler],
        settings: CMP,
        refused_as: RefusedAs,
    ) -> None:
        """Take what does the work: `handlers` by step, `again` for messages that were received before."""
        self._storage = storage
        self._clock = clock
        self._senders = senders
        self._answers = answers
        self._confirmation = confirmation
        self._refusals = refusals
        self._handlers = handlers
        self._again = again
        self._settings = settings
        self._refused_as = refused_as
        self._busy: set[tuple[bytes, str]] = set()
        self.answered: Counter[tuple[str, str]] = Counter(dict.fromkeys(product(COUNTED, OUTCOMES), 0))

    async def answer(self, message: bytes, *, operation: str | None, profile: str | None, peer: str) -> bytes:
        """Return the DER PKIMessage that answers `message`, refusals too.

        Raises `MalformedMessageError` for bytes that are no PKIMessage, `TooLargeError`, and
        `UnavailableError` where no answer can be protected.
        """
        now = self._clock.now()
        target = Target(operation, profile, peer)
        try:
            parsed = parse_pki_message(message, max_bytes=self._settings.max_message)
        except MalformedMessageError as error:
            if error.partial is None:
                raise
            progress = _Progress(error.partial)
            reply = await self._refuse(progress, target, error)
        else:
            progress = _Progress(parsed.header, parsed.body.tag)
            reply = await self._reply(parsed, target, now, progress)
        self._count(progress, reply)
        if reply.message is not None:
            return reply.message
        return await self._answers.message(
            progress.header, reply, progress.sender, server_nonce=progress.server_nonce, now=now
        )

    async def expire(self) -> int:
        """Withdraw certificates that were not confirmed in time; return of how many transactions."""
        now = self._clock.now()
        due = await self._storage.read(lambda tx: rows.due(tx, now, MAX_DUE))
        return await expire_due(self._confirmation, due, self._busy)

    async def _reply(self, message: PKIMessage, target: Target, now: datetime, progress: _Progress) -> Reply:
        try:
            require_version(message.header)
            progress.sender = await self._senders.authenticate(message, target.peer, now)
            checked = check_header(message, self._settings, now)
            require_operation(target.operation, message.body)
            reply = await self._in_turn(checked, progress, target, now)
        except (PKIServerError, ProtocolError) as error:
            return await self._refuse(progress, target, error)
        for refusal in reply.refusals:
            await self._audit(progress, target, refusal)
        return reply

    async def _in_turn(
        self, checked: CheckedMessage, progress: _Progress, target: Target, now: datetime
    ) -> Reply:
        """Handle a message, one of a transaction at a time."""
        sender = progress.sender
        if sender is None:
            raise BadMessageCheckError("nobody was authenticated")
        key = (checked.transaction_id, sender.id)
        if key in self._busy or len(self._busy) >= MAX_BUSY:
            raise UnavailableError("a message of this transaction is being answered; send it again")
        self._busy.add(key)
        try:
            transaction = await self._transaction(checked, sender)
            request = Request(
                checked,
                sender,
                target,
                now,
                transaction,
                hashlib.sha256(checked.message.der).digest(),
                transaction.nonce_key if transaction else nonces.new_key(),
            )
            progress.server_nonce = nonces.fresh(request.nonce_key)
            return await self._handle(request)
        finally:
            self._busy.discard(key)

    async def _transaction(self, checked: CheckedMessage, sender: Sender) -> CMPTransaction | None:
        """Return the sender's transaction of this transactionID; others' go on with their own protection."""
        found = await self._storage.read(lambda tx: rows.with_id(tx, checked.transaction_id), brief=True)
        own = next((one for one in found if one.sender == sender.id), None)
        if own is None and found and KINDS[checked.message.body.tag] in (Kind.CONFIRMATION, Kind.POLL):
            kinds = {one.sender.partition(":")[0] for one in found}
            if sender.id.partition(":")[0] not in kinds:
                raise WrongIntegrityError("the transaction was begun with another kind of protection")
            raise RefusedError("the transaction was begun by another sender (RFC 9483 §4.1.1)")
        return own

    async def _handle(self, request: Request) -> Reply:
        transaction = request.transaction
        kind = KINDS[request.body.tag]
        again = self._again.get(kind)
        if transaction is not None and transaction.request_sha256 == request.request_sha256 and again:
            return await again(request)
        step = step_of(State.NEW if transaction is None else State(transaction.state), request.body.tag)
        _require_nonce(request)
        handler = self._handlers.get(step)
        if handler is None:
            raise RefusedError(f"{request.body.tag.name} is not served here")
        return await handler(request)

    async def _refuse(self, progress: _Progress, target: Target, error: Refusal) -> Reply:
        await self._audit(progress, target, error)
        content = ErrorMsgContent(self._refused_as(error))
        return Reply(PKIBody(BodyType.ERROR, content.encode()))

    async def _audit(self, progress: _Progress, target: Target, error: Refusal) -> None:
        """Record a refusal, unless it was recorded already, or the same message may succeed later."""
        _log.info("refused", protocol="cmp", kind=error.kind.value, reason=str(error))
        if error.kind in _NOT_AUDITED or isinstance(error, WrongCredentialError):
            return
        actor = "anonymous" if progress.sender is None else progress.sender.actor
        try:
            await self._refusals.record(actor, _operation(progress), target.peer, str(error))
        except UnavailableError as unrecorded:  # the address had its share, or nothing can be stored
            _log.warning("refusal-not-recorded", reason=str(unrecorded))

    def _count(self, progress: _Progress, reply: Reply) -> None:
        refused = reply.body.tag is BodyType.ERROR or reply.refusals
        self.answered[_operation(progress).removeprefix("cmp."), "refused" if refused else "done"] += 1


def _operation(progress: _Progress) -> str:
    return f"cmp.{'unknown' if progress.body is None else progress.body.name.lower()}"


def _require_nonce(request: Request) -> None:
    """Hold recipNonce to our senderNonce; the first message of a client has none (RFC 9483 §3.5)."""
    found = request.checked.message.header.recip_nonce
    transaction = request.transaction
    if transaction is None:
        if found is not None and request.body.tag is not BodyType.NESTED:  # it may be that of what is inside
            raise BadRecipientNonceError("recipNonce stands in a message that answers none")
    else:
        nonces.require(transaction.nonce_key, found)
