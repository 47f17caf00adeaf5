"""Kinds of keys and the one signature algorithm each kind signs with; verification.

RFC 5758 §3.2 (ECDSA), RFC 4055 §5 (RSA), RFC 8410 §3 and §6 (Ed25519).
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from pkiserver.signer.errors import BadSignatureError, UnsupportedKeyError
from protocols.asn1 import der

SigningPublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
SIGNING_PUBLIC_KEYS: Final = (ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey)

CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
RSA_SIZES: Final = (2048, 3072, 4096)
_HASHERS: Final = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}


@dataclass(frozen=True, slots=True)
class KeySpec:
    """A kind of key to generate. The text form is `ec:P-256`, `rsa:3072`, `ed25519` and the like."""

    algorithm: str
    parameter: str = ""

    def __post_init__(self) -> None:
        if str(self) not in _SPECS:
            raise UnsupportedKeyError(f"unknown kind of key; choose one of {', '.join(_SPECS)}")

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.parameter}" if self.parameter else self.algorithm

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the kind of key with this text form; `UnsupportedKeyError` for any other text."""
        algorithm, _, parameter = text.partition(":")
        return cls(algorithm, parameter)


_SPECS: Final = (
    *(f"ec:{curve}" for curve in CURVES),
    *(f"rsa:{size}" for size in RSA_SIZES),
    "ed25519",
)


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """A signature algorithm: `der` is its AlgorithmIdentifier, `hash` None where it hashes by itself."""

    name: str
    oid: str
    der: bytes
    hash: hashes.HashAlgorithm | None


def _without_parameters(name: str, oid: str, hash_: hashes.HashAlgorithm | None) -> SignatureAlgorithm:
    return SignatureAlgorithm(name, oid, der.sequence(der.oid(oid)), hash_)


# RFC 5758 §3.2 and RFC 8410 §3: parameters absent. RFC 4055 §5: parameters NULL.
ECDSA_WITH_SHA256: Final = _without_parameters("ecdsa-with-SHA256", "1.2.840.10045.4.3.2", hashes.SHA256())
ECDSA_WITH_SHA384: Final = _without_parameters("ecdsa-with-SHA384", "1.2.840.10045.4.3.3", hashes.SHA384())
ECDSA_WITH_SHA512: Final = _without_parameters("ecdsa-with-SHA512", "1.2.840.10045.4.3.4", hashes.SHA512())
ED25519: Final = _without_parameters("id-Ed25519", "1.3.101.112", None)
SHA256_WITH_RSA: Final = SignatureAlgorithm(
    "sha256WithRSAEncryption",
    "1.2.840.113549.1.1.11",
    der.sequence(der.oid("1.2.840.113549.1.1.11"), der.null()),
    hashes.SHA256(),
)

_BY_CURVE: Final = {
    "secp256r1": ECDSA_WITH_SHA256,
    "secp384r1": ECDSA_WITH_SHA384,
    "secp521r1": ECDSA_WITH_SHA512,
}


def signature_algorithm_for(public_key: PublicKeyTypes) -> SignatureAlgorithm:
    """Return the algorithm that keys of this kind sign with here; `UnsupportedKeyError` if there is none."""
    if isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in _BY_CURVE:
        return _BY_CURVE[public_key.curve.name]
    if isinstance(public_key, rsa.RSAPublicKey):
        return SHA256_WITH_RSA
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return ED25519
    raise UnsupportedKeyError("no signature algorithm for this kind of public key")


def verify(public_key: PublicKeyTypes, signature: bytes, data: bytes) -> None:
    """Return when `signature` over `data` verifies under the key's algorithm, else `BadSignatureError`."""
    verify_padded(public_key, signature, data, signature_algorithm_for(public_key).hash)


def verify_digest(public_key: PublicKeyTypes, signature: bytes, hashed: bytes) -> None:
    """Return when `signature` verifies over what hashes to `hashed`, else `BadSignatureError`.

    `UnsupportedKeyError` for a key whose algorithm hashes by itself (Ed25519).
    """
    verify_padded(public_key, signature, hashed, prehashed(public_key))


def verify_padded(
    public_key: PublicKeyTypes,
    signature: bytes,
    data: bytes,
    algorithm: hashes.HashAlgorithm | Prehashed | None = None,
    rsa_padding: padding.PKCS1v15 | padding.PSS | None = None,
) -> None:
    """Return when `signature` over `data` verifies with this hash and padding, else `BadSignatureError`.

    `algorithm` is None for Ed25519 alone; `rsa_padding` None is PKCS #1 v1.5, and for RSA alone.
    `UnsupportedKeyError` for other kinds of keys, and for a key without its hash.
    """
    try:
        if isinstance(public_key, ed25519.Ed25519PublicKey):
            public_key.verify(signature, data)
        elif isinstance(public_key, rsa.RSAPublicKey) and algorithm:
            public_key.verify(signature, data, rsa_padding or padding.PKCS1v15(), algorithm)
        elif isinstance(public_key, ec.EllipticCurvePublicKey) and algorithm:
            public_key.verify(signature, data, ec.ECDSA(algorithm))
        else:
            raise UnsupportedKeyError("no signature of this kind of public key can be verified")
    except InvalidSignature as error:
        raise BadSignatureError("the signature does not verify") from error


def prehashed(public_key: PublicKeyTypes) -> Prehashed:
    """Return the key's algorithm for data hashed elsewhere; `UnsupportedKeyError` where it hashes itself."""
    return Prehashed(hash_of(public_key))


def hash_of(public_key: PublicKeyTypes) -> hashes.HashAlgorithm:
    """Return the hash of the key's algorithm; `UnsupportedKeyError` where it hashes by itself."""
    algorithm = signature_algorithm_for(public_key)
    if algorithm.hash is None:
        raise UnsupportedKeyError(f"{algorithm.name} takes no hash")
    return algorithm.hash


def check_digest(public_key: PublicKeyTypes, hashed: bytes) -> None:
    """Raise `UnsupportedKeyError` unless `hashed` is as long as the hash that this key signs."""
    if len(hashed) != hash_of(public_key).digest_size:
        raise UnsupportedKeyError("the digest is not of the hash that the key signs with")


def load_public_key(spki: bytes) -> SigningPublicKey:
    """Return the key of a DER SubjectPublicKeyInfo; `UnsupportedKeyError` unless it is of our kinds."""
    try:
        public_key = serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnsupportedKeyError("no public key that can be read") from error
    signature_algorithm_for(public_key)
    if not isinstance(public_key, SIGNING_PUBLIC_KEYS):
        raise UnsupportedKeyError("no signature algorithm for this kind of public key")
    return public_key


def public_key_der(public_key: SigningPublicKey) -> bytes:
    """Return the DER SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) of a key."""
    return public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def digest(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    """Return the hash of `data`."""
    hasher = _HASHERS.get(algorithm.name)
    if hasher is not None:
        return hasher(data).digest()  # cryptography takes three times as long
    other = hashes.Hash(algorithm)
    other.update(data)
    return other.finalize()
