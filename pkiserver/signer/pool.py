"""The queue before the workers: bounded, in order, given to whichever worker is free.

A worker has one batch at a time, so who is free is the least loaded. Signatures by one key travel together
as far as the token is quick or the queue long: a batch takes about `BATCH_AIM_S`, or is half of the worker's
share (`together`); a slow token with a short queue is given them one by one.
Deadlines are watched by one timer, not by one for each request.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from pkiserver.signer.circuit import Circuit
from pkiserver.signer.errors import (
    SignerBusyError,
    SignerError,
    SignerSecretError,
    SignerUnavailableError,
    WorkerHungError,
)
from pkiserver.signer.lane import Lane
from pkiserver.signer.pending import Pending
from pkiserver.signer.settings import SignerSettings
from pkiserver.signer.statistics import Statistics
from pkiserver.signer.wire import OK, Answer, Operation, error_of

BATCH_AIM_S: Final = 0.002  # what a request may wait for others of its batch
LONGEST_BATCH_S: Final = 0.05  # what batches may add to the wait of who comes next, however long the queue
MAX_TOGETHER: Final = 64  # requests in one frame
MAX_TOGETHER_BYTES: Final = 1 << 20  # beyond that what is large travels alone
RETRY_AFTER_S: Final = 0.02  # what ended one worker often ends others: let that show first
CHECK_EVERY_S: Final = 10.0  # a token that was pulled out is noticed so soon, though nobody asks for anything
_WATCH_S: Final = 0.2
_WATCHES_A_DEADLINE: Final = 20
_LAST_ID: Final = 0xFFFFFFFE  # the one above is `process`'s own
_ANSWERS: Final = {Operation.GENERATE: 1, Operation.PUBLIC_KEY: 1, Operation.CHECK: 0}
"""Parts of an answer, where they are not one for each part of the request."""
_ROUNDING: Final = 1e-9  # three times a third is one
_SIGNING: Final = (Operation.SIGN, Operation.SIGN_DIGEST)


class Pool:
    """Workers of one token and the requests that wait for them."""

    def __init__(
        self,
        settings: SignerSettings,
        statistics: Statistics,
        *,
        workers: int,
        max_waiting: int,
        deadline_s: float,
        typed: bytes | None = None,
    ) -> None:
        """Take what there is to be; `typed` is the PIN where a person was asked for it."""
        self.typed = typed
        self.circuit = Circuit()
        self._settings = settings
        self._statistics = statistics
        self._max_waiting = max_waiting
        self._deadline_s = deadline_s
        self._waiting: deque[Pending] = deque()
        self._retrying: deque[Pending] = deque()  # will soon wait before all others
        self._lanes = [Lane(self, self.circuit, statistics, settings) for _ in range(workers)]
        self._idle: list[Lane] = []  # the last is given the next request: its caches are warm
        self._tasks: list[asyncio.Task[None]] = []
        self._last_id = 0
        self._given = 0  # requests that workers have

    async def start(self) -> None:
        """Return when the first worker serves; the others follow. Raises the error by which it refused."""
        await self._lanes[0].start()
        self._tasks = [asyncio.create_task(lane.run(), name="signer-lane") for lane in self._lanes]
        self._tasks.append(asyncio.create_task(self._watch(), name="signer-watch"))

    async def close(self) -> None:
        """End all workers; requests that are not answered yet fail."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        error = SignerUnavailableError("the signer is closed")
        for lane in self._lanes:
            lane.abandon(error)
        self._refuse_waiting(error)
        await asyncio.gather(*(lane.close() for lane in self._lanes))

    @property
    def depth(self) -> int:
        """Requests that wait or are being served."""
        return len(self._retrying) + len(self._waiting) + sum(lane.in_work for lane in self._lanes)

    @property
    def serving(self) -> int:
        """Workers whose key store is open."""
        return sum(lane.serving for lane in self._lanes)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that serve."""
        return [lane.pid for lane in self._lanes if lane.pid is not None]

    async def ask(
        self, operation: Operation, label: str, parts: tuple[bytes, ...], deadline_s: float
    ) -> tuple[bytes, ...]:
        """Return the parts of the answer to a request; raises the error that it tells.

        `SignerBusyError` at once where too many wait, the reason where nothing can be served soon,
        `WorkerHungError` at the deadline, and what a worker was lost of, twice.
        """
        self._refuse_if_hopeless()
        if len(self._waiting) >= self._max_waiting:
            busy = SignerBusyError("too many requests wait for the signer")
            self._statistics.fault(busy)
            raise busy
        pending = Pending(operation, label, parts, _now(), deadline_s)
        self._waiting.append(pending)
        self._dispatch()
        try:
            return await pending.done
        finally:
            if pending.done.cancelled():
                with suppress(ValueError):  # a worker has it already
                    self._waiting.remove(pending)

    def answered(self, batch: Sequence[Pending], answer: Answer) -> None:
        """See `LanePool`."""
        self._given -= len(batch)
        if answer.code != OK:
            self._told(batch, error_of(answer))
            return
        first = batch[0]
        asked = sum(len(pending.parts) for pending in batch)
        wanted = _ANSWERS.get(first.operation, asked)
        if first.operation is not Operation.LABELS and len(answer.parts) != wanted:
            self._told(batch, SignerUnavailableError("the signer process answered what was not asked"))
            return
        if first.operation in _SIGNING:
            self._statistics.signed(first.label, asked, answer.busy_us / 1e6)
        if len(batch) == 1:
            first.answer(answer.parts)
            return
        begin = 0
        for pending in batch:
            end = begin + len(pending.parts)
            pending.answer(answer.parts[begin:end])
            begin = end

    def _told(self, batch: Sequence[Pending], error: SignerError) -> None:
        if isinstance(error, SignerSecretError):
            self._statistics.fault(error)
            if self._settings.store == "pkcs11":  # of the token; a passphrase may be wrong for one file alone
                self.circuit.refuse(error)
        for pending in batch:
            pending.fail(error)

    def idle(self, lane: Lane) -> None:
        """See `LanePool`."""
        if lane not in self._idle:
            self._idle.append(lane)
        self._dispatch()

    def lost(self, lane: Lane, unanswered: Sequence[Pending], error: SignerError) -> None:
        """See `LanePool`: try again what may be, before everything that waits, and fail the rest."""
        self._given -= len(unanswered)
        if lane in self._idle:
            self._idle.remove(lane)
        for pending in unanswered:
            if pending.may_be_tried and not pending.late(_now()):
                self._retrying.append(pending)
            elif isinstance(error, SignerUnavailableError):
                pending.fail(error)
            else:
                pending.fail(SignerUnavailableError(str(error)))
        if not self.serving and self.circuit.hopeless:
            self._refuse_waiting(self.circuit.reason or error)
        asyncio.get_running_loop().call_later(RETRY_AFTER_S, self._try_again)

    def _try_again(self) -> None:
        self._waiting.extendleft(reversed(self._retrying))
        self._retrying.clear()
        self._dispatch()

    def _refuse_if_hopeless(self) -> None:
        if self.circuit.hopeless and not self.serving and self.circuit.reason is not None:
            raise type(self.circuit.reason)(*self.circuit.reason.args)

    def _refuse_waiting(self, error: SignerError) -> None:
        for queue in (self._retrying, self._waiting):
            for pending in queue:
                pending.fail(error)
            queue.clear()

    def _dispatch(self) -> None:
        while self._idle and self._waiting:
            batch = self._batch()
            if batch:
                self._give(self._idle.pop(), batch)

    def _give(self, lane: Lane, batch: list[Pending]) -> None:
        self._last_id = self._last_id % _LAST_ID + 1
        self._given += len(batch)
        lane.give(batch, self._last_id, _now())

    def _batch(self) -> list[Pending]:
        """Return what the next worker is given: one request, or several signatures by one key."""
        first = self._waiting.popleft()
        if not first.may_be_tried:
            return []
        batch, room = [first], self._room(first)
        while room > 0 and self._waiting and self._waiting[0].mergeable:
            pending = self._waiting[0]
            room -= max(len(pending.parts), sum(map(len, pending.parts)) * MAX_TOGETHER // MAX_TOGETHER_BYTES)
            if pending.label != first.label or room < 0:
                break
            self._waiting.popleft()
            if pending.may_be_tried:
                batch.append(pending)
        return batch

    def _room(self, first: Pending) -> int:
        """Return how many more signatures may travel with this request."""
        each_s = self._statistics.signature_s(first.label)
        if not first.mergeable or not each_s:
            return 0
        share = len(self._waiting) // len(self._idle)  # the other free workers get theirs
        most = together(each_s, 1 + len(self._waiting) + self._given, len(self._lanes))
        return min(share, most - len(first.parts))

    async def _watch(self) -> None:
        """Fail what waited too long, give up workers that hang, and have quiet ones checked."""
        while True:
            await asyncio.sleep(min(_WATCH_S, self._deadline_s / _WATCHES_A_DEADLINE))
            now = _now()
            self._fail_late(now)
            for lane in self._lanes:
                lane.watch(now)
            for lane in [one for one in self._idle if one.quiet_s(now) > CHECK_EVERY_S]:
                self._idle.remove(lane)
                self._give(lane, [Pending(Operation.CHECK, "", (), now, self._deadline_s)])

    def _fail_late(self, now: float) -> None:
        late = [pending for pending in self._waiting if pending.late(now)]
        for pending in late:
            self._waiting.remove(pending)
            pending.fail(WorkerHungError("the signer did not answer in time"))
        for lane in self._lanes:
            lane.fail_late(now)


def together(each_s: float, asked: int, workers: int) -> int:
    """Return how many signatures of so many seconds a worker is given at once, of so many asked for in all.

    Those of one batch are all answered at its end: who is first in it loses what the queue as a whole wins,
    for each batch costs switches of process, and the worker is cold after each. So it is as many as take
    `BATCH_AIM_S`, or half of the worker's share as far as that takes `LONGEST_BATCH_S`. The other half waits
    for whoever is free: were all given out, some workers would be idle while others have a long batch.
    """
    quick, bearable = (int(aim_s / each_s + _ROUNDING) for aim_s in (BATCH_AIM_S, LONGEST_BATCH_S))
    return min(MAX_TOGETHER, max(quick, min(bearable, round(asked / workers / 2))))


def _now() -> float:
    return asyncio.get_running_loop().time()
