"""Bouncy Castle's EST and CMC, in a small client of ours (`tests/interop/EstClient.java`)."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key
from foreign_clients import tool, worked
from server_harness import Server, copied, running
from test_e2e_est_services import SENSOR

from protocols import oid

pytestmark = pytest.mark.interop

SOURCE = Path(__file__).parents[1] / "interop" / "EstClient.java"
JARS = [Path("/usr/share/java") / f"{name}.jar" for name in ("bcpkix", "bcprov", "bcutil")]
SUBJECT = "CN=gate-7"

Client = Callable[..., list[str]]


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path of the client, compiled by the system's Java."""
    javac = shutil.which("javac")
    if javac is None or not all(jar.exists() for jar in JARS):
        pytest.skip("no Java compiler, or no Bouncy Castle (default-jdk-headless, libbcpkix-java)")
    folder = tmp_path_factory.mktemp("classes")
    jars = ":".join(map(str, JARS))
    worked(tool(javac, "-nowarn", "-cp", jars, "-d", folder, SOURCE))
    return f"{folder}:{jars}"


@pytest.fixture(scope="module")
def server(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = copied(pristine, tmp_path_factory.mktemp("bouncy") / "home")
    (home / "profiles").mkdir(exist_ok=True)
    (home / "profiles" / "sensor.toml").write_text(SENSOR)
    with running(home) as started:
        yield started


@pytest.fixture
def client(classes: str, server: Server, tmp_path: Path) -> Client:
    """Runs one operation; returns the lines that it printed."""

    def run(operation: str, label: str = "-", userpass: str = ":", subject: str = SUBJECT) -> list[str]:
        address = f"localhost:{server.port('https')}"
        given = (address, label, server.root_pem, tmp_path, *userpass.split(":"), subject)
        return worked(tool("java", "-cp", classes, "EstClient", operation, *given)).decode().splitlines()

    return run


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
