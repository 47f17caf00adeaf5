"""Has requests that come one by one go on together.

The same work done for several, one right after another, costs about half of what it does between other work:
what it needs of program and data is still in the processor's caches (ADR 0015).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

GATHER_S: Final = 0.03  # an enrolment waits for commits and its signature longer than that
FEW: Final = 4  # to be among them gains less than the wait costs


class Turns:
    """Lets in at once who comes while fewer than `few` are in; who comes beside more, with others that do."""

    def __init__(self, gather_s: float = GATHER_S, few: int = FEW) -> None:
        self._gather_s = gather_s
        self._few = few
        self._inside = 0
        self._next: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn, at most `gather_s` and no longer than many are in, and hold it."""
        if self._inside >= self._few:
            await asyncio.shield(self._coming())  # who stops waiting ends nobody else's wait
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            if self._inside < self._few:  # who comes now would not wait: nor do they that came before
                self._open()

    def _coming(self) -> "asyncio.Future[None]":
        if self._next is None:
            loop = asyncio.get_running_loop()
            self._next = loop.create_future()
            self._timer = loop.call_later(self._gather_s, self._open)
        return self._next

    def _open(self) -> None:
        coming, self._next = self._next, None
        if coming is not None:
            coming.set_result(None)
        if self._timer is not None:
            self._timer.cancel()  # it is of those who go in now, not of the next
