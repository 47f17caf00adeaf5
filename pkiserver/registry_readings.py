"""What Prometheus reads of the civil registry over HTTPS: look-ups, how long they take, the circuit."""

from pkiserver.metrics import Durations, Latencies, Metrics, Reading, Sample
from pkiserver.ra.registration.circuit import State
from pkiserver.ra.registration.http_registry import BOUNDS_S, OUTCOMES, HTTPRegistry


def register_registry(metrics: Metrics, registry: HTTPRegistry | None) -> None:
    """Have all of it shown; of a registry that is a file there is nothing to tell."""

    def lookups() -> list[Sample]:
        return [] if registry is None else [Sample(counted[one], (one,)) for one in OUTCOMES]

    def circuit() -> list[Sample]:
        if registry is None:
            return []
        return [Sample(float(registry.circuit is state), (state.value,)) for state in State]

    counted = {} if registry is None else registry.statistics.outcomes
    metrics.read(Reading.REGISTRY_LOOKUPS, lookups)
    metrics.read(Reading.REGISTRY_CIRCUIT, circuit)
    if registry is not None:
        kept = registry.statistics
        metrics.read_latencies(
            Durations.REGISTRY_LOOKUPS, lambda: Latencies(BOUNDS_S, kept.latency, kept.latency_sum_s)
        )
