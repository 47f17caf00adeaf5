"""CMP on plain HTTP (RFC 9811): requests of the status port that who holds keys and store has to answer."""

import asyncio
from datetime import datetime
from http import HTTPStatus
from typing import Final, Protocol

from pkiserver.web.cmp_reply import CMPReply
from pkiserver.web.http_messages import (
    NOT_FOUND,
    Answer,
    HTTPReply,
    HTTPRequest,
    method_not_allowed,
    plain_reply,
)
from protocols.cmp.http import MEDIA_TYPE, PATH, CMPAddress, address_of

_TYPE: Final = MEDIA_TYPE.encode("ascii")
_POST_ONLY: Final = method_not_allowed("POST")
_WRONG_TYPE: Final = plain_reply(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    f"the Content-Type must be {MEDIA_TYPE}",
    fields=b"Accept-Post: %b\r\n" % _TYPE,
)
_NOT_SERVED: Final = plain_reply(
    HTTPStatus.NOT_FOUND, "CMP is not served here: it is switched off, or this machine tells status only"
)
_BUSY: Final = plain_reply(
    HTTPStatus.SERVICE_UNAVAILABLE, "too many requests; try again", fields=b"Retry-After: 5\r\n"
)


class Ask(Protocol):
    """Has a message answered; None where that is too much now. The future ends by itself."""

    def __call__(self, message: bytes, address: CMPAddress, peer: str) -> asyncio.Future[CMPReply] | None: ...


class CMPDoor:
    """Takes requests below `PATH`, and has them answered elsewhere."""

    def __init__(self, ask: Ask | None, *, max_body_bytes: int = 0) -> None:
        """Take who is asked, None where nobody is, and how long a message may be."""
        self._ask = ask
        self._max_body_bytes = max_body_bytes

    def body_bound(self, path: bytes) -> int:
        """Return how many octets a body to this path may have, 0 where that is no matter of CMP."""
        return self._max_body_bytes if path.startswith(PATH) else 0

    def handle(self, request: HTTPRequest, _now: datetime) -> Answer:
        """Return the reply to a request whose path is `PATH` or begins with it, or a future of it."""
        address = address_of(request.path)
        if address is None:
            return NOT_FOUND
        if self._ask is None:
            return _NOT_SERVED
        if request.method != b"POST":
            return _POST_ONLY
        if not _is_cmp(request.fields.get(b"content-type", b"")):
            return _WRONG_TYPE
        asked = self._ask(request.body, address, request.peer)
        return _BUSY if asked is None else asyncio.ensure_future(_promised(asked))


async def _promised(asked: asyncio.Future[CMPReply]) -> HTTPReply:
    return http_reply(await asked)


def http_reply(reply: CMPReply) -> HTTPReply:
    """Return a reply as it is written; no cache keeps any."""
    status = reply.status
    media_type = _TYPE if status is HTTPStatus.OK else b"text/plain; charset=us-ascii"
    lines = [b"Content-Length: %d\r\nCache-Control: no-store\r\n" % len(reply.body)]
    if reply.body:
        lines.append(b"Content-Type: %b\r\n" % media_type)
    if reply.retry_after_s is not None:
        lines.append(b"Retry-After: %d\r\n" % reply.retry_after_s)
    phrase = b"%d %b" % (status, status.phrase.encode("ascii"))
    return HTTPReply(phrase, b"".join(lines), reply.body, f"cmp_{status:d}")


def _is_cmp(content_type: bytes) -> bool:
    """Tell whether a Content-Type is that of CMP, whatever its parameters."""
    return content_type.partition(b";")[0].strip().lower() == _TYPE
