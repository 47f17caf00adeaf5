"""What the signer counts: signatures, faults, replaced workers, and how long the token takes."""

from bisect import bisect_left
from collections import Counter
from typing import Final

from pkiserver.signer.errors import (
    SessionLostError,
    SignerBusyError,
    SignerError,
    SignerSecretError,
    TokenSignatureError,
    WireError,
    WorkerHungError,
    WorkerLostError,
)

BOUNDS_S: Final = (0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
DEVICE: Final = "device"
FAULTS: Final[dict[type[SignerError], str]] = {
    SessionLostError: "session",
    TokenSignatureError: "signature",
    SignerSecretError: "secret",
    SignerBusyError: "busy",
    WorkerLostError: "lost",
    WorkerHungError: "hung",
    WireError: "protocol",
}
_SMOOTHING: Final = 1 / 8


class Statistics:
    """Counters of one token; read by the metrics, and by the queue to size its batches."""

    def __init__(self) -> None:
        self.signatures = 0
        self.restarts = 0
        self.reopened = 0
        self.faults: Counter[str] = Counter()
        self.latency: list[int] = [0] * (len(BOUNDS_S) + 1)
        self.latency_sum_s = 0.0
        self._signature_s: dict[str, float] = {}

    def signed(self, label: str, count: int, busy_s: float) -> None:
        """Count signatures that took the token so long together."""
        each = busy_s / count
        self.signatures += count
        self.latency[bisect_left(BOUNDS_S, each)] += count
        self.latency_sum_s += busy_s
        before = self._signature_s.get(label, each)
        self._signature_s[label] = before + (each - before) * _SMOOTHING

    def signature_s(self, label: str) -> float | None:
        """Return about how long a signature by this key takes, None where that is not known yet."""
        return self._signature_s.get(label)

    def fault(self, error: SignerError) -> None:
        """Count a fault by its kind: one of `FAULTS`, or the device's."""
        self.faults[FAULTS.get(type(error), DEVICE)] += 1
