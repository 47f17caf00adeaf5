"""The bodies of EST requests: a PKCS #10 or a CMC message in base64 (RFC 7030 §4.2.1, §4.3.1, RFC 8951 §3.1).

Clients in use send one line of base64, wrapped base64, PEM, or bare DER; all are taken, since none can be
mistaken for another. Content-Transfer-Encoding is not looked at, as RFC 8951 §3 asks.
"""

import binascii
import re
from typing import Final

from protocols.asn1 import der
from protocols.errors import ErrorKind, MalformedError, ProtocolError, TooLargeError
from protocols.x509.csr import MAX_CSR_BYTES

CSR_CONTENT_TYPE: Final = "application/pkcs10"
CMC_CONTENT_TYPE: Final = "application/pkcs7-mime"
CMC_SMIME_TYPE: Final = "cmc-request"  # RFC 5273 §3 writes it CMC-request; values of S/MIME ignore case
MAX_BODY_BYTES: Final = 2 * MAX_CSR_BYTES  # base64 adds a third; the rest is room for line ends and PEM lines
MAX_CMC_BYTES: Final = 23 * 1024  # fits in MAX_BODY_BYTES as base64 in lines of 64 and as PEM

_PEM_START: Final = b"-----BEGIN "
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n([A-Za-z0-9+/=\s]*?)-----END \1-----")
_CSR_LABELS: Final = frozenset({b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"})
_CMC_LABELS: Final = frozenset({b"CMS", b"PKCS7"})  # RFC 7468 §8, §9
_WHITESPACE: Final = b" \t\r\n"
_SMIME_TYPE: Final = re.compile(r';[ \t]*smime-type[ \t]*=[ \t]*"?([^";\s]*)"?', re.ASCII | re.IGNORECASE)


class UnsupportedMediaTypeError(ProtocolError):
    """The body is not of the content type that the operation takes (RFC 7030 §4.2.1, §4.3.1)."""

    kind = ErrorKind.UNSUPPORTED_MEDIA_TYPE


def decode_csr(body: bytes, content_type: str | None) -> bytes:
    """Return the DER of the PKCS #10 in an enrolment body; only that it is one SEQUENCE is checked.

    Parameters of the content type are passed over. Raises `UnsupportedMediaTypeError` for another or no
    content type, `TooLargeError` over `MAX_BODY_BYTES` or `MAX_CSR_BYTES`, else `MalformedError`.
    """
    _check_content_type(content_type, CSR_CONTENT_TYPE)
    csr_der = _decode(body, _CSR_LABELS)
    if len(csr_der) > MAX_CSR_BYTES:
        raise TooLargeError(f"certification request is longer than {MAX_CSR_BYTES} bytes")
    der.whole(csr_der, lambda reader: reader.read(der.SEQUENCE))
    return csr_der


def decode_cmc(body: bytes, content_type: str | None) -> bytes:
    """Return the CMS message in the body of a Full CMC request, in BER or DER and not looked at.

    An smime-type other than CMC-request is refused, none is taken. Raises `UnsupportedMediaTypeError` for
    another or no content type, `TooLargeError` over `MAX_BODY_BYTES` or `MAX_CMC_BYTES`, else
    `MalformedError`.
    """
    _check_content_type(content_type, CMC_CONTENT_TYPE)
    smime_type = _SMIME_TYPE.search(content_type or "")
    if smime_type is not None and smime_type[1].lower() != CMC_SMIME_TYPE:
        raise UnsupportedMediaTypeError("the smime-type must be CMC-request")
    message = _decode(body, _CMC_LABELS)
    if len(message) > MAX_CMC_BYTES:
        raise TooLargeError(f"CMC message is longer than {MAX_CMC_BYTES} bytes")
    return message


def _check_content_type(content_type: str | None, wanted: str) -> None:
    if content_type is None or content_type.partition(";")[0].strip().lower() != wanted:
        raise UnsupportedMediaTypeError(f"the content type must be {wanted}")


def _decode(body: bytes, labels: frozenset[bytes]) -> bytes:
    if len(body) > MAX_BODY_BYTES:
        raise TooLargeError(f"body is longer than {MAX_BODY_BYTES} bytes")
    if body[:1] == bytes([der.SEQUENCE]):  # no base64 of a SEQUENCE starts with this octet, the digit 0
        return body
    text = body.strip(_WHITESPACE)
    if text.startswith(_PEM_START):
        match = _PEM.fullmatch(text)
        if match is None or match[1] not in labels:
            wanted = " or ".join(sorted(label.decode() for label in labels))
            raise MalformedError(f"body is PEM, but not one {wanted}")
        text = match[2]
    return decode_base64(text.translate(None, _WHITESPACE))


def decode_base64(text: bytes) -> bytes:
    """Return what base64 without white space stands for; `MalformedError` where it is empty or none."""
    if not text:
        raise MalformedError("body is empty")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise MalformedError("body is neither base64, PEM nor DER") from error
