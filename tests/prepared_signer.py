"""The worker of a software key store, forked from a process that has loaded it.

Nearly every test on an open core starts one; those of the signer itself, and of whole servers, start it as
the server does.
"""

import asyncio
import os
import socket

from pkiserver.signer.process import WorkerProcess, worker_environment
from pkiserver.signer.settings import SignerSettings
from tests.prepared_program import Forked, start_prepared

_execute = WorkerProcess._execute


class ForkedProcess:
    """Of `asyncio.subprocess.Process` it has what a `WorkerProcess` uses."""

    def __init__(self, forked: Forked) -> None:
        self._forked = forked
        self.pid = forked.pid

    def kill(self) -> None:
        self._forked.kill()

    async def wait(self) -> int:
        if self._forked.returncode is None:
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(self._forked.answers, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(self._forked.answers)
        return self._forked.wait()


async def execute_prepared(worker: WorkerProcess, settings: SignerSettings, theirs: socket.socket) -> None:
    """Take the place of `WorkerProcess._execute` where the keys are software."""
    if settings.store != "software":
        await _execute(worker, settings, theirs)
        return
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        forked = start_prepared(
            "signer",
            ["3", settings.store],
            worker_environment(settings),
            [nothing, nothing, 2, theirs.fileno()],
        )
    finally:
        os.close(nothing)
    worker._process = ForkedProcess(forked)  # type: ignore[assignment]  # a part of it
    worker._ended = asyncio.ensure_future(worker._process.wait())
