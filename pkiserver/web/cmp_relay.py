"""Messages of CMP on the parent's side: taken from the workers, answered by who holds keys and store.

The workers' side, and the form of the messages, is `cmp_requests`.
"""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import structlog

from pkiserver.web.cmp_answering import CMPAnswerer, reply_to
from pkiserver.web.cmp_reply import CMPReply
from protocols.cmp.http import CMPAddress

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)

DEADLINE_S: Final = 12.0  # the transaction goes on: who sends the message again gets the answer then
MAX_ANSWER_BYTES: Final = 1 << 20  # what the worker reads as one line, with room for base64
BUSY: Final = CMPReply(HTTPStatus.SERVICE_UNAVAILABLE, b"too many requests; try again\n", 5)
LATE: Final = CMPReply(HTTPStatus.SERVICE_UNAVAILABLE, b"the answer takes too long; send it again\n", 5)
TOO_LARGE: Final = CMPReply(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error\n")


@dataclass(slots=True)
class _Asked:
    """Who waits for the reply to one message; it is told once, whatever comes later."""

    number: int
    reply: Callable[[dict[str, Any]], None]
    told: bool = False

    def tell(self, answer: CMPReply) -> None:
        if not self.told:
            self.told = True
            self.reply({"cmp": self.number, **_encoded(answer)})


class CMPRelay:
    """Answers the messages of all workers; at most `limit` at a time, one more is told to try again."""

    def __init__(self, answerer: CMPAnswerer, *, limit: int, deadline_s: float = DEADLINE_S) -> None:
        self._answerer = answerer
        self._deadline_s = deadline_s
        self._limit = limit
        self._under_way: set[asyncio.Task[None]] = set()

    def take(self, message: dict[str, Any], reply: Callable[[dict[str, Any]], None]) -> None:
        """Begin to answer a worker's message; `reply` is called once, unless this is closed before."""
        asked = _Asked(message["cmp"], reply)
        if len(self._under_way) >= self._limit:
            asked.tell(BUSY)
            return
        task = asyncio.ensure_future(self._answer(message, asked))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Give up what is under way, also what nobody waits for any more."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _answer(self, message: dict[str, Any], asked: _Asked) -> None:
        # A message that is late goes on and still counts: a certificate may be on its way.
        late = asyncio.get_running_loop().call_later(self._deadline_s, asked.tell, LATE)
        try:
            asked.tell(await self._reply(message))
        finally:
            late.cancel()

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
