"""The body of an EST enrolment request: a PKCS #10 in base64 (RFC 7030 §4.2.1, RFC 8951 §3.1).

Clients in use send one line of base64, wrapped base64, PEM, or bare DER; all are taken, since none can be
mistaken for another. Content-Transfer-Encoding is not looked at, as RFC 8951 §3.1 asks.
"""

import binascii
import re
from typing import Final

from protocols.asn1 import der
from protocols.errors import ErrorKind, MalformedError, ProtocolError, TooLargeError
from protocols.x509.csr import MAX_CSR_BYTES

CSR_CONTENT_TYPE: Final = "application/pkcs10"
MAX_BODY_BYTES: Final = 2 * MAX_CSR_BYTES  # base64 adds a third; the rest is room for line ends and PEM lines

_PEM_START: Final = b"-----BEGIN "
_PEM: Final = re.compile(
    rb"-----BEGIN ((?:NEW )?CERTIFICATE REQUEST)-----[ \t]*\r?\n([A-Za-z0-9+/=\s]*?)-----END \1-----"
)
_WHITESPACE: Final = b" \t\r\n"


class UnsupportedMediaTypeError(ProtocolError):
    """The body is not of the content type that the operation takes (RFC 7030 §4.2.1)."""

    kind = ErrorKind.UNSUPPORTED_MEDIA_TYPE


def decode_csr(body: bytes, content_type: str | None) -> bytes:
    """Return the DER of the PKCS #10 in an enrolment body; only that it is one SEQUENCE is checked.

    Parameters of the content type are passed over. Raises `UnsupportedMediaTypeError` for another or no
    content type, `TooLargeError` over `MAX_BODY_BYTES` or `MAX_CSR_BYTES`, else `MalformedError`.
    """
    if content_type is None or content_type.partition(";")[0].strip().lower() != CSR_CONTENT_TYPE:
        raise UnsupportedMediaTypeError(f"the content type must be {CSR_CONTENT_TYPE}")
    if len(body) > MAX_BODY_BYTES:
        raise TooLargeError(f"body is longer than {MAX_BODY_BYTES} bytes")
    csr_der = _decode(body)
    if len(csr_der) > MAX_CSR_BYTES:
        raise TooLargeError(f"certification request is longer than {MAX_CSR_BYTES} bytes")
    reader = der.Reader(csr_der)
    reader.read(der.SEQUENCE)
    reader.finish()
    return csr_der


def _decode(body: bytes) -> bytes:
    if body[:1] == bytes([der.SEQUENCE]):  # no base64 of a SEQUENCE starts with this octet, the digit 0
        return body
    text = body.strip(_WHITESPACE)
    if text.startswith(_PEM_START):
        match = _PEM.fullmatch(text)
        if match is None:
            raise MalformedError("body is PEM, but not one CERTIFICATE REQUEST")
        text = match[2]
    return _base64(text.translate(None, _WHITESPACE))


def _base64(text: bytes) -> bytes:
    if not text:
        raise MalformedError("body is empty")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise MalformedError("body is neither base64, PEM nor DER") from error
