"""Keys that are made here for who asks (RFC 9483 §4.1.6), and how each is sent.

| who asks | pvno 3 | pvno 2 |
|---|---|---|
| an RSA certificate for keyEncipherment | EnvelopedData by OAEP | EncryptedValue |
| a certificate on a curve for keyAgreement | EnvelopedData by ECDH | refused |
| who knows a secret | EnvelopedData by PBKDF2 | refused |

In EnvelopedData is an AsymmetricKeyPackage that is signed here (RFC 9810 §5.2.2), in EncryptedValue the bare
PrivateKeyInfo (RFC 4211 §6.4): there the signature of the message is the only one.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from config.profile import Profile
from pkiserver import audit
from pkiserver.ca.message_signer import MessageSigner
from pkiserver.errors import RefusedError
from pkiserver.ra.cmp.deliveries import WithKey
from pkiserver.ra.cmp.envelopes import Recipient, key_for, sealed, sealed_value, to_certificate, to_secret
from pkiserver.ra.cmp.errors import BadCertTemplateError
from pkiserver.ra.cmp.key_types import algorithm_of
from pkiserver.ra.cmp.senders import MACSender, Sender
from pkiserver.ra.cmp.stages import Request
from pkiserver.ra.cmp.wanted import Wanted
from pkiserver.ra.key_maker import KeyMaker
from pkiserver.storage import Storage
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.encrypted_key import EncryptedKey
from protocols.cms.content_info import ContentInfo
from protocols.errors import BadPOPError
from protocols.est.server_key import asymmetric_key_package
from protocols.x509.spki import PublicKey, read_public_key
from store import audit as audit_chain

_NEEDS_PVNO_3: Final = (
    "say pvno 3: in pvno 2 a key can only be sent to who signs with an RSA certificate for keyEncipherment"
    " (RFC 9810 §5.2.2, §7)"
)
Sealing = Callable[[bytes], Awaitable[EncryptedKey]]
"""Encrypts a DER PrivateKeyInfo for who asked for it."""


class MadeKeys:
    """Makes keys, one for each request, and keeps none."""

    def __init__(self, storage: Storage, message_signer: MessageSigner, key_maker: KeyMaker) -> None:
        self._storage = storage
        self._message_signer = message_signer
        self._key_maker = key_maker

    async def make(self, request: Request, wanted: Wanted, profile: Profile) -> tuple[PublicKey, WithKey]:
        """Return a new public key, and the private key as it is sent.

        How it can be sent is known before it is made: `NotAuthorizedError` where the certificate is not for
        that, `RefusedError` where it takes another version. `BadCertTemplateError`, `BadPOPError`: the
        template asks for no such key.
        """
        if not profile.server_keygen:
            raise BadCertTemplateError(f"the template has no public key, and none is made for {profile.name}")
        kind = _kind(wanted, profile)
        sealing = self._sealing(request, kind)
        private_key_info = await self._key_maker.make(kind)
        await self._audit(request, profile, kind)
        return _public_key(private_key_info), WithKey(await sealing(private_key_info))

    def _sealing(self, request: Request, kind: str) -> Sealing:
        if request.takes_envelopes:
            recipient = _recipient(request.sender)
            return lambda private_key_info: self._enveloped(recipient, private_key_info)
        if isinstance(request.sender, MACSender):
            raise RefusedError(_NEEDS_PVNO_3)
        key = key_for(request.sender.shown.certificate)
        if not isinstance(key, RSAPublicKey):
            raise RefusedError(_NEEDS_PVNO_3)
        algorithm = algorithm_of(kind)
        return lambda private_key_info: sealed_value(key, private_key_info, algorithm)

    async def _enveloped(self, recipient: Recipient, private_key_info: bytes) -> EncryptedKey:
        package = asymmetric_key_package(private_key_info)
        message = await self._message_signer.sign(oid.CT_KEY_PACKAGE, package)
        signed_data = der.whole(message, ContentInfo.parse).content
        return await sealed(recipient, oid.PKCS7_SIGNED_DATA, signed_data)

    async def _audit(self, request: Request, profile: Profile, kind: str) -> None:
        entry = audit.entry(
            request.now,
            request.sender.actor,
            "key.make",
            profile=profile.name,
            kind=kind,
            encrypted_by="secret" if isinstance(request.sender, MACSender) else "certificate",
            sent_in="EnvelopedData" if request.takes_envelopes else "EncryptedValue",
        )
        await self._storage.write(lambda tx: audit_chain.append(tx, entry))


def is_to_be_made(wanted: Wanted) -> bool:
    """Tell whether the key is left to be made here: publicKey is absent, or has an algorithm and no key."""
    if wanted.message is None:
        return False
    spki = wanted.message.cert_req.template.public_key
    return spki is None or _bits(spki) == b""


def _bits(spki: bytes) -> bytes:
    fields = der.Reader(spki).enter()
    fields.read_raw(der.SEQUENCE)
    return fields.bit_string()


def _kind(wanted: Wanted, profile: Profile) -> str:
    """Return the kind of key that a template names by its algorithm, or else the profile's first."""
    message = wanted.message
    if message is not None and message.popo is not None:
        raise BadPOPError("nobody can prove possession of a key that is yet to be made (RFC 9483 §4.1.6)")
    spki = None if message is None else message.cert_req.template.public_key
    if spki is None:
        return profile.keys[0]
    algorithm = AlgorithmIdentifier.parse(der.Reader(spki).enter())
    for kind in profile.keys:
        if algorithm_of(kind) == algorithm:
            return kind
    raise BadCertTemplateError(f"keys for {profile.name} are not of the algorithm that the template names")


def _recipient(sender: Sender) -> Recipient:
    """Return who the key is encrypted for: the one whose protection asked for it (RFC 9483 §4.1.6)."""
    if isinstance(sender, MACSender):
        return to_secret(sender.secret)
    return to_certificate(sender.shown.certificate)


def _public_key(private_key_info: bytes) -> PublicKey:
    key = load_der_private_key(private_key_info, None).public_key()
    return read_public_key(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
