"""Signs OCSP responses beforehand and keeps the table of them: follows status events, refreshes in a cycle.

What is due in the cycle is in `refresh_cycle`, how entries are made in `signing_batches`. One task does both
kinds of work one after the other, so that a refresh never overwrites the answer to a later event.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog

from pkiserver.ca.authorities import Authorities
from pkiserver.clock import Clock
from pkiserver.errors import PKIServerError, UnavailableError
from pkiserver.signer.client import Signer
from pkiserver.status.refresh_cycle import EVERY_SERIAL, SLOT_STARTS, RefreshCycle
from pkiserver.status.signing_batches import SigningBatches
from pkiserver.storage import Storage
from protocols.ocsp.request import DEFAULT_HASHES
from store import certificates, facts, status_events
from store.database import Transaction
from store.errors import StorageError
from store.records import StatusEventRecord, StatusRecord
from store.response_entries import ResponseEntry, response_key
from store.response_writer import ResponseTableWriter

BATCH: Final = 1024  # responses signed and committed in one go; an event waits for one batch, 50 ms
PATIENCE_S: Final = 1.0  # what an acknowledgement waits at most for its status to be served
POLL_S: Final = 1.0  # looks for due work at least this often
_SLOT_FACT: Final = "presigner-slot"
_HASHES_FACT: Final = "presigner-hashes"
_log = structlog.get_logger("pkiserver.presigner")


class Presigner:
    """The one writer of the response table."""

    def __init__(
        self,
        *,
        storage: Storage,
        signer: Signer,
        clock: Clock,
        authorities: Authorities,
        table: ResponseTableWriter,
        validity: timedelta,
        refresh: timedelta,
        hashes: Sequence[str] = DEFAULT_HASHES,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._authorities = authorities
        self._table = table
        self._validity = validity
        self._hashes = tuple(hashes)
        self._cycle = RefreshCycle(refresh)
        self._slot_fact = f"{_SLOT_FACT}-{self._cycle.slot_s:g}"
        self._batches = SigningBatches(
            signer=signer, authorities=authorities, table=table, validity=validity, hashes=hashes
        )
        self._wake = asyncio.Event()
        self._filling = False
        self._slot = 0  # the last slot, counted from the epoch, whose responses were signed anew
        self._prepared = False
        self._replaced = False  # a former generation of the table may still be there
        self.position = 0  # the last event that the table shows
        self.failure: str | None = None
        self._followed = asyncio.Condition()

    def notify(self) -> None:
        """Say that there are new events."""
        self._wake.set()

    async def wait_for(self, sequence: int) -> None:
        """Return when the table shows this event, or after `PATIENCE_S`: then it will, a little later."""
        self.notify()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S), self._followed:
                await self._followed.wait_for(lambda: self.position >= sequence)

    def oldest_response_age_s(self) -> float:
        """Return the age of the oldest response, by what the table holds: one of each slot is looked at.

        One that a clock ahead signed counts as one that has run out: nobody can use it.
        """
        found = self._table.oldest_and_newest(
            response_key(authority.id, serial) for authority in self._authorities for serial in SLOT_STARTS
        )
        if found is None:
            return 0.0
        now = self._clock.now().timestamp()
        ahead = found[1] > now + self._cycle.slot_s
        return max(now - found[0], self._validity.total_seconds() if ahead else 0.0)

    def oldest_next_update_s(self) -> float:
        """Return when the first responses end, by the cycle, as Unix time: until then all are answered."""
        oldest = self._clock.now().timestamp() - self.oldest_response_age_s()
        return oldest + self._validity.total_seconds()

    async def prepare(self) -> None:
        """Tell the table of issuers and responders and find where the work stopped."""
        for authority in self._authorities:
            self._batches.voice(authority.id, self._clock.now())
        self.position = self._table.position()
        head = await self._storage.read(status_events.head)
        slot = await self._storage.read(lambda tx: facts.get(tx, self._slot_fact))
        hashes = await self._storage.read(lambda tx: facts.get(tx, _HASHES_FACT))
        same = (hashes or ",".join(DEFAULT_HASHES)) == ",".join(self._hashes)
        self._slot = int(slot or 0) if same else 0  # with others than before, all is signed anew
        if self.position > head or (self.position == 0 and head > 0):
            await self._start_anew(head)
        self._prepared = True

    async def run(self) -> None:
        """Work until cancelled; what cannot be done now is tried again a second later."""
        while True:
            self._wake.clear()
            if not await self.attempt():
                await asyncio.sleep(POLL_S)
                continue
            try:
                await asyncio.wait_for(self._wake.wait(), POLL_S)
            except TimeoutError:
                continue

    async def attempt(self) -> bool:
        """Do the work that is due; False when it cannot be done now, and `failure` says why."""
        try:
            if not self._prepared:
                await self.prepare()
            await self.work()
        except (PKIServerError, StorageError) as error:
            if self.failure is None:
                _log.error("presigner-stopped", reason=str(error))
            self.failure = str(error)
            return False
        if self.failure is not None:
            _log.info("presigner-resumed")
            self.failure = None
        return True

    async def work(self) -> None:
        """Bring the table up to the newest event, then sign what is due in the cycle."""
        await self._fill()
        await self._follow()
        await self._refresh()
        if self._replaced:
            self._replaced = not await asyncio.to_thread(self._table.sweep)
        if self._batches.silent:
            names = ", ".join(sorted(self._authorities.with_id(one).name for one in self._batches.silent))
            raise UnavailableError(f"the OCSP signer of {names} is missing or has expired")

    def introduce(self) -> None:
        """Say that authorities or responders changed."""
        self._wake.set()

    async def _fill(self) -> None:
        """Sign everything of the authorities that nobody could speak for some time ago."""
        for authority in sorted(self._batches.silent):
            self._batches.silent.discard(authority)
            if self._batches.voice(authority, self._clock.now()) is not None:
                try:
                    await self._sign_range(authority, *EVERY_SERIAL)
                except BaseException:
                    self._batches.silent.add(authority)
                    raise

    async def _start_anew(self, head: int) -> None:
        """Fill a new table from the store: there is none, or it is of another state of the store (a backup).

        What is there is served until the new one is whole, and hears of every change meanwhile.
        """
        tell = _log.warning if self._table.count() else _log.info
        tell("response-table-filled-anew", table_position=self.position, store_head=head)
        self.position = head
        current = self._cycle.slot_at(self._clock.now())
        self._filling = True  # a table that was filled in part only must not look like a whole one
        self._table.build()
        try:
            for authority in list(self._authorities):
                await self._sign_range(authority.id, *EVERY_SERIAL)
            self._table.swap(position=self.position)
        except BaseException:
            self._table.abandon()
            raise
        self._filling, self._replaced = False, True
        await self._end_cycle(current)

    async def _follow(self) -> None:
        while events := await self._storage.read(lambda tx: status_events.after(tx, self.position, BATCH)):
            position = None if self._filling else events[-1].sequence
            await self._sign(await self._statuses_of(events), position=position)
            self.position = events[-1].sequence
            async with self._followed:
                self._followed.notify_all()

    async def _refresh(self) -> None:
        current = self._cycle.slot_at(self._clock.now())
        ranges = self._cycle.due(self._slot, current)
        if not ranges:
            return
        if self._cycle.from_the_future(self._slot, current):
            _log.warning("responses-from-the-future", slots_ahead=self._slot - current)
        for low, high in ranges:
            for authority in list(self._authorities):
                await self._sign_range(authority.id, low, high)
        await self._end_cycle(current)

    async def _end_cycle(self, slot: int) -> None:
        """Note that everything up to this slot is signed anew."""
        self._slot = slot
        if not self._batches.silent:
            await self._storage.write(lambda tx: self._put_facts(tx, slot))

    def _put_facts(self, tx: Transaction, slot: int) -> None:
        facts.put(tx, self._slot_fact, str(slot))
        facts.put(tx, _HASHES_FACT, ",".join(self._hashes))

    async def _sign_range(self, authority: int, low: int, high: int) -> None:
        start = low
        while statuses := await self._statuses_in(authority, start, high):
            await self._sign(statuses, position=None)
            start = statuses[-1].serial + 1
            await self._follow()

    async def _statuses_in(self, authority: int, low: int, high: int) -> list[StatusRecord]:
        return await self._storage.read(
            lambda tx: certificates.statuses_in_range(tx, authority, low, high, BATCH)
        )

    async def _statuses_of(self, events: Sequence[StatusEventRecord]) -> list[StatusRecord]:
        named = {(event.authority, event.serial) for event in events}

        def read(tx: Transaction) -> list[StatusRecord]:
            return [found for name in named if (found := certificates.status(tx, *name))]

        return await self._storage.read(read)

    async def _sign(self, statuses: Sequence[StatusRecord], *, position: int | None) -> None:
        """Sign a batch and put it into the table in one transaction, with the position it brings."""
        now = self._clock.now()  # once: what speaks now must not have expired a moment later
        await self._put(await self._batches.entries(statuses, now), position)

    async def _put(self, entries: Sequence[tuple[bytes, ResponseEntry]], position: int | None) -> None:
        """Store entries; where this is cancelled, only once the table is at rest and may be closed."""
        putting = asyncio.ensure_future(asyncio.to_thread(self._table.put, entries, position=position))
        try:
            await asyncio.shield(putting)
        except asyncio.CancelledError:
            await asyncio.wait((putting,))
            raise
