"""Challenges of renewals: fresh, ours, and nothing to keep until one is answered.

A challenge is a nonce, the second at which it was made, and a MAC over both by a key that ends with the
process. Who asks for many fills no table; that an answer counts once is the store's matter.
"""

import base64
import binascii
import hmac
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pkiserver.errors import NotAuthorizedError

LIFETIME: Final = timedelta(minutes=10)  # a holder reads the form, and types a PIN
CLOCK_SKEW: Final = timedelta(minutes=5)  # of the holder's machine, whose time the signature has
_NONCE_OCTETS: Final = 16
_TIME_OCTETS: Final = 8
_MAC_OCTETS: Final = 32
_OCTETS: Final = _NONCE_OCTETS + _TIME_OCTETS + _MAC_OCTETS
CHARACTERS: Final = -(-_OCTETS * 4 // 3)  # of Base64 without padding


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge as it is given out, and until when it may be answered."""

    text: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Answered:
    """A challenge of ours that came back in time."""

    nonce: bytes
    made_at: datetime


class Challenges:
    """Makes challenges and recognises them."""

    def __init__(self) -> None:
        self._key = os.urandom(_MAC_OCTETS)

    def make(self, now: datetime) -> Challenge:
        """Return a new challenge, 75 characters of the URL-safe Base64 alphabet."""
        content = os.urandom(_NONCE_OCTETS) + int(now.timestamp()).to_bytes(_TIME_OCTETS, "big")
        text = base64.urlsafe_b64encode(content + self._mac(content)).rstrip(b"=").decode("ascii")
        return Challenge(text, now + LIFETIME)

    def answered(self, text: str, now: datetime) -> Answered:
        """Return what is behind a challenge; `NotAuthorizedError` where it is old, or none of ours."""
        octets = _decoded(text)
        content, mac = octets[:-_MAC_OCTETS], octets[-_MAC_OCTETS:]
        if not hmac.compare_digest(self._mac(content), mac):
            raise NotAuthorizedError("the challenge is none of this server's: ask for another")
        made_at = datetime.fromtimestamp(int.from_bytes(content[_NONCE_OCTETS:], "big"), UTC)
        if not made_at <= now <= made_at + LIFETIME:
            raise NotAuthorizedError("the challenge has run out: ask for another")
        return Answered(content[:_NONCE_OCTETS], made_at)

    def _mac(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, "sha256")


def _decoded(text: str) -> bytes:
    try:
        octets = base64.b64decode(text.encode("ascii") + b"=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotAuthorizedError("this is no challenge") from error
    if len(text) != CHARACTERS or len(octets) != _OCTETS:
        raise NotAuthorizedError("this is no challenge")
    return octets
