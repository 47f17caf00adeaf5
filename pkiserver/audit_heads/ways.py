"""Where heads are sent besides mail: a file outside the database, and receivers of syslog."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from config.schema_audit import Audit
from pkiserver.audit_heads.signed_head import Outgoing, head_pem
from pkiserver.audit_heads.syslog import SyslogWay


class Way(Protocol):
    """One place that heads go to."""

    async def send(self, heads: Sequence[Outgoing]) -> None:
        """Send heads in their order; `OSError` where they could not be handed over."""


class FileWay:
    """Appends heads to a file, as text with all certificates; they are on disk when `send` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing: asyncio.Future[None] | None = None

    async def send(self, heads: Sequence[Outgoing]) -> None:
        """See `Way`. In a thread, one at a time: the file may lie on another machine, which may hang."""
        if self._writing is not None and not self._writing.done():
            raise OSError("the write before this one has not ended")
        text = "".join(f"\n{head_pem(one)}" for one in heads)
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._append, text.encode("ascii")))
        await asyncio.shield(self._writing)

    def _append(self, text: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def configured_ways(settings: Audit, home: Path) -> dict[str, Way]:
    """Return the ways that the configuration names, each by the name that metrics show."""
    ways: dict[str, Way] = {}
    if settings.head_file is not None:
        ways["file"] = FileWay(home / settings.head_file)
    for receiver in settings.syslog:
        ways[receiver] = SyslogWay(receiver)
    return ways
