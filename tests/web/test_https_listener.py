"""The listener: slow and broken clients, bounds and drain; after each the next request works."""

import asyncio
import contextlib

import pytest
from aiohttp import web
from https_harness import Certificates, FakeService, est_server, listening, make_certificates, parse_reply
from raw_client import (
    BODY,
    WAIT_S,
    assert_serves,
    connected,
    request,
    tls_connected,
    until_no_connection,
)

from pkiserver.metrics import Metrics
from pkiserver.networks import client_network
from pkiserver.web.est import est_routes
from pkiserver.web.https import Listener, ListenError
from pkiserver.web.limits import Limits
from pkiserver.web.middleware import web_application

QUICK = Limits(handshake_s=0.3, header_s=0.3, body_s=0.3, write_s=0.3, linger_s=0.1, drain_s=2.0)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("first", [b"", b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\n"])
async def test_slow_headers_are_cut(certificates: Certificates, first: bytes) -> None:
    async with est_server(certificates, QUICK) as server, tls_connected(server) as client:
        await client.send(first)
        assert await client.rest() == b""
        await assert_serves(server)


async def test_trickled_headers_are_cut(certificates: Certificates) -> None:
    async with est_server(certificates, QUICK) as server, tls_connected(server) as client:
        closed = asyncio.create_task(client.rest())
        await client.send(b"GET / HTTP/1.1\r\nX: ")
        with contextlib.suppress(ConnectionError):
            while not closed.done():
                await client.send(b"a")
                await asyncio.sleep(0.02)
        assert await closed == b""
        await assert_serves(server)


async def test_slow_body_is_answered_408_and_cut(certificates: Certificates) -> None:
    async with est_server(certificates, QUICK) as server, tls_connected(server) as client:
        closed = asyncio.create_task(client.rest())
        await client.send(request(BODY[:10], length=len(BODY)))
        with contextlib.suppress(ConnectionError):
            while not closed.done():
                await client.send(b"A")
                await asyncio.sleep(0.05)
        assert parse_reply(await closed).status == 408
        assert server.service.calls == []
        await assert_serves(server)


async def test_slow_bodies_take_no_place_in_work(certificates: Certificates) -> None:
    limits = Limits(max_requests=1, drain_s=0.1)
    async with est_server(certificates, limits) as server, contextlib.AsyncExitStack() as clients:
        for _ in range(4):
            slow = await clients.enter_async_context(tls_connected(server))
            await slow.send(request(BODY[:10], length=len(BODY)))
        await assert_serves(server)


async def test_unread_responses_are_cut(certificates: Certificates) -> None:
    page = b"x" * 1_000_000

    async def big(_request: web.Request) -> web.Response:
        return web.Response(body=page)

    async with (
        listening([web.get("/", big)], certificates, limits=QUICK) as listener,
        connected(listener.address[1], certificates.client_context()) as client,
    ):
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # not public
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 30)
        await until_no_connection(listener)


@pytest.mark.parametrize("whole", [True, False])
async def test_client_that_leaves(certificates: Certificates, whole: bool) -> None:
    """A connection that breaks while its certificate is issued leaves it undelivered."""
    async with est_server(certificates) as server:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            entered.set()
            await leave.wait()

        server.service.before_answer = wait
        async with tls_connected(server) as client:
            await client.send(request(BODY if whole else BODY[:10], length=len(BODY)))
            if whole:
                await asyncio.wait_for(entered.wait(), WAIT_S)
        await until_no_connection(server.listener)
        leave.set()
        server.service.before_answer = None
        await assert_serves(server)
        assert len(server.service.taken) == 1  # the last one's only


async def test_half_closed_connection(certificates: Certificates) -> None:
    async with est_server(certificates) as server:
        async with connected(server.port, None) as client:  # half-closed before any handshake
            client.writer.write_eof()
            assert await client.rest() == b""
        for sent in (b"", request(BODY[:10], length=len(BODY)), b"GET / HT"):
            async with tls_connected(server) as client:
                await client.send(sent)
                client.writer.close()  # sends close_notify
                await until_no_connection(server.listener)
        await assert_serves(server)


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"A" * 500, b"\x80"],
)
async def test_garbage_in_place_of_tls(certificates: Certificates, garbage: bytes) -> None:
    async with est_server(certificates, QUICK) as server:
        async with connected(server.port, None) as client:
            await client.send(garbage)
            await client.rest()
        await assert_serves(server)
        assert b"pkiserver_tls_handshake_failures_total 1.0" in server.metrics.render()


async def test_handshake_that_does_not_come_is_cut(certificates: Certificates) -> None:
    async with est_server(certificates, QUICK) as server, connected(server.port, None) as client:
        assert await client.rest() == b""
        await assert_serves(server)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x00\x01\x02\r\n\r\n", 400),
        (b"GET /\xff\x1b[31m HTTP/9.9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nBad Header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
    ],
)
async def test_bad_http_is_refused_without_an_echo(
    certificates: Certificates, capsys: pytest.CaptureFixture[str], sent: bytes, status: int
) -> None:
    async with est_server(certificates, QUICK) as server:
        async with tls_connected(server) as client:
            await client.send(sent)
            reply = parse_reply(await client.rest())
        assert (reply.status, reply.headers["server"]) == (status, "pkiserver")
        assert len(reply.body) < 100
        await assert_serves(server)
    shown = "".join(capsys.readouterr())
    assert "Traceback" not in shown
    assert "\x1b[31m" not in shown


async def test_more_requests_than_allowed_are_told_to_come_again(certificates: Certificates) -> None:
    async with est_server(certificates, Limits(max_requests=1, drain_s=2.0)) as server:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            entered.set()
            await leave.wait()

        server.service.before_answer = wait
        async with tls_connected(server) as first, tls_connected(server) as second:
            await first.send(request())
            await asyncio.wait_for(entered.wait(), WAIT_S)
            await second.send(request())
            reply = parse_reply(await second.reply())
            assert (reply.status, int(reply.headers["retry-after"]) > 0) == (503, True)
            leave.set()
            assert parse_reply(await first.reply()).status == 200
            await second.send(request())  # the same connection serves on
            assert parse_reply(await second.reply()).status == 200


async def test_connections_over_the_bound_wait_for_a_place(certificates: Certificates) -> None:
    async with est_server(certificates, Limits(max_connections=1, drain_s=2.0)) as server:
        async with tls_connected(server):
            waiting = asyncio.create_task(assert_serves(server))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            assert server.listener.connections == 1
        await waiting


async def test_drain_finishes_what_was_begun(certificates: Certificates) -> None:
    async with est_server(certificates) as server:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            entered.set()
            await leave.wait()

        server.service.before_answer = wait
        port = server.port
        async with tls_connected(server) as idle, tls_connected(server) as busy:
            await busy.send(request())
            await asyncio.wait_for(entered.wait(), WAIT_S)
            draining = asyncio.create_task(server.listener.drain())
            await asyncio.sleep(0.1)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            assert not draining.done()
            leave.set()
            reply = parse_reply(await busy.rest())
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            assert await idle.rest() == b""
            await draining
        assert server.service.taken == [server.service.certificate]


async def test_drain_ends_at_its_deadline(certificates: Certificates) -> None:
    async with est_server(certificates, Limits(drain_s=0.1)) as server:
        entered = asyncio.Event()

        async def hang() -> None:
            entered.set()
            await asyncio.Event().wait()

        server.service.before_answer = hang
        async with tls_connected(server) as client:
            await client.send(request())
            await asyncio.wait_for(entered.wait(), WAIT_S)
            await asyncio.wait_for(server.listener.drain(), WAIT_S)
            assert await client.rest() == b""


async def test_taken_address_is_a_clear_error(certificates: Certificates) -> None:
    async with est_server(certificates) as server:
        limits = Limits()
        second = Listener(
            "second",
            web_application([], limits),
            host="127.0.0.1",
            port=server.port,
            metrics=Metrics(),
            limits=limits,
        )
        with pytest.raises(ListenError, match=r"cannot listen on 127\.0\.0\.1 port \d+: Address already"):
            await second.start()


async def test_plain_listener_refuses_enrolment() -> None:

    service = FakeService(b"\x30\x00")
    async with (
        listening(est_routes(service), None) as listener,
        connected(listener.address[1], None) as client,
    ):
        await client.send(request())
        reply = parse_reply(await client.reply())
    assert (reply.status, reply.body) == (403, b"enrolment is served over TLS only\n")
    assert service.calls == []


async def test_one_address_takes_not_every_place(certificates: Certificates) -> None:
    limits = Limits(max_connections_per_address=2, drain_s=2.0)
    async with est_server(certificates, limits) as server:
        async with connected(server.port, None), connected(server.port, None):
            async with connected(server.port, None) as third:
                assert await third.rest() == b""
            assert server.listener.connections == 2
            assert b'pkiserver_connections_refused_total{listener="test"} 1.0' in server.metrics.render()
        await until_no_connection(server.listener)
        await assert_serves(server)
        await until_no_connection(server.listener)
        assert not server.listener._held


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_by_what_a_client_is_counted(address: str, network: str) -> None:
    assert client_network(address) == network
