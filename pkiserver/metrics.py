"""The server's Prometheus metrics, in a registry of their own.

`Metrics` holds the instruments that code turns as things happen. What is read off the server's state when
Prometheus asks (certificates by state, expiry, CRL age, …) is listed in `Reading`; the wiring gives each a
callable by `Metrics.read`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from pkiserver.health import Cause

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
_LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a `Reading`, with the values of its labels in the order the reading names them."""

    value: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Family:
    name: str
    help: str
    labels: tuple[str, ...] = ()
    counter: bool = False  # counters take the suffix _total when rendered


class Reading(Enum):
    """What is read at the scrape. Times are Unix timestamps in seconds."""

    SIGNATURES = _Family("pkiserver_signatures", "Signatures made", counter=True)
    SIGNER_QUEUE = _Family("pkiserver_signer_queue_depth", "Signing requests waiting or in work")
    SIGNER_RESTARTS = _Family("pkiserver_signer_restarts", "Signer processes replaced", counter=True)
    SIGNER_WORKERS = _Family(
        "pkiserver_signer_workers", "Signer processes whose key store is open", ("token",)
    )
    SIGNER_SESSIONS = _Family(
        "pkiserver_signer_sessions_reopened",
        "Sessions that the token ended, replaced within their process",
        ("token",),
        counter=True,
    )
    SIGNER_FAULTS = _Family(
        "pkiserver_signer_faults",
        "Faults of the key store: device, session, signature, secret, busy, lost, hung, protocol",
        ("token", "fault"),
        counter=True,
    )
    SIGNER_CIRCUIT = _Family(
        "pkiserver_signer_circuit",
        "1 for the state of the circuit: closed, retrying, open (a person must act), else 0",
        ("token", "state"),
    )
    COMMITS = _Family("pkiserver_store_commits", "Commits to disk", counter=True)
    TRANSACTIONS = _Family(
        "pkiserver_store_transactions", "Transactions; by commits: how many share one", counter=True
    )
    COMMIT_FAILURES = _Family("pkiserver_store_commit_failures", "Commits that failed", counter=True)
    STATUS_ANSWERS = _Family(
        "pkiserver_status_answers", "Answers of the status workers, by outcome", ("outcome",), counter=True
    )
    STATUS_SENT = _Family(
        "pkiserver_status_sent_bytes", "Octets of the status workers' answers", counter=True
    )
    STATUS_CONNECTIONS = _Family(
        "pkiserver_status_connections_accepted", "Connections that the status workers took", counter=True
    )
    STATUS_RESTARTS = _Family("pkiserver_status_worker_restarts", "Status workers replaced", counter=True)
    OCSP_OLDEST_RESPONSE = _Family(
        "pkiserver_ocsp_oldest_response_age_seconds", "Age of the oldest prebuilt OCSP response"
    )
    OCSP_OLDEST_NEXT_UPDATE = _Family(
        "pkiserver_ocsp_oldest_next_update_timestamp_seconds",
        "Earliest nextUpdate among the prebuilt OCSP responses",
    )
    PRESIGNER_POSITION = _Family(
        "pkiserver_presigner_position", "Sequence number of the last status event that OCSP shows"
    )
    CERTIFICATES = _Family("pkiserver_certificates", "Certificates issued, by state", ("ca", "state"))
    CERTIFICATE_EXPIRY = _Family(
        "pkiserver_certificate_expiry_timestamp_seconds",
        "notAfter of the server's own certificates (role: ca, ocsp, tls, cmc, audit)",
        ("role", "name"),
    )
    AUTHORITY_STATE = _Family(
        "pkiserver_authority_state",
        "1 for the state that each key of an authority is in: published, active, retiring, …",
        ("ca", "state"),
    )
    AUTHORITY_ROLLOVER = _Family(
        "pkiserver_authority_rollover_latest_timestamp_seconds",
        "Until when the next key of an authority has to be active: later, certificates would outlive it",
        ("ca",),
    )
    CASES_OPEN = _Family(
        "pkiserver_cases_open", "Cases to be decided: overdue, soon (within two hours), later", ("due",)
    )
    BULK_ACTS = _Family("pkiserver_bulk_acts", "Bulk acts that are proposed, running or stopped", ("state",))
    BULK_LEFT = _Family(
        "pkiserver_bulk_certificates_left", "Certificates that begun bulk acts have still to change"
    )
    BULK_OLDEST = _Family(
        "pkiserver_bulk_oldest_proposal_seconds",
        "Since when the first bulk act waits for a second person; 0: none does",
    )
    LETTERS = _Family(
        "pkiserver_letters", "Letters that wait, or were given up, by medium", ("medium", "state")
    )
    CRL_THIS_UPDATE = _Family(
        "pkiserver_crl_this_update_timestamp_seconds", "thisUpdate of the CRL published", ("crl",)
    )
    CRL_NEXT_UPDATE = _Family(
        "pkiserver_crl_next_update_timestamp_seconds", "nextUpdate of the CRL published", ("crl",)
    )
    CRL_NUMBER = _Family("pkiserver_crl_number", "cRLNumber of the CRL published", ("crl",))
    READY = _Family("pkiserver_ready", "1 where the condition of readiness holds, else 0", ("cause",))
    AUDIT_HEAD_RECORD = _Family("pkiserver_audit_head_record", "Audit record that the last signed head is of")
    AUDIT_HEAD_SIGNED = _Family(
        "pkiserver_audit_head_signed_timestamp_seconds", "When the last head of the audit log was signed"
    )
    AUDIT_HEAD_SENT = _Family(
        "pkiserver_audit_head_sent_timestamp_seconds",
        "When the last head that went this way was signed",
        ("way",),
    )
    AUDIT_SEQUENCE = _Family("pkiserver_audit_sequence", "Sequence number of the last audit record")
    CREDENTIAL_FAILURES = _Family(
        "pkiserver_credential_failures",
        "Secrets tried in vain, by outcome: wrong, slowed (not even compared), locked",
        ("outcome",),
        counter=True,
    )
    PLANT_QUEUE = _Family("pkiserver_plant_queue", "Applications that wait for a card of the printing plant")
    PLANT_BATCHES_OPEN = _Family("pkiserver_plant_batches_open", "Batches with cards that have no result yet")
    PLANT_BATCHES_OVERDUE = _Family("pkiserver_plant_batches_overdue", "Those of them whose time is over")
    ENROLLMENTS_WAITING = _Family("pkiserver_enrollments_waiting", "Enrolments that wait for a decision")
    ENROLLMENTS_OLDEST = _Family(
        "pkiserver_enrollments_oldest_waiting_seconds", "Since when the first of them waits; 0: none does"
    )
    ENROLLMENTS_DECIDED = _Family(
        "pkiserver_enrollments_decided",
        "Decisions on enrolments, by outcome: approved, refused",
        ("outcome",),
        counter=True,
    )
    REGISTRY_LOOKUPS = _Family(
        "pkiserver_registry_lookups",
        "Look-ups in the civil registry, by outcome: found, unknown, failed, not_asked (left alone, or busy)",
        ("outcome",),
        counter=True,
    )
    REGISTRY_CIRCUIT = _Family(
        "pkiserver_registry_circuit",
        "1 for the state of the civil registry's circuit: closed, open (left alone), half_open, else 0",
        ("state",),
    )
    CMP_ANSWERS = _Family(
        "pkiserver_cmp_answers",
        "CMP messages answered, by the body of the message and the outcome: done, refused",
        ("body", "outcome"),
        counter=True,
    )
    CMP_UNCONFIRMED = _Family(
        "pkiserver_cmp_unconfirmed", "CMP transactions whose certificates are not confirmed yet"
    )
    CONNECTIONS = _Family("pkiserver_connections", "Connections open, by listener", ("listener",))


class Durations(Enum):
    """Histograms that are counted elsewhere, in seconds."""

    STATUS_ANSWERS = _Family(
        "pkiserver_status_answer_duration_seconds", "From a request's last bytes to its answer"
    )
    SIGNATURES = _Family(
        "pkiserver_signature_duration_seconds", "What the key store took for a signature, verified"
    )
    REGISTRY_LOOKUPS = _Family(
        "pkiserver_registry_lookup_duration_seconds", "What a look-up in the civil registry took"
    )


Reader = Callable[[], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class Latencies:
    """A histogram counted elsewhere: bounds in seconds, counts between them (one more), the sum."""

    bounds_s: Sequence[float]
    counts: Sequence[int]
    sum_s: float

    def family(self, durations: Durations) -> Metric:
        """Return it as Prometheus wants it: cumulative."""
        metric = HistogramMetricFamily(durations.value.name, durations.value.help)
        cumulative = list(accumulate(self.counts))
        names = [*map(str, self.bounds_s), "+Inf"]
        metric.add_metric([], list(zip(names, cumulative, strict=True)), self.sum_s)
        return metric


class _StateCollector(Collector):
    """Reads the registered callables when Prometheus asks."""

    def __init__(self, failures: Counter) -> None:
        self.readers: dict[Reading, list[Reader]] = {}
        self._failures = failures
        self.latencies: dict[Durations, Callable[[], Latencies]] = {}

    def collect(self) -> Iterator[Metric]:
        for reading, readers in self.readers.items():
            try:
                metric = _metric(reading.value, [sample for reader in readers for sample in reader()])
            except Exception as error:  # noqa: BLE001 - outermost: the others matter most when one breaks
                _log.error("metric cannot be read", metric=reading.value.name, exc_info=error)
                self._failures.labels(reading.value.name).inc()
            else:
                yield metric
        for durations, latencies in self.latencies.items():
            yield latencies().family(durations)


def _metric(family: _Family, samples: Iterable[Sample]) -> Metric:
    kind = CounterMetricFamily if family.counter else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for sample in samples:
        if len(sample.labels) != len(family.labels):
            raise ValueError(f"{family.name} has the labels {family.labels}")
        metric.add_metric(list(sample.labels), sample.value)
    return metric


class Metrics:
    """Every metric of one process. Names begin with `pkiserver_` and end in their unit."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry(auto_describe=False)
        registry = self.registry
        self.requests: Final = Counter(
            "pkiserver_requests",
            "Requests answered",
            ("protocol", "operation", "status"),
            registry=registry,
        )
        self.request_seconds: Final = Histogram(
            "pkiserver_request_duration_seconds",
            "From the whole header received to the response written",
            ("protocol", "operation"),
            buckets=_LATENCY_S,
            registry=registry,
        )
        self._counted: Final[dict[tuple[str, str, int], tuple[Counter, Histogram]]] = {}  # found once
        self.handshake_failures: Final = Counter(
            "pkiserver_tls_handshake_failures", "TLS handshakes that failed", registry=registry
        )
        self.connections_refused: Final = Counter(
            "pkiserver_connections_refused",
            "Connections closed at once: their address held as many as one may",
            ("listener",),
            registry=registry,
        )
        self.read_failures: Final = Counter(
            "pkiserver_metric_read_failures", "Metrics that could not be read", ("metric",), registry=registry
        )
        self.started: Final = Gauge(
            "pkiserver_start_timestamp_seconds", "When the server became ready to serve", registry=registry
        )
        ProcessCollector(namespace="pkiserver", registry=registry)
        self._state = _StateCollector(self.read_failures)
        registry.register(self._state)

    def read(self, reading: Reading, reader: Reader) -> None:
        """Have `reader` called at each scrape; it must not block. Several readers of one reading add up."""
        self._state.readers.setdefault(reading, []).append(reader)

    def read_latencies(self, durations: Durations, latencies: Callable[[], Latencies]) -> None:
        """Show how long something took that is counted elsewhere."""
        self._state.latencies[durations] = latencies

    def read_causes(self, causes: Callable[[], Iterable[Cause]]) -> None:
        """Show the conditions of readiness as `pkiserver_ready`."""
        self.read(Reading.READY, lambda: [Sample(float(cause.ok), (cause.name,)) for cause in causes()])

    def count_request(self, protocol: str, operation: str, status: int, seconds: float) -> None:
        """Count one request answered. `protocol` and `operation` are of fixed tables, never from a client."""
        counted = self._counted.get((protocol, operation, status))
        if counted is None:
            counted = (
                self.requests.labels(protocol, operation, str(status)),
                self.request_seconds.labels(protocol, operation),
            )
            self._counted[protocol, operation, status] = counted
        requests, request_seconds = counted
        requests.inc()
        request_seconds.observe(seconds)

    def render(self) -> bytes:
        """Return the Prometheus text format of every metric, of the media type `CONTENT_TYPE`."""
        return generate_latest(self.registry)
