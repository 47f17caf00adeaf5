"""CMP on the plain HTTP port: from a worker's socket to who answers and back; bounds, and what HTTP says."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from status_support import GOOD, Hierarchy

from pkiserver.errors import UnavailableError
from pkiserver.web.cmp_relay import MAX_ANSWER_BYTES, CMPRelay
from pkiserver.web.cmp_requests import LATE, CMPRequests
from pkiserver.web.http_bodies import BodyRoom
from pkiserver.web.http_limits import MAX_BODY_BYTES, HTTPLimits
from pkiserver.web.status_worker import CMPSettings, WorkerSettings
from pkiserver.web.workers import StatusWorkers, StatusWorkersSettings
from protocols.asn1 import der
from protocols.cmp.http import CMPAddress
from protocols.errors import MalformedError
from store.response_writer import ResponseTableWriter

PATIENT_S = 30.0
TYPE = "application/pkixcmp"
PATH = "/.well-known/cmp"
BOUND = 20_000


class Answerer:
    """Answers every message with itself twice over, when it may."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[tuple[bytes, str | None, str | None, str]] = asyncio.Queue()
        self.may = asyncio.Event()
        self.may.set()
        self.fault: Exception | None = None

    async def answer(self, message: bytes, *, operation: str | None, profile: str | None, peer: str) -> bytes:
        self.asked.put_nowait((message, operation, profile, peer))
        await self.may.wait()
        if self.fault is not None:
            raise self.fault
        return message * 2


@dataclass
class Reply:
    status: int
    fields: dict[str, str]
    body: bytes = field(repr=False)


class Client:
    """A connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, body: bytes, path: str = PATH, media_type: str = TYPE, version: str = "1.1") -> None:
        keep = "Connection: keep-alive\r\n" if version == "1.0" else ""
        head = f"POST {path} HTTP/{version}\r\nHost: h\r\nContent-Type: {media_type}\r\n{keep}"
        self.writer.write(head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    async def reply(self) -> Reply:
        async with asyncio.timeout(PATIENT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
            fields = dict(line.split(": ", 1) for line in head[1:-2])
            body = await self.reader.readexactly(int(fields["Content-Length"]))
            return Reply(int(head[0].split(" ")[1]), fields, body)

    async def ask(self, body: bytes, path: str = PATH, media_type: str = TYPE) -> Reply:
        self.send(body, path, media_type)
        return await self.reply()


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    return Hierarchy()


@pytest.fixture
def home(tmp_path: Path, hierarchy: Hierarchy) -> Path:
    table = ResponseTableWriter(tmp_path / "responses")
    hierarchy.fill(table)
    table.close()
    (tmp_path / "public").mkdir()
    return tmp_path


Start = Callable[..., Awaitable[StatusWorkers]]
Connect = Callable[[StatusWorkers], Awaitable[Client]]


@pytest.fixture
async def start(home: Path) -> AsyncIterator[Start]:
    started: list[StatusWorkers] = []

    async def starter(answerer: Answerer | None, **cmp: int) -> StatusWorkers:
        settings = StatusWorkersSettings(
            home / "responses",
            home / "public",
            (("127.0.0.1", 0),),
            limits=HTTPLimits(drain_quiet_s=0.05),
            cmp=CMPSettings(**{"max_body_bytes": BOUND, **cmp}),
        )
        workers = StatusWorkers(settings, cmp=answerer)
        started.append(workers)
        await workers.start()
        return workers

    yield starter
    for workers in started:
        await workers.close()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    clients: list[Client] = []

    async def connector(workers: StatusWorkers) -> Client:
        clients.append(Client(*await asyncio.open_connection(*workers.address)))
        return clients[-1]

    yield connector
    for client in clients:
        client.writer.transport.abort()


def message(size: int = 100, tag: int = 0) -> bytes:
    """Return what has the outer shape of a PKIMessage."""
    return der.sequence(der.sequence(der.integer(2)), der.explicit(tag, der.octet_string(bytes(size))))


# ---- What goes to and fro


@pytest.mark.parametrize("size", [1, MAX_BODY_BYTES - 60, MAX_BODY_BYTES + 1, BOUND - 40])
async def test_messages_come_to_who_answers_and_answers_to_the_client(
    start: Start, connect: Connect, size: int
) -> None:
    """Short ones, which are recognised as plain, and long ones, which come in pieces."""
    answerer = Answerer()
    client = await connect(await start(answerer))
    sent = message(size)
    for path, operation, profile in (
        (PATH, None, None),
        (f"{PATH}/", None, None),
        (f"{PATH}/certification", "certification", None),
        (f"{PATH}/p/device/keyupdate", "keyupdate", "device"),
    ):
        reply = await client.ask(sent, path)
        assert (reply.status, reply.body) == (200, sent * 2)
        assert (reply.fields["Content-Type"], reply.fields["Cache-Control"]) == (TYPE, "no-store")
        assert answerer.asked.get_nowait() == (sent, operation, profile, "127.0.0.1")


async def test_http_1_0_with_keep_alive(start: Start, connect: Connect) -> None:
    """RFC 6712 §3.2: what OpenSSL's client speaks."""
    client = await connect(await start(Answerer()))
    for _ in range(2):
        client.send(message(), version="1.0")
        reply = await client.reply()
        assert (reply.status, reply.fields["Connection"]) == (200, "keep-alive")


async def test_a_body_in_chunks(start: Start, connect: Connect) -> None:
    client = await connect(await start(Answerer()))
    sent = message(9_000)
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(sent[i : i + 700]), sent[i : i + 700]) for i in range(0, len(sent), 700)
    )
    client.writer.write(
        f"POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Type: {TYPE}\r\n".encode()
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + chunks
        + b"0\r\n\r\n"
    )
    assert (await client.reply()).body == sent * 2


async def test_announcements_are_acknowledged_with_an_empty_body(start: Start, connect: Connect) -> None:
    """RFC 9811 §3.5: ckuann, cann, rann and crlann; they are not asked about."""
    answerer = Answerer()
    client = await connect(await start(answerer))
    for tag in range(15, 19):
        reply = await client.ask(message(tag=tag))
        assert (reply.status, reply.body) == (202, b"")
        assert "Content-Type" not in reply.fields
    assert answerer.asked.empty()


# ---- What HTTP refuses


async def test_what_http_refuses(start: Start, connect: Connect) -> None:
    workers = await start(Answerer())
    client = await connect(workers)
    wrong_type = await client.ask(message(), media_type="application/pkix-cmp")
    assert (wrong_type.status, wrong_type.fields["Accept-Post"]) == (415, TYPE)
    assert (await client.ask(message(), media_type=f"{TYPE.upper()}; x=y")).status == 200
    assert (await client.ask(message(), f"{PATH}/nothing")).status == 404
    assert (await client.ask(message(), f"{PATH}s")).status == 404
    client.writer.write(f"GET {PATH} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    reply = await client.reply()
    assert (reply.status, reply.fields["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: %d\r\n\r\n" % (BOUND + 1),
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n%b\r\n" % bytes(4096) * 5,
    ],
    ids=["length", "chunks"],
)
async def test_a_body_over_the_bound(start: Start, connect: Connect, framing: bytes) -> None:
    client = await connect(await start(Answerer()))
    client.writer.write(f"POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Type: {TYPE}\r\n".encode() + framing)
    reply = await client.reply()
    assert (reply.status, reply.body) == (413, b"the body has over %d bytes\n" % BOUND)


async def test_large_bodies_are_for_cmp_alone(start: Start, connect: Connect) -> None:
    workers = await start(Answerer())
    for path in ("/ocsp", "/", "/.well-known/est"):
        reply = await (await connect(workers)).ask(bytes(MAX_BODY_BYTES + 1), path)
        assert reply.status == 413


@pytest.mark.parametrize(
    ("fault", "status", "body", "retry_after"),
    [
        (MalformedError("no PKIMessage"), 400, b"no PKIMessage\n", None),
        (UnavailableError("the disk is full"), 503, b"the disk is full\n", "5"),
        (LookupError("a secret"), 500, b"internal error\n", None),
    ],
)
async def test_what_is_not_answered_in_cmp(
    start: Start, connect: Connect, fault: Exception, status: int, body: bytes, retry_after: str | None
) -> None:
    """RFC 9811 §3.1; a fault of ours is told without detail."""
    answerer = Answerer()
    answerer.fault = fault
    client = await connect(await start(answerer))
    reply = await client.ask(message())
    assert (reply.status, reply.body, reply.fields.get("Retry-After")) == (status, body, retry_after)
    assert reply.fields["Content-Type"].startswith("text/plain")


async def test_without_an_issuing_side_there_is_no_cmp(start: Start, connect: Connect) -> None:
    client = await connect(await start(None))
    reply = await client.ask(message())
    assert reply.status == 404
    assert b"tells status only" in reply.body


# ---- Bounds


async def test_a_flood_of_cmp_leaves_ocsp_alone(start: Start, connect: Connect, hierarchy: Hierarchy) -> None:
    answerer = Answerer()
    answerer.may.clear()
    workers = await start(answerer, limit=2)
    waiting = [await connect(workers) for _ in range(2)]
    for client in waiting:
        client.send(message())
        await asyncio.wait_for(answerer.asked.get(), PATIENT_S)
    client = await connect(workers)
    refused = await client.ask(message())
    assert (refused.status, refused.fields["Retry-After"]) == (503, "5")
    client.send(hierarchy.request(GOOD), "/ocsp", "application/ocsp-request")
    assert (await client.reply()).status == 200
    answerer.may.set()
    for client in waiting:
        assert (await client.reply()).status == 200
    assert (await client.ask(message())).status == 200


async def test_draining_waits_for_the_answer(start: Start, connect: Connect) -> None:
    answerer = Answerer()
    answerer.may.clear()
    workers = await start(answerer)
    client = await connect(workers)
    client.send(message())
    await asyncio.wait_for(answerer.asked.get(), PATIENT_S)
    draining = asyncio.create_task(workers.drain(timedelta(seconds=20)))
    await asyncio.sleep(0.1)
    assert not draining.done()
    answerer.may.set()
    assert (await client.reply()).status == 200
    client.writer.close()
    await asyncio.wait_for(draining, PATIENT_S)


async def test_a_killed_worker_is_replaced_and_its_answer_goes_to_nobody(
    start: Start, connect: Connect
) -> None:
    answerer = Answerer()
    answerer.may.clear()
    workers = await start(answerer)
    [pid] = workers.pids
    client = await connect(workers)
    client.send(message())
    await asyncio.wait_for(answerer.asked.get(), PATIENT_S)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENT_S):
        while workers.pids in ([], [pid]):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
    answerer.may.set()
    assert (await (await connect(workers)).ask(message())).status == 200


async def test_an_answer_that_is_late_or_too_large() -> None:
    """The transaction goes on, and is counted until it ends."""
    answerer = Answerer()
    answerer.may.clear()
    relay = CMPRelay(answerer, limit=1, deadline_s=0.01)
    replies: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    asked = {"operation": None, "profile": None, "peer": "", "request": "MAA="}
    relay.take({"cmp": 1, **asked}, replies.put_nowait)
    assert (await replies.get())["status"] == 503
    relay.take({"cmp": 2, **asked}, replies.put_nowait)
    assert (await replies.get())["status"] == 503
    assert answerer.asked.qsize() == 1
    answerer.may.set()
    async with asyncio.timeout(PATIENT_S):
        while True:
            relay.take({"cmp": 3, **asked}, replies.put_nowait)
            if (await replies.get())["status"] == 200:
                break
            await asyncio.sleep(0)
    large = CMPRelay(Large(), limit=1)
    large.take({"cmp": 4, **asked}, replies.put_nowait)
    assert (await replies.get())["status"] == 500
    await relay.close()
    await large.close()


class Large:
    async def answer(
        self,
        message: bytes,  # noqa: ARG002 - the protocol's
        *,
        operation: str | None,  # noqa: ARG002
        profile: str | None,  # noqa: ARG002
        peer: str,  # noqa: ARG002
    ) -> bytes:
        return bytes(MAX_ANSWER_BYTES + 1)


async def test_a_worker_asks_no_more_than_it_may_and_not_for_ever() -> None:
    sent: list[dict[str, object]] = []
    requests = CMPRequests(lambda one: sent.append(one) is None, limit=1, deadline_s=0.01)
    asked = requests.ask(b"a", CMPAddress(None, "x"), "::1")
    assert requests.ask(b"b", CMPAddress(), "::1") is None
    assert asked is not None
    assert await asked == LATE
    assert sent == [{"cmp": 1, "operation": None, "profile": "x", "peer": "::1", "request": "YQ=="}]
    requests.close()
    assert requests.ask(b"c", CMPAddress(), "::1") is None


def test_room_is_bounded_and_given_back() -> None:
    room = BodyRoom(lambda path: BOUND if path == b"/big" else 0, total_bytes=10)
    assert (room.bound(b"/big"), room.bound(b"/")) == (BOUND, MAX_BODY_BYTES)
    assert room.take(6)
    assert not room.take(5)
    room.give_back(6)
    assert room.take(10)


def test_settings_come_back_from_json(home: Path) -> None:
    settings = WorkerSettings(
        home, home, (3,), timedelta(seconds=5), HTTPLimits(), True, cmp=CMPSettings(7, 9)
    )
    assert WorkerSettings.from_json(settings.to_json()) == settings
