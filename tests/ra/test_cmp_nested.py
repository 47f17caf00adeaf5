"""Nested messages: who may forward, what of the headers must be the same or different, and bounds."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from unittest.mock import Mock

import pytest
from cryptography import x509

from pkiserver.core import Core
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
from protocols.cmp.protection import verify_mac
from protocols.cmp.status import PKIFailureInfo
from protocols.errors import TooLargeError
from tests.cmp_messages import Answer, ByMAC, BySignature, Client, credential, holder, new_key, request_body

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


# ---- In the service


async def registered_ra(core: Core) -> BySignature:
    """Return who holds the certificate of a registered RA."""
    ra = await holder(core, "CN=station-1,C=MN", "registration-client")
    await core.actors.add("station-1", "ra", x509.load_der_x509_certificate(ra.certificate), "test")
    return ra


async def ir_of(core: Core, subject: str) -> tuple[bytes, Client]:
    """Return the ir of somebody who knows a secret, not yet sent."""
    client = Client(core, ByMAC(await credential(core, subject), subject))
    body = request_body(BodyType.IR, new_key(), subject)
    return client.build(body, info=GeneralInfo(implicit_confirm=True)), client


def inner(message: bytes) -> Answer:
    return Answer(parse_pki_message(message))


async def test_an_ra_adds_its_protection_and_the_answer_has_that_of_the_request(core: Core) -> None:
    """RFC 9483 §5.2.2.1: a MAC is answered by a MAC, in one message that is not nested."""
    ra = Client(core, await registered_ra(core))
    request, client = await ir_of(core, "CN=sensor-1")
    parsed = parse_pki_message(request)
    answer = await ra.send(
        nested(request),
        transaction_id=parsed.header.transaction_id,
        sender_nonce=parsed.header.sender_nonce,
    )
    assert answer.body is BodyType.IP
    assert answer.message.header.transaction_id == client.transaction_id
    assert isinstance(client.protection, ByMAC)
    verify_mac(answer.message, client.protection.credential.secret.encode())
    assert x509.load_der_x509_certificate(answer.certificate).subject.rfc4514_string() == "CN=sensor-1"


async def test_a_batch_is_answered_each_by_its_own_protection(core: Core) -> None:
    """RFC 9483 §5.2.2.2; one that is refused does not keep the others from their certificates."""
    ra = Client(core, await registered_ra(core))
    first, _ = await ir_of(core, "CN=sensor-1")
    second, client = await ir_of(core, "CN=sensor-2")
    forged = client.build(GENM, transaction_id=fresh())[:-1] + b"\x00"
    answer = await ra.send(nested(first, second, forged))
    assert answer.body is BodyType.NESTED
    answers = [inner(one) for one in parse_nested(answer.message.body)]
    assert [one.body for one in answers] == [BodyType.IP, BodyType.IP, BodyType.ERROR]
    ids = [parse_pki_message(one).header.transaction_id for one in (first, second, forged)]
    assert [one.message.header.transaction_id for one in answers] == ids
    again = await ra.send(nested(first, second), transaction_id=fresh())
    assert [inner(one).certificate for one in parse_nested(again.message.body)] == [
        answers[0].certificate,
        answers[1].certificate,
    ]


@pytest.mark.parametrize(("originals", "answered"), [(1, BodyType.GENP), (2, BodyType.ERROR)])
async def test_the_original_of_one_message(core: Core, originals: int, answered: BodyType) -> None:
    """RFC 9810 §5.1.1.3: what an RA changed comes with what it was, one message with one."""
    ra = Client(core, await registered_ra(core))
    info = GeneralInfo(orig_pki_messages=tuple(built() for _ in range(originals)))
    assert (await ra.send(GENM, info=info)).body is answered


async def test_who_is_no_ra_forwards_nothing(core: Core) -> None:
    request, _ = await ir_of(core, "CN=sensor-1")
    stranger = await Client(core, await holder(core)).send(nested(request, request))
    assert stranger.failure is PKIFailureInfo.NOT_AUTHORIZED
    by_mac = await Client(core, ByMAC(await credential(core))).send(nested(request, request))
    assert by_mac.failure is PKIFailureInfo.WRONG_INTEGRITY


@pytest.mark.parametrize("by", ["secret", "certificate"])
async def test_no_authority_is_certified_over_cmp(core: Core, by: str) -> None:
    """ccr (RFC 9810 §5.3.11): there is no peer in the configuration."""
    protection = ByMAC(await credential(core)) if by == "secret" else await holder(core)
    answer = await Client(core, protection).send(request_body(BodyType.CCR, new_key()))
    expected = PKIFailureInfo.WRONG_INTEGRITY if by == "secret" else PKIFailureInfo.NOT_AUTHORIZED
    assert (answer.body, answer.failure) == (BodyType.ERROR, expected)
