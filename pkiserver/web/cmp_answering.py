"""What HTTP says of a message of CMP (RFC 9811 §3.1, §3.5), whichever port it came to."""

from http import HTTPStatus
from typing import Final, Protocol

import structlog

from pkiserver.web.cmp_reply import CMPReply
from pkiserver.web.wire import WIRE, kind_of, reason_of, retry_after_of
from protocols.cmp.http import CMPAddress, is_announcement
from protocols.errors import ErrorKind

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


class CMPAnswerer(Protocol):
    """Who answers messages of CMP."""

    async def answer(self, message: bytes, *, operation: str | None, profile: str | None, peer: str) -> bytes:
        """Return a DER PKIMessage; raises only where the request is no PKIMessage or nothing can answer."""


async def reply_to(answerer: CMPAnswerer, message: bytes, address: CMPAddress, peer: str) -> CMPReply:
    """Return the reply to a message that came to an address; this never raises.

    Announcements are acknowledged, and nothing is done with them: this authority follows no other, and says
    so with 202 where 201 would say that they are stored (RFC 9811 §3.5).
    """
    if is_announcement(message):
        _log.debug("cmp-announcement", peer=peer)  # anybody can send one
        return CMPReply(HTTPStatus.ACCEPTED)
    try:
        answer = await answerer.answer(
            message, operation=address.operation, profile=address.profile, peer=peer
        )
    except Exception as error:  # noqa: BLE001 - the outermost handler: answered without detail
        return _refusal(error)
    return CMPReply(HTTPStatus.OK, answer)


def _refusal(error: Exception) -> CMPReply:
    kind = kind_of(error)
    if kind is ErrorKind.INTERNAL:
        _log.error("cmp message not answered", exc_info=error)
    text = reason_of(error).encode("ascii", "replace") + b"\n"
    return CMPReply(WIRE[kind].http, text, retry_after_of(error))
