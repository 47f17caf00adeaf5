"""Signs OCSP responses beforehand and keeps the table of them: follows status events, refreshes in a cycle.

What is due in the cycle is in `refresh_cycle`, how entries are made in `signing_batches`. One task does both
kinds of work one after the other, so that a refresh never overwrites the answer to a later event.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

import structlog

from config.status_policy import StatusPolicy
from pkiserver.ca.authorities import Authorities
from pkiserver.clock import Clock
from pkiserver.errors import PKIServerError, UnavailableError
from pkiserver.progress import Progress
from pkiserver.signer.client import Signer
from pkiserver.status.ocsp_archive import OCSPArchive
from pkiserver.status.refresh_cycle import EVERY_SERIAL, IN_TABLE_ORDER, SLOT_STARTS
from pkiserver.status.refresh_progress import RefreshProgress
from pkiserver.status.retention import told_from_s
from pkiserver.status.signing_batches import SigningBatches
from pkiserver.status.signing_round import PresignRequest, SigningRound
from pkiserver.storage import Storage
from protocols.asn1.der import integer_content
from protocols.ocsp.request import DEFAULT_HASHES
from store import certificates, status_events
from store.database import Transaction
from store.errors import StorageError
from store.records import StatusEventRecord, StatusRecord
from store.response_entries import response_key
from store.response_writer import ResponseTableWriter
from store.responses import SampledTimes

BATCH: Final = 1024  # responses signed and committed in one go; an event waits for one batch, 50 ms
PATIENCE_S: Final = 1.0  # what an acknowledgement waits at most for its status to be served
POLL_S: Final = 1.0  # looks for due work at least this often
GATHER_S: Final = 0.05  # between two rounds while many enrol: each round costs as much as twenty responses
FEW: Final = 4  # new certificates in a round; after fewer the next is not held up
CATCH_UP_S: Final = 5.0  # what a start waits at most for every event to be shown
SETTLE_S: Final = 0.5  # and then for what is due to be signed
# Stores packed entries, and has those with these keys gone.
Store = Callable[[Sequence[tuple[bytes, bytes]], Sequence[bytes]], None]
_log = structlog.get_logger("pkiserver.presigner")


class News(NamedTuple):
    """Events in order, and the statuses of the certificates that they name, in the order of the table."""

    events: Sequence[StatusEventRecord]
    statuses: Sequence[StatusRecord]


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
        self._progress = RefreshProgress(authorities, policies, hashes)
        self._batches = SigningBatches(
            signer=signer, authorities=authorities, table=table, policies=policies, hashes=hashes
        )
        self._archive = OCSPArchive(storage, table.get)
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()  # there is more than new certificates
        self._prepared = False
        self._replaced = False  # a former generation of the table may still be there
        self._requests: list[PresignRequest] = []
        self.position = 0  # the last event that the table shows
        self.astray = False
        """The table is of no state of the store (it is new, or a backup was restored): it is made anew."""
        self.round = SigningRound([])
        self.failure: str | None = None
        self._waiting: dict[asyncio.Future[None], int] = {}  # for the table to show this event
        self._up_to_date = asyncio.Event()
        self._first_round = asyncio.Event()

    def notify(self) -> None:
        """Say that there are new events, which are to be shown at once."""
        self._hurry.set()
        self._wake.set()

    def introduce(self) -> None:
        """Say that authorities or responders changed."""
        self.notify()

    async def wait_for(self, sequence: int) -> None:
        """Return when the table shows this event, or after `PATIENCE_S`: then it will, a little later."""
        self.notify()
        await self._shown(sequence)

    async def wait_for_new(self, sequence: int) -> None:
        """Do the same for the event of a new certificate, which shares a round with others."""
        self._wake.set()
        await self._shown(sequence)

    async def _shown(self, sequence: int) -> None:
        if self.position >= sequence:
            return
        loop = asyncio.get_running_loop()
        shown: asyncio.Future[None] = loop.create_future()
        self._waiting[shown] = sequence
        patience = loop.call_later(PATIENCE_S, _end, shown)
        try:
            await shown
        finally:
            patience.cancel()
            del self._waiting[shown]

    async def settle(self) -> None:
        """Return when the table is whole, shows every event and nothing is due, or when that was tried.

        Also after `CATCH_UP_S`, or `SETTLE_S` after every event is shown: the rest may take minutes.
        """
        for done, patience_s in ((self._up_to_date, CATCH_UP_S), (self._first_round, SETTLE_S)):
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), patience_s)

    async def presign(self, *, everything: bool, authority: int | None, progress: Progress) -> int:
        """Sign what is due, or everything, in the next round; return how many responses that round signed.

        `UnavailableError` where it cannot be done now. `run` does it.
        """
        request = PresignRequest(everything, authority, progress)
        self._requests.append(request)
        self.notify()
        return await request.signed

    def times(self) -> Iterator[tuple[SampledTimes, bool]]:
        """Yield of each authority the times of its responses: one of each slot is looked at.

        And whether a clock that was ahead signed some of them: nobody can use those.
        """
        now = self._clock.now().timestamp()
        for authority in self._authorities:
            times = self._table.sample(response_key(authority.id, one) for one in SLOT_STARTS)
            if times is not None:
                yield times, times.newest_this_update > now + self._progress.cycle(authority).slot_s

    async def prepare(self) -> None:
        """Tell the table of issuers and responders and find where the work stopped."""
        for authority in self._authorities:
            self._batches.voice(authority.id, self._clock.now())
        self.position = self._table.position()
        head = await self._storage.read(status_events.head)
        await self._storage.read(self._progress.load)
        self.astray = self.position > head or (self.position == 0 and head > 0)
        if self.astray:
            tell = _log.warning if self._table.count() else _log.info
            tell("response-table-filled-anew", table_position=self.position, store_head=head)
            self.position = head
        self._prepared = True

    async def run(self) -> None:
        """Work until cancelled; what cannot be done now is tried again a second later."""
        try:
            while True:
                self._wake.clear()
                self._hurry.clear()
                before = self.position
                if not await self.attempt():
                    await asyncio.sleep(POLL_S)
                    continue
                with suppress(TimeoutError):
                    if self.position >= before + FEW:
                        await asyncio.wait_for(self._hurry.wait(), GATHER_S)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), POLL_S)
        finally:
            for one in (*self.round.requests, *self._requests):
                one.fail("the server stops")

    async def attempt(self) -> bool:
        """Do the work that is due; False when it cannot be done now, and `failure` says why."""
        self.round, self._requests = SigningRound(self._requests), []
        try:
            if not self._prepared:
                await self.prepare()
            await self.work()
        except (PKIServerError, StorageError) as error:
            if self.failure is None:
                _log.error("presigner-stopped", reason=str(error))
            self.failure = str(error)
        else:
            if self.failure is not None:
                _log.info("presigner-resumed")
            self.failure = None
        self.round.end(self.failure)
        self._up_to_date.set()
        self._first_round.set()
        return self.failure is None

    async def work(self) -> None:
        """Bring the table up to the newest event, then sign what is due in the cycle or was asked for."""
        self._batches.withdraw()
        if self.astray or self.round.all_anew:
            await self._build()
        await self._fill()
        await self._follow()
        self._up_to_date.set()
        for authority in sorted(self.round.authorities_anew()):
            await self._sign_all(authority, IN_TABLE_ORDER)
        await self._refresh()
        if self._replaced:
            self._replaced = not await asyncio.to_thread(self._table.sweep)
        self._require_voices()

    def _require_voices(self) -> None:
        if self._batches.silent:
            names = ", ".join(sorted(self._authorities.with_id(one).handle for one in self._batches.silent))
            raise UnavailableError(f"the OCSP signer of {names} is missing or has expired")

    async def _fill(self) -> None:
        """Sign everything of the authorities that nobody could speak for some time ago."""
        for authority in sorted(self._batches.silent):
            self._batches.silent.discard(authority)
            if self._batches.voice(authority, self._clock.now()) is not None:
                try:
                    await self._sign_all(authority, [EVERY_SERIAL])
                except BaseException:
                    self._batches.silent.add(authority)
                    raise

    async def _build(self) -> None:
        """Make a new table from the store, and have it served when it is whole.

        What is there is served until then, and hears of every change meanwhile; the new one, in the end.
        """
        since, now = self.position, self._clock.now()
        self._table.build()
        try:
            for authority in list(self._authorities):
                await self._sign_all(authority.id, IN_TABLE_ORDER, self._add)
            while news := await self._news(since):
                await self._sign(news.statuses, self._add, news.events)
                since = news.events[-1].sequence
            if not self.astray:  # the new table would lack responses that the present one still has
                self._require_voices()
            await self._at_rest(partial(self._table.finish, position=since))
            self._table.swap()
        except BaseException:
            self._table.abandon()
            raise
        self.astray, self._replaced = False, True
        self._show(since)
        for authority in self._authorities:
            self._progress.signed(authority, now)
        await self._note_progress()

    async def _follow(self) -> None:
        """Show the events there are; those that come meanwhile wake `run` once more, and share a round."""
        while news := await self._news(self.position):
            last = news.events[-1].sequence
            # A table that is astray must not look like one that is not.
            replace = partial(self._replace, position=None if self.astray else last)
            await self._sign(news.statuses, replace, news.events)
            self._show(last)
            if len(news.events) < BATCH:
                break

    def _show(self, position: int) -> None:
        """Say that the table shows every event up to this one."""
        self.position = position
        for shown, sequence in self._waiting.items():
            if sequence <= position:
                _end(shown)

    async def _refresh(self) -> None:
        """Sign what is due of each authority; one whose key is away does not hold up those after it."""
        signed, failure = False, None
        for authority in list(self._authorities):
            now = self._clock.now()
            if ranges := self._progress.due(authority, now):
                try:
                    await self._sign_all(authority.id, ranges)
                except PKIServerError as error:
                    failure = failure or error
                    continue
                self._progress.signed(authority, now)
                signed = True
        if signed:
            await self._note_progress()
        if failure is not None:
            raise failure

    async def _note_progress(self) -> None:
        await self._storage.write(lambda tx: self._progress.store(tx, self._batches.silent))

    async def _sign_all(
        self, authority: int, ranges: Sequence[tuple[int, int]], store: Store | None = None
    ) -> None:
        """Sign what is in these ranges of serials, and between batches what events tell of."""
        from_s = self._told_from_s(self._clock.now())[authority]
        for low, high in ranges:
            count = partial(certificates.count_in_range, authority=authority, low=low, high=high)
            self.round.planned += await self._storage.read(partial(count, not_after_s=from_s))
        for low, high in ranges:
            start = low
            while statuses := await self._statuses_in(authority, start, high):
                await self._sign(statuses, store or self._replace)
                if authority in self._batches.silent:
                    return  # `_fill` comes back to it
                start = statuses[-1].serial + 1
                await self._follow()

    async def _news(self, sequence: int) -> News | None:
        """Return the events after this one, at most `BATCH`, and what they tell of, or None."""

        def read(tx: Transaction) -> News | None:
            events = status_events.after(tx, sequence, BATCH)
            named = sorted({(event.authority, event.serial) for event in events})
            statuses: list[StatusRecord] = []
            for authority, group in groupby(named, itemgetter(0)):
                statuses += certificates.statuses(tx, authority, [serial for _, serial in group])
            return News(events, statuses) if events else None

        return await self._storage.read(read)

    async def _statuses_in(self, authority: int, low: int, high: int) -> list[StatusRecord]:
        return await self._storage.read(
            lambda tx: certificates.statuses_in_range(tx, authority, low, high, BATCH)
        )

    async def _sign(
        self, statuses: Sequence[StatusRecord], store: Store, events: Sequence[StatusEventRecord] = ()
    ) -> None:
        """Sign a batch and store it; what is told no more is gone. What `events` change is archived first."""
        now = self._clock.now()  # once: what speaks now must not have expired a moment later
        from_s = self._told_from_s(now)
        gone = [one for one in statuses if one.not_after_s < from_s[one.authority]]
        if gone:
            statuses = [one for one in statuses if one.not_after_s >= from_s[one.authority]]
        silent = set(self._batches.silent)
        entries = await self._batches.entries(statuses, now)
        if lost := self._batches.silent - silent:  # noted before the table passes over what they have to say
            await self._storage.write(lambda tx: self._progress.forget(tx, lost))
        await self._archive.keep(events, entries)
        keys = [response_key(one.authority, integer_content(one.serial)) for one in gone]
        await self._at_rest(partial(store, entries, keys))
        self.round.count(len(entries))

    def _told_from_s(self, now: datetime) -> dict[int, int]:
        """Return of each authority the notAfter from which on certificates have their status told."""
        return {one.id: told_from_s(self._policies[one.name], now) for one in self._authorities.records}

    def _replace(
        self, entries: Sequence[tuple[bytes, bytes]], gone: Sequence[bytes], *, position: int | None = None
    ) -> None:
        if gone:
            self._table.delete(gone)
        self._table.put(entries, position=position)

    def _add(self, entries: Sequence[tuple[bytes, bytes]], _gone: Sequence[bytes]) -> None:
        self._table.add(entries)

    async def _at_rest(self, write: Callable[[], object]) -> None:
        """Write to the table; where this is cancelled, return once it is at rest and may be closed."""
        writing = asyncio.ensure_future(asyncio.to_thread(write))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait((writing,))
            raise


def _end(shown: asyncio.Future[None]) -> None:
    """Let go who waits, if anybody still does."""
    if not shown.done():
        shown.set_result(None)
