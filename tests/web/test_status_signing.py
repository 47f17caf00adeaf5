"""Answers signed on request, from the worker's socket to who signs and back: bounds, deadlines, draining."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from status_support import AUTHORITY, GOOD, NEVER_ISSUED, REVOKED, Hierarchy

from pkiserver.status.slow_path import Unprepared, keyless_answer, signing_answer
from pkiserver.web.http_limits import HTTPLimits
from pkiserver.web.signing_requests import TRY_LATER, SigningRequests
from pkiserver.web.signing_service import INTERNAL_ERROR, Fresh, SigningService
from pkiserver.web.status_worker import SigningSettings, WorkerSettings
from pkiserver.web.workers import StatusWorkers, StatusWorkersSettings
from protocols.asn1.der import whole
from protocols.asn1.ocsp import OCSPResponse, OCSPResponseStatus
from protocols.ocsp.request import MAX_REQUEST_BYTES
from store.response_writer import ResponseTableWriter

PATIENT_S = 30.0


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    return Hierarchy()


# ---- What goes to the signer


def test_which_requests_need_a_signer(hierarchy: Hierarchy) -> None:
    plain, nonce = hierarchy.request(GOOD), hierarchy.request(GOOD, nonce=bytes(16))
    several = hierarchy.request(GOOD, REVOKED)
    for request, without, with_nonce in (
        (plain, False, False),
        (nonce, False, True),
        (several, True, True),
        (hierarchy.request(GOOD, nonce=b""), False, False),
        (b"garbage", False, False),
    ):
        for echo_nonce, wanted in ((False, without), (True, with_nonce)):
            found = signing_answer(request, echo_nonce=echo_nonce)
            assert isinstance(found, Unprepared) == wanted
            assert (found.keyless if isinstance(found, Unprepared) else found) == keyless_answer(request)


# ---- The worker's side


class Parent:
    """What a worker would send to, and how it would be answered."""

    def __init__(self, *, reads: bool = True) -> None:
        self.messages: list[dict[str, Any]] = []
        self.reads = reads

    def send(self, message: dict[str, Any]) -> bool:
        if self.reads:
            self.messages.append(message)
        return self.reads


async def test_answers_find_their_requests() -> None:
    parent = Parent()
    requests = SigningRequests(parent.send, limit=3)
    asked = [requests.ask(octets) for octets in (b"\x00\xff", b"b", b"c")]
    assert requests.ask(b"one too many") is None
    assert [message["request"] for message in parent.messages] == ["AP8=", "Yg==", "Yw=="]
    numbers = [message["sign"] for message in parent.messages]
    requests.take({"sign": numbers[2], "response": "AP8="})
    requests.take({"sign": numbers[0], "response": None})
    first, second, third = (one for one in asked if one is not None)
    assert await third == b"\x00\xff"
    assert await first is None
    assert not second.done()
    requests.take({"sign": numbers[0], "response": "AP8="})  # twice, or of nobody
    requests.take({"sign": 999, "response": "AP8="})
    assert requests.ask(b"there is room again") is not None
    requests.close()
    assert await second == TRY_LATER
    assert requests.ask(b"closed") is None


async def test_the_deadline_is_try_later() -> None:
    parent = Parent()
    requests = SigningRequests(parent.send, limit=1, deadline_s=0.01)
    asked = requests.ask(b"a")
    assert asked is not None
    assert await asked == TRY_LATER
    requests.take({"sign": parent.messages[0]["sign"], "response": "AP8="})
    assert requests.ask(b"b") is not None


async def test_an_answer_nobody_waits_for_is_dropped() -> None:
    parent = Parent()
    requests = SigningRequests(parent.send, limit=1)
    asked = requests.ask(b"a")
    assert asked is not None
    asked.cancel()
    requests.take({"sign": parent.messages[0]["sign"], "response": "AP8="})
    assert requests.ask(b"b") is not None


async def test_a_parent_that_does_not_read_is_not_asked() -> None:
    requests = SigningRequests(Parent(reads=False).send, limit=1)
    assert requests.ask(b"a") is None
    assert requests.ask(b"a") is None


# ---- The parent's side


async def served(service: SigningService, *octets: str) -> list[Any]:
    """Return the responses to some requests, in the order in which they came."""
    answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    for number, request in enumerate(octets):
        service.take({"sign": number, "request": request}, answers.put_nowait)
    async with asyncio.timeout(PATIENT_S):
        return [(await answers.get())["response"] for _ in octets]


def base64_of(status: OCSPResponseStatus) -> str:
    return {OCSPResponseStatus.TRY_LATER: "MAMKAQM=", OCSPResponseStatus.INTERNAL_ERROR: "MAMKAQI="}[status]


async def test_requests_are_served() -> None:
    async def double(request: bytes) -> bytes | None:
        return request * 2 if request else None

    assert await served(SigningService(double, limit=9), "AP8=", "") == ["AP8A/w==", None]


async def test_a_fault_is_an_internal_error_without_detail() -> None:
    async def fail(_: bytes) -> bytes:
        raise LookupError("secret")

    assert whole(INTERNAL_ERROR, OCSPResponse.parse).response_status is OCSPResponseStatus.INTERNAL_ERROR
    assert await served(SigningService(fail, limit=1), "AA==") == [
        base64_of(OCSPResponseStatus.INTERNAL_ERROR)
    ]


async def test_the_service_is_bounded_in_number_and_time() -> None:
    never = asyncio.Event()

    async def wait(_: bytes) -> bytes:
        await never.wait()
        return b""

    service = SigningService(wait, limit=2, deadline_s=0.05)
    later = base64_of(OCSPResponseStatus.TRY_LATER)
    answers: list[dict[str, Any]] = []
    for number in range(3):
        service.take({"sign": number, "request": ""}, answers.append)
    assert answers == [{"sign": 2, "response": later}]  # at once
    async with asyncio.timeout(PATIENT_S):
        while len(answers) < 3:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
    assert {answer["response"] for answer in answers} == {later}
    closed = SigningService(wait, limit=2)
    closed.take({"sign": 4, "request": ""}, answers.append)
    await asyncio.sleep(0)
    await closed.close()
    assert len(answers) == 3


# ---- Both, with the processes between


@pytest.fixture
def home(tmp_path: Path, hierarchy: Hierarchy) -> Path:
    table = ResponseTableWriter(tmp_path / "responses")
    hierarchy.fill(table)
    table.close()
    (tmp_path / "public").mkdir()
    return tmp_path


Starter = Callable[..., Awaitable[StatusWorkers]]


@pytest.fixture
async def start(home: Path) -> AsyncIterator[Starter]:
    started: list[StatusWorkers] = []

    async def starter(fresh: Fresh | None, **signing: Any) -> StatusWorkers:
        settings = StatusWorkersSettings(
            home / "responses",
            home / "public",
            (("127.0.0.1", 0),),
            limits=HTTPLimits(drain_quiet_s=0.05),
            signing=SigningSettings(**signing),
        )
        workers = StatusWorkers(settings, fresh)
        started.append(workers)
        await workers.start()
        return workers

    yield starter
    for workers in started:
        await workers.close()


class Client:
    """A connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *requests: bytes) -> None:
        for request in requests:
            head = b"POST /ocsp HTTP/1.1\r\nHost: h\r\nContent-Type: application/ocsp-request\r\n"
            self.writer.write(head + b"Content-Length: %d\r\n\r\n%b" % (len(request), request))

    async def body(self) -> bytes:
        async with asyncio.timeout(PATIENT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii")
            assert head.startswith("HTTP/1.1 200 OK\r\n")
            lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
            return await self.reader.readexactly(int(lines["Content-Length"]))

    async def status(self) -> OCSPResponseStatus:
        return whole(await self.body(), OCSPResponse.parse).response_status


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[StatusWorkers], Awaitable[Client]]]:
    clients: list[Client] = []

    async def connector(workers: StatusWorkers) -> Client:
        clients.append(Client(*await asyncio.open_connection(*workers.address)))
        return clients[-1]

    yield connector
    for client in clients:
        client.writer.transport.abort()


Connect = Callable[[StatusWorkers], Awaitable[Client]]


class Signer:
    """Gives the same response to every request, when it may."""

    def __init__(self, response: bytes | None) -> None:
        self.response = response
        self.may = asyncio.Event()
        self.may.set()
        self.asked: asyncio.Queue[bytes] = asyncio.Queue()

    async def respond(self, request: bytes) -> bytes | None:
        self.asked.put_nowait(request)
        await self.may.wait()
        return self.response


async def test_requests_come_to_the_signer_and_its_answers_to_the_client(
    start: Starter, connect: Connect, hierarchy: Hierarchy
) -> None:
    """Each kind that has to be signed, and no other."""
    signer = Signer(None)
    workers = await start(signer.respond, echo_nonce=True, unknown=(AUTHORITY,))
    client = await connect(workers)
    plain = hierarchy.request(GOOD)
    client.send(plain)
    signer.response = prebuilt = await client.body()
    large = hierarchy.request(*[GOOD] * 16, nonce=None)
    assert len(large) > MAX_REQUEST_BYTES // 4
    unusual = [hierarchy.request(GOOD, nonce=bytes(128)), hierarchy.request(NEVER_ISSUED), large]
    client.send(*(request for one in unusual for request in (one, plain)))
    for request in unusual:
        assert await client.body() == prebuilt
        assert await client.body() == prebuilt
        assert signer.asked.get_nowait() == request
    assert signer.asked.empty()
    other_issuer = Hierarchy()
    client.send(other_issuer.request(GOOD, nonce=bytes(16)), other_issuer.request(GOOD, REVOKED))
    for _ in range(2):
        assert await client.status() is OCSPResponseStatus.UNAUTHORIZED
    assert signer.asked.empty()


async def test_a_key_that_came_later_is_asked_about_what_it_did_not_issue(
    start: Starter, connect: Connect, hierarchy: Hierarchy
) -> None:
    """Workers hear of it while they run, and so does one that takes the place of another."""
    signer = Signer(None)
    workers = await start(signer.respond, echo_nonce=True)
    client = await connect(workers)
    client.send(hierarchy.request(GOOD))
    signer.response = await client.body()
    client.send(hierarchy.request(NEVER_ISSUED))
    assert await client.status() is OCSPResponseStatus.UNAUTHORIZED
    workers.sign_unknown((AUTHORITY,))
    await asks(client, hierarchy)
    old = workers.pids
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        while workers.pids == old or not workers.pids:  # noqa: ASYNC110 - a state of other processes
            await asyncio.sleep(0.05)
    await asks(await connect(workers), hierarchy)


async def asks(client: "Client", hierarchy: Hierarchy) -> None:
    """Return when a request for what was not issued is answered by the signer."""
    async with asyncio.timeout(30):
        while True:
            client.send(hierarchy.request(NEVER_ISSUED))
            if await client.status() is OCSPResponseStatus.SUCCESSFUL:
                return


@pytest.mark.parametrize("signs", [True, False])
async def test_the_keyless_answers(
    start: Starter, connect: Connect, hierarchy: Hierarchy, signs: bool
) -> None:
    """Where nobody signs, and where who signs has no key."""
    workers = await start(Signer(None).respond if signs else None, echo_nonce=True, unknown=(AUTHORITY,))
    client = await connect(workers)
    client.send(hierarchy.request(GOOD))
    prebuilt = await client.body()
    client.send(hierarchy.request(GOOD, nonce=bytes(16)))
    assert await client.body() == prebuilt
    for request in (hierarchy.request(GOOD, REVOKED), hierarchy.request(NEVER_ISSUED)):
        client.send(request)
        assert await client.status() is OCSPResponseStatus.UNAUTHORIZED


async def test_other_requests_do_not_wait_and_one_too_many_is_told_so(
    start: Starter, connect: Connect, hierarchy: Hierarchy
) -> None:
    signer = Signer(None)
    signer.may.clear()
    workers = await start(signer.respond, echo_nonce=True, limit=2)
    request = hierarchy.request(GOOD, nonce=bytes(16))
    waiting = [await connect(workers) for _ in range(2)]
    for client in waiting:
        client.send(request)
        await asyncio.wait_for(signer.asked.get(), PATIENT_S)
    client = await connect(workers)
    client.send(request)
    assert await client.status() is OCSPResponseStatus.TRY_LATER
    client.send(hierarchy.request(GOOD))
    signer.response = await client.body()
    signer.may.set()
    for client in waiting:
        assert await client.body() == signer.response


async def test_draining_waits_for_the_signer(start: Starter, connect: Connect, hierarchy: Hierarchy) -> None:
    signer = Signer(None)
    signer.may.clear()
    workers = await start(signer.respond, echo_nonce=True)
    client = await connect(workers)
    client.send(hierarchy.request(GOOD, nonce=bytes(16)))
    await asyncio.wait_for(signer.asked.get(), PATIENT_S)
    draining = asyncio.create_task(workers.drain(timedelta(seconds=20)))
    await asyncio.sleep(0.1)
    assert not draining.done()
    signer.may.set()
    assert await client.status() is OCSPResponseStatus.SUCCESSFUL
    async with asyncio.timeout(PATIENT_S):
        assert await client.reader.read() == b""
        client.writer.close()
        await draining


async def test_an_answer_for_a_killed_worker_goes_to_nobody(
    start: Starter, connect: Connect, hierarchy: Hierarchy
) -> None:
    signer = Signer(None)
    signer.may.clear()
    workers = await start(signer.respond, echo_nonce=True)
    [pid] = workers.pids
    request = hierarchy.request(GOOD, nonce=bytes(16))
    client = await connect(workers)
    client.send(request)
    await asyncio.wait_for(signer.asked.get(), PATIENT_S)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENT_S):
        while workers.pids in ([], [pid]):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
    client = await connect(workers)
    client.send(request)
    await asyncio.wait_for(signer.asked.get(), PATIENT_S)
    signer.may.set()
    assert await client.status() is OCSPResponseStatus.SUCCESSFUL


def test_settings_come_back_from_json(home: Path) -> None:
    for signing in (None, SigningSettings(7, True, (1, 2))):
        settings = WorkerSettings(home, home, (3,), timedelta(seconds=5), HTTPLimits(), True, signing)
        assert WorkerSettings.from_json(settings.to_json()) == settings
