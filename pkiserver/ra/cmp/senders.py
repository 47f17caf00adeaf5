"""Who sent a CMP message: whoever its protection speaks for (RFC 9810 §5.1.3, RFC 9483 §3.2, §3.5).

A MAC speaks for the credential that senderKID names, a signature for the certificate that stands first in
extraCerts. Work for a MAC is bounded by its iterations, and guessing slowed down as with any other secret.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from config.schema_cmp import CMP
from pkiserver.errors import NotAuthorizedError, RefusedError
from pkiserver.ra.client_certificates import ClientCertificates, Device, Holder, ShownCertificate
from pkiserver.ra.cmp.errors import (
    BadMessageCheckError,
    CertRevokedError,
    SignerNotTrustedError,
)
from pkiserver.ra.credentials import Credentials, WrongCredentialError
from pkiserver.ra.refusals import Refusals
from pkiserver.storage import Storage
from protocols.cmp.header import PKIHeader
from protocols.cmp.mac import MACBounds, MACKey, MACParameters, PBMParameter
from protocols.cmp.message import PKIMessage
from protocols.cmp.protection import (
    SignatureProtection,
    read_protection,
    verify_mac_of,
    verify_signature,
)
from protocols.errors import BadKeyError, BadMACError, MalformedError
from protocols.x509.names import names_equal, read_name
from protocols.x509.spki import PublicKey, read_public_key
from store import certificates, cmp_transactions
from store.records import CredentialRecord

MAX_REFERENCE_OCTETS: Final = 64  # references of ours have 13 characters
_AT_ONCE: Final = 2_000  # iterations that cost a millisecond; more are left to a thread

_UNCONFIRMED: Final = "the certificate of the signer is not confirmed yet; nor does it confirm itself"


@dataclass(frozen=True, slots=True)
class MACSender:
    """Who knows the secret of a credential; `key` protected the message and protects the answer."""

    credential: CredentialRecord
    secret: bytes = field(repr=False)
    key: MACKey = field(repr=False)

    @property
    def id(self) -> str:
        """What its transactions are known by."""
        return f"credential:{self.credential.reference}"

    @property
    def actor(self) -> str:
        """How the audit log names it."""
        return self.id


@dataclass(frozen=True, slots=True)
class SignatureSender:
    """Who holds the key of a certificate, ours and active now or of a trusted third party."""

    shown: ShownCertificate
    client: Holder | Device

    @property
    def id(self) -> str:
        """What its transactions are known by."""
        return f"certificate:{self.shown.sha256.hex()}"

    @property
    def actor(self) -> str:
        """How the audit log names it."""
        return self.shown.actor


Sender = MACSender | SignatureSender


@dataclass(frozen=True, slots=True)
class _ByMAC:
    """A message with its MAC, whose parameters are within bounds."""

    message: PKIMessage
    protection: bytes
    parameters: MACParameters

    def verify(self, secret: bytes) -> MACKey:
        """Return the key; `BadMACError` where the secret is another one."""
        return verify_mac_of(self.message, self.protection, self.parameters, secret)


class Senders:
    """Authenticates messages."""

    def __init__(
        self,
        *,
        storage: Storage,
        credentials: Credentials,
        client_certificates: ClientCertificates,
        refusals: Refusals,
        settings: CMP,
    ) -> None:
        self._storage = storage
        self._credentials = credentials
        self._client_certificates = client_certificates
        self._refusals = refusals
        self._bounds = MACBounds(settings.min_mac_iterations, settings.max_mac_iterations)
        self._costly = asyncio.Semaphore(1)  # hashing holds the interpreter: more at once only take turns

    async def authenticate(self, message: PKIMessage, peer: str, now: datetime) -> Sender:
        """Return who protected a message.

        Raises `BadMessageCheckError`, `SignerNotTrustedError`, `CertRevokedError`, `NotAuthorizedError`,
        `UnavailableError` for who guesses, and what `protocols.cmp.protection` does.
        """
        header = message.header
        if header.protection_alg is None or message.protection is None:
            raise BadMessageCheckError("the message is not protected, or not by an algorithm that it names")
        protection = read_protection(header.protection_alg, self._bounds)
        if isinstance(protection, SignatureProtection):
            return await self._by_signature(message)
        return await self._by_mac(_ByMAC(message, message.protection, protection), peer, now)

    async def _by_mac(self, received: _ByMAC, peer: str, now: datetime) -> MACSender:
        reference = _reference(received.message.header)
        self._refusals.require_patience(reference, now)
        found = await self._credentials.mac_secret(reference)
        secret = found.secret.encode()
        try:
            key = await self._verified(received, secret, peer, now)
        except BadMACError as error:
            wrong = WrongCredentialError("reference or secret is wrong", found.credential)
            await self._refusals.wrong_secret("cmp", reference, peer, wrong, now)
            raise wrong from error
        if found.credential is None:  # nobody knows that secret
            raise BadMessageCheckError("reference or secret is wrong")
        self._refusals.right_secret(reference)
        return MACSender(found.credential, secret, key)

    async def _verified(self, received: _ByMAC, secret: bytes, peer: str, now: datetime) -> MACKey:
        """Verify a MAC; one that is costly in its turn, and not for an address that was refused too often."""
        if not _is_costly(received.parameters):
            return received.verify(secret)
        self._refusals.require_share(peer, now)
        async with self._costly:
            return await asyncio.to_thread(received.verify, secret)

    async def _by_signature(self, message: PKIMessage) -> SignatureSender:
        if not message.extra_certs:
            raise BadMessageCheckError("the certificate of the signer is not in extraCerts (RFC 9483 §3.3)")
        shown = self._client_certificates.read(message.extra_certs[0])
        signer = _signer(shown.certificate)
        _require_named(message.header, shown, signer)
        verify_signature(message, _public_key(shown))
        if not signer.may_sign:
            raise BadMessageCheckError("the certificate of the signer is not for digitalSignature")
        return SignatureSender(shown, await self._client(shown))

    async def _client(self, shown: ShownCertificate) -> Holder | Device:
        try:
            return await self._client_certificates.identify(shown)
        except NotAuthorizedError as error:
            issuer = shown.issuer
            if issuer is None:
                raise SignerNotTrustedError(str(error)) from error
            serial = shown.certificate.serial_number
            if await self._storage.read(lambda tx: cmp_transactions.is_unconfirmed(tx, issuer.id, serial)):
                raise RefusedError(_UNCONFIRMED) from error
            record = await self._storage.read(lambda tx: certificates.get(tx, issuer.id, serial))
            if record is not None and record.state == "revoked":
                raise CertRevokedError("the certificate of the signer is revoked") from error
            raise


def _reference(header: PKIHeader) -> str:
    """Return the reference that senderKID names; RFC 9483 §3.1 has the sender be a directoryName too."""
    if header.sender_name is None:
        raise BadMessageCheckError("the sender is no directoryName (RFC 9483 §3.1)")
    try:
        reference = (header.sender_kid or b"").decode("ascii")
    except UnicodeDecodeError:
        reference = ""
    if not 0 < len(reference) <= MAX_REFERENCE_OCTETS:
        raise BadMessageCheckError("senderKID does not name the reference of a secret (RFC 9483 §3.1)")
    return reference


def _is_costly(parameters: MACParameters) -> bool:
    return parameters.iteration_count > _AT_ONCE or not isinstance(parameters, PBMParameter)


@dataclass(frozen=True, slots=True)
class _Signer:
    """What a signer's certificate says; `may_sign`: keyUsage, where there is one, has digitalSignature."""

    key_identifier: bytes | None
    may_sign: bool


def _signer(certificate: x509.Certificate) -> _Signer:
    """Read the extensions of a certificate that nobody has verified yet."""
    found = {one.oid: one.value for one in certificate.extensions}
    identifier = found.get(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    usage = found.get(ExtensionOID.KEY_USAGE)
    return _Signer(
        identifier.digest if isinstance(identifier, x509.SubjectKeyIdentifier) else None,
        not isinstance(usage, x509.KeyUsage) or usage.digital_signature,
    )


def _public_key(shown: ShownCertificate) -> PublicKey:
    try:
        return read_public_key(shown.parts.spki_der)
    except (BadKeyError, MalformedError) as error:
        raise BadMessageCheckError("the key of the signer's certificate cannot be used") from error


def _require_named(header: PKIHeader, shown: ShownCertificate, signer: _Signer) -> None:
    """Hold sender and senderKID to the first of extraCerts (RFC 9483 §3.5).

    Where the certificate has no subjectKeyIdentifier, senderKID may be anything (§3.1).
    """
    sender = header.sender_name
    if sender is None or not _is_subject(sender, shown):
        raise BadMessageCheckError("the sender is not the subject of the first certificate in extraCerts")
    if signer.key_identifier is not None and header.sender_kid != signer.key_identifier:
        raise BadMessageCheckError("senderKID is not the subjectKeyIdentifier of that certificate")


def _is_subject(sender: bytes, shown: ShownCertificate) -> bool:
    """Tell whether a DER Name is the subject of a certificate, which most write in the same octets."""
    return sender == shown.parts.subject_der or names_equal(read_name(sender), shown.certificate.subject)
