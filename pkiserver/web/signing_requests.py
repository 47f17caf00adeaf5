"""Requests for signed answers on the worker's side: sent to the parent, matched with what it answers.

The parent's side is `signing_service`; a message is a JSON object with a number (`sign`) and octets in
base64 (`request`, `response`; null where no key can speak).
"""

import asyncio
import base64
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from protocols.asn1.ocsp import OCSPResponseStatus
from protocols.ocsp.response import error_response

DEADLINE_S: Final = 6.0  # a second over that of `signing_service`, which is to answer first
TRY_LATER: Final = error_response(OCSPResponseStatus.TRY_LATER)


class SigningRequests:
    """The requests of one worker that are under way; at most `limit`, each with a deadline."""

    def __init__(
        self, send: Callable[[dict[str, Any]], bool], *, limit: int, deadline_s: float = DEADLINE_S
    ) -> None:
        """Take what sends a message, and returns False where it cannot be sent now."""
        self._send = send
        self._limit = limit
        self._deadline_s = deadline_s
        self._numbers = count(1)
        self._waiting: dict[int, tuple[asyncio.Future[bytes | None], asyncio.TimerHandle]] = {}
        self._closed = False

    def ask(self, request: bytes) -> asyncio.Future[bytes | None] | None:
        """Have a request answered, at the deadline with tryLater; None where that is too much now."""
        if self._closed or len(self._waiting) >= self._limit:
            return None
        number = next(self._numbers)
        if not self._send({"sign": number, "request": base64.b64encode(request).decode("ascii")}):
            return None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes | None] = loop.create_future()
        timer = loop.call_later(self._deadline_s, self._settle, number, TRY_LATER)
        self._waiting[number] = answer, timer
        return answer

    def take(self, message: dict[str, Any]) -> None:
        """Take an answer of the parent; one that comes too late is dropped."""
        response = message["response"]
        self._settle(message["sign"], None if response is None else base64.b64decode(response))

    def close(self) -> None:
        """Answer everything with tryLater, now and from now on: the parent is gone."""
        self._closed = True
        for number in list(self._waiting):
            self._settle(number, TRY_LATER)

    def _settle(self, number: int, response: bytes | None) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return
        answer, timer = waiting
        timer.cancel()
        if not answer.done():
            answer.set_result(response)
