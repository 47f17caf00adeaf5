"""How EST sends its certs-only CMS messages: in one line of base64 (RFC 7030 §4.1.3, §4.2.3).

RFC 8951 §3.1 has the body be base64 always, without line ends; Content-Transfer-Encoding is sent all the
same, because clients of RFC 7030 look for it.
"""

import binascii
from typing import Final

CACERTS_CONTENT_TYPE: Final = "application/pkcs7-mime"
CERTIFICATE_CONTENT_TYPE: Final = "application/pkcs7-mime; smime-type=certs-only"
CMC_RESPONSE_CONTENT_TYPE: Final = "application/pkcs7-mime; smime-type=CMC-response"  # RFC 5273 §3
CONTENT_TRANSFER_ENCODING: Final = ("Content-Transfer-Encoding", "base64")  # name and value of the header


def encode_body(message_der: bytes) -> bytes:
    """Return the body of a response: base64 in one line without an end (RFC 8951 §3.1)."""
    return binascii.b2a_base64(message_der, newline=False)
