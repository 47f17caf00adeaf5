"""How often one address may do what anybody may: register an organisation, apply for renewal."""

import math
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

from pkiserver.errors import TooManyRequestsError
from pkiserver.networks import client_network

WINDOW: Final = timedelta(hours=1)
MAX_ADDRESSES: Final = 10_000  # remembered at once; who has more addresses meets the bound on what waits


class PublicShare:
    """Counts what each address (of IPv6, each /64) does in windows of time."""

    def __init__(
        self, per_window: int, window: timedelta = WINDOW, what: str = "registrations of an hour"
    ) -> None:
        self._per_window = per_window
        self._window = window
        self._what = what
        self._windows: OrderedDict[str, tuple[datetime, int]] = OrderedDict()

    def take(self, address: str, now: datetime) -> None:
        """Count one; `TooManyRequestsError` where the address had its share in this window."""
        network = client_network(address)
        since, count = self._windows.pop(network, (now, 0))
        if abs(now - since) >= self._window:
            since, count = now, 0
        self._windows[network] = since, min(count + 1, self._per_window)
        if len(self._windows) > MAX_ADDRESSES:
            self._windows.popitem(last=False)
        if count >= self._per_window:
            left = timedelta(seconds=math.ceil((since + self._window - now).total_seconds()))
            raise TooManyRequestsError(
                f"this address had its {self._per_window} {self._what}: come again later",
                left,
            )
