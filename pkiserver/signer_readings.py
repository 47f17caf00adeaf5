"""What Prometheus reads of the signer: its queue, its workers, the token's speed and faults, the circuit."""

from collections.abc import Iterator

from pkiserver.metrics import Durations, Latencies, Metrics, Reading, Sample
from pkiserver.signer.circuit import CircuitState
from pkiserver.signer.client import Signer
from pkiserver.signer.statistics import BOUNDS_S, DEVICE, FAULTS


def register_signer(metrics: Metrics, signer: Signer) -> None:
    """Have all of it shown; `token` is the token's label, or `software`."""
    token, counted = signer.token_name, signer.statistics

    def faults() -> Iterator[Sample]:
        for fault in (DEVICE, *FAULTS.values()):
            yield Sample(counted.faults[fault], (token, fault))

    def circuit() -> Iterator[Sample]:
        for state in CircuitState:
            yield Sample(float(signer.circuit is state), (token, state.value))

    metrics.read(Reading.SIGNER_QUEUE, lambda: [Sample(signer.queue_depth)])
    metrics.read(Reading.SIGNER_RESTARTS, lambda: [Sample(signer.restarts)])
    metrics.read(Reading.SIGNATURES, lambda: [Sample(signer.signatures)])
    metrics.read(Reading.SIGNER_WORKERS, lambda: [Sample(signer.serving, (token,))])
    metrics.read(Reading.SIGNER_SESSIONS, lambda: [Sample(counted.reopened, (token,))])
    metrics.read(Reading.SIGNER_FAULTS, faults)
    metrics.read(Reading.SIGNER_CIRCUIT, circuit)
    metrics.read_latencies(
        Durations.SIGNATURES, lambda: Latencies(BOUNDS_S, counted.latency, counted.latency_sum_s)
    )
