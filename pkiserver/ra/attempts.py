"""How often one address may be refused before it has to wait."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pkiserver.errors import UnavailableError
from pkiserver.networks import client_network

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
            raise UnavailableError("too many refused requests from this address; try again in a minute")
        failures.count += 1
