"""Whose key is certified: one that the client proves to hold now or later, or one that is made for it.

| popo and publicKey of the request | what is done |
|---|---|
| signature, raVerified | see `proofs` |
| keyEncipherment, keyAgreement: encrCert | the certificate goes encrypted to its key |
| the same: challengeResp | it was challenged before, see `challenges` |
| no publicKey, or an empty one | the key is made here, where the profile says so, see `made_keys` |
| everything else | refused |
"""

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from config.profile import Profile
from pkiserver.errors import RefusedError
from pkiserver.ra.approved import Approved
from pkiserver.ra.cmp.deliveries import IN_CLEAR, Delivery, ToItsKey, ToItsRSAKey
from pkiserver.ra.cmp.errors import BadCertTemplateError
from pkiserver.ra.cmp.key_types import encrypts
from pkiserver.ra.cmp.made_keys import MadeKeys, is_to_be_made
from pkiserver.ra.cmp.proofs import proven_key
from pkiserver.ra.cmp.stages import Request
from pkiserver.ra.cmp.wanted import Wanted
from protocols.cmp.crmf import KeyAgreement, KeyEncipherment, SubsequentMessage
from protocols.errors import BadPOPError
from protocols.x509.spki import PublicKey, read_public_key

_SERVED_PROOFS: Final = "a key for encryption proves itself by encrCert or challengeResp (RFC 9810 §5.2.8.3)"


class SubjectKeys:
    """Finds the key that a request is for, and how its certificate is delivered."""

    def __init__(self, made_keys: MadeKeys) -> None:
        self._made_keys = made_keys

    async def of(
        self, request: Request, wanted: Wanted, approved: Approved, *, is_ra: bool, challenged: bool
    ) -> tuple[PublicKey, Delivery]:
        """Return the public key and the delivery. `challenged`: who asked for a challenge has answered it.

        Raises `BadPOPError`, `BadCertTemplateError`, `RefusedError` for pvno 2 where pvno 3 is needed, and
        what `MadeKeys.make` and `proven_key` do.
        """
        if is_to_be_made(wanted):
            return await self._made_keys.make(request, wanted, approved.profile)
        if _is_for_encryption(wanted):
            return _later_proven(request, wanted, approved.profile, challenged=challenged)
        sender_name = request.checked.message.header.sender
        return proven_key(wanted, request.sender, sender_name, is_ra=is_ra), IN_CLEAR


def _is_for_encryption(wanted: Wanted) -> bool:
    return wanted.message is not None and isinstance(wanted.message.popo, KeyEncipherment | KeyAgreement)


def _later_proven(
    request: Request, wanted: Wanted, profile: Profile, *, challenged: bool
) -> tuple[PublicKey, Delivery]:
    """Return a key that answered its challenge, or one whose possession shows when it is confirmed."""
    public_key = challenged_key(wanted, profile)
    if wanted.later_proof is SubsequentMessage.ENCR_CERT:
        return public_key, _to_its_key(request, public_key)
    if wanted.later_proof is SubsequentMessage.CHALLENGE_RESP and challenged:
        return public_key, IN_CLEAR
    raise BadPOPError(_SERVED_PROOFS)


def _to_its_key(request: Request, public_key: PublicKey) -> Delivery:
    if request.takes_envelopes:
        return ToItsKey(public_key)
    if isinstance(public_key, rsa.RSAPublicKey):
        return ToItsRSAKey(public_key)
    raise RefusedError("say pvno 3: in pvno 2 a certificate is encrypted to RSA keys only (RFC 9810 §7)")


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
