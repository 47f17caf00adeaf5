"""What Prometheus reads of registration: cases by how urgent they are, bulk acts, letters that wait."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from pkiserver.clock import Clock
from pkiserver.metrics import Metrics, Reading, Sample
from pkiserver.ra.letters.outbox import Medium
from pkiserver.storage import Storage
from store import bulk_acts, cases, letters
from store.bulk_acts import Load

SOON: Final = timedelta(hours=2)


class RegistrationReadings:
    """Gives the metrics what `refresh` read of the database."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._cases: dict[str, int] = {}
        self._bulk = Load({}, 0, None)
        self._letters: dict[tuple[str, str], int] = {}

    async def refresh(self) -> None:
        """Read what the next scrape is to show."""
        now = self._clock.now()
        overdue, soon, all_open = await self._storage.read(
            lambda tx: (
                cases.count_open(tx, now),
                cases.count_open(tx, now + SOON),
                cases.count_open(tx, None),
            )
        )
        self._cases = {"overdue": overdue, "soon": soon - overdue, "later": all_open - soon}
        self._bulk = await self._storage.read(bulk_acts.load)
        counted = await self._storage.read(
            lambda tx: {state: letters.count(tx, state) for state in ("waiting", "given_up")}
        )
        self._letters = {
            (medium.value, state): counts.get(medium.value, 0)
            for state, counts in counted.items()
            for medium in Medium
        }

    def register(self, metrics: Metrics) -> None:
        """Have them shown."""
        metrics.read(Reading.CASES_OPEN, lambda: _samples(self._cases))
        metrics.read(Reading.BULK_ACTS, lambda: _samples(self._bulk.acts))
        metrics.read(Reading.BULK_LEFT, lambda: [Sample(self._bulk.left)])
        metrics.read(Reading.BULK_OLDEST, self._oldest_proposal)
        metrics.read(
            Reading.LETTERS, lambda: [Sample(count, labels) for labels, count in self._letters.items()]
        )

    def _oldest_proposal(self) -> list[Sample]:
        since = self._bulk.oldest_proposal
        return [Sample(0 if since is None else (self._clock.now() - since).total_seconds())]


def _samples(counts: dict[str, int]) -> Iterator[Sample]:
    for name, count in counts.items():
        yield Sample(count, (name,))
