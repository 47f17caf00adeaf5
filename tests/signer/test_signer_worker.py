"""The signer process by itself: its protocol, its end, and what it keeps to itself."""

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pkiserver.signer.algorithms import KeySpec, load_public_key, verify
from pkiserver.signer.errors import KeyNotFoundError, SignerSecretError, SignerSettingsError, WireError
from pkiserver.signer.process import worker_environment
from pkiserver.signer.settings import SignerSettings
from pkiserver.signer.wire import (
    MAX_FRAME_BYTES,
    OK,
    READY_ID,
    Answer,
    Operation,
    Request,
    decode_answer,
    encode_request,
    error_of,
    frame,
)

WAIT_S = 30.0
SIGN = Operation.SIGN


@dataclass
class Worker:
    """A worker under test and our end of its socket."""

    process: subprocess.Popen[bytes]
    connection: socket.socket

    def ask(self, body: bytes) -> Answer:
        self.connection.sendall(frame(body))
        return self.answer()

    def answer(self) -> Answer:
        (length,) = struct.unpack(">I", self._read(4))
        return decode_answer(self._read(length))

    def _read(self, length: int) -> bytes:
        data = self.connection.recv(length, socket.MSG_WAITALL)
        assert len(data) == length, "the worker hung up"
        return data

    def exit_status(self) -> int:
        return self.process.wait(WAIT_S)


@pytest.fixture
def worker(software_settings: SignerSettings) -> Iterator[Worker]:
    """A worker that has loaded its kind of store, and was given no settings yet."""
    ours, theirs = socket.socketpair()
    ours.settimeout(WAIT_S)
    process = subprocess.Popen(
        [sys.executable, "-m", "pkiserver.signer.worker", str(theirs.fileno()), "software"],
        pass_fds=(theirs.fileno(),),
        env=worker_environment(software_settings),
        stderr=subprocess.PIPE,
    )
    theirs.close()
    try:
        started = Worker(process, ours)
        assert started.answer() == Answer(READY_ID, OK)
        yield started
    finally:
        ours.close()
        process.kill()
        _, stderr = process.communicate()
    assert stderr == b""


@pytest.fixture
def ready(worker: Worker, software_settings: SignerSettings) -> Worker:
    assert worker.ask(software_settings.encode()) == Answer(READY_ID, OK)
    return worker


def test_generates_and_signs(ready: Worker) -> None:
    made = ready.ask(encode_request(Request(1, Operation.GENERATE, "key", (b"ec:P-256",))))
    assert (made.id, made.code) == (1, OK)
    signed = ready.ask(encode_request(Request(2, SIGN, "key", (b"a", b"b"))))
    for data, signature in zip((b"a", b"b"), signed.parts, strict=True):
        verify(load_public_key(made.parts[0]), signature, data)
    assert ready.ask(encode_request(Request(3, Operation.LABELS, ""))) == Answer(3, OK, (b"key",))


@pytest.mark.parametrize(
    "request_",
    [
        Request(5, SIGN, "none", (b"",)),
        Request(5, SIGN, "../key", (b"",)),
        Request(5, Operation.GENERATE, "key", (b"ec:P-1",)),
        Request(5, Operation.GENERATE, "key", (b"\xff",)),
    ],
    ids=["no key", "bad label", "bad kind", "kind not UTF-8"],
)
def test_goes_on_after_a_refusal(ready: Worker, request_: Request) -> None:
    refused = ready.ask(encode_request(request_))
    assert refused.id == 5
    assert refused.code != OK
    assert b"Traceback" not in b"".join(refused.parts)
    assert ready.ask(encode_request(Request(6, Operation.LABELS, ""))) == Answer(6, OK)


def test_ends_when_the_server_hangs_up(ready: Worker) -> None:
    ready.connection.close()
    assert ready.exit_status() == 0


def test_ends_when_the_server_hangs_up_before_the_settings(worker: Worker) -> None:
    worker.connection.close()
    assert worker.exit_status() == 0


def test_ends_when_the_server_hangs_up_within_a_frame(ready: Worker) -> None:
    ready.connection.sendall(frame(bytes(100))[:50])
    ready.connection.close()
    assert ready.exit_status() == 0


def test_frames_are_read_however_they_arrive(ready: Worker) -> None:
    """Two in one piece, and one that is larger than a read, in several."""
    listing = [encode_request(Request(number, Operation.LABELS, "")) for number in (1, 2)]
    ready.connection.sendall(b"".join(map(frame, listing)))
    assert [ready.answer().id for _ in listing] == [1, 2]
    large = frame(encode_request(Request(3, SIGN, "none", (bytes(3_000_000),))))
    for piece in (large[:2], large[2:70_000], large[70_000:]):
        ready.connection.sendall(piece)
    assert isinstance(error_of(ready.answer()), KeyNotFoundError)


def test_frame_over_the_bound_is_refused(ready: Worker) -> None:
    ready.connection.sendall((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
    answer = ready.answer()
    assert answer.id == READY_ID
    assert isinstance(error_of(answer), WireError)
    assert ready.exit_status() == 0


@pytest.mark.parametrize("body", [b"", b"\xff" * 20, encode_request(Request(1, Operation.GENERATE, "k"))])
def test_unreadable_request_ends_it(ready: Worker, body: bytes) -> None:
    assert isinstance(error_of(ready.ask(body)), WireError)
    assert ready.exit_status() == 0


@pytest.mark.parametrize("body", [b"", b"{}", b"no JSON"])
def test_unreadable_settings_are_answered(worker: Worker, body: bytes) -> None:
    answer = worker.ask(body)
    assert isinstance(error_of(answer), SignerSettingsError)
    assert worker.exit_status() == 0


def test_missing_secret_is_answered(worker: Worker) -> None:
    settings = SignerSettings(directory="none", passphrase_env="SIGNER_TEST_NOT_SET")
    assert isinstance(error_of(worker.ask(settings.encode())), SignerSecretError)
    assert worker.exit_status() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_leaves_signals_to_the_server(ready: Worker, number: signal.Signals) -> None:
    os.kill(ready.process.pid, number)
    assert ready.ask(encode_request(Request(1, Operation.LABELS, ""))) == Answer(1, OK)


def test_writes_no_core() -> None:
    script = (
        "import ctypes, resource; from pkiserver.signer.worker import protect_process\n"
        "before = ctypes.CDLL(None).prctl(3)\n"  # PR_GET_DUMPABLE
        "protect_process()\n"
        "print(before, ctypes.CDLL(None).prctl(3), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    environment = worker_environment(SignerSettings(directory="k", passphrase_env="NONE"))
    shown = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True)
    assert shown.stdout == b"1 0 (0, 0)\n"


def test_who_holds_a_typed_pin_writes_no_core() -> None:
    script = (
        "import ctypes, getpass, sys; from pkiserver.signer.secret import ask_secret\n"
        "sys.stdin.isatty = lambda: True; getpass.getpass = lambda _: 'typed'\n"
        "print(ask_secret('PIN'), ctypes.CDLL(None).prctl(3))"
    )
    environment = worker_environment(SignerSettings(directory="k", passphrase_env="NONE"))
    shown = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True)
    assert shown.stdout == b"b'typed' 0\n"


def test_spec_texts_are_those_of_the_wire() -> None:
    assert str(KeySpec.parse("rsa:3072")).encode() == b"rsa:3072"
