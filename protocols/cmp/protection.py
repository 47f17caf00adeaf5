"""PKIProtection (RFC 9810 §5.1.3): of which kind a message's is, verified and made.

A message is signed elsewhere: `message.protected_part_of` says what to sign, `message.finish_message` puts
the signature in.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.bodies import PKIBody
from protocols.cmp.header import PKIHeader
from protocols.cmp.mac import DEFAULT_BOUNDS, MACBounds, MACKey, MACParameters, PBMAC1Parameter, PBMParameter
from protocols.cmp.message import PKIMessage, finish_message, protected_part, protected_part_of
from protocols.errors import BadMACError, BadSignatureError, UnsupportedAlgorithmError
from protocols.x509 import signatures
from protocols.x509.spki import PublicKey

_REFUSED: Final = {
    oid.DH_BASED_MAC: "DHBasedMac",
    oid.KEM_BASED_MAC: "KemBasedMac",
}


@dataclass(frozen=True, slots=True)
class SignatureProtection:
    """Protection by a signature of an algorithm that can be verified."""

    algorithm: AlgorithmIdentifier


Protection = SignatureProtection | PBMParameter | PBMAC1Parameter


def read_protection(algorithm: AlgorithmIdentifier, bounds: MACBounds = DEFAULT_BOUNDS) -> Protection:
    """Return of which kind a protectionAlg is; a MAC's parameters are then within bounds.

    `UnsupportedAlgorithmError` for what is unknown, too weak or out of bounds, `MalformedError` for
    parameters that are not of their type.
    """
    if algorithm.oid in _REFUSED:
        raise UnsupportedAlgorithmError(f"protection by {_REFUSED[algorithm.oid]} is not supported")
    if algorithm.oid in signatures.SIGNATURE_ALGORITHMS:
        return SignatureProtection(algorithm)
    if algorithm.oid in signatures.WEAK_ALGORITHMS:
        raise UnsupportedAlgorithmError("signatures with MD2, MD5 and SHA-1 are refused")
    parameters = _mac_parameters(algorithm)
    parameters.check(bounds)
    return parameters


def _mac_parameters(algorithm: AlgorithmIdentifier) -> MACParameters:
    encoded = algorithm.parameters or b""
    if algorithm.oid == oid.PASSWORD_BASED_MAC:
        return der.whole(encoded, PBMParameter.parse)
    if algorithm.oid == oid.PBMAC1:
        return der.whole(encoded, PBMAC1Parameter.parse)
    raise UnsupportedAlgorithmError(f"protection by {algorithm.oid} is not supported")


def verify_mac(message: PKIMessage, secret: bytes, bounds: MACBounds = DEFAULT_BOUNDS) -> MACKey:
    """Check that `message` was protected with `secret`, and return the key, which can protect the answer.

    `BadMACError` where it was not, or is not protected by a MAC; else as `read_protection`.
    """
    algorithm = message.header.protection_alg
    protection = None if algorithm is None else read_protection(algorithm, bounds)
    if message.protection is None or not isinstance(protection, MACParameters):
        raise BadMACError("the message is not protected by a MAC")
    return verify_mac_of(message, message.protection, protection, secret)


def verify_mac_of(message: PKIMessage, protection: bytes, parameters: MACParameters, secret: bytes) -> MACKey:
    """Check that `protection` is the MAC of `message`, whose parameters were read, and return the key."""
    key = parameters.key_of(secret)
    key.verify(protected_part(message), protection)
    return key


def verify_signature(message: PKIMessage, key: PublicKey) -> None:
    """Check that `message` was signed by `key`.

    `BadSignatureError` where it was not, or is not protected by a signature; else as `read_protection`.
    """
    algorithm = message.header.protection_alg
    protection = None if algorithm is None else read_protection(algorithm)
    if message.protection is None or not isinstance(protection, SignatureProtection):
        raise BadSignatureError("the message is not protected by a signature")
    part = protected_part(message)
    signatures.verify_signature(key, protection.algorithm.encode(), part, message.protection)


def mac_protected(header: PKIHeader, body: PKIBody, key: MACKey, extra_certs: Iterable[bytes] = ()) -> bytes:
    """Return the DER of a message protected by a MAC; its header gets the protectionAlg of `key`."""
    header = replace(header, protection_alg=key.parameters.algorithm())
    part = protected_part_of(header, body)
    return finish_message(part, key.compute(part), extra_certs)
