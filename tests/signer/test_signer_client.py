"""The signer as the server uses it: faults of the worker, deadlines, the bounded queue."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from pkiserver.signer import client
from pkiserver.signer.algorithms import KeySpec, load_public_key, verify
from pkiserver.signer.client import MAX_BATCH, Signer, _batches
from pkiserver.signer.errors import (
    KeyExistsError,
    RequestTooLargeError,
    SignerBusyError,
    SignerError,
    SignerSecretError,
    SignerUnavailableError,
)
from pkiserver.signer.process import WorkerProcess, worker_environment
from pkiserver.signer.settings import SignerSettings
from pkiserver.signer.wire import Answer, Request
from protocols.errors import ErrorKind

P256 = KeySpec.parse("ec:P-256")
PATIENCE_S = 60.0
Running = Callable[[int], bool]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is a state of the system
            await asyncio.sleep(0.01)


async def stopped(signer: Signer) -> int:
    """Stop the worker (SIGSTOP) and return its pid once it has stopped."""
    pid = signer.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    return pid


async def works(signer: Signer, spki: bytes) -> None:
    verify(load_public_key(spki), await signer.sign("key", b"data"), b"data")


@pytest.fixture
async def impatient(settings: SignerSettings) -> AsyncIterator[Signer]:
    """A started signer of each kind that gives its worker two seconds."""
    signer = Signer(settings, deadline_s=2.0, generate_deadline_s=30.0)
    await signer.start()
    yield signer
    await signer.close()


async def test_worker_killed_between_requests_is_replaced(
    signer: Signer, process_is_running: Running
) -> None:
    spki = await signer.generate("key", P256)
    for killed in range(1, 3):
        pid = signer.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await works(signer, spki)
        assert signer.restarts == killed
        assert signer.pid != pid
        assert not process_is_running(pid)
    assert signer.healthy


async def test_idle_signer_replaces_its_worker(signer: Signer) -> None:
    pid = signer.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: signer.restarts == 1 and signer.healthy)
    assert signer.pid not in (None, pid)


async def test_request_of_a_killed_worker_is_served_by_the_next(signer: Signer) -> None:
    spki = await signer.generate("key", P256)
    pid = await stopped(signer)
    requests = [asyncio.create_task(signer.sign("key", bytes([number]))) for number in range(10)]
    await until(lambda: signer.queue_depth == 10)
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    for number, signature in enumerate(await asyncio.gather(*requests)):
        verify(load_public_key(spki), signature, bytes([number]))
    assert (signer.restarts, signer.queue_depth) == (1, 0)


async def test_generate_is_not_repeated(signer: Signer) -> None:
    pid = await stopped(signer)
    request = asyncio.create_task(signer.generate("key", P256))
    await until(lambda: signer._serving is not None)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(SignerUnavailableError):
        await request
    assert await signer.labels() == []  # it was stopped before it began
    await signer.generate("key", P256)


async def test_hung_worker_is_killed_and_replaced(impatient: Signer, process_is_running: Running) -> None:
    spki = await impatient.generate("key", P256)
    pid = await stopped(impatient)
    with pytest.raises(SignerUnavailableError, match="in time") as caught:
        await impatient.sign("key", b"data")
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    await until(lambda: impatient.restarts == 1 and impatient.healthy)
    await works(impatient, spki)
    assert not process_is_running(pid)


async def test_request_that_kills_every_worker_fails(
    software_settings: SignerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Signer(software_settings, deadline_s=PATIENCE_S)
    await signer.start()
    spki = await signer.generate("key", P256)
    exchange = WorkerProcess.exchange

    async def killing(self: WorkerProcess, request: Request) -> Answer:
        if request.parts == (b"poison",):
            os.kill(self.pid, signal.SIGKILL)
            await asyncio.wait((self.ended,))
        return await exchange(self, request)

    monkeypatch.setattr(WorkerProcess, "exchange", killing)
    try:
        with pytest.raises(SignerUnavailableError):
            await signer.sign("key", b"poison")
        await works(signer, spki)
        assert signer.restarts == 2
    finally:
        await signer.close()


async def test_full_queue_refuses_at_once(software_settings: SignerSettings) -> None:
    signer = Signer(software_settings, max_waiting=2, deadline_s=PATIENCE_S)
    await signer.start()
    try:
        spki = await signer.generate("key", P256)
        pid = await stopped(signer)
        first = asyncio.create_task(signer.sign("key", b"0"))
        await until(lambda: signer._serving is not None)
        waiting = [asyncio.create_task(signer.sign("key", b"1")) for _ in range(2)]
        await until(lambda: signer.queue_depth == 3)
        with pytest.raises(SignerBusyError) as caught:
            await signer.sign("key", b"2")
        assert caught.value.kind is ErrorKind.UNAVAILABLE
        os.kill(pid, signal.SIGCONT)
        await asyncio.gather(first, *waiting)
        await works(signer, spki)
        assert (signer.restarts, signer.queue_depth, signer.signatures) == (0, 0, 4)
    finally:
        await signer.close()


async def test_abandoned_request_makes_room(software_settings: SignerSettings) -> None:
    signer = Signer(software_settings, deadline_s=PATIENCE_S)
    await signer.start()
    try:
        spki = await signer.generate("key", P256)
        pid = await stopped(signer)
        requests = [asyncio.create_task(signer.sign("key", b"0")) for _ in range(3)]
        await until(lambda: signer.queue_depth == 3)
        for request in requests:
            request.cancel()
        await asyncio.wait(requests)
        await until(lambda: signer.queue_depth <= 1)
        os.kill(pid, signal.SIGCONT)
        await works(signer, spki)
        assert signer.restarts == 0
    finally:
        await signer.close()


async def test_secret_that_becomes_wrong_ends_the_trying(
    settings: SignerSettings,
    secret_of: Callable[[SignerSettings], str],
    change_secret: Callable[[SignerSettings, str], None],
) -> None:
    """The one try of the replacement is the last: a token locks itself after a few."""
    signer = Signer(settings, deadline_s=PATIENCE_S)
    await signer.start()
    try:
        await signer.generate("key", P256)
        right = secret_of(settings)
        change_secret(settings, "wrong from now on")
        pid = signer.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not signer.healthy and signer.restarts == 1)
        for _ in range(3):
            with pytest.raises(SignerSecretError) as caught:
                await signer.sign("key", b"")
            assert caught.value.kind is ErrorKind.UNAVAILABLE
        assert (signer.restarts, signer.healthy, signer.pid) == (1, False, None)
        assert signer.ended_by == str(caught.value)
        change_secret(settings, right)
        await signer.close()
        await signer.start()
        assert signer.ended_by is None
        assert await signer.labels() == ["key"]
    finally:
        await signer.close()


async def test_replacement_is_tried_until_it_succeeds(
    software_settings: SignerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE_S", 0.01)
    signer = Signer(software_settings, deadline_s=PATIENCE_S)
    await signer.start()
    start = WorkerProcess.start
    tries = 0

    async def failing(settings: SignerSettings) -> WorkerProcess:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise SignerUnavailableError("no token")
        return await start(settings)

    monkeypatch.setattr(WorkerProcess, "start", failing)
    try:
        pid = signer.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert await signer.labels() == []
        assert signer.restarts == tries == 4
    finally:
        await signer.close()


def test_pauses_grow_to_a_bound(software_settings: SignerSettings) -> None:
    signer = Signer(software_settings)
    pauses = []
    for failures in range(20):
        signer._failures = failures
        pauses.append(signer._pause_s())
    assert pauses[0] == 0.0
    assert pauses == sorted(pauses)
    assert pauses[-1] == client.LONGEST_PAUSE_S


async def test_closing_fails_what_waits(
    software_settings: SignerSettings, process_is_running: Running
) -> None:
    signer = Signer(software_settings, deadline_s=PATIENCE_S)
    await signer.start()
    pid = await stopped(signer)
    requests = [asyncio.create_task(signer.labels()) for _ in range(3)]
    await until(lambda: signer.queue_depth == 3)
    await signer.close()
    for result in await asyncio.gather(*requests, return_exceptions=True):
        assert isinstance(result, SignerUnavailableError)
    assert not process_is_running(pid)
    with pytest.raises(SignerUnavailableError, match="closed"):
        await signer.labels()
    await signer.close()


async def test_error_of_the_store_costs_no_worker(signer: Signer) -> None:
    await signer.generate("key", P256)
    with pytest.raises(KeyExistsError):
        await signer.generate("key", P256)
    assert signer.restarts == 0


async def test_worker_that_cannot_start_leaves_nothing(
    software_settings: SignerSettings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    signer = Signer(replace(software_settings, directory=str(tmp_path / "file" / "keys")))
    with pytest.raises(SignerError):
        await signer.start()
    assert (signer.healthy, signer.pid) == (False, None)
    await signer.close()


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([], []),
        ([1], [1]),
        ([1] * MAX_BATCH, [MAX_BATCH]),
        ([1] * (MAX_BATCH + 1), [MAX_BATCH, 1]),
        ([client.MAX_BATCH_BYTES, 1], [1, 1]),
        ([1, client.MAX_BATCH_BYTES + 1, 1], [1, 1, 1]),
    ],
)
def test_batches(sizes: list[int], wanted: list[int]) -> None:
    data = [bytes(size) for size in sizes]
    batches = _batches(data)
    assert [len(batch) for batch in batches] == wanted
    assert [one for batch in batches for one in batch] == data


def test_data_over_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_DATA_BYTES", 10)
    _batches([bytes(10)])
    with pytest.raises(RequestTooLargeError):
        _batches([bytes(11)])


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_both_event_loops(software_settings: SignerSettings, run: Callable[[Awaitable[None]], None]) -> None:
    async def main() -> None:
        signer = Signer(software_settings, deadline_s=2.0, generate_deadline_s=PATIENCE_S)
        await signer.start()
        spki = await signer.generate("key", P256)
        pid = signer.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: signer.restarts == 1 and signer.healthy)
        await works(signer, spki)
        await stopped(signer)
        with pytest.raises(SignerUnavailableError):
            await signer.sign("key", bytes(3 << 20))  # more than the socket holds: the writing hangs
        await until(lambda: signer.restarts == 2 and signer.healthy)
        verify(load_public_key(spki), await signer.sign("key", bytes(3 << 20)), bytes(3 << 20))
        await signer.close()

    run(main())


def test_worker_ends_with_its_server(software_settings: SignerSettings, process_is_running: Running) -> None:
    script = textwrap.dedent("""
        import asyncio, sys
        from pkiserver.signer.client import Signer
        from pkiserver.signer.settings import SignerSettings

        async def main():
            signer = Signer(SignerSettings.decode(sys.argv[1].encode()))
            await signer.start()
            print(signer.pid, flush=True)
            await asyncio.sleep(600)

        asyncio.run(main())
    """)
    server = subprocess.Popen(
        [sys.executable, "-c", script, software_settings.encode().decode()],
        env=worker_environment(software_settings),
        stdout=subprocess.PIPE,
    )
    assert server.stdout
    with server, server.stdout:
        pid = int(server.stdout.readline())
        assert process_is_running(pid)
        server.kill()
    asyncio.run(until(lambda: not process_is_running(pid)))
