"""One worker process as the server sees it: started, spoken to, killed. `client` decides when."""

import asyncio
import socket
import sys
from contextlib import suppress
from typing import Final, Self

from pkiserver.child_environment import child_environment
from pkiserver.signer.errors import SignerUnavailableError, WireError
from pkiserver.signer.settings import SignerSettings
from pkiserver.signer.wire import (
    LENGTH_BYTES,
    OK,
    READY_ID,
    Answer,
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
_STREAM_LIMIT: Final = 1 << 20
_MODULE_SETTINGS: Final = ("SOFTHSM2_CONF",)  # where PKCS #11 modules find their own configuration


class WorkerProcess:
    """A running worker whose key store is open. Serves one request at a time."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self.ended = asyncio.ensure_future(process.wait())
        """Done as soon as the process has ended, for whatever reason."""

    @classmethod
    async def start(cls, settings: SignerSettings) -> Self:
        """Return a worker that has opened its key store.

        Raises the `SignerError` by which the store refused, or `SignerUnavailableError` where the process
        did not come so far in `START_DEADLINE_S`; no process is left behind then.
        """
        worker = await cls._spawn(settings)
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                worker._writer.write(frame(settings.encode()))
                answer = await worker._read_answer()
        except TimeoutError as error:
            await worker.kill()
            raise SignerUnavailableError("the signer process did not start in time") from error
        except BaseException:
            await worker.kill()
            raise
        if (answer.id, answer.code) == (READY_ID, OK):
            return worker
        await worker.kill()
        raise error_of(answer)

    @classmethod
    async def _spawn(cls, settings: SignerSettings) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_STREAM_LIMIT)
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # the working folder is no place to import from
                    "-m",
                    "pkiserver.signer.worker",
                    str(theirs.fileno()),
                    pass_fds=(theirs.fileno(),),
                    env=worker_environment(settings),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C and a closed terminal are the server's affair
                )
            except OSError as error:
                writer.close()
                raise SignerUnavailableError(
                    f"the signer process cannot be started: {error.strerror}"
                ) from error
            except BaseException:
                writer.close()
                raise
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """The process id of the worker."""
        return self._process.pid

    async def exchange(self, request: Request) -> Answer:
        """Return the answer to a request.

        `SignerUnavailableError` where the worker has gone or breaks the protocol. After that, or when
        cancelled, the connection is out of step: the worker must be killed.
        """
        body = frame(encode_request(request))
        try:
            self._writer.write(body)
            await self._writer.drain()
        except (OSError, RuntimeError) as error:  # RuntimeError: uvloop, for a closed transport
            raise SignerUnavailableError("the signer process ended") from error
        answer = await self._read_answer()
        if answer.id != request.id and (answer.id != READY_ID or answer.code == OK):
            raise SignerUnavailableError("the signer process answered another request")
        return answer

    async def _read_answer(self) -> Answer:
        try:
            header = await self._reader.readexactly(LENGTH_BYTES)
            return decode_answer(await self._reader.readexactly(body_length(header)))
        except (OSError, asyncio.IncompleteReadError) as error:
            raise SignerUnavailableError("the signer process ended") from error
        except WireError as error:
            raise SignerUnavailableError("the signer process answered in another protocol") from error

    async def kill(self) -> None:
        """End the process by SIGKILL, if it still runs, and return when it has gone (`KILL_DEADLINE_S`)."""
        self._writer.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.wait((self.ended,), timeout=KILL_DEADLINE_S)

    async def close(self) -> None:
        """Let the process end by itself, and kill it when it does not."""
        self._writer.close()
        await asyncio.wait((self.ended,), timeout=CLOSE_DEADLINE_S)
        await self.kill()


def worker_environment(settings: SignerSettings) -> dict[str, str]:
    """Return the environment of a worker: the few variables it needs, and the one that holds the secret."""
    return child_environment(*_MODULE_SETTINGS, settings.secret_env or "")
