"""The program, loaded once: a process that forks a copy of itself for every start that a test asks for.

To load it takes a second of processor time, hundreds of times over, and says nothing that the tests of the
command line, which start it as an operator does, do not say already. Between the fork and the first line
of `main` nothing differs from a new interpreter but what is loaded: there is no thread and no event loop.

Run as a program (`prepared_program.py FD`) it is that process; imported, it is the side of the tests.
"""

import array
import atexit
import gc
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
from typing import IO, Any

MAX_START_BYTES = 200_000  # arguments and environment, within what a datagram of a Unix socket holds
ENDING_S = 30.0  # a process with nothing to do ends at once
_NUMBER = struct.Struct("i")


class Forked:
    """A program that was started so; of `subprocess.Popen` it has what the tests use."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
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
            ready.register(self._answers, select.POLLIN)
            if not ready.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(f"pid {self.pid}", timeout or 0.0)
            self.returncode = self._number()
            os.close(self._answers)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _number(self) -> int:
        said = os.read(self._answers, _NUMBER.size)
        return int(_NUMBER.unpack(said)[0])


def start_prepared(
    program: Sequence[str],
    environment: Mapping[str, str],
    stdin: IO[Any],
    stdout: IO[Any],
    stderr: IO[Any],
) -> Forked:
    """Start a program as `subprocess.Popen` would: `pkiserver` itself, or the interpreter with a script."""
    answers, write = os.pipe()
    start = {"program": list(program), "environment": dict(environment), "folder": os.getcwd()}
    handed = [stdin.fileno(), stdout.fileno(), stderr.fileno(), write]
    try:
        socket.send_fds(_prepared(), [json.dumps(start).encode()], handed)
    finally:
        os.close(write)
    return Forked(answers)


@cache
def _prepared() -> socket.socket:
    """Return the way to the prepared process of this test process; it ends when that is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        process.wait(ENDING_S)

    atexit.register(end)
    return ours


def _load() -> None:
    """Load what the commands load when they are given."""
    import uvloop  # noqa: F401

    import pkiserver.app
    import pkiserver.cli
    import pkiserver.initialise
    import pkiserver.status_server
    import pkiserver.welcome  # noqa: F401

    gc.collect()
    gc.freeze()


def _fork_for_ever(asks: socket.socket) -> dict[str, Any] | None:
    """Return in every copy with what it is to run, and in the prepared process when nobody asks any more."""
    forked = 0
    while True:
        message, handed, _, _ = socket.recv_fds(asks, MAX_START_BYTES, 4)
        if not message:
            return None
        while forked and os.waitpid(-1, os.WNOHANG)[0]:
            forked -= 1
        forked += 1
        if os.fork() == 0:
            asks.close()
            _become_waiter(array.array("i", handed))
            return json.loads(message)
        for descriptor in handed:
            os.close(descriptor)


def _become_waiter(handed: "array.array[int]") -> None:
    """Fork once more and return in the child: the parent tells its process id, then its end."""
    *streams, answers = handed
    pid = os.fork()
    if pid == 0:
        os.close(answers)
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        return
    for descriptor in (0, 1, 2, *streams):
        os.close(descriptor)
    os.setsid()  # Ctrl-C is for the program
    os.write(answers, _NUMBER.pack(pid))
    _, status = os.waitpid(pid, 0)
    try:
        os.write(answers, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
    finally:
        os._exit(0)


def _run(start: dict[str, Any]) -> None:
    os.chdir(start["folder"])
    os.environ.clear()
    os.environ.update(start["environment"])
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process is
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    program, *arguments = start["program"]
    if program == sys.executable:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        from pkiserver.__main__ import start as run

        sys.argv = [program, *arguments]
        run()


if __name__ == "__main__":
    _load()
    with socket.socket(fileno=int(sys.argv[1])) as way:
        begun = _fork_for_ever(way)
    if begun is not None:
        _run(begun)
