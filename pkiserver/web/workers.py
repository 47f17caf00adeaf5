"""The parent's side of the status plane: sockets, worker processes, their replacement and their counts."""

import asyncio
import json
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from pkiserver.child_environment import child_environment
from pkiserver.errors import UnavailableError
from pkiserver.web.cmp_answering import CMPAnswerer
from pkiserver.web.cmp_relay import CMPRelay
from pkiserver.web.http_limits import HTTPLimits
from pkiserver.web.signing_service import Fresh, SigningService
from pkiserver.web.status_counters import StatusCounters
from pkiserver.web.status_worker import BACKLOG, CMPSettings, SigningSettings, WorkerSettings

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)

START_TIMEOUT_S: Final = 30.0  # an interpreter and a table to map: well under a second on an idle machine
SILENCE_TIMEOUT_S: Final = 30.0  # a worker reports every second; one that does not is stuck
FIRST_PAUSE_S: Final = 0.1  # before the second replacement in a row; doubles
LONGEST_PAUSE_S: Final = 5.0
STEADY_S: Final = 10.0  # a worker that lived so long did not die of what it was started with
MAX_LINE_BYTES: Final = 1 << 20
EXIT_PATIENCE_S: Final = 2.0  # from a worker's last word to its end
DRAIN_GRACE_S: Final = 4.0  # over the deadline, for the worker to end by itself


@dataclass(frozen=True, slots=True)
class StatusWorkersSettings:
    """What the workers serve: the response table and the `public` folder, and where."""

    table: Path
    public: Path
    addresses: tuple[tuple[str, int], ...]
    workers: int = 1
    max_age: timedelta = timedelta(seconds=60)
    limits: HTTPLimits = field(default_factory=HTTPLimits)
    silence_s: float = SILENCE_TIMEOUT_S
    signing: SigningSettings = field(default_factory=SigningSettings)
    cmp: CMPSettings = field(default_factory=CMPSettings)


@dataclass(slots=True, eq=False)
class _Worker:
    """One place in the row of workers: its sockets, which outlive the processes that serve them."""

    listeners: list[socket.socket]
    started: asyncio.Future[None]
    counters: StatusCounters = field(default_factory=StatusCounters)
    process: asyncio.subprocess.Process | None = None
    control: asyncio.StreamWriter | None = None
    task: asyncio.Task[None] | None = None
    in_a_row: int = 0


class StatusWorkers:
    """Runs the worker processes of one machine.

    Each worker has listening sockets of its own on the shared addresses (SO_REUSEPORT). The parent keeps
    them open: connections that a dead worker had not accepted are answered by its replacement.
    """

    def __init__(
        self,
        settings: StatusWorkersSettings,
        fresh: Fresh | None = None,
        cmp: CMPAnswerer | None = None,
    ) -> None:
        """Take what is served, who answers what has to be signed on request, and who CMP: None, nobody."""
        self._settings = settings
        self._signs = settings.signing
        self._cmp = CMPRelay(cmp, limit=settings.cmp.limit) if cmp is not None else None
        self._signing = SigningService(fresh, limit=settings.signing.limit) if fresh is not None else None
        self._workers: list[_Worker] = []
        self._ended = StatusCounters()  # what the replaced ones had counted
        self._addresses: list[tuple[str, int]] = []
        self._ready = False
        self._stopping = asyncio.Event()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses that are listened on, with the ports chosen where 0 was asked for."""
        return list(self._addresses)

    @property
    def address(self) -> tuple[str, int]:
        """The first of `addresses`."""
        return self.addresses[0]

    @property
    def pids(self) -> list[int]:
        """The processes of the workers that run."""
        return [worker.process.pid for worker in self._workers if worker.process is not None]

    def counters(self) -> StatusCounters:
        """Return the counts of all workers together, those that died included; up to a second old."""
        total = StatusCounters()
        for counters in (self._ended, *(worker.counters for worker in self._workers)):
            total.add(counters)
        return total

    async def start(self, *, ready: bool = True) -> None:
        """Bind, start the workers and return when all serve.

        `ready` is what `/ready` says at first. `UnavailableError` where an address cannot be bound or a
        worker cannot serve; nothing is left running then.
        """
        self._ready = ready
        loop = asyncio.get_running_loop()
        bound = _bind(self._settings.addresses, self._settings.workers)
        self._addresses = [listener.getsockname()[:2] for listener in bound[0]]
        self._workers = [_Worker(listeners, loop.create_future()) for listeners in bound]
        for worker in self._workers:
            worker.task = asyncio.create_task(self._keep(worker))
        try:
            await asyncio.wait_for(asyncio.gather(*(w.started for w in self._workers)), START_TIMEOUT_S)
        except TimeoutError as error:
            await self.close()
            raise UnavailableError("the status workers did not start in time") from error
        except UnavailableError:
            await self.close()
            raise

    def set_ready(self, ready: bool) -> None:
        """Set what `/ready` says on every worker: False before `drain`, so that load balancers turn away.

        From `drain` on it stays so.
        """
        self._ready = ready and not self._stopping.is_set()
        self._tell({"ready": self._ready})

    def sign_unknown(self, authorities: tuple[int, ...]) -> None:
        """Set who signs what is said of certificates that were not issued (`SigningSettings.unknown`)."""
        self._signs = replace(self._signs, unknown=authorities)
        self._tell({"unknown": authorities})

    async def drain(self, deadline: timedelta = timedelta(seconds=10)) -> None:
        """Stop accepting, have everything under way answered, and end the workers.

        Connections still busy at the deadline are dropped. Safe to call twice.
        """
        self._stopping.set()
        self._tell({"drain": deadline.total_seconds()})
        for worker in self._workers:
            for listener in worker.listeners:
                listener.close()  # the worker's copy is then the last: what arrives later is refused at once
        tasks = [worker.task for worker in self._workers if worker.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=deadline.total_seconds() + DRAIN_GRACE_S)
        await self.close()

    async def close(self) -> None:
        """End the workers at once."""
        self._stopping.set()
        tasks = [worker.task for worker in self._workers if worker.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._signing is not None:
            await self._signing.close()
        if self._cmp is not None:
            await self._cmp.close()
        for worker in self._workers:
            for listener in worker.listeners:
                listener.close()

    def _tell(self, message: dict[str, Any]) -> None:
        for worker in self._workers:
            if worker.control is not None:
                worker.control.write(_line(message))

    async def _keep(self, worker: _Worker) -> None:
        """Run one worker after another in this place, until the stop."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            since = loop.time()
            try:
                await self._run_one(worker)
            except (OSError, UnavailableError) as error:
                if not worker.started.done():
                    worker.started.set_exception(UnavailableError(str(error)))
                    return
                _log.error("status worker cannot serve", error=str(error))
            if not worker.started.done():
                worker.started.set_exception(UnavailableError("a status worker ended while it started"))
                return
            self._retire(worker)
            if self._stopping.is_set():
                return
            worker.in_a_row = 0 if loop.time() - since > STEADY_S else worker.in_a_row + 1
            await asyncio.sleep(_pause_s(worker.in_a_row))

    def _retire(self, worker: _Worker) -> None:
        counters, worker.counters = worker.counters, StatusCounters()
        counters.connections = 0
        counters.restarts = 0 if self._stopping.is_set() else 1
        self._ended.add(counters)

    async def _run_one(self, worker: _Worker) -> None:
        """Start a process and follow it to its end."""
        ours, theirs = socket.socketpair()
        descriptors = [listener.fileno() for listener in worker.listeners]
        reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE_BYTES)
        try:
            with theirs:
                if self._stopping.is_set():
                    return
                process = await _spawn(theirs.fileno(), descriptors)
            worker.process, worker.control = process, writer
            try:
                if self._stopping.is_set():
                    return  # it would not hear of the drain
                writer.write(_line(self._worker_settings(descriptors).to_json()))
                if await self._follow(worker, reader):
                    await _end(process, EXIT_PATIENCE_S)
            finally:
                worker.process = worker.control = None
                await _end(process, 0.0)
        finally:
            writer.close()
        if not self._stopping.is_set():
            _log.warning("status worker ended", pid=process.pid, status=process.returncode)

    def _worker_settings(self, descriptors: Sequence[int]) -> WorkerSettings:
        settings = self._settings
        return WorkerSettings(
            settings.table,
            settings.public,
            tuple(descriptors),
            settings.max_age,
            settings.limits,
            self._ready,
            self._signs if self._signing is not None else None,
            settings.cmp if self._cmp is not None else None,
        )

    async def _follow(self, worker: _Worker, reader: asyncio.StreamReader) -> bool:
        """Read what a worker reports until it says no more; return False where it is silent and stuck."""
        loop = asyncio.get_running_loop()
        patience_s = START_TIMEOUT_S
        try:
            async with asyncio.timeout(patience_s) as patience:  # one timer, for many lines a millisecond
                while line := await reader.readline():
                    self._take(worker, json.loads(line))
                    patience_s = self._settings.silence_s
                    patience.reschedule(loop.time() + patience_s)
        except TimeoutError:
            _log.error("status worker is stuck", silence_s=patience_s)
            return False
        except (OSError, ValueError):
            return True  # killed in the middle of a line, or with our settings unread
        return True

    def _take(self, worker: _Worker, message: dict[str, Any]) -> None:
        if "sign" in message and self._signing is not None:
            self._signing.take(message, partial(_write, worker.control))
        elif "cmp" in message and self._cmp is not None:
            self._cmp.take(message, partial(_write, worker.control))
        elif "counters" in message:
            worker.counters = StatusCounters.from_json(message["counters"])
        elif "error" in message:
            _log.error("status worker met an error", error=message["error"])
        elif "refused" in message:
            raise UnavailableError(message["refused"])
        elif "serving" in message and not worker.started.done():
            worker.started.set_result(None)


def _write(control: asyncio.StreamWriter | None, message: dict[str, Any]) -> None:
    """Send a message to the process that this writer leads to, unless it has gone."""
    if control is not None and not control.is_closing():
        control.write(_line(message))


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode("ascii") + b"\n"


def _pause_s(in_a_row: int) -> float:
    """Return how long to wait before the next replacement, when so many in a row died young."""
    return 0.0 if in_a_row <= 1 else min(FIRST_PAUSE_S * 2 ** min(in_a_row - 2, 16), LONGEST_PAUSE_S)


async def _spawn(control: int, listeners: Sequence[int]) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # what lies in the working folder is no part of the program
            "-m",
            "pkiserver.web.status_worker",
            str(control),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(control, *listeners),
            env=child_environment(),
        )
    except OSError as error:
        raise UnavailableError(f"a status worker cannot be started: {error.strerror}") from error


async def _end(process: asyncio.subprocess.Process, patience_s: float) -> None:
    """Wait for a process to end; after `patience_s`, kill it."""
    if process.returncode is None:
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), patience_s)
            return
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _bind(addresses: Sequence[tuple[str, int]], workers: int) -> list[list[socket.socket]]:
    """Return for each worker sockets that listen on all addresses; `UnavailableError` where one cannot."""
    rows: list[list[socket.socket]] = [[] for _ in range(workers)]
    try:
        for host, port in addresses:
            for row in rows:
                row.append(_listener(host, port))
                port = row[-1].getsockname()[1]  # port 0: what the first was given, all others take
    except OSError as error:
        for row in rows:
            for listener in row:
                listener.close()
        raise UnavailableError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return rows


def _listener(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
