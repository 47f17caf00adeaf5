"""Reads the public keys of a token: attributes of PKCS#11 objects to keys of cryptography."""

from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pkcs11 import Attribute, KeyType

from pkiserver.signer.algorithms import CURVES, SigningPublicKey
from pkiserver.signer.errors import UnsupportedKeyError
from protocols.asn1 import der
from protocols.errors import ProtocolError

CURVE_OIDS: Final = {
    "P-256": "1.2.840.10045.3.1.7",
    "P-384": "1.3.132.0.34",
    "P-521": "1.3.132.0.35",
}
ED25519_OID: Final = "1.3.101.112"
_ED25519_BYTES: Final = 32
_CURVE_BY_PARAMETERS: Final = {der.oid(oid): CURVES[name] for name, oid in CURVE_OIDS.items()}


def read_public_key(public: Any) -> SigningPublicKey:
    """Return the public key that a token's object holds; `UnsupportedKeyError` where we cannot use it."""
    try:
        if public.key_type is KeyType.RSA:
            return _rsa(public[Attribute.MODULUS], public[Attribute.PUBLIC_EXPONENT])
        if public.key_type is KeyType.EC:
            return ec_public_key(public[Attribute.EC_PARAMS], public[Attribute.EC_POINT])
        if public.key_type is KeyType.EC_EDWARDS:
            return ed25519.Ed25519PublicKey.from_public_bytes(
                point(public[Attribute.EC_POINT], _ED25519_BYTES)
            )
    except (ValueError, ProtocolError) as error:
        raise UnsupportedKeyError("the token's public key cannot be read") from error
    raise UnsupportedKeyError("the token's key is of an unknown kind")


def ec_public_key(parameters: bytes, encoded: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key of CKA_EC_PARAMS and CKA_EC_POINT; `ValueError` or `ProtocolError` where it is none."""
    curve = _CURVE_BY_PARAMETERS.get(parameters)
    if curve is None:
        raise UnsupportedKeyError("the token's key is on an unknown curve")
    uncompressed = 1 + 2 * ((curve.key_size + 7) // 8)
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, point(encoded, uncompressed))


def point(encoded: bytes, length: int) -> bytes:
    """Return the point in CKA_EC_POINT: an OCTET STRING by the standard, bare from some tokens.

    The length tells them apart: an uncompressed point starts with 04, as an OCTET STRING does.
    """
    if len(encoded) == length:
        return encoded
    reader = der.Reader(encoded)
    content = reader.octet_string()
    reader.finish()
    return content


def _rsa(modulus: bytes, exponent: bytes) -> rsa.RSAPublicKey:
    numbers = rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big"))
    return numbers.public_key()
