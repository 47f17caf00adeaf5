"""The control socket from the server's side: who may command it, and what is read of them.

The peer's user is asked of the kernel. The lines are those of `pkiserver.control`.
"""

import asyncio
import base64
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from pkiserver.bounds import MAX_LINE_BYTES
from pkiserver.control import local_actor, socket_path
from pkiserver.errors import NotAuthorizedError, PKIServerError, RefusedError, UnavailableError
from pkiserver.home import PRIVATE_FILE_MODE, Home
from pkiserver.progress import GiveFile, Progress
from protocols.errors import ErrorKind, ProtocolError

REQUEST_TIMEOUT_S: Final = 10.0  # for the request to arrive; the work itself may take longer
MAX_CLIENTS: Final = 32
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid (unix(7), SO_PEERCRED)
_log = structlog.get_logger("pkiserver.control")

Run = Callable[[str, dict[str, Any], str, Progress, GiveFile], Awaitable[Any]]


class ControlServer:
    """Answers the command line; `run(command, arguments, actor, progress, give_file)` does the work."""

    def __init__(self, home: Home, run: Run) -> None:
        self._path = socket_path(home)
        self._run = run
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen, for the server's own user and root only."""
        (self._path.folder / self._path.name).unlink(missing_ok=True)
        descriptor, path = self._path.open()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(path)
        finally:
            os.close(descriptor)
        (self._path.folder / self._path.name).chmod(PRIVATE_FILE_MODE)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=MAX_LINE_BYTES)

    async def close(self) -> None:
        """Stop listening and let commands under way end."""
        if self._server is not None:
            self._server.close()
            (self._path.folder / self._path.name).unlink(missing_ok=True)
        if self._clients:
            await asyncio.wait(self._clients, timeout=REQUEST_TIMEOUT_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)

        def send(message: dict[str, Any]) -> None:
            writer.write(json.dumps(message).encode() + b"\n")

        def tell(text: str, done: int = 0, total: int = 0) -> None:
            send({"progress": [text, done, total]})

        async def give_file(name: str, piece: bytes) -> None:
            send({"file": [name, base64.b64encode(piece).decode("ascii")]})
            await writer.drain()

        try:
            send(await self._answer(reader, writer, tell, give_file))
            await writer.drain()
        except ConnectionError:
            _log.info("control-client-gone")
        finally:
            writer.close()

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        progress: Progress,
        give_file: GiveFile,
    ) -> dict[str, Any]:
        try:
            actor = _peer(writer.get_extra_info("socket"))
            self._admit()
            command, arguments = await _request(reader)
            return {"result": await self._run(command, arguments, actor, progress, give_file)}
        except (PKIServerError, ProtocolError) as error:
            return {"error": {"kind": error.kind.value, "message": str(error)}}
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - the outermost handler of the control socket
            _log.error("command-failed", exc_info=error)
            return {"error": {"kind": ErrorKind.INTERNAL.value, "message": "internal error; see the log"}}

    def _admit(self) -> None:
        if len(self._clients) > MAX_CLIENTS:
            raise UnavailableError("too many commands at once; try again")


async def _request(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]]:
    try:
        line = await asyncio.wait_for(reader.readline(), REQUEST_TIMEOUT_S)
        request = json.loads(line)
        command, arguments = request["command"], request["arguments"]
    except (TimeoutError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RefusedError("the request on the control socket is not one") from error
    if not isinstance(command, str) or not isinstance(arguments, dict):
        raise RefusedError("the request on the control socket is not one")
    return command, arguments


def _peer(connection: socket.socket) -> str:
    """Return the actor behind a connection; `NotAuthorizedError` unless the server's user or root."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    if uid not in (0, os.geteuid()):
        raise NotAuthorizedError("only the user that runs the server may command it")
    return local_actor(uid)
