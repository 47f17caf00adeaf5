"""Nested messages: an RA forwards others' messages under its own protection (RFC 9810 §5.1.3.5).

One message, with its transactionID and senderNonce, gets the answer as if it had come alone (RFC 9483
§5.2.2.1); several get theirs together (§5.2.2.2). Each is authenticated by its own protection: that of the RA
stands for nothing that they ask for.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from pkiserver.errors import NotAuthorizedError, RefusedError
from pkiserver.ra.client_certificates import Holder
from pkiserver.ra.cmp.errors import (
    BadSenderNonceError,
    TransactionIDInUseError,
    WrongIntegrityError,
)
from pkiserver.ra.cmp.operations import operation_inside
from pkiserver.ra.cmp.senders import MACSender
from pkiserver.ra.cmp.stages import Reply, Request
from pkiserver.ra.registration_clients import RegistrationClients
from protocols.asn1 import der
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.message import PKIMessage, parse_nested, parse_pki_message
from protocols.errors import TooLargeError

MAX_DEPTH: Final = 2  # a gateway that collects from RAs; each level costs a signature
MAX_MESSAGES: Final = 16  # in all: one after the other they are answered before the client gives up


class Answerer(Protocol):
    """Who answers each message."""

    async def answer(
        self, message: bytes, *, operation: str | None, profile: str | None, peer: str
    ) -> bytes: ...


class NestedMessages:
    """Opens nested messages of registered RAs."""

    def __init__(self, registration_clients: RegistrationClients) -> None:
        self._registration_clients = registration_clients
        self._answerer: Answerer | None = None

    def attach(self, answerer: Answerer) -> None:
        """Say who answers what is inside."""
        self._answerer = answerer

    async def handle(self, request: Request) -> Reply:
        """Have what is inside answered.

        Raises `WrongIntegrityError` under a MAC, `NotAuthorizedError` for who is no registered RA,
        `TooLargeError` over a bound, `RefusedError`, `BadSenderNonceError` and `TransactionIDInUseError`
        where identifiers are not as they must be, `MalformedMessageError`; nothing was answered then.
        """
        await self._require_ra(request)
        messages = open_nested(request.checked.message)
        _require_originals(request, len(messages))
        if len(messages) == 1:
            _require_copied(request, messages[0])
            return Reply(request.body, message=await self._answer(request, messages[0]))
        _require_unique(request, messages)
        answers = [await self._answer(request, one) for one in messages]
        return Reply(PKIBody(BodyType.NESTED, der.sequence(*answers)))

    async def _require_ra(self, request: Request) -> None:
        sender = request.sender
        if isinstance(sender, MACSender):
            raise WrongIntegrityError("a nested message is protected by a signature (RFC 9483 §5.2.2)")
        actor = None
        if isinstance(sender.client, Holder):
            actor = await self._registration_clients.actor(sender.client, None)
        if actor is None:
            raise NotAuthorizedError("messages of others are forwarded by registered RAs only")

    async def _answer(self, request: Request, message: PKIMessage) -> bytes:
        if self._answerer is None:
            raise RefusedError("nested messages are not served here")
        target = request.target
        return await self._answerer.answer(
            message.der,
            operation=operation_inside(target.operation),
            profile=target.profile,
            peer=target.peer,
        )


def open_nested(message: PKIMessage) -> tuple[PKIMessage, ...]:
    """Return what is nested directly in a message; `TooLargeError` where all levels hold too much."""
    inner = _inner(message)
    leaves = sum(1 for _ in _leaves(inner, depth=1))
    if leaves > MAX_MESSAGES:
        raise TooLargeError(f"more than {MAX_MESSAGES} messages are nested")
    return inner


def _inner(message: PKIMessage) -> tuple[PKIMessage, ...]:
    return tuple(parse_pki_message(encoded) for encoded in parse_nested(message.body))


def _leaves(messages: Sequence[PKIMessage], *, depth: int) -> Iterator[PKIMessage]:
    for message in messages:
        if message.body.tag is not BodyType.NESTED:
            yield message
        elif depth == MAX_DEPTH:
            raise TooLargeError(f"messages are nested in more than {MAX_DEPTH} levels")
        else:
            yield from _leaves(_inner(message), depth=depth + 1)


def _require_copied(request: Request, message: PKIMessage) -> None:
    """RFC 9483 §5.2.2.1: the header has transactionID and senderNonce of the one message inside."""
    if message.header.transaction_id != request.checked.transaction_id:
        raise RefusedError("one message is nested with its own transactionID (RFC 9483 §5.2.2.1)")
    if message.header.sender_nonce != request.checked.sender_nonce:
        raise BadSenderNonceError("one message is nested with its own senderNonce (RFC 9483 §5.2.2.1)")


def _require_unique(request: Request, messages: Sequence[PKIMessage]) -> None:
    """RFC 9483 §5.2.2.2: those of a batch are told apart by them, from each other and from the batch."""
    ids = [request.checked.transaction_id, *(one.header.transaction_id for one in messages)]
    if len(set(ids)) < len(ids):
        raise TransactionIDInUseError("two messages of a batch have one transactionID (RFC 9483 §5.2.2.2)")
    nonces = [request.checked.sender_nonce, *(one.header.sender_nonce for one in messages)]
    if len(set(nonces)) < len(nonces):
        raise BadSenderNonceError("two messages of a batch have one senderNonce (RFC 9483 §5.2.2.2)")


def _require_originals(request: Request, count: int) -> None:
    """RFC 9810 §5.1.1.3: origPKIMessage of a nested message holds the original of each message in it."""
    originals = request.checked.info.orig_pki_messages
    if originals and len(originals) != count:
        raise RefusedError("origPKIMessage does not hold one message for each that is nested")
