"""The signer as the server uses it: faults of the worker, deadlines, the bounded queue."""

import asyncio
import io
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

from pkiserver.signer import circuit, client, pool
from pkiserver.signer.algorithms import KeySpec, load_public_key, verify
from pkiserver.signer.circuit import REFUSE_AFTER, CircuitState, pause_s
from pkiserver.signer.client import Signer
from pkiserver.signer.errors import (
    KeyExistsError,
    RequestTooLargeError,
    SignerBusyError,
    SignerError,
    SignerSecretError,
    SignerSettingsError,
    SignerUnavailableError,
    WorkerLostError,
)
from pkiserver.signer.process import WorkerProcess, worker_environment
from pkiserver.signer.settings import SignerSettings
from pkiserver.signer.wire import Request
from protocols.errors import ErrorKind
from tests.faulty_token import FaultyModule

P256 = KeySpec.parse("ec:P-256")
PATIENCE_S = 60.0
Running = Callable[[int], bool]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is a state of the system
            await asyncio.sleep(0.01)


async def stopped(signer: Signer, number: int = 0) -> int:
    """Stop a worker (SIGSTOP) and return its pid once it has stopped."""
    pid = signer.pids[number]
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
        (pid,) = signer.pids
        os.kill(pid, signal.SIGKILL)
        await works(signer, spki)
        assert signer.restarts == killed
        assert signer.pids != [pid]
        assert not process_is_running(pid)
    assert signer.healthy


async def test_idle_signer_replaces_its_worker(signer: Signer) -> None:
    (pid,) = signer.pids
    os.kill(pid, signal.SIGKILL)
    await until(lambda: signer.restarts == 1 and signer.healthy)
    assert signer.pids not in ([], [pid])


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
    await until(lambda: signer.queue_depth == 1)
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
    send = WorkerProcess.send

    def killing(self: WorkerProcess, request: Request) -> None:
        if b"poison" in request.parts:
            os.kill(self.pid or 0, signal.SIGKILL)
        send(self, request)

    monkeypatch.setattr(WorkerProcess, "send", killing)
    try:
        with pytest.raises(SignerUnavailableError):
            await signer.sign("key", b"poison")
        await works(signer, spki)
        assert signer.restarts == 2
    finally:
        await signer.close()


async def test_a_poisonous_request_takes_no_other_with_it(
    software_settings: SignerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was lost in one batch with it is tried again, each by itself."""
    signer = Signer(software_settings, deadline_s=PATIENCE_S)
    await signer.start()
    spki = await signer.generate("key", P256)
    await signer.sign_many("key", [b"so that its speed is known"] * 20)
    send, sent = WorkerProcess.send, []

    def killing(self: WorkerProcess, request: Request) -> None:
        sent.append(request.parts)
        if b"poison" in request.parts:
            os.kill(self.pid or 0, signal.SIGKILL)
        send(self, request)

    monkeypatch.setattr(WorkerProcess, "send", killing)
    try:
        first = asyncio.create_task(signer.sign("key", b"first"))
        data = [b"0", b"1", b"poison", b"3"]
        answers = await asyncio.gather(
            first, *(signer.sign("key", one) for one in data), return_exceptions=True
        )
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        assert [type(error) for error in failed] == [WorkerLostError]
        for one, signature in zip([b"first", *data], answers, strict=True):
            if isinstance(signature, bytes):
                verify(load_public_key(spki), signature, one)
        assert any(b"poison" in parts and len(parts) > 1 for parts in sent)
        assert (b"poison",) in sent
    finally:
        await signer.close()


async def test_a_pin_that_is_typed(token_settings: SignerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for once, and serves the workers that replace others."""
    asked: list[str] = []

    def typed(what: str) -> bytes:
        asked.append(what)
        return b"correct-PIN-1"

    monkeypatch.setattr(client, "ask_secret", typed)
    signer = Signer(replace(token_settings, pin_file=None, pin_prompt=True), workers=2)
    await signer.start()
    try:
        spki = await signer.generate("key", P256)
        await until(lambda: signer.serving == 2)
        for pid in signer.pids:
            assert b"correct-PIN" not in Path(f"/proc/{pid}/cmdline").read_bytes()
            os.kill(pid, signal.SIGKILL)
        await works(signer, spki)
        await until(lambda: signer.serving == 2)
        assert asked == ["PIN"]
    finally:
        await signer.close()


async def test_another_pin_is_typed_without_a_restart(
    faulty_settings: SignerSettings, faulty: FaultyModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker tries the former PIN once there is another, not even one that only lost its session."""
    monkeypatch.setattr(client, "ask_secret", lambda _: b"correct-PIN-1")
    signer = Signer(replace(faulty_settings, pin_file=None, pin_prompt=True), workers=2)
    await signer.start()
    try:
        spki = await signer.generate("key", P256)
        await until(lambda: signer.serving == 2)
        old = set(signer.pids)
        change_pin(faulty_settings, "correct-PIN-1", "another-PIN-2")
        killed, other = signer.pids
        os.kill(killed, signal.SIGKILL)
        await until(lambda: signer.circuit is CircuitState.OPEN)
        tries = faulty.logins
        signer.reset(b"another-PIN-2")
        await until(lambda: signer.serving == 2)
        assert faulty.logins == tries + 1
        assert other in signer.pids
        faulty.fail("session_closed")
        requests = [signer.sign("key", bytes([number])) for number in range(4)]
        await asyncio.gather(*requests, return_exceptions=True)
        faulty.mend()
        await until(lambda: signer.serving == 2)
        await works(signer, spki)
        assert not old & set(signer.pids)
        assert signer.circuit is CircuitState.CLOSED
    finally:
        await signer.close()


def change_pin(settings: SignerSettings, old: str, new: str) -> None:
    """Change the PIN of a token, in a process of its own."""
    script = (
        "import sys, pkcs11; module, token, old, new = sys.argv[1:]\n"
        "session = pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=old)\n"
        "session.set_pin(old, new)"
    )
    arguments = (settings.module or "", settings.token_label or "", old, new)
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, timeout=PATIENCE_S)


async def test_another_pin_is_of_no_use_where_none_is_typed(token_settings: SignerSettings) -> None:
    with pytest.raises(SignerSettingsError, match="not typed here"):
        Signer(token_settings).reset(b"another-PIN-2")


async def test_nobody_is_there_to_type_a_pin(
    token_settings: SignerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SignerSecretError, match="no terminal"):
        await Signer(replace(token_settings, pin_file=None, pin_prompt=True)).start()


async def test_full_queue_refuses_at_once(software_settings: SignerSettings) -> None:
    signer = Signer(software_settings, max_waiting=2, deadline_s=PATIENCE_S)
    await signer.start()
    try:
        spki = await signer.generate("key", P256)
        pid = await stopped(signer)
        first = asyncio.create_task(signer.sign("key", b"0"))
        await until(lambda: signer.queue_depth == 1)
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
        (pid,) = signer.pids
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not signer.healthy and signer.restarts == 1)
        for _ in range(3):
            with pytest.raises(SignerSecretError) as caught:
                await signer.sign("key", b"")
            assert caught.value.kind is ErrorKind.UNAVAILABLE
        assert (signer.serving, signer.circuit) == (0, CircuitState.OPEN)
        assert signer.failure == str(caught.value)
        change_secret(settings, right)
        await signer.close()
        await signer.start()
        assert signer.failure is None
        assert await signer.labels() == ["key"]
    finally:
        await signer.close()


async def test_replacement_is_tried_until_it_succeeds(
    software_settings: SignerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit, "FIRST_PAUSE_S", 0.01)
    signer = Signer(software_settings, deadline_s=PATIENCE_S)
    await signer.start()
    open_ = WorkerProcess.open
    tries = 0

    async def failing(self: WorkerProcess, settings: SignerSettings, typed: bytes | None) -> None:
        nonlocal tries
        tries += 1
        if tries < REFUSE_AFTER:
            raise SignerUnavailableError("no token")
        await open_(self, settings, typed)

    monkeypatch.setattr(WorkerProcess, "open", failing)
    try:
        (pid,) = signer.pids
        os.kill(pid, signal.SIGKILL)
        assert await signer.labels() == []
        assert signer.restarts == tries == REFUSE_AFTER
        assert signer.circuit is CircuitState.CLOSED
    finally:
        await signer.close()


async def test_a_token_that_stays_away_is_told_at_once(
    software_settings: SignerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the deadline while nothing is there that could serve."""
    monkeypatch.setattr(circuit, "FIRST_PAUSE_S", 0.01)
    signer = Signer(software_settings, deadline_s=PATIENCE_S)
    await signer.start()
    open_, away = WorkerProcess.open, True

    async def failing(self: WorkerProcess, settings: SignerSettings, typed: bytes | None) -> None:
        if away:
            raise SignerUnavailableError("no token is present")
        await open_(self, settings, typed)

    monkeypatch.setattr(WorkerProcess, "open", failing)
    try:
        (pid,) = signer.pids
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(SignerUnavailableError, match="no token is present"):
            await signer.labels()  # waited until hope was lost
        with pytest.raises(SignerUnavailableError, match="no token is present"):
            await signer.labels()
        assert (signer.circuit, signer.queue_depth) == (CircuitState.RETRYING, 0)
        assert signer.statistics.faults["device"] >= REFUSE_AFTER
        away = False
        await until(lambda: signer.healthy)
        assert await signer.labels() == []
        assert (signer.circuit, signer.failure) == (CircuitState.CLOSED, None)
    finally:
        await signer.close()


async def test_an_operator_closes_the_circuit(
    settings: SignerSettings,
    secret_of: Callable[[SignerSettings], str],
    change_secret: Callable[[SignerSettings, str], None],
) -> None:
    """Of several workers that are lost at once one tries the wrong PIN, once; `reset` brings all back."""
    signer = Signer(settings, workers=3, deadline_s=PATIENCE_S)
    await signer.start()
    try:
        await signer.generate("key", P256)
        await until(lambda: signer.serving == 3)
        right = secret_of(settings)
        change_secret(settings, "wrong from now on")
        for pid in signer.pids:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: signer.circuit is CircuitState.OPEN)
        with pytest.raises(SignerSecretError):
            await signer.labels()
        assert signer.statistics.faults["secret"] == 1
        change_secret(settings, right)
        signer.reset()
        await until(lambda: signer.serving == 3)
        assert await signer.labels() == ["key"]
        assert signer.statistics.faults["secret"] == 1
    finally:
        await signer.close()


async def test_requests_are_spread_over_the_workers(software_settings: SignerSettings) -> None:
    signer = Signer(software_settings, workers=2, deadline_s=PATIENCE_S)
    await signer.start()
    try:
        spki = await signer.generate("key", P256)
        await until(lambda: signer.serving == 2)
        first = await stopped(signer, 0)
        requests = [asyncio.create_task(signer.sign("key", bytes([number]))) for number in range(20)]
        await until(lambda: sum(request.done() for request in requests) >= 10)  # the other one serves
        os.kill(first, signal.SIGCONT)
        for number, signature in enumerate(await asyncio.gather(*requests)):
            verify(load_public_key(spki), signature, bytes([number]))
        many = [bytes([number]) for number in range(200)]
        for data, signature in zip(many, await signer.sign_many("key", many), strict=True):
            verify(load_public_key(spki), signature, data)
        assert (signer.restarts, signer.signatures) == (0, 220)
    finally:
        await signer.close()


async def test_a_quiet_worker_is_checked(
    software_settings: SignerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CHECK_EVERY_S", 0.05)
    signer = Signer(software_settings, deadline_s=1.0)
    await signer.start()
    try:
        (pid,) = signer.pids
        Path(str(software_settings.directory)).rename(str(software_settings.directory) + "-gone")
        await until(lambda: signer.restarts > 0)
        assert signer.statistics.faults["device"] > 0
        assert (pid in signer.pids, signer.queue_depth) == (False, 0)
    finally:
        await signer.close()


def test_pauses_grow_to_a_bound() -> None:
    assert pause_s(0) == 0.0
    for failures in range(1, 20):
        most = min(circuit.LONGEST_PAUSE_S, circuit.FIRST_PAUSE_S * 2 ** (failures - 1))
        assert most / 2 <= pause_s(failures) <= most


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
    assert (signer.healthy, signer.pids) == (False, [])
    await signer.close()


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([1], [1]),
        ([1] * 4, [4]),
        ([1] * 5, [4, 1]),
        ([client.MAX_BATCH_BYTES, 1], [1, 1]),
        ([1, client.MAX_BATCH_BYTES + 1, 1], [1, 1, 1]),
    ],
)
def test_frames(sizes: list[int], wanted: list[int]) -> None:
    data = [bytes(size) for size in sizes]
    begin, found = 0, []
    while begin < len(data):
        end = client._frame_end(data, begin, 4)
        found.append(end - begin)
        begin = end
    assert found == wanted


async def test_data_over_the_bound_is_refused(
    software_settings: SignerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_DATA_BYTES", 10)
    signer = Signer(software_settings)
    for asked in (signer.sign("key", bytes(11)), signer.sign_many("key", [b"", bytes(11)])):
        with pytest.raises(RequestTooLargeError):
            await asked
    with pytest.raises(SignerUnavailableError):
        await signer.sign("key", bytes(10))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_both_event_loops(software_settings: SignerSettings, run: Callable[[Awaitable[None]], None]) -> None:
    async def main() -> None:
        signer = Signer(software_settings, deadline_s=2.0, generate_deadline_s=PATIENCE_S)
        await signer.start()
        spki = await signer.generate("key", P256)
        (pid,) = signer.pids
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
            print(*signer.pids, flush=True)
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
