"""One process of the status plane: serves OCSP and the public files from sockets that its parent bound.

Started as `python -m pkiserver.web.status_worker FD`. FD is one end of a socket pair with the parent; both
speak JSON, a message a line. To the worker: first the `WorkerSettings`, then `{"ready": bool}` (what
`/ready` says), `{"unknown": [number]}` (`SigningSettings.unknown` from now on) and `{"drain": seconds}`.
From the worker: `{"serving": pid}` or `{"refused": text}`, then once a second `{"counters": …}`, and
`{"error": text}` for the parent's log. What has to be signed goes as `{"sign": number, "request": base64}`
and comes back as `{"sign": number, "response": base64 or null}`, where the settings have `signing`;
messages of CMP go as `cmp_requests` has it. It ends with its parent.

No key, no database; the parent decides when to stop, so signals to the process group are ignored.
"""

import asyncio
import gc
import json
import os
import resource
import signal
import socket
import sys
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self

import uvloop

from pkiserver.clock import Clock
from pkiserver.status.slow_path import keyless_answer, signing_answer
from pkiserver.web import ocsp
from pkiserver.web.cmp_http import CMPDoor
from pkiserver.web.cmp_requests import CMPRequests
from pkiserver.web.http1 import HTTPConnection
from pkiserver.web.http_bodies import BodyRoom
from pkiserver.web.http_limits import HTTPLimits
from pkiserver.web.http_messages import Answer, HTTPRequest, method_not_allowed, plain_reply
from pkiserver.web.http_service import HTTPService
from pkiserver.web.signing_requests import SigningRequests
from pkiserver.web.static import StaticFiles
from protocols.cmp.http import PATH as CMP_PATH
from store.errors import StorageError
from store.responses import ResponseTableReader

BACKLOG: Final = 1024
REPORT_S: Final = 1.0
MAX_ERRORS_A_REPORT: Final = 5  # of one kind of fault there are many; the first say enough
_SPARE_DESCRIPTORS: Final = 64  # what the process has open beside its connections
_MAX_UNREAD_BYTES: Final = 1 << 20  # a parent that does not read is not sent more
_MAX_UNREAD_CMP_BYTES: Final = 1 << 19  # nor messages of CMP over this: what OCSP asks is short, and goes on
_MAX_ORDER_BYTES: Final = 2 << 20  # the longest line of the parent: an answer of CMP in base64
EXIT_REFUSED: Final = 3  # the settings cannot be served: starting again will not help by itself

_READ_ONLY: Final = method_not_allowed("GET, HEAD")
_NO_STORE: Final = b"Cache-Control: no-store\r\n"
_READY: Final = plain_reply(HTTPStatus.OK, "ready", fields=_NO_STORE, outcome="ready")
_NOT_READY: Final = plain_reply(HTTPStatus.SERVICE_UNAVAILABLE, "not ready", outcome="not_ready")
_INDEX: Final = plain_reply(
    HTTPStatus.OK,
    "Certificate status and public files.\n\n"
    "/ocsp             OCSP by POST; by GET with the request in base64 behind /ocsp/ (RFC 6960, RFC 9919)\n"
    "/crl/             a page about the certificate revocation lists: /crl/NAME.crl (RFC 5280)\n"
    "/ca/NAME.cer      CA certificates; NAME.p7c for several, NAME.pem and chain.pem as text\n"
    "/register/        the public register: YYYY-MM-DD.csv, and .csv.gz\n"
    "/.well-known/cmp  CMP by POST (RFC 9810, RFC 9811), where it is switched on\n"
    "/ready            for load balancers",
    outcome="index",
)


@dataclass(frozen=True, slots=True)
class SigningSettings:
    """What is to be signed on request, and how many requests may wait for that.

    Requests for several certificates are; those with a nonce where it is to be echoed; and those for what
    was not issued by the authorities of `unknown`, by their numbers in the table.
    """

    limit: int = 64
    echo_nonce: bool = False
    unknown: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CMPSettings:
    """How many messages of CMP may be under way, and how long one may be."""

    limit: int = 64
    max_body_bytes: int = 256 * 1024


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker is to serve; `listeners` are descriptors of bound sockets.

    Without `signing` nothing is signed on request: `status.slow_path` has the answers. Without `cmp` there
    is no CMP.
    """

    table: Path
    public: Path
    listeners: tuple[int, ...]
    max_age: timedelta
    limits: HTTPLimits
    ready: bool
    signing: SigningSettings | None = None
    cmp: CMPSettings | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the settings as the first line to a worker has them."""
        return {
            "table": os.fspath(self.table),
            "public": os.fspath(self.public),
            "listeners": list(self.listeners),
            "max_age_s": int(self.max_age.total_seconds()),
            "limits": asdict(self.limits),
            "ready": self.ready,
            "signing": asdict(self.signing) if self.signing else None,
            "cmp": asdict(self.cmp) if self.cmp else None,
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
            _signing(values["signing"]),
            CMPSettings(**values["cmp"]) if values["cmp"] else None,
        )


def _signing(values: dict[str, Any] | None) -> SigningSettings | None:
    return None if values is None else SigningSettings(**{**values, "unknown": tuple(values["unknown"])})


class StatusSite:
    """Which handler answers which path."""

    def __init__(
        self, responder: ocsp.OCSPResponder, cmp: CMPDoor, files: StaticFiles, *, ready: bool
    ) -> None:
        self.ready = ready
        self._responder = responder
        self._cmp = cmp
        self._files = files

    def handle(self, request: HTTPRequest, now: datetime) -> Answer:
        """Return the reply to any request, or a future of it."""
        if request.path.startswith(ocsp.PATH):
            return self._responder.handle(request, now)
        if request.path.startswith(CMP_PATH):
            return self._cmp.handle(request, now)
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
        signing = settings.signing
        self._signing = SigningRequests(self._send, limit=signing.limit) if signing else None
        self._responder = _responder(self._table, settings, self._signing)
        self._cmp = CMPRequests(self._send_cmp, limit=settings.cmp.limit) if settings.cmp else None
        cmp_door = _cmp_door(settings.cmp, self._cmp)
        loop = asyncio.get_running_loop()
        files = StaticFiles(settings.public, max_age=settings.max_age, monotonic=loop.time)
        self._site = StatusSite(self._responder, cmp_door, files, ready=settings.ready)
        self._parent = os.getppid()
        self._errors: list[str] = []
        self._service = HTTPService(
            self._site.handle,
            clock=Clock(),
            limits=_possible(settings.limits),
            loop=loop,
            on_tick=self._tick,
            on_error=self._note_error,
            room=BodyRoom(cmp_door.body_bound),
        )

    async def run(self) -> None:
        """Serve, and return when everything is answered."""
        loop = asyncio.get_running_loop()
        servers = [
            await loop.create_server(partial(HTTPConnection, self._service), sock=listener, backlog=BACKLOG)
            for listener in self._listeners
        ]
        self._send({"serving": os.getpid()})
        reports = asyncio.create_task(self._report_for_ever())
        draining: asyncio.Future[float] = loop.create_future()
        orders = asyncio.create_task(self._obey(draining))
        await asyncio.wait((draining, orders, reports), return_when=asyncio.FIRST_COMPLETED)
        if reports.done():
            reports.result()  # it never ends by itself: raise its fault, and be replaced
        if orders.done():
            orders.result()
        deadline_s = draining.result()
        await asyncio.sleep(0)  # connections that wait to be accepted are taken in this turn of the loop
        for server in servers:
            server.close()
        await self._service.drain(deadline_s)  # what waits for a signature is answered meanwhile
        orders.cancel()
        reports.cancel()
        self._report()
        self._table.close()

    async def _obey(self, draining: asyncio.Future[float]) -> None:
        """Follow the parent's messages until it ends; `draining` gets the deadline in seconds."""
        while line := await self._order():
            message = json.loads(line)
            if "sign" in message and self._signing is not None:
                self._signing.take(message)
            if "cmp" in message and self._cmp is not None:
                self._cmp.take(message)
            if "unknown" in message and self._signing is not None:
                self._responder.sign_unknown(frozenset(message["unknown"]))
            self._site.ready = bool(message.get("ready", self._site.ready))
            if "drain" in message and not draining.done():
                self._site.ready = False
                draining.set_result(float(message["drain"]))
        if self._signing is not None:
            self._signing.close()
        if self._cmp is not None:
            self._cmp.close()
        if not draining.done():
            draining.set_result(self._service.limits.request_s)

    async def _order(self) -> bytes:
        """Return the next line of the parent; empty when it has ended, be it in the middle of one."""
        try:
            line = await self._reader.readline()
        except ConnectionError:  # it was killed with something of ours unread
            return b""
        return line if line.endswith(b"\n") else b""

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

    def _send_cmp(self, message: dict[str, Any]) -> bool:
        return self._send(message, _MAX_UNREAD_CMP_BYTES)

    def _send(self, message: dict[str, Any], unread_bytes: int = _MAX_UNREAD_BYTES) -> bool:
        """Send a message, unless the parent leaves so much unread; tell whether it was sent."""
        transport = self._writer.transport
        if transport.is_closing() or transport.get_write_buffer_size() >= unread_bytes:
            return False
        self._writer.write(json.dumps(message).encode("ascii") + b"\n")
        return True

    def _tick(self) -> None:
        """Take up a new generation of the table, new issuers and responders.

        A table that cannot be read answers with what is known.
        """
        try:
            self._table.follow()
            self._responder.refresh()
        except StorageError as error:
            self._note_error(error)

    def _note_error(self, error: Exception) -> None:
        if len(self._errors) < MAX_ERRORS_A_REPORT:
            self._errors.append(f"{type(error).__name__}: {error}")


def _responder(
    table: ResponseTableReader, settings: WorkerSettings, requests: SigningRequests | None
) -> ocsp.OCSPResponder:
    signing = settings.signing
    if signing is None or requests is None:
        return ocsp.OCSPResponder(table, keyless_answer, max_age=settings.max_age)
    return ocsp.OCSPResponder(
        table,
        partial(signing_answer, echo_nonce=signing.echo_nonce),
        max_age=settings.max_age,
        ask=requests.ask,
        signed_unknown=frozenset(signing.unknown),
    )


def _cmp_door(settings: CMPSettings | None, requests: CMPRequests | None) -> CMPDoor:
    if settings is None or requests is None:
        return CMPDoor(None)
    return CMPDoor(requests.ask, max_body_bytes=settings.max_body_bytes)


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
    reader, writer = await asyncio.open_connection(sock=control, limit=_MAX_ORDER_BYTES)
    first = await reader.readline()
    if not first:
        return 0
    try:
        worker = StatusWorker(WorkerSettings.from_json(json.loads(first)), reader, writer)
    except StorageError as error:
        writer.write(json.dumps({"refused": str(error)}).encode("ascii") + b"\n")
        await writer.drain()
        return EXIT_REFUSED
    # What was loaded stays: the collector need not look at it again for each few hundred requests.
    gc.collect()
    gc.freeze()
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
