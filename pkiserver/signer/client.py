"""`Signer`: what the server sees of its keys. Requests wait in a bounded queue for one worker process.

- A request waits no longer than its deadline, whatever happens to the worker.
- A worker that holds one request longer than that is killed (SIGKILL) and replaced.
- A worker that ends is replaced: the first time at once, then after growing pauses until one serves again.
- The request that a worker died of is given to the replacement once more, for signing is idempotent: a
  second signature over the same octets does no harm. `generate` is not: it fails, and the label tells
  afterwards whether the key was made.
- A wrong passphrase or PIN ends it all: nothing is started again, every request is refused with
  `SignerSecretError`, until an operator has acted and `start` is called after `close`.

A process forked from the server would share the worker's socket: start it before `start`, or spawn it.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from pkiserver.signer.algorithms import KeySpec
from pkiserver.signer.errors import (
    ENDING,
    RequestTooLargeError,
    SignerBusyError,
    SignerError,
    SignerSecretError,
    SignerUnavailableError,
)
from pkiserver.signer.keystore import check_label
from pkiserver.signer.process import WorkerProcess
from pkiserver.signer.settings import SignerSettings
from pkiserver.signer.wire import MAX_FRAME_BYTES, OK, Answer, Operation, Request, error_of

DEADLINE_S: Final = 10.0
GENERATE_DEADLINE_S: Final = 120.0  # RSA-4096 in hardware takes tens of seconds
MAX_WAITING: Final = 256  # at 5 ms a signature the last of them waits 1.3 s; more is better refused
MAX_BATCH: Final = 256  # signatures in one frame, about 7 ms: other requests get their turn in between
MAX_BATCH_BYTES: Final = 1 << 20  # likewise; one larger octet string travels alone
MAX_DATA_BYTES: Final = MAX_FRAME_BYTES - 1024  # leaves room for the head of the frame
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
_LAST_ID: Final = 0xFFFFFFFF


@dataclass(slots=True, eq=False)
class _Waiting:
    request: Request
    deadline_s: float
    done: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, error: SignerError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Signer:
    """Keys of one key store, used from one event loop. Every method raises `SignerError`s only.

    Those of the key store (`keystore.KeyStore`), and: `SignerBusyError` at once when `max_waiting`
    requests wait, `SignerUnavailableError` when there was no answer in `deadline_s` (or, for `generate`,
    `generate_deadline_s`), `SignerSecretError` as told above.
    """

    def __init__(
        self,
        settings: SignerSettings,
        *,
        deadline_s: float = DEADLINE_S,
        generate_deadline_s: float = GENERATE_DEADLINE_S,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._settings = settings
        self._deadline_s = deadline_s
        self._generate_deadline_s = generate_deadline_s
        self._max_waiting = max_waiting
        self._ids = count()
        self._waiting: deque[_Waiting] = deque()
        self._serving: _Waiting | None = None
        self._wake = asyncio.Event()
        self._worker: WorkerProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self._refusal: SignerError = SignerUnavailableError("the signer is not started")
        self._failures = 0
        self._restarts = 0
        self._signatures = 0

    async def start(self) -> None:
        """Start the worker and return when its key store is open.

        Raises what `WorkerProcess.start` does, after one try; the signer is then as if never started.
        """
        if self._task is not None:
            return
        self._adopt(await WorkerProcess.start(self._settings))
        self._failures = 0
        self._task = asyncio.create_task(self._run(), name="signer")

    async def close(self) -> None:
        """End the worker; requests that still wait fail with `SignerUnavailableError`."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait((task,))
        self._refuse_all(SignerUnavailableError("the signer is closed"))
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.close()

    @property
    def queue_depth(self) -> int:
        """Requests that wait or are being served."""
        return len(self._waiting) + (self._serving is not None)

    @property
    def restarts(self) -> int:
        """How often a worker was replaced, or tried to be."""
        return self._restarts

    @property
    def signatures(self) -> int:
        """Signatures received so far."""
        return self._signatures

    @property
    def healthy(self) -> bool:
        """Whether a worker with an open key store is there to serve."""
        return self._task is not None and self._worker is not None and not self._worker.ended.done()

    @property
    def ended_by(self) -> str | None:
        """Why nothing is tried any more (a refused passphrase or PIN), None otherwise."""
        return str(self._refusal) if self._task is not None and self._task.done() else None

    @property
    def pid(self) -> int | None:
        """The process id of the present worker, None between two."""
        return self._worker.pid if self._worker is not None and self.healthy else None

    async def generate(self, label: str, spec: KeySpec) -> bytes:
        """Make a key and return its DER SubjectPublicKeyInfo; `KeyExistsError` where the label is taken."""
        check_label(label)
        (spki,) = await self._ask(Operation.GENERATE, label, (str(spec).encode(),), self._generate_deadline_s)
        return spki

    async def public_key(self, label: str) -> bytes:
        """Return the DER SubjectPublicKeyInfo of a key."""
        check_label(label)
        (spki,) = await self._ask(Operation.PUBLIC_KEY, label)
        return spki

    async def labels(self) -> list[str]:
        """Return the labels of all keys, sorted."""
        return [label.decode() for label in await self._ask(Operation.LABELS, "")]

    async def sign(self, label: str, data: bytes) -> bytes:
        """Return the signature over `data` by the key's algorithm (`algorithms.signature_algorithm_for`)."""
        (signature,) = await self.sign_many(label, (data,))
        return signature

    async def sign_digest(self, label: str, hashed: bytes) -> bytes:
        """Return the signature over what hashes to `hashed`, where that is too much to be sent to a worker.

        The hash is that of the key's algorithm; `UnsupportedKeyError` for one that hashes by itself.
        """
        check_label(label)
        (signature,) = await self._ask(Operation.SIGN_DIGEST, label, (hashed,))
        self._signatures += 1
        return signature

    async def sign_many(self, label: str, data: Sequence[bytes]) -> list[bytes]:
        """Return one signature for each of `data`, in order; all or an error.

        They go to the worker in batches of at most `MAX_BATCH`, each with a deadline of its own.
        """
        check_label(label)
        signatures: list[bytes] = []
        for batch in _batches(data):
            signed = await self._ask(Operation.SIGN, label, batch)
            self._signatures += len(signed)
            signatures += signed
        return signatures

    async def _ask(
        self,
        operation: Operation,
        label: str,
        parts: tuple[bytes, ...] = (),
        deadline_s: float | None = None,
    ) -> tuple[bytes, ...]:
        if self._task is None or self._task.done():
            raise _again(self._refusal)
        if len(self._waiting) >= self._max_waiting:
            raise SignerBusyError("too many requests wait for the signer")
        waiting = _Waiting(
            Request(next(self._ids) % _LAST_ID + 1, operation, label, parts), deadline_s or self._deadline_s
        )
        self._waiting.append(waiting)
        self._wake.set()
        return _parts(await self._wait(waiting), operation, len(parts))

    async def _wait(self, waiting: _Waiting) -> Answer:
        try:
            async with asyncio.timeout(waiting.deadline_s):
                return await waiting.done
        except TimeoutError as error:
            raise SignerUnavailableError("the signer did not answer in time") from error
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    async def _run(self) -> None:
        """Serve requests one by one, and replace the worker whenever it is gone, until cancelled."""
        try:
            while True:
                self._wake.clear()
                await self._ensure_worker()
                if self._waiting:
                    await self._serve(self._waiting.popleft())
                else:
                    await self._wake.wait()
        except SignerSecretError as error:
            self._refuse_all(error)

    async def _ensure_worker(self) -> WorkerProcess:
        """Return the worker, first replacing one that has ended; `SignerSecretError` ends the trying."""
        while self._worker is None or self._worker.ended.done():
            await self._discard()
            await asyncio.sleep(self._pause_s())
            self._failures += 1
            self._restarts += 1
            try:
                self._adopt(await WorkerProcess.start(self._settings))
            except SignerSecretError:
                raise
            except SignerError:
                continue  # the pause grows; who waits is told by the deadline
        return self._worker

    def _pause_s(self) -> float:
        if self._failures == 0:
            return 0.0
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 10))

    def _adopt(self, worker: WorkerProcess) -> None:
        self._worker = worker
        worker.ended.add_done_callback(lambda _: self._wake.set())

    async def _discard(self) -> None:
        if self._worker is not None:
            await self._worker.kill()
            self._worker = None

    async def _serve(self, waiting: _Waiting) -> None:
        self._serving = waiting
        try:
            await self._serve_with_retry(waiting)
        except SignerSecretError as error:
            waiting.fail(error)
            raise
        except asyncio.CancelledError:
            waiting.fail(SignerUnavailableError("the signer is closed"))
            raise
        finally:
            self._serving = None

    async def _serve_with_retry(self, waiting: _Waiting) -> None:
        tries = 1 if waiting.request.operation is Operation.GENERATE else 2
        for tries_left in reversed(range(tries)):
            worker = await self._ensure_worker()
            if waiting.done.done():
                return  # gave up while the worker was being replaced
            try:
                answer = await self._exchange(worker, waiting)
            except SignerError as error:
                await self._discard()
                if not tries_left:
                    waiting.fail(error)
                continue
            self._failures = 0
            if not waiting.done.done():
                waiting.done.set_result(answer)
            return

    async def _exchange(self, worker: WorkerProcess, waiting: _Waiting) -> Answer:
        """Return an answer after which the worker goes on; raises the error after which it cannot."""
        try:
            async with asyncio.timeout(waiting.deadline_s):
                answer = await worker.exchange(waiting.request)
        except TimeoutError as error:
            waiting.fail(SignerUnavailableError("the signer did not answer in time"))
            raise SignerUnavailableError("the signer process hangs") from error
        told = None if answer.code == OK else error_of(answer)
        if isinstance(told, ENDING):
            raise told
        return answer

    def _refuse_all(self, error: SignerError) -> None:
        self._refusal = error
        while self._waiting:
            self._waiting.popleft().fail(_again(error))


def _again(error: SignerError) -> SignerError:
    """Return an equal error with a traceback of its own."""
    return type(error)(*error.args)


def _parts(answer: Answer, operation: Operation, asked: int) -> tuple[bytes, ...]:
    """Return what was asked for, or raise the error that the worker tells."""
    if answer.code != OK:
        raise error_of(answer)
    expected = asked if operation is Operation.SIGN else 1
    if operation is not Operation.LABELS and len(answer.parts) != expected:
        raise SignerUnavailableError("the signer process answered something else than was asked")
    return answer.parts


def _batches(data: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    """Return `data` cut into what one frame each takes; `RequestTooLargeError` where one part takes none."""
    batches: list[list[bytes]] = []
    size = 0
    for one in data:
        if len(one) > MAX_DATA_BYTES:
            raise RequestTooLargeError(f"more than {MAX_DATA_BYTES} octets cannot be signed at once")
        if not batches or len(batches[-1]) == MAX_BATCH or size + len(one) > MAX_BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(one)
        size += len(one)
    return [tuple(batch) for batch in batches]
