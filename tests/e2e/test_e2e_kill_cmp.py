"""Kills the server in the middle of CMP: of an ir, of its answer, of its certConf; the next start makes good.

No certificate is without a record or a transaction, and whoever sends the same message again gets the same
certificate, or the same pkiConf, and no second one.
"""

import http.client
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from client_messages import Credential
from consistency import assert_consistent, database_rows
from cryptography import x509
from server_harness import FAULTY, PATIENCE_S, Server, doomed, running

from pkiserver.core import Core
from pkiserver.ra.credentials import NewCredential
from protocols.cmp.bodies import BodyType
from protocols.cmp.message import parse_pki_message
from protocols.cmp.status import PKIFailureInfo
from tests.cmp_messages import Answer, ByMAC, Client, confirm_body, new_key, request_body

# The step at which the server dies, and what became of issuance and transaction until then.
IR = {
    "before:_reserve": [],
    "after:_reserve": [("signing", "unconfirmed")],
    "before:_sign": [("signing", "unconfirmed")],
    "after:_sign": [("signing", "unconfirmed")],
    "before:_record": [("signing", "unconfirmed")],
    "after:_record": [("issued", "unconfirmed")],
    "before:message": [("issued", "unconfirmed")],
    "after:message": [("issued", "unconfirmed")],
}
CERT_CONF = {
    "before:confirm": [("issued", "unconfirmed")],
    "after:confirm": [("issued", "confirmed")],
}
QUICK = {"after:_sign", "after:confirm"}  # the others take a minute; `make test-long` has all


def each(steps: Iterable[str]) -> list[Any]:
    return [pytest.param(one, marks=() if one in QUICK else pytest.mark.long) for one in steps]


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)


def client_of(credential: Credential) -> Client:
    """Return a client whose messages are sent by `post`, not to a core."""
    known = NewCredential(credential.reference, credential.secret, datetime.max.replace(tzinfo=UTC))
    return Client(cast("Core", SimpleNamespace(clock=Clock())), ByMAC(known))


def post(server: Server, message: bytes) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port("http"), timeout=PATIENCE_S)
    try:
        connection.request("POST", "/.well-known/cmp", message, {"Content-Type": "application/pkixcmp"})
        response = connection.getresponse()
        assert response.status == 200
        return Answer(parse_pki_message(response.read()))
    finally:
        connection.close()


def post_to_death(server: Server, message: bytes) -> None:
    """Send a message of which the server dies; its HTTP worker may still have time to say 503."""
    with pytest.raises((OSError, http.client.HTTPException, AssertionError)):
        post(server, message)
    server.wait_killed()


def left_behind(home: Path) -> list[tuple[str, str]]:
    """Return how far the issuances that CMP began came, each with its transaction."""
    return database_rows(
        home,
        "SELECT i.state, t.state FROM issuances i JOIN cmp_requests r ON r.issuance = i.id"
        " JOIN cmp_transactions t ON t.id = r.cmp_transaction ORDER BY i.id",
    )


def devices(server: Server) -> list[int]:
    return [int(one["serial"], 16) for one in server.certificates() if one["profile"] == "device"]


def confirmed(server: Server, client: Client, answer: Answer) -> None:
    client.recip_nonce = answer.message.header.sender_nonce
    assert post(server, client.build(confirm_body(answer.certificate))).body is BodyType.PKICONF


@pytest.mark.parametrize("step", each(IR))
def test_killed_amid_an_ir(step: str, home: Path) -> None:
    with doomed(home, program=FAULTY, environment={"PKISERVER_TEST_KILL": step}) as server:
        credential = server.credential("device", "CN=sensor-7", use="cmp")
        client = client_of(credential)
        sent = client.build(request_body(BodyType.IR, new_key()))
        post_to_death(server, sent)
    assert left_behind(home) == IR[step]

    with running(home) as restarted:
        answer = post(restarted, sent)
        certificate = x509.load_der_x509_certificate(answer.certificate)
        assert devices(restarted) == [certificate.serial_number]
        assert post(restarted, sent).certificate == answer.certificate
        other = post(restarted, client_of(credential).build(request_body(BodyType.IR, new_key())))
        assert other.failure is PKIFailureInfo.NOT_AUTHORIZED
        confirmed(restarted, client, answer)
        assert devices(restarted) == [certificate.serial_number]
        restarted.shows(certificate, "good")
        assert_consistent(restarted)


@pytest.mark.parametrize("step", each(CERT_CONF))
def test_killed_amid_a_cert_conf(step: str, home: Path) -> None:
    with doomed(home, program=FAULTY, environment={"PKISERVER_TEST_KILL": step}) as server:
        client = client_of(server.credential("device", "CN=sensor-7", use="cmp"))
        answer = post(server, client.build(request_body(BodyType.IR, new_key())))
        client.recip_nonce = answer.message.header.sender_nonce
        confirmation = client.build(confirm_body(answer.certificate))
        post_to_death(server, confirmation)
    assert left_behind(home) == CERT_CONF[step]

    with running(home) as restarted:
        for _ in range(2):
            assert post(restarted, confirmation).body is BodyType.PKICONF
        certificate = x509.load_der_x509_certificate(answer.certificate)
        assert devices(restarted) == [certificate.serial_number]
        restarted.shows(certificate, "good")
        assert_consistent(restarted)
