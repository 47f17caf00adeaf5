"""The worker processes as the world sees them: foreign clients, replacement, draining, what they hold."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from status_support import EXPIRED, GOOD, NEVER_ISSUED, REVOKED, Hierarchy

from pkiserver.errors import UnavailableError
from pkiserver.web.http_limits import HTTPLimits
from pkiserver.web.status_counters import StatusCounters
from pkiserver.web.status_worker import WorkerSettings
from pkiserver.web.workers import StatusWorkers, StatusWorkersSettings, _pause_s
from store.response_writer import ResponseTableWriter

PATIENT_S = 30.0  # what a test waits for what must come; the machine may be busy
# What would bring keys, SQL or a second HTTP server into the status plane.
FORBIDDEN = ("aiohttp", "asn1crypto", "cryptography", "pkcs11", "sqlite3", "pkiserver.ca", "pkiserver.signer")
READY = b"GET /ready HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    return Hierarchy()


@pytest.fixture
def home(tmp_path: Path, hierarchy: Hierarchy) -> Path:
    with_table = ResponseTableWriter(tmp_path / "responses")
    hierarchy.fill(with_table)
    with_table.close()
    (tmp_path / "public" / "crl").mkdir(parents=True)
    (tmp_path / "public" / "crl" / "citizen.crl").write_bytes(b"a CRL")
    hierarchy.write_pem(tmp_path)
    return tmp_path


def settings_of(home: Path, workers: int = 1) -> StatusWorkersSettings:
    addresses = (("127.0.0.1", 0),)
    limits = HTTPLimits(drain_quiet_s=0.05)
    return StatusWorkersSettings(home / "responses", home / "public", addresses, workers, limits=limits)


Starter = Callable[[StatusWorkersSettings], Awaitable[StatusWorkers]]


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    started: list[StatusWorkers] = []

    async def starter(settings: StatusWorkersSettings) -> StatusWorkers:
        workers = StatusWorkers(settings)
        started.append(workers)
        await workers.start()
        return workers

    yield starter
    for workers in started:
        await workers.close()


async def ask(workers: StatusWorkers, request: bytes) -> bytes:
    """Return the whole answer on a connection of its own."""
    async with asyncio.timeout(PATIENT_S):
        reader, writer = await asyncio.open_connection(*workers.address)
        writer.write(request)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def run(*arguments: str | Path) -> str:
    """Return what a foreign client says."""
    process = await asyncio.create_subprocess_exec(
        *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "LC_ALL": "C"}
    )
    async with asyncio.timeout(PATIENT_S):
        output, _ = await process.communicate()
    return output.decode()


async def openssl(workers: StatusWorkers, home: Path, serial: int, *options: str) -> str:
    return await run(
        "openssl", "ocsp", "-issuer", home / "ca.pem", *options, "-cert", home / f"{serial:x}.pem",
        "-CAfile", home / "ca.pem", "-url", "http://{}:{}/ocsp".format(*workers.address),
    )  # fmt: skip


@pytest.mark.interop
@pytest.mark.parametrize("options", [(), ("-sha256",), ("-no_nonce",), ("-sha256", "-no_nonce")])
async def test_openssl_accepts_every_answer(start: Starter, home: Path, options: tuple[str, ...]) -> None:
    workers = await start(settings_of(home))
    assert "Response verify OK" in (said := await openssl(workers, home, GOOD, *options))
    assert f"{GOOD:x}.pem: good" in said
    assert "Response verify OK" in (said := await openssl(workers, home, REVOKED, *options))
    assert f"{REVOKED:x}.pem: revoked" in said
    assert "Reason: keyCompromise" in said
    assert "unauthorized (6)" in await openssl(workers, home, NEVER_ISSUED, *options)
    assert "trylater (3)" in await openssl(workers, home, EXPIRED, *options)


@pytest.mark.interop
async def test_curl_fetches_what_is_public(start: Starter, home: Path) -> None:
    workers = await start(settings_of(home, workers=2))
    base = "http://{}:{}".format(*workers.address)
    assert await run("curl", "-sS", f"{base}/crl/citizen.crl") == "a CRL"
    assert await run("curl", "-sS", "--http2", f"{base}/crl/citizen.crl") == "a CRL"  # offers an upgrade
    assert "/crl/NAME.crl" in await run("curl", "-sS", f"{base}/")
    said = await run("curl", "-sS", "-I", f"{base}/crl/citizen.crl", f"{base}/crl/none.crl")
    assert said.startswith("HTTP/1.1 200 OK")
    assert "HTTP/1.1 404 Not Found" in said


async def test_a_killed_worker_is_replaced_and_no_new_request_fails(
    start: Starter, home: Path, hierarchy: Hierarchy
) -> None:
    workers = await start(settings_of(home, workers=2))
    body = hierarchy.request(GOOD)
    head = b"POST /ocsp HTTP/1.1\r\nHost: h\r\nContent-Type: application/ocsp-request\r\n"
    request = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
    for _ in range(3):
        for pid in workers.pids:
            os.kill(pid, signal.SIGKILL)
        answers = await asyncio.gather(*(ask(workers, request) for _ in range(20)))
        assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers)
        await until(lambda: len(workers.pids) == 2)
    await until(lambda: workers.counters().restarts >= 6)


async def test_a_stuck_worker_is_replaced(start: Starter, home: Path) -> None:
    workers = await start(replace(settings_of(home), silence_s=3.0))
    (stuck,) = workers.pids
    os.kill(stuck, signal.SIGSTOP)
    assert (await ask(workers, READY)).startswith(b"HTTP/1.1 200 OK\r\n")
    assert workers.pids != [stuck]


async def test_a_change_of_the_table_reaches_every_worker(
    start: Starter, home: Path, hierarchy: Hierarchy
) -> None:
    workers = await start(settings_of(home, workers=2))
    assert "good" in await openssl(workers, home, GOOD)
    table = ResponseTableWriter(home / "responses")
    entries = {key: table.get(key) for key in table.keys(3)}
    assert len(entries) == 4
    table.delete(entries)
    assert "unauthorized (6)" in await openssl(workers, home, GOOD)
    table.put((key, entry.pack()) for key, entry in entries.items() if entry is not None)
    assert "good" in await openssl(workers, home, GOOD)
    table.close()


async def test_counters_of_all_workers_come_out_as_one(start: Starter, home: Path) -> None:
    workers = await start(settings_of(home, workers=2))
    for _ in range(10):
        await ask(workers, READY)
    await ask(workers, b"GET /\x00 HTTP/1.1\r\n\r\n")
    await until(lambda: workers.counters().requests.total() == 11)
    counters = workers.counters()
    assert counters.requests == {"ready": 10, "http_400": 1}
    assert counters.connections_total == 11
    assert sum(counters.latency) == 11
    assert counters.bytes_sent > 11 * 100
    (pid, _) = workers.pids
    os.kill(pid, signal.SIGKILL)
    await until(lambda: workers.counters().restarts == 1)
    assert workers.counters().requests.total() == 11  # what the dead one counted stays


async def test_ready_turns_503_before_anything_else_changes(start: Starter, home: Path) -> None:
    workers = await start(settings_of(home))
    assert (await ask(workers, READY)).startswith(b"HTTP/1.1 200 OK\r\n")
    workers.set_ready(False)
    async with asyncio.timeout(PATIENT_S):
        while not (await ask(workers, READY)).startswith(b"HTTP/1.1 503 "):
            pass
    assert b"a CRL" in await ask(workers, b"GET /crl/citizen.crl HTTP/1.1\r\nHost: h\r\n\r\n")
    workers.set_ready(True)
    async with asyncio.timeout(PATIENT_S):
        while not (await ask(workers, READY)).startswith(b"HTTP/1.1 200 "):
            pass


async def test_draining_answers_what_is_under_way_and_ends_every_process(start: Starter, home: Path) -> None:
    workers = await start(settings_of(home, workers=2))
    pids, address = workers.pids, workers.address
    reader, writer = await asyncio.open_connection(*workers.address)
    writer.write(READY[:-2])
    await until(lambda: workers.counters().connections == 1)
    draining = asyncio.create_task(workers.drain(timedelta(seconds=PATIENT_S)))
    await asyncio.sleep(0.2)
    writer.write(READY[-2:])
    async with asyncio.timeout(PATIENT_S):
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")  # an answer: that it is no longer ready
        assert b"Connection: close\r\n" in answer
        writer.close()
        await draining
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)


async def test_the_deadline_ends_a_connection_that_never_finishes(start: Starter, home: Path) -> None:
    workers = await start(settings_of(home))
    reader, writer = await asyncio.open_connection(*workers.address)
    writer.write(READY[:-2])
    await until(lambda: workers.counters().connections == 1)
    async with asyncio.timeout(PATIENT_S):
        await workers.drain(timedelta(seconds=0.1))
        assert await reader.read() == b""
    writer.close()
    assert workers.pids == []


async def test_signals_to_the_group_do_not_stop_a_worker(start: Starter, home: Path) -> None:
    workers = await start(settings_of(home))
    (pid,) = workers.pids
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert (await ask(workers, READY)).startswith(b"HTTP/1.1 200 OK\r\n")
    assert workers.pids == [pid]


async def test_a_worker_never_sees_the_servers_secrets(
    start: Starter, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PKI_PASSPHRASE", "secret")
    workers = await start(settings_of(home))
    environment = Path(f"/proc/{workers.pids[0]}/environ").read_bytes()
    assert b"PATH=" in environment
    assert b"secret" not in environment


async def test_a_worker_holds_no_key_no_database_and_no_other_server() -> None:
    program = f"import sys, pkiserver.web.status_worker\nprint([m for m in {FORBIDDEN} if m in sys.modules])"
    assert await run(sys.executable, "-c", program) == "[]\n"


async def test_an_orphaned_worker_ends(home: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pkiserver.web.status_worker", str(theirs.fileno()),
        pass_fds=(theirs.fileno(), listener.fileno()),
    )  # fmt: skip
    theirs.close()
    reader, writer = await asyncio.open_connection(sock=ours)
    settings = WorkerSettings(
        home / "responses", home / "public", (listener.fileno(),), timedelta(seconds=60), HTTPLimits(), True
    )
    assert WorkerSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    writer.write(json.dumps(settings.to_json()).encode() + b"\n")
    async with asyncio.timeout(PATIENT_S):
        assert json.loads(await reader.readline()) == {"serving": process.pid}
        writer.close()
        assert await process.wait() == 0
    listener.close()


async def test_a_missing_table_is_told_at_the_start(home: Path) -> None:
    workers = StatusWorkers(replace(settings_of(home), table=home / "nowhere"))
    with pytest.raises(UnavailableError, match="no response table"):
        await workers.start()
    assert workers.pids == []


async def test_an_address_in_use_is_told_at_the_start(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
        workers = StatusWorkers(replace(settings_of(home), addresses=(address,)))
        with pytest.raises(UnavailableError, match=f"cannot listen on 127.0.0.1 port {address[1]}"):
            await workers.start()


async def test_every_worker_listens_on_all_addresses_and_on_one_port(start: Starter, home: Path) -> None:
    addresses = (("127.0.0.1", 0), ("127.0.0.1", 0))
    workers = await start(replace(settings_of(home, workers=3), addresses=addresses))
    assert len(workers.pids) == 3
    assert len(set(workers.addresses)) == 2
    assert workers.address == workers.addresses[0]


def test_counters_come_back_from_json_and_add_up() -> None:
    counters = StatusCounters()
    counters.observe("successful", 1000, 0.00002)
    counters.observe("expired", 5, 99.0)
    again = StatusCounters.from_json(json.loads(json.dumps(counters.to_json())))
    assert again == counters
    again.add(counters)
    assert again.requests == {"successful": 2, "expired": 2}
    assert again.bytes_sent == 2010
    assert (again.latency[0], again.latency[-1], sum(again.latency)) == (2, 2, 4)


def test_the_pause_before_a_replacement_grows_to_a_bound() -> None:
    pauses = [_pause_s(in_a_row) for in_a_row in range(100)]
    assert pauses[:2] == [0.0, 0.0]
    assert pauses == sorted(pauses)
    assert pauses[2] == 0.1
    assert pauses[-1] == 5.0
