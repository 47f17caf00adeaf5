"""What each message must be like (RFC 9483 §3.1 to §3.5): a breach has the failInfo that the RFC names."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pkiserver.core import Core
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.bodies import BodyType
from protocols.cmp.general_info import GeneralInfo
from protocols.cmp.general_name import general_name
from protocols.cmp.info_type import InfoTypeAndValue
from protocols.cmp.mac import PBMAC1Parameter, PBMParameter
from protocols.cmp.message import MalformedMessageError, build_pki_message, parse_pki_message, protected_part
from protocols.cmp.protection import verify_mac
from protocols.cmp.status import PKIFailureInfo as Failure
from protocols.x509.names import parse_subject
from store import cmp_transactions, credentials
from tests.cmp_messages import (
    Answer,
    ByMAC,
    BySignature,
    Client,
    Unprotected,
    credential,
    holder,
    new_key,
    pbm,
    request_body,
    require_signed_by_server,
)

if TYPE_CHECKING:
    from tests.ra.conftest import Recorded, SetClock

LATE = timedelta(minutes=5, seconds=1)
STRANGER = general_name(parse_subject("CN=stranger").public_bytes())
DNS_NAME = der.encode(der.context(2, constructed=False), b"sensor.example.mn")
NOT_NULL = (InfoTypeAndValue(oid.IT_IMPLICIT_CONFIRM, der.boolean(True)),)
UTC_TIME = (InfoTypeAndValue(oid.IT_CONFIRM_WAIT_TIME, der.encode(der.UTC_TIME, b"260301120000Z")),)
Changes = Callable[[Core], dict[str, Any]]


async def by_mac(core: Core) -> Client:
    return Client(core, ByMAC(await credential(core)))


async def by_signature(core: Core) -> Client:
    return Client(core, await holder(core))


ASKERS = pytest.mark.parametrize("client_of", [by_mac, by_signature])


@pytest.mark.parametrize("iterations", [100, 500, 3_000])
async def test_an_answer_to_a_mac_is_protected_by_the_same(core: Core, iterations: int) -> None:
    new = await credential(core)
    answer = await Client(core, ByMAC(new, parameters=lambda: pbm(iterations))).ir(new_key())
    assert answer.body is BodyType.IP
    verify_mac(answer.message, new.secret.encode())
    assert answer.message.header.sender_kid == new.reference.encode()


async def test_pbmac1_is_answered_by_pbmac1(core: Core) -> None:
    new = await credential(core)
    sha256 = AlgorithmIdentifier(oid.HMAC_WITH_SHA256)
    pbmac1 = PBMAC1Parameter(os.urandom(16), 1_000, 32, sha256, sha256)
    answer = await Client(core, ByMAC(new, parameters=lambda: pbmac1)).ir(new_key())
    assert answer.body is BodyType.IP
    assert answer.message.header.protection_alg is not None
    assert answer.message.header.protection_alg.oid == oid.PBMAC1
    verify_mac(answer.message, new.secret.encode())


async def test_an_answer_to_a_signature_is_signed(core: Core, clock: "SetClock") -> None:
    answer = await Client(core, await holder(core)).kur(new_key())
    assert answer.body is BodyType.KUP
    require_signed_by_server(answer, clock.now())


@ASKERS
async def test_what_is_echoed(core: Core, client_of: Any) -> None:
    client = await client_of(core)
    answer = await client.ir(new_key())
    sent, header = parse_pki_message(client.sent).header, answer.message.header
    assert header.transaction_id == sent.transaction_id
    assert header.recip_nonce == sent.sender_nonce
    assert header.recipient == sent.sender
    assert header.pvno == sent.pvno == 2
    assert len(header.sender_nonce or b"") == 16


@ASKERS
@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        (lambda _: {"pvno": 1}, Failure.UNSUPPORTED_VERSION),
        (lambda _: {"pvno": 4}, Failure.UNSUPPORTED_VERSION),
        (lambda _: {"transaction_id": None}, Failure.BAD_DATA_FORMAT),
        (lambda _: {"transaction_id": bytes(15)}, Failure.BAD_DATA_FORMAT),
        (lambda _: {"transaction_id": bytes(65)}, Failure.BAD_DATA_FORMAT),
        (lambda _: {"sender_nonce": None}, Failure.BAD_SENDER_NONCE),
        (lambda _: {"sender_nonce": bytes(4)}, Failure.BAD_SENDER_NONCE),
        (lambda _: {"recip_nonce": bytes(16)}, Failure.BAD_RECIPIENT_NONCE),
        (lambda _: {"message_time": None}, Failure.BAD_TIME),
        (lambda core: {"message_time": core.clock.now() - LATE}, Failure.BAD_TIME),
        (lambda core: {"message_time": core.clock.now() + LATE}, Failure.BAD_TIME),
        (lambda _: {"sender_kid": None}, Failure.BAD_MESSAGE_CHECK),
        (lambda _: {"sender_kid": b"another"}, Failure.BAD_MESSAGE_CHECK),
        (lambda _: {"sender": DNS_NAME}, Failure.BAD_MESSAGE_CHECK),
        (lambda _: {"general_info": NOT_NULL}, Failure.BAD_REQUEST),
        (lambda _: {"general_info": UTC_TIME}, Failure.BAD_DATA_FORMAT),
        (
            lambda core: {"info": GeneralInfo(implicit_confirm=True, confirm_wait_time=core.clock.now())},
            Failure.BAD_REQUEST,
        ),
    ],
)
async def test_a_header_that_is_not_in_order(
    core: Core, client_of: Any, changes: Changes, failure: Failure
) -> None:
    answer = await (await client_of(core)).ir(new_key(), **changes(core))
    assert (answer.body, answer.failure) == (BodyType.ERROR, failure)


async def test_a_window_of_time_is_wide_enough(core: Core) -> None:
    client = await by_mac(core)
    answer = await client.ir(new_key(), message_time=core.clock.now() - timedelta(minutes=5))
    assert answer.body is BodyType.IP


async def test_the_sender_is_the_subject_of_the_first_certificate(core: Core) -> None:
    client = await by_signature(core)
    answer = await client.ir(new_key(), sender=STRANGER)
    assert answer.failure is Failure.BAD_MESSAGE_CHECK


async def test_the_signer_comes_first(core: Core) -> None:
    one, other = await holder(core), await holder(core, "CN=sensor-8")
    moved = replace(one, extra_certs=(other.certificate, one.certificate))
    assert (await Client(core, moved).kur(new_key())).failure is Failure.BAD_MESSAGE_CHECK


@pytest.mark.parametrize(
    "make", [lambda: ec.generate_private_key(ec.SECP256K1()), lambda: dsa.generate_private_key(2048)]
)
async def test_a_signer_whose_key_is_of_another_kind(core: Core, make: Callable[[], Any]) -> None:
    key = make()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sensor-7")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 5, core.clock.now(), core.clock.now())
    certificate = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    signer = replace(await holder(core), certificate=certificate)
    assert (await Client(core, signer).kur(new_key())).failure is Failure.BAD_MESSAGE_CHECK


@pytest.mark.parametrize("position", [-40, -1])
@ASKERS
async def test_a_changed_message_is_refused(core: Core, client_of: Any, position: int) -> None:
    client = await client_of(core)
    client.protection = replace(client.protection, **without_certificates(client))
    message = bytearray(client.build(request_body(BodyType.IR, new_key())))
    message[position] ^= 1
    answer = await client.post(bytes(message))
    assert answer.failure is Failure.BAD_MESSAGE_CHECK


def without_certificates(client: Client) -> dict[str, Any]:
    return {"extra_certs": ()} if isinstance(client.protection, BySignature) else {}


async def test_an_unprotected_message_is_refused_by_a_signed_one(core: Core, clock: "SetClock") -> None:
    answer = await Client(core, Unprotected()).ir(new_key())
    assert answer.failure is Failure.BAD_MESSAGE_CHECK
    require_signed_by_server(answer, clock.now())


async def test_a_wrong_secret(core: Core, recorded: "Recorded") -> None:
    new = await credential(core)
    wrong = replace(new, secret="wrong")
    answer = await Client(core, ByMAC(wrong)).ir(new_key())
    assert answer.failure is Failure.BAD_MESSAGE_CHECK
    record = await core.storage.read(lambda tx: credentials.get(tx, new.reference))
    assert record is not None
    assert record.attempts_left == core.settings.est.max_attempts - 1
    refusals = [one for one in await recorded(core.storage) if one["outcome"] == "refused"]
    assert [(one["actor"], one["action"], one["peer"]) for one in refusals] == [
        ("anonymous", "cmp", "192.0.2.1")
    ]
    assert new.secret not in str(refusals)


async def test_guessing_gets_slower(core: Core) -> None:
    wrong = ByMAC(replace(await credential(core), secret="wrong"))
    failures = [(await Client(core, wrong).ir(new_key())).failure for _ in range(6)]
    assert failures[0] is Failure.BAD_MESSAGE_CHECK
    assert failures[-1] is Failure.SYSTEM_UNAVAIL


async def test_a_secret_of_est_keys_no_mac(core: Core) -> None:
    new = await core.credentials.create(
        profile="device", subject="CN=sensor-7", san=(), limit_mnt=None, uses=1, lifetime=None, actor="test"
    )
    assert (await Client(core, ByMAC(new)).ir(new_key())).failure is Failure.BAD_MESSAGE_CHECK


@pytest.mark.parametrize(
    "parameters",
    [
        replace(pbm(), iteration_count=99),
        replace(pbm(), iteration_count=1 << 30),
        replace(pbm(), salt=b"short"),
        replace(pbm(), owf=AlgorithmIdentifier(oid.SHA1)),
    ],
    ids=["few", "many", "salt", "sha1"],
)
async def test_macs_out_of_bounds_cost_nothing(core: Core, parameters: PBMParameter) -> None:
    new = await credential(core)
    answer = await Client(core, Unprotected()).send(
        request_body(BodyType.IR, new_key()), protection_alg=parameters.algorithm(), sender_kid=b"x"
    )
    assert answer.failure is Failure.BAD_MESSAGE_CHECK  # no protection at all
    client = Client(core, Fixed(new.reference, parameters))
    assert (await client.ir(new_key())).failure is Failure.BAD_ALG


class Fixed:
    """Claims a MAC without having made one."""

    def __init__(self, reference: str, parameters: PBMParameter) -> None:
        self._reference, self._parameters = reference, parameters

    def header(self) -> dict[str, Any]:
        return {"sender_kid": self._reference.encode(), "protection_alg": self._parameters.algorithm()}

    def protect(self, header: Any, body: Any) -> bytes:
        return build_pki_message(header, body, bytes(32))


@pytest.mark.parametrize("kind", [oid.DH_BASED_MAC, oid.KEM_BASED_MAC])
async def test_kinds_of_protection_that_are_not_served(core: Core, kind: str) -> None:
    client = Client(core, Fixed("x", pbm()))
    answer = await client.ir(new_key(), protection_alg=AlgorithmIdentifier(kind, der.null()))
    assert answer.failure is Failure.BAD_ALG
    assert "not supported" in answer.status.status_string[0]


async def test_a_transaction_id_is_used_once(core: Core) -> None:
    client = Client(core, ByMAC(await credential(core, uses=2)))
    await client.ir(new_key())
    client.recip_nonce = None
    answer = await client.ir(new_key())
    assert answer.failure is Failure.TRANSACTION_ID_IN_USE


async def test_another_sender_may_have_the_same_transaction_id(core: Core) -> None:
    client = await by_mac(core)
    await client.ir(new_key())
    other = await by_mac(core)
    other.transaction_id = client.transaction_id
    assert (await other.ir(new_key())).body is BodyType.IP
    found = await core.storage.read(lambda tx: cmp_transactions.with_id(tx, client.transaction_id))
    assert len(found) == 2


async def test_as_much_as_could_be_read_is_echoed(core: Core) -> None:
    client = await by_mac(core)
    message = bytearray(client.build(request_body(BodyType.IR, new_key())))
    whole = parse_pki_message(bytes(message))
    start = bytes(message).index(whole.body_der)
    message[start] = 0xBF  # a body of no kind
    answer = await client.post(bytes(message))
    assert (answer.body, answer.failure) == (BodyType.ERROR, Failure.BAD_DATA_FORMAT)
    assert answer.message.header.transaction_id == client.transaction_id
    assert answer.message.header.recip_nonce == whole.header.sender_nonce
    assert answer.message.header.recipient == whole.header.sender


@pytest.mark.parametrize("data", [b"", b"\x30\x00", b"GET / HTTP/1.1", bytes(100)])
async def test_what_is_no_message_raises(core: Core, data: bytes) -> None:
    with pytest.raises(MalformedMessageError) as raised:
        await core.cmp.answer(data, operation=None, profile=None, peer="192.0.2.1")
    assert raised.value.partial is None


async def test_every_answer_is_protected_as_it_says(core: Core, clock: "SetClock") -> None:
    answers: list[Answer] = [
        await Client(core, Unprotected()).ir(new_key()),
        await Client(core, ByMAC(await credential(core))).ir(new_key(), sender_nonce=None),
    ]
    require_signed_by_server(answers[0], clock.now())
    assert answers[1].message.header.protection_alg is not None
    assert answers[1].message.header.protection_alg.oid == oid.PASSWORD_BASED_MAC
    assert protected_part(answers[1].message)


@ASKERS
async def test_the_recipient_is_not_looked_at(core: Core, client_of: Any) -> None:
    """RFC 9810 §5.1.1 gives no error for it (a divergence)."""
    client = await client_of(core)
    body = request_body(BodyType.CR, new_key(), "CN=sensor-7")
    assert (await client.send(body, recipient=STRANGER)).certificate
