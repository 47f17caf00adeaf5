"""HTTP/1.0 and 1.1 on the server's side (RFC 9112), for small answers, at hand or promised: no streaming.

Owns framing, order, limits and timeouts of connections; what is answered is the handler's. All that a
client may make grow is bounded here, in bytes, time and number.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from time import perf_counter
from typing import Final, NamedTuple, cast

import httptools

from pkiserver.clock import Clock
from pkiserver.web.http_messages import (
    FIELDS,
    Answer,
    HTTPReply,
    HTTPRequest,
    method_not_allowed,
    plain_reply,
)
from pkiserver.web.http_plain import PlainRequests
from pkiserver.web.status_counters import StatusCounters
from protocols.ocsp.http import http_date

MAX_URL_BYTES: Final = 8000  # RFC 9110 §4.1 asks for at least that
MAX_HEADER_BYTES: Final = 8192  # all fields together; browsers and proxies stay under 2 KiB
MAX_BODY_BYTES: Final = 4096  # protocols.ocsp.request.MAX_REQUEST_BYTES: no other body is taken
SLICE_BYTES: Final = (
    4096  # fed at a time; between two slices the connection may be found paused or over a bound
)
_MAX_HEAD_BYTES: Final = MAX_URL_BYTES + MAX_HEADER_BYTES + SLICE_BYTES
_MAX_MESSAGE_BYTES: Final = _MAX_HEAD_BYTES + 8 * MAX_BODY_BYTES  # a chunk of one octet takes six on the wire
_JOINED_BYTES: Final = (
    16_384  # larger bodies are written by themselves: a copy costs more than a second write
)
_MAX_LINGERING: Final = 64  # connections over the limit that are told so; the next are reset
_TICK_S: Final = 0.2  # how old the time in use may be

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = b"Connection: close\r\n"
_KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"


@dataclass(frozen=True, slots=True)
class HTTPLimits:
    """How many connections one worker takes, and how long it waits for a client."""

    connections: int = 4096
    request_s: float = 10.0  # from the first octet of a request, or the connection, to the last
    idle_s: float = 30.0  # between two requests
    answer_s: float = 15.0  # for an answer that the handler promised; its own deadline should come first
    write_s: float = 20.0  # without a single octet taken
    linger_s: float = 2.0  # after a refusal, for the client to read it: a reset would take it away
    drain_quiet_s: float = 0.5  # a connection idle for that long is closed in draining


_INTERNAL_ERROR: Final = plain_reply(HTTPStatus.INTERNAL_SERVER_ERROR, "the request could not be answered")
_OVERLOADED: Final = plain_reply(
    HTTPStatus.SERVICE_UNAVAILABLE, "too many connections", fields=b"Retry-After: 5\r\n"
)
_TIMED_OUT: Final = plain_reply(HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive in time")
_TRUNCATED: Final = plain_reply(HTTPStatus.BAD_REQUEST, "the request ends too early")
_NOT_HTTP: Final = plain_reply(HTTPStatus.BAD_REQUEST, "this is not HTTP/1.1 as RFC 9112 has it")
_NO_HOST: Final = plain_reply(HTTPStatus.BAD_REQUEST, "one Host field is needed")
_BAD_VERSION: Final = plain_reply(
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.0 and HTTP/1.1 are spoken here"
)
_LONG_URL: Final = plain_reply(HTTPStatus.REQUEST_URI_TOO_LONG, f"the URL has over {MAX_URL_BYTES} bytes")
_LARGE_HEADER: Final = plain_reply(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the header fields have over {MAX_HEADER_BYTES} bytes"
)
_LARGE_BODY: Final = plain_reply(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has over {MAX_BODY_BYTES} bytes"
)
_BAD_EXPECTATION: Final = plain_reply(HTTPStatus.EXPECTATION_FAILED, "only 100-continue can be expected")
_NO_TUNNEL: Final = method_not_allowed("GET, HEAD, POST")
_LATE: Final = plain_reply(
    HTTPStatus.SERVICE_UNAVAILABLE, "the answer took too long", fields=b"Retry-After: 5\r\n"
)

Handler = Callable[[HTTPRequest, datetime], Answer]


class _Turn(NamedTuple):
    """A whole request, or what is said instead of an answer to it, that others come before."""

    asked: HTTPRequest | HTTPReply
    keep_alive: bool
    say_so: bool
    head_only: bool


class _RefusedError(Exception):
    """Ends the parsing of a connection; the reply says why."""

    def __init__(self, reply: HTTPReply) -> None:
        super().__init__(reply.outcome)
        self.reply = reply


class HTTPService:
    """What the connections of one worker share: handler, limits, time, counters and the list of them."""

    def __init__(
        self,
        handler: Handler,
        *,
        clock: Clock,
        limits: HTTPLimits,
        loop: asyncio.AbstractEventLoop,
        on_tick: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Take the handler, which does not wait: it answers at once, or gives a future of its answer.

        `on_tick` is called some times a second while requests come, `on_error` with what a handler raised:
        that request is answered with 500.
        """
        self.handler = handler
        self.limits = limits
        self.loop = loop
        self.counters = StatusCounters()
        self.connections: set[HTTPConnection] = set()
        self.draining = False
        self.plain = PlainRequests()
        self.on_error = on_error
        self._on_tick = on_tick
        self._clock = clock
        self._next_tick = 0.0
        self.now = clock.now()
        self.date_line = b""
        self.tick()

    def tick(self) -> None:
        """Bring the time up to date, unless it was lately."""
        elapsed = self.loop.time()
        if elapsed < self._next_tick:
            return
        self._next_tick = elapsed + _TICK_S
        self.now = self._clock.now()
        self.date_line = b"Date: %b\r\n" % http_date(self.now)
        self._on_tick()

    def connect(self) -> "HTTPConnection":
        """Return the protocol of a new connection."""
        return HTTPConnection(self)

    def sweep(self) -> None:
        """End the connections whose time is over; to be called about once a second."""
        self.tick()
        elapsed = self.loop.time()
        for connection in list(self.connections):
            connection.check_time(elapsed)

    async def drain(self, deadline_s: float) -> None:
        """Answer what is under way, close connections as they fall quiet, and all after the deadline.

        A connection stays for `drain_quiet_s` after its last octet: a request already on the way to it
        is answered. Every answer from now on says `Connection: close`.
        """
        self.draining = True
        end = self.loop.time() + deadline_s
        while self.connections and self.loop.time() < end:
            quiet_since = self.loop.time() - self.limits.drain_quiet_s
            for connection in list(self.connections):
                connection.close_if_quiet(quiet_since)
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()


class HTTPConnection(asyncio.Protocol):
    """One connection. Requests are answered in order, each as soon as its last octet is here.

    While an answer is promised nothing more is read, and what came in the same slice waits for its turn:
    one promise a connection, and no more requests behind it than a slice holds.
    """

    __slots__ = (
        "_allowed_s", "_arrived", "_awaited", "_body", "_closing", "_eof", "_fed", "_fields", "_full",
        "_header_bytes", "_in_body", "_parser", "_paused", "_promised_at", "_refusal", "_service",
        "_since", "_started", "_transport", "_turns", "_unfed", "_unsent", "_url",
    )  # fmt: skip

    def __init__(self, service: HTTPService) -> None:
        self._service = service
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._url = b""
        self._fields: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._body = b""
        self._started = False  # a request has begun and is not whole
        self._in_body = False  # its header is whole
        self._fed = 0  # octets since the last beginning or end of a request, at least those
        self._unfed = b""  # received and not parsed: the client reads too slowly, or an answer is awaited
        self._full = False  # as much is unsent as may be
        self._awaited: asyncio.Future[HTTPReply] | None = None
        self._promised_at = 0.0
        self._turns: deque[_Turn | bytes] | None = None  # what is to be done and sent after that
        self._paused = False  # full, or an answer is awaited
        self._eof = False  # the client has said all, while something was unfed
        self._closing = False  # nothing more is read
        self._refusal: HTTPReply | None = None
        self._arrived = 0.0
        self._unsent = 0
        self._since = service.loop.time()
        self._allowed_s = service.limits.request_s

    # ---- The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        service = self._service
        service.connections.add(self)
        service.counters.connections_total += 1
        service.counters.connections = len(service.connections)
        excess = len(service.connections) - service.limits.connections
        if excess > _MAX_LINGERING:
            self._closing = True
            self._transport.abort()
        elif excess > 0:
            self._arrived = perf_counter()
            self._refuse(_OVERLOADED)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the name is asyncio's
        service = self._service
        service.connections.discard(self)
        service.counters.connections = len(service.connections)
        self._closing = True
        self._unfed = b""
        self._turns = None

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._arrived = perf_counter()
        service = self._service
        service.tick()
        if not (self._started or self._unfed or self._paused or service.draining):
            request = service.plain.request(data)
            if request is not None:
                answer = self._handled(request)
                if type(answer) is HTTPReply:
                    self._send(answer, b"", head_only=False)
                    self._allowed_s = service.limits.idle_s
                else:
                    self._answer(_Turn(request, True, False, False), answer)
                return
        if len(data) <= SLICE_BYTES and not self._paused and not self._unfed:
            self._feed(data)
        else:
            self._unfed += data  # reading is paused with the writing: one more reception at most
            self._feed_slices()

    def eof_received(self) -> bool:
        """Answer what is left; return True to keep the writing half until that is done."""
        if self._unfed or self._awaited is not None:
            self._eof = True
            return True
        if self._started and not self._closing:
            self._refuse(_TRUNCATED)
        self._wait_for_client()
        return False  # the transport closes itself when all is written

    def pause_writing(self) -> None:
        self._full = self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._full = False
        self._go_on()

    def _go_on(self) -> None:
        """Take up what was left unread, unless it still has to wait."""
        if self._full or self._awaited is not None:
            return
        self._paused = False
        self._feed_slices()
        if self._paused or self._transport.is_closing():
            return
        if self._eof:
            self.eof_received()
            self._transport.close()
        else:
            self._transport.resume_reading()

    # ---- Feeding the parser

    def _feed_slices(self) -> None:
        while self._unfed and not self._paused and not self._closing:
            piece, self._unfed = self._unfed[:SLICE_BYTES], self._unfed[SLICE_BYTES:]
            self._feed(piece)

    def _feed(self, piece: bytes) -> None:
        while piece:
            rest = b""
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                rest = self._without_upgrade() + piece[upgrade.args[0] :]
            except httptools.HttpParserCallbackError as error:
                self._refuse(self._callback_refusal(error))
            except httptools.HttpParserError:
                # Data behind a request that closes the connection is an error too: it is answered already.
                if not self._closing:
                    self._refuse(_NOT_HTTP)
            self._check_size(len(piece))
            piece = rest if not self._closing else b""

    def _callback_refusal(self, error: Exception) -> HTTPReply:
        if self._refusal is None:  # nothing that the client did
            self._service.on_error(error)
        return self._refusal or _INTERNAL_ERROR

    def _check_size(self, size: int) -> None:
        """Refuse what grows without end; `on_headers_complete` is exact, this also sees unfinished parts."""
        self._fed += size
        if self._closing or self._fed <= _MAX_HEAD_BYTES:
            return
        if not self._started:
            self._refuse(_NOT_HTTP)  # blank lines for ever
        elif not self._in_body:
            self._refuse(_LONG_URL if len(self._url) > MAX_URL_BYTES else _LARGE_HEADER)
        elif self._fed > _MAX_MESSAGE_BYTES:
            self._refuse(_LARGE_BODY)

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
        self._fed = 0
        self._started = True
        self._in_body = False
        self._since = self._service.loop.time()
        self._allowed_s = self._service.limits.request_s

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
        self._refusal = refusal = self._header_refusal()
        if refusal is not None:
            raise _RefusedError(refusal)
        expectation = self._fields.get(b"expect")
        if expectation and self._parser.get_http_version() == "1.1" and not self._parser.should_upgrade():
            if self._turns is None:
                self._write_bytes(_CONTINUE)
            else:
                self._turns.append(_CONTINUE)

    def _header_refusal(self) -> HTTPReply | None:
        """Return why this request cannot be read on, or None."""
        version, fields = self._parser.get_http_version(), self._fields
        host = fields.get(b"host")
        length = fields.get(b"content-length")
        # One test a line, in the order of their weight.
        tests = (
            (version not in ("1.1", "1.0"), _BAD_VERSION),
            (len(self._url) > MAX_URL_BYTES, _LONG_URL),
            (self._header_bytes > MAX_HEADER_BYTES, _LARGE_HEADER),
            (host is None and version == "1.1", _NO_HOST),
            (host is not None and b", " in host, _NO_HOST),  # more than one (RFC 9112 §3.2)
            (self._parser.get_method() == b"CONNECT", _NO_TUNNEL),
            (length is not None and int(length) > MAX_BODY_BYTES, _LARGE_BODY),
            (fields.get(b"expect", b"100-continue").lower() != b"100-continue", _BAD_EXPECTATION),
        )
        return next((reply for refused, reply in tests if refused), None)

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > MAX_BODY_BYTES:
            self._refusal = _LARGE_BODY
            raise _RefusedError(_LARGE_BODY)

    def on_message_complete(self) -> None:
        parser = self._parser
        if self._closing or parser.should_upgrade():
            return  # closing: not to be answered; upgrade: the body was skipped, see _without_upgrade
        self._started = False
        self._fed = 0
        request = HTTPRequest(parser.get_method(), _path(self._url), self._fields, self._body)
        keep_alive = parser.should_keep_alive()
        old = keep_alive and parser.get_http_version() == "1.0"
        turn = _Turn(request, keep_alive, old, request.method == b"HEAD")
        if self._turns is None:
            self._answer(turn, self._handled(request))
        else:
            self._queue(turn)

    def _handled(self, request: HTTPRequest) -> Answer:
        service = self._service
        try:
            return service.handler(request, service.now)
        except Exception as error:  # noqa: BLE001 - the outermost handler: reported, answered without detail
            service.on_error(error)
            return _INTERNAL_ERROR

    # ---- Taking turns

    def _answer(self, turn: _Turn, answer: Answer) -> None:
        """Write what is asked in this turn, or wait for it; nothing more is read until it is there."""
        if isinstance(answer, HTTPReply):
            keep_alive = turn.keep_alive and (bool(self._turns) or not self._service.draining)
            self._write(answer, keep_alive=keep_alive, say_so=turn.say_so, head_only=turn.head_only)
            return
        if self._turns is None:
            self._turns = deque()
        self._end_reading(turn)
        self._awaited = answer
        self._paused = True
        if not self._transport.is_closing():
            self._transport.pause_reading()
        self._promised_at = self._service.loop.time()
        answer.add_done_callback(partial(self._answered, turn))

    def _queue(self, turn: _Turn) -> None:
        """Have this done after what is awaited."""
        if self._turns is not None:
            self._turns.append(turn)
            self._end_reading(turn)

    def _end_reading(self, turn: _Turn) -> None:
        if not turn.keep_alive:
            self._closing = True
            self._unfed = b""

    def _answered(self, turn: _Turn, answer: asyncio.Future[HTTPReply]) -> None:
        """Write the answer that was awaited, and all that waited behind it up to the next such one."""
        self._awaited = None
        reply = self._promised(answer)
        if self._turns is None or self._transport.is_closing():
            return  # the client has gone
        self._service.tick()
        self._answer(turn, reply)
        while self._turns and self._awaited is None and not self._transport.is_closing():
            following = self._turns.popleft()
            if isinstance(following, bytes):
                self._write_bytes(following)
            elif isinstance(following.asked, HTTPReply):
                self._answer(following, following.asked)
            else:
                self._answer(following, self._handled(following.asked))
        if self._awaited is None:
            self._turns = None
            if self._started and not self._closing:
                self._allowed_s = self._service.limits.request_s
            self._go_on()

    def _promised(self, answer: asyncio.Future[HTTPReply]) -> HTTPReply:
        if answer.cancelled():
            return _LATE
        error = answer.exception()
        if error is None:
            return answer.result()
        self._service.on_error(error if isinstance(error, Exception) else RuntimeError(str(error)))
        return _INTERNAL_ERROR

    # ---- Writing

    def _write(
        self, reply: HTTPReply, *, keep_alive: bool, say_so: bool = False, head_only: bool = False
    ) -> None:
        """Write a reply; where the connection is not kept, close it when all is written."""
        self._send(reply, (_KEEP_ALIVE if say_so else b"") if keep_alive else _CLOSE, head_only=head_only)
        self._allowed_s = self._service.limits.idle_s
        if not keep_alive:
            self._finish()

    def _send(self, reply: HTTPReply, connection: bytes, *, head_only: bool) -> None:
        service = self._service
        status, fields, body, outcome = reply
        if head_only:
            body = b""
        pieces = (b"HTTP/1.1 ", status, b"\r\n", service.date_line, fields, connection, b"\r\n")
        if len(body) <= _JOINED_BYTES:
            whole = b"".join((*pieces, body))
            size = len(whole)
            self._write_bytes(whole)
        else:
            head = b"".join(pieces)
            size = len(head) + len(body)
            self._write_bytes(head)
            self._write_bytes(body)
        service.counters.observe(outcome, size, perf_counter() - self._arrived)
        self._since = service.loop.time()

    def _write_bytes(self, data: bytes) -> None:
        if self._transport.is_closing():
            self._closing = True  # the client has gone while its requests were answered
        else:
            self._transport.write(data)

    def _refuse(self, reply: HTTPReply) -> None:
        """Answer what cannot be read on, and end."""
        head_only = self._started and bool(self._url) and self._parser.get_method() == b"HEAD"
        if self._turns is not None:
            self._queue(_Turn(reply, False, False, head_only))
            return
        self._send(reply, _CLOSE, head_only=head_only)
        self._finish()

    def _finish(self) -> None:
        """Send the end of data, and skip what still comes until the client closes (RFC 9112 §9.6)."""
        self._closing = True
        self._unfed = b""
        self._allowed_s = self._service.limits.linger_s
        if not self._transport.is_closing():
            self._transport.write_eof()

    def _wait_for_client(self) -> None:
        """Read no more; the client has `write_s` to take what is written."""
        self._closing = True
        self._since = self._service.loop.time()
        self._allowed_s = self._service.limits.write_s

    # ---- Time

    def check_time(self, elapsed: float) -> None:
        """End the connection where the client took too long, and what is awaited where that does."""
        if self._awaited is not None:
            if elapsed - self._promised_at >= self._service.limits.answer_s:
                self._awaited.cancel()
            return
        unsent = self._transport.get_write_buffer_size()
        if unsent and unsent != self._unsent:
            self._since = elapsed  # it takes what is sent, slowly maybe
            self._allowed_s = self._service.limits.write_s
        self._unsent = unsent
        if elapsed - self._since < self._allowed_s:
            return
        if unsent or self._closing:
            self._transport.abort()
        elif self._started:
            self._arrived = perf_counter()
            self._refuse(_TIMED_OUT)
        else:
            self._closing = True
            self._transport.close()

    def close_if_quiet(self, since: float) -> None:
        """Close the connection where nothing is under way and nothing happened since."""
        reading = not self._closing and (self._started or self._unfed)
        busy = reading or self._awaited is not None or self._transport.get_write_buffer_size()
        if not busy and self._since <= since:
            self._closing = True
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()


def _path(url: bytes) -> bytes:
    """Return the path of a request target, which may be in absolute form (RFC 9112 §3.2.2)."""
    if not url.startswith(b"/"):
        _, scheme, rest = url.partition(b"://")
        url = b"/" + rest.partition(b"/")[2] if scheme else url
    return url.partition(b"?")[0]
