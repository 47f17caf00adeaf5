"""What a status worker asks its parent: requests sent as JSON, matched with the answers by their numbers.

The parent's side is `worker_requests`. A message is an object that holds the number under the name of its
kind, beside what is asked or answered.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, Generic, TypeVar

T = TypeVar("T")

Send = Callable[[dict[str, Any]], bool]
"""Sends a message; False where it cannot be sent now."""


class ParentRequests(Generic[T]):
    """The requests of one kind that are under way; at most `limit`, each with a deadline."""

    def __init__(
        self,
        send: Send,
        kind: str,
        read: Callable[[dict[str, Any]], T],
        *,
        limit: int,
        deadline_s: float,
        late: T,
    ) -> None:
        """Take what reads an answer, and the answer to what the parent does not answer in time."""
        self._send = send
        self._kind = kind
        self._read = read
        self._limit = limit
        self._deadline_s = deadline_s
        self._late = late
        self._numbers = count(1)
        self._waiting: dict[int, tuple[asyncio.Future[T], asyncio.TimerHandle]] = {}
        self._closed = False

    @property
    def full(self) -> bool:
        """True where one more is too much now."""
        return self._closed or len(self._waiting) >= self._limit

    def ask(self, asked: dict[str, Any]) -> asyncio.Future[T] | None:
        """Have a request answered, at the deadline with `late`; None where that is too much now."""
        if self.full:
            return None
        number = next(self._numbers)
        if not self._send({self._kind: number, **asked}):
            return None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        timer = loop.call_later(self._deadline_s, self._settle, number, self._late)
        self._waiting[number] = answer, timer
        return answer

    def take(self, message: dict[str, Any]) -> None:
        """Take an answer of the parent; one that comes too late is dropped."""
        self._settle(message[self._kind], self._read(message))

    def close(self) -> None:
        """Answer everything with `late`, now and from now on: the parent is gone."""
        self._closed = True
        for number in list(self._waiting):
            self._settle(number, self._late)

    def _settle(self, number: int, value: T) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return
        answer, timer = waiting
        timer.cancel()
        if not answer.done():
            answer.set_result(value)
