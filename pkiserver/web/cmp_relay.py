"""Messages of CMP on the parent's side: taken from the workers, answered by who holds keys and store.

The workers' side, and the form of the messages, is `cmp_requests`.
"""

import asyncio
import base64
from http import HTTPStatus
from typing import Any, Final

import structlog

from pkiserver.web.cmp_answering import CMPAnswerer, reply_to
from pkiserver.web.cmp_reply import CMPReply
from pkiserver.web.worker_requests import WorkerRequests
from protocols.cmp.http import CMPAddress

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)

DEADLINE_S: Final = 12.0  # the transaction goes on: who sends the message again gets the answer then
MAX_ANSWER_BYTES: Final = 1 << 20  # what the worker reads as one line, with room for base64
BUSY: Final = CMPReply(HTTPStatus.SERVICE_UNAVAILABLE, b"too many requests; try again\n", 5)
LATE: Final = CMPReply(HTTPStatus.SERVICE_UNAVAILABLE, b"the answer takes too long; send it again\n", 5)
TOO_LARGE: Final = CMPReply(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error\n")


class CMPRelay:
    """Answers the messages of all workers; at most `limit` at a time, one more is told to try again."""

    def __init__(self, answerer: CMPAnswerer, *, limit: int, deadline_s: float = DEADLINE_S) -> None:
        self._answerer = answerer
        self._deadline_s = deadline_s
        self._late: set[asyncio.Task[CMPReply]] = set()
        self._limit = limit
        self._requests = WorkerRequests("cmp", self._serve, limit=limit, busy=_encoded(BUSY))
        self.take = self._requests.take

    async def close(self) -> None:
        """Give up what is under way, also what nobody waits for any more."""
        await self._requests.close()
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _serve(self, message: dict[str, Any]) -> dict[str, Any]:
        if len(self._late) >= self._limit:
            return _encoded(BUSY)
        task = asyncio.ensure_future(self._reply(message))
        done, _ = await asyncio.wait((task,), timeout=self._deadline_s)
        if not done:  # never cut short: a certificate may be on its way
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            return _encoded(LATE)
        return _encoded(task.result())

    async def _reply(self, message: dict[str, Any]) -> CMPReply:
        reply = await reply_to(
            self._answerer,
            base64.b64decode(message["request"]),
            CMPAddress(message["operation"], message["profile"]),
            message["peer"],
        )
        if len(reply.body) <= MAX_ANSWER_BYTES:
            return reply
        _log.error("cmp answer too large", bytes=len(reply.body), bound=MAX_ANSWER_BYTES)
        return TOO_LARGE


def _encoded(reply: CMPReply) -> dict[str, Any]:
    return {
        "status": int(reply.status),
        "body": base64.b64encode(reply.body).decode("ascii"),
        "retry_after_s": reply.retry_after_s,
    }
