"""A small CMP client: it builds requests as `openssl cmp` does, and can be told to get each part wrong."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1_alt_modules import rfc9810

from pkiserver.core import Core
from pkiserver.ra.credentials import NewCredential
from pkiserver.signer.algorithms import signature_algorithm_for
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier, Extension
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.certificates import CertRepMessage, CertResponse
from protocols.cmp.confirmation import CertStatus, build_cert_confirm
from protocols.cmp.crmf import (
    AttributeTypeAndValue,
    CertReqMsg,
    CertTemplate,
    POPOSigningKey,
    ProofOfPossession,
    build_cert_req_messages,
    build_cert_request,
)
from protocols.cmp.general_info import GeneralInfo
from protocols.cmp.general_name import general_name
from protocols.cmp.header import PKIHeader
from protocols.cmp.mac import MACParameters, PBMParameter
from protocols.cmp.message import (
    PKIMessage,
    finish_message,
    parse_pki_message,
    protected_part,
    protected_part_of,
)
from protocols.cmp.polling import build_poll_req
from protocols.cmp.protection import mac_protected
from protocols.cmp.revocation import RevDetails, build_rev_req
from protocols.cmp.status import ErrorMsgContent, PKIFailureInfo, PKIStatus, PKIStatusInfo
from protocols.x509.names import parse_san, parse_subject

PEER = "192.0.2.1"
ECDSA_SHA256 = AlgorithmIdentifier(oid.ECDSA_WITH_SHA256)
RSA_SHA256 = AlgorithmIdentifier(oid.SHA256_WITH_RSA, der.null())
Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def spki_of(key: Key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pbm(iterations: int = 100) -> PBMParameter:
    """Return new parameters of a PasswordBasedMac."""
    return PBMParameter(
        os.urandom(16), AlgorithmIdentifier(oid.SHA256), iterations, AlgorithmIdentifier(oid.HMAC_WITH_SHA256)
    )


class Protection(Protocol):
    """How a client protects its messages, and what their headers say of it."""

    def header(self) -> dict[str, Any]: ...

    def protect(self, header: PKIHeader, body: PKIBody) -> bytes: ...


@dataclass(frozen=True)
class ByMAC:
    """By the secret of a credential."""

    credential: NewCredential
    subject: str = "CN=sensor-7"
    parameters: Callable[[], MACParameters] = pbm

    def header(self) -> dict[str, Any]:
        name = parse_subject(self.subject).public_bytes()
        return {"sender": general_name(name), "sender_kid": self.credential.reference.encode()}

    def protect(self, header: PKIHeader, body: PKIBody) -> bytes:
        key = self.parameters().key_of(self.credential.secret.encode())
        return mac_protected(header, body, key)


@dataclass(frozen=True)
class BySignature:
    """By the key of a certificate."""

    key: Key | rsa.RSAPrivateKey
    certificate: bytes
    extra_certs: tuple[bytes, ...] | None = None

    def header(self) -> dict[str, Any]:
        certificate = x509.load_der_x509_certificate(self.certificate)
        try:
            found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        except x509.ExtensionNotFound:
            found = None
        return {
            "sender": general_name(certificate.subject.public_bytes()),
            "sender_kid": found,
            "protection_alg": RSA_SHA256 if isinstance(self.key, rsa.RSAPrivateKey) else ECDSA_SHA256,
        }

    def protect(self, header: PKIHeader, body: PKIBody) -> bytes:
        part = protected_part_of(header, body)
        extra = (self.certificate,) if self.extra_certs is None else self.extra_certs
        if isinstance(self.key, rsa.RSAPrivateKey):
            return finish_message(part, self.key.sign(part, padding.PKCS1v15(), SHA256()), extra)
        return finish_message(part, self.key.sign(part, ec.ECDSA(SHA256())), extra)


@dataclass(frozen=True)
class Unprotected:
    """Not at all."""

    def header(self) -> dict[str, Any]:
        return {}

    def protect(self, header: PKIHeader, body: PKIBody) -> bytes:
        return finish_message(protected_part_of(header, body), None)


@dataclass(frozen=True)
class Answer:
    """What the server said, taken apart."""

    message: PKIMessage

    @property
    def body(self) -> BodyType:
        return self.message.body.tag

    @property
    def responses(self) -> Sequence[CertResponse]:
        return der.whole(self.message.body.content_der, CertRepMessage.parse).response

    @property
    def status(self) -> PKIStatusInfo:
        """The status of an error, or of the one response."""
        if self.body is BodyType.ERROR:
            return der.whole(self.message.body.content_der, ErrorMsgContent.parse).status_info
        (response,) = self.responses
        return response.status

    @property
    def failure(self) -> PKIFailureInfo | None:
        (failure,) = self.status.fail_info or (None,)
        return failure

    @property
    def certificate(self) -> bytes:
        """The certificate of the one response."""
        (response,) = self.responses
        assert response.status.status in (PKIStatus.ACCEPTED, PKIStatus.GRANTED_WITH_MODS), response.status
        assert response.certified_key_pair is not None
        assert response.certified_key_pair.certificate is not None
        return response.certified_key_pair.certificate


@dataclass
class Client:
    """One transaction of a client; nonces and transactionID are kept from message to message."""

    core: Core
    protection: Protection
    profile: str | None = None
    operation: str | None = None
    transaction_id: bytes = field(default_factory=lambda: os.urandom(16))
    recip_nonce: bytes | None = None
    sent: bytes = b""

    def build(self, body: PKIBody, *, info: GeneralInfo | None = None, **changes: Any) -> bytes:
        """Return a protected message; `changes` are fields of its header."""
        fields = {
            "message_time": self.core.clock.now(),
            "transaction_id": self.transaction_id,
            "sender_nonce": os.urandom(16),
            "recip_nonce": self.recip_nonce,
            "general_info": (info or GeneralInfo()).infos(),
        }
        header = PKIHeader(**fields | self.protection.header() | changes)
        return self.protection.protect(header, body)

    async def post(self, message: bytes) -> Answer:
        """Send a message as it is."""
        self.sent = message
        answered = await self.core.cmp.answer(
            message, operation=self.operation, profile=self.profile, peer=PEER
        )
        require_standard(answered)
        answer = Answer(parse_pki_message(answered))
        self.recip_nonce = answer.message.header.sender_nonce
        return answer

    async def send(self, body: PKIBody, **changes: Any) -> Answer:
        return await self.post(self.build(body, **changes))

    async def ir(self, key: Key, subject: str | None = "CN=sensor-7", **changes: Any) -> Answer:
        return await self.send(request_body(BodyType.IR, key, subject), **changes)

    async def kur(self, key: Key, **changes: Any) -> Answer:
        return await self.send(request_body(BodyType.KUR, key, None), **changes)

    async def confirm(self, certificate: bytes, **changes: Any) -> Answer:
        return await self.send(confirm_body(certificate), **changes)

    async def poll(self, cert_req_id: int = 0) -> Answer:
        return await self.send(PKIBody(BodyType.POLL_REQ, build_poll_req([cert_req_id])))


def require_standard(message: bytes) -> None:
    """Hold what is sent to an independent implementation of the ASN.1 module: decoded and encoded again."""
    decoded, rest = decode(message, asn1Spec=rfc9810.PKIMessage())
    assert (encode(decoded), rest) == (message, b"")


def template(key: Key | None, subject: str | None = "CN=sensor-7", san: Iterable[str] = ()) -> CertTemplate:
    names = [parse_san(text) for text in san]
    value = x509.SubjectAlternativeName(names).public_bytes() if names else b""
    return CertTemplate(
        subject=None if subject is None else parse_subject(subject).public_bytes(),
        public_key=None if key is None else spki_of(key),
        extensions=(Extension(oid.SUBJECT_ALT_NAME, False, value),) if names else (),
    )


def request(
    key: Key,
    wanted: CertTemplate,
    *,
    cert_req_id: int = 0,
    controls: Iterable[AttributeTypeAndValue] = (),
    popo: ProofOfPossession | None = None,
) -> CertReqMsg:
    """Return a request with its signature as proof, or another proof."""
    asked = build_cert_request(cert_req_id, wanted, controls)
    signed = POPOSigningKey(ECDSA_SHA256, key.sign(asked.der, ec.ECDSA(SHA256())))
    return CertReqMsg(asked, popo or signed)


def request_body(kind: BodyType, key: Key, subject: str | None = "CN=sensor-7", **named: Any) -> PKIBody:
    return PKIBody(kind, build_cert_req_messages([request(key, template(key, subject), **named)]))


def confirm_body(certificate: bytes, cert_req_id: int = 0, **status: Any) -> PKIBody:
    hashed = hash_of(certificate)
    content = build_cert_confirm([CertStatus(**{"cert_hash": hashed, "cert_req_id": cert_req_id} | status)])
    return PKIBody(BodyType.CERT_CONF, content)


def hash_of(certificate: bytes) -> bytes:
    """Return the certHash of a certificate: by the hash of its signature."""
    algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    assert algorithm is not None
    return hashlib.new(algorithm.name, certificate).digest()


def rejection_body(certificate: bytes) -> PKIBody:
    return confirm_body(certificate, status_info=PKIStatusInfo(PKIStatus.REJECTION))


def revocation_body(certificate: bytes, reason: int | None = None, **changes: Any) -> PKIBody:
    parsed = x509.load_der_x509_certificate(certificate)
    named = CertTemplate(issuer=parsed.issuer.public_bytes(), serial_number=parsed.serial_number)
    value = b"" if reason is None else der.enumerated(reason)
    extensions = () if reason is None else (Extension(oid.CRL_REASON, False, value),)
    return PKIBody(BodyType.RR, build_rev_req([RevDetails(replace(named, **changes), extensions)]))


async def credential(
    core: Core,
    subject: str = "CN=sensor-7",
    *,
    profile: str = "device",
    uses: int = 1,
    san: Sequence[str] = (),
) -> NewCredential:
    return await core.credentials.create(
        profile=profile,
        subject=subject,
        san=tuple(san),
        limit_mnt=None,
        uses=uses,
        lifetime=None,
        actor="test",
        use="cmp",
    )


async def holder(core: Core, subject: str = "CN=sensor-7", profile: str = "device") -> BySignature:
    """Return who holds a new certificate of a profile."""
    key = new_key()
    client = Client(core, ByMAC(await credential(core, subject, profile=profile), subject))
    answer = await client.ir(key, subject, info=GeneralInfo(implicit_confirm=True))
    return BySignature(key, answer.certificate)


def require_signed_by_server(answer: Answer, now: datetime) -> None:
    """Hold an answer's signature to the first certificate of its extraCerts."""
    message = answer.message
    certificate = x509.load_der_x509_certificate(message.extra_certs[0])
    assert message.protection is not None
    assert message.header.message_time == now
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert message.header.protection_alg is not None
    assert message.header.protection_alg.encode() == signature_algorithm_for(key).der
    algorithm = signature_algorithm_for(key).hash
    assert algorithm is not None
    key.verify(message.protection, protected_part(message), ec.ECDSA(algorithm))
