"""What each role of `serve` has: addresses told in the home, tasks that must not end, the wait for a stop."""

import asyncio
import json
import signal
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from pkiserver.home import PRIVATE_FILE_MODE, write_file

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a started server listens: (host, port) pairs, ports as chosen where 0 was asked for."""

    http: list[tuple[str, int]]
    https: list[tuple[str, int]]
    metrics: list[tuple[str, int]]

    def tell(self, path: Path) -> None:
        """Say it in the home, for `doctor` and for scripts; what cannot be written is logged."""
        try:
            write_file(path, json.dumps(asdict(self)).encode() + b"\n", PRIVATE_FILE_MODE)
        except OSError as error:  # a full disk must not keep status from answering
            _log.error("endpoints-not-written", reason=str(error))


class Tasks:
    """Tasks that run as long as the server does: one that ends by itself is a failure of the server."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[None] | None = None

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run it from now on."""
        loop = asyncio.get_running_loop()
        self._failed = self._failed or loop.create_future()
        task = loop.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    async def wait_failed(self) -> None:
        """Return only by raising what ended one of them."""
        if self._failed is None:
            raise RuntimeError("the server is not started")
        await self._failed

    async def cancel(self) -> None:
        """End them all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._failed is None or self._failed.done():
            return
        error = task.exception() or RuntimeError(f"the task {task.get_name()} ended")
        _log.error("task-failed", task=task.get_name(), exc_info=error)
        self._failed.set_exception(error)


class Failing(Protocol):
    """A server that may fail as it runs."""

    async def wait_failed(self) -> None: ...


def stop_signal() -> asyncio.Event:
    """Return what is set by SIGINT or SIGTERM from now on."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def until_stopped(server: Failing, stop: asyncio.Event) -> None:
    """Return when the stop is set; raise what a part that must not fail failed with."""
    failed = asyncio.ensure_future(server.wait_failed())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait((failed, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if failed.done():
        failed.result()
    failed.cancel()
    _log.info("stopping")
