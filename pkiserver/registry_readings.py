"""What Prometheus reads of the civil registry over HTTPS: look-ups, how long they take, the circuit."""

from pkiserver.metrics import Durations, Latencies, Metrics, Reading, Sample
from pkiserver.ra.registration.circuit import State
from pkiserver.ra.registration.http_registry import BOUNDS_S, OUTCOMES, HTTPRegistry


def register_registry(metrics: Metrics, registry: HTTPRegistry) -> None:
    """Have all of it shown."""
    counted = registry.statistics
    metrics.read(
        Reading.REGISTRY_LOOKUPS, lambda: [Sample(counted.outcomes[one], (one,)) for one in OUTCOMES]
    )
    metrics.read(
        Reading.REGISTRY_CIRCUIT,
        lambda: [Sample(float(registry.circuit is state), (state.value,)) for state in State],
    )
    metrics.read_latencies(
        Durations.REGISTRY_LOOKUPS, lambda: Latencies(BOUNDS_S, counted.latency, counted.latency_sum_s)
    )
