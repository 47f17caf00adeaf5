"""Full PKI Requests on a home of its own: who signed, what comes of it, and a message sent again."""

import asyncio
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from test_enrollment import CHANNEL, DEVICE, PEER, Registration, csr, new_key

from pkiserver.core import Core, open_core
from pkiserver.errors import NotAuthorizedError, PKIServerError, RefusedError
from pkiserver.home import Home
from pkiserver.progress import silent
from pkiserver.ra.cmc import MAX_REQUESTS, Answer, NotServedError, verified_signer
from pkiserver.ra.lifecycle import Action
from pkiserver.ra.requester import Requester
from protocols import oid
from protocols.asn1 import der
from protocols.cmc.body_parts import OtherMsg, TaggedAttribute
from protocols.cmc.controls import CONTROLS
from protocols.cmc.full_request import read_full_request
from protocols.cmc.pki_data import CertReqMsg, OtherRequest, PKIData, TaggedCertificationRequest
from protocols.cms.content_info import IssuerAndSerialNumber, SubjectKeyIdentifier
from protocols.cms.signing import assemble, signed_attributes
from protocols.errors import (
    BadKeyError,
    BadPOPError,
    BadSignatureError,
    ErrorKind,
    MalformedError,
    ProtocolError,
)
from protocols.x509.certificate import read_certificate
from protocols.x509.names import parse_subject

_ECDSA = der.sequence(der.oid(oid.ECDSA_WITH_SHA256))


@dataclass
class Signer:
    """Holds a certificate of the CA and signs Full PKI Requests with it."""

    core: Core
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    certificate: bytes = b""

    async def enrol(self, profile: str = "device", subject: str = DEVICE) -> "Signer":
        registration = Registration(self.core)
        san = () if subject != DEVICE else ("dns:sensor-7.example.mn", "ip:192.0.2.70")
        credential = await registration.credential(profile, subject, san)
        self.certificate = await registration.enroll(credential, csr(self.key, subject, san))
        return self

    def message(self, data: PKIData, **changes: Any) -> bytes:
        return signed(data.encode(), self.key, self.certificate, **changes)

    async def send(self, data: PKIData | bytes, label: str | None = None) -> Answer:
        message = data if isinstance(data, bytes) else self.message(data)
        return await self.core.full_pki_requests.answer(message, Requester(PEER, CHANNEL), label)


def signed(
    content: bytes,
    key: ec.EllipticCurvePrivateKey,
    certificate: bytes,
    *,
    content_type: str = oid.CCT_PKI_DATA,
    certificates: Sequence[bytes] | None = None,
    by_key: bool = False,
    altered: bytes = b"",
) -> bytes:
    parsed = x509.load_der_x509_certificate(certificate)
    now = parsed.not_valid_before_utc
    attributes = signed_attributes(content_type, content, digest_algorithm=oid.SHA256, signing_time=now)
    identifier = parsed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    return assemble(
        content_type,
        content + altered,
        attributes,
        signer=SubjectKeyIdentifier(identifier)
        if by_key
        else IssuerAndSerialNumber(parsed.issuer.public_bytes(), parsed.serial_number),
        digest_algorithm=oid.SHA256,
        signature_algorithm=_ECDSA,
        signature=key.sign(attributes, ec.ECDSA(SHA256())),
        certificates=[certificate] if certificates is None else certificates,
    )


def renewal(*requests: bytes, nonce: bytes = b"nonce") -> PKIData:
    return PKIData(
        (TaggedAttribute(100, oid.CMC_SENDER_NONCE, (der.octet_string(nonce),)),),
        tuple(TaggedCertificationRequest(number, one) for number, one in enumerate(requests, 1)),
    )


@pytest.fixture
async def signer(core: Core) -> Signer:
    return await Signer(core).enrol()


def error_of(answer: Answer) -> tuple[type[Exception], str]:
    assert answer.error is not None
    return type(answer.error), str(answer.error)


async def test_rekey(signer: Signer) -> None:
    """RFC 5272 §3.2: signed with the key of a current certificate, for a new one."""
    key = new_key()
    answer = await signer.send(renewal(csr(key)))
    assert answer.error is None
    [outcome] = answer.outcomes
    certificate = x509.load_der_x509_certificate(answer.certificates[0])
    held = x509.load_der_x509_certificate(signer.certificate)
    assert outcome.body_parts == (1,)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject == held.subject
    assert answer.controls.sender_nonce == b"nonce"
    assert answer.actor.startswith("certificate:")


async def test_signer_named_by_its_key(signer: Signer) -> None:
    assert (await signer.send(signer.message(renewal(csr(new_key())), by_key=True))).error is None


async def test_a_message_sent_again_issues_nothing(signer: Signer) -> None:
    message = signer.message(renewal(csr(new_key())))
    first = await signer.send(message)
    count = await Registration(signer.core).count()
    again = await signer.send(message)
    assert again.certificates == first.certificates
    assert await Registration(signer.core).count() == count
    other = await signer.send(renewal(csr(signer.key), nonce=b"another"))
    assert other.certificates != first.certificates


async def test_a_repeat_that_is_signed_anew_gets_what_was_not_taken(signer: Signer) -> None:
    """Its client cannot know whether it was answered: another nonce, the same key (ADR 0004)."""
    request = csr(new_key())
    first = await signer.send(renewal(request))
    assert (await signer.send(renewal(request, nonce=b"another"))).certificates == first.certificates
    await signer.core.enrollment.delivered(first.certificates[0])
    third = await signer.send(renewal(request, nonce=b"a third"))
    assert third.error is None
    assert third.certificates != first.certificates


async def test_a_message_sent_twice_at_once_issues_one(signer: Signer) -> None:
    message = signer.message(renewal(csr(new_key())))
    count = await Registration(signer.core).count()
    answers = await asyncio.gather(signer.send(message), signer.send(message))
    assert await Registration(signer.core).count() == count + 1
    for answer in answers:
        assert answer.error is None or answer.error.kind is ErrorKind.UNAVAILABLE
    assert (await signer.send(message)).error is None


async def test_a_message_whose_certificate_was_revoked_since(signer: Signer) -> None:
    message = signer.message(renewal(csr(new_key())))
    first = await signer.send(message)
    await Registration(signer.core).change(first.certificates[0], Action.REVOKE)
    kind, text = error_of(await signer.send(message))
    assert (kind, "another senderNonce" in text) == (RefusedError, True)


async def test_several_requests_fare_for_themselves(signer: Signer) -> None:
    good, bad = csr(new_key()), csr(new_key(), "CN=somebody else")
    answer = await signer.send(renewal(good, bad))
    assert answer.error is None
    assert [one.certificate is not None for one in answer.outcomes] == [True, False]
    assert isinstance(answer.outcomes[1].error, RefusedError)


@pytest.mark.parametrize("action", [Action.SUSPEND, Action.REVOKE])
async def test_status_of_the_signer_is_checked(signer: Signer, action: Action) -> None:
    await Registration(signer.core).change(signer.certificate, action)
    assert error_of(await signer.send(renewal(csr(new_key()))))[0] is NotAuthorizedError


async def test_signer_of_a_profile_that_cannot_renew(core: Core) -> None:
    signer = await Signer(core).enrol("tls-server", "CN=www.example.mn")
    kind, text = error_of(await signer.send(renewal(csr(new_key(), "CN=www.example.mn", ()))))
    assert (kind, "cannot re-enrol" in text) == (NotAuthorizedError, True)


async def test_own_certificates_of_the_ca_enrol_nothing(signer: Signer) -> None:
    """A CA's certificate is not for signatures over messages."""
    ca = signer.core.authorities.get("infrastructure").der
    message = signed(renewal(csr(new_key())).encode(), signer.key, ca)
    assert error_of(await signer.send(message))[0] is NotAuthorizedError


async def test_unregistered_registration_client(core: Core) -> None:
    signer = await Signer(core).enrol("registration-client", "CN=Station 7,O=R")
    kind, text = error_of(await signer.send(renewal(csr(new_key())), "device"))
    assert (kind, "cannot re-enrol device" in text) == (NotAuthorizedError, True)


@pytest.mark.parametrize("changes", [{"altered": b"\0"}, {"certificates": []}])
async def test_bad_signatures(signer: Signer, changes: dict[str, Any]) -> None:
    answer = await signer.send(signer.message(renewal(csr(new_key())), **changes))
    assert answer.error is not None
    assert isinstance(answer.error, BadSignatureError | MalformedError)
    assert answer.controls.sender_nonce is None  # nobody known said it


UNREADABLE = {
    "version": (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"),
    "an extension twice": (b"\x06\x03\x55\x1d\x1f", b"\x06\x03\x55\x1d\x20"),
    "issuer": (b"\x0c\x11Infrastructure CA", b"\x0c\x11\xff\xffrastructure CA"),
    "kind of key": (b"\x2a\x86\x48\xce\x3d\x02\x01", b"\x2a\x86\x48\xce\x3d\x02\x7f"),
    "algorithm": (b"\x2a\x86\x48\xce\x3d\x04\x03", b"\x2a\x86\x48\xce\x3d\x04\x7f"),
}


@pytest.mark.parametrize("what", UNREADABLE)
async def test_a_certificate_of_the_signer_that_cannot_be_read(signer: Signer, what: str) -> None:
    """Anybody can send one: it is refused, and no error of ours."""
    altered = signer.certificate.replace(*UNREADABLE[what])
    assert altered != signer.certificate
    content = renewal(csr(new_key())).encode()
    message = signed(content, signer.key, signer.certificate, certificates=[altered], by_key=what == "issuer")
    kind, _ = error_of(await signer.send(message))
    assert kind in (BadSignatureError, NotAuthorizedError, MalformedError, BadKeyError)
    with pytest.raises(NotAuthorizedError):
        await Registration(signer.core).reenroll(altered)


FULL_REQUESTS = sorted((Path(__file__).parents[1] / "vectors" / "cmc").glob("openssl_full_request*"))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(FULL_REQUESTS), st.integers(0, 4000), st.integers(0, 3), st.binary(max_size=4))
def test_whoever_signed_an_altered_message(path: Path, at: int, cut: int, put: bytes) -> None:
    """Only our own errors, its certificate included; what still verifies says who signed the original."""
    original = path.read_bytes()
    signer = verified_signer(read_full_request(original))
    at %= len(original)
    with suppress(ProtocolError, PKIServerError):
        altered = verified_signer(read_full_request(original[:at] + put + original[at + cut :]))
        assert read_certificate(altered).public_key() == read_certificate(signer).public_key()


async def test_signature_of_another_key(signer: Signer) -> None:
    message = signed(renewal(csr(new_key())).encode(), new_key(), signer.certificate)
    assert error_of(await signer.send(message))[0] is BadSignatureError


async def test_certificate_of_another_ca(signer: Signer) -> None:
    key = new_key()
    name = x509.load_der_x509_certificate(signer.certificate).subject
    issuer = x509.load_der_x509_certificate(signer.certificate).issuer
    now = x509.load_der_x509_certificate(signer.certificate).not_valid_before_utc
    forged = (
        x509.CertificateBuilder(issuer, name, key.public_key(), 7, now, now.replace(year=now.year + 1))
        .add_extension(x509.SubjectKeyIdentifier(b"k"), critical=False)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True
        )
        .sign(key, SHA256())
        .public_bytes(Encoding.DER)
    )
    answer = await signer.send(signed(renewal(csr(new_key())).encode(), key, forged))
    assert error_of(answer)[0] is NotAuthorizedError


async def test_proof_of_possession_of_the_new_key(signer: Signer) -> None:
    request = bytearray(csr(new_key()))
    request[-1] ^= 1
    assert error_of(await signer.send(renewal(bytes(request))))[0] is BadPOPError


@pytest.mark.parametrize(
    "message", [b"", b"\x30\x00", b"\x30\x80", b"no message", b"\x30\x84\xff\xff\xff\xff"]
)
async def test_no_message_at_all(core: Core, message: bytes) -> None:
    answer = await Signer(core).send(message)
    assert answer.outcomes[0].body_parts == (0,)
    assert answer.error is not None


async def test_other_content_types_are_refused(signer: Signer) -> None:
    message = signed(
        renewal(csr(new_key())).encode(), signer.key, signer.certificate, content_type=oid.PKCS7_DATA
    )
    assert error_of(await signer.send(message))[0] is MalformedError


@pytest.mark.parametrize(
    "request_", [CertReqMsg(7, der.sequence(der.integer(7))), OtherRequest(7, "1.2.3", der.null())]
)
async def test_rfc5272_3_2_1_2_other_requests_are_not_served(
    signer: Signer, request_: CertReqMsg | OtherRequest
) -> None:
    answer = await signer.send(PKIData(req_sequence=(request_,)))
    assert answer.outcomes[0].body_parts == (7,)
    assert isinstance(answer.outcomes[0].error, NotServedError)


async def test_rfc5272_3_2_1_beside_one_that_is_not_served_nothing_is_processed(signer: Signer) -> None:
    """§3.2.1: noSupport for that item, and no other certification requests are processed."""
    count = await Registration(signer.core).count()
    good = TaggedCertificationRequest(1, csr(new_key()))
    answer = await signer.send(PKIData(req_sequence=(good, OtherRequest(2, "1.2.3", der.null()))))
    assert [(one.body_parts, type(one.error)) for one in answer.outcomes] == [((2,), NotServedError)]
    assert await Registration(signer.core).count() == count


async def test_rfc5272_3_2_1_2_1_a_request_without_a_name_is_refused(signer: Signer) -> None:
    key = new_key()
    nobody = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    answer = await signer.send(renewal(nobody.public_bytes(Encoding.DER)))
    assert isinstance(answer.error, RefusedError)  # badRequest, by the table of errors


@pytest.mark.parametrize(
    "kind", [oid.CMC_REVOKE_REQUEST, oid.CMC_IDENTIFICATION, oid.CMC_QUERY_PENDING, "1.2.3"]
)
async def test_rfc5272_3_2_1_1_controls_that_are_not_processed(signer: Signer, kind: str) -> None:
    """The message fails with badRequest for those controls, and nothing is issued."""
    value = der.utf8_string("x") if kind == oid.CMC_IDENTIFICATION else der.octet_string(b"x")
    data = PKIData((TaggedAttribute(9, kind, (value,)),), (TaggedCertificationRequest(1, csr(new_key())),))
    count = await Registration(signer.core).count()
    answer = await signer.send(data)
    assert [one.body_parts for one in answer.outcomes] == [(9,)]
    name = CONTROLS[kind].name if kind in CONTROLS else kind
    assert name in error_of(answer)[1]
    assert await Registration(signer.core).count() == count


@pytest.mark.parametrize("count", [0, MAX_REQUESTS + 1])
async def test_how_many_requests(signer: Signer, count: int) -> None:
    answer = await signer.send(renewal(*[csr(new_key())] * count))
    assert error_of(answer) == (RefusedError, f"a message has 1 to {MAX_REQUESTS} requests")


async def test_messages_inside_are_refused(signer: Signer) -> None:
    data = PKIData(other_msg_sequence=(OtherMsg(5, "1.2.3", der.null()),))
    answer = await signer.send(data)
    assert answer.outcomes[0].body_parts == (5,)


# ---- registered RAs

GATE = """
description = "A gate that somebody approves"
issuer = "infrastructure"
lifetime = "90d"
keys = ["ec:P-256"]
key_usage = ["digitalSignature"]
extended_key_usage = ["clientAuth"]
approval = true
[[subject]]
attribute = "commonName"
source = "request"
[[policies]]
oid = "1.3.6.1.4.1.32473.2.1"
"""


async def test_a_limited_ra_enrols_nothing_else(initialised_home: Path, tmp_path: Path, clock: Any) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(initialised_home, home.path)
    home.profiles.mkdir(exist_ok=True)
    for name in ("gate", "door"):
        (home.profiles / f"{name}.toml").write_text(GATE)
    async with open_core(home, clock) as core:
        station = await Signer(core).enrol("registration-client", "CN=Station 7,O=R")
        pem = x509.load_der_x509_certificate(station.certificate).public_bytes(Encoding.PEM).decode()
        more = {"name": "station-7", "role": "ra", "pem": pem, "profiles": ["gate"]}
        await core.commands.run("actor.add", more, "user:root", silent)
        message = station.message(renewal(csr(new_key(), "CN=gate-9", ())))
        refused = (await station.send(message, "door")).error
        assert refused is not None
        assert refused.kind is ErrorKind.NOT_AUTHORIZED
        waits = (await station.send(message, "gate")).error
        assert waits is not None
        assert waits.kind is ErrorKind.PENDING


async def test_a_registered_ra_enrols_what_was_approved(
    initialised_home: Path, tmp_path: Path, clock: Any
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(initialised_home, home.path)
    home.profiles.mkdir(exist_ok=True)
    (home.profiles / "gate.toml").write_text(GATE)
    async with open_core(home, clock) as core:
        station = await Signer(core).enrol("registration-client", "CN=Station 7,O=R")
        pem = x509.load_der_x509_certificate(station.certificate).public_bytes(Encoding.PEM).decode()
        more = {"name": "station-7", "role": "ra", "pem": pem}
        await core.commands.run("actor.add", more, "user:root", silent)
        message = station.message(renewal(csr(new_key(), "CN=gate-9", ())))

        waits = await station.send(message, "gate")
        assert waits.error is not None
        assert waits.error.kind is ErrorKind.PENDING

        await core.commands.run("enrollment.approve", {"enrollment": 1}, "user:registrar", silent)
        answer = await station.send(message, "gate")
        assert answer.error is None
        [certificate] = answer.certificates
        assert x509.load_der_x509_certificate(certificate).subject == parse_subject("CN=gate-9")
        assert (await station.send(message, "gate")).certificates == (certificate,)

        # Taken or not: a message that was answered asks nobody to approve anything again.
        await core.enrollment.delivered(certificate)
        assert (await station.send(message, "gate")).certificates == (certificate,)
        await Registration(core).change(certificate, Action.REVOKE)
        kind, text = error_of(await station.send(message, "gate"))
        assert (kind, "another senderNonce" in text) == (RefusedError, True)
        assert (
            await core.commands.run("enrollment.list", {"state": "waiting", "limit": 9}, "user:root", silent)
            == []
        )
