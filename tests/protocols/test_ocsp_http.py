"""`protocols.ocsp.http`: requests in paths, and header fields against the standard library's parsers."""

import base64
import contextlib
import hashlib
import locale
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MalformedError, ProtocolError, TooLargeError
from protocols.ocsp.http import (
    ERROR_CACHE_HEADERS,
    MAX_PATH_BYTES,
    cache_headers,
    etag,
    http_date,
    max_age_s,
    request_from_path,
)
from protocols.ocsp.request import MAX_REQUEST_BYTES

VECTORS = Path(__file__).parents[1] / "vectors" / "ocsp"

# begins as a request does; its base64 has `+`, `//` and two `=`
AWKWARD = bytes.fromhex("3003fbeffeffffff3e01")
AWKWARD_BASE64 = base64.b64encode(AWKWARD)


def test_the_awkward_request_is_awkward() -> None:
    assert AWKWARD_BASE64 == b"MAP77/7///8+AQ=="


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(b"MAP77%2F7%2F%2F%2F8%2BAQ%3D%3D", id="escaped as it should be"),
        pytest.param(b"MAP77%2f7%2f%2f%2f8%2bAQ%3d%3d", id="escapes in lower case"),
        pytest.param(b"MAP77/7///8+AQ==", id="nothing escaped"),
        pytest.param(b"MAP77/7///8%2BAQ==", id="only the plus escaped"),
        pytest.param(b"MAP77/7///8+AQ", id="no padding"),
        pytest.param(b"MAP77%2F7%2F%2F%2F8%2BAQ", id="no padding, escaped"),
        pytest.param(b"MAP77_7___8-AQ==", id="base64url"),
        pytest.param(b"MAP77_7___8-AQ", id="base64url without padding"),
        pytest.param(b"/MAP77/7///8+AQ==", id="a slash ahead"),
        pytest.param(b"//MAP77/7///8+AQ==", id="two slashes ahead"),
        pytest.param(b"%2FMAP77/7///8+AQ==", id="an escaped slash ahead"),
        pytest.param(b"%4DAP77/7///8+AQ==", id="a letter escaped"),
    ],
)
def test_forgiven(path: bytes) -> None:
    assert request_from_path(path) == AWKWARD


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"/", id="a slash"),
        pytest.param(b"====", id="padding alone"),
        pytest.param(b"M", id="a single character"),
        pytest.param(b"MAP77", id="five characters"),
        pytest.param(b"MAP77/7///8+AQ=", id="half the padding"),
        pytest.param(b"MAP77/7///8+AQ===", id="too much padding"),
        pytest.param(b"MAP7=7/7///8+AQ==", id="padding within"),
        pytest.param(b"MAP77/7///8+AQ==MAP7", id="more after padding"),
        pytest.param(b"MAP77/7///8 AQ==", id="a space"),
        pytest.param(b"MAP77/7///8%20AQ==", id="an escaped space"),
        pytest.param(b"MAP77/7/%0A//8+AQ==", id="an escaped line end"),
        pytest.param(b"MAP77%252F7%252F%252F%252F8%252BAQ", id="escaped twice"),
        pytest.param(b"MAP7%", id="an escape cut off"),
        pytest.param(b"MAP7%2", id="an escape cut in half"),
        pytest.param(b"MAP7%ZZ", id="an escape of no hexadecimal"),
        pytest.param(b"MAP77/7///8+AQ==?x=1", id="a query"),
        pytest.param("МАР7".encode(), id="Cyrillic"),
        pytest.param(b"MAP7\x00", id="a NUL"),
    ],
)
def test_refused(path: bytes) -> None:
    with pytest.raises(MalformedError):
        request_from_path(path)


def test_bounds() -> None:
    largest = bytes(MAX_REQUEST_BYTES)
    assert request_from_path(base64.b64encode(largest)) == largest
    with pytest.raises(TooLargeError):
        request_from_path(base64.b64encode(largest + b"\0"))
    with pytest.raises(TooLargeError):
        request_from_path(b"A" * (MAX_PATH_BYTES + 1))


@given(st.binary(min_size=1, max_size=120), st.booleans(), st.booleans(), st.booleans())
def test_every_request_in_every_writing(der: bytes, urlsafe: bool, padded: bool, escaped: bool) -> None:
    der = b"\x30" + der
    encoded = base64.urlsafe_b64encode(der) if urlsafe else base64.b64encode(der)
    if not padded:
        encoded = encoded.rstrip(b"=")
    path = quote(encoded, safe="").encode() if escaped else encoded
    assert request_from_path(path) == der


@given(st.binary(max_size=80))
def test_only_our_errors_escape(path: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        request_from_path(path)


# ---- header fields

START = datetime(2023, 3, 19, 1, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "date"),
    [
        (START, b"Sun, 19 Mar 2023 01:00:00 GMT"),
        (datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC), b"Sun, 06 Nov 1994 08:49:37 GMT"),  # RFC 9110 §5.6.7
        (
            datetime(2024, 2, 29, 7, 59, 59, tzinfo=timezone(timedelta(hours=8))),
            b"Wed, 28 Feb 2024 23:59:59 GMT",
        ),
    ],
)
def test_http_date(moment: datetime, date: bytes) -> None:
    assert http_date(moment) == date


@given(st.integers(-10_000_000_000, 250_000_000_000))
def test_http_dates_are_read_back(seconds: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    date = http_date(moment)
    assert len(date) == 29
    assert parsedate_to_datetime(date.decode()) == moment


def test_http_date_ignores_the_locale() -> None:
    before = locale.setlocale(locale.LC_TIME)
    try:
        locale.setlocale(locale.LC_TIME, "")
        assert http_date(START + timedelta(seconds=1)) == b"Sun, 19 Mar 2023 01:00:01 GMT"
    finally:
        locale.setlocale(locale.LC_TIME, before)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("now", "cap", "want"),
    [
        pytest.param(START, timedelta(days=9), 48 * 3600 - 1, id="until before nextUpdate"),
        pytest.param(START, HOUR, 3600, id="capped"),
        pytest.param(START + timedelta(hours=47, minutes=30), HOUR, 1799, id="less than the cap is left"),
        pytest.param(START + timedelta(hours=48, seconds=-1), HOUR, 0, id="a second is left"),
        pytest.param(START + timedelta(hours=48), HOUR, 0, id="at nextUpdate"),
        pytest.param(START + timedelta(hours=50), HOUR, 0, id="after nextUpdate"),
        pytest.param(START, timedelta(0), 0, id="no caching wanted"),
    ],
)
def test_max_age(now: datetime, cap: timedelta, want: int) -> None:
    assert max_age_s(START + timedelta(hours=48), now, cap) == want


def test_cache_headers() -> None:
    got = cache_headers(
        this_update=START,
        next_update=START + timedelta(days=2),
        now=START + timedelta(days=1),
        max_age_cap=timedelta(seconds=86000),
    )
    assert got == (
        b"Last-Modified: Sun, 19 Mar 2023 01:00:00 GMT\r\n"
        b"Expires: Tue, 21 Mar 2023 01:00:00 GMT\r\n"
        b"Cache-Control: max-age=86000, public, no-transform, must-revalidate\r\n"
    )


def test_last_modified_is_not_after_the_date() -> None:
    got = cache_headers(
        this_update=START, next_update=START + HOUR, now=START - timedelta(seconds=5), max_age_cap=HOUR
    )
    assert got.startswith(b"Last-Modified: Sun, 19 Mar 2023 00:59:55 GMT\r\n")


def test_etag_is_the_sha256_of_the_response() -> None:
    response = (VECTORS / "rfc9919_examples_response.der").read_bytes()
    assert etag(response) == b'"' + hashlib.sha256(response).hexdigest().encode() + b'"'


def test_etags_differ() -> None:
    assert etag(b"a") != etag(b"b")
    assert len(etag(b"")) == 66


def test_errors_are_not_kept() -> None:
    assert ERROR_CACHE_HEADERS.startswith(b"Cache-Control: no-store")
    assert ERROR_CACHE_HEADERS.endswith(b"\r\n")
