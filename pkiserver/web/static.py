"""Public files over HTTP, where CDP and AIA point (RFC 5280 §4.2.1.13, §4.2.2.1): CRLs, certificates, pages.

Which names there are, and what HTTP says of each: media type, validators, for how long a cache may keep it,
parts and codings. The octets are `public_files`'.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final

from pkiserver.web.http_conditions import is_failed, is_range_wanted, is_unmodified
from pkiserver.web.http_messages import (
    NOT_FOUND,
    Answer,
    HTTPReply,
    HTTPRequest,
    method_not_allowed,
    plain_reply,
)
from pkiserver.web.http_selection import byte_range, prefers_gzip
from pkiserver.web.public_files import PublicFile, PublicFiles, Representation
from protocols.ocsp.http import http_date, max_age_s

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_PATH: Final = re.compile(
    (
        rf"/(crl/(?:{_NAME}\.crl|index\.html)?|ca/{_NAME}\.(?:cer|p7c|pem)"
        rf"|register/(?:{_NAME}\.csv(?:\.gz)?|index\.html)?)"
    ).encode("ascii")
)
_INDEX: Final = b"index.html"
_CONDITIONS: Final = frozenset(b"if-match if-unmodified-since if-none-match if-modified-since range".split())
_READ_ONLY: Final = method_not_allowed("GET, HEAD")
_FAILED: Final = plain_reply(HTTPStatus.PRECONDITION_FAILED, "the file is another by now")
_NEVER: Final = datetime.fromtimestamp(0, UTC)
_HOUR: Final = timedelta(hours=1)
_NO_SNIFFING: Final = b"X-Content-Type-Options: nosniff\r\n"
# A page has its style within, and nothing from anywhere: no script, frame, image or other form.
_PAGE_FIELDS: Final = (
    b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    b"base-uri 'none'; frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n" + _NO_SNIFFING
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is said of all files of a kind; `max_age` None: as long as is configured.

    `coded` where a compressed form may lie beside: a cache must then know what it was asked.
    """

    media_type: bytes
    max_age: timedelta | None = None
    fields: bytes = b""
    coded: bool = False


_KINDS: Final = {
    b"crl": _Kind(b"application/pkix-crl", coded=True),  # RFC 2585 §4
    b"cer": _Kind(b"application/pkix-cert", _HOUR),
    b"p7c": _Kind(b"application/pkcs7-mime", _HOUR),  # RFC 5280 §4.2.2.1
    b"pem": _Kind(b"application/pem-certificate-chain", _HOUR, _NO_SNIFFING),  # RFC 8555 §9.1
    b"csv": _Kind(b"text/csv; charset=utf-8", None, _NO_SNIFFING, coded=True),
    b"gz": _Kind(b"application/gzip"),  # RFC 6713
    b"html": _Kind(b"text/html; charset=utf-8", None, _PAGE_FIELDS, coded=True),
}


class StaticFiles:
    """Serves the public files of one folder."""

    def __init__(self, folder: Path, *, max_age: timedelta, monotonic: Callable[[], float]) -> None:
        """Take the folder, how long a cache may keep a file, and a clock in seconds that never goes back."""
        self._files = PublicFiles(folder, monotonic)
        self._max_age = max_age
        self._served: dict[bytes, _Served] = {}  # bounded by the files there are

    def handle(self, request: HTTPRequest, now: datetime) -> Answer:
        """Return the reply to a request for a file, or a future of it; 404 for every other path."""
        match = _PATH.fullmatch(request.path)
        if match is None:
            return NOT_FOUND
        if request.method not in (b"GET", b"HEAD"):
            return _READ_ONLY
        name = match[1]
        if name.endswith(b"/"):
            name += _INDEX
        found = self._files.current(name)
        if isinstance(found, asyncio.Future):
            return asyncio.ensure_future(self._later(name, found, request, now))
        return self._reply(name, found, request, now)

    async def _later(
        self, name: bytes, loading: asyncio.Future[PublicFile | None], request: HTTPRequest, now: datetime
    ) -> HTTPReply:
        return self._reply(name, await asyncio.shield(loading), request, now)

    def _reply(self, name: bytes, file: PublicFile | None, request: HTTPRequest, now: datetime) -> HTTPReply:
        if file is None:
            self._served.pop(name, None)
            return NOT_FOUND
        served = self._served.get(name)
        if served is None or served.file is not file:
            kind = _KINDS[name.rpartition(b".")[2]]
            served = self._served[name] = _Served(file, kind, kind.max_age or self._max_age)
        fields = request.fields
        form = served.gzip
        if form is None or not prefers_gzip(fields.get(b"accept-encoding", b"")):
            form = served.plain
        form.come_to(now)
        return form.whole if _CONDITIONS.isdisjoint(fields) else form.conditional(request)


class _Served:
    """A file, and the forms in which it is served."""

    __slots__ = ("file", "gzip", "plain")

    def __init__(self, file: PublicFile, kind: _Kind, max_age: timedelta) -> None:
        self.file = file
        self.plain = _Form(file, file.plain, b"", kind, max_age)
        self.gzip = None
        if kind.coded and file.gzip is not None:
            self.gzip = _Form(file, file.gzip, b"Content-Encoding: gzip\r\n", kind, max_age)


class _Form:
    """One form of a file, with the header fields of the present second: thousands of replies share them."""

    __slots__ = ("_content", "_fields", "_file", "_is_crl", "_max_age", "_now", "_of", "_unmodified", "whole")

    def __init__(
        self, file: PublicFile, of: Representation, coding: bytes, kind: _Kind, max_age: timedelta
    ) -> None:
        self._file = file
        self._of = of
        self._max_age = max_age
        self._is_crl = kind.media_type == _KINDS[b"crl"].media_type
        vary = b"Vary: Accept-Encoding\r\n" if kind.coded else b""
        self._content = b"Content-Type: %b\r\n%bAccept-Ranges: bytes\r\n%b" % (
            kind.media_type, coding, kind.fields,
        )  # fmt: skip
        self._fields = b"ETag: %b\r\n%b" % (of.entity_tag, vary)
        self._now = _NEVER
        self.whole = self._unmodified = NOT_FOUND
        self.come_to(_NEVER + _HOUR)

    def come_to(self, now: datetime) -> None:
        """Have the replies say what is so at this moment."""
        if now == self._now:
            return
        self._now = now
        # A Last-Modified is not after the Date (RFC 9110 §8.8.2.1).
        last_modified = http_date(min(self._file.last_modified, now))
        shared = b"Last-Modified: %b\r\n%b%b" % (last_modified, self._fields, self._caching())
        length = b"Content-Length: %d\r\n" % len(self._of.body)
        self.whole = HTTPReply(b"200 OK", self._content + length + shared, self._of.body, "static")
        self._unmodified = HTTPReply(b"304 Not Modified", shared, b"", "static_not_modified")

    def _caching(self) -> bytes:
        """Return for how long a cache may keep it: a CRL never past its nextUpdate, whatever is configured.

        One past it, or whose nextUpdate is not known, is asked for again at every use (RFC 9111 §5.2.2.4).
        Expires says the same to caches of HTTP/1.0.
        """
        age = int(self._max_age.total_seconds())
        if self._is_crl:
            next_update = self._file.next_update
            age = 0 if next_update is None else max_age_s(next_update, self._now, self._max_age)
        keeping = (
            b"max-age=%d, public, no-transform, must-revalidate" % age if age else b"no-cache, no-transform"
        )
        expires = http_date(self._now + timedelta(seconds=age))
        return b"Cache-Control: %b\r\nExpires: %b\r\n" % (keeping, expires)

    def conditional(self, request: HTTPRequest) -> HTTPReply:
        """Return the reply to a request with conditions or a range, in the order of RFC 9110 §13.2.2."""
        fields, tag, last_modified = request.fields, self._of.entity_tag, self._file.last_modified
        if is_failed(fields, tag, last_modified):
            return _FAILED
        if is_unmodified(fields, tag, last_modified):
            return self._unmodified
        asked = fields.get(b"range")
        # Only GET has ranges (RFC 9110 §14.2).
        if asked is None or request.method != b"GET":
            return self.whole
        if not is_range_wanted(fields, tag, last_modified, self._now):
            return self.whole
        part = byte_range(asked, len(self._of.body))
        return self.whole if part is None else self._part(part)

    def _part(self, part: range) -> HTTPReply:
        size = len(self._of.body)
        if not part:
            return plain_reply(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                f"the file has {size} bytes",
                fields=b"Content-Range: bytes */%d\r\n" % size,
            )
        head = b"Content-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n" % (
            part.start, part.stop - 1, size, len(part),
        )  # fmt: skip
        body = memoryview(self._of.body)[part.start : part.stop]  # no copy: it may be 40 MB
        fields = self._content + head + self._unmodified.fields
        return HTTPReply(b"206 Partial Content", fields, body, "static_partial")
