"""OCSP over HTTP (RFC 6960 App. A, RFC 9919): a request's bytes to the bytes of a prebuilt response.

The hot path of the status plane: no key, no database, no ASN.1 library. What the fast scan of
`protocols.ocsp.request` does not take goes to the slow path, which is injected; so is who is asked for
answers that have to be signed first.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Protocol

from pkiserver.status.slow_path import Sought, Unprepared
from pkiserver.web.http_conditions import is_unmodified
from pkiserver.web.http_messages import (
    NOT_FOUND,
    Answer,
    HTTPReply,
    HTTPRequest,
    method_not_allowed,
    plain_reply,
)
from protocols.asn1.der import whole
from protocols.asn1.ocsp import OCSPResponse, OCSPResponseStatus
from protocols.errors import ProtocolError
from protocols.ocsp.http import (
    ERROR_CACHE_HEADERS,
    REQUEST_MEDIA_TYPE,
    RESPONSE_MEDIA_TYPE,
    cache_headers,
    etag,
    request_from_path,
)
from protocols.ocsp.request import scan
from protocols.ocsp.response import ResponseWrapper, error_response
from store.response_entries import ResponderParts, ResponseEntry, response_key

PATH: Final = b"/ocsp"
_PREFIX: Final = PATH + b"/"
_PREFIX_OCTETS: Final = len(_PREFIX)
_POST_PATHS: Final = frozenset({PATH, _PREFIX})
_READ_METHODS: Final = frozenset({b"GET", b"HEAD"})
_REQUEST_TYPE: Final = REQUEST_MEDIA_TYPE.encode("ascii")
_RESPONSE_TYPE: Final = RESPONSE_MEDIA_TYPE.encode("ascii")
_CONDITIONAL: Final = frozenset({b"if-none-match", b"if-modified-since"})
_POST_ONLY: Final = method_not_allowed("POST")
_READ_ONLY: Final = method_not_allowed("GET, HEAD")
_WRONG_TYPE: Final = plain_reply(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    f"the Content-Type must be {REQUEST_MEDIA_TYPE}",
    fields=b"Accept-Post: %b\r\n" % _REQUEST_TYPE,
)


@lru_cache(maxsize=1024)  # responses have a few dozen different lengths
def _content_lines(length: int) -> bytes:
    return b"Content-Type: %b\r\nContent-Length: %d\r\n" % (_RESPONSE_TYPE, length)


def _error_reply(status: OCSPResponseStatus, outcome: str) -> HTTPReply:
    """Return an OCSP error: HTTP finds nothing wrong with it, and no cache may keep it (RFC 9919 §7.2)."""
    body = error_response(status)
    return HTTPReply(b"200 OK", _content_lines(len(body)) + ERROR_CACHE_HEADERS, body, outcome)


_ERRORS: Final[dict[OCSPResponseStatus, HTTPReply]] = {
    status: _error_reply(status, status.name.lower())
    for status in OCSPResponseStatus
    if status is not OCSPResponseStatus.SUCCESSFUL
}
_MALFORMED: Final = _ERRORS[OCSPResponseStatus.MALFORMED_REQUEST]
_UNAUTHORIZED: Final = _ERRORS[OCSPResponseStatus.UNAUTHORIZED]
# Counted apart: it says that the presigner is late.
_EXPIRED: Final = _error_reply(OCSPResponseStatus.TRY_LATER, "expired")
_INCOMPLETE: Final = _error_reply(OCSPResponseStatus.TRY_LATER, "responder_missing")

# More is asked of the signer than it may have waiting.
_BUSY: Final = _error_reply(OCSPResponseStatus.TRY_LATER, "busy")

SlowPath = Callable[[bytes], Sought | Unprepared]
Ask = Callable[[bytes], asyncio.Future[bytes | None] | None]
"""Has a request answered by a signer: with an OCSPResponse in DER, or None where no key can speak for it.

None instead of a future: too much is under way. The future ends by itself, however long the signer takes.
"""


class ResponseTable(Protocol):
    """What is asked of the table; `store.responses` has its contracts."""

    def get(self, key: bytes) -> ResponseEntry | None: ...

    def revision(self) -> int: ...

    def issuers(self) -> dict[bytes, int]: ...

    def responders(self) -> dict[int, ResponderParts]: ...


class OCSPResponder:
    """Answers OCSP requests from a table of prebuilt responses."""

    def __init__(
        self,
        table: ResponseTable,
        slow_path: SlowPath,
        *,
        max_age: timedelta,
        ask: Ask | None = None,
        signed_unknown: frozenset[int] = frozenset(),
    ) -> None:
        """Take the table and the slow path; `max_age` caps how long a cache may keep a response.

        `ask` has answers signed, None where nothing can be; it is asked about certificates without an entry
        where their authority is one of `signed_unknown`.
        """
        self._table = table
        self._slow_path = slow_path
        self._ask = ask
        self._signed_unknown = signed_unknown
        self._max_age = max_age
        self._revision = -1
        self._issuers: dict[bytes, int] = {}
        self._wrappers: dict[int, ResponseWrapper] = {}
        self._headers: dict[tuple[int, int], bytes] = {}  # as of `_now`
        self._now = datetime.fromtimestamp(0, UTC)
        self._now_s = 0
        self.refresh()

    def sign_unknown(self, authorities: frozenset[int]) -> None:
        """Have it asked from now on about certificates without an entry where these are their authorities."""
        self._signed_unknown = authorities

    def refresh(self) -> None:
        """Take up issuers and responders that were added or changed."""
        revision = self._table.revision()  # read first: a change after it is seen the next time
        if revision == self._revision:
            return
        self._issuers = self._table.issuers()
        self._wrappers = {
            number: ResponseWrapper(parts.signature_algorithm, parts.certificates)
            for number, parts in self._table.responders().items()
        }
        self._revision = revision

    def handle(self, request: HTTPRequest, now: datetime) -> Answer:
        """Return the reply to a request whose path is `PATH` or below, or a future of it."""
        method, path, fields, body, _ = request
        if path in _POST_PATHS:
            if method != b"POST":
                return _POST_ONLY
            if not _is_request_type(fields.get(b"content-type", b"")):
                return _WRONG_TYPE
            return self._answer(body, now)
        if not path.startswith(_PREFIX):
            return NOT_FOUND
        if method not in _READ_METHODS:
            return _READ_ONLY
        try:
            body = request_from_path(path[_PREFIX_OCTETS:])
        except ProtocolError:
            return _MALFORMED
        return self._answer(body, now, fields)

    def _answer(self, request: bytes, now: datetime, conditions: dict[bytes, bytes] | None = None) -> Answer:
        sought = scan(request)
        if sought is None:
            return self._unusual(request, now, conditions)
        return self._prebuilt(sought, now, conditions) or self._without_entry(request, sought, now)

    def _prebuilt(
        self, sought: tuple[bytes, bytes], now: datetime, conditions: dict[bytes, bytes] | None
    ) -> HTTPReply | None:
        """Return what the table has to say of a certificate; None where it knows the issuer only."""
        issuer_part, serial = sought
        authority = self._issuers.get(issuer_part)
        if authority is None:
            return _UNAUTHORIZED
        entry = self._table.get(response_key(authority, serial))
        if entry is None:
            return None
        if now != self._now:
            self._now, self._now_s = now, int(now.timestamp())
            self._headers.clear()
        if entry.next_update <= self._now_s:
            return _EXPIRED
        return self._reply(entry, conditions)

    # ---- What the table does not answer

    def _unusual(self, request: bytes, now: datetime, conditions: dict[bytes, bytes] | None) -> Answer:
        unusual = self._slow_path(request)
        if isinstance(unusual, OCSPResponseStatus):
            return _ERRORS[unusual]
        if not isinstance(unusual, Unprepared):
            return self._prebuilt(unusual, now, conditions) or self._without_entry(request, unusual, now)
        # One responder must speak for all certificates of a request: they are of one authority, or refused.
        authorities = {self._issuers.get(issuer_part) for issuer_part in unusual.issuer_parts}
        if None in authorities or len(authorities) > 1:
            return _UNAUTHORIZED
        return self._promise(request, now, unusual.keyless)

    def _without_entry(self, request: bytes, sought: tuple[bytes, bytes], now: datetime) -> Answer:
        """Return what is said of a certificate that the table does not have (RFC 9919 §3.2.3)."""
        if self._issuers.get(sought[0]) not in self._signed_unknown:
            return _UNAUTHORIZED
        return self._promise(request, now, OCSPResponseStatus.UNAUTHORIZED)

    def _promise(self, request: bytes, now: datetime, keyless: Sought) -> Answer:
        """Have an answer signed; `keyless` is what is sought where no key can speak."""
        asked = self._ask(request) if self._ask is not None else None
        return _BUSY if asked is None else asyncio.ensure_future(self._promised(asked, now, keyless))

    async def _promised(
        self, asked: asyncio.Future[bytes | None], now: datetime, keyless: Sought
    ) -> HTTPReply:
        response = await asked
        if response is not None:
            return self._signed_reply(response, now)
        if isinstance(keyless, OCSPResponseStatus):
            return _ERRORS[keyless]
        return self._prebuilt(keyless, now, None) or _UNAUTHORIZED

    def _signed_reply(self, response: bytes, now: datetime) -> HTTPReply:
        """Return the reply with a response signed for it, under the same header fields as the others."""
        parsed = whole(response, OCSPResponse.parse)
        if parsed.response is None:
            return _ERRORS[parsed.response_status]
        singles = parsed.response.response_data().responses
        this_update = min(single.this_update for single in singles)
        headers = cache_headers(
            this_update=this_update,
            next_update=min(single.next_update or this_update for single in singles),
            now=now,
            max_age_cap=self._max_age,
        )
        fields = b"%bETag: %b\r\n%b" % (_content_lines(len(response)), etag(response), headers)
        return HTTPReply(b"200 OK", fields, response, "signed")

    # ---- What it does

    def _reply(self, entry: ResponseEntry, conditions: dict[bytes, bytes] | None) -> HTTPReply:
        wrapper = self._wrapper(entry.responder)
        if wrapper is None:
            return _INCOMPLETE
        response = wrapper.wrap(entry.response_data, entry.signature)
        validator = etag(response)
        headers = b"".join(
            (b"ETag: ", validator, b"\r\n", self._cache_headers(entry.this_update, entry.next_update))
        )
        if conditions and not _CONDITIONAL.isdisjoint(conditions):
            this_update = datetime.fromtimestamp(entry.this_update, UTC)
            if is_unmodified(conditions, validator, this_update):
                return HTTPReply(b"304 Not Modified", headers, b"", "not_modified")
        return HTTPReply(b"200 OK", _content_lines(len(response)) + headers, response, "successful")

    def _cache_headers(self, this_update: int, next_update: int) -> bytes:
        """Return the header fields that all responses of these times share; made once a second."""
        headers = self._headers.get((this_update, next_update))
        if headers is None:
            headers = self._headers[this_update, next_update] = cache_headers(
                this_update=datetime.fromtimestamp(this_update, UTC),
                next_update=datetime.fromtimestamp(next_update, UTC),
                now=self._now,
                max_age_cap=self._max_age,
            )
        return headers

    def _wrapper(self, responder: int) -> ResponseWrapper | None:
        """Return the wrapper of a responder, one added since the last refresh too."""
        wrapper = self._wrappers.get(responder)
        if wrapper is None:
            self.refresh()
            wrapper = self._wrappers.get(responder)
        return wrapper


def _is_request_type(content_type: bytes) -> bool:
    """Tell whether a Content-Type is that of an OCSP request, whatever its parameters."""
    return content_type == _REQUEST_TYPE or content_type.partition(b";")[0].strip().lower() == _REQUEST_TYPE
