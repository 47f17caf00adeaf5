"""What a running server gives its metrics: every reading, rendered, with its labels and true values."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pkiserver.app import Server
from pkiserver.core import Core
from pkiserver.metrics import CONTENT_TYPE, Metrics, Reading, Sample
from pkiserver.worker_readings import register_workers
from store.enrollments import Application
from store.enrollments import add as add_enrollment

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue

AUTHORITIES = {"root", "citizen", "government", "infrastructure"}
Values = dict[tuple[str, ...], float]


@pytest.fixture
async def server(core: Core) -> AsyncIterator[Server]:
    """A server that is not started: it has its parts and opens no door."""
    made = Server(core)
    await made.presigner.attempt()
    await core.crl_publisher.attempt()
    core.readiness.shows(made.presigner_health.cause)
    core.readiness.shows(made._crl_cause)
    core.readiness.shows(made._signer_cause)
    made.readings.register(made.metrics)
    register_workers(made.metrics, made.workers)
    await made.readings.refresh()
    yield made
    made.table.close()


def values(metrics: Metrics) -> dict[str, Values]:
    """The values of each rendered metric by the values of its labels, in the order its reading names them."""
    order = {rendered_name(reading): reading.value.labels for reading in Reading}
    found: dict[str, Values] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = order.get(sample.name, tuple(sample.labels))
            found.setdefault(sample.name, {})[tuple(sample.labels[one] for one in labels)] = sample.value
    return found


def rendered_name(reading: Reading) -> str:
    return reading.value.name + ("_total" if reading.value.counter else "")


async def test_every_reading_is_rendered(server: Server) -> None:
    found = values(server.metrics)
    missing = [reading.name for reading in Reading if rendered_name(reading) not in found]
    # Kept by status workers and a registry over HTTPS, of which none is here: a family and no sample yet.
    elsewhere = {"STATUS_ANSWERS", "CONNECTIONS", "REGISTRY_LOOKUPS", "REGISTRY_CIRCUIT"}
    heads = {"AUDIT_HEAD_RECORD", "AUDIT_HEAD_SIGNED", "AUDIT_HEAD_SENT"}  # the first is signed at a start
    assert set(missing) <= elsewhere | heads
    text = server.metrics.render().decode()
    for reading in Reading:
        assert f"# TYPE {reading.value.name}" in text
        assert f"# HELP {reading.value.name}" in text
    assert "pkiserver_metric_read_failures_total{" not in text
    assert CONTENT_TYPE.startswith("text/plain")


async def test_names_say_what_they_count() -> None:
    for reading in Reading:
        family = reading.value
        assert family.name.startswith("pkiserver_")
        assert not family.name.endswith("_total")
        assert family.help
        assert not family.help.endswith(".")
    assert len({reading.value.name for reading in Reading}) == len(Reading)


async def test_labels(server: Server) -> None:
    found: dict[str, set[tuple[str, ...]]] = {}
    for family in text_string_to_metric_families(server.metrics.render().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).add(tuple(sample.labels))
    for reading in Reading:
        for labels in found.get(rendered_name(reading), ()):
            assert set(labels) == set(reading.value.labels)


async def test_certificates_by_state(server: Server, issue: "Issue", clock: "FakeClock") -> None:
    before = values(server.metrics)["pkiserver_certificates"]
    records = [await issue(server.core, f"host-{number}.example.mn") for number in range(3)]
    for action, record in (("suspend", records[0]), ("revoke", records[1])):
        arguments = {"serial": f"{record.serial:x}", "ca": None}
        arguments |= {"by": "holder"} if action == "suspend" else {"reason": "superseded"}
        await server.core.commands.run(f"certificate.{action}", arguments, "test", lambda *_: None)
    await server.readings.refresh()
    assert values(server.metrics)["pkiserver_certificates"] == before  # counted once a minute
    clock.advance(timedelta(minutes=1))
    await server.readings.refresh()
    after = values(server.metrics)["pkiserver_certificates"]
    assert {labels[0] for labels in after} == AUTHORITIES
    assert {labels[1] for labels in after} == {"active", "suspended", "revoked", "expired"}
    change = {labels[1]: after[labels] - before[labels] for labels in after if labels[0] == "infrastructure"}
    assert change == {"active": 1, "suspended": 1, "revoked": 1, "expired": 0}
    clock.advance(timedelta(days=398))
    await server.readings.refresh()
    expired = values(server.metrics)["pkiserver_certificates"]["infrastructure", "expired"]
    assert expired >= 2


async def test_expiry_of_all_that_the_server_uses(server: Server) -> None:
    found = values(server.metrics)["pkiserver_certificate_expiry_timestamp_seconds"]
    expected = {("ca", name) for name in AUTHORITIES} | {("ocsp", name) for name in AUTHORITIES}
    assert set(found) == expected | {("tls", "https")}
    citizen = server.core.authorities.get("citizen")
    assert found["ca", "citizen"] == citizen.certificate.not_valid_after_utc.timestamp()
    responder = server.core.authorities.responder(citizen.id)
    assert responder is not None
    assert found["ocsp", "citizen"] == responder.certificate.not_valid_after_utc.timestamp()


async def test_crls(server: Server, clock: "FakeClock") -> None:
    clock.advance(timedelta(hours=1))
    await server.core.crl_publisher.publish("citizen", "test")
    found = values(server.metrics)
    assert found["pkiserver_crl_number"] == {(name,): 1 + (name == "citizen") for name in AUTHORITIES}
    now = clock.now().timestamp()
    assert found["pkiserver_crl_this_update_timestamp_seconds"]["citizen",] == now
    assert found["pkiserver_crl_next_update_timestamp_seconds"]["citizen",] == now + 24 * 3600


async def test_work_done(server: Server, issue: "Issue") -> None:
    before = values(server.metrics)
    await issue(server.core)
    await server.presigner.work()
    await server.readings.refresh()
    after = values(server.metrics)

    def growth(name: str) -> float:
        return after[name][()] - before[name][()]

    assert growth("pkiserver_signatures_total") == 2
    assert growth("pkiserver_audit_sequence") == 3
    assert growth("pkiserver_presigner_position") == 1
    assert growth("pkiserver_store_transactions_total") >= 3
    assert growth("pkiserver_store_commits_total") >= 3
    assert growth("pkiserver_store_commit_failures_total") == 0
    assert after["pkiserver_signer_queue_depth"][()] == 0
    assert after["pkiserver_signer_restarts_total"][()] == 0
    assert after["pkiserver_signer_workers"]["software",] == 1
    assert after["pkiserver_signer_circuit"]["software", "closed"] == 1
    assert after["pkiserver_signer_circuit"]["software", "open"] == 0
    assert after["pkiserver_signer_faults_total"]["software", "lost"] == 0
    assert growth("pkiserver_signature_duration_seconds_count") == 2
    assert 0 <= after["pkiserver_ocsp_oldest_response_age_seconds"][()] <= 60


async def test_enrolments_that_wait(server: Server, clock: "FakeClock") -> None:
    application = Application(4, "device", "CN=a", (), None, bytes(32), "credential:one")
    for days in (1, 9):
        ends = clock.now() + timedelta(days=days)
        await server.core.storage.write(lambda tx, at=ends: add_enrollment(tx, application, clock.now(), at))
    clock.advance(timedelta(hours=2))
    for hours, count in ((2, 2), (26, 1)):
        await server.readings.refresh()
        found = values(server.metrics)
        assert found["pkiserver_enrollments_waiting"][()] == count
        assert found["pkiserver_enrollments_oldest_waiting_seconds"][()] == hours * 3600
        clock.advance(timedelta(days=1))
    arguments = {"enrollment": 2, "reason": "there is no such gate"}
    await server.core.commands.run("enrollment.refuse", arguments, "user:7", lambda *_: None)
    await server.readings.refresh()
    found = values(server.metrics)
    assert found["pkiserver_enrollments_waiting"][()] == 0
    assert found["pkiserver_enrollments_oldest_waiting_seconds"][()] == 0
    assert found["pkiserver_enrollments_decided_total"] == {("approved",): 0, ("refused",): 1}


async def test_readiness(server: Server, clock: "FakeClock") -> None:
    ready = values(server.metrics)["pkiserver_ready"]
    assert ready == dict.fromkeys([("storage",), ("clock",), ("presigner",), ("crl",), ("signer",)], 1.0)
    clock.advance(timedelta(days=-1))
    assert values(server.metrics)["pkiserver_ready"]["clock",] == 0
    clock.advance(timedelta(days=30))
    ready = values(server.metrics)["pkiserver_ready"]
    assert (ready["clock",], ready["crl",]) == (1, 0)


async def test_one_that_cannot_be_read_leaves_the_others(
    server: Server,
) -> None:
    (server.core.home.tls / "server.pem").write_bytes(b"damaged")
    found = values(server.metrics)["pkiserver_certificate_expiry_timestamp_seconds"]
    assert ("ca", "root") in found
    assert ("tls", "https") not in found

    def broken() -> list[Sample]:
        raise RuntimeError("broken")

    server.metrics.read(Reading.AUDIT_SEQUENCE, broken)
    server.metrics.render()
    again = values(server.metrics)
    assert "pkiserver_audit_sequence" not in again
    assert again["pkiserver_metric_read_failures_total"]["pkiserver_audit_sequence",] >= 1
    assert "pkiserver_crl_number" in again
