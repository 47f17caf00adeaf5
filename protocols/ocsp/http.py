"""OCSP over HTTP (RFC 6960 App. A, RFC 9919 §6, §7): the request in a GET path, the header fields of caching.

Pure: which bytes come and go, not how. Media types, methods and status codes are the web layer's.
"""

import binascii
import hashlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from protocols.errors import MalformedError, TooLargeError
from protocols.ocsp.request import MAX_REQUEST_BYTES

REQUEST_MEDIA_TYPE: Final = "application/ocsp-request"
RESPONSE_MEDIA_TYPE: Final = "application/ocsp-response"

MAX_PATH_BYTES: Final = 8000  # what RFC 9110 §4.1 asks to be supported; OCSP clients use GET up to 255

# For error responses, which no cache may keep (RFC 9919 §7.2: "non-authoritative").
ERROR_CACHE_HEADERS: Final = b"Cache-Control: no-store, no-cache\r\n"

_BASE64URL: Final = bytes.maketrans(b"-_", b"+/")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def request_from_path(path: bytes) -> bytes:
    """Return the DER OCSPRequest in what follows the responder's URL in a GET (RFC 6960 §A.1).

    Forgiven, since clients and proxies do it: `+`, `/` and `=` not escaped, escapes in either case, slashes
    ahead (a URL that ends in one), no padding, base64url. All else that is not base64 is a `MalformedError`,
    white space included (RFC 9919 §6), and `TooLargeError` is over a bound. Do not collapse `//` before.
    """
    if len(path) > MAX_PATH_BYTES:
        raise TooLargeError(f"OCSP request in a path over {MAX_PATH_BYTES} bytes")
    if b"%" in path:
        path = path.replace(b"%2B", b"+").replace(b"%2F", b"/").replace(b"%3D", b"=")  # nearly all there are
        if b"%" in path:
            path = unquote_to_bytes(path)
    # No request begins with a slash: it would not be a SEQUENCE.
    encoded = path.lstrip(b"/") if path.startswith(b"/") else path
    if b"-" in encoded or b"_" in encoded:
        encoded = encoded.translate(_BASE64URL)
    if not encoded.endswith(b"="):
        encoded += b"=" * (-len(encoded) % 4)
    try:
        request = binascii.a2b_base64(encoded, strict_mode=True)
    except binascii.Error as error:
        raise MalformedError("OCSP request in the path is not base64") from error
    if not request:
        raise MalformedError("no OCSP request in the path")
    if len(request) > MAX_REQUEST_BYTES:
        raise TooLargeError(f"OCSP request over {MAX_REQUEST_BYTES} bytes")
    return request


@lru_cache(maxsize=1024)
def http_date(moment: datetime) -> bytes:
    """Return an IMF-fixdate (RFC 9110 §5.6.7) of an aware moment, whatever the locale."""
    moment = moment.astimezone(UTC)
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment:%H:%M:%S} GMT".encode("ascii")


def etag(response: bytes) -> bytes:
    """Return the strong validator of a response: its SHA-256 in quoted hexadecimal (RFC 9919 §7.2)."""
    return b'"%b"' % binascii.hexlify(hashlib.sha256(response).digest())


def max_age_s(next_update: datetime, now: datetime, cap: timedelta) -> int:
    """Return for how many seconds a cache may keep a response: until before nextUpdate, and at most `cap`.

    0 where nextUpdate is reached: what is kept then is revalidated at every use.
    """
    fresh_s = int((next_update - now).total_seconds()) - 1  # strictly earlier than nextUpdate (RFC 9919 §7.2)
    return max(0, min(fresh_s, int(cap.total_seconds())))


def cache_headers(
    *, this_update: datetime, next_update: datetime, now: datetime, max_age_cap: timedelta
) -> bytes:
    """Return Last-Modified, Expires and Cache-Control of a successful response, each line with CRLF.

    As RFC 9919 §7.2 has them; never no-cache or no-store. A Last-Modified is not after the Date
    (RFC 9110 §8.8.2.1). The caller adds the `etag`, which varies from response to response.
    """
    return (
        b"Last-Modified: %b\r\nExpires: %b\r\n"
        b"Cache-Control: max-age=%d, public, no-transform, must-revalidate\r\n"
    ) % (
        http_date(min(this_update, now)),
        http_date(next_update),
        max_age_s(next_update, now, max_age_cap),
    )
