"""What Prometheus reads of the status workers, in every role that runs them."""

from collections.abc import Iterator

from pkiserver.metrics import Durations, Latencies, Metrics, Reading, Sample
from pkiserver.web.status_counters import LATENCY_BOUNDS_S
from pkiserver.web.workers import StatusWorkers


def register_workers(metrics: Metrics, workers: StatusWorkers) -> None:
    """Have answers, latency, connections and replacements of the workers shown."""

    def answers() -> Iterator[Sample]:
        for outcome, count in workers.counters().requests.items():
            yield Sample(count, (outcome,))

    def latencies() -> Latencies:
        counters = workers.counters()
        return Latencies(LATENCY_BOUNDS_S, counters.latency, counters.latency_sum_s)

    metrics.read(Reading.STATUS_ANSWERS, answers)
    metrics.read(Reading.STATUS_SENT, lambda: [Sample(workers.counters().bytes_sent)])
    metrics.read(Reading.STATUS_CONNECTIONS, lambda: [Sample(workers.counters().connections_total)])
    metrics.read(Reading.STATUS_RESTARTS, lambda: [Sample(workers.counters().restarts)])
    metrics.read(Reading.CONNECTIONS, lambda: [Sample(workers.counters().connections, ("http",))])
    metrics.read_latencies(Durations.STATUS_ANSWERS, latencies)
