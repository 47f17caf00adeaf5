"""One process of the status plane: serves OCSP and the public files from sockets that its parent bound.

Started as `python -m pkiserver.web.status_worker FD`. FD is one end of a socket pair with the parent; both
speak JSON, a message a line. To the worker: first the `WorkerSettings`, then `{"ready": bool}` (what
`/ready` says) and `{"drain": seconds}`. From the worker: `{"serving": pid}` or `{"refused": text}`, then
once a second `{"counters": …}`, and `{"error": text}` for the parent's log. It ends with its parent.

No key, no database; the parent decides when to stop, so signals to the process group are ignored.
"""

import asyncio
import json
import os
import resource
import signal
import socket
import sys
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self

import uvloop

from pkiserver.clock import Clock
from pkiserver.status.slow_path import keyless_answer
from pkiserver.web import ocsp
from pkiserver.web.http1 import HTTPLimits, HTTPService
from pkiserver.web.http_messages import HTTPReply, HTTPRequest, method_not_allowed, plain_reply
from pkiserver.web.static import StaticFiles
from store.errors import StorageError
from store.responses import ResponseTableReader

BACKLOG: Final = 1024
REPORT_S: Final = 1.0
MAX_ERRORS_A_REPORT: Final = 5  # of one kind of fault there are many; the first say enough
_SPARE_DESCRIPTORS: Final = 64  # what the process has open beside its connections
_MAX_UNREAD_BYTES: Final = 65_536  # a parent that does not read is not sent more
EXIT_REFUSED: Final = 3  # the settings cannot be served: starting again will not help by itself

_READ_ONLY: Final = method_not_allowed("GET, HEAD")
_NO_STORE: Final = b"Cache-Control: no-store\r\n"
_READY: Final = plain_reply(HTTPStatus.OK, "ready", fields=_NO_STORE, outcome="ready")
_NOT_READY: Final = plain_reply(HTTPStatus.SERVICE_UNAVAILABLE, "not ready", outcome="not_ready")
_INDEX: Final = plain_reply(
    HTTPStatus.OK,
    "Certificate status and public files.\n\n"
    "/ocsp             OCSP by POST; by GET with the request in base64 behind /ocsp/ (RFC 6960, RFC 9919)\n"
    "/crl/NAME.crl     certificate revocation lists (RFC 5280)\n"
    "/ca/NAME.cer      CA certificates; NAME.p7c for several\n"
    "/ready            for load balancers",
    outcome="index",
)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker is to serve; `listeners` are descriptors of bound sockets."""

    table: Path
    public: Path
    listeners: tuple[int, ...]
    max_age: timedelta
    limits: HTTPLimits
    ready: bool

    def to_json(self) -> dict[str, Any]:
        """Return the settings as the first line to a worker has them."""
        return {
            "table": os.fspath(self.table),
            "public": os.fspath(self.public),
            "listeners": list(self.listeners),
            "max_age_s": int(self.max_age.total_seconds()),
            "limits": asdict(self.limits),
            "ready": self.ready,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the settings that `to_json` gave."""
        return cls(
            Path(values["table"]),
            Path(values["public"]),
            tuple(values["listeners"]),
            timedelta(seconds=values["max_age_s"]),
            HTTPLimits(**values["limits"]),
            bool(values["ready"]),
        )


class StatusSite:
    """Which handler answers which path."""

    def __init__(self, responder: ocsp.OCSPResponder, files: StaticFiles, *, ready: bool) -> None:
        self.ready = ready
        self._responder = responder
        self._files = files

    def handle(self, request: HTTPRequest, now: datetime) -> HTTPReply:
        """Return the reply to any request."""
        if request.path.startswith(ocsp.PATH):
            return self._responder.handle(request, now)
        if request.path not in (b"/", b"/ready"):
            return self._files.handle(request, now)
        if request.method not in (b"GET", b"HEAD"):
            return _READ_ONLY
        if request.path == b"/":
            return _INDEX
        return _READY if self.ready else _NOT_READY


class StatusWorker:
    """Serves until its parent says `drain` or ends."""

    def __init__(
        self, settings: WorkerSettings, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Open the table; `StorageError` where that cannot be."""
        self._reader = reader
        self._writer = writer
        self._listeners = [socket.socket(fileno=descriptor) for descriptor in settings.listeners]
        self._table = ResponseTableReader(settings.table)
        responder = ocsp.OCSPResponder(self._table, keyless_answer, max_age=settings.max_age)
        loop = asyncio.get_running_loop()
        files = StaticFiles(settings.public, max_age=settings.max_age, monotonic=loop.time)
        self._site = StatusSite(responder, files, ready=settings.ready)
        self._refresh = responder.refresh
        self._parent = os.getppid()
        self._errors: list[str] = []
        self._service = HTTPService(
            self._site.handle,
            clock=Clock(),
            limits=_possible(settings.limits),
            loop=loop,
            on_tick=self._tick,
            on_error=self._note_error,
        )

    async def run(self) -> None:
        """Serve, and return when everything is answered."""
        loop = asyncio.get_running_loop()
        servers = [
            await loop.create_server(self._service.connect, sock=listener, backlog=BACKLOG)
            for listener in self._listeners
        ]
        self._send({"serving": os.getpid()})
        reports = asyncio.create_task(self._report_for_ever())
        orders = asyncio.create_task(self._obey())
        await asyncio.wait((orders, reports), return_when=asyncio.FIRST_COMPLETED)
        if reports.done():
            reports.result()  # it never ends by itself: raise its fault, and be replaced
        deadline_s = orders.result()
        await asyncio.sleep(0)  # connections that wait to be accepted are taken in this turn of the loop
        for server in servers:
            server.close()
        await self._service.drain(deadline_s)
        reports.cancel()
        self._report()
        self._table.close()

    async def _obey(self) -> float:
        """Follow the parent's messages; return the deadline in seconds when it says `drain` or ends."""
        while line := await self._reader.readline():
            message = json.loads(line)
            self._site.ready = bool(message.get("ready", self._site.ready))
            if "drain" in message:
                self._site.ready = False
                return float(message["drain"])
        return self._service.limits.request_s

    async def _report_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            self._service.sweep()
            self._report()
            if os.getppid() != self._parent:  # someone else holds the parent's end of the pair
                self._reader.feed_eof()

    def _report(self) -> None:
        for text in self._errors:
            self._send({"error": text})
        self._errors.clear()
        self._send({"counters": self._service.counters.to_json()})

    def _send(self, message: dict[str, Any]) -> None:
        transport = self._writer.transport
        if not transport.is_closing() and transport.get_write_buffer_size() < _MAX_UNREAD_BYTES:
            self._writer.write(json.dumps(message).encode("ascii") + b"\n")

    def _tick(self) -> None:
        """Take up a new generation of the table, new issuers and responders.

        A table that cannot be read answers with what is known.
        """
        try:
            self._table.follow()
            self._refresh()
        except StorageError as error:
            self._note_error(error)

    def _note_error(self, error: Exception) -> None:
        if len(self._errors) < MAX_ERRORS_A_REPORT:
            self._errors.append(f"{type(error).__name__}: {error}")


def _possible(limits: HTTPLimits) -> HTTPLimits:
    """Return the limits with as many connections as the process may have descriptors for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections + _SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return limits
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return replace(limits, connections=max(allowed - _SPARE_DESCRIPTORS, 1))


async def _main(descriptor: int) -> int:
    control = socket.socket(fileno=descriptor)
    reader, writer = await asyncio.open_connection(sock=control)
    first = await reader.readline()
    if not first:
        return 0
    try:
        worker = StatusWorker(WorkerSettings.from_json(json.loads(first)), reader, writer)
    except StorageError as error:
        writer.write(json.dumps({"refused": str(error)}).encode("ascii") + b"\n")
        await writer.drain()
        return EXIT_REFUSED
    await worker.run()
    writer.close()
    return 0


def main() -> None:
    """Run one worker; the only argument is the descriptor of the control socket."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(uvloop.run(_main(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
