"""How much of the server one actor may have: a bucket of requests that fills again evenly."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from pkiserver.errors import TooManyRequestsError


@dataclass(slots=True)
class _Bucket:
    left: float
    at: datetime


class RateLimiter:
    """Counts the requests of each actor; what it remembers is bounded by the actors that are registered."""

    def __init__(self, rate: int, burst: int) -> None:
        """Give each actor `rate` requests a second, `burst` of them at once."""
        self._rate = rate
        self._burst = burst
        self._buckets: dict[str, _Bucket] = {}

    def take(self, actor: str, now: datetime) -> None:
        """Count a request; `TooManyRequestsError` where the actor has none left."""
        bucket = self._buckets.setdefault(actor, _Bucket(self._burst, now))
        since = max(0.0, (now - bucket.at).total_seconds())  # a clock set back gives nothing
        bucket.left = min(self._burst, bucket.left + since * self._rate)
        bucket.at = now
        if bucket.left < 1:
            wait = timedelta(seconds=math.ceil((1 - bucket.left) / self._rate))
            raise TooManyRequestsError(f"more than {self._rate} requests a second: wait a little", wait)
        bucket.left -= 1
