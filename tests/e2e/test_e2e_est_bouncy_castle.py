"""Bouncy Castle's EST and CMC, in a small client of ours (`tests/interop/EstClient.java`)."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key
from foreign_clients import tool, worked
from server_harness import Server, copied, eventually, running
from test_e2e_approval import awaiting_approval, waiting
from test_e2e_est_services import SENSOR

from config.profile import SHIPPED_PROFILES
from protocols import oid

pytestmark = pytest.mark.interop

SOURCE = Path(__file__).parents[1] / "interop" / "EstClient.java"
JARS = [Path("/usr/share/java") / f"{name}.jar" for name in ("bcpkix", "bcprov", "bcutil", "bctls")]
SUBJECT = "CN=gate-7"

Client = Callable[..., list[str]]


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path of the client, compiled by the system's Java."""
    javac = shutil.which("javac")
    if javac is None or not all(jar.exists() for jar in JARS):
        pytest.skip(
            "no Java compiler, or no Bouncy Castle (default-jdk-headless, libbcpkix-java, libbctls-java)"
        )
    folder = tmp_path_factory.mktemp("classes")
    jars = ":".join(map(str, JARS))
    worked(tool(javac, "-nowarn", "-cp", jars, "-d", folder, SOURCE))
    return f"{folder}:{jars}"


@pytest.fixture(scope="module")
def server(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = copied(pristine, tmp_path_factory.mktemp("bouncy") / "home")
    (home / "profiles").mkdir(exist_ok=True)
    (home / "profiles" / "sensor.toml").write_text(SENSOR)
    linked = (SHIPPED_PROFILES / "device.toml").read_text()
    (home / "profiles" / "linked.toml").write_text('pop_linking = "required"\n' + linked)
    awaiting_approval(home)
    with running(home) as started:
        yield started


@pytest.fixture
def client(command: Callable[..., list[str]]) -> Client:
    """Runs one operation; returns the lines that it printed."""

    def run(operation: str, label: str = "-", userpass: str = ":", subject: str = SUBJECT) -> list[str]:
        return worked(tool(*command(operation, label, userpass, subject))).decode().splitlines()

    return run


@pytest.fixture
def command(classes: str, server: Server, tmp_path: Path) -> Callable[..., list[str]]:
    """Returns the command line of one operation."""

    def of(operation: str, label: str, userpass: str, subject: str) -> list[str]:
        address = f"localhost:{server.port('https')}"
        given = (address, label, server.root_pem, tmp_path, *userpass.split(":"), subject)
        return ["java", "-cp", classes, "EstClient", operation, *map(str, given)]

    return of


def got(folder: Path) -> x509.Certificate:
    """Return the certificate that the client keeps, whose key it has."""
    key = load_der_private_key((folder / "key.der").read_bytes(), None)
    certificate = x509.load_der_x509_certificate((folder / "certificate.der").read_bytes())
    assert certificate.public_key() == key.public_key()
    return certificate


def test_cacerts(client: Client) -> None:
    assert len(client("cacerts")) == 4


def test_csrattrs(client: Client) -> None:
    found = client("csrattrs", "sensor")
    assert oid.EXTENSION_REQUEST in found
    assert oid.COMMON_NAME in found
    assert oid.AA_CERTIFICATION_REQUEST_INFO_TEMPLATE in found


def test_enrol_renew_and_rekey_by_cmc(client: Client, server: Server, tmp_path: Path) -> None:
    credential = server.credential("device", SUBJECT)
    client("simpleenroll", userpass=credential.userpass)
    enrolled = got(tmp_path)
    client("simplereenroll")
    renewed = got(tmp_path)
    assert client("fullcmc") == ["status 0 of 1"]
    rekeyed = got(tmp_path)
    assert len({one.serial_number for one in (enrolled, renewed, rekeyed)}) == 3
    assert {one.subject for one in (enrolled, renewed, rekeyed)} == {enrolled.subject}
    assert client("fullcmc", subject="CN=somebody else") == ["status 2 of 1"]
    assert got(tmp_path) == rekeyed


def test_serverkeygen(client: Client, server: Server, tmp_path: Path) -> None:
    credential = server.credential("sensor", "CN=sensor-5")
    client("serverkeygen", "sensor", credential.userpass, "CN=sensor-5")
    server.shows(got(tmp_path), "good")


def test_waits_for_approval(command: Callable[..., list[str]], server: Server, tmp_path: Path) -> None:
    """202 without a body, and the same request again after Retry-After, until somebody has approved it."""
    credential = server.credential("gate", SUBJECT)
    given = command("simpleenroll", "gate", credential.userpass, SUBJECT)
    with subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as polling:
        try:
            [enrollment] = eventually(lambda: waiting(server), "the request to wait")
            assert polling.stdout is not None
            assert polling.stdout.readline() == "waits\n"
            server.command("enrollment.approve", enrollment=enrollment)
            printed, complaints = polling.communicate(timeout=60)
        finally:
            polling.kill()
    assert polling.returncode == 0, complaints
    assert printed.splitlines()[-1] == SUBJECT
    server.shows(got(tmp_path), "good")


def test_refusals(client: Client, server: Server, tmp_path: Path) -> None:
    """401, whose body is empty, is told as what it is, and so is a refusal with a reason."""
    credential = server.credential("device", SUBJECT)
    assert client("simpleenroll", userpass=f"{credential.reference}:wrong") == ["refused 401"]
    assert client("serverkeygen", userpass=credential.userpass) == ["refused 403"]
    assert client("simpleenroll", "nonsense", credential.userpass) == ["refused 404"]
    assert client("simpleenroll", userpass=credential.userpass) == [SUBJECT]
    server.shows(got(tmp_path), "good")


def test_linked_by_tls_unique(client: Client, server: Server, tmp_path: Path) -> None:
    """RFC 7030 §3.5, by another implementation of TLS 1.2."""
    credential = server.credential("linked", SUBJECT)
    assert client("simpleenroll", "linked", credential.userpass) == ["refused 400"]
    assert client("linked", "linked", credential.userpass) == [SUBJECT]
    server.shows(got(tmp_path), "good")
