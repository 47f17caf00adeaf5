"""How often one address may be refused, and one credential be guessed at, before they have to wait."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pkiserver.errors import UnavailableError
from pkiserver.networks import client_network

WINDOW: Final = timedelta(minutes=1)
MAX_FAILURES: Final = 30  # a window; each failure costs a durable write, so an address gets few
MAX_ADDRESSES: Final = 10_000  # remembered at once; the longest unseen is forgotten

_TOO_MANY: Final = "too many refused requests from this address; try again in a minute"

FREE_GUESSES: Final = 3  # wrong secrets that cost no time: people mistype
MAX_DELAY: Final = timedelta(minutes=1)
MAX_REFERENCES: Final = 10_000  # remembered at once, as above


@dataclass(slots=True)
class _Failures:
    since: datetime
    count: int = 0


class AttemptLimiter:
    """Counts the refusals of each address in a window of time."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[str, _Failures] = OrderedDict()

    def require_share(self, address: str, now: datetime) -> None:
        """Raise `UnavailableError` where the address had its share in this window; counts nothing."""
        failures = self._addresses.get(client_network(address))
        if failures is not None and abs(now - failures.since) < WINDOW and failures.count >= MAX_FAILURES:
            raise UnavailableError(_TOO_MANY)

    def failed(self, address: str, now: datetime) -> None:
        """Count a refusal; `UnavailableError` when the address had its share in this window."""
        network = client_network(address)
        failures = self._addresses.setdefault(network, _Failures(now))
        if abs(now - failures.since) >= WINDOW:
            failures.since, failures.count = now, 0
        self._addresses.move_to_end(network)
        if len(self._addresses) > MAX_ADDRESSES:
            self._addresses.popitem(last=False)
        if failures.count >= MAX_FAILURES:
            raise UnavailableError(_TOO_MANY)
        failures.count += 1


@dataclass(slots=True)
class _Guesses:
    last: datetime
    count: int = 0

    @property
    def delay(self) -> timedelta:
        """After the free ones each wrong secret doubles the wait: 1, 2, 4 seconds and so on."""
        if self.count < FREE_GUESSES:
            return timedelta(0)
        return min(timedelta(seconds=1 << min(self.count - FREE_GUESSES, 8)), MAX_DELAY)


class GuessLimiter:
    """Slows down who tries secrets for one reference; one that does not exist is treated alike.

    What it remembers ends with the process; the lock of a credential, in the store, does not.
    """

    def __init__(self) -> None:
        self._references: OrderedDict[str, _Guesses] = OrderedDict()

    def require_patience(self, reference: str, now: datetime) -> None:
        """Raise `UnavailableError` where the last wrong secret for this reference is too fresh."""
        guesses = self._references.get(reference)
        if guesses is not None and abs(now - guesses.last) < guesses.delay:
            raise UnavailableError(
                "too many wrong secrets for this reference; try again in"
                f" {guesses.delay.total_seconds():.0f} seconds"
            )

    def wrong(self, reference: str, now: datetime) -> None:
        """Count a wrong secret."""
        guesses = self._references.setdefault(reference, _Guesses(now))
        guesses.last, guesses.count = now, guesses.count + 1
        self._references.move_to_end(reference)
        if len(self._references) > MAX_REFERENCES:
            self._references.popitem(last=False)

    def right(self, reference: str) -> None:
        """Forget the wrong ones."""
        self._references.pop(reference, None)
