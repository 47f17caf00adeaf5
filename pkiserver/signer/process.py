"""One worker process as the server sees it: started, written to, killed. `lane` decides when."""

import asyncio
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Self, cast

from pkiserver.child_environment import child_environment
from pkiserver.signer.errors import SignerError, WireError, WorkerLostError
from pkiserver.signer.settings import SignerSettings
from pkiserver.signer.wire import (
    LENGTH_BYTES,
    OK,
    READY_ID,
    Answer,
    Operation,
    Request,
    body_length,
    decode_answer,
    encode_request,
    error_of,
    frame,
)

START_DEADLINE_S: Final = 30.0  # an interpreter, a module and a log-in on a busy machine
KILL_DEADLINE_S: Final = 5.0  # a process inside a stuck driver outlives even SIGKILL: then it is left behind
CLOSE_DEADLINE_S: Final = 2.0  # what an idle worker takes to notice the end; then it is killed
_REOPEN_ID: Final = 0xFFFFFFFF  # of no other request
_MODULE_SETTINGS: Final = ("SOFTHSM2_CONF",)  # where PKCS #11 modules find their own configuration


class WorkerProcess(asyncio.Protocol):
    """A worker and its socket. `on_answer` is called with each answer, `on_lost` once: no more will come."""

    def __init__(self) -> None:
        self.on_answer: Callable[[Answer], None] = self._keep
        self.on_lost: Callable[[SignerError], None] = lambda _: None
        self._received = bytearray()
        self._kept: asyncio.Queue[Answer | None] = asyncio.Queue()  # None: no more will come
        self._transport: asyncio.WriteTransport | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._ended: asyncio.Future[int] | None = None
        self._lost: SignerError | None = None

    @classmethod
    async def spawn(cls, settings: SignerSettings) -> Self:
        """Return a worker that has loaded what its kind of key store needs; it has not logged in.

        `WorkerLostError` where it did not come so far in `START_DEADLINE_S`; no process is left behind then.
        """
        ours, theirs = socket.socketpair()
        worker = cls()
        with theirs:
            ours.setblocking(False)
            await asyncio.get_running_loop().create_unix_connection(lambda: worker, sock=ours)
            try:
                await worker._execute(settings, theirs)
            except BaseException:
                worker._disconnect()
                raise
        try:
            await worker._next(START_DEADLINE_S)
        except BaseException:
            await worker.kill()
            raise
        return worker

    async def _execute(self, settings: SignerSettings, theirs: socket.socket) -> None:
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the working folder is no place to import from
                "-m",
                "pkiserver.signer.worker",
                str(theirs.fileno()),
                settings.store,
                pass_fds=(theirs.fileno(),),
                env=worker_environment(settings),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C and a closed terminal are the server's affair
            )
        except OSError as error:
            raise WorkerLostError(f"the signer process cannot be started: {error.strerror}") from error
        self._ended = asyncio.ensure_future(self._process.wait())

    async def open(self, settings: SignerSettings, typed: bytes | None) -> None:
        """Have the key store opened and tried; raises the `SignerError` by which it refused.

        `typed` is the PIN where a person was asked for it.
        """
        self._write(frame(settings.encode()) + (b"" if typed is None else frame(typed)))
        await self._next(START_DEADLINE_S)

    async def reopen(self) -> None:
        """Have a lost session replaced; raises as `open`. Answers to earlier requests are dropped."""
        self.on_answer = self._keep
        self._write(frame(encode_request(Request(_REOPEN_ID, Operation.REOPEN, ""))))
        await self._next(START_DEADLINE_S, _REOPEN_ID)

    @property
    def pid(self) -> int | None:
        """The process id of the worker."""
        return self._process.pid if self._process is not None else None

    def send(self, request: Request) -> None:
        """Write a request. A worker that is lost tells by `on_lost`."""
        self._write(frame(encode_request(request)))

    def tell_loss(self) -> None:
        """Call `on_lost` where the worker was lost before it could be told."""
        if self._lost is not None:
            self.on_lost(self._lost)

    async def kill(self) -> None:
        """End the process by SIGKILL, if it still runs, and return when it has gone (`KILL_DEADLINE_S`)."""
        self._disconnect()
        if self._process is None or self._ended is None:
            return
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.wait((self._ended,), timeout=KILL_DEADLINE_S)

    async def close(self) -> None:
        """Let the process end by itself, and kill it when it does not."""
        self._disconnect()
        if self._ended is not None:
            await asyncio.wait((self._ended,), timeout=CLOSE_DEADLINE_S)
        await self.kill()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.WriteTransport", transport)  # as of every socket

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`: take the answers that are whole."""
        self._received += data
        try:
            for answer in self._whole_answers():
                self.on_answer(answer)
        except WireError as error:
            self._lose(WorkerLostError("the signer process answered in another protocol"), error)

    def connection_lost(self, _exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._lose(WorkerLostError("the signer process ended"))

    def _whole_answers(self) -> Iterable[Answer]:
        while len(self._received) >= LENGTH_BYTES:
            end = LENGTH_BYTES + body_length(bytes(self._received[:LENGTH_BYTES]))
            if len(self._received) < end:
                return
            body = bytes(self._received[LENGTH_BYTES:end])
            del self._received[:end]
            yield decode_answer(body)

    async def _next(self, deadline_s: float, number: int = READY_ID) -> None:
        """Return when the answer of this id has come and is a success; raise what it tells otherwise."""
        try:
            async with asyncio.timeout(deadline_s):
                while (answer := await self._kept.get()) is not None and answer.id not in (number, READY_ID):
                    pass  # to a request of the session that was lost
        except TimeoutError as error:
            raise WorkerLostError("the signer process did not start in time") from error
        if answer is None:
            raise self._lost or WorkerLostError("the signer process ended")
        if answer.code != OK:
            raise error_of(answer)

    def _keep(self, answer: Answer) -> None:
        self._kept.put_nowait(answer)

    def _lose(self, error: SignerError, cause: Exception | None = None) -> None:
        if self._lost is not None:
            return
        error.__cause__ = cause
        self._lost = error
        self._disconnect()
        self._kept.put_nowait(None)
        self.on_lost(error)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _disconnect(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def worker_environment(settings: SignerSettings) -> dict[str, str]:
    """Return the environment of a worker: the few variables it needs, and the one that holds the secret."""
    return child_environment(*_MODULE_SETTINGS, settings.secret_env or "")
