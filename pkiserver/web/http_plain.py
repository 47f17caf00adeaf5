"""Plain HTTP/1.1 requests recognised without a parser: whole in one reception, with nothing unusual.

Most requests of a connection, and of a kind of client, have the same header fields to the letter. They are
looked at once, and found again by their octets. What is not plain is left to the parser, which reads
everything that is accepted here in the same way (a property test holds the two together).
"""

import re
from typing import Final

from pkiserver.web.http_messages import FIELDS, HTTPRequest

MAX_HEADS: Final = 512  # remembered; a client that invents new ones only makes the others be read again
MAX_LINE_BYTES: Final = 2048  # of the request line; an OCSP request in a path has 150 to 500
MAX_BODY_BYTES: Final = 4096  # what `http1` takes; the answer to a longer one is its matter
MAX_HEAD_BYTES: Final = 2048  # of header fields; longer ones are not plain
_VERSION: Final = b" HTTP/1.1"
# A field line of RFC 9112 §5 without the obsolete forms; a value in visible ASCII.
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[!-~]+(?:[ \t]+[!-~]+)*)?)[ \t]*")
_TARGET: Final = re.compile(rb"/[A-Za-z0-9+/=%._~-]*")
_LENGTH: Final = re.compile(rb"[0-9]{1,4}")
# What changes how a message is framed, answered or kept.
_UNUSUAL: Final = frozenset(
    b"transfer-encoding te trailer upgrade expect if-match if-unmodified-since if-range range "
    b"proxy-connection keep-alive http2-settings".split()
)


class PlainRequests:
    """Recognises plain requests; remembers the header fields of earlier ones."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[bytes, dict[bytes, bytes]] = {}

    def request(self, data: bytes, peer: str = "") -> HTTPRequest | None:
        """Return the one whole request that these octets of a peer are, or None when the parser must look."""
        line_end = data.find(b"\r\n")
        head_end = data.find(b"\r\n\r\n", line_end) + 4
        if head_end < 4 or line_end > MAX_LINE_BYTES or not data.startswith(_VERSION, line_end - 9):
            return None
        head = data[line_end:head_end]
        fields = self._heads.get(head)
        if fields is None:
            fields = self._remember(head)
            if fields is None:
                return None
        if data.startswith(b"GET /"):
            path, body = data[4 : line_end - 9], b""
            if len(data) != head_end or b"content-length" in fields:
                return None
            method = b"GET"
        elif data.startswith(b"POST /"):
            path, body = data[5 : line_end - 9], data[head_end:]
            if len(body) != int(fields.get(b"content-length", b"-1")):
                return None
            method = b"POST"
        else:
            return None
        return HTTPRequest(method, path, fields, body, peer) if _TARGET.fullmatch(path) else None

    def _remember(self, head: bytes) -> dict[bytes, bytes] | None:
        fields = plain_fields(head) if len(head) <= MAX_HEAD_BYTES else None
        if fields is not None:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            self._heads[head] = fields
        return fields


def plain_fields(head: bytes) -> dict[bytes, bytes] | None:
    """Return the fields of `FIELDS` in header lines, or None where one of them is unusual.

    `head` begins with the CRLF of the request line and ends with the empty line.
    """
    found: dict[bytes, bytes] = {}
    for line in head[2:-4].split(b"\r\n"):
        match = _FIELD.fullmatch(line)
        if match is None:
            return None
        name, value = match[1].lower(), match[2]
        if name in _UNUSUAL or name in found:
            return None
        if name == b"connection" and value.lower() != b"keep-alive":
            return None
        if name == b"content-length" and not _is_plain_length(value):
            return None
        found[name] = value
    if b"," in found.get(b"host", b","):  # none, or perhaps two in one: the parser refuses them
        return None
    return {name: value for name, value in found.items() if name in FIELDS}


def _is_plain_length(value: bytes) -> bool:
    return _LENGTH.fullmatch(value) is not None and int(value) <= MAX_BODY_BYTES
