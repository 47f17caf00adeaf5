"""Messages of CMP on the worker's side: sent to the parent, matched with what it replies.

The parent's side is `cmp_relay`; a request is `{"cmp": number, "operation": text or null, "profile": text or
null, "peer": text, "request": base64}`, its reply `{"cmp": number, "status": number, "body": base64,
"retry_after_s": number or null}`.
"""

import asyncio
import base64
from http import HTTPStatus
from typing import Any, Final

from pkiserver.web.cmp_reply import CMPReply
from pkiserver.web.parent_requests import ParentRequests, Send
from protocols.cmp.http import CMPAddress

DEADLINE_S: Final = 13.0  # a second over that of `cmp_relay`, which is to answer first
LATE: Final = CMPReply(HTTPStatus.SERVICE_UNAVAILABLE, b"the answer takes too long; send it again\n", 5)


class CMPRequests:
    """The messages of one worker that are under way; at most `limit`, each with a deadline."""

    def __init__(self, send: Send, *, limit: int, deadline_s: float = DEADLINE_S) -> None:
        self._requests: ParentRequests[CMPReply] = ParentRequests(
            send, "cmp", _reply, limit=limit, deadline_s=deadline_s, late=LATE
        )
        self.take = self._requests.take
        self.close = self._requests.close

    def ask(self, message: bytes, address: CMPAddress, peer: str) -> asyncio.Future[CMPReply] | None:
        """Have a message answered, at the deadline with `LATE`; None where that is too much now."""
        if self._requests.full:
            return None  # and its octets are not encoded
        return self._requests.ask(
            {
                "operation": address.operation,
                "profile": address.profile,
                "peer": peer,
                "request": base64.b64encode(message).decode("ascii"),
            }
        )


def _reply(answered: dict[str, Any]) -> CMPReply:
    return CMPReply(
        HTTPStatus(answered["status"]), base64.b64decode(answered["body"]), answered["retry_after_s"]
    )
