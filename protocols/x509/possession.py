"""Proof of possession by a signature of the requested key itself (RFC 2986 §3)."""

from protocols.errors import BadPOPError, BadSignatureError
from protocols.x509.signatures import verify_signature
from protocols.x509.spki import PublicKey


def verify_possession(key: PublicKey, algorithm_der: bytes, signed: bytes, signature: bytes) -> None:
    """Check that `key` made `signature` over `signed` by the DER AlgorithmIdentifier `algorithm_der`.

    `BadPOPError` where it did not, and for algorithms that are unknown or rest on MD2, MD5 or SHA-1;
    `MalformedError` where the AlgorithmIdentifier is no DER.
    """
    try:
        verify_signature(key, algorithm_der, signed, signature)
    except BadSignatureError as error:
        raise BadPOPError(f"possession of the key is not proved: {error}") from error
