"""One worker's lane: it is given a batch at a time while it serves, and opened again whenever it is lost.

Where only the session was lost, the process opens another; in every other case the process is killed and
replaced. What it was given and did not answer goes back to the pool, which knows what may be tried again.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from pkiserver.signer.circuit import Circuit, pause_s
from pkiserver.signer.errors import (
    ENDING,
    SessionLostError,
    SignerError,
    WorkerHungError,
    WorkerLostError,
)
from pkiserver.signer.pending import Pending, as_one
from pkiserver.signer.process import WorkerProcess
from pkiserver.signer.settings import SignerSettings
from pkiserver.signer.statistics import Statistics
from pkiserver.signer.wire import OK, Answer, error_of

NO_ID: Final = -1  # of no answer

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


class LanePool(Protocol):
    """What a lane tells the pool, and what it asks: the PIN that was typed, None where it is not typed."""

    @property
    def typed(self) -> bytes | None: ...

    def answered(self, batch: Sequence[Pending], answer: Answer) -> None:
        """Take the answer to a batch, which may be an error."""

    def idle(self, lane: "Lane") -> None:
        """Take notice that the lane serves and has nothing to do."""

    def lost(self, lane: "Lane", unanswered: Sequence[Pending], error: SignerError) -> None:
        """Take back what a lost worker did not answer."""


class Lane:
    """One worker at a time. `serving`: its key store is open, and it may be given requests."""

    def __init__(
        self, pool: LanePool, circuit: Circuit, statistics: Statistics, settings: SignerSettings
    ) -> None:
        self._pool = pool
        self._circuit = circuit
        self._statistics = statistics
        self._settings = settings
        self._worker: WorkerProcess | None = None
        self._opened_by: bytes | None = None  # the typed PIN that the worker has
        self._given: Sequence[Pending] = ()
        self._given_id = NO_ID
        self._loss: asyncio.Future[SignerError] | None = None
        self._losses = 0  # in a row, without an answer between them
        self._moved_s = 0.0

    @property
    def serving(self) -> bool:
        """Whether it may be given requests."""
        return self._loss is not None and not self._loss.done()

    @property
    def in_work(self) -> int:
        """Requests that it was given and has not answered, checks of its health aside."""
        return sum(pending.counts for pending in self._given)

    @property
    def pid(self) -> int | None:
        """The process id of the worker, None where none serves."""
        return self._worker.pid if self._worker is not None and self.serving else None

    async def start(self) -> None:
        """Start the first worker; raises the error by which it refused, after one try."""
        worker = await WorkerProcess.spawn(self._settings)
        try:
            async with self._circuit.turn():
                await self._log_in(worker)
        except BaseException:
            await worker.kill()
            raise
        self._adopt(worker)

    async def run(self) -> None:
        """Replace the worker whenever it is lost, until cancelled; open it first where `start` did not."""
        while True:
            if self._loss is None:
                await self._open()
            else:
                error = await self._loss
                self._loss = None
                self._losses += 1
                await self._recover(error)

    async def close(self) -> None:
        """End the worker; to be called when `run` has ended."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.on_lost = lambda _: None
            await worker.close()

    def give(self, batch: Sequence[Pending], number: int, now: float) -> None:
        """Have the worker serve a batch as one request with this id."""
        self._moved_s = now
        self._given, self._given_id = batch, number
        for pending in batch:
            pending.tries += 1
        if self._worker is not None:
            self._worker.send(as_one(batch, number))

    def watch(self, now: float) -> None:
        """Give up the worker where it holds a request, without a sign of life, for too long."""
        if self.serving and self._given:
            allowed_s = self._given[0].deadline_s
            if now - self._moved_s > allowed_s:
                self._lose(WorkerHungError("the signer did not answer in time"))

    def fail_late(self, now: float) -> None:
        """Tell who has waited too long; the worker goes on, for a while, with what it was given."""
        for pending in self._given:
            if pending.late(now):
                pending.fail(WorkerHungError("the signer did not answer in time"))

    def abandon(self, error: SignerError) -> None:
        """Fail what the worker was given."""
        for pending in self._given:
            pending.fail(error)
        self._given = ()

    def quiet_s(self, now: float) -> float:
        """Return since when the worker has not answered anything."""
        return now - self._moved_s

    def _adopt(self, worker: WorkerProcess) -> None:
        loop = asyncio.get_running_loop()
        self._worker = worker
        self._loss = loop.create_future()
        self._moved_s = loop.time()
        worker.on_answer = self._take
        worker.on_lost = self._lose
        worker.tell_loss()
        if self.serving:
            self._pool.idle(self)

    async def _log_in(self, worker: WorkerProcess) -> None:
        """Have a new worker open its key store by the PIN of now."""
        self._opened_by = self._pool.typed
        await worker.open(self._settings, self._opened_by)

    async def _open(self) -> None:
        """Bring up a worker, however often that must be tried."""
        while True:
            worker: WorkerProcess | None = None
            try:
                worker = await WorkerProcess.spawn(self._settings)
                async with self._circuit.turn(self._losses):
                    await self._log_in(worker)
            except SignerError as error:
                await self._failed(worker, error)
            except BaseException:
                await _end(worker)
                raise
            else:
                self._adopt(worker)
                return

    async def _failed(self, worker: WorkerProcess | None, error: SignerError) -> None:
        self._statistics.fault(error)
        self._statistics.restarts += 1
        _log.error("signer-not-opened", token=self._settings.token_name, reason=str(error))
        await _end(worker)
        if worker is None:  # it took no turn: this is its failure, and its pause
            self._losses += 1
            self._circuit.fail(error)
            await asyncio.sleep(pause_s(self._losses))
        self._pool.lost(self, (), error)

    async def _recover(self, error: SignerError) -> None:
        """Have the process open another session where only that was lost, else give it up.

        One that has another PIN than was typed last is given up, too: it would try the old one.
        """
        worker, self._worker = self._worker, None
        knows_pin = self._opened_by == self._pool.typed
        if isinstance(error, SessionLostError) and worker is not None and knows_pin:
            try:
                async with self._circuit.turn(self._losses - 1):
                    await worker.reopen()
            except SignerError as failed:
                await self._failed(worker, failed)
                return
            except BaseException:
                await _end(worker)
                raise
            self._statistics.reopened += 1
            self._adopt(worker)
            return
        self._statistics.restarts += 1
        await _end(worker)

    def _take(self, answer: Answer) -> None:
        self._moved_s = asyncio.get_running_loop().time()
        error = None if answer.code == OK else error_of(answer)
        ours = answer.id == self._given_id
        if isinstance(error, ENDING) or (error and ours and not self._given[0].counts):  # its check failed
            self._lose(error)
        elif not ours:
            self._lose(WorkerLostError("the signer process answered what was not asked"))
        else:
            batch, self._given, self._given_id = self._given, (), NO_ID
            self._losses = 0
            self._pool.answered(batch, answer)
            self._pool.idle(self)

    def _lose(self, error: SignerError) -> None:
        if self._loss is None or self._loss.done():
            return
        self._loss.set_result(error)
        self._statistics.fault(error)
        _log.error("signer-lost", token=self._settings.token_name, reason=str(error))
        unanswered, self._given, self._given_id = self._given, (), NO_ID
        self._pool.lost(self, unanswered, error)


async def _end(worker: WorkerProcess | None) -> None:
    if worker is not None:
        worker.on_lost = lambda _: None
        await worker.kill()
