"""`openssl cmp` of this machine against a running server: every command that it offers, as it sends it."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from client_messages import Credential
from cryptography import x509
from foreign_clients import tool, worked
from server_harness import PATIENCE_S, Server, eventually, running, start

from config.profile import SHIPPED_PROFILES
from store.database import Transaction, read_only

pytestmark = pytest.mark.interop
SUBJECT = "/O=Example/CN=gate-7"


@dataclass
class OpenSSL:
    """One client with its files."""

    server: Server
    folder: Path
    https: bool = False

    def credential(
        self, profile: str = "device", subject: str = "CN=gate-7,O=Example", uses: int = 1
    ) -> Credential:
        return self.server.credential(profile, subject, uses=uses, use="cmp")

    def key(self, name: str, *kind: str) -> Path:
        path = self.folder / f"{name}.key"
        kind = kind or ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        worked(tool("openssl", "genpkey", *kind, "-out", path))
        return path

    def run(self, *arguments: str | Path, path: str = "/.well-known/cmp") -> tuple[int, str]:
        """Run `openssl cmp`; return its status and what it said."""
        port = self.server.port("https" if self.https else "http")
        tls = ("-tls_used", "-tls_trusted", self.server.root_pem) if self.https else ()
        done = tool(
            *("openssl", "cmp", "-config", "", "-server", f"127.0.0.1:{port}", "-path", path, *tls),
            *("-trusted", self.server.root_pem, "-verbosity", "6", *arguments),
        )
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def enroll(
        self, command: str, name: str, *arguments: str | Path, path: str = "/.well-known/cmp"
    ) -> x509.Certificate:
        """Return the certificate of a command that must succeed; openssl has verified its chain."""
        made = self.folder / f"{name}.pem"
        made.unlink(missing_ok=True)
        status, said = self.run("-cmd", command, "-certout", made, *arguments, path=path)
        assert status == 0, said
        return x509.load_pem_x509_certificate(made.read_bytes())

    def secret(self, credential: Credential) -> tuple[str, ...]:
        return ("-ref", credential.reference, "-secret", f"pass:{credential.secret}")

    def holder(self, name: str = "held") -> tuple[str | Path, ...]:
        """Return the options of who holds a new certificate."""
        key = self.key(name)
        credential = self.credential()
        self.enroll("ir", name, *self.secret(credential), "-newkey", key, "-subject", SUBJECT)
        return ("-cert", self.folder / f"{name}.pem", "-key", key)


@pytest.fixture(scope="module")
def openssl(shared: Server, tmp_path_factory: pytest.TempPathFactory) -> OpenSSL:
    if shutil.which("openssl") is None or tool("openssl", "cmp", "-help").returncode != 0:
        pytest.skip("needs openssl with the command cmp (3.0 or later)")
    return OpenSSL(shared, tmp_path_factory.mktemp("openssl-cmp"))


@pytest.mark.parametrize("door", ["http", "https"])
@pytest.mark.parametrize("confirm", [(), ("-implicit_confirm",), ("-disable_confirm",)], ids=str)
def test_ir_by_a_secret(openssl: OpenSSL, door: str, confirm: tuple[str, ...]) -> None:
    client = OpenSSL(openssl.server, openssl.folder, https=door == "https")
    if door == "https" and not shutil.which("openssl"):
        pytest.skip("needs openssl")
    key = client.key("ir")
    asked = (*client.secret(client.credential()), "-newkey", key, "-subject", SUBJECT, *confirm)
    certificate = client.enroll("ir", "ir", *asked)
    assert certificate.subject.rfc4514_string() == "CN=gate-7,O=Example"
    client.server.shows(certificate, "good")


@pytest.mark.parametrize(
    "kind",
    [
        ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
        ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    ],
    ids=["P-384", "RSA"],
)
def test_kinds_of_keys_and_their_signatures(openssl: OpenSSL, kind: tuple[str, ...]) -> None:
    key, new = openssl.key("kind", *kind), openssl.key("kind-new", *kind)
    openssl.enroll("ir", "kind", *openssl.secret(openssl.credential()), "-newkey", key, "-subject", SUBJECT)
    openssl.enroll("kur", "kind2", "-cert", openssl.folder / "kind.pem", "-key", key, "-newkey", new)


def test_kur(openssl: OpenSSL) -> None:
    held = openssl.holder()
    certificate = openssl.enroll("kur", "kur", *held, "-newkey", openssl.key("kur"))
    assert certificate.subject.rfc4514_string() == "CN=gate-7,O=Example"


def test_cr(openssl: OpenSSL) -> None:
    held = openssl.holder()
    openssl.enroll("cr", "cr", *held, "-newkey", openssl.key("cr"), "-subject", SUBJECT)


@pytest.mark.parametrize("protection", ["secret", "certificate"])
def test_p10cr(openssl: OpenSSL, protection: str) -> None:
    key, csr = openssl.key("p10"), openssl.folder / "p10.csr"
    worked(tool("openssl", "req", "-new", "-key", key, "-subj", SUBJECT, "-out", csr))
    by = openssl.holder() if protection == "certificate" else openssl.secret(openssl.credential())
    certificate = openssl.enroll("p10cr", "p10", *by, "-csr", csr)
    assert certificate.subject.rfc4514_string() == "CN=gate-7,O=Example"


@pytest.mark.parametrize(
    ("reason", "status"), [("-1", "revoked"), ("1", "revoked"), ("4", "revoked"), ("6", "revoked")]
)
def test_rr(openssl: OpenSSL, reason: str, status: str) -> None:
    held = openssl.holder("revoked")
    path = openssl.folder / "revoked.pem"
    done, said = openssl.run("-cmd", "rr", *held, "-oldcert", path, "-revreason", reason)
    assert done == 0, said
    openssl.server.shows(x509.load_pem_x509_certificate(path.read_bytes()), status)
    done, said = openssl.run("-cmd", "kur", *held, "-newkey", openssl.key("late"), "-certout", "/dev/null")
    assert done != 0
    assert ("certRevoked" if reason != "6" else "notAuthorized") in said


def test_a_path_that_names_profile_and_operation(openssl: OpenSSL) -> None:
    asked = (*openssl.secret(openssl.credential()), "-newkey", openssl.key("path"), "-subject", SUBJECT)
    openssl.enroll("ir", "path", *asked, path="/.well-known/cmp/p/device/initialization")
    asked = (*openssl.secret(openssl.credential()), "-newkey", openssl.key("path"), "-subject", SUBJECT)
    done, said = openssl.run(
        "-cmd", "ir", "-certout", "/dev/null", *asked, path="/.well-known/cmp/p/tls-server"
    )
    assert done != 0
    assert "notAuthorized" in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-cmd", "ir", "-secret", "pass:wrong"), "badMessageCheck"),
        (("-cmd", "ir", "-unprotected_requests"), "badMessageCheck"),
        (("-cmd", "ir", "-popo", "-1"), "badPOP"),
        (("-cmd", "ir", "-popo", "0"), "notAuthorized"),
        (
            (
                "-cmd",
                "kur",
            ),
            "wrongIntegrity",
        ),
    ],
    ids=["secret", "unprotected", "no-popo", "raverified", "kur"],
)
def test_what_is_refused(openssl: OpenSSL, arguments: tuple[str, ...], told: str) -> None:
    key = openssl.key("refused")
    held = openssl.holder("old")[1]
    done, said = openssl.run(
        *openssl.secret(openssl.credential()),
        *("-newkey", key, "-subject", SUBJECT, "-oldcert", held, "-certout", "/dev/null", *arguments),
    )
    assert done != 0
    assert told in said


RELEVANT = ("caProtEncCert", "signKeyPairTypes", "encKeyPairTypes", "preferredSymmAlg", "rootCaKeyUpdate")


@pytest.mark.parametrize("info", ["", *RELEVANT[:4], "currentCRL"])
@pytest.mark.parametrize("protection", ["secret", "certificate"])
def test_genm(openssl: OpenSSL, info: str, protection: str) -> None:
    """Each type that needs no value, and none, which asks for all that is relevant."""
    by = openssl.holder() if protection == "certificate" else openssl.secret(openssl.credential())
    done, said = openssl.run("-cmd", "genm", *by, *(("-infotype", info) if info else ()))
    assert done == 0, said
    for told in (info,) if info else RELEVANT:
        assert f"id-it-{told}" in said


def test_genm_that_is_not_answered(openssl: OpenSSL) -> None:
    """This openssl sends suppLangTags without the tags."""
    by = openssl.secret(openssl.credential())
    done, said = openssl.run("-cmd", "genm", *by, "-infotype", "suppLangTags")
    assert done != 0
    assert "badRequest" in said


def approving(home: Path) -> Path:
    """Have devices wait for approval, and clients poll each second."""
    text = (SHIPPED_PROFILES / "device.toml").read_text()
    (home / "profiles" / "device.toml").write_text(f"approval = true\n{text}")
    configuration = home / "pkiserver.toml"
    changed = configuration.read_text().replace('check_after = "30s"', 'check_after = "1s"')
    configuration.write_text(changed)
    return home


@pytest.mark.parametrize("decision", ["approve", "refuse"])
def test_polling_until_somebody_decides(home: Path, tmp_path: Path, decision: str) -> None:
    with running(approving(home)) as server:
        client = OpenSSL(server, tmp_path)
        asked = (*client.secret(client.credential()), "-newkey", client.key("k"), "-subject", SUBJECT)
        made = tmp_path / "made.pem"
        with ThreadPoolExecutor(1) as threads:
            run = threads.submit(client.run, "-cmd", "ir", "-certout", made, *asked)
            waiting = {"state": "waiting", "limit": 5}
            (found,) = eventually(lambda: server.command("enrollment.list", **waiting), "the enrolment")
            reason = {"reason": "no such device"} if decision == "refuse" else {}
            server.command(f"enrollment.{decision}", enrollment=found["enrollment"], **reason)
            done, said = run.result(PATIENCE_S)
        if decision == "approve":
            assert done == 0, said
            server.shows(x509.load_pem_x509_certificate(made.read_bytes()), "good")
        else:
            assert done != 0
            assert "no such device" in said


def unsettled(tx: Transaction) -> list[tuple[int]]:
    """Return the devices' certificates that are active though nobody confirmed them."""
    return tx.all(
        "SELECT c.serial FROM certificates c"
        " JOIN issuances i ON i.authority = c.authority AND i.serial = c.serial"
        " LEFT JOIN cmp_requests r ON r.issuance = i.id"
        " LEFT JOIN cmp_transactions t ON t.id = r.cmp_transaction"
        " WHERE c.profile = 'device' AND c.state = 'active' AND t.state IS NOT 'confirmed'"
    )


@pytest.mark.long
def test_no_certificate_is_left_by_kills(home: Path, tmp_path: Path) -> None:
    """Whatever moment the server is killed at, each certificate is confirmed or, in time, revoked."""
    configuration = home / "pkiserver.toml"
    changed = configuration.read_text().replace('confirm_wait = "5m"', 'confirm_wait = "2s"')
    configuration.write_text(changed)
    for delay_s in (0.03, 0.06, 0.09, 0.12, 0.15, 0.2):
        server = start(home)
        client = OpenSSL(server, tmp_path)
        asked = (*client.secret(client.credential()), "-newkey", client.key("k"), "-subject", SUBJECT)
        with ThreadPoolExecutor(1) as threads:
            run = threads.submit(client.run, "-cmd", "ir", "-certout", tmp_path / "made.pem", *asked)
            time.sleep(delay_s)
            server.kill()
            run.result(PATIENCE_S)
    with running(home) as server:
        eventually(lambda: server.metric("pkiserver_cmp_unconfirmed") == 0, "upkeep")
    assert read_only(home / "pkiserver.db", unsettled) == []
