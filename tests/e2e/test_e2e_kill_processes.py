"""Kills the parts of a running server, and the whole of it under load."""

import http.client
import os
import signal
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from client_messages import Credential, csr_for, new_key
from consistency import assert_consistent
from cryptography import x509
from server_harness import Server, doomed, eventually, has_ended, running

CLIENTS = 20
ENROLMENTS = 8  # by each client, one after the other; the kill comes among them


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: has_ended(pid), f"the end of {pid}")


def enroll(server: Server, credential: Credential, context: ssl.SSLContext) -> x509.Certificate | None:
    """Return an acknowledged certificate, None where the server said 503 or did not live to answer."""
    try:
        reply = server.enroll(credential, csr_for(new_key()), context=context)
    except (OSError, http.client.HTTPException, ssl.SSLError):
        return None
    assert reply.status in (200, 503), reply
    return reply.certificate() if reply.status == 200 else None


def test_the_signer_is_replaced_between_and_during_enrolments(server: Server) -> None:
    first = server.device(new_key())
    old = server.child("pkiserver.signer.worker")
    kill(old)
    second = server.device(new_key())
    new = server.child("pkiserver.signer.worker")
    assert new != old

    credential = server.credential("device", "CN=gate-1", "dns:gate-1.example.mn", uses=100)
    context = server.tls()
    with ThreadPoolExecutor(4) as pool:
        attempts = [pool.submit(enroll, server, credential, context) for _ in range(40)]
        kill(new)
        answers = [attempt.result() for attempt in attempts]
    acknowledged = [certificate for certificate in answers if certificate is not None]
    assert server.child("pkiserver.signer.worker") not in (old, new)
    last = server.enroll(credential, csr_for(new_key())).certificate()
    assert_consistent(server)
    for certificate in (first, second, last, *acknowledged):
        server.shows(certificate, "good")
    eventually(lambda: server.ready()[0] == 200, "readiness")
    assert server.metric("pkiserver_signer_restarts_total") == 2


def test_a_status_worker_is_replaced(server: Server) -> None:
    certificate = server.device(new_key())
    server.shows(certificate, "good")
    for _ in range(3):
        old = server.child("pkiserver.web.status_worker")
        kill(old)
        assert server.status_of(certificate) == "good"  # held by the listening socket, answered by the next
        assert server.child("pkiserver.web.status_worker") != old
    server.revoke(certificate)
    server.shows(certificate, "revoked")
    eventually(
        lambda: server.metric("pkiserver_status_worker_restarts_total") == 3, "the restarts to be counted"
    )


def load(server: Server, credential: Credential) -> Iterator[x509.Certificate]:
    context = server.tls()
    for _ in range(ENROLMENTS):
        certificate = enroll(server, credential, context)
        if certificate is None:
            return
        yield certificate


def test_the_whole_server_is_killed_under_load(home: Path) -> None:
    uses = CLIENTS * ENROLMENTS
    with doomed(home) as server:
        credential = server.credential("device", "CN=gate-1", "dns:gate-1.example.mn", uses=uses)
        acknowledged: list[x509.Certificate] = []

        def client() -> None:
            for certificate in load(server, credential):
                acknowledged.append(certificate)  # noqa: PERF402 - seen by the others as it happens

        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(client) for _ in range(CLIENTS)]
            eventually(lambda: len(acknowledged) >= CLIENTS, "enrolments under way")
            server.kill()
            for ended in clients:
                ended.result()
    assert CLIENTS <= len(acknowledged) < uses

    with running(home) as restarted:
        assert_consistent(restarted)
        recorded = {int(found["serial"], 16) for found in restarted.certificates()}
        assert {certificate.serial_number for certificate in acknowledged} <= recorded
        for certificate in acknowledged:
            assert restarted.status_of(certificate) == "good"
        (left,) = (found["uses_left"] for found in restarted.command("credential.list"))
        devices = [found for found in restarted.certificates() if found["profile"] == "device"]
        assert left == uses - len(devices)
        after = restarted.enroll(credential, csr_for(new_key())).certificate()
        restarted.shows(after, "good")
