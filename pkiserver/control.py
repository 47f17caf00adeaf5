"""The control socket: how the command line talks to a running server, and who may.

A Unix socket in the home; the peer's user is asked of the kernel. One request a connection, as a line
of JSON: `{"command", "arguments"}`; answers are lines `{"progress": [text, done, total]}`, pieces of files
`{"file": [name, Base64]}`, and at last `{"result"}` or `{"error"}`.
"""

import asyncio
import base64
import json
import os
import pwd
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from pkiserver.errors import NotAuthorizedError, PKIServerError, RefusedError, UnavailableError
from pkiserver.home import PRIVATE_FILE_MODE, Home
from pkiserver.progress import GiveFile, Progress, no_files
from protocols.errors import ErrorKind, ProtocolError

MAX_LINE_BYTES: Final = 1 << 20  # of a request; the longest argument is a certificate
MAX_ANSWER_BYTES: Final = 1 << 24  # of a line of the answer; the longest is a list of 1000 certificates
REQUEST_TIMEOUT_S: Final = 10.0  # for the request to arrive; the work itself may take longer
MAX_CLIENTS: Final = 32
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid (unix(7), SO_PEERCRED)
_ENDED: Final = "the server ended before it answered; look at its log"
_log = structlog.get_logger("pkiserver.control")

Run = Callable[[str, dict[str, Any], str, Progress, GiveFile], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class _SocketPath:
    """A socket file reached through a descriptor of its folder: the folder's own path may be long."""

    folder: Path
    name: str

    def open(self) -> tuple[int, str]:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return descriptor, f"/proc/self/fd/{descriptor}/{self.name}"


def _socket_path(home: Home) -> _SocketPath:
    return _SocketPath(home.run, "control.sock")


class ControlServer:
    """Answers the command line; `run(command, arguments, actor, progress, give_file)` does the work."""

    def __init__(self, home: Home, run: Run) -> None:
        self._path = _socket_path(home)
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


def local_actor(uid: int) -> str:
    """Return how the audit log names a user of this machine."""
    try:
        return f"user:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user:{uid}"


class CommandFailedError(PKIServerError):
    """The running server refused or failed a command; the message is the server's."""


async def _open(socket_path: _SocketPath) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    descriptor, path = socket_path.open()
    try:
        return await asyncio.open_unix_connection(path, limit=MAX_ANSWER_BYTES)
    finally:
        os.close(descriptor)


@asynccontextmanager
async def _connected(home: Home) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None]:
    try:
        reader, writer = await _open(_socket_path(home))
    except (FileNotFoundError, ConnectionRefusedError):
        yield None
        return
    try:
        yield reader, writer
    finally:
        writer.close()


async def call(
    home: Home,
    command: str,
    arguments: dict[str, Any],
    progress: Progress,
    give_file: GiveFile = no_files,
) -> Any | None:
    """Have the running server carry out a command; return its result in a 1-tuple, None without a server.

    `give_file` gets the pieces of the files that it makes. Raises `CommandFailedError` with the server's
    message.
    """
    async with _connected(home) as connection:
        if connection is None:
            return None
        reader, writer = connection
        try:
            writer.write(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
            await writer.drain()
            while (line := await reader.readline()).endswith(b"\n"):
                message = json.loads(line)
                if "progress" in message:
                    progress(*message["progress"])
                elif "file" in message:
                    name, piece = message["file"]
                    await give_file(name, base64.b64decode(piece))
                elif "error" in message:
                    raise CommandFailedError(message["error"]["message"])
                else:
                    return (message["result"],)
        except ConnectionError as error:
            raise CommandFailedError(_ENDED) from error
    raise CommandFailedError(_ENDED)
