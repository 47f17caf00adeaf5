"""The requests in the octets of one connection, by httptools (RFC 9112): framing, and its bounds.

Owns what is known of the request under way. What is done with a whole one, and how a refusal is said, is
the connection's.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import httptools

from pkiserver.web.http_bodies import BodyRoom
from pkiserver.web.http_limits import (
    BAD_EXPECTATION,
    BAD_VERSION,
    CHUNKED_BYTES,
    INTERNAL_ERROR,
    LARGE_HEADER,
    LONG_URL,
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEADER_BYTES,
    MAX_URL_BYTES,
    NO_HOST,
    NO_ROOM,
    NO_TUNNEL,
    NOT_HTTP,
    large_body,
)
from pkiserver.web.http_messages import FIELDS, HTTPReply, HTTPRequest


class Turn(NamedTuple):
    """A whole request, or what is said instead of an answer to it, that others come before."""

    asked: HTTPRequest | HTTPReply
    keep_alive: bool
    say_so: bool
    head_only: bool


class Requests(Protocol):
    """Who takes what the reader finds, in order; `closing` says that nothing more is taken."""

    closing: bool
    peer: str

    def begin_request(self) -> None: ...

    def send_continue(self) -> None: ...

    def take(self, turn: Turn) -> None: ...

    def refuse(self, reply: HTTPReply) -> None: ...


class _RefusedError(Exception):
    """Ends the parsing of a connection; the reply says why."""

    def __init__(self, reply: HTTPReply) -> None:
        super().__init__(reply.outcome)
        self.reply = reply


class RequestReader:
    """Reads requests; `started` while one has begun and is not whole."""

    __slots__ = (
        "_body", "_body_bound", "_fed", "_fields", "_header_bytes", "_held", "_in_body", "_on_error",
        "_owner", "_parser", "_refusal", "_room", "_url", "started",
    )  # fmt: skip

    def __init__(self, owner: Requests, room: BodyRoom, on_error: Callable[[Exception], None]) -> None:
        """Take who gets the requests, room for large bodies, and who is told of faults no client caused."""
        self._owner = owner
        self._room = room
        self._on_error = on_error
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._fields: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._body = b""
        self._body_bound = MAX_BODY_BYTES
        self._held = 0  # octets of `_room` that the body takes
        self._in_body = False  # the header of the request is whole
        self._fed = 0  # octets since the last beginning or end of a request, at least those
        self._refusal: HTTPReply | None = None
        self.started = False

    @property
    def head_only(self) -> bool:
        """True where the request under way is for the head of an answer, as far as is known."""
        return self.started and bool(self._url) and self._parser.get_method() == b"HEAD"

    def feed(self, piece: bytes) -> None:
        """Read a piece of at most `SLICE_BYTES`; whatever it ends is taken or refused meanwhile."""
        while piece:
            rest = b""
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                rest = self._without_upgrade() + piece[upgrade.args[0] :]
            except httptools.HttpParserCallbackError as error:
                self._owner.refuse(self._callback_refusal(error))
            except httptools.HttpParserError:
                # Data behind a request that closes the connection is an error too: it is answered already.
                if not self._owner.closing:
                    self._owner.refuse(NOT_HTTP)
            self._check_size(len(piece))
            piece = rest if not self._owner.closing else b""

    def _callback_refusal(self, error: Exception) -> HTTPReply:
        if self._refusal is None:  # nothing that the client did
            self._on_error(error)
        return self._refusal or INTERNAL_ERROR

    def _check_size(self, size: int) -> None:
        """Refuse what grows without end; `on_headers_complete` is exact, this also sees unfinished parts."""
        self._fed += size
        if self._owner.closing or self._fed <= MAX_HEAD_BYTES:
            return
        if not self.started:
            self._owner.refuse(NOT_HTTP)  # blank lines for ever
        elif not self._in_body:
            self._owner.refuse(LONG_URL if len(self._url) > MAX_URL_BYTES else LARGE_HEADER)
        elif self._fed > MAX_HEAD_BYTES + CHUNKED_BYTES * self._body_bound:
            self._owner.refuse(large_body(self._body_bound))

    def _without_upgrade(self) -> bytes:
        """Return the request line and fields anew, without the offer to upgrade, which need not be taken up.

        Java's HttpClient offers h2c with its first request, POST too (RFC 9110 §7.8). The parser then takes
        the body for another protocol's.
        """
        parser = self._parser
        version = parser.get_http_version().encode("ascii")
        lines = [b"%b %b HTTP/%b" % (parser.get_method(), self._url, version)]
        lines += [b"%b: %b" % field for field in self._fields.items()]
        lines += [b"Connection: keep-alive" if parser.should_keep_alive() else b"Connection: close", b"", b""]
        self._parser = httptools.HttpRequestParser(self)
        return b"\r\n".join(lines)

    # ---- The parser's side

    def on_message_begin(self) -> None:
        self._url = b""
        self._fields = {}
        self._header_bytes = 0
        self._body = b""
        self._body_bound = MAX_BODY_BYTES
        self._fed = 0
        self.started = True
        self._in_body = False
        self._owner.begin_request()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # trailers are of no use
        self._header_bytes += len(name) + len(value) + 4
        name = name.lower()
        if name in FIELDS:
            earlier = self._fields.get(name)
            value = value.rstrip(b" \t")  # httptools leaves what RFC 9112 §5.1 does not count as the value
            self._fields[name] = value if earlier is None else earlier + b", " + value

    def on_headers_complete(self) -> None:
        self._in_body = True
        self._body_bound = self._room.bound(_path(self._url))
        self._refusal = refusal = self._header_refusal()
        if refusal is not None:
            raise _RefusedError(refusal)
        expectation = self._fields.get(b"expect")
        if expectation and self._parser.get_http_version() == "1.1" and not self._parser.should_upgrade():
            self._owner.send_continue()

    def _header_refusal(self) -> HTTPReply | None:
        """Return why this request cannot be read on, or None."""
        version, fields = self._parser.get_http_version(), self._fields
        host = fields.get(b"host")
        length = fields.get(b"content-length")
        # One test a line, in the order of their weight.
        tests = (
            (version not in ("1.1", "1.0"), BAD_VERSION),
            (len(self._url) > MAX_URL_BYTES, LONG_URL),
            (self._header_bytes > MAX_HEADER_BYTES, LARGE_HEADER),
            (host is None and version == "1.1", NO_HOST),
            (host is not None and b", " in host, NO_HOST),  # more than one (RFC 9112 §3.2)
            (self._parser.get_method() == b"CONNECT", NO_TUNNEL),
            (length is not None and int(length) > self._body_bound, large_body(self._body_bound)),
            (fields.get(b"expect", b"100-continue").lower() != b"100-continue", BAD_EXPECTATION),
        )
        return next((reply for refused, reply in tests if refused), None)

    def on_body(self, body: bytes) -> None:
        self._body += body
        size = len(self._body)
        if size > self._body_bound:
            self._refusal = large_body(self._body_bound)
        elif size > MAX_BODY_BYTES and not self._hold(size - self._held):
            self._refusal = NO_ROOM
        if self._refusal is not None:
            raise _RefusedError(self._refusal)

    def _hold(self, octets: int) -> bool:
        """Take room for what came of a large body; False where there is none."""
        if not self._room.take(octets):
            return False
        self._held += octets
        return True

    def give_back_room(self) -> None:
        """Give back the room that the body had: it is handed over, or the connection has ended."""
        self._room.give_back(self._held)
        self._held = 0

    def on_message_complete(self) -> None:
        parser = self._parser
        if self._owner.closing or parser.should_upgrade():
            return  # closing: not to be answered; upgrade: the body was skipped, see _without_upgrade
        self.started = False
        self._fed = 0
        self.give_back_room()
        request = HTTPRequest(
            parser.get_method(), _path(self._url), self._fields, self._body, self._owner.peer
        )
        keep_alive = parser.should_keep_alive()
        old = keep_alive and parser.get_http_version() == "1.0"
        self._owner.take(Turn(request, keep_alive, old, request.method == b"HEAD"))


def _path(url: bytes) -> bytes:
    """Return the path of a request target, which may be in absolute form (RFC 9112 §3.2.2)."""
    if not url.startswith(b"/"):
        _, scheme, rest = url.partition(b"://")
        url = b"/" + rest.partition(b"/")[2] if scheme else url
    return url.partition(b"?")[0]
