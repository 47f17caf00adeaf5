"""The shortcut for plain requests reads what it takes exactly as the parser does, and takes nothing else."""

import asyncio
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from status_support import SetClock

from pkiserver.web import http_limits
from pkiserver.web.http1 import HTTPConnection
from pkiserver.web.http_limits import HTTPLimits
from pkiserver.web.http_messages import HTTPReply, HTTPRequest
from pkiserver.web.http_plain import MAX_BODY_BYTES, MAX_HEADS, MAX_LINE_BYTES, PlainRequests, plain_fields
from pkiserver.web.http_service import HTTPService

GET = b"GET /ocsp/MFEw%2B== HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n"
POST = (
    b"POST /ocsp HTTP/1.1\r\nHost: h\r\nContent-Type: application/ocsp-request\r\n"
    b"Content-Length: 3\r\n\r\nabc"
)


OVER = MAX_BODY_BYTES + 1


class NoShortcut(PlainRequests):
    """Sends everything to the parser."""

    def request(self, _data: bytes, _peer: str = "") -> None:
        return None


def answered(data: bytes, plain: PlainRequests) -> tuple[list[HTTPRequest], bytes]:
    """Return the requests that a connection reads in one reception, and the octets it writes."""
    seen: list[HTTPRequest] = []
    written: list[bytes] = []

    def handler(request: HTTPRequest, _now: datetime) -> HTTPReply:
        seen.append(request)
        return HTTPReply(b"200 OK", b"Content-Length: 1\r\n", b"x", "seen")

    loop = asyncio.new_event_loop()
    try:
        service = HTTPService(
            handler,
            clock=SetClock(datetime(2026, 3, 1, tzinfo=UTC)),
            limits=HTTPLimits(),
            loop=loop,
            on_tick=lambda: None,
            on_error=Mock(side_effect=AssertionError),
        )
        service.plain = plain
        transport = Mock(asyncio.Transport, write=written.append, is_closing=lambda: False)
        connection = HTTPConnection(service)
        connection.connection_made(transport)
        connection.data_received(data)
    finally:
        loop.close()
    return seen, b"".join(written)


REVALIDATION = GET.replace(b"Accept: */*", b'If-None-Match: "a", "b"\r\nAccept-Encoding: gzip, br;q=0')


@pytest.mark.parametrize("data", [GET, POST, REVALIDATION], ids=["GET", "POST", "revalidation"])
def test_plain_requests_are_taken(data: bytes) -> None:
    plain = PlainRequests()
    assert plain.request(data) == plain.request(data) is not None
    assert answered(data, plain) == answered(data, NoShortcut())


UNUSUAL = {
    "two requests": GET + GET,
    "a part": GET[:-1],
    "body missing": POST[:-1],
    "body too long": POST + b"d",
    "HTTP/1.0": GET.replace(b"1.1", b"1.0"),
    "HEAD": GET.replace(b"GET", b"HEAD"),
    "no host": GET.replace(b"Host: h\r\n", b""),
    "two hosts in one field": GET.replace(b"Host: h", b"Host: h, i"),
    "length over the bound": POST.replace(b"3\r\n\r\nabc", b"%d\r\n\r\n%b" % (OVER, b"a" * OVER)),
    "two hosts": GET.replace(b"Host: h\r\n", b"Host: h\r\nhost: i\r\n"),
    "close": GET.replace(b"Accept: */*", b"Connection: close"),
    "chunked": POST.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked"),
    "both framings": POST.replace(b"Host: h", b"Host: h\r\nTransfer-Encoding: chunked"),
    "length twice": POST.replace(b"Host: h", b"Host: h\r\nContent-Length: 3"),
    "length with a sign": POST.replace(b"Length: 3", b"Length: +3"),
    "GET with a body": GET.replace(b"Accept: */*", b"Content-Length: 0"),
    "expect": POST.replace(b"Host: h", b"Host: h\r\nExpect: 100-continue"),
    "range": GET.replace(b"Accept: */*", b"Range: bytes=0-1"),
    "precondition": GET.replace(b"Accept: */*", b"If-Match: *"),
    "upgrade": GET.replace(b"Accept: */*", b"Upgrade: h2c"),
    "query": GET.replace(b"== ", b"==?a "),
    "absolute form": GET.replace(b"/ocsp", b"http://h/ocsp"),
    "space in the target": GET.replace(b"== ", b"= = "),
    "space before the colon": GET.replace(b"Accept:", b"Accept :"),
    "folded line": GET.replace(b"Accept: */*", b"Accept: a\r\n b"),
    "bare LF": GET.replace(b"Accept: */*\r\n", b"Accept: */*\n"),
    "NUL": GET.replace(b"*/*", b"*\0*"),
    "octets over ASCII": GET.replace(b"*/*", b"\xff"),
    "long line": GET.replace(b"MFEw", b"A" * MAX_LINE_BYTES),
    "blank line ahead": b"\r\n" + GET,
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_requests_are_left_to_the_parser(name: str) -> None:
    assert PlainRequests().request(UNUSUAL[name]) is None


_TOKENS = st.sampled_from(
    [
        *(b"GET POST HEAD /ocsp /ocsp/MFEw== /a?b / * HTTP/1.1 HTTP/1.0 Host: h: a Content-Length: ".split()),
        *(b"Connection: keep-alive close Expect: 100-continue Transfer-Encoding: chunked 0 1 3 abc".split()),
        b" ",
        b": ", b"\r\n", b"\r\n\r\n", b"\n", b"\t", b"\0", b"\xff", b"Host: h\r\n", b"If-None-Match: *\r\n",
        b", ", b", i",
        b"GET / HTTP/1.1\r\nHost: h\r\n", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n",
    ]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A plain request with a few octets changed, dropped or put in."""
    data = bytearray(draw(st.sampled_from([GET, POST, REVALIDATION])))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2) | _TOKENS)
    return bytes(data)


@st.composite
def with_host_and_length(draw: st.DrawFn) -> bytes:
    """A whole POST whose Host holds odd octets and whose body is about as long as one may be."""
    host = draw(st.text("ah,: \t.-", max_size=6)).encode()
    length = draw(st.integers(MAX_BODY_BYTES - 2, MAX_BODY_BYTES + 2) | st.integers(0, 9999))
    return POST.replace(b"Host: h", b"Host:" + host).replace(
        b"3\r\n\r\nabc", b"%d\r\n\r\n%b" % (length, b"a" * length)
    )


@settings(max_examples=400, deadline=None)
@given(mutated() | with_host_and_length() | st.lists(_TOKENS, max_size=12).map(b"".join))
def test_what_is_taken_is_read_as_the_parser_reads_it(data: bytes) -> None:
    plain = PlainRequests()
    if plain.request(data) is not None:
        assert answered(data, plain) == answered(data, NoShortcut())


def test_what_is_remembered_is_bounded() -> None:
    plain = PlainRequests()
    for number in range(MAX_HEADS + 5):
        assert plain.request(GET.replace(b"*/*", b"%d" % number)) is not None
    assert len(plain._heads) <= MAX_HEADS


def test_fields_that_nobody_looks_at_are_not_kept() -> None:
    assert plain_fields(b"\r\nHost: h\r\nAccept: a\r\n\r\n") == {b"host": b"h"}


def test_the_bound_of_a_body_is_the_parsers() -> None:
    assert MAX_BODY_BYTES == http_limits.MAX_BODY_BYTES
    longest = POST.replace(b"3\r\n\r\nabc", b"%d\r\n\r\n%b" % (MAX_BODY_BYTES, b"a" * MAX_BODY_BYTES))
    assert PlainRequests().request(longest) is not None
