"""Serial numbers of certificates: random, so that nobody foresees one (CA/B BR §7.1)."""

import secrets
from typing import Final

SERIAL_BITS: Final = 127  # positive and at most 16 octets; CA/B BR 7.1 asks for 64 random bits


def random_serial() -> int:
    """Return a serial number; that it is new, the store holds it to."""
    return secrets.randbits(SERIAL_BITS) or 1
