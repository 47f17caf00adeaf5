"""The program, loaded once: processes that fork a copy of themselves for every start that a test asks for.

To load the server takes a second of processor time and a signer a tenth, hundreds and thousands of times
over, and says nothing that the tests which start them as an operator does, or as the server does, do not
say already. Between the fork and the first line of `main` nothing differs from a new interpreter but what
is loaded: there is no thread and no event loop.

Run as a program (`python -m tests.prepared_program KIND FD`) it is such a process; imported, it is the side
of the tests.
"""

import atexit
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

# What the commands, and the worker of a key store, load when they are asked for something.
LOADED: Final = {
    "pkiserver": ("uvloop", *(f"pkiserver.{one}" for one in ("app", "cli", "initialise", "status_server"))),
    "signer": ("pkiserver.signer.worker", "pkiserver.signer.software"),
}
MAX_START_BYTES = 200_000  # arguments and environment, within what a datagram of a Unix socket holds
MAX_DESCRIPTORS = 8
ENDING_S = 30.0  # a process with nothing to do ends at once
_NUMBER = struct.Struct("i")
_FREE = 64  # descriptors from here on are nobody's


class Forked:
    """A process that was started so; of `subprocess.Popen` it has what the tests use."""

    def __init__(self, answers: int) -> None:
        self.answers = answers
        self.returncode: int | None = None
        self.pid = self._number()

    def poll(self) -> int | None:
        """Return the exit status as `Popen` gives it, None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status; raise `TimeoutExpired` when there is none in good time."""
        if self.returncode is None:
            ready = select.poll()
            ready.register(self.answers, select.POLLIN)
            if not ready.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(f"pid {self.pid}", timeout or 0.0)
            self.returncode = self._number()
            os.close(self.answers)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _number(self) -> int:
        said = os.read(self.answers, _NUMBER.size)
        return int(_NUMBER.unpack(said)[0])


def start_prepared(
    kind: str, words: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int]
) -> Forked:
    """Start `pkiserver` or a script (`words` begin with the interpreter then), or a signer's worker.

    It has the descriptors as its own, numbered from 0.
    """
    answers, write = os.pipe()
    start = {"words": list(words), "environment": dict(environment), "folder": str(Path.cwd())}
    try:
        socket.send_fds(_prepared(kind), [json.dumps(start).encode()], [write, *descriptors])
    finally:
        os.close(write)
    return Forked(answers)


@cache
def _prepared(kind: str) -> socket.socket:
    """Return the way to the prepared process of this test process; it ends when that is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.prepared_program", kind, str(theirs.fileno())],
            cwd=Path(__file__).parent.parent,
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        process.wait(ENDING_S)

    atexit.register(end)
    return ours


def _load(kind: str) -> None:
    for name in LOADED[kind]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _fork_for_ever(asks: socket.socket) -> dict[str, Any] | None:
    """Return in every copy with what it is to run, and in the prepared process when nobody asks any more."""
    forked = 0
    while True:
        message, handed, _, _ = socket.recv_fds(asks, MAX_START_BYTES, MAX_DESCRIPTORS)
        if not message:
            return None
        while forked and os.waitpid(-1, os.WNOHANG)[0]:
            forked -= 1
        forked += 1
        if os.fork() == 0:
            asks.close()
            _become_waiter(*handed)
            return json.loads(message)
        for descriptor in handed:
            os.close(descriptor)


def _become_waiter(answers: int, *descriptors: int) -> None:
    """Fork once more and return in the child: the parent tells its process id, then its end."""
    pid = os.fork()
    if pid == 0:
        os.close(answers)
        free = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _FREE) for one in descriptors]
        for one in descriptors:
            os.close(one)
        for number, one in enumerate(free):
            os.dup2(one, number)
            os.close(one)
        return
    for one in (0, 1, 2, *descriptors):
        os.close(one)
    os.setsid()  # Ctrl-C is for the program
    os.write(answers, _NUMBER.pack(pid))
    _, status = os.waitpid(pid, 0)
    try:
        os.write(answers, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
    finally:
        os._exit(0)


def _run(kind: str, start: dict[str, Any]) -> int:
    os.chdir(start["folder"])
    os.environ.clear()
    os.environ.update(start["environment"])
    if kind == "signer":
        from pkiserver.signer.worker import main

        os.setsid()
        return main(start["words"])
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process is
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    program, *arguments = start["words"]
    if program == sys.executable:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        from pkiserver.__main__ import start as run

        sys.argv = [program, *arguments]
        run()
    return 0


def _main(kind: str, descriptor: str) -> int:
    _load(kind)
    with socket.socket(fileno=int(descriptor)) as asks:
        start = _fork_for_ever(asks)
    return 0 if start is None else _run(kind, start)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
