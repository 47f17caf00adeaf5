"""Nested messages: who may forward, what of the headers must be the same or different, and bounds."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from unittest.mock import Mock

import pytest

from pkiserver.errors import NotAuthorizedError, RefusedError
from pkiserver.ra.client_certificates import Device, Holder
from pkiserver.ra.cmp.errors import BadSenderNonceError, TransactionIDInUseError, WrongIntegrityError
from pkiserver.ra.cmp.nested import MAX_MESSAGES, NestedMessages
from pkiserver.ra.cmp.senders import MACSender, Sender, SignatureSender
from pkiserver.ra.cmp.stages import CheckedMessage, Reply, Request, Target
from protocols.asn1 import der
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.general_info import GeneralInfo
from protocols.cmp.header import PKIHeader
from protocols.cmp.message import MalformedMessageError, build_pki_message, parse_nested, parse_pki_message
from protocols.errors import TooLargeError

NUMBERS = count(1)
GENM = PKIBody(BodyType.GENM, der.sequence())


class RAs:
    """Knows one registered RA."""

    def __init__(self, *, registered: bool = True) -> None:
        self.registered = registered

    async def actor(self, _holder: Holder, _label: str | None) -> object | None:
        return object() if self.registered else None


class Echo:
    """Answers every message with the same bytes after a mark, and remembers them."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, str | None, str]] = []

    async def answer(
        self,
        message: bytes,
        *,
        operation: str | None,  # noqa: ARG002 - the protocol's
        profile: str | None,
        peer: str,
    ) -> bytes:
        self.asked.append((message, profile, peer))
        return der.sequence(der.octet_string(message))


def fresh() -> bytes:
    return next(NUMBERS).to_bytes(16, "big")


def built(body: PKIBody = GENM, transaction_id: bytes | None = None, nonce: bytes | None = None) -> bytes:
    header = PKIHeader(transaction_id=transaction_id or fresh(), sender_nonce=nonce or fresh())
    return build_pki_message(header, body)


def nested(*messages: bytes) -> PKIBody:
    return PKIBody(BodyType.NESTED, der.sequence(*messages))


def copied(message: bytes) -> bytes:
    """Return a message nested as RFC 9483 §5.2.2.1 has it."""
    header = parse_pki_message(message).header
    return built(nested(message), header.transaction_id, header.sender_nonce)


def signed_by(client: Holder | Device) -> SignatureSender:
    return SignatureSender(Mock(), client)


RA = signed_by(Mock(Holder))


async def opened(
    message: bytes,
    sender: Sender = RA,
    *,
    registered: bool = True,
    originals: Sequence[bytes] = (),
) -> tuple[Reply, Echo]:
    """Return what a nested message is answered, and who answered what is inside."""
    parsed = parse_pki_message(message)
    assert parsed.header.transaction_id is not None
    assert parsed.header.sender_nonce is not None
    checked = CheckedMessage(
        parsed,
        GeneralInfo(orig_pki_messages=tuple(originals)),
        parsed.header.transaction_id,
        parsed.header.sender_nonce,
    )
    request = Request(
        checked, sender, Target("nested", "device", "::1"), datetime(2026, 1, 1, tzinfo=UTC), None, b"", b""
    )
    echo = Echo()
    handler = NestedMessages(RAs(registered=registered))  # type: ignore[arg-type] # what is asked of it
    handler.attach(echo)
    return await handler.handle(request), echo


# ---- What is allowed


async def test_one_message_is_answered_as_if_it_came_alone() -> None:
    """RFC 9483 §5.2.2.1: the answer has the protection that the message has, not that of the RA."""
    message = built()
    reply, echo = await opened(copied(message))
    assert reply.message == der.sequence(der.octet_string(message))
    assert echo.asked == [(message, "device", "::1")]


async def test_several_are_answered_together_and_in_order() -> None:
    """RFC 9483 §5.2.2.2."""
    messages = [built() for _ in range(MAX_MESSAGES)]
    reply, echo = await opened(built(nested(*messages)))
    assert reply.message is None
    assert reply.body.tag is BodyType.NESTED
    assert parse_nested(reply.body) == tuple(der.sequence(der.octet_string(one)) for one in messages)
    assert [asked for asked, _, _ in echo.asked] == messages


async def test_a_gateway_forwards_what_ras_forward() -> None:
    inside = [copied(built()), built()]
    _, echo = await opened(built(nested(*inside)))
    assert [asked for asked, _, _ in echo.asked] == inside


async def test_originals_of_what_an_ra_changed() -> None:
    """RFC 9810 §5.1.1.3: one for each, in their order."""
    messages = [built(), built()]
    await opened(built(nested(*messages)), originals=[built(), built()])
    with pytest.raises(RefusedError, match="origPKIMessage"):
        await opened(built(nested(*messages)), originals=[built()])


# ---- Who may


@pytest.mark.parametrize(
    ("sender", "registered", "error"),
    [
        (MACSender(Mock(), Mock(), Mock()), True, WrongIntegrityError),
        (signed_by(Mock(Holder)), False, NotAuthorizedError),
        (signed_by(Mock(Device)), True, NotAuthorizedError),
    ],
    ids=["MAC", "holder", "device of others"],
)
async def test_only_registered_ras_forward(sender: Sender, registered: bool, error: type[Exception]) -> None:
    with pytest.raises(error):
        await opened(copied(built()), sender, registered=registered)


# ---- Identifiers


async def test_one_message_without_its_own_identifiers() -> None:
    message = built()
    header = parse_pki_message(message).header
    with pytest.raises(RefusedError, match="transactionID"):
        await opened(built(nested(message), None, header.sender_nonce))
    with pytest.raises(BadSenderNonceError):
        await opened(built(nested(message), header.transaction_id))


@pytest.mark.parametrize("where", ["inside", "outside"])
async def test_a_batch_with_identifiers_that_are_not_unique(where: str) -> None:
    same = fresh()
    outside = same if where == "outside" else None
    messages = [built(), built(transaction_id=same), built()]
    if where == "inside":
        messages.append(built(transaction_id=same))
    with pytest.raises(TransactionIDInUseError):
        await opened(built(nested(*messages), transaction_id=outside))
    messages = [built(), built(nonce=same), built()]
    if where == "inside":
        messages.append(built(nonce=same))
    with pytest.raises(BadSenderNonceError):
        await opened(built(nested(*messages), nonce=outside))


# ---- Bounds


async def test_too_many_or_too_deep() -> None:
    pairs = [built(nested(built(), built())) for _ in range(MAX_MESSAGES // 2)]
    _, echo = await opened(built(nested(*pairs)))
    assert len(echo.asked) == len(pairs)
    for inside in (
        [built() for _ in range(MAX_MESSAGES + 1)],
        [*pairs, built()],
        [built(nested(built(nested(built()))))],
    ):
        with pytest.raises(TooLargeError):
            await opened(built(nested(*inside)))


async def test_what_is_no_message_inside() -> None:
    """Nothing is answered then: not even what came before it."""
    with pytest.raises(MalformedMessageError):
        await opened(built(nested(built(), der.sequence())))
