"""How often one address may be refused before it has to wait."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pkiserver.errors import UnavailableError

WINDOW: Final = timedelta(minutes=1)
MAX_FAILURES: Final = 30  # a window; each failure costs a durable write, so an address gets few
MAX_ADDRESSES: Final = 10_000  # remembered at once; the longest unseen is forgotten


@dataclass(slots=True)
class _Failures:
    since: datetime
    count: int = 0


class AttemptLimiter:
    """Counts the refusals of each address in a window of time."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[str, _Failures] = OrderedDict()

    def admit(self, address: str, now: datetime) -> None:
        """Raise `UnavailableError` for an address that was refused too often."""
        failures = self._addresses.get(address)
        if failures and failures.count >= MAX_FAILURES and abs(now - failures.since) < WINDOW:
            raise UnavailableError("too many refused requests from this address; try again in a minute")

    def failed(self, address: str, now: datetime) -> None:
        """Count a refusal."""
        failures = self._addresses.setdefault(address, _Failures(now))
        if abs(now - failures.since) >= WINDOW:
            failures.since, failures.count = now, 0
        failures.count += 1
        self._addresses.move_to_end(address)
        if len(self._addresses) > MAX_ADDRESSES:
            self._addresses.popitem(last=False)
