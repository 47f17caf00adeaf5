"""How often one address may register organisations, where anybody may."""

import math
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

from pkiserver.errors import TooManyRequestsError
from pkiserver.networks import client_network

WINDOW: Final = timedelta(hours=1)
MAX_ADDRESSES: Final = 10_000  # remembered at once; who has more addresses meets the bound on what waits


class PublicShare:
    """Counts the registrations of each address (of IPv6, each /64) in windows of an hour."""

    def __init__(self, per_window: int) -> None:
        self._per_window = per_window
        self._windows: OrderedDict[str, tuple[datetime, int]] = OrderedDict()

    def take(self, address: str, now: datetime) -> None:
        """Count one; `TooManyRequestsError` where the address had its share in this window."""
        network = client_network(address)
        since, count = self._windows.pop(network, (now, 0))
        if abs(now - since) >= WINDOW:
            since, count = now, 0
        self._windows[network] = since, min(count + 1, self._per_window)
        if len(self._windows) > MAX_ADDRESSES:
            self._windows.popitem(last=False)
        if count >= self._per_window:
            left = timedelta(seconds=math.ceil((since + WINDOW - now).total_seconds()))
            raise TooManyRequestsError(
                f"this address had its {self._per_window} registrations of an hour: come again later",
                left,
            )
