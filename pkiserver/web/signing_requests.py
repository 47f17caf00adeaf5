"""Requests for signed answers on the worker's side: sent to the parent, matched with what it answers.

The parent's side is `signing_service`; a message is a JSON object with a number (`sign`) and octets in
base64 (`request`, `response`; null where no key can speak).
"""

import asyncio
import base64
from typing import Any, Final

from pkiserver.web.parent_requests import ParentRequests, Send
from protocols.asn1.ocsp import OCSPResponseStatus
from protocols.ocsp.response import error_response

DEADLINE_S: Final = 6.0  # a second over that of `signing_service`, which is to answer first
TRY_LATER: Final = error_response(OCSPResponseStatus.TRY_LATER)


class SigningRequests:
    """The requests of one worker that are under way; at most `limit`, each with a deadline."""

    def __init__(self, send: Send, *, limit: int, deadline_s: float = DEADLINE_S) -> None:
        self._requests: ParentRequests[bytes | None] = ParentRequests(
            send, "sign", _response, limit=limit, deadline_s=deadline_s, late=TRY_LATER
        )
        self.take = self._requests.take
        self.close = self._requests.close

    def ask(self, request: bytes) -> asyncio.Future[bytes | None] | None:
        """Have a request answered, at the deadline with tryLater; None where that is too much now."""
        return self._requests.ask({"request": base64.b64encode(request).decode("ascii")})


def _response(message: dict[str, Any]) -> bytes | None:
    response = message["response"]
    return None if response is None else base64.b64decode(response)
