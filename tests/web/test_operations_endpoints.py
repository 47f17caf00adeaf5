"""`/metrics`, `/health` and `/ready` over a real listener, and what they say."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from https_harness import listening

from pkiserver.health import Cause
from pkiserver.metrics import Durations, Latencies, Metrics, Reading, Sample
from pkiserver.web.operations import operations_routes


class Operations:
    """A running operations address and the state that it shows."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.causes: list[Cause] = []
        self.base = ""

    async def get(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        """Return status, content type and body."""
        async with aiohttp.ClientSession() as session, session.request(method, self.base + path) as response:
            return response.status, response.headers.get("Content-Type", ""), await response.text()


@pytest.fixture
async def operations() -> AsyncIterator[Operations]:
    operations = Operations()
    routes = operations_routes(operations.metrics, lambda: operations.causes)
    async with listening(routes, None, metrics=operations.metrics) as listener:
        host, port = listener.address
        operations.base = f"http://{host}:{port}"
        yield operations


async def test_health(operations: Operations) -> None:
    status, content_type, body = await operations.get("/health")
    assert (status, content_type) == (200, "application/json; charset=utf-8")
    assert json.loads(body) == {"status": "alive"}


@pytest.mark.parametrize("ok", [True, False])
async def test_ready(operations: Operations, ok: bool) -> None:
    operations.causes = [Cause("clock", ok=True), Cause("storage", ok=ok, detail="make room on the disk")]
    status, _, body = await operations.get("/ready")
    assert status == (200 if ok else 503)
    assert json.loads(body) == {
        "ready": ok,
        "causes": [
            {"name": "clock", "state": "ok", "detail": ""},
            {"name": "storage", "state": "ok" if ok else "failed", "detail": "make room on the disk"},
        ],
    }


async def test_metrics_count_the_requests(operations: Operations) -> None:
    await operations.get("/health")
    await operations.get("/nowhere")
    status, content_type, body = await operations.get("/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    for line in (
        'pkiserver_requests_total{operation="health",protocol="operations",status="200"} 1.0',
        'pkiserver_requests_total{operation="unmatched",protocol="http",status="404"} 1.0',
        'pkiserver_request_duration_seconds_count{operation="health",protocol="operations"} 1.0',
        'pkiserver_connections{listener="test"} 1.0',
    ):
        assert line in body.splitlines()


@pytest.mark.parametrize(("path", "method", "status"), [("/metrics", "POST", 405), ("/", "GET", 404)])
async def test_what_is_not_served(operations: Operations, path: str, method: str, status: int) -> None:
    found, content_type, body = await operations.get(path, method)
    assert (found, content_type) == (status, "text/plain; charset=utf-8")
    assert body.count("\n") == 1


READINGS = [
    (Reading.SIGNATURES, (), "pkiserver_signatures_total"),
    (Reading.SIGNER_QUEUE, (), "pkiserver_signer_queue_depth"),
    (Reading.SIGNER_RESTARTS, (), "pkiserver_signer_restarts_total"),
    (Reading.SIGNER_WORKERS, ("hsm",), 'pkiserver_signer_workers{token="hsm"}'),
    (Reading.SIGNER_SESSIONS, ("hsm",), 'pkiserver_signer_sessions_reopened_total{token="hsm"}'),
    (Reading.SIGNER_FAULTS, ("hsm", "lost"), 'pkiserver_signer_faults_total{fault="lost",token="hsm"}'),
    (Reading.SIGNER_CIRCUIT, ("hsm", "open"), 'pkiserver_signer_circuit{state="open",token="hsm"}'),
    (Reading.COMMITS, (), "pkiserver_store_commits_total"),
    (Reading.TRANSACTIONS, (), "pkiserver_store_transactions_total"),
    (Reading.COMMIT_FAILURES, (), "pkiserver_store_commit_failures_total"),
    (Reading.STATUS_ANSWERS, ("good",), 'pkiserver_status_answers_total{outcome="good"}'),
    (Reading.STATUS_SENT, (), "pkiserver_status_sent_bytes_total"),
    (Reading.STATUS_CONNECTIONS, (), "pkiserver_status_connections_accepted_total"),
    (Reading.STATUS_RESTARTS, (), "pkiserver_status_worker_restarts_total"),
    (Reading.OCSP_OLDEST_RESPONSE, (), "pkiserver_ocsp_oldest_response_age_seconds"),
    (Reading.OCSP_OLDEST_NEXT_UPDATE, (), "pkiserver_ocsp_oldest_next_update_timestamp_seconds"),
    (Reading.PRESIGNER_POSITION, (), "pkiserver_presigner_position"),
    (Reading.CERTIFICATES, ("citizen", "active"), 'pkiserver_certificates{ca="citizen",state="active"}'),
    (
        Reading.CERTIFICATE_EXPIRY,
        ("ca", "root"),
        'pkiserver_certificate_expiry_timestamp_seconds{name="root",role="ca"}',
    ),
    (
        Reading.AUTHORITY_STATE,
        ("citizen.2", "active"),
        'pkiserver_authority_state{ca="citizen.2",state="active"}',
    ),
    (
        Reading.AUTHORITY_ROLLOVER,
        ("citizen",),
        'pkiserver_authority_rollover_latest_timestamp_seconds{ca="citizen"}',
    ),
    (Reading.CASES_OPEN, ("overdue",), 'pkiserver_cases_open{due="overdue"}'),
    (Reading.BULK_ACTS, ("running",), 'pkiserver_bulk_acts{state="running"}'),
    (Reading.BULK_LEFT, (), "pkiserver_bulk_certificates_left"),
    (Reading.BULK_OLDEST, (), "pkiserver_bulk_oldest_proposal_seconds"),
    (Reading.LETTERS, ("mail", "waiting"), 'pkiserver_letters{medium="mail",state="waiting"}'),
    (Reading.CRL_THIS_UPDATE, ("root",), 'pkiserver_crl_this_update_timestamp_seconds{crl="root"}'),
    (Reading.CRL_NEXT_UPDATE, ("root",), 'pkiserver_crl_next_update_timestamp_seconds{crl="root"}'),
    (Reading.CRL_NUMBER, ("root",), 'pkiserver_crl_number{crl="root"}'),
    (Reading.READY, ("disk",), 'pkiserver_ready{cause="disk"}'),
    (Reading.AUDIT_HEAD_RECORD, (), "pkiserver_audit_head_record"),
    (Reading.AUDIT_HEAD_SIGNED, (), "pkiserver_audit_head_signed_timestamp_seconds"),
    (Reading.AUDIT_HEAD_SENT, ("file",), 'pkiserver_audit_head_sent_timestamp_seconds{way="file"}'),
    (Reading.AUDIT_SEQUENCE, (), "pkiserver_audit_sequence"),
    (Reading.CREDENTIAL_FAILURES, ("wrong",), 'pkiserver_credential_failures_total{outcome="wrong"}'),
    (Reading.PLANT_QUEUE, (), "pkiserver_plant_queue"),
    (Reading.PLANT_BATCHES_OPEN, (), "pkiserver_plant_batches_open"),
    (Reading.PLANT_BATCHES_OVERDUE, (), "pkiserver_plant_batches_overdue"),
    (Reading.ENROLLMENTS_WAITING, (), "pkiserver_enrollments_waiting"),
    (Reading.ENROLLMENTS_OLDEST, (), "pkiserver_enrollments_oldest_waiting_seconds"),
    (
        Reading.ENROLLMENTS_DECIDED,
        ("approved",),
        'pkiserver_enrollments_decided_total{outcome="approved"}',
    ),
    (Reading.REGISTRY_LOOKUPS, ("found",), 'pkiserver_registry_lookups_total{outcome="found"}'),
    (Reading.REGISTRY_CIRCUIT, ("open",), 'pkiserver_registry_circuit{state="open"}'),
    (
        Reading.CMP_ANSWERS,
        ("ir", "done"),
        'pkiserver_cmp_answers_total{body="ir",outcome="done"}',
    ),
    (Reading.CMP_UNCONFIRMED, (), "pkiserver_cmp_unconfirmed"),
    (Reading.CONNECTIONS, ("https",), 'pkiserver_connections{listener="https"}'),
]


def test_every_reading_is_listed_here() -> None:
    assert [reading for reading, _, _ in READINGS] == list(Reading)


@pytest.mark.parametrize(("reading", "labels", "shown"), READINGS)
def test_readings_are_read_at_the_scrape(reading: Reading, labels: tuple[str, ...], shown: str) -> None:
    metrics, value = Metrics(), 0

    def read() -> list[Sample]:
        return [Sample(value, labels)]

    metrics.read(reading, read)
    for value in (5, 7):
        assert f"{shown} {value}.0" in metrics.render().decode().splitlines()


def test_causes_show_as_zero_or_one() -> None:
    metrics = Metrics()
    metrics.read_causes(lambda: [Cause("clock", ok=True), Cause("storage", ok=False)])
    shown = metrics.render().decode()
    assert 'pkiserver_ready{cause="clock"} 1.0' in shown
    assert 'pkiserver_ready{cause="storage"} 0.0' in shown


@pytest.mark.parametrize("samples", [None, [Sample(1)], [Sample(1, ("a", "b"))]])
def test_one_broken_reading_leaves_the_others(samples: list[Sample] | None) -> None:
    metrics = Metrics()

    def broken() -> list[Sample]:
        if samples is None:
            raise RuntimeError("the worker is gone")
        return samples

    metrics.read(Reading.CRL_NUMBER, broken)
    metrics.read(Reading.AUDIT_SEQUENCE, lambda: [Sample(3)])
    metrics.render()
    shown = metrics.render().decode()
    assert "pkiserver_audit_sequence 3.0" in shown
    assert 'pkiserver_metric_read_failures_total{metric="pkiserver_crl_number"}' in shown


def test_instruments_and_names() -> None:
    metrics = Metrics()
    metrics.read(Reading.SIGNATURES, lambda: [Sample(7)])
    metrics.read_latencies(Durations.STATUS_ANSWERS, lambda: Latencies((0.001, 0.01), (2, 3, 1), 0.5))
    shown = metrics.render().decode()
    assert "pkiserver_signatures_total 7.0" in shown
    assert 'pkiserver_status_answer_duration_seconds_bucket{le="0.01"} 5.0' in shown
    assert 'pkiserver_status_answer_duration_seconds_bucket{le="+Inf"} 6.0' in shown
    assert "pkiserver_status_answer_duration_seconds_sum 0.5" in shown
    names = {line.split("{")[0].split(" ")[0] for line in shown.splitlines() if not line.startswith("#")}
    assert all(name.startswith("pkiserver_") for name in names)
