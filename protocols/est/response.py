"""How EST sends its certs-only CMS messages: in one line of base64 (RFC 7030 §4.1.3, §4.2.3).

RFC 8951 §3.1 has the body be base64 always. It has no line ends, which strongSwan before 5.9.11 does not
read, save for clients that read nothing else. Content-Transfer-Encoding is sent all the same, because
clients of RFC 7030 look for it.
"""

import binascii
from typing import Final

CACERTS_CONTENT_TYPE: Final = "application/pkcs7-mime"
CERTIFICATE_CONTENT_TYPE: Final = "application/pkcs7-mime; smime-type=certs-only"
CMC_RESPONSE_CONTENT_TYPE: Final = "application/pkcs7-mime; smime-type=CMC-response"  # RFC 5273 §3
CONTENT_TRANSFER_ENCODING: Final = ("Content-Transfer-Encoding", "base64")  # name and value of the header

_LINE: Final = 64


def encode_body(message_der: bytes, *, wrapped: bool = False) -> bytes:
    """Return the body of a response: base64 in one line without an end (RFC 8951 §3.1).

    `wrapped` for clients that read only lines of 64 characters, each with its end (RFC 1421 §4.3.2.4).
    """
    encoded = binascii.b2a_base64(message_der, newline=False)
    if not wrapped:
        return encoded
    lines = (encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE))
    return b"".join(line + b"\n" for line in lines)
