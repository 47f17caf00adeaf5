"""Signatures of requests and messages, verified by algorithms that are strong (RFC 8017, RFC 5758, RFC 8410).

What a signature proves is the caller's matter: possession of a key, or who sent a message.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from protocols import oid
from protocols.asn1 import der
from protocols.errors import BadSignatureError, MalformedError
from protocols.x509.spki import MAX_RSA_BITS, PublicKey

Verify = Callable[[PublicKey, bytes, bytes], None]  # key, signature, signed octets; raises InvalidSignature

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    oid.SHA256: hashes.SHA256(),
    oid.SHA384: hashes.SHA384(),
    oid.SHA512: hashes.SHA512(),
}
_WEAK: Final = {
    "1.2.840.113549.1.1.2": "MD2",  # the four without a name in protocols.oid serve for this refusal only
    "1.2.840.113549.1.1.4": "MD5",
    oid.SHA1_WITH_RSA: "SHA-1",
    "1.3.14.3.2.29": "SHA-1",
    oid.ECDSA_WITH_SHA1: "SHA-1",
    "1.2.840.10040.4.3": "SHA-1",
}
_TRAILER_FIELD_BC: Final = 1
_MAX_KNOWN_OCTETS: Final = 128  # of an AlgorithmIdentifier that is remembered: what is kept stays small
_MAX_SALT_OCTETS: Final = MAX_RSA_BITS // 8  # no key holds more; OpenSSL signs with the longest that fits


def _rsa_pkcs1(algorithm: hashes.HashAlgorithm) -> Verify:
    def verify(key: PublicKey, signature: bytes, signed: bytes) -> None:
        if not isinstance(key, RSAPublicKey):
            raise InvalidSignature
        key.verify(signature, signed, padding.PKCS1v15(), algorithm)

    return verify


def _rsa_pss(algorithm: hashes.HashAlgorithm, salt_octets: int) -> Verify:
    def verify(key: PublicKey, signature: bytes, signed: bytes) -> None:
        if not isinstance(key, RSAPublicKey):
            raise InvalidSignature
        key.verify(signature, signed, padding.PSS(padding.MGF1(algorithm), salt_octets), algorithm)

    return verify


def _ecdsa(algorithm: hashes.HashAlgorithm) -> Verify:
    def verify(key: PublicKey, signature: bytes, signed: bytes) -> None:
        if not isinstance(key, EllipticCurvePublicKey):
            raise InvalidSignature
        key.verify(signature, signed, ec.ECDSA(algorithm))

    return verify


def _ed25519(key: PublicKey, signature: bytes, signed: bytes) -> None:
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidSignature
    key.verify(signature, signed)


def _ed448(key: PublicKey, signature: bytes, signed: bytes) -> None:
    if not isinstance(key, Ed448PublicKey):
        raise InvalidSignature
    key.verify(signature, signed)


# RFC 4055 §5 (parameters NULL; absent must be accepted), RFC 5758 §3.2 and RFC 8410 §3 (absent).
_WITH_RSA: Final = {
    oid.SHA256_WITH_RSA: _rsa_pkcs1(_HASHES[oid.SHA256]),
    oid.SHA384_WITH_RSA: _rsa_pkcs1(_HASHES[oid.SHA384]),
    oid.SHA512_WITH_RSA: _rsa_pkcs1(_HASHES[oid.SHA512]),
}
_WITHOUT_PARAMETERS: Final[dict[str, Verify]] = {
    oid.ECDSA_WITH_SHA256: _ecdsa(_HASHES[oid.SHA256]),
    oid.ECDSA_WITH_SHA384: _ecdsa(_HASHES[oid.SHA384]),
    oid.ECDSA_WITH_SHA512: _ecdsa(_HASHES[oid.SHA512]),
    oid.ED25519: _ed25519,
    oid.ED448: _ed448,
}

WEAK_ALGORITHMS: Final = frozenset(_WEAK)
SIGNATURE_ALGORITHMS: Final = frozenset(
    {oid.RSASSA_PSS, *_WITH_RSA, *_WITHOUT_PARAMETERS}
)  # all that is verified


def verify_signature(key: PublicKey, algorithm_der: bytes, signed: bytes, signature: bytes) -> None:
    """Check that `key` made `signature` over `signed` by the DER AlgorithmIdentifier `algorithm_der`.

    `BadSignatureError` where it did not, and for algorithms that are unknown or rest on MD2, MD5 or SHA-1;
    `MalformedError` where the AlgorithmIdentifier is no DER.
    """
    known = len(algorithm_der) <= _MAX_KNOWN_OCTETS
    verify = _known_verifier(algorithm_der) if known else _verifier(algorithm_der)
    try:
        verify(key, signature, signed)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm) as error:
        raise BadSignatureError("the signature was not made by this key") from error


@lru_cache(maxsize=64)  # those in use are few
def _known_verifier(algorithm_der: bytes) -> Verify:
    return _verifier(algorithm_der)


def _verifier(algorithm_der: bytes) -> Verify:
    outer = der.Reader(algorithm_der)
    reader = outer.enter()
    outer.finish()
    dotted = reader.oid()
    if dotted in _WEAK:
        raise BadSignatureError(f"signatures with {_WEAK[dotted]} are refused")
    if dotted == oid.RSASSA_PSS:
        verify = _pss_verifier(reader)
    elif dotted in _WITH_RSA:
        verify = _WITH_RSA[dotted]
        _null_or_absent(reader)
    elif dotted in _WITHOUT_PARAMETERS:
        verify = _WITHOUT_PARAMETERS[dotted]
    else:
        raise BadSignatureError("the signature algorithm is not supported")
    reader.finish()
    return verify


def _null_or_absent(reader: der.Reader) -> None:
    if not reader.at_end:
        reader.null()


def _pss_verifier(reader: der.Reader) -> Verify:
    """Read RSASSA-PSS-params (RFC 4055 §3.1); hash and MGF1 hash must be the same member of SHA-2."""
    parameters = reader.enter()
    if parameters.peek() != der.context(0):
        raise BadSignatureError("signatures with SHA-1 are refused")  # the DEFAULT of hashAlgorithm
    algorithm = _explicit_hash(parameters, 0)
    if parameters.peek() != der.context(1):
        raise BadSignatureError("signatures with SHA-1 are refused")  # the DEFAULT of maskGenAlgorithm
    mask = parameters.enter(der.context(1))
    if _mgf1_hash(mask) != algorithm:
        raise BadSignatureError("RSASSA-PSS with two different hashes is not supported")
    mask.finish()
    salt_octets = _explicit_integer(parameters, 2, default=20)
    trailer_field = _explicit_integer(parameters, 3, default=_TRAILER_FIELD_BC)
    parameters.finish()
    if not 0 <= salt_octets <= _MAX_SALT_OCTETS or trailer_field != _TRAILER_FIELD_BC:
        raise BadSignatureError("the RSASSA-PSS parameters are not supported")
    return _rsa_pss(_HASHES[algorithm], salt_octets)


def _explicit_hash(reader: der.Reader, number: int) -> str:
    inner = reader.enter(der.context(number))
    dotted = _hash_algorithm(inner.enter())
    inner.finish()
    return dotted


def _mgf1_hash(reader: der.Reader) -> str:
    mask = reader.enter()
    if mask.oid() != oid.MGF1:
        raise BadSignatureError("RSASSA-PSS with a mask other than MGF1 is not supported")
    dotted = _hash_algorithm(mask.enter())
    mask.finish()
    return dotted


def _hash_algorithm(reader: der.Reader) -> str:
    dotted = reader.oid()
    _null_or_absent(reader)
    reader.finish()
    if dotted not in _HASHES:
        raise BadSignatureError("RSASSA-PSS is supported with SHA-256, SHA-384 and SHA-512")
    return dotted


def _explicit_integer(reader: der.Reader, number: int, *, default: int) -> int:
    if reader.peek() != der.context(number):
        return default
    inner = reader.enter(der.context(number))
    value = inner.integer()
    inner.finish()
    if value == default:
        raise MalformedError("a DEFAULT value is encoded (X.690 §11.5)")
    return value
