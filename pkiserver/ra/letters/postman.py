"""The postman: takes due letters from the outbox, hands them over, and notes what became of each.

A letter is noted as sent after it was handed over, so a crash between the two repeats it: at least once.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Final

import structlog

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import UnavailableError
from pkiserver.ra.letters.media import Message, Outcome, Way
from pkiserver.ra.letters.outbox import Addressed, Medium, Outbox
from pkiserver.ra.letters.templates import Templates
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import letters as rows
from store.database import Transaction

BATCH: Final = 256
_ACTOR: Final = "postman"
_FIRST_PAUSE: Final = timedelta(seconds=30)
_LONGEST_PAUSE: Final = timedelta(hours=6)
_JITTER: Final = 0.2
_EVERY: Final = timedelta(seconds=1)  # one look into an index
_random: Final = SystemRandom()

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one letter that was due."""

    letter: Addressed
    outcome: Outcome


class Postman:
    """Delivers letters as long as `run` runs. A letter is given up after `patience`."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        outbox: Outbox,
        templates: Templates,
        ways: Mapping[Medium, Way],
        patience: timedelta,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._outbox = outbox
        self._templates = templates
        self._ways = ways
        self._patience = patience

    async def run(self) -> None:
        """Deliver for ever, each medium by itself: where one is silent, the others do not wait."""
        await asyncio.gather(*(self._run(medium) for medium in self._ways))

    async def _run(self, medium: Medium) -> None:
        while True:
            tried = 0
            try:
                tried = await self._deliver_due(medium)
            except UnavailableError as error:
                _log.warning("letters-wait", reason=str(error))
            if tried < BATCH:
                await asyncio.sleep(_EVERY.total_seconds())

    async def deliver_due(self) -> int:
        """Deliver the letters that are due now, at most `BATCH` of a medium; return how many were tried."""
        return sum([await self._deliver_due(medium) for medium in self._ways])

    async def _deliver_due(self, medium: Medium) -> int:
        now = self._clock.now()
        due = await self._storage.read(lambda tx: self._outbox.due(tx, medium, now, BATCH))
        if not due:
            return 0
        deliveries = await self._delivered(due, medium, now)
        await self._storage.write(lambda tx: self._note(tx, deliveries))
        return len(due)

    async def close(self) -> None:
        """Let go of all connections."""
        for way in self._ways.values():
            await way.close()

    async def _delivered(self, due: Sequence[Addressed], medium: Medium, now: datetime) -> list[Delivery]:
        done: list[Delivery] = []
        ready: list[tuple[Addressed, Message]] = []
        for letter in due:
            expires_at = letter.record.expires_at
            if expires_at is not None and expires_at <= now:
                done.append(Delivery(letter, Outcome.failed("too late to be told", is_final=True)))
                continue
            try:
                ready.append((letter, self._message(letter, medium)))
            except UnavailableError as error:
                done.append(Delivery(letter, Outcome.failed(str(error))))
        outcomes = await self._ways[medium].deliver([message for _, message in ready])
        done += [Delivery(letter, outcome) for (letter, _), outcome in zip(ready, outcomes, strict=True)]
        return done

    def _message(self, letter: Addressed, medium: Medium) -> Message:
        record = letter.record
        if medium is Medium.WEBHOOK:  # programs are told what happened, and no words
            return Message(record.id, letter.to, "", letter.values["body"])
        words = self._templates.fill(record.template, record.language, medium, letter.values)
        return Message(record.id, letter.to, words.subject, words.text)

    def _note(self, tx: Transaction, deliveries: Sequence[Delivery]) -> None:
        now = self._clock.now()
        for one in deliveries:
            record, outcome = one.letter.record, one.outcome
            if outcome.failure is None:
                self._outbox.finish(tx, record.id, sent=True, at=now)
            elif outcome.is_final or now - record.created_at > self._patience:
                self._outbox.finish(tx, record.id, sent=False, at=now, failure=outcome.failure)
            else:
                rows.postpone(tx, record.id, now + pause_after(record.attempts), outcome.failure)
                continue
            entry = audit.entry(
                now,
                _ACTOR,
                "letter.deliver",
                "done" if outcome.failure is None else "failed",
                letter=record.id,
                about=record.about,
                template=record.template,
                failure=outcome.failure,
            )
            audit_chain.append(tx, entry)


def pause_after(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts and one more: twice as long each time, with jitter."""
    doubled: timedelta = _FIRST_PAUSE * (1 << min(attempts, 20))
    return min(doubled, _LONGEST_PAUSE) * _random.uniform(1 - _JITTER, 1 + _JITTER)
