"""Our senderNonces: fresh in each message (RFC 9483 §3.1), and known again without one being kept.

Each is random octets and a MAC of them by a key of the transaction, which is stored with it. So whoever
missed our last message goes on from the one before, and an answer that changes nothing writes nothing.
"""

import hmac
import secrets
from typing import Final

from pkiserver.ra.cmp.errors import BadRecipientNonceError

KEY_OCTETS: Final = 16
_HALF: Final = 8  # of the 16 octets that a nonce has; 64 bits are beyond guessing online


def new_key() -> bytes:
    """Return the key of a new transaction."""
    return secrets.token_bytes(KEY_OCTETS)


def fresh(key: bytes) -> bytes:
    """Return a new senderNonce for a message of the transaction of this key."""
    random = secrets.token_bytes(_HALF)
    return random + _mac(key, random)


def require(key: bytes, nonce: bytes | None) -> None:
    """Raise `BadRecipientNonceError` unless a nonce is the senderNonce of a message of the transaction."""
    random, mac = (nonce or b"")[:_HALF], (nonce or b"")[_HALF:]
    if not hmac.compare_digest(mac, _mac(key, random)):
        raise BadRecipientNonceError("recipNonce is not the senderNonce of the message before")


def _mac(key: bytes, random: bytes) -> bytes:
    return hmac.digest(key, random, "sha256")[:_HALF]
