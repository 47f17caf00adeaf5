"""What a status worker counts, and how the counts of several become one; plain data, sent as JSON."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Self

# Upper bounds in seconds; the last bucket of a histogram is what lies above them all.
LATENCY_BOUNDS_S: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)


def _no_latencies() -> list[int]:
    return [0] * (len(LATENCY_BOUNDS_S) + 1)


@dataclass(slots=True)
class StatusCounters:
    """Totals since the start of a worker, or of all workers together; `connections` is the present number.

    `requests` counts answers by outcome; `latency` by the bucket of `LATENCY_BOUNDS_S` (not cumulative), from
    the arrival of a request's last bytes until its answer is handed to the kernel or queued for it.
    """

    requests: Counter[str] = field(default_factory=Counter)
    latency: list[int] = field(default_factory=_no_latencies)
    latency_sum_s: float = 0.0
    bytes_sent: int = 0
    connections: int = 0
    connections_total: int = 0
    restarts: int = 0

    def observe(self, outcome: str, size: int, latency_s: float) -> None:
        """Count one answer."""
        self.requests[outcome] += 1
        self.bytes_sent += size
        self.latency_sum_s += latency_s
        self.latency[bisect_left(LATENCY_BOUNDS_S, latency_s)] += 1

    def add(self, other: Self) -> None:
        """Add another's counts to these."""
        self.requests.update(other.requests)
        self.latency = [ours + theirs for ours, theirs in zip(self.latency, other.latency, strict=True)]
        self.latency_sum_s += other.latency_sum_s
        self.bytes_sent += other.bytes_sent
        self.connections += other.connections
        self.connections_total += other.connections_total
        self.restarts += other.restarts

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON can carry them."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the counts that `to_json` gave."""
        return cls(**{**values, "requests": Counter(values["requests"])})
