"""What stands between aiohttp and the handlers of every protocol.

Reading bodies within bounds, admission, turning errors into responses, and one log line and one count a
request. A handler gets a request whose body was read (`await request.read()` returns at once) and raises our
errors; it builds responses of success only.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.typedefs import Handler

from pkiserver.errors import PKIServerError, UnavailableError
from pkiserver.logs import escaped, info_writer
from pkiserver.metrics import Metrics
from pkiserver.web.limits import Limits
from pkiserver.web.proxies import TrustedProxies
from pkiserver.web.wire import WIRE, kind_of, reason_of, retry_after_of
from protocols.errors import ErrorKind, ProtocolError, TooLargeError

SERVER: Final = "pkiserver"  # no version: it would serve only who looks for a weakness
DEFAULT_REALM: Final = "pkiserver"
UNMATCHED: Final = ("http", "unmatched")  # labels of a request that no route took
_NOT_LOGGED: Final = (ErrorKind.NOT_AUTHENTICATED, ErrorKind.PENDING)  # by the request's own line alone
MAX_PATH_CHARACTERS: Final = 200  # of a path in the log
CLIENT_GONE: Final = 499  # logged and counted, never sent: the client left before it could be answered

NO_PROXIES: Final = TrustedProxies()


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a request is refused, before it was written as its protocol has it.

    `kind` is None where HTTP itself refused it. `close` ends the connection.
    """

    status: int
    reason: str
    error: Exception
    kind: ErrorKind | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False


RefusalWriter = Callable[[web.Request, Refusal], web.Response]

CLIENT: Final = web.RequestKey("client", str)  # its address, by what a trusted proxy says where there is one
LABELS: Final = web.RequestKey("labels", tuple)
REQUEST_ID: Final = web.RequestKey("request_id", str)
SENT: Final = web.RequestKey("sent", web.Response)  # set by a handler that has sent its response itself

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


def web_application(
    routes: Iterable[web.RouteDef],
    limits: Limits,
    realm: str = DEFAULT_REALM,
    proxies: TrustedProxies = NO_PROXIES,
    refusal_writers: Mapping[str, RefusalWriter] | None = None,
) -> web.Application:
    """Return an application of these routes behind an `Edge`; `realm` is that of its Basic challenge.

    `refusal_writers` write what is refused of paths that begin so; all else gets a line of text.

    A route is named `<protocol>.<operation>[.<variant>]`; the first two label its logs and metrics.
    """
    edge = Edge(limits, realm, proxies, refusal_writers or {})
    largest = max(limits.max_body_bytes, limits.max_cmp_body_bytes, limits.max_list_body_bytes)
    app = web.Application(middlewares=[edge.middleware], client_max_size=largest)
    app.on_response_prepare.append(edge.finish_headers)
    app[EDGE] = edge
    app.add_routes(routes)
    return app


LIST_IMPORT: Final = ("api", "importOfficers")  # the labels of the operation whose bodies are long


class Edge:
    """The outermost handler of one listener."""

    def __init__(
        self,
        limits: Limits,
        realm: str,
        proxies: TrustedProxies,
        refusal_writers: Mapping[str, RefusalWriter],
    ) -> None:
        self._refusal_writers = refusal_writers
        self._limits = limits
        self._proxies = proxies
        self._challenge = f'Basic realm="{realm}", charset="UTF-8"'  # RFC 7617 §2.1
        self._requests = 0  # being read or in work
        self._in_work = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

    async def drain(self) -> None:
        """Let every response from now on close its connection; return when no request is left in work."""
        self._draining = True
        await self._idle.wait()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Read the request, have it handled, and answer whatever comes of it."""
        _identify(request, self._proxies)
        self._requests += 1
        self._idle.clear()
        try:
            await self._read_body(request)
            return await self._admit(request, handler)
        except Exception as error:  # noqa: BLE001 - the outermost handler
            refused = self._refused(request, error)
            sent: web.Response = request.get(SENT, refused)  # what was sent stands; the error is logged
            return sent
        finally:
            self._requests -= 1
            if not self._requests:
                self._idle.set()

    def _refused(self, request: web.Request, error: Exception) -> web.Response:
        refusal = _refusal(request, error)
        for prefix, write in self._refusal_writers.items():
            if request.path.startswith(prefix):
                return write(request, refusal)
        return plain_response(refusal.status, refusal.reason, refusal.headers, close=refusal.close)

    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # Counted only now: clients that dawdle over their bodies take no place from those that do not.
        if self._in_work >= self._limits.max_requests:
            raise UnavailableError("too many requests at once; try again")
        self._in_work += 1
        try:
            return await handler(request)
        finally:
            self._in_work -= 1

    async def _read_body(self, request: web.Request) -> None:
        """Read the whole body, so that no handler waits for a client."""
        limit = self._largest_body(request)
        if (request.content_length or 0) > limit:
            raise TooLargeError(f"the request body is over {limit} bytes")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise web.HTTPUnsupportedMediaType(text="the request body must have no content coding")
        if not request.body_exists:
            return
        if request.content.is_eof():  # it came with the header, as most do: nobody is waited for
            await request.read()
            return
        # Else it would be kept up to the bound of the longest body that anybody sends. No public way does it.
        request._client_max_size = limit
        try:
            async with asyncio.timeout(self._limits.body_s):
                body = await request.read()
        except TimeoutError as error:
            raise web.HTTPRequestTimeout(text="the request body took too long") from error
        if len(body) > limit:  # it came in chunks
            raise TooLargeError(f"the request body is over {limit} bytes")

    def _largest_body(self, request: web.Request) -> int:
        """Return how long a body may be: it is read before it is known who asks; strangers send no lists."""
        limits, labels = self._limits, request[LABELS]
        if labels[0] == "cmp":
            return limits.max_cmp_body_bytes
        if labels == LIST_IMPORT and (_shows_certificate(request) or self._proxies.trusts(request.remote)):
            return limits.max_list_body_bytes
        return limits.max_body_bytes

    async def finish_headers(self, _request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Set what every response says of the server (a signal handler of aiohttp)."""
        response.headers["Server"] = SERVER
        if response.status == HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = self._challenge
        if self._draining:
            response.headers["Connection"] = "close"
            response.force_close()


EDGE: Final = web.AppKey("edge", Edge)


def _shows_certificate(request: web.Request) -> bool:
    tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
    return tls is not None and tls.getpeercert(binary_form=True) is not None


def _identify(request: web.Request, proxies: TrustedProxies) -> None:
    forwarded_for = request.headers.getall("X-Forwarded-For", [])
    request[CLIENT] = proxies.client_address(request.remote or "unknown", forwarded_for)
    request[REQUEST_ID] = secrets.token_hex(8)
    name = request.match_info.route.name
    request[LABELS] = tuple(name.split(".")[:2]) if name else UNMATCHED
    structlog.contextvars.bind_contextvars(request_id=request[REQUEST_ID])


def _refusal(request: web.Request, error: Exception) -> Refusal:
    """Return how an error of any kind is refused, having logged one that nobody expected."""
    if isinstance(error, web.HTTPException):
        return _http_refusal(error)
    if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
        return Refusal(CLIENT_GONE, "", error)  # aiohttp finds out as it writes
    if isinstance(error, web.RequestPayloadError):
        return Refusal(HTTPStatus.BAD_REQUEST, "the request body breaks the rules of HTTP", error, close=True)
    kind = kind_of(error)
    if kind is ErrorKind.INTERNAL:
        _log.error("request failed", exc_info=error)
        return Refusal(WIRE[kind].http, f"internal error; request {request[REQUEST_ID]}", error, kind)
    if isinstance(error, PKIServerError | ProtocolError) and kind not in _NOT_LOGGED:
        _log.info("refused", kind=kind.value, reason=str(error))
    retry_after_s = retry_after_of(error)
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return Refusal(WIRE[kind].http, reason_of(error), error, kind, headers)


def _http_refusal(error: web.HTTPException) -> Refusal:
    """Return how aiohttp refuses: unknown path, wrong method, body over the limit."""
    status = HTTPStatus(error.status)
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        reason = f"method not allowed; allowed: {allowed}"
        return Refusal(status, reason, error, headers={"Allow": allowed})
    ours = isinstance(error, web.HTTPRequestTimeout | web.HTTPUnsupportedMediaType) and error.text
    close = status is HTTPStatus.REQUEST_TIMEOUT
    return Refusal(status, ours or status.phrase.lower(), error, close=close)


def plain_response(
    status: int, reason: str, headers: Mapping[str, str] | None = None, *, close: bool = False
) -> web.Response:
    """Return a refusal with a one-line text/plain reason; "" makes an empty body without a type."""
    response = web.Response(status=status, text=f"{reason}\n" if reason else None, headers=headers)
    if close:
        response.force_close()
    return response


def request_log(metrics: Metrics) -> type[AbstractAccessLogger]:
    """Return the class by which aiohttp reports each response: one structured line and one count."""

    write = info_writer(__name__)

    class RequestLog(AbstractAccessLogger):
        __slots__ = ()

        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            protocol, operation = request.get(LABELS, UNMATCHED)
            metrics.count_request(protocol, operation, response.status, time)
            write(
                {
                    "event": "request",
                    "protocol": protocol,
                    "operation": operation,
                    "method": request.method,
                    "path": escaped(request.raw_path, MAX_PATH_CHARACTERS),
                    "status": response.status,
                    "duration_ms": round(time * 1000, 2),
                    "peer": request.get(CLIENT, request.remote),
                    "request_id": request.get(REQUEST_ID),
                }
            )

    return RequestLog
