"""Requests for signed answers on the parent's side: taken from the workers, answered by who can sign.

The workers' side, and the form of the messages, is `signing_requests`.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from protocols.asn1.ocsp import OCSPResponseStatus
from protocols.ocsp.response import error_response

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)

DEADLINE_S: Final = 5.0  # about as long as clients wait for OCSP; a worker waits a second longer
TRY_LATER: Final = error_response(OCSPResponseStatus.TRY_LATER)
INTERNAL_ERROR: Final = error_response(OCSPResponseStatus.INTERNAL_ERROR)

Fresh = Callable[[bytes], Awaitable[bytes | None]]
"""Answers an OCSPRequest with an OCSPResponse, both in DER; None: to be answered without a key."""


class SigningService:
    """Answers the requests of all workers; at most `limit` at a time, one more is told to try later."""

    def __init__(self, fresh: Fresh, *, limit: int, deadline_s: float = DEADLINE_S) -> None:
        self._fresh = fresh
        self._limit = limit
        self._deadline_s = deadline_s
        self._under_way: set[asyncio.Task[None]] = set()

    def take(self, message: dict[str, Any], reply: Callable[[dict[str, Any]], None]) -> None:
        """Begin to answer a worker's message; `reply` is called once, unless this is closed before."""
        number = message["sign"]
        if len(self._under_way) >= self._limit:
            reply(_answer(number, TRY_LATER))
            return
        task = asyncio.ensure_future(self._serve(number, base64.b64decode(message["request"]), reply))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _serve(self, number: int, request: bytes, reply: Callable[[dict[str, Any]], None]) -> None:
        response: bytes | None
        try:
            async with asyncio.timeout(self._deadline_s):
                response = await self._fresh(request)
        except TimeoutError:
            response = TRY_LATER
        except Exception as error:  # noqa: BLE001 - the outermost handler: logged, answered without detail
            _log.error("ocsp response not signed", exc_info=error)
            response = INTERNAL_ERROR
        reply(_answer(number, response))


def _answer(number: int, response: bytes | None) -> dict[str, Any]:
    encoded = None if response is None else base64.b64encode(response).decode("ascii")
    return {"sign": number, "response": encoded}
