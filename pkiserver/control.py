"""The control socket from the client's side: how the command line talks to a running server.

A Unix socket in the home. One request a connection, as a line of JSON: `{"command", "arguments"}`; answers
are lines `{"progress": [text, done, total]}`, pieces of files `{"file": [name, Base64]}`, and at last
`{"result"}` or `{"error"}`. The other side, `pkiserver.control_server`, is no part of what a client loads.
"""

import asyncio
import base64
import json
import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pkiserver.errors import PKIServerError
from pkiserver.home import Home
from pkiserver.progress import GiveFile, Progress, no_files

MAX_ANSWER_BYTES: Final = 1 << 24  # of a line of the answer; the longest is a list of 1000 certificates
_ENDED: Final = "the server ended before it answered; look at its log"


@dataclass(frozen=True, slots=True)
class SocketPath:
    """A socket file reached through a descriptor of its folder: the folder's own path may be long."""

    folder: Path
    name: str

    def open(self) -> tuple[int, str]:
        """Return the folder's descriptor, which the caller closes, and a path that is good until then."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return descriptor, f"/proc/self/fd/{descriptor}/{self.name}"


def socket_path(home: Home) -> SocketPath:
    """Return where the server of a home listens for commands."""
    return SocketPath(home.run, "control.sock")


def local_actor(uid: int) -> str:
    """Return how the audit log names a user of this machine."""
    try:
        return f"user:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user:{uid}"


class CommandFailedError(PKIServerError):
    """The running server refused or failed a command; the message is the server's."""


async def _open(place: SocketPath) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    descriptor, path = place.open()
    try:
        return await asyncio.open_unix_connection(path, limit=MAX_ANSWER_BYTES)
    finally:
        os.close(descriptor)


@asynccontextmanager
async def _connected(home: Home) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None]:
    try:
        reader, writer = await _open(socket_path(home))
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
