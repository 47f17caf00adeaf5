"""How often strangers may ask: requests of an address in a minute, whatever comes of them."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pkiserver.errors import TooManyRequestsError
from pkiserver.networks import client_network

WINDOW: Final = timedelta(minutes=1)
MAX_ADDRESSES: Final = 10_000  # remembered at once; the longest unseen is forgotten


@dataclass(slots=True)
class _Asked:
    since: datetime
    count: int = 0


class AddressLimiter:
    """Counts the requests of each network (`client_network`) in a window of time."""

    def __init__(self, most: int) -> None:
        """Let `most` requests of a network pass in a window."""
        self._most = most
        self._networks: OrderedDict[str, _Asked] = OrderedDict()

    def take(self, address: str, now: datetime) -> None:
        """Count a request; `TooManyRequestsError` where the address has had its share."""
        network = client_network(address)
        asked = self._networks.setdefault(network, _Asked(now))
        if abs(now - asked.since) >= WINDOW:  # a clock that was set back forgets, too
            asked.since, asked.count = now, 0
        self._networks.move_to_end(network)
        if len(self._networks) > MAX_ADDRESSES:
            self._networks.popitem(last=False)
        if asked.count >= self._most:
            raise TooManyRequestsError(f"more than {self._most} requests a minute: wait a little", WINDOW)
        asked.count += 1
