"""What bounds HTTP connections, and what is said to who goes beyond a bound (RFC 9110 §15)."""

from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from pkiserver.web.http_messages import HTTPReply, method_not_allowed, plain_reply

MAX_URL_BYTES: Final = 8000  # RFC 9110 §4.1 asks for at least that
MAX_HEADER_BYTES: Final = 8192  # all fields together; browsers and proxies stay under 2 KiB
MAX_BODY_BYTES: Final = (
    4096  # protocols.ocsp.request.MAX_REQUEST_BYTES; `http_bodies` knows who may send more
)
SLICE_BYTES: Final = (
    4096  # fed at a time; between two slices the connection may be found paused or over a bound
)
MAX_HEAD_BYTES: Final = MAX_URL_BYTES + MAX_HEADER_BYTES + SLICE_BYTES
CHUNKED_BYTES: Final = 8  # for each octet of a body: a chunk of one takes six on the wire
MADE_ROOM: Final = 64  # idle connections closed at a time, the longest idle first, where there are too many
MIN_IDLE_S: Final = 1.0  # those idle for less may have a request on the way
MAX_LINGERING: Final = 64  # connections over the limit that are told so; the next are reset


@dataclass(frozen=True, slots=True)
class HTTPLimits:
    """How many connections one worker takes, and how long it waits for a client."""

    connections: int = 4096
    request_s: float = 10.0  # from the first octet of a request, or the connection, to the last
    idle_s: float = 30.0  # between two requests
    answer_s: float = 15.0  # for an answer that the handler promised; its own deadline should come first
    write_s: float = 20.0  # without a single octet taken
    write_rate: int = 8192  # octets a second that a client has to take after that, on the whole
    linger_s: float = 2.0  # after a refusal, for the client to read it: a reset would take it away
    drain_quiet_s: float = 0.5  # a connection idle for that long is closed in draining


INTERNAL_ERROR: Final = plain_reply(HTTPStatus.INTERNAL_SERVER_ERROR, "the request could not be answered")
OVERLOADED: Final = plain_reply(
    HTTPStatus.SERVICE_UNAVAILABLE, "too many connections", fields=b"Retry-After: 5\r\n"
)
TIMED_OUT: Final = plain_reply(HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive in time")
TRUNCATED: Final = plain_reply(HTTPStatus.BAD_REQUEST, "the request ends too early")
NOT_HTTP: Final = plain_reply(HTTPStatus.BAD_REQUEST, "this is not HTTP/1.1 as RFC 9112 has it")
NO_HOST: Final = plain_reply(HTTPStatus.BAD_REQUEST, "one Host field is needed")
BAD_VERSION: Final = plain_reply(
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.0 and HTTP/1.1 are spoken here"
)
LONG_URL: Final = plain_reply(HTTPStatus.REQUEST_URI_TOO_LONG, f"the URL has over {MAX_URL_BYTES} bytes")
LARGE_HEADER: Final = plain_reply(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the header fields have over {MAX_HEADER_BYTES} bytes"
)
NO_ROOM: Final = plain_reply(
    HTTPStatus.SERVICE_UNAVAILABLE, "too many large requests", fields=b"Retry-After: 5\r\n"
)
BAD_EXPECTATION: Final = plain_reply(HTTPStatus.EXPECTATION_FAILED, "only 100-continue can be expected")
NO_TUNNEL: Final = method_not_allowed("GET, HEAD, POST")
LATE: Final = plain_reply(
    HTTPStatus.SERVICE_UNAVAILABLE, "the answer took too long", fields=b"Retry-After: 5\r\n"
)


@lru_cache(maxsize=16)  # there are few bounds
def large_body(bound: int) -> HTTPReply:
    """Return what is said to a body over its bound."""
    return plain_reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has over {bound} bytes")
