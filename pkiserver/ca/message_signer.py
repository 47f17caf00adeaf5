"""Signs what the CA says: CMC responses, keys that it made (RFC 5272 §4.2, RFC 7030 §4.4.2), CMP messages.

The certificate is one of `infrastructure` for id-kp-cmcCA (RFC 6402 §2.10), so that no CA key signs what
clients have a part in. It is made when first needed, and anew when it is due or no longer active. Heads of
the audit log and what goes to the archive are signed in the same way, each with keys of its own.

Signatures are not verified here once more: a token's never leave the signer unverified (`pkcs11_signing`),
and a key's certificate is found by the key that the signer named.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from config.hierarchy import INFRASTRUCTURE
from pkiserver import audit
from pkiserver.ca.authorized_request import key_hash
from pkiserver.ca.ca_certificates import sent_chain
from pkiserver.ca.identity import approve_identity
from pkiserver.ca.own_certificates import SYSTEM, CAServices, renewal_due
from pkiserver.errors import UnavailableError
from pkiserver.signer.algorithms import KeySpec, load_public_key, signature_algorithm_for
from pkiserver.signer.errors import SignerError
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cms.content_info import IssuerAndSerialNumber
from protocols.cms.signing import assemble, signed_attributes
from protocols.x509.names import parse_subject
from store import audit as audit_chain
from store import certificates

_DIGESTS: Final = {"sha256": oid.SHA256, "sha384": oid.SHA384, "sha512": oid.SHA512}
_ED25519_DIGEST: Final = oid.SHA512  # RFC 8419 §3.1


@dataclass(frozen=True, slots=True)
class SignerKind:
    """What signs: the profile of its certificates, how its keys' labels begin, and its common name."""

    profile: str
    label: str
    name: str


MESSAGES: Final = SignerKind("cmc-server", "cmc-", "CMC server")
AUDIT_LOG: Final = SignerKind("audit-log", "audit-", "Audit log")
ARCHIVE: Final = SignerKind("archive", "archive-", "Archive")


@dataclass(frozen=True, slots=True)
class _Held:
    """A key that has a certificate; what its messages say of it is read once."""

    label: str
    certificate: x509.Certificate
    der: bytes
    public_key: CertificatePublicKeyTypes
    name: bytes
    key_identifier: bytes
    algorithm: AlgorithmIdentifier

    @classmethod
    def of(cls, label: str, certificate: x509.Certificate) -> Self:
        return cls(
            label,
            certificate,
            certificate.public_bytes(Encoding.DER),
            certificate.public_key(),
            certificate.subject.public_bytes(),
            certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest,
            der.whole(signature_algorithm_for(certificate.public_key()).der, AlgorithmIdentifier.parse),
        )


@dataclass(frozen=True, slots=True)
class SigningIdentity:
    """Who signs a message and how: the DER of its Name, the chain without the root."""

    label: str
    name: bytes
    key_identifier: bytes
    algorithm: AlgorithmIdentifier
    chain: tuple[bytes, ...]


class MessageSigner:
    """Signs messages in the name of this CA; one of each kind a server."""

    def __init__(self, services: CAServices, kind: SignerKind) -> None:
        self._services = services
        self._kind = kind
        self._held: _Held | None = None
        self._making = asyncio.Lock()

    @property
    def certificate(self) -> x509.Certificate | None:
        """The certificate that signed last; None before the first message."""
        return self._held.certificate if self._held is not None else None

    async def sign(self, content_type: str, content: bytes, further: Sequence[bytes] = ()) -> bytes:
        """Return the DER ContentInfo of a SignedData over `content`.

        It holds the signer's certificate with its chain, and the `further` ones. `UnavailableError` where
        it cannot be signed now.
        """
        try:
            held = await self._usable()
            algorithm = signature_algorithm_for(held.public_key)
            digest = _DIGESTS[algorithm.hash.name] if algorithm.hash else _ED25519_DIGEST
            attributes = signed_attributes(
                content_type, content, digest_algorithm=digest, signing_time=self._services.clock.now()
            )
            signature = await self._services.signer.sign(held.label, attributes)
        except SignerError as error:
            raise UnavailableError("the message cannot be signed now; try again later") from error
        authorities = self._services.authorities
        chain = [authority.der for authority in authorities.chain(INFRASTRUCTURE)]
        chain += [one.public_bytes(Encoding.DER) for one in sent_chain(authorities, INFRASTRUCTURE)]
        return assemble(
            content_type,
            content,
            attributes,
            signer=IssuerAndSerialNumber(
                held.certificate.issuer.public_bytes(), held.certificate.serial_number
            ),
            digest_algorithm=digest,
            signature_algorithm=algorithm.der,
            signature=signature,
            certificates=tuple(dict.fromkeys((held.der, *chain, *further))),
        )

    async def identity(self) -> SigningIdentity:
        """Return who signs now; `UnavailableError` where nobody can."""
        try:
            held = await self._usable()
        except SignerError as error:
            raise UnavailableError("the message cannot be signed now; try again later") from error
        authorities = self._services.authorities.chain(INFRASTRUCTURE)
        chain = [authority.der for authority in authorities if authority.parent is not None]
        return SigningIdentity(held.label, held.name, held.key_identifier, held.algorithm, (held.der, *chain))

    async def name(self) -> bytes:
        """Return the DER of the Name in which messages are sent that another secret protects.

        Its certificate was made once, and need not be good now. `UnavailableError` where none can be made.
        """
        return self._held.name if self._held is not None else (await self.identity()).name

    async def sign_as(self, identity: SigningIdentity, data: bytes) -> bytes:
        """Return the signature over `data`; `UnavailableError` where it cannot be made now."""
        try:
            return await self._services.signer.sign(identity.label, data)
        except SignerError as error:
            raise UnavailableError("the message cannot be signed now; try again later") from error

    async def _usable(self) -> _Held:
        async with self._making:  # two requests at once do not make two
            if self._held is None:
                self._held = await self._newest()
            if self._held is None or not await self._is_good(self._held):
                self._held = await self._make()
            return self._held

    async def _newest(self) -> _Held | None:
        """Return the newest key that has a certificate; None for the first time."""
        for number in reversed(await self._numbers()):
            label = f"{self._kind.label}{number}"
            certificate = await self._certificate(label)
            if certificate is not None:
                return _Held.of(label, certificate)
        return None

    async def _numbers(self) -> list[int]:
        labels = await self._services.signer.labels()
        prefix = self._kind.label
        ends = (label.removeprefix(prefix) for label in labels if label.startswith(prefix))
        return sorted(int(end) for end in ends if end.isdecimal())

    async def _certificate(self, label: str) -> x509.Certificate | None:
        digest = key_hash(load_public_key(await self._services.signer.public_key(label)))
        found = await self._services.storage.read(lambda tx: certificates.with_key(tx, digest))
        return x509.load_der_x509_certificate(found[0].certificate) if found else None

    async def _is_good(self, held: _Held) -> bool:
        services = self._services
        issuer = services.authorities.get(INFRASTRUCTURE)
        serial = held.certificate.serial_number
        state = await services.storage.read(
            lambda tx: certificates.state_of(tx, issuer.id, serial), brief=True
        )
        if state != "active":
            return False
        now = services.clock.now()
        if renewal_due(held.certificate, issuer.certificate, now):
            return False
        return now < held.certificate.not_valid_after_utc

    async def _make(self) -> _Held:
        """Make a key, unless one was left without a certificate, and certify it."""
        services = self._services
        numbers = await self._numbers()
        number = numbers[-1] if numbers else 0
        if not numbers or await self._certificate(f"{self._kind.label}{number}") is not None:
            number += 1
            await self._make_key(f"{self._kind.label}{number}")
        label = f"{self._kind.label}{number}"
        profile = services.profiles[self._kind.profile]
        subject = parse_subject(f"CN={self._kind.name} {number}")
        identity = approve_identity(profile, approved_subject=subject, requested_subject=subject)
        public_key = load_public_key(await services.signer.public_key(label))
        certificate = await services.issue(
            profile.name, INFRASTRUCTURE, identity, public_key, until_issuer_ends=True
        )
        return _Held.of(label, certificate)

    async def _make_key(self, label: str) -> None:
        kind = self._services.profiles[self._kind.profile].keys[0]
        await self._services.signer.generate(label, KeySpec.parse(kind))
        entry = audit.entry(self._services.clock.now(), SYSTEM, "key.generate", label=label, kind=kind)
        await self._services.storage.write(lambda tx: audit_chain.append(tx, entry))
