"""Enrolments that await approval: as clients, operators and registration clients see them, and kill -9."""

import base64
import http.client
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_messages import Credential, Reply, ask, csr_for, key_pem, new_key, renewal_csr
from consistency import assert_consistent, database_rows
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from foreign_clients import save_certificate, tool, worked
from server_harness import FAULTY, Server, done, doomed, eventually, run_program, running

from config.profile import SHIPPED_PROFILES

SUBJECT = "CN=gate-1"
EST = "/.well-known/est"


def awaiting_approval(home: Path, retry_after: str = "1s") -> Path:
    """Have the profile `gate`, a copy of `device`, await approval."""
    (home / "profiles").mkdir(exist_ok=True)
    text = (SHIPPED_PROFILES / "device.toml").read_text()
    (home / "profiles" / "gate.toml").write_text(text.replace("\nissuer", "\napproval = true\nissuer", 1))
    configuration = home / "pkiserver.toml"
    text = configuration.read_text()
    assert 'retry_after = "10m"' in text
    configuration.write_text(text.replace('retry_after = "10m"', f'retry_after = "{retry_after}"'))
    return home


@pytest.fixture
def gates(home: Path) -> Iterator[Server]:
    with running(awaiting_approval(home)) as server:
        yield server


def waiting(server: Server) -> list[int]:
    rows = server.command("enrollment.list", state="waiting", limit=100)
    return [row["enrollment"] for row in rows]


def certificates_of_gates(server: Server) -> list[str]:
    return [found["serial"] for found in server.certificates() if found["profile"] == "gate"]


def post(
    server: Server, operation: str, csr: x509.CertificateSigningRequest, client: tuple[Path, Path]
) -> Reply:
    """Ask with a client certificate alone."""
    connection = server.connection(server.tls(client))
    body = base64.b64encode(csr.public_bytes(Encoding.DER))
    try:
        return ask(connection, "POST", f"{EST}/{operation}", body, {"Content-Type": "application/pkcs10"})
    finally:
        connection.close()


def files(folder: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    (folder / "key.pem").write_bytes(key_pem(key))
    return save_certificate(folder / "certificate.pem", certificate), folder / "key.pem"


def assert_told_to_wait(reply: Reply, seconds: str = "1") -> None:
    assert (reply.status, reply.body) == (202, b"")
    assert reply.headers["retry-after"] == seconds
    assert reply.headers["content-length"] == "0"
    assert "content-type" not in reply.headers


def test_an_enrolment_from_202_to_the_certificate(home: Path, tmp_path: Path) -> None:
    """The state outlives the server, and the client signs anew, as it must with tls-unique."""
    key = new_key()
    with running(awaiting_approval(home, "90s")) as server:
        credential = server.credential("gate", SUBJECT)
        assert_told_to_wait(server.enroll(credential, csr_for(key)), "90")
    with running(home) as server:
        assert_told_to_wait(server.enroll(credential, csr_for(key)), "90")
        listed = done(run_program(home, "enrollment", "list"))
        assert "waiting" in listed
        assert SUBJECT in listed
        assert server.metric("pkiserver_enrollments_waiting") == 1
        assert "approved" in done(run_program(home, "enrollment", "approve", "1"))
    shown = done(run_program(home, "enrollment", "show", "1"))  # also while no server runs
    assert f"user:{subprocess.check_output(['id', '-un'], text=True).strip()}" in shown
    with running(home) as server:
        certificate = server.enroll(credential, csr_for(key)).certificate()
        assert certificate.public_key() == key.public_key()
        server.shows(certificate, "good")
        held = files(tmp_path / "held", key, certificate)
        new = new_key()
        assert_told_to_wait(post(server, "simplereenroll", renewal_csr(certificate, new), held), "90")
        assert waiting(server) == [2]
        refuse = ("enrollment", "refuse", "2", "--reason", "this gate was torn down")
        assert "refused" in done(run_program(home, *refuse))
        refused = post(server, "simplereenroll", renewal_csr(certificate, new), held)
        assert (refused.status, refused.body) == (403, b"enrolment 2 was refused: this gate was torn down\n")
        assert len(certificates_of_gates(server)) == 1


def test_an_ra_enrols_others(gates: Server, tmp_path: Path) -> None:
    ra_key = new_key()
    ra = gates.issued(ra_key, "registration-client", "CN=station-1")
    client = files(tmp_path / "ra", ra_key, ra)
    home, request = gates.home, csr_for(new_key(), "CN=gate-9")
    assert post(gates, "gate/simpleenroll", request, client).status == 403
    added = done(
        run_program(home, "actor", "add", "station-1", "--certificate", str(client[0]), "--role", "ra")
    )
    assert "CN=station-1" in added
    assert_told_to_wait(post(gates, "gate/simpleenroll", request, client))
    done(run_program(home, "enrollment", "approve", "1"))
    certificate = post(gates, "gate/simpleenroll", request, client).certificate()
    assert certificate.subject.rfc4514_string() == "CN=gate-9"
    gates.suspend(ra)
    other = csr_for(new_key(), "CN=gate-10")
    assert b"client certificate is suspended" in post(gates, "gate/simpleenroll", other, client).body
    gates.restore(ra)
    assert_told_to_wait(post(gates, "gate/simpleenroll", other, client))
    done(run_program(home, "actor", "remove", "station-1"))
    assert b"not registered" in post(gates, "gate/simpleenroll", other, client).body
    assert "station-1" in done(run_program(home, "actor", "list"))


# strongSwan


@pytest.mark.interop
def test_strongswan_waits_as_it_is_told(gates: Server, strongswan: str, tmp_path: Path) -> None:
    """`pki` keeps to Retry-After where that is longer than its own interval."""
    key = tmp_path / "key.pem"
    key.write_bytes(key_pem(new_key()))
    csr = worked(tool(strongswan, "--req", "--in", key, "--type", "priv", "--dn", SUBJECT))
    (tmp_path / "csr").write_bytes(csr)
    credential = gates.credential("gate", SUBJECT)
    url = f"https://127.0.0.1:{gates.port('https')}"
    command = [
        *(strongswan, "--est", "--url", url, "--in", tmp_path / "csr", "--cacert", gates.root_pem),
        *("--userpass", credential.userpass, "--interval", "1", "--maxpolltime", "120"),
    ]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as polling:
        try:
            eventually(lambda: waiting(gates) == [1], "the request to wait")
            assert polling.poll() is None
            gates.command("enrollment.approve", enrollment=1)
            certificate, complaints = polling.communicate(timeout=60)
        finally:
            polling.kill()
    assert polling.returncode == 0, complaints.decode()
    assert b"EST request pending, polling every 1 seconds" in complaints
    assert x509.load_der_x509_certificate(certificate).subject.rfc4514_string() == SUBJECT
    assert len(certificates_of_gates(gates)) == 1


@pytest.mark.interop
def test_curl_comes_again_by_itself(gates: Server, tmp_path: Path) -> None:
    credential, csr = gates.credential("gate", SUBJECT), csr_for(new_key())
    (tmp_path / "csr").write_bytes(csr.public_bytes(Encoding.PEM))
    command = (
        *("curl", "-sS", "--fail-with-body", "--cacert", gates.root_pem, "-u", credential.userpass),
        *("-H", "Content-Type: application/pkcs10", "--data-binary", f"@{tmp_path / 'csr'}"),
        *("-w", "%{http_code}", f"{gates.est_url}/simpleenroll"),
    )
    assert worked(tool(*command)) == b"202"
    gates.command("enrollment.approve", enrollment=1)
    assert worked(tool(*command)).endswith(b"200")


# kill -9

# The step at which the server dies, and how the enrolment stands before the next start makes good.
STEPS = {
    "before:_reserve": "approved",
    "after:_reserve": "approved",
    "after:_sign": "approved",
    "before:_record": "approved",
    "after:_record": "issued",
    "before:delivered": "issued",
    "after:delivered": "issued",  # the note of it goes with the next commit
}


def stored_state(home: Path) -> str:
    [(state,)] = database_rows(home, "SELECT state FROM enrollments")
    delivered = "SELECT 1 FROM issuances WHERE enrollment IS NOT NULL AND delivered_at IS NOT NULL"
    return "delivered" if database_rows(home, delivered) else str(state)


def to_death(server: Server, credential: Credential, csr: x509.CertificateSigningRequest) -> Reply | None:
    try:
        return server.enroll(credential, csr)
    except (OSError, http.client.HTTPException, ssl.SSLError):
        return None


@pytest.mark.parametrize("step", STEPS)
def test_killed_between_approval_and_delivery(step: str, home: Path) -> None:
    """Whatever the moment, one approval makes one certificate, and the client's repeat gets that one."""
    key = new_key()
    with running(awaiting_approval(home)) as server:
        credential = server.credential("gate", SUBJECT, uses=9)
        assert_told_to_wait(server.enroll(credential, csr_for(key)))
        server.command("enrollment.approve", enrollment=1)
    with doomed(home, program=FAULTY, environment={"PKISERVER_TEST_KILL": step}) as server:
        before_death = to_death(server, credential, csr_for(key))
        server.wait_killed()
    assert stored_state(home) == STEPS[step]
    with running(home) as restarted:
        certificate = restarted.enroll(credential, csr_for(key)).certificate()
        assert before_death is None or before_death.certificate() == certificate
        assert [int(one, 16) for one in certificates_of_gates(restarted)] == [certificate.serial_number]
        eventually(
            lambda: restarted.enroll(credential, csr_for(key)).status == 202, "another decision to be needed"
        )
        assert waiting(restarted) == [2]
        assert len(certificates_of_gates(restarted)) == 1
        assert_consistent(restarted)


@pytest.mark.parametrize(("step", "state"), [("before:decide", "waiting"), ("after:decide", "approved")])
def test_killed_as_it_is_approved(step: str, state: str, home: Path) -> None:
    key = new_key()
    with doomed(awaiting_approval(home), program=FAULTY, environment={"PKISERVER_TEST_KILL": step}) as server:
        credential = server.credential("gate", SUBJECT)
        assert_told_to_wait(server.enroll(credential, csr_for(key)))
        assert run_program(home, "enrollment", "approve", "1").returncode != 0
        server.wait_killed()
    assert stored_state(home) == state
    with running(home) as restarted:
        if state == "waiting":
            assert_told_to_wait(restarted.enroll(credential, csr_for(key)))
            restarted.command("enrollment.approve", enrollment=1)
        assert restarted.enroll(credential, csr_for(key)).status == 200
        assert len(certificates_of_gates(restarted)) == 1
        assert_consistent(restarted)
