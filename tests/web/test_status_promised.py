"""Answers that the handler promises: order, reading, time, draining, and clients that leave meanwhile."""

import asyncio
from datetime import datetime

import pytest
from test_status_http import GET, LAST, NOW, Client, echo, on_uvloop, serving, until

from pkiserver.web.http_limits import HTTPLimits
from pkiserver.web.http_messages import Answer, HTTPReply, HTTPRequest

MANY = 1000
TICK = HTTPLimits(request_s=0.05, idle_s=0.05, linger_s=0.05, drain_quiet_s=0.01)


class Promises:
    """A handler that echoes, but of paths below `/later` only when told."""

    def __init__(self) -> None:
        self.asked: dict[bytes, asyncio.Future[HTTPReply]] = {}
        self.seen: list[bytes] = []

    def __call__(self, request: HTTPRequest, now: datetime) -> Answer:
        self.seen.append(request.path)
        if not request.path.startswith(b"/later"):
            return echo(request, now)
        promise = asyncio.get_running_loop().create_future()
        self.asked[request.path] = promise
        return promise

    async def until_asked(self, path: bytes) -> None:
        await until(lambda: path in self.asked)

    def keep(self, path: bytes) -> None:
        self.asked[path].set_result(echo(HTTPRequest(b"KEPT", path, {}, b""), NOW))


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: h", *fields, "", "")).encode()


async def bodies(client: Client, number: int) -> list[bytes]:
    return [(await client.reply()).body for _ in range(number)]


# The first is recognised as plain, the others only by the parser.
SENT = {
    "plain": get("/later"),
    "parsed": get("/later", "TE: x"),
    "post": b"POST /later HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT.keys())
@on_uvloop
async def test_a_promise_is_kept_and_the_connection_stays(sent: bytes) -> None:
    promises = Promises()
    async with serving(handler=promises) as (server, client):
        for _ in range(3):
            client.send(sent)
            await promises.until_asked(b"/later")
            promises.keep(b"/later")
            promises.asked.clear()
            assert (await client.reply()).body == b"KEPT /later "
            assert (await client.ask(GET)).body == b"GET /a "
        assert server.outcomes() == {"echo": 6}


@pytest.mark.parametrize("together", [True, False])
@on_uvloop
async def test_answers_stay_in_order(together: bool) -> None:
    """However the requests arrive, and though those behind could be answered at once."""
    promises = Promises()
    async with serving(handler=promises) as (_, client):
        first, behind = get("/later/1"), get("/b") + get("/later/2") + get("/c")
        if together:
            client.send(first + behind)
        else:
            client.send(first)
            await promises.until_asked(b"/later/1")
            client.send(behind)
        await promises.until_asked(b"/later/1")
        await asyncio.sleep(0.02)
        assert promises.seen == [b"/later/1"]
        promises.keep(b"/later/1")
        assert await bodies(client, 2) == [b"KEPT /later/1 ", b"GET /b "]
        await promises.until_asked(b"/later/2")
        assert b"/c" not in promises.seen
        promises.keep(b"/later/2")
        assert await bodies(client, 2) == [b"KEPT /later/2 ", b"GET /c "]


@on_uvloop
async def test_nothing_more_is_read_while_one_is_awaited() -> None:
    """What a client pipelines behind it stays in the kernel, and is answered afterwards."""
    promises = Promises()
    async with serving(handler=promises) as (server, client):
        client.send(get("/later"))
        await promises.until_asked(b"/later")
        client.send(b"".join(get(f"/{number}" + "x" * 4000) for number in range(MANY)) + LAST)
        await asyncio.sleep(0.05)
        [connection] = server.service.connections
        assert len(connection._unfed) <= 1 << 18
        assert promises.seen == [b"/later"]
        promises.keep(b"/later")
        assert (await client.reply()).body == b"KEPT /later "
        for number in range(MANY):
            assert (await client.reply()).body.startswith(b"GET /%dx" % number)
        assert (await client.reply()).fields["Connection"] == "close"
        assert await client.end() == b""


@pytest.mark.parametrize("behind", [b"", GET, b"\x00\x01 no HTTP at all\r\n\r\n"])
@on_uvloop
async def test_the_last_request_of_a_connection_may_be_promised(behind: bytes) -> None:
    promises = Promises()
    async with serving(handler=promises) as (_, client):
        client.send(get("/later", "Connection: close") + behind)
        await promises.until_asked(b"/later")
        promises.keep(b"/later")
        reply = await client.reply()
        assert (reply.body, reply.fields["Connection"]) == (b"KEPT /later ", "close")
        assert await client.end() == b""
        assert promises.seen == [b"/later"]


@on_uvloop
async def test_what_cannot_be_read_is_refused_in_its_turn() -> None:
    promises = Promises()
    async with serving(handler=promises) as (_, client):
        client.send(get("/later") + GET + b"\x00\x01 no HTTP at all\r\n\r\n")
        await promises.until_asked(b"/later")
        promises.keep(b"/later")
        assert await bodies(client, 2) == [b"KEPT /later ", b"GET /a "]
        refusal = await client.reply()
        assert (refusal.status, refusal.fields["Connection"]) == (400, "close")
        assert await client.end() == b""


@on_uvloop
async def test_100_continue_comes_in_its_turn() -> None:
    promises = Promises()
    async with serving(handler=promises) as (_, client):
        head = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        client.send(get("/later") + head)
        await promises.until_asked(b"/later")
        promises.keep(b"/later")
        assert [(await client.reply()).status for _ in range(2)] == [200, 100]
        assert (await client.ask(b"abc")).body == b"POST /p abc"


@on_uvloop
async def test_head_and_http_1_0() -> None:
    promises = Promises()
    async with serving(handler=promises) as (_, client):
        client.send(b"HEAD /later HTTP/1.1\r\nHost: h\r\n\r\n")
        await promises.until_asked(b"/later")
        promises.keep(b"/later")
        assert (await client.reply(head_only=True)).fields["Content-Length"] == "12"
        promises.asked.clear()
        client.send(b"GET /later HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        await promises.until_asked(b"/later")
        promises.keep(b"/later")
        assert (await client.reply()).fields["Connection"] == "keep-alive"


@on_uvloop
async def test_a_promise_that_fails_is_answered_without_detail() -> None:
    promises = Promises()
    async with serving(handler=promises) as (server, client):
        client.send(get("/later") + GET)
        await promises.until_asked(b"/later")
        promises.asked[b"/later"].set_exception(LookupError("secret"))
        reply = await client.reply()
        assert reply.status == 500
        assert b"secret" not in reply.body
        assert [str(error) for error in server.errors] == ["secret"]
        assert (await client.reply()).body == b"GET /a "


@on_uvloop
async def test_a_promise_that_is_not_kept_is_given_up() -> None:
    promises = Promises()
    async with serving(HTTPLimits(answer_s=0.02), promises) as (server, client):
        client.send(get("/later") + GET)
        await promises.until_asked(b"/later")
        await asyncio.sleep(0.03)
        server.service.sweep()
        assert (await client.reply()).status == 503
        assert promises.asked[b"/later"].cancelled()
        assert (await client.reply()).body == b"GET /a "


@on_uvloop
async def test_the_client_s_time_does_not_run_meanwhile_and_runs_on_afterwards() -> None:
    promises = Promises()
    async with serving(TICK, promises) as (server, client):
        client.send(get("/later"))
        await promises.until_asked(b"/later")
        client.send(b"GET /half")
        await asyncio.sleep(0.1)
        server.service.sweep()
        assert server.service.connections
        promises.keep(b"/later")
        assert (await client.reply()).body == b"KEPT /later "
        await asyncio.sleep(0.1)
        server.service.sweep()
        assert (await client.reply()).status == 408
        assert await client.end() == b""


@on_uvloop
async def test_a_half_closed_connection_gets_what_was_promised() -> None:
    promises = Promises()
    async with serving(handler=promises) as (_, client):
        client.send(get("/later") + GET)
        client.writer.write_eof()
        await promises.until_asked(b"/later")
        await asyncio.sleep(0.02)
        promises.keep(b"/later")
        assert await bodies(client, 2) == [b"KEPT /later ", b"GET /a "]
        assert await client.end() == b""


@pytest.mark.parametrize("kept", [True, False])
@on_uvloop
async def test_the_client_may_leave_meanwhile(kept: bool) -> None:
    promises = Promises()
    async with serving(HTTPLimits(answer_s=0.02), promises) as (server, client):
        client.send(get("/later") + GET)
        await promises.until_asked(b"/later")
        client.writer.transport.abort()
        await asyncio.sleep(0.02)
        if kept:
            promises.keep(b"/later")
        await asyncio.sleep(0.03)
        server.service.sweep()
        await until(lambda: not server.service.connections)
        assert server.errors == []
        assert (await (await server.client()).ask(GET)).status == 200


@on_uvloop
async def test_draining_waits_for_what_was_promised_and_for_what_is_behind_it() -> None:
    promises = Promises()
    async with serving(TICK, promises) as (server, client):
        client.send(get("/later") + GET)
        await promises.until_asked(b"/later")
        draining = asyncio.create_task(server.service.drain(10))
        await asyncio.sleep(0.05)
        assert not draining.done()
        promises.keep(b"/later")
        assert (await client.reply()).body == b"KEPT /later "
        last = await client.reply()
        assert (last.body, last.fields["Connection"]) == (b"GET /a ", "close")
        assert await client.end() == b""
        client.writer.close()
        await draining


@on_uvloop
async def test_draining_does_not_wait_beyond_the_deadline() -> None:
    promises = Promises()
    async with serving(handler=promises) as (server, client):
        client.send(get("/later"))
        await promises.until_asked(b"/later")
        await server.service.drain(0.05)
        await until(lambda: not server.service.connections)
        promises.keep(b"/later")
        await asyncio.sleep(0)
        assert server.errors == []
