"""A small client of CMP for tests in the server's process: MAC or signature, one message after the other."""

import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.core import Core
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.general_name import general_name
from protocols.cmp.header import PKIHeader
from protocols.cmp.mac import PBMParameter
from protocols.cmp.message import PKIMessage, finish_message, parse_pki_message, protected_part_of
from protocols.cmp.protection import mac_protected, verify_mac
from protocols.cmp.status import ErrorMsgContent

ANYBODY = general_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "client")]).public_bytes())


@dataclass
class CMPClient:
    """Sends messages of one transaction after the other; `answered` is the last answer."""

    core: Core
    pvno: int = 3
    transaction_id: bytes = b""
    nonce: bytes | None = None
    answered: PKIMessage | None = None
    profile: str | None = None
    sent: bytes = field(default=b"", repr=False)

    def begin(self) -> None:
        """Begin another transaction."""
        self.transaction_id, self.nonce = secrets.token_bytes(16), None

    async def send(self, tag: BodyType, content: bytes) -> PKIBody:
        """Send one message and return the body of the answer."""
        if not self.transaction_id:
            self.begin()
        header = PKIHeader(
            pvno=self.pvno,
            sender=ANYBODY,
            message_time=self.core.clock.now(),
            transaction_id=self.transaction_id,
            sender_nonce=secrets.token_bytes(16),
            recip_nonce=self.nonce,
        )
        self.sent = self.protected(header, PKIBody(tag, content))
        return await self.resend()

    async def resend(self) -> PKIBody:
        """Send the last message as it was."""
        answer = await self.core.cmp.answer(self.sent, operation=None, profile=self.profile, peer="::1")
        self.answered = parse_pki_message(answer)
        self.verify(self.answered)
        self.nonce = self.answered.header.sender_nonce
        return self.answered.body

    async def refused(self, tag: BodyType, content: bytes) -> ErrorMsgContent:
        """Send a message that is answered by an error."""
        body = await self.send(tag, content)
        assert body.tag is BodyType.ERROR, body.tag
        return der.whole(body.content_der, ErrorMsgContent.parse)

    def protected(self, header: PKIHeader, body: PKIBody) -> bytes:
        raise NotImplementedError

    def verify(self, message: PKIMessage) -> None:
        """Hold an answer to its protection."""


@dataclass
class MACClient(CMPClient):
    """Who knows the secret of a credential."""

    reference: str = ""
    secret: str = field(default="", repr=False)

    def protected(self, header: PKIHeader, body: PKIBody) -> bytes:
        sha256, mac = AlgorithmIdentifier(oid.SHA256), AlgorithmIdentifier(oid.HMAC_WITH_SHA256)
        key = PBMParameter(secrets.token_bytes(16), sha256, 500, mac).key_of(self.secret.encode())
        return mac_protected(replace(header, sender_kid=self.reference.encode()), body, key)

    def verify(self, message: PKIMessage) -> None:
        if message.header.protection_alg is not None and message.header.protection_alg.oid in (
            oid.PASSWORD_BASED_MAC,
            oid.PBMAC1,
        ):
            verify_mac(message, self.secret.encode())


@dataclass
class SigningClient(CMPClient):
    """Who holds the key of a certificate."""

    key: Any = field(default=None, repr=False)
    certificate: x509.Certificate | None = None

    def protected(self, header: PKIHeader, body: PKIBody) -> bytes:
        assert self.certificate is not None
        extension = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        rsa_key = isinstance(self.key, rsa.RSAPrivateKey)
        algorithm = (
            AlgorithmIdentifier(oid.SHA256_WITH_RSA, der.null())
            if rsa_key
            else AlgorithmIdentifier(oid.ECDSA_WITH_SHA256)
        )
        part = protected_part_of(
            replace(
                header,
                sender=general_name(self.certificate.subject.public_bytes()),
                sender_kid=extension.value.digest,
                protection_alg=algorithm,
            ),
            body,
        )
        signature = (
            self.key.sign(part, padding.PKCS1v15(), hashes.SHA256())
            if rsa_key
            else self.key.sign(part, ec.ECDSA(hashes.SHA256()))
        )
        return finish_message(part, signature, [self.certificate.public_bytes(Encoding.DER)])


async def mac_client(core: Core, profile: str, subject: str, *, uses: int = 10) -> MACClient:
    """Return the client of a new credential."""
    made = await core.credentials.create(
        profile=profile,
        subject=subject,
        san=(),
        limit_mnt=None,
        uses=uses,
        lifetime=None,
        actor="test",
        use="cmp",
    )
    return MACClient(core, reference=made.reference, secret=made.secret)
