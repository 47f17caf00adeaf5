"""Identity and proof of possession linked (RFC 7030 §3.5): a request names the TLS session that it is for."""

import binascii
import hmac

from protocols.errors import BadPOPError


def check_channel_binding(challenge_password: str, tls_unique: bytes) -> None:
    """Check that a request's challengePassword is the base64 of the connection's tls-unique value.

    `BadPOPError` where it is not, or the connection has none; compared in constant time. TLS 1.2 alone has a
    tls-unique (RFC 8446 §C.5); what stands for it on TLS 1.3 must not be given here.
    """
    expected = binascii.b2a_base64(tls_unique, newline=False)
    if not tls_unique or not hmac.compare_digest(challenge_password.encode(), expected):
        raise BadPOPError(
            "challengePassword is not the tls-unique value of this TLS session (RFC 7030 §3.5):"
            " make the request on the connection that it is sent on"
        )
