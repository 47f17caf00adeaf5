"""HTTP/1 as raw sockets see it: framing, order, limits, slow and vanishing clients."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial, wraps
from http import HTTPStatus
from typing import ParamSpec

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from status_support import SetClock

from pkiserver.web.http1 import HTTPConnection
from pkiserver.web.http_limits import (
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    MAX_URL_BYTES,
    MIN_IDLE_S,
    HTTPLimits,
)
from pkiserver.web.http_messages import HTTPReply, HTTPRequest, plain_reply
from pkiserver.web.http_service import Handler, HTTPService

P = ParamSpec("P")
NOW = datetime(2026, 3, 1, 12, 30, 59, tzinfo=UTC)
PATIENT_S = 10.0  # what a test waits for an answer that must come
LARGE = bytes(1 << 20)
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def on_uvloop(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """Run a test on the event loop that the workers use."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        uvloop.run(test(*args, **kwargs))

    return run


def echo(request: HTTPRequest, now: datetime) -> HTTPReply:
    """Answer with what was understood of the request."""
    if request.path == b"/fault":
        raise LookupError("fault\r\n")
    if request.path == b"/large":
        return HTTPReply(b"200 OK", b"Content-Length: %d\r\n" % len(LARGE), LARGE, "large")
    body = b"%b %b %b" % (request.method, request.path, request.body)
    return HTTPReply(b"200 OK", b"Content-Length: %d\r\n" % len(body), body, "echo")


@dataclass(frozen=True)
class Reply:
    status: int
    fields: dict[str, str]
    body: bytes


class Client:
    """A client that writes exactly what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self, *, head_only: bool = False) -> Reply:
        async with asyncio.timeout(PATIENT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
            version, status, _ = head[0].split(" ", 2)
            assert version == "HTTP/1.1"
            fields = dict(line.split(": ", 1) for line in head[1:-2])
            length = 0 if head_only or status == "100" else int(fields["Content-Length"])
            return Reply(int(status), fields, await self.reader.readexactly(length))

    async def ask(self, data: bytes) -> Reply:
        self.send(data)
        return await self.reply()

    async def end(self) -> bytes:
        """Return what is left, and that it ends."""
        async with asyncio.timeout(PATIENT_S):
            return await self.reader.read()


class Server:
    def __init__(self, limits: HTTPLimits, handler: Handler = echo) -> None:
        self.errors: list[Exception] = []
        self.service = HTTPService(
            handler,
            clock=SetClock(NOW),
            limits=limits,
            loop=asyncio.get_running_loop(),
            on_tick=lambda: None,
            on_error=self.errors.append,
        )
        self._clients: list[Client] = []

    async def __aenter__(self) -> "Server":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(partial(HTTPConnection, self.service), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            client.writer.transport.abort()
        self._server.close()
        for connection in list(self.service.connections):
            connection.abort()
        await until(lambda: not self.service.connections)

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24))
        self._clients.append(client)
        return client

    def outcomes(self) -> dict[str, int]:
        return dict(self.service.counters.requests)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(
    limits: HTTPLimits | None = None, handler: Handler = echo
) -> AsyncIterator[tuple[Server, Client]]:
    async with Server(limits or HTTPLimits(), handler) as server:
        yield server, await server.client()


# ---- Framing and order


@on_uvloop
async def test_a_reply_has_date_and_length_and_the_connection_stays() -> None:
    async with serving() as (server, client):
        for _ in range(3):
            reply = await client.ask(GET)
            assert (reply.status, reply.body) == (200, b"GET /a ")
            assert reply.fields == {"Date": "Sun, 01 Mar 2026 12:30:59 GMT", "Content-Length": "7"}
        assert server.outcomes() == {"echo": 3}
        assert server.service.counters.connections == 1


@on_uvloop
async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as (_, client):
        requests = [b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(500)]
        client.send(b"".join(requests) + LAST)
        for number in range(500):
            assert (await client.reply()).body == b"GET /%d " % number
        assert (await client.reply()).fields["Connection"] == "close"
        assert await client.end() == b""


MESSAGES = {
    "get": (GET, b"GET /a "),
    "post": (b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", b"POST /p abc"),
    "chunked": (
        (
            b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\na\r\n2;x=y\r\nbc\r\n0\r\nExpect: nothing\r\nTrailer: t\r\n\r\n"
        ),
        b"POST /c abc",
    ),
    "query": (b"GET /q/x?y=/z HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /q/x "),
    "absolute form": (b"GET http://h:80/abs//x HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /abs//x "),
    "absolute form without path": (b"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", b"GET / "),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", b"OPTIONS * "),
    "blank lines before": (b"\r\n\r\n" + GET, b"GET /a "),
    "http/1.0 kept alive": (b"GET /o HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"GET /o "),
    "upgrade offered": (
        (
            b"GET /u HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAEAAEAAAAIAAAAB\r\n\r\n"
        ),
        b"GET /u ",
    ),
    "upgrade offered with a body": (
        (
            b"POST /u HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 3\r\nHost: h\r\n"
            b"HTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\n\r\nabc"
        ),
        b"POST /u abc",
    ),
    "upgrade offered with chunks": (
        (
            b"POST /u HTTP/1.1\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked\r\nHost: h\r\n"
            b"Upgrade: h2c\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        ),
        b"POST /u abc",
    ),
}


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("step", [1, 7, 100_000])
@on_uvloop
async def test_a_request_is_understood_however_it_is_cut(message: str, step: int) -> None:
    sent, want = MESSAGES[message]
    async with serving() as (_, client):
        data = sent + sent + LAST
        for start in range(0, len(data), step):
            client.send(data[start : start + step])
            await asyncio.sleep(0)
        for _ in range(2):
            reply = await client.reply()
            assert (reply.status, reply.body) == (200, want)
        assert (await client.reply()).body == b"GET /last "
        assert await client.end() == b""


@pytest.mark.parametrize(
    ("head", "connection", "kept"),
    [
        (b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", None, True),
        (b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "close", False),
        (b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n", "close", False),
        (b"GET /a HTTP/1.0\r\n\r\n", "close", False),
        (b"GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "keep-alive", True),
        (b"GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: upgrade, close\r\n\r\n", "close", False),
    ],
)
@on_uvloop
async def test_the_connection_is_kept_as_the_client_asks(
    head: bytes, connection: str | None, kept: bool
) -> None:
    async with serving() as (_, client):
        reply = await client.ask(head)
        assert reply.fields.get("Connection") == connection
        if kept:
            assert (await client.ask(GET)).status == 200
        else:
            assert await client.end() == b""


@on_uvloop
async def test_nothing_behind_a_closing_request_is_answered() -> None:
    async with serving() as (server, client):
        client.send(LAST + GET)
        await client.reply()
        assert await client.end() == b""
        assert server.outcomes() == {"echo": 1}


@on_uvloop
async def test_head_is_answered_without_the_body() -> None:
    async with serving() as (_, client):
        client.send(GET.replace(b"GET", b"HEAD") + GET)
        assert (await client.reply(head_only=True)).fields["Content-Length"] == "8"
        assert (await client.reply()).body == b"GET /a "


# ---- Expect


@on_uvloop
async def test_a_client_that_expects_100_gets_it_before_it_sends_the_body() -> None:
    async with serving() as (_, client):
        head = b"POST /p HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n"
        for _ in range(2):
            assert (await client.ask(head)).status == 100
            assert (await client.ask(b"abc")).body == b"POST /p abc"


@on_uvloop
async def test_100_is_not_sent_for_a_body_that_is_too_large() -> None:
    async with serving() as (_, client):
        head = b"POST /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        assert (await client.ask(head % (MAX_BODY_BYTES + 1))).status == 413


@on_uvloop
async def test_http_1_0_knows_no_100() -> None:
    async with serving() as (_, client):
        head = b"POST /p HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"
        assert (await client.ask(head)).body == b"POST /p abc"


# ---- Refusals


def field_lines(size: int) -> bytes:
    """Return field lines of so many octets in all, Host among them."""
    host = b"Host: h\r\n"
    return host + b"A: " + b"b" * (size - len(host) - 5) + b"\r\n"


REFUSED = {
    "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "unknown method": (b"FETCH / HTTP/1.1\r\n\r\n", 400),
    "line feeds alone": (b"GET / HTTP/1.1\nHost: h\n\n", 400),
    "control in a field": (b"GET / HTTP/1.1\r\nHost: h\r\nX: \x00\r\n\r\n", 400),
    "octets in the URL": (b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "length no number": (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400),
    "endless length": (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    "bad chunk": (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    "coding unknown": (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
    "folded field": (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400),
    "blank lines for ever": (b"\r\n" * 20_000, 400),
    "tunnel": (b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 405),
    "http/0.9": (b"GET /\r\n\r\n", 505),
    "http/2.0": (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    "url too long": (b"GET /" + b"a" * MAX_URL_BYTES + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
    "url for ever": (b"GET /" + b"a" * 100_000, 414),
    "header too large": (b"GET / HTTP/1.1\r\n" + field_lines(MAX_HEADER_BYTES + 1) + b"\r\n", 431),
    "field for ever": (b"GET / HTTP/1.1\r\nA: " + b"b" * 100_000, 431),
    "fields for ever": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, 431),
    "body too large": (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1),
        413,
    ),
    "chunks too large": (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"800\r\n%b\r\n" % bytes(2048) * 3,
        413,
    ),
    "chunk extension for ever": (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 100_000,
        413,
    ),
    "trailers for ever": (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 20_000,
        413,
    ),
    "expectation unknown": (b"GET / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n", 417),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("step", [100_000, 1000])
@on_uvloop
async def test_what_cannot_be_read_is_refused_and_the_next_connection_works(case: str, step: int) -> None:
    sent, want = REFUSED[case]
    async with serving() as (server, client):
        assert (await client.ask(GET)).status == 200
        for start in range(0, len(sent), step):
            client.send(sent[start : start + step])
            await asyncio.sleep(0)
        reply = await client.reply()
        assert reply.status == want
        assert reply.fields["Connection"] == "close"
        assert reply.body.endswith(b"\n")
        assert await client.end() == b""
        assert (await (await server.client()).ask(GET)).status == 200
        assert server.errors == []
        assert server.outcomes() == {"echo": 2, f"http_{want}": 1}


FITS = {
    "url": b"GET /" + b"a" * (MAX_URL_BYTES - 1) + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "header": b"GET / HTTP/1.1\r\n" + field_lines(MAX_HEADER_BYTES) + b"\r\n",
    "body": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % MAX_BODY_BYTES
    + bytes(MAX_BODY_BYTES),
    "chunks": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\na\r\n" * MAX_BODY_BYTES
    + b"0\r\n\r\n",
}


@pytest.mark.parametrize("case", FITS)
@pytest.mark.parametrize("step", [100_000, 999])
@on_uvloop
async def test_what_just_fits_is_taken(case: str, step: int) -> None:
    async with serving() as (_, client):
        data = FITS[case] * 3
        for start in range(0, len(data), step):
            client.send(data[start : start + step])
            await asyncio.sleep(0)
        for _ in range(3):
            assert (await client.reply()).status == 200


@on_uvloop
async def test_a_refusal_reaches_a_client_that_goes_on_sending() -> None:
    async with serving() as (_, client):
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n")
        for _ in range(20):
            client.send(bytes(10_000))
            await asyncio.sleep(0)
        assert (await client.reply()).status == 413


@on_uvloop
async def test_a_fault_is_answered_without_detail_and_reported() -> None:
    async with serving() as (server, client):
        reply = await client.ask(b"GET /fault HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (reply.status, reply.body) == (500, b"the request could not be answered\n")
        assert [str(error) for error in server.errors] == ["fault\r\n"]
        assert (await client.ask(GET)).status == 200


@settings(max_examples=60, deadline=None)
@given(
    chunks=st.lists(
        st.one_of(st.binary(max_size=60), st.sampled_from([GET, LAST, b"\r\n", b"GET "])), max_size=8
    )
)
@on_uvloop
async def test_no_input_breaks_the_server(chunks: list[bytes]) -> None:
    async with serving() as (server, client):
        with suppress(ConnectionError):
            for chunk in chunks:
                client.send(chunk)
                await asyncio.sleep(0)
            client.writer.write_eof()
            await client.end()
        assert (await (await server.client()).ask(GET)).status == 200
        assert server.errors == []


# ---- Clients that vanish, wait or do not read


@on_uvloop
async def test_a_half_closed_connection_gets_all_its_answers() -> None:
    async with serving() as (_, client):
        client.send(GET + GET)
        client.writer.write_eof()
        assert (await client.end()).count(b"HTTP/1.1 200 OK") == 2


@on_uvloop
async def test_a_half_closed_connection_gets_answers_larger_than_every_buffer() -> None:
    async with serving() as (_, client):
        large = b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n"
        client.send(large * 200)  # more than one slice: answered while the client reads
        client.writer.write_eof()
        total = 0
        async with asyncio.timeout(60):
            while piece := await client.reader.read(1 << 22):
                total += len(piece)
        assert total > 200 * len(LARGE)


@on_uvloop
async def test_a_request_cut_off_is_told_so() -> None:
    async with serving() as (_, client):
        client.send(GET[:-4])
        client.writer.write_eof()
        assert (await client.end()).startswith(b"HTTP/1.1 400 ")


@on_uvloop
async def test_a_client_that_does_not_read_is_not_served_further() -> None:
    async with serving() as (server, client):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined] # a read transport in fact
        client.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n" * 50)
        await until(lambda: server.outcomes().get("large", 0) > 0)
        (connection,) = server.service.connections
        await until(lambda: connection._paused)
        # One slice of requests is answered at most; their bodies are one object, not copies.
        client.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n" * 1000)
        await asyncio.sleep(0.05)
        assert server.outcomes()["large"] <= 4096 // 30
        client.writer.transport.resume_reading()  # type: ignore[attr-defined] # as above
        async with asyncio.timeout(60):
            for _ in range(200):
                await client.reply()


@on_uvloop
async def test_the_client_may_reset_at_any_time() -> None:
    async with serving() as (server, _):
        for cut in (0, 5, len(GET)):
            client = await server.client()
            client.send(GET[:cut])
            await asyncio.sleep(0)
            client.writer.transport.abort()
        await until(lambda: len(server.service.connections) == 1)
        assert server.errors == []


QUICK = HTTPLimits(request_s=0.0, idle_s=0.0, write_s=0.0, linger_s=0.0)


@on_uvloop
async def test_a_slow_request_is_timed_out_with_408() -> None:
    async with serving(replace(HTTPLimits(), request_s=0.0)) as (server, client):
        client.send(GET[:-2])
        await until(lambda: any(connection._reader.started for connection in server.service.connections))
        server.service.sweep()
        assert (await client.end()).startswith(b"HTTP/1.1 408 ")


@on_uvloop
async def test_an_idle_connection_is_closed_silently() -> None:
    async with serving(replace(HTTPLimits(), idle_s=0.0)) as (server, client):
        server.service.sweep()
        assert (await client.ask(GET)).status == 200  # new: it has time for its first request
        server.service.sweep()
        assert await client.end() == b""


@on_uvloop
async def test_a_connection_that_never_asks_is_closed() -> None:
    async with serving(QUICK) as (server, client):
        await until(lambda: len(server.service.connections) == 1)
        server.service.sweep()
        assert await client.end() == b""


@on_uvloop
async def test_time_left_is_left_alone() -> None:
    async with serving() as (server, client):
        client.send(GET[:-2])
        await until(lambda: any(connection._reader.started for connection in server.service.connections))
        server.service.sweep()
        assert (await client.ask(GET[-2:])).status == 200


@on_uvloop
async def test_a_client_that_takes_nothing_is_dropped() -> None:
    async with serving(QUICK) as (server, client):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined] # a read transport in fact
        client.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n" * 3)
        await until(lambda: server.outcomes().get("large", 0) == 3)
        connections = server.service.connections

        def gone() -> bool:
            server.service.sweep()
            return not connections

        await until(gone)


@on_uvloop
async def test_connections_over_the_limit_are_told_so() -> None:
    async with serving(replace(HTTPLimits(), connections=2)) as (server, first):
        second = await server.client()
        assert (await first.ask(GET)).status == 200
        assert (await second.ask(GET)).status == 200
        third = await server.client()
        reply = await third.reply()
        assert (reply.status, reply.fields["Retry-After"]) == (503, "5")
        assert await third.end() == b""
        third.writer.close()
        assert (await first.ask(GET)).status == 200
        second.writer.close()
        await until(lambda: len(server.service.connections) == 1)
        assert (await (await server.client()).ask(GET)).status == 200


@on_uvloop
async def test_idle_connections_make_room_for_others() -> None:
    """Who holds all connections, and asks nothing, must not keep the others out."""
    async with serving(replace(HTTPLimits(), connections=2)) as (server, hoarder):
        assert (await hoarder.ask(GET)).status == 200
        (idle,) = server.service.connections
        assert isinstance(idle, HTTPConnection)
        active = await server.client()
        assert (await active.ask(GET)).status == 200
        idle._since -= 2 * MIN_IDLE_S
        newcomer = await server.client()
        assert (await newcomer.ask(GET)).status == 200
        assert await hoarder.end() == b""
        assert (await active.ask(GET)).status == 200
        assert server.service.counters.connections <= 2


# ---- Draining


@on_uvloop
async def test_draining_answers_what_is_under_way_and_closes_what_is_quiet() -> None:
    async with serving(replace(HTTPLimits(), drain_quiet_s=0.05)) as (server, busy):
        quiet = await server.client()
        assert (await quiet.ask(GET)).status == 200
        busy.send(GET[:-2])
        await until(lambda: any(connection._reader.started for connection in server.service.connections))
        draining = asyncio.create_task(server.service.drain(PATIENT_S))
        assert await quiet.end() == b""
        reply = await busy.ask(GET[-2:])
        assert (reply.status, reply.fields["Connection"]) == (200, "close")
        assert await busy.end() == b""
        async with asyncio.timeout(PATIENT_S):
            await draining


@on_uvloop
async def test_draining_drops_what_is_left_at_the_deadline() -> None:
    async with serving() as (server, client):
        client.send(GET[:-2])
        await until(lambda: any(connection._reader.started for connection in server.service.connections))
        await server.service.drain(0.0)
        assert await client.end() == b""


def test_a_plain_reply_is_one_line_and_not_cached() -> None:
    reply = plain_reply(HTTPStatus.NOT_FOUND, "no")
    assert reply == HTTPReply(
        b"404 Not Found",
        b"Content-Type: text/plain; charset=us-ascii\r\nContent-Length: 3\r\nCache-Control: no-store\r\n",
        b"no\n",
        "http_404",
    )
