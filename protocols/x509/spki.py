"""SubjectPublicKeyInfo (RFC 5280 §4.1.2.7): the kinds of key that the server reads, in their one encoding.

Whether a key is strong enough is the key policy's matter; here it is only well formed and bounded.
"""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from protocols import oid
from protocols.asn1 import der
from protocols.errors import BadKeyError

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

MAX_RSA_BITS: Final = 8192  # a verification costs 0.4 ms there and grows with the square
MAX_RSA_EXPONENT_BITS: Final = 256  # FIPS 186-5 §A.1.1; a verification costs a squaring for each bit

_CURVES: Final = (oid.SECP256R1, oid.SECP384R1, oid.SECP521R1)

# Whole AlgorithmIdentifiers; parameters are fixed by RFC 3279 §2.3.1, RFC 5480 §2.1.1 and RFC 8410 §3.
_SUPPORTED: Final = frozenset(
    [
        der.sequence(der.oid(oid.RSA_ENCRYPTION), der.null()),
        *(der.sequence(der.oid(oid.EC_PUBLIC_KEY), der.oid(curve)) for curve in _CURVES),
        der.sequence(der.oid(oid.ED25519)),
        der.sequence(der.oid(oid.ED448)),
    ]
)


def read_public_key(spki_der: bytes) -> PublicKey:
    """Return the key of a DER SubjectPublicKeyInfo: RSA, EC on P-256, P-384 or P-521, Ed25519 or Ed448.

    `MalformedError` where the structure is no DER, `BadKeyError` for another algorithm, parameters,
    a point off its curve, an RSA key over the bounds, and any encoding other than the usual one:
    a key then has one `spki_der`, and its re-use shows.
    """
    outer = der.Reader(spki_der)
    spki = outer.enter()
    outer.finish()
    algorithm = spki.read_raw(der.SEQUENCE)
    spki.bit_string()
    spki.finish()
    if algorithm not in _SUPPORTED:
        raise BadKeyError("public key is not RSA, EC on P-256, P-384 or P-521, Ed25519 or Ed448")
    key = _load(spki_der)
    _check_rsa_bounds(key)
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != spki_der:
        raise BadKeyError("public key is not in its usual encoding (an EC point must be uncompressed)")
    return key


def _load(spki_der: bytes) -> PublicKey:
    try:
        key = load_der_public_key(spki_der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKeyError("public key is not valid for its algorithm") from error
    if not isinstance(key, PublicKey):
        raise BadKeyError("public key is of an unsupported kind")
    return key


def _check_rsa_bounds(key: PublicKey) -> None:
    if not isinstance(key, RSAPublicKey):
        return
    if key.key_size > MAX_RSA_BITS:
        raise BadKeyError(f"RSA modulus is longer than {MAX_RSA_BITS} bits")
    if key.public_numbers().e.bit_length() > MAX_RSA_EXPONENT_BITS:
        raise BadKeyError(f"RSA public exponent is longer than {MAX_RSA_EXPONENT_BITS} bits")
