"""The public register over HTTPS: `/register` for people, `/register/feed` for programs.

Anybody may read it: no client certificate, no cookie. What it says is `status.register`'s business.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from aiohttp import ETag, web

from pkiserver.errors import PKIServerError, RefusedError
from pkiserver.status.register import MAX_PAGE, Entry, Found
from pkiserver.web.register_page import CONTENT_SECURITY_POLICY, render_page
from pkiserver.web.wire import WIRE, reason_of

DEFAULT_PAGE: Final = 100
MAX_SERIAL_CHARACTERS: Final = 100  # 16 octets take 47 with colons
_SERIAL: Final = re.compile(r"[0-9A-Fa-f]{1,32}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)  # what an integer of the store can be
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address holds what was searched for
    "Cache-Control": "no-store",
}
# A page that is full holds what can never change; the last one grows.
_FULL: Final = "public, max-age=86400"
_LAST: Final = "public, no-cache"


class RegisterSource(Protocol):
    """What the register reads from."""

    async def after(self, sequence: int, limit: int) -> list[Entry]:
        """Return the entries after `sequence` in commit order, at most `limit`."""

    async def head(self) -> int:
        """Return the newest sequence number."""

    async def with_serial(self, serial: int) -> list[Found]:
        """Return what is known of a serial, for each authority that gave it."""


def register_routes(source: RegisterSource, now: Callable[[], datetime]) -> list[web.RouteDef]:
    """Return the routes of the register; `now` gives the time that states are told of."""
    register = _Register(source, now)
    return [
        web.get("/register", register.page, name="register.page"),
        web.get("/register/feed", register.feed, name="register.feed"),
    ]


class _Register:
    def __init__(self, source: RegisterSource, now: Callable[[], datetime]) -> None:
        self._source = source
        self._now = now

    async def page(self, request: web.Request) -> web.Response:
        """Show the form and, where a serial is asked for, what is known of it."""
        typed = request.query.get("serial")
        if typed is None:
            return self._shown("", None)
        serial = _serial(typed)
        if serial is None:
            return self._shown(typed[:MAX_SERIAL_CHARACTERS], None, wrong=True)
        return self._shown(typed, await self._source.with_serial(serial))

    def _shown(self, typed: str, found: Sequence[Found] | None, *, wrong: bool = False) -> web.Response:
        problem = _NO_SERIAL if wrong else None
        text = render_page(typed, found, self._now(), problem=problem)
        status = 400 if wrong else 404 if found == [] else 200
        return web.Response(text=text, status=status, content_type="text/html", headers=_PAGE_HEADERS)

    async def feed(self, request: web.Request) -> web.Response:
        """Give the entries after a sequence number, and where to go on."""
        try:
            after = _number(request, "after", 0, 0, 10**18)
            limit = _number(request, "limit", DEFAULT_PAGE, 1, MAX_PAGE)
            entries = await self._source.after(after, limit)
            if not entries and after > await self._source.head():
                raise RefusedError(
                    f"there is no sequence number {after} yet: this is another register than the one that"
                    " gave it, or an older state of it; begin again with after=0"
                )
        except PKIServerError as error:
            return _json_refusal(error)
        newest = entries[-1].sequence if entries else after
        body = {"entries": [entry.to_json() for entry in entries], "next": newest}
        return _cacheable(request, body, _FULL if len(entries) == limit else _LAST)


_NO_SERIAL: Final = (
    "Энэ нь серийн дугаар биш",
    "This is no serial number: type at most 32 hexadecimal digits; colons and spaces may stand between.",
)


def _serial(typed: str) -> int | None:
    """Return the number typed, None where it is none."""
    digits = re.sub(r"[:\s]", "", typed[: MAX_SERIAL_CHARACTERS + 1])
    if len(typed) > MAX_SERIAL_CHARACTERS or _SERIAL.fullmatch(digits) is None:
        return None
    return int(digits, 16)


def _number(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """Return a number of the query; `RefusedError` where it is none, stands twice or is out of bounds."""
    given = request.query.getall(name, [])
    if not given:
        return default
    if len(given) > 1 or not _NUMBER.fullmatch(given[0]) or not low <= int(given[0]) <= high:
        raise RefusedError(f"{name} must be one whole number from {low} to {high}")
    return int(given[0])


def _cacheable(request: web.Request, body: dict[str, Any], cache_control: str) -> web.Response:
    response = web.json_response(body, headers={"X-Content-Type-Options": "nosniff"})
    content = response.body
    if not isinstance(content, bytes):
        raise TypeError("a JSON response has octets")
    tag = hashlib.sha256(content).hexdigest()[:32]
    headers = {"ETag": f'"{tag}"', "Cache-Control": cache_control}
    if _matches(request.if_none_match, tag):
        return web.Response(status=304, headers=headers)
    response.headers.update(headers)
    return response


def _matches(tags: tuple[ETag, ...] | None, tag: str) -> bool:
    """Compare weakly, as If-None-Match is (RFC 9110 §13.1.2)."""
    return any(one.value in ("*", tag) for one in tags or ())


def _json_refusal(error: PKIServerError) -> web.Response:
    wire = WIRE[error.kind]
    headers = {"Cache-Control": "no-store"}
    if wire.retry_after_s is not None:
        headers["Retry-After"] = str(wire.retry_after_s)
    return web.json_response({"error": reason_of(error)}, status=wire.http, headers=headers)
