"""Public files over HTTP, where CDP and AIA point (RFC 5280 §4.2.1.13, §4.2.2.1): CRLs and CA certificates.

Files are replaced by renaming others over them. Each is kept in memory and read again when it changed.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pkiserver.web.http_messages import NOT_FOUND, HTTPReply, HTTPRequest, method_not_allowed
from pkiserver.web.ocsp import is_unmodified
from protocols.ocsp.http import http_date

CHECK_S: Final = 0.25  # how long a file is served before it is looked at again
MAX_FILE_BYTES: Final = 256 << 20  # a CRL of 5 million entries; a larger one must be sharded

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_PATH: Final = re.compile(rf"/(crl/{_NAME}\.crl|ca/{_NAME}\.(?:cer|p7c))".encode("ascii"))
_MEDIA_TYPES: Final = {
    b"crl": b"application/pkix-crl",  # RFC 2585 §4
    b"cer": b"application/pkix-cert",
    b"p7c": b"application/pkcs7-mime",  # RFC 5280 §4.2.2.1
}
_READ_ONLY: Final = method_not_allowed("GET, HEAD")

Signature = tuple[int, int, int]


@dataclass(slots=True)
class _Served:
    """A file as it is served; `check_at` is the time, in the clock of the event loop, to look at it again."""

    signature: Signature
    check_at: float
    body: bytes
    entity_tag: bytes
    last_modified: datetime
    validators: bytes
    content: bytes


class StaticFiles:
    """Serves `/crl/NAME.crl`, `/ca/NAME.cer` and `/ca/NAME.p7c` from one folder."""

    def __init__(self, folder: Path, *, max_age: timedelta, monotonic: Callable[[], float]) -> None:
        """Take the folder, how long a cache may keep a file, and a clock in seconds that never goes back."""
        self._folder = os.fspath(folder)
        self._cache_control = b"Cache-Control: max-age=%d, public, no-transform, must-revalidate\r\n" % (
            int(max_age.total_seconds())
        )
        self._monotonic = monotonic
        self._served: dict[bytes, _Served] = {}  # bounded by the files there are

    def handle(self, request: HTTPRequest, now: datetime) -> HTTPReply:
        """Return the reply to a request for a file; 404 for every other path."""
        match = _PATH.fullmatch(request.path)
        if match is None:
            return NOT_FOUND
        if request.method not in (b"GET", b"HEAD"):
            return _READ_ONLY
        served = self._current(match[1])
        if served is None:
            return NOT_FOUND
        # A Last-Modified is not after the Date (RFC 9110 §8.8.2.1).
        last_modified = b"Last-Modified: %b\r\n" % http_date(min(served.last_modified, now))
        headers = last_modified + served.validators
        if is_unmodified(request.fields, served.entity_tag, served.last_modified):
            return HTTPReply(b"304 Not Modified", headers, b"", "static_not_modified")
        return HTTPReply(b"200 OK", served.content + headers, served.body, "static")

    def _current(self, name: bytes) -> _Served | None:
        """Return the file as it is now, or as it was at most `CHECK_S` ago; None where there is none."""
        served = self._served.get(name)
        elapsed = self._monotonic()
        if served is not None and elapsed < served.check_at:
            return served
        served = self._looked_at(name, served)
        if served is None:
            self._served.pop(name, None)
            return None
        self._served[name] = served
        served.check_at = elapsed + CHECK_S
        return served

    def _looked_at(self, name: bytes, served: _Served | None) -> _Served | None:
        """Return the file, read anew unless it is the one served; None where there is none."""
        try:
            with open(os.path.join(self._folder, name.decode("ascii")), "rb", opener=_open) as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
                    return None
                signature = (found.st_ino, found.st_mtime_ns, found.st_size)
                if served is not None and served.signature == signature:
                    return served
                return self._serve(name, signature, file.read())
        except OSError:
            return None

    def _serve(self, name: bytes, signature: Signature, body: bytes) -> _Served:
        entity_tag = b'"%b"' % hashlib.sha256(body).hexdigest().encode("ascii")
        media_type = _MEDIA_TYPES[name[-3:]]
        return _Served(
            signature,
            0.0,
            body,
            entity_tag,
            datetime.fromtimestamp(signature[1] // 1_000_000_000, UTC),
            b"ETag: %b\r\n%b" % (entity_tag, self._cache_control),
            b"Content-Type: %b\r\nContent-Length: %d\r\n" % (media_type, len(body)),
        )


def _open(path: str, flags: int) -> int:
    """Open neither links nor, waiting, pipes: nothing but files is published."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
