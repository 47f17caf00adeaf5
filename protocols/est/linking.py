"""Linking of identity and proof of possession: tls-unique in the challengePassword (RFC 7030 §3.5)."""

import binascii
import hmac

from protocols.errors import BadPOPError


def verify_linking(challenge_password: str, tls_unique: bytes) -> None:
    """Raise `BadPOPError` unless the challengePassword is the base64 (RFC 4648 §4) of tls-unique.

    Compared in constant time: who does not hold the connection must not find its binding by trying.
    """
    expected = binascii.b2a_base64(tls_unique, newline=False)
    if not hmac.compare_digest(challenge_password.encode(), expected):
        raise BadPOPError("the challengePassword is not the tls-unique of this connection (RFC 7030 §3.5)")
