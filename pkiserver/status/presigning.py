"""The presigner of a home, for who does not care whether a server runs: its own, or one for the moment."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

from pkiserver.clock import Clock
from pkiserver.status.presigner import Presigner
from pkiserver.status.presigner_health import PresignerHealth
from store.response_writer import ResponseTableWriter


class Presigning:
    """Lends the one presigner there may be."""

    def __init__(
        self,
        make: Callable[[ResponseTableWriter], Presigner],
        open_table: Callable[[], ResponseTableWriter],
        clock: Clock,
    ) -> None:
        self.make = make
        self._open_table = open_table
        self._clock = clock
        self._lent: Presigner | None = None

    def lend(self, presigner: Presigner) -> None:
        """Lend this presigner from now on; somebody has it run."""
        self._lent = presigner

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Presigner, PresignerHealth]]:
        """Give a presigner that runs; `StorageError` where another process writes the table."""
        if self._lent is not None:
            yield self._lent, PresignerHealth(self._lent, self._clock)
            return
        with closing(self._open_table()) as table:
            presigner = self.make(table)
            running = asyncio.create_task(presigner.run())
            try:
                yield presigner, PresignerHealth(presigner, self._clock)
            finally:
                running.cancel()
                await asyncio.wait((running,))
