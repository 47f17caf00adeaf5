"""Requests and replies as the handlers of the status plane see them; framing is `http1`'s.

Named tuples, not dataclasses: they are made for each request, and cost a third.
"""

import asyncio
from http import HTTPStatus
from typing import Final, NamedTuple

# The fields that are looked at; all others are skipped unread.
FIELDS: Final = frozenset(
    b"host content-type content-length transfer-encoding expect accept-encoding "
    b"if-match if-unmodified-since if-none-match if-modified-since if-range range".split()
)


class HTTPRequest(NamedTuple):
    """A whole request. `path` is the request target without scheme, authority and query, not unescaped.

    `fields` holds, by lower-case names, those of `FIELDS` that were sent; a repeated one is joined by `, `.
    `peer` is the address of who is connected: a client, or a proxy before it.
    """

    method: bytes
    path: bytes
    fields: dict[bytes, bytes]
    body: bytes
    peer: str = ""


class HTTPReply(NamedTuple):
    """An answer: `status` as `200 OK`; `fields` are whole lines with CRLF, Content-Length among them.

    `outcome` is the name it is counted by. On HEAD the body is left out when it is written.
    """

    status: bytes
    fields: bytes
    body: bytes | memoryview
    outcome: str


Answer = HTTPReply | asyncio.Future[HTTPReply]
"""What a handler gives: a reply, or the promise of one."""


def plain_reply(status: HTTPStatus, text: str, *, fields: bytes = b"", outcome: str = "") -> HTTPReply:
    """Return a reply of one line of text, uncacheable unless it is a success."""
    body = text.encode("ascii") + b"\n"
    lines = b"Content-Type: text/plain; charset=us-ascii\r\nContent-Length: %d\r\n%b" % (len(body), fields)
    if status >= HTTPStatus.BAD_REQUEST:
        lines += b"Cache-Control: no-store\r\n"
    return HTTPReply(
        b"%d %b" % (status, status.phrase.encode("ascii")), lines, body, outcome or f"http_{status:d}"
    )


def method_not_allowed(allowed: str) -> HTTPReply:
    """Return 405 with the methods that the resource has."""
    return plain_reply(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"allowed here: {allowed}",
        fields=b"Allow: %b\r\n" % allowed.encode("ascii"),
    )


NOT_FOUND: Final = plain_reply(HTTPStatus.NOT_FOUND, "nothing is served here")
