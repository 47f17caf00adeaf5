"""A listener: accepts connections within bounds, speaks TLS where it has a context, and drains.

Connections are accepted here and not by aiohttp's sites, so that a handshake counts as a connection, and new
connections get a new TLS context while the old ones live on.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections import Counter
from functools import partial
from typing import Any, Final

import structlog
from aiohttp import web, web_log
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from pkiserver.errors import PKIServerError
from pkiserver.metrics import Metrics, Reading, Sample
from pkiserver.networks import client_network
from pkiserver.web.limits import Limits
from pkiserver.web.middleware import EDGE, NO_PROXIES, SERVER, plain_response, request_log
from pkiserver.web.proxies import TrustedProxies

_ACCEPT_PAUSE_S: Final = 0.2  # after accept failed for want of file descriptors: not to spin
_CLOSE_S: Final = 1.0  # for responses still being written when the drain ends, and for TLS close_notify

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


class ListenError(PKIServerError):
    """The address cannot be listened on."""


class _Connection(web.RequestHandler):
    """One connection: aiohttp's handler, with a bound on unread responses and quiet answers to bad HTTP."""

    __slots__ = ("_unread", "_write_s", "lost")

    def __init__(self, server: web.Server, *, write_s: float, **options: Any) -> None:
        super().__init__(server, **options)
        self._write_s = write_s
        self._unread: asyncio.TimerHandle | None = None
        self.lost: asyncio.Future[None] = self._loop.create_future()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.transport is not None:
            self._unread = self._loop.call_later(self._write_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_timer()
        super().resume_writing()

    def _stop_timer(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature; it quotes what the client sent
    ) -> web.StreamResponse:
        """Answer what never reached the application, or broke out of it, without quoting it."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("the response was begun")
        if isinstance(exc, HttpProcessingError):
            status = 431 if isinstance(exc, LineTooLong) else status
            response = plain_response(status, "not a valid HTTP request", close=True)
        else:
            _log.error("request failed outside of the application", exc_info=exc)
            response = plain_response(500, "internal error", close=True)
        response.headers["Server"] = SERVER
        return response


class Listener:
    """Serves one application on one address until it is drained.

    The application is made by `middleware.web_application`. Without a TLS context it speaks plain HTTP.
    """

    def __init__(
        self,
        name: str,
        app: web.Application,
        *,
        host: str,
        port: int,
        metrics: Metrics,
        limits: Limits,
        tls: ssl.SSLContext | None = None,
        proxies: TrustedProxies = NO_PROXIES,
    ) -> None:
        self._name = name
        self._app = app
        self._asked = (host, port)
        self._metrics = metrics
        self._limits = limits
        self._tls = tls
        self._proxies = proxies
        self._request_log = request_log(metrics)
        self._slots = asyncio.Semaphore(limits.max_connections)
        self._connections: set[asyncio.Task[None]] = set()
        self._held: Counter[str] = Counter()  # connections by `client_network`
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=_CLOSE_S)
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The host and port listened on; the real port where 0 was asked. Only while started."""
        if self._socket is None:
            raise RuntimeError("the listener is not started")
        host, port = self._socket.getsockname()[:2]
        return host, port

    @property
    def connections(self) -> int:
        """How many connections are open, those in their handshake included."""
        return len(self._connections)

    async def start(self) -> None:
        """Listen; `ListenError` where the address is taken or not ours."""
        host, port = self._asked
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=self._limits.backlog)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error  # its strerror repeats the address
            raise ListenError(f"cannot listen on {host} port {port}: {reason}") from error
        self._socket.setblocking(False)
        await self._runner.setup()
        self._metrics.read(Reading.CONNECTIONS, lambda: [Sample(self.connections, (self._name,))])
        self._accepting = asyncio.create_task(self._accept(self._socket), name=f"accept {self._name}")
        _log.info("listening", listener=self._name, host=self.address[0], port=self.address[1])

    def reload_tls(self, context: ssl.SSLContext) -> None:
        """Use `context` for connections from now on; those that are open keep theirs."""
        self._tls = context

    async def drain(self) -> None:
        """Accept nothing more, let requests finish until the deadline, then close every connection.

        Takes at most `Limits.drain_s` and three seconds. A request cut here got no response.
        """
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain_s):
                await self._app[EDGE].drain()
        await self._runner.cleanup()
        if self._connections:
            await asyncio.wait(self._connections, timeout=_CLOSE_S)
        for connection in self._connections:
            connection.cancel()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._slots.acquire()
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:  # out of file descriptors, or the client is gone already
                self._slots.release()
                _log.warning("cannot accept", listener=self._name, reason=error.strerror)
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            network = client_network(address[0])
            if self._held[network] >= self._limits.max_connections_per_address and not self._proxies.trusts(
                address[0]
            ):
                self._slots.release()
                accepted.close()
                self._metrics.connections_refused.labels(self._name).inc()
                await asyncio.sleep(0)  # a flood of them must not keep the loop
                continue
            self._held[network] += 1
            task = loop.create_task(self._serve(accepted))
            self._connections.add(task)
            task.add_done_callback(partial(self._ended, network))

    def _ended(self, network: str, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        self._held[network] -= 1
        if not self._held[network]:
            del self._held[network]  # what is remembered is bounded by the connections
        self._slots.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("connection failed", listener=self._name, exc_info=error)

    async def _serve(self, accepted: socket.socket) -> None:
        """Hold one connection from its handshake to its end."""
        connection = self._connection()
        timeouts: dict[str, float] = {}
        if self._tls is not None:
            timeouts = {"ssl_handshake_timeout": self._limits.handshake_s, "ssl_shutdown_timeout": _CLOSE_S}
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, accepted, ssl=self._tls, **timeouts
            )
        except OSError as error:  # bad TLS, refused client certificate, too slow, gone
            self._metrics.handshake_failures.inc()
            _log.debug("handshake failed", listener=self._name, reason=getattr(error, "reason", None))
            accepted.close()
            return
        await connection.lost

    def _connection(self) -> _Connection:
        server = self._runner.server
        if server is None:
            raise RuntimeError("the listener is not started")
        limits = self._limits
        return _Connection(
            server,
            write_s=limits.write_s,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.header_s,
            tcp_keepalive=False,  # who is silent so long is gone either way
            access_log_class=self._request_log,
            access_log_format=web_log.AccessLogger.LOG_FORMAT,
            max_line_size=limits.max_line_bytes,
            max_field_size=limits.max_field_bytes,
            max_headers=limits.max_headers,
            lingering_time=limits.linger_s,
            auto_decompress=False,
        )
