"""Whose key is certified: one that the client proves to hold now or later, or one that is made for it.

| popo and publicKey of the request | what is done |
|---|---|
| signature, raVerified | see `proofs` |
| keyEncipherment, keyAgreement: encrCert | the certificate goes encrypted to its key |
| the same: challengeResp | it was challenged before, see `challenges` |
| no publicKey, or an empty one | the key is made here, where the profile says so |
| everything else | refused |
"""

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from config.profile import Profile
from pkiserver import audit
from pkiserver.ca.message_signer import MessageSigner
from pkiserver.errors import RefusedError
from pkiserver.ra.approved import Approved
from pkiserver.ra.cmp.deliveries import IN_CLEAR, Delivery, ToItsKey, WithKey
from pkiserver.ra.cmp.envelopes import Recipient, sealed, to_certificate, to_secret
from pkiserver.ra.cmp.errors import BadCertTemplateError
from pkiserver.ra.cmp.key_types import algorithm_of, encrypts
from pkiserver.ra.cmp.proofs import proven_key
from pkiserver.ra.cmp.senders import MACSender, Sender
from pkiserver.ra.cmp.stages import Request
from pkiserver.ra.cmp.wanted import Wanted
from pkiserver.ra.key_maker import KeyMaker
from pkiserver.storage import Storage
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.crmf import KeyAgreement, KeyEncipherment, SubsequentMessage
from protocols.cmp.header import Version
from protocols.cms.content_info import ContentInfo
from protocols.errors import BadPOPError
from protocols.est.server_key import asymmetric_key_package
from protocols.x509.spki import PublicKey, read_public_key
from store import audit as audit_chain

_SERVED_PROOFS: Final = "a key for encryption proves itself by encrCert or challengeResp (RFC 9810 §5.2.8.3)"


class SubjectKeys:
    """Finds the key that a request is for, and how its certificate is delivered."""

    def __init__(self, storage: Storage, message_signer: MessageSigner, key_maker: KeyMaker) -> None:
        self._storage = storage
        self._message_signer = message_signer
        self._key_maker = key_maker

    async def of(
        self, request: Request, wanted: Wanted, approved: Approved, *, is_ra: bool, challenged: bool
    ) -> tuple[PublicKey, Delivery]:
        """Return the public key and the delivery. `challenged`: who asked for a challenge has answered it.

        Raises `BadPOPError`, `BadCertTemplateError`, `RefusedError` for pvno 2 where pvno 3 is needed,
        `NotAuthorizedError` where a key that is made could not be encrypted, and what `proven_key` does.
        """
        if is_to_be_made(wanted):
            return await self._made(request, wanted, approved)
        if _is_for_encryption(wanted):
            return _later_proven(request, wanted, approved.profile, challenged=challenged)
        sender_name = request.checked.message.header.sender
        return proven_key(wanted, request.sender, sender_name, is_ra=is_ra), IN_CLEAR

    async def _made(self, request: Request, wanted: Wanted, approved: Approved) -> tuple[PublicKey, Delivery]:
        """Make a key for who can be sent it (RFC 9483 §4.1.6).

        Whoever leaves it to be made takes EnvelopedData, whichever version the message is of: `openssl cmp
        -centralkeygen` says 2.
        """
        profile = approved.profile
        if not profile.server_keygen:
            raise BadCertTemplateError(f"the template has no public key, and none is made for {profile.name}")
        recipient = _recipient(request.sender)
        kind = _kind(wanted, profile)
        private_key_info = await self._key_maker.make(kind)
        await self._audit(request, profile, kind)
        package = asymmetric_key_package(private_key_info)
        message = await self._message_signer.sign(oid.CT_KEY_PACKAGE, package)
        signed_data = der.whole(message, ContentInfo.parse).content
        private_key = await sealed(recipient, oid.PKCS7_SIGNED_DATA, signed_data)
        return _public_key(private_key_info), WithKey(private_key)

    async def _audit(self, request: Request, profile: Profile, kind: str) -> None:
        by = "secret" if isinstance(request.sender, MACSender) else "certificate"
        entry = audit.entry(
            request.now, request.sender.actor, "key.make", profile=profile.name, kind=kind, encrypted_by=by
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


def _recipient(sender: Sender) -> Recipient:
    """Return who the key is encrypted for: the one whose protection asked for it (RFC 9483 §4.1.6)."""
    return (
        to_secret(sender.secret)
        if isinstance(sender, MACSender)
        else to_certificate(sender.shown.certificate)
    )


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


def _is_for_encryption(wanted: Wanted) -> bool:
    return wanted.message is not None and isinstance(wanted.message.popo, KeyEncipherment | KeyAgreement)


def _later_proven(
    request: Request, wanted: Wanted, profile: Profile, *, challenged: bool
) -> tuple[PublicKey, Delivery]:
    """Return a key that answered its challenge, or one whose possession shows when it is confirmed."""
    public_key = challenged_key(wanted, profile)
    if wanted.later_proof is SubsequentMessage.ENCR_CERT:
        require_enveloped_data(request)
        return public_key, ToItsKey(public_key)
    if wanted.later_proof is SubsequentMessage.CHALLENGE_RESP and challenged:
        return public_key, IN_CLEAR
    raise BadPOPError(_SERVED_PROOFS)


def challenged_key(wanted: Wanted, profile: Profile) -> PublicKey:
    """Return the key of a request; `BadPOPError` unless the profile has such keys used for encryption."""
    message = wanted.message
    spki = None if message is None else message.cert_req.template.public_key
    if spki is None:
        raise BadCertTemplateError("the template has no public key")
    public_key = read_public_key(spki)
    if not encrypts(profile, _family(public_key)):  # OpenSSL says keyEncipherment of keys on curves too
        raise BadPOPError(f"the key is not one for encryption, of those that {profile.name} certifies")
    return public_key


def _family(public_key: PublicKey) -> str:
    if isinstance(public_key, rsa.RSAPublicKey):
        return "rsa"
    return "ec" if isinstance(public_key, ec.EllipticCurvePublicKey) else "ed25519"


def require_enveloped_data(request: Request) -> None:
    """Raise `RefusedError` where the client does not know what would be sent to it."""
    if request.checked.message.header.pvno < Version.CMP2021:
        raise RefusedError("the answer holds EnvelopedData, which needs pvno 3 (RFC 9810 §7)")


def _public_key(private_key_info: bytes) -> PublicKey:
    key = load_der_private_key(private_key_info, None).public_key()
    return read_public_key(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
