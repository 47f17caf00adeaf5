"""Kills the server before and after each named step of an issuance; the next start makes good.

Whatever the moment, there is no certificate or a recorded one, and never two for one credential.
"""

import http.client
import ssl
from pathlib import Path

import pytest
from client_messages import Credential, Reply, csr_for, new_key
from consistency import assert_consistent, database_rows
from cryptography import x509
from server_harness import FAULTY, Server, doomed, eventually, running

# The step at which the server dies, and what it left behind for the next start.
STEPS = {
    "before:_reserve": "nothing",
    "after:_reserve": "signing",
    "before:_sign": "signing",
    "after:_sign": "signing",
    "before:_assemble": "signing",
    "after:_assemble": "signing",
    "before:_record": "signing",
    "after:_record": "issued",
    "before:delivered": "issued",
    "after:delivered": "issued",  # the note of it goes with the next commit
}
KEY, OTHER_KEY = new_key(), new_key()


def left_behind(home: Path) -> str:
    """Return how far the issuance of the credential came, as the store has it."""
    rows = database_rows(
        home, "SELECT state, delivered_at FROM issuances WHERE credential IS NOT NULL ORDER BY id"
    )
    assert len(rows) <= 1
    if not rows:
        return "nothing"
    state, delivered_at = rows[0]
    return "delivered" if delivered_at is not None else str(state)


def enroll_to_death(server: Server, credential: Credential) -> x509.Certificate | None:
    """Enrol at a server that dies of it; return the certificate if it came out all the same."""
    try:
        reply = server.enroll(credential, csr_for(KEY))
    except (OSError, http.client.HTTPException, ssl.SSLError):
        return None
    return reply.certificate()


def issued_to(server: Server) -> list[str]:
    return [found["serial"] for found in server.certificates() if found["profile"] == "device"]


def again(server: Server, credential: Credential) -> Reply:
    return server.enroll(credential, csr_for(KEY))


@pytest.mark.parametrize("step", STEPS)
def test_killed_at(step: str, home: Path) -> None:
    with doomed(home, program=FAULTY, environment={"PKISERVER_TEST_KILL": step}) as server:
        credential = server.credential("device", "CN=gate-1", "dns:gate-1.example.mn")
        before_death = enroll_to_death(server, credential)
        server.wait_killed()
    assert left_behind(home) == STEPS[step]

    with running(home) as restarted:
        assert_consistent(restarted)
        if STEPS[step] == "nothing":
            assert before_death is None
            assert_unused(restarted, credential)
        else:
            assert_given_again(restarted, credential, before_death)
        assert_consistent(restarted)


def test_killed_when_the_delivery_was_noted(home: Path) -> None:
    with doomed(home) as server:
        credential = server.credential("device", "CN=gate-1", "dns:gate-1.example.mn")
        certificate = server.enroll(credential, csr_for(KEY)).certificate()
        eventually(lambda: left_behind(home) == "delivered", "the delivery to be noted")
        server.kill()
    with running(home) as restarted:
        assert_consistent(restarted)
        assert_taken(restarted, credential, certificate)
        assert_consistent(restarted)


def assert_spent(server: Server, credential: Credential) -> None:
    """The credential gives no more; a client quicker than the note of the delivery may get the same again."""
    eventually(lambda: again(server, credential).status == 401, "the delivery to be noted")


def assert_unused(server: Server, credential: Credential) -> None:
    """Nothing was issued, and the credential is as good as before: for one certificate."""
    assert issued_to(server) == []
    certificate = again(server, credential).certificate()
    assert [int(serial, 16) for serial in issued_to(server)] == [certificate.serial_number]
    assert_spent(server, credential)
    assert len(issued_to(server)) == 1
    server.shows(certificate, "good")


def assert_given_again(server: Server, credential: Credential, before_death: x509.Certificate | None) -> None:
    """One certificate is on record, and goes once more to the same credential and key, not to another."""
    (serial,) = issued_to(server)
    assert server.enroll(credential, csr_for(OTHER_KEY)).status == 401
    certificate = again(server, credential).certificate()
    assert certificate.serial_number == int(serial, 16)
    assert before_death in (None, certificate)
    assert certificate.public_key() == KEY.public_key()
    certificate.verify_directly_issued_by(server.ca("infrastructure"))
    assert_spent(server, credential)
    assert issued_to(server) == [serial]
    server.shows(certificate, "good")


def assert_taken(server: Server, credential: Credential, certificate: x509.Certificate) -> None:
    """The client has its certificate, so that the credential gives no more."""
    assert [int(serial, 16) for serial in issued_to(server)] == [certificate.serial_number]
    assert again(server, credential).status == 401
    server.shows(certificate, "good")
