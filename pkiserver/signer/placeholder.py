"""Placeholder private keys: they let cryptography's builders make a TBS, and sign nothing.

A placeholder holds a public key only. Its `sign` returns fixed octets that are no valid signature under
any key: ECDSA with r = s = 0, RSA with the value 0, Ed25519 with S beyond the group order. What a builder
returns with it is good for its TBS alone, and is completed by `Signer.sign` over that TBS.
"""

from typing import Final, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from pkiserver.signer.algorithms import signature_algorithm_for
from pkiserver.signer.errors import PlaceholderError, UnsupportedKeyError
from pkiserver.signer.public_part import ECPublicPart, Ed25519PublicPart, RSAPublicPart
from protocols.asn1 import der

_ECDSA_NOTHING: Final = der.sequence(der.integer(0), der.integer(0))  # r and s are at least 1 (SEC 1 §4.1.4)
_ED25519_NOTHING: Final = b"\xff" * 64  # S must be below the group order (RFC 8032 §5.1.7)

PlaceholderKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def placeholder_key(public_key: PublicKeyTypes) -> PlaceholderKey:
    """Return a stand-in for the private key of `public_key`, for cryptography's builders.

    Give the builder the hash of `signature_algorithm_for(public_key)`: the stand-in refuses any other,
    so that the AlgorithmIdentifier in the TBS is the one the signer will use.
    `UnsupportedKeyError` for a kind of key that does not sign here.
    """
    signature_algorithm_for(public_key)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return _ECPlaceholder(public_key, _nothing_private)
    if isinstance(public_key, rsa.RSAPublicKey):
        return _RSAPlaceholder(public_key, _nothing_private)
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return _Ed25519Placeholder(public_key, _nothing_private)
    raise UnsupportedKeyError("no placeholder for this kind of public key")


def _nothing_private() -> NoReturn:
    raise PlaceholderError("a placeholder key holds no private key")


def _check_hash(public_key: PublicKeyTypes, given: object) -> None:
    expected = signature_algorithm_for(public_key).hash
    if expected is None or not isinstance(given, hashes.HashAlgorithm) or given.name != expected.name:
        raise PlaceholderError("the builder was given another hash than the signer will use")


class _ECPlaceholder(ECPublicPart):
    def sign(self, data: object, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:  # noqa: ARG002 - signs nothing
        _check_hash(self._public_key, signature_algorithm.algorithm)
        return _ECDSA_NOTHING


class _RSAPlaceholder(RSAPublicPart):
    def sign(self, data: object, padding_: object, algorithm: object) -> bytes:  # noqa: ARG002 - signs nothing
        if not isinstance(padding_, padding.PKCS1v15):
            raise PlaceholderError("the builder was given another padding than the signer will use")
        _check_hash(self._public_key, algorithm)
        return bytes((self.key_size + 7) // 8)


class _Ed25519Placeholder(Ed25519PublicPart):
    def sign(self, data: object) -> bytes:  # noqa: ARG002 - signs nothing
        return _ED25519_NOTHING
