"""Carries confirmed bulk acts out, a batch a transaction, and then tells the holders.

How far an act is stands in the transaction of each batch: after a crash it goes on with the next one, and
nothing is done twice. Status goes before letters: holders are written to once nothing is left to change.
"""

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from pkiserver.ca.issuance import OnEvent
from pkiserver.clock import Clock
from pkiserver.errors import UnavailableError
from pkiserver.progress import Progress, silent
from pkiserver.ra.bulk.acts import note
from pkiserver.ra.bulk.carrying_out import Done, carry_out
from pkiserver.ra.bulk.rules import Event, State
from pkiserver.ra.bulk.telling import Telling
from pkiserver.storage import Storage
from store import bulk_acts as rows
from store.bulk_acts import ActRecord
from store.database import Transaction

FOLLOWER: Final = "bulk"  # who is on record for the end of an act
POLL_S: Final = 5.0  # how long what another process confirmed may wait
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("pkiserver.bulk")


class BulkRunner:
    """Does what is to be done; `on_event` is awaited after each batch, so that the status plane keeps up."""

    def __init__(self, *, storage: Storage, clock: Clock, telling: Telling, on_event: OnEvent) -> None:
        self._storage = storage
        self._clock = clock
        self._telling = telling
        self._on_event = on_event
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Say that an act was confirmed."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; what the store refuses is tried again."""
        while True:
            self._wake.clear()
            try:
                await self.work()
            except UnavailableError as error:
                _log.warning("bulk-acts-wait", reason=str(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_S)

    async def work(self, progress: Progress = silent) -> int:
        """Carry out all that is confirmed and tell the holders; return how many certificates were changed.

        Several may work at once: each takes the next batch within its transaction.
        """
        changed = 0
        while running := await self._storage.read(lambda tx: rows.in_state(tx, State.RUNNING.value)):
            for act in running:  # by turns: none waits for the end of another
                done = await self._storage.write(lambda tx, one=act.id: self.next_batch(tx, one))  # type: ignore[misc]  # mypy infers no type for a lambda with defaults
                if done is None:
                    continue
                changed += done.changed
                await self._follow(done)
                progress(f"bulk act {act.id}", act.done + 1, act.batches)
        while act_to_tell := await self._storage.read(rows.to_tell):
            await self._storage.write(self._telling.tell_next)
            progress(f"letters of bulk act {act_to_tell.id}", act_to_tell.told + 1, act_to_tell.done)
        return changed

    async def _follow(self, done: Done) -> None:
        if done.last_event is not None:
            await self._on_event(done.last_event)

    def next_batch(self, tx: Transaction, act: int) -> Done | None:
        """Carry out the next batch of an act; None where it runs no more."""
        found = rows.get(tx, act)
        if found is None or found.state != State.RUNNING.value:
            return None
        batch = rows.batch(tx, act, found.done + 1)
        done = None if batch is None else carry_out(tx, found, batch, self._clock.now())
        if found.done + 1 >= found.batches:
            self._finish(tx, found)
        return done

    def _finish(self, tx: Transaction, act: ActRecord) -> None:
        now = self._clock.now()
        rows.finish(tx, act.id, now)
        finished = rows.get(tx, act.id)
        if finished is not None:
            note(tx, Event.FINISH, finished, FOLLOWER, now)
