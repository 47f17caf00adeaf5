"""The body of a serverkeygen response: multipart/mixed of private key and certificate (RFC 7030 §4.4.2).

Every part is base64 (RFC 8951 §3), which has no hyphen: no line of a part can be taken for the boundary.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from protocols.errors import MalformedError, TooLargeError
from protocols.est.request import decode_base64
from protocols.est.response import CERTIFICATE_CONTENT_TYPE, encode_body

PKCS8_CONTENT_TYPE: Final = "application/pkcs8"
SERVER_GENERATED_KEY_CONTENT_TYPE: Final = "application/pkcs7-mime; smime-type=server-generated-key"
BOUNDARY: Final = "estServerBoundary"
MULTIPART_CONTENT_TYPE: Final = f"multipart/mixed; boundary={BOUNDARY}"
MAX_MULTIPART_BYTES: Final = 256 * 1024  # an RSA key of 8192 bits in CMS, and a certificate: under 32 KiB
MAX_PARTS: Final = 4
MAX_HEADER_LINES: Final = 16

_CRLF: Final = b"\r\n"
_BOUNDARY_PARAMETER: Final = re.compile(
    r'multipart/mixed[ \t]*;[ \t]*boundary="?([0-9A-Za-z\'()+_,\-./:=? ]{0,69}[0-9A-Za-z\'()+_,\-./:=?])"?',
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its content type with parameters, and what its base64 stands for."""

    content_type: str
    content: bytes = field(repr=False)


def server_key_parts(key: bytes, certificate_message: bytes, *, encrypted: bool) -> tuple[Part, Part]:
    """Return the parts of a response: a PrivateKeyInfo, or an EnvelopedData where encrypted; a certs-only."""
    key_type = SERVER_GENERATED_KEY_CONTENT_TYPE if encrypted else PKCS8_CONTENT_TYPE
    return Part(key_type, key), Part(CERTIFICATE_CONTENT_TYPE, certificate_message)


def encode_multipart(parts: Sequence[Part]) -> bytes:
    """Return the body that goes with `MULTIPART_CONTENT_TYPE`: each part one line of base64.

    `ValueError` for a content type that is not one line of printable ASCII.
    """
    delimiter = b"--" + BOUNDARY.encode("ascii")
    lines: list[bytes] = []
    for part in parts:
        if not (part.content_type.isascii() and part.content_type.isprintable()):
            raise ValueError("a content type must be one line of printable ASCII")
        lines += [
            delimiter,
            b"Content-Type: " + part.content_type.encode("ascii"),
            b"Content-Transfer-Encoding: base64",
            b"",
            encode_body(part.content),
        ]
    return _CRLF.join([*lines, delimiter + b"--", b""])


def parse_multipart(body: bytes, content_type: str) -> tuple[Part, ...]:
    """Return the parts of a multipart/mixed body, preamble and epilogue passed over (RFC 2046 §5.1.1).

    Line ends are CRLF or LF. `TooLargeError` over a bound, `MalformedError` where it is no such body, ends
    without its last boundary, or a part has no content type or is not base64.
    """
    if len(body) > MAX_MULTIPART_BYTES:
        raise TooLargeError(f"multipart body is longer than {MAX_MULTIPART_BYTES} bytes")
    match = _BOUNDARY_PARAMETER.fullmatch(content_type.strip())
    if match is None:
        raise MalformedError("the content type is not multipart/mixed with a boundary")
    delimiter = b"--" + match[1].encode("ascii")
    lines = [line.rstrip(b"\r \t") for line in body.split(b"\n")]
    starts = [number for number, line in enumerate(lines) if line == delimiter]
    end = next((number for number, line in enumerate(lines) if line == delimiter + b"--"), None)
    if end is None or not starts or starts[-1] > end:
        raise MalformedError("multipart body has no part, or no last boundary")
    if len(starts) > MAX_PARTS:
        raise TooLargeError(f"multipart body has more than {MAX_PARTS} parts")
    stops = [*starts[1:], end]
    return tuple(_part(lines[start + 1 : stop]) for start, stop in zip(starts, stops, strict=True))


def _part(lines: list[bytes]) -> Part:
    headers: dict[bytes, bytes] = {}
    for number, line in enumerate(lines):
        if not line:
            return _with_content(headers, lines[number + 1 :])
        name, colon, value = line.partition(b":")
        if not colon or name.strip().lower() in headers:
            raise MalformedError("a part has a malformed or repeated header line")
        if len(headers) == MAX_HEADER_LINES:
            raise TooLargeError(f"a part has more than {MAX_HEADER_LINES} header lines")
        headers[name.strip().lower()] = value.strip()
    raise MalformedError("a part has no empty line after its headers")


def _with_content(headers: dict[bytes, bytes], lines: list[bytes]) -> Part:
    content_type = headers.get(b"content-type", b"")
    if not content_type or not content_type.isascii():
        raise MalformedError("a part has no content type")
    return Part(content_type.decode("ascii"), decode_base64(b"".join(lines)))
