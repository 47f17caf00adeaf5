"""Requests for signed answers on the parent's side: taken from the workers, answered by who can sign.

The workers' side, and the form of the messages, is `signing_requests`.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from pkiserver.web.worker_requests import WorkerRequests
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
        self._deadline_s = deadline_s
        self._requests = WorkerRequests("sign", self._serve, limit=limit, busy=_answer(TRY_LATER))
        self.take = self._requests.take
        self.close = self._requests.close

    async def _serve(self, message: dict[str, Any]) -> dict[str, str | None]:
        try:
            async with asyncio.timeout(self._deadline_s):
                return _answer(await self._fresh(base64.b64decode(message["request"])))
        except TimeoutError:
            return _answer(TRY_LATER)
        except Exception as error:  # noqa: BLE001 - the outermost handler: logged, answered without detail
            _log.error("ocsp response not signed", exc_info=error)
            return _answer(INTERNAL_ERROR)


def _answer(response: bytes | None) -> dict[str, str | None]:
    return {"response": None if response is None else base64.b64encode(response).decode("ascii")}
