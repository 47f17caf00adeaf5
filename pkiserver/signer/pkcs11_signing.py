"""Signatures of a token's key: hashed here, signed there, verified here before anybody sees them.

Hashing is done here (CKM_ECDSA, CKM_RSA_PKCS, CKM_RSA_PKCS_PSS), so that any token will do and only
digests travel; Ed25519 (CKM_EDDSA) hashes by itself. RFC 8017 §8.1 (PSS) and §8.2 (PKCS #1 v1.5).
"""

from collections.abc import Sequence
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from pkcs11 import MGF, Mechanism

from pkiserver.signer.algorithms import SigningPublicKey, verify_padded
from pkiserver.signer.errors import BadSignatureError, TokenSignatureError, UnsupportedKeyError
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


def sign_digests(
    private: Any,
    public_key: SigningPublicKey,
    hashed: Sequence[bytes],
    algorithm: hashes.HashAlgorithm,
    rsa_padding: Padding | None = None,
) -> list[bytes]:
    """Return verified signatures over what has these hashes, in the form that X.509 has; all or an error.

    `rsa_padding`: PKCS #1 v1.5 where None. `TokenSignatureError` where a signature of the token does not
    verify, `UnsupportedKeyError` for other hashes than those of SHA-2 with RSA, and for keys that hash by
    themselves. Errors of python-pkcs11 are the caller's.
    """
    used = rsa_padding or padding.PKCS1v15()
    if isinstance(public_key, rsa.RSAPublicKey):
        signatures = [_rsa(private, one, algorithm, used) for one in hashed]
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        signatures = [_ecdsa_der(private.sign(one, mechanism=Mechanism.ECDSA)) for one in hashed]
    else:
        raise UnsupportedKeyError("the key's algorithm takes no hash")
    # First all are signed, then all verified: each of the two works faster in a row, on tables in the cache.
    _release(public_key, signatures, hashed, Prehashed(algorithm), used)
    return signatures


def sign_unhashed(private: Any, public_key: SigningPublicKey, data: Sequence[bytes]) -> list[bytes]:
    """Return verified Ed25519 signatures over `data`; raises as `sign_digests` does."""
    signatures = [bytes(private.sign(one, mechanism=Mechanism.EDDSA)) for one in data]
    _release(public_key, signatures, data)
    return signatures


def _release(
    public_key: SigningPublicKey,
    signatures: Sequence[bytes],
    data: Sequence[bytes],
    algorithm: Prehashed | None = None,
    rsa_padding: Padding | None = None,
) -> None:
    try:
        for signature, one in zip(signatures, data, strict=True):
            verify_padded(public_key, signature, one, algorithm, rsa_padding)
    except BadSignatureError as error:
        raise TokenSignatureError("the token made a signature that its key does not verify") from error


def _rsa(private: Any, hashed: bytes, algorithm: hashes.HashAlgorithm, used: Padding) -> bytes:
    if algorithm.name not in _IDENTIFIERS:
        raise UnsupportedKeyError(f"RSA signs no {algorithm.name} here")
    if isinstance(used, padding.PKCS1v15):
        digest_info = der.sequence(_IDENTIFIERS[algorithm.name], der.octet_string(hashed))
        return bytes(private.sign(digest_info, mechanism=Mechanism.RSA_PKCS))
    parameters = (*_PSS[algorithm.name], _salt_length(used, len(hashed)))
    return bytes(private.sign(hashed, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=parameters))


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
