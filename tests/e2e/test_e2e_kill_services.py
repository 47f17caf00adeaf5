"""Kills the server amid re-enrolment, fullcmc and serverkeygen; the next start makes good.

A client repeats what got no answer. With a key of its own it gets the certificate that was made, and no
second one. A key that was made here is lost with its answer: its certificate ends, and another is made.
"""

import base64
import http.client
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from client_messages import Credential, Reply, ask, csr_for, key_pem, new_key, renewal_csr
from consistency import assert_consistent, database_rows
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key
from foreign_clients import save_certificate
from server_harness import FAULTY, Server, copied, doomed, eventually, running
from test_e2e_est_services import SENSOR, full_request, pki_data, status_of, tcr, verified

from protocols.cmc.status import CMCStatus
from protocols.cms.content_info import read_content_info
from protocols.cms.signed_data import SignedData
from protocols.est.multipart import parse_multipart

pytestmark = pytest.mark.interop  # OpenSSL signs and verifies the messages of fullcmc

EST = "/.well-known/est"
SENSOR_PROFILE = "sensor"
# The step at which the server dies, and what it left behind for the next start.
STEPS = {
    "before:_reserve": "nothing",
    "after:_reserve": "signing",
    "after:_sign": "signing",
    "before:_record": "signing",
    "after:_record": "issued",
}
# The note of a delivery goes with the next commit.
STEPS_OF_DELIVERY = {"before:delivered": "issued", "after:delivered": "issued"}


QUICK = {"after:_sign", "after:_record", "before:sign", "before:_hand_over"}  # the others take minutes


def each(steps: Iterable[str], *more: object) -> list[Any]:
    """Return the cases of these steps; `make test` has the telling ones, `make test-long` all."""
    return [pytest.param(one, *more, marks=() if one in QUICK else pytest.mark.long) for one in steps]


@dataclass(frozen=True)
class Held:
    """A device's certificate with its key, in files as OpenSSL reads them."""

    home: Path
    key_file: Path
    certificate_file: Path
    certificate: x509.Certificate


@pytest.fixture(scope="module")
def enrolled_home(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Held:
    """A home with one device enrolled, and a profile whose keys are made here; copy it."""
    folder, key = tmp_path_factory.mktemp("killed"), new_key()
    home = copied(pristine, folder / "home")
    (home / "profiles").mkdir(exist_ok=True)
    (home / "profiles" / f"{SENSOR_PROFILE}.toml").write_text(SENSOR)
    with running(home) as server:
        certificate = server.device(key)
    (folder / "held.key").write_bytes(key_pem(key))
    return Held(home, folder / "held.key", save_certificate(folder / "held.pem", certificate), certificate)


@pytest.fixture
def held(enrolled_home: Held, tmp_path: Path) -> Held:
    home = copied(enrolled_home.home, tmp_path / "home")
    return Held(home, enrolled_home.key_file, enrolled_home.certificate_file, enrolled_home.certificate)


def left_behind(home: Path, requested_by: str, profile: str) -> str:
    """Return how far the one issuance to this kind of requester came, as the store has it."""
    rows = database_rows(home, "SELECT requested_by, profile, state, delivered_at FROM issuances")
    found = [row[2:] for row in rows if (row[0].partition(":")[0], row[1]) == (requested_by, profile)]
    if not found:
        return "nothing"
    [(state, delivered_at)] = found
    return "delivered" if delivered_at is not None else str(state)


def to_death(server: Server, request: Callable[[Server], Reply]) -> Reply | None:
    """Ask a server that dies of it; return the answer if it came out all the same."""
    try:
        reply = request(server)
    except (OSError, http.client.HTTPException, ssl.SSLError):
        reply = None
    server.wait_killed()
    return reply


def serials(server: Server, profile: str, status: str) -> set[int]:
    listed = server.certificates()
    return {int(one["serial"], 16) for one in listed if (one["profile"], one["status"]) == (profile, status)}


def post(
    server: Server,
    operation: str,
    body: bytes,
    content_type: str,
    context: ssl.SSLContext | None = None,
    credential: Credential | None = None,
) -> Reply:
    headers = {"Content-Type": content_type}
    if credential is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(credential.userpass.encode()).decode()
    connection = server.connection(context)
    try:
        return ask(connection, "POST", f"{EST}/{operation}", base64.b64encode(body), headers)
    finally:
        connection.close()


# ---- re-enrolment and fullcmc: the client has the key


def renewed(server: Server, held: Held, csr: x509.CertificateSigningRequest) -> Reply:
    context = server.tls((held.certificate_file, held.key_file))
    return post(server, "simplereenroll", csr.public_bytes(Encoding.DER), "application/pkcs10", context)


@pytest.mark.parametrize("step", each(STEPS | STEPS_OF_DELIVERY))
def test_killed_amid_a_re_enrolment(step: str, held: Held) -> None:
    """One certificate, whether the client repeats its request or signs it anew."""
    key = new_key()
    with doomed(held.home, program=FAULTY, environment={"PKISERVER_TEST_KILL": step}) as server:
        reply = to_death(server, lambda one: renewed(one, held, renewal_csr(held.certificate, key)))
    assert left_behind(held.home, "certificate", "device") == (STEPS | STEPS_OF_DELIVERY)[step]
    with running(held.home) as server:
        assert_consistent(server)
        certificate = renewed(server, held, renewal_csr(held.certificate, key)).certificate()
        assert reply is None or reply.certificate() == certificate
        assert certificate.public_key() == key.public_key()
        before = held.certificate.serial_number
        assert serials(server, "device", "active") == {before, certificate.serial_number}
        assert_consistent(server)


def certificate_for(key: ec.EllipticCurvePrivateKey, message: bytes) -> x509.Certificate:
    """Return the certificate of this key in a Full PKI Response."""
    signed_data = SignedData.from_content_info(read_content_info(message))
    found = [x509.load_der_x509_certificate(one) for one in signed_data.certificates]
    [certificate] = [one for one in found if one.public_key() == key.public_key()]
    return certificate


STEPS_OF_FULLCMC = STEPS | {"before:sign": "issued", "after:sign": "issued"} | STEPS_OF_DELIVERY


@pytest.mark.parametrize(
    ("step", "anew"),
    [*each(STEPS_OF_FULLCMC, False), *each(["after:_sign", "before:sign"], True)],
)
def test_killed_amid_fullcmc(step: str, anew: bool, held: Held, tmp_path: Path) -> None:
    """The repeat gets the certificate that was made: by the message, or by holder, key and names."""
    key, state = new_key(), STEPS_OF_FULLCMC[step]
    data = pki_data(tcr(renewal_csr(held.certificate, key)))

    def message() -> bytes:
        return full_request(tmp_path, data, held.key_file, held.certificate_file)

    sent = message()
    with doomed(held.home, program=FAULTY, environment={"PKISERVER_TEST_KILL": step}) as server:
        to_death(server, lambda one: post(one, "fullcmc", sent, "application/pkcs7-mime"))
    assert left_behind(held.home, "certificate", "device") == state
    with running(held.home) as server:
        assert_consistent(server)
        reply = post(server, "fullcmc", message() if anew else sent, "application/pkcs7-mime")
        assert reply.status == 200
        answer = base64.b64decode(reply.body, validate=True)
        assert status_of(verified(server, tmp_path, answer)).status is CMCStatus.SUCCESS
        certificate, before = certificate_for(key, answer), held.certificate.serial_number
        assert serials(server, "device", "active") == {before, certificate.serial_number}
        assert_consistent(server)


# ---- serverkeygen: the key is lost with its answer


def made(server: Server, credential: Credential) -> Reply:
    csr = csr_for(new_key(), "CN=sensor-1").public_bytes(Encoding.DER)
    path = f"{SENSOR_PROFILE}/serverkeygen"
    return post(server, path, csr, "application/pkcs10", credential=credential)


def key_and_certificate(reply: Reply) -> x509.Certificate:
    """Return the certificate of an answer whose key belongs to it."""
    assert reply.status == 200, reply
    key_part, certificate_part = parse_multipart(reply.body, reply.headers["content-type"])
    certificate = Reply(200, {}, base64.b64encode(certificate_part.content)).certificate()
    assert load_der_private_key(key_part.content, None).public_key() == certificate.public_key()
    return certificate


STEPS_OF_SERVERKEYGEN = STEPS | {
    "after:_reserve": "prepared",
    "after:_mark_signing": "signing",
    "before:_hand_over": "issued",
    "before:remove": "issued",  # written and not noted: nobody knows whether the client has it
    "after:_hand_over": "delivered",
}


@pytest.mark.parametrize("step", each(STEPS_OF_SERVERKEYGEN))
def test_killed_amid_serverkeygen(step: str, held: Held) -> None:
    """A certificate whose key nobody has is revoked, and the credential makes another of another key."""
    with doomed(held.home, program=FAULTY, environment={"PKISERVER_TEST_KILL": step}) as server:
        credential = server.credential(SENSOR_PROFILE, "CN=sensor-1")
        reply = to_death(server, lambda one: made(one, credential))
    state = left_behind(held.home, "credential", SENSOR_PROFILE)
    assert state == STEPS_OF_SERVERKEYGEN[step]
    with running(held.home) as server:
        assert_consistent(server)
        if state == "delivered":
            assert reply is not None
            certificate = key_and_certificate(reply)
            assert made(server, credential).status == 401
            lost = set()
        else:
            lost = revoked_key(server) if state in ("signing", "issued") else set()
            assert reply is None or {key_and_certificate(reply).serial_number} == lost
            certificate = key_and_certificate(made(server, credential))
        assert serials(server, SENSOR_PROFILE, "active") == {certificate.serial_number}
        assert serials(server, SENSOR_PROFILE, "revoked") == lost
        assert made(server, credential).status == 401
        server.shows(certificate, "good")
        assert database_rows(held.home, "SELECT * FROM undelivered_keys") == []
        assert_consistent(server)


def revoked_key(server: Server) -> set[int]:
    """Return the serial of the certificate that the start revoked."""
    lost = eventually(lambda: serials(server, SENSOR_PROFILE, "revoked"), "the lost key's certificate to end")
    assert len(lost) == 1
    return lost
