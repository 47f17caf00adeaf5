"""What the status workers ask their parent, on the parent's side; the workers' is `parent_requests`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Message = dict[str, Any]


class WorkerRequests:
    """Answers the requests of one kind of all workers; at most `limit` at a time."""

    def __init__(
        self,
        kind: str,
        serve: Callable[[Message], Awaitable[Mapping[str, Any]]],
        *,
        limit: int,
        busy: Mapping[str, Any],
    ) -> None:
        """Take what answers, which raises nothing, and the answer to one request too many."""
        self._kind = kind
        self._serve = serve
        self._limit = limit
        self._busy = busy
        self._under_way: set[asyncio.Task[None]] = set()

    def take(self, message: Message, reply: Callable[[Message], None]) -> None:
        """Begin to answer a worker's message; `reply` is called once, unless this is closed before."""
        if len(self._under_way) >= self._limit:
            reply({self._kind: message[self._kind], **self._busy})
            return
        task = asyncio.ensure_future(self._answer(message, reply))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _answer(self, message: Message, reply: Callable[[Message], None]) -> None:
        reply({self._kind: message[self._kind], **await self._serve(message)})
