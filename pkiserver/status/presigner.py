"""Signs OCSP responses beforehand and keeps the table of them: follows status events, refreshes in a cycle.

What is due in the cycle is in `refresh_cycle`, how entries are made in `signing_batches`. One task does both
kinds of work one after the other, so that a refresh never overwrites the answer to a later event.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import structlog

from config.status_policy import StatusPolicy
from pkiserver.ca.authorities import Authorities, Authority
from pkiserver.clock import Clock
from pkiserver.errors import PKIServerError, UnavailableError
from pkiserver.signer.client import Signer
from pkiserver.status.ocsp_archive import OCSPArchive
from pkiserver.status.refresh_cycle import EVERY_SERIAL, SLOT_STARTS, RefreshCycle
from pkiserver.status.retention import told_from_s
from pkiserver.status.signing_batches import SigningBatches
from pkiserver.storage import Storage
from protocols.asn1.der import integer_content
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
_MARK_FACT: Final = "presigner-mark"  # of each authority, by its number
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
        policies: Mapping[str, StatusPolicy],
        hashes: Sequence[str] = DEFAULT_HASHES,
    ) -> None:
        """Take what it works with; `policies` says by name how the status of an authority is told."""
        self._storage = storage
        self._clock = clock
        self._authorities = authorities
        self._table = table
        self._policies = policies
        self._hashes = tuple(hashes)
        self._batches = SigningBatches(
            signer=signer, authorities=authorities, table=table, policies=policies, hashes=hashes
        )
        self._archive = OCSPArchive(storage, table.get)
        self._wake = asyncio.Event()
        self._filling = False
        self._slots: dict[int, int] = {}  # of each authority the last one whose responses were signed anew
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
        return max((age for age, _ in self._ages_s()), default=0.0)

    def oldest_next_update_s(self) -> float:
        """Return when the first responses end, by the cycles, as Unix time: until then all are answered."""
        left = min((validity - age for age, validity in self._ages_s()), default=0.0)
        return self._clock.now().timestamp() + left

    def _ages_s(self) -> Iterator[tuple[float, float]]:
        """Yield of each authority the age of its oldest response, and how long one is valid."""
        now = self._clock.now().timestamp()
        for authority in self._authorities:
            validity = self._policy(authority).validity.total_seconds()
            found = self._table.oldest_and_newest(response_key(authority.id, one) for one in SLOT_STARTS)
            oldest, newest = found or (now, now)
            ahead = newest > now + self._cycle(authority).slot_s
            yield max(now - oldest, validity if ahead else 0.0), validity

    def _policy(self, authority: Authority) -> StatusPolicy:
        return self._policies[authority.name]

    def _cycle(self, authority: Authority) -> RefreshCycle:
        return RefreshCycle(self._policy(authority).refresh)

    async def prepare(self) -> None:
        """Tell the table of issuers and responders and find where the work stopped."""
        for authority in self._authorities:
            self._batches.voice(authority.id, self._clock.now())
        self.position = self._table.position()
        head = await self._storage.read(status_events.head)
        self._slots = await self._storage.read(self._marked_slots)
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
        now = self._clock.now()
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
        self._slots = {one.id: self._cycle(one).slot_at(now) for one in self._authorities}
        await self._storage.write(self._put_marks)

    async def _follow(self) -> None:
        while events := await self._storage.read(lambda tx: status_events.after(tx, self.position, BATCH)):
            position = None if self._filling else events[-1].sequence
            await self._sign(await self._statuses_of(events), position=position, events=events)
            self.position = events[-1].sequence
            async with self._followed:
                self._followed.notify_all()

    async def _refresh(self) -> None:
        before = dict(self._slots)
        for authority in list(self._authorities):
            await self._refresh_of(authority)
        if self._slots != before:
            await self._storage.write(self._put_marks)

    async def _refresh_of(self, authority: Authority) -> None:
        """Sign what is due of one authority; each has a cycle of its own."""
        cycle, signed = self._cycle(authority), self._slots.get(authority.id, 0)
        current = cycle.slot_at(self._clock.now())
        ranges = cycle.due(signed, current)
        if ranges and cycle.from_the_future(signed, current):
            _log.warning("responses-from-the-future", ca=authority.name, slots_ahead=signed - current)
        for low, high in ranges:
            await self._sign_range(authority.id, low, high)
        if ranges:
            self._slots[authority.id] = current

    def _marked_slots(self, tx: Transaction) -> dict[int, int]:
        return {
            one.id: self._cycle(one).slot_of(facts.get(tx, f"{_MARK_FACT}-{one.id}"), self._hashes)
            for one in self._authorities
        }

    def _put_marks(self, tx: Transaction) -> None:
        """Note how far each authority is; not of those with answers missing, which begin again."""
        for authority in self._authorities:
            if authority.id in self._slots and authority.id not in self._batches.silent:
                mark = self._cycle(authority).mark(self._slots[authority.id], self._hashes)
                facts.put(tx, f"{_MARK_FACT}-{authority.id}", mark)

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

    async def _sign(
        self,
        statuses: Sequence[StatusRecord],
        *,
        position: int | None,
        events: Sequence[StatusEventRecord] = (),
    ) -> None:
        """Sign a batch and put it into the table, with its position; what is told no more leaves it."""
        now = self._clock.now()  # once: what speaks now must not have expired a moment later
        from_s = {one.id: told_from_s(self._policy(one), now) for one in self._authorities}
        gone = [one for one in statuses if one.not_after_s < from_s[one.authority]]
        if gone:
            statuses = [one for one in statuses if one.not_after_s >= from_s[one.authority]]
        entries = await self._batches.entries(statuses, now)
        await self._archive.keep(events, entries)
        await self._put(entries, gone, position)

    async def _put(
        self,
        entries: Sequence[tuple[bytes, ResponseEntry]],
        gone: Iterable[StatusRecord],
        position: int | None,
    ) -> None:
        """Store entries; where this is cancelled, only once the table is at rest and may be closed."""
        keys = [response_key(one.authority, integer_content(one.serial)) for one in gone]

        def store() -> None:
            if keys:
                self._table.delete(keys)
            self._table.put(entries, position=position)

        putting = asyncio.ensure_future(asyncio.to_thread(store))
        try:
            await asyncio.shield(putting)
        except asyncio.CancelledError:
            await asyncio.wait((putting,))
            raise
