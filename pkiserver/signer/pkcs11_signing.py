"""Signatures of a token's key: hashed here, signed there, verified here before anybody sees them.

Hashing is done here (CKM_ECDSA, CKM_RSA_PKCS, CKM_RSA_PKCS_PSS), so that any token will do and only
digests travel; Ed25519 (CKM_EDDSA) hashes by itself. RFC 8017 §8.1 (PSS) and §8.2 (PKCS #1 v1.5).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from pkcs11 import MGF, Mechanism

from pkiserver.signer.algorithms import SigningPublicKey
from pkiserver.signer.errors import TokenSignatureError, UnsupportedKeyError
from protocols.asn1 import der

# RFC 8017 §9.2, note 1: the DigestInfo is the DER of this AlgorithmIdentifier and the digest.
_IDENTIFIERS: Final = {
    "sha256": der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), der.null()),
    "sha384": der.sequence(der.oid("2.16.840.1.101.3.4.2.2"), der.null()),
    "sha512": der.sequence(der.oid("2.16.840.1.101.3.4.2.3"), der.null()),
}
_PSS: Final = {
    "sha256": (Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512, MGF.SHA512),
}
Padding = padding.PKCS1v15 | padding.PSS


@dataclass(frozen=True, slots=True)
class Signing:
    """How one key signs with one hash and padding: what depends on these alone is found once.

    `sign` has the token sign `prefix` and what is given, `encoded` makes of that the form that X.509 has,
    and `verify` raises `InvalidSignature`.
    """

    sign: Callable[[bytes], bytes]
    prefix: bytes
    encoded: Callable[[bytes], bytes]
    verify: Callable[[bytes, bytes], None]

    def signatures(self, data: Sequence[bytes]) -> list[bytes]:
        """Return verified signatures over hashes, or with Ed25519 over data; all or an error.

        `TokenSignatureError` where one does not verify. Errors of python-pkcs11 are the caller's.
        """
        # First all are signed, then all verified: each works faster in a row, on tables in the cache.
        signatures = [self.encoded(self.sign(self.prefix + one)) for one in data]
        try:
            for signature, one in zip(signatures, data, strict=True):
                self.verify(signature, one)
        except InvalidSignature as error:
            raise TokenSignatureError("the token made a signature that its key does not verify") from error
        return signatures


def signing(
    private: Any,
    public_key: SigningPublicKey,
    algorithm: hashes.HashAlgorithm | None,
    rsa_padding: Padding | None = None,
) -> Signing:
    """Return how a key signs what has hashes of this algorithm; None is for Ed25519 alone.

    `rsa_padding`: PKCS #1 v1.5 where None. `UnsupportedKeyError` for other hashes than those of SHA-2 with
    RSA, and for a key that hashes by itself where it shall not.
    """
    if isinstance(public_key, rsa.RSAPublicKey) and algorithm is not None:
        return _rsa(private, public_key, algorithm, rsa_padding or padding.PKCS1v15())
    if isinstance(public_key, ec.EllipticCurvePublicKey) and algorithm is not None:
        sign = partial(private.sign, mechanism=Mechanism.ECDSA)
        used = ec.ECDSA(Prehashed(algorithm))
        return Signing(sign, b"", _ecdsa_der, partial(_verify_ecdsa, public_key, used))
    if isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) or algorithm is not None:
        raise UnsupportedKeyError("the key's algorithm takes no hash, or none was named")
    return Signing(partial(private.sign, mechanism=Mechanism.EDDSA), b"", bytes, public_key.verify)


def _rsa(
    private: Any, public_key: rsa.RSAPublicKey, algorithm: hashes.HashAlgorithm, used: Padding
) -> Signing:
    """RFC 8017 §8.1 and §8.2."""
    if algorithm.name not in _IDENTIFIERS:
        raise UnsupportedKeyError(f"RSA signs no {algorithm.name} here")
    verify = partial(_verify_rsa, public_key, used, Prehashed(algorithm))
    if isinstance(used, padding.PKCS1v15):
        sign = partial(private.sign, mechanism=Mechanism.RSA_PKCS)
        return Signing(sign, _digest_info_before(algorithm), bytes, verify)
    parameters = (*_PSS[algorithm.name], _salt_length(used, algorithm.digest_size))
    sign = partial(private.sign, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=parameters)
    return Signing(sign, b"", bytes, verify)


def _verify_rsa(
    public_key: rsa.RSAPublicKey, used: Padding, algorithm: Prehashed, signature: bytes, hashed: bytes
) -> None:
    public_key.verify(signature, hashed, used, algorithm)


def _verify_ecdsa(
    public_key: ec.EllipticCurvePublicKey, used: ec.ECDSA, signature: bytes, hashed: bytes
) -> None:
    public_key.verify(signature, hashed, used)


def _digest_info_before(algorithm: hashes.HashAlgorithm) -> bytes:
    """Return the octets of a DigestInfo before its digest, which is the last of it."""
    size = algorithm.digest_size
    return der.sequence(_IDENTIFIERS[algorithm.name], der.octet_string(bytes(size)))[:-size]


def _salt_length(used: padding.PSS, of_hash: int) -> int:
    """Return the octets of salt: those of the hash (RFC 4055 §3.1), or a number that is given."""
    wanted = used._salt_length  # there is no public way to it
    if wanted is padding.PSS.DIGEST_LENGTH:
        return of_hash
    if not isinstance(wanted, int):
        raise UnsupportedKeyError("the length of the salt must be that of the hash, or a number")
    return wanted


def _ecdsa_der(raw: bytes) -> bytes:
    """Return Ecdsa-Sig-Value (RFC 3279 §2.2.3) of the r and s that PKCS#11 concatenates."""
    width = len(raw) // 2
    if not raw or len(raw) % 2:
        raise TokenSignatureError("the token made something that is no ECDSA signature")
    return encode_dss_signature(int.from_bytes(raw[:width], "big"), int.from_bytes(raw[width:], "big"))
