"""Enrolment and re-enrolment by curl and by strongSwan's `pki`, as their users type it."""

import base64
import http.client
import ssl
import subprocess
from pathlib import Path

import pytest
from client_messages import Reply, ask, csr_for, key_pem, new_key, renewal_csr
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from foreign_clients import curl, save_certificate, tool, worked
from server_harness import Server, running

pytestmark = pytest.mark.interop

OFFICER = "CN=Бат-Эрдэнэ Дорж,title=Мэргэжилтэн,organizationIdentifier=NTRMN-9876543,O=Сангийн яам"
DEVICE = "CN=gate-1,serialNumber=A-17,O=Гааль,C=MN"
IDENTITIES = {
    "device": (DEVICE, "dns:gate-1.gov.mn"),
    "government-token": (OFFICER, "email:bat@mof.gov.mn"),
}
ISSUERS = {"device": "infrastructure", "government-token": "government", "tls-server": "infrastructure"}
REENROLL = "/.well-known/est/simplereenroll"


def body_of(csr: x509.CertificateSigningRequest, form: str) -> bytes:
    der = csr.public_bytes(Encoding.DER)
    return {
        "one line": base64.b64encode(der),
        "wrapped": base64.encodebytes(der),
        "PEM": csr.public_bytes(Encoding.PEM),
        "DER": der,
    }[form]


@pytest.mark.parametrize("form", ["one line", "wrapped", "PEM", "DER"])
def test_curl_enrols_with_every_form_of_body(form: str, shared: Server, tmp_path: Path) -> None:
    key = new_key()
    credential = shared.credential("tls-server", "CN=www.example.mn", "dns:www.example.mn")
    (tmp_path / "body").write_bytes(body_of(csr_for(key, "CN=www.example.mn"), form))
    enrolled = curl(
        shared,
        *("-u", credential.userpass, "-H", "Content-Type: application/pkcs10"),
        *("--data-binary", f"@{tmp_path / 'body'}", "-D", tmp_path / "headers"),
        f"{shared.est_url}/simpleenroll",
    )
    headers = (tmp_path / "headers").read_text().lower()
    assert "content-type: application/pkcs7-mime; smime-type=certs-only\n" in headers.replace("\r", "")
    assert "content-transfer-encoding: base64\n" in headers.replace("\r", "")
    certificate = Reply(200, {}, enrolled).certificate()
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(shared.ca("infrastructure"))


def test_curl_fetches_the_ca_certificates(shared: Server) -> None:
    pkcs7 = base64.b64decode(curl(shared, f"{shared.est_url}/cacerts"), validate=True)
    printed = worked(tool("openssl", "pkcs7", "-inform", "DER", "-print_certs", stdin=pkcs7))
    found = {cert.subject for cert in x509.load_pem_x509_certificates(printed)}
    names = ("root", "citizen", "government", "infrastructure")
    assert found == {shared.ca(name).subject for name in names}


def strongswan_csr(strongswan: str, key: Path, subject: str, *san: str) -> bytes:
    sans = [part for name in san for part in ("--san", name)]
    return worked(tool(strongswan, "--req", "--in", key, "--type", "priv", "--dn", subject, *sans))


def strongswan_est(
    server: Server, strongswan: str, csr: bytes, *options: str | Path
) -> subprocess.CompletedProcess[bytes]:
    url = f"https://127.0.0.1:{server.port('https')}"
    trusted = [part for ca in sorted(set(ISSUERS.values())) for part in ("--cacert", server.ca_pem(ca))]
    return tool(strongswan, "--est", "--url", url, "--cacert", server.root_pem, *trusted, *options, stdin=csr)


def strongswan_certificate(
    server: Server, strongswan: str, csr: bytes, *options: str | Path
) -> x509.Certificate:
    return x509.load_der_x509_certificate(worked(strongswan_est(server, strongswan, csr, *options)))


def test_strongswan_fetches_the_ca_certificates(shared: Server, strongswan: str, tmp_path: Path) -> None:
    url = f"https://127.0.0.1:{shared.port('https')}"
    out = tmp_path / "ca.der"
    run = tool(strongswan, "--estca", "--url", url, "--cacert", shared.root_pem, "--caout", out)
    worked(run)
    assert run.stderr.decode().count("cert is trusted") == 4
    fetched = {x509.load_der_x509_certificate(file.read_bytes()) for file in tmp_path.glob("ca*.der")}
    assert fetched == {shared.ca(name) for name in ("root", "citizen", "government", "infrastructure")}


def test_strongswan_enrols_a_tls_server(shared: Server, strongswan: str, tmp_path: Path) -> None:
    key = tmp_path / "key.der"
    key.write_bytes(worked(tool(strongswan, "--gen", "--type", "ecdsa", "--size", "256")))
    csr = strongswan_csr(strongswan, key, "CN=www.example.mn", "www.example.mn")
    credential = shared.credential("tls-server", "CN=www.example.mn", "dns:www.example.mn")
    certificate = strongswan_certificate(shared, strongswan, csr, "--userpass", credential.userpass)
    assert certificate.public_key() == x509.load_der_x509_csr(csr).public_key()
    assert certificate.subject.rfc4514_string() == "CN=www.example.mn"
    shared.shows(certificate, "good")
    wrong = strongswan_est(shared, strongswan, csr, "--userpass", f"{credential.reference}:guessed")
    assert wrong.returncode != 0
    assert wrong.stdout == b""


def enrolled(server: Server, profile: str, folder: Path) -> tuple[x509.Certificate, Path, Path]:
    """Return a certificate of a profile, and the files of it and of its key."""
    key = new_key()
    subject, san = IDENTITIES[profile]
    certificate = server.issued(key, profile, subject, san)
    (folder / "key.pem").write_bytes(key_pem(key))
    return certificate, save_certificate(folder / "certificate.pem", certificate), folder / "key.pem"


def test_strongswan_renews_with_a_new_key(shared: Server, strongswan: str, tmp_path: Path) -> None:
    held, certificate_file, key_file = enrolled(shared, "device", tmp_path)
    new = new_key()
    csr = renewal_csr(held, new).public_bytes(Encoding.DER)
    options = ("--cert", certificate_file, "--key", key_file)
    renewed = strongswan_certificate(shared, strongswan, csr, *options)
    assert renewed.serial_number != held.serial_number
    assert renewed.public_key() == new.public_key()
    assert renewed.subject == held.subject
    assert san_of(renewed) == san_of(held)
    renewed.verify_directly_issued_by(shared.ca("infrastructure"))
    shared.shows(renewed, "good")


def test_strongswan_renews_no_token_before_its_window(
    shared: Server, strongswan: str, tmp_path: Path
) -> None:
    held, certificate_file, key_file = enrolled(shared, "government-token", tmp_path)
    csr = renewal_csr(held, new_key()).public_bytes(Encoding.DER)
    refused = strongswan_est(shared, strongswan, csr, "--cert", certificate_file, "--key", key_file)
    assert refused.returncode != 0
    assert refused.stdout == b""


@pytest.mark.parametrize("profile", ["device", "government-token"])
def test_strongswan_is_refused_once_revoked(
    profile: str, shared: Server, strongswan: str, tmp_path: Path
) -> None:
    held, certificate_file, key_file = enrolled(shared, profile, tmp_path)
    shared.revoke(held)
    csr = renewal_csr(held, new_key()).public_bytes(Encoding.DER)
    refused = strongswan_est(shared, strongswan, csr, "--cert", certificate_file, "--key", key_file)
    assert refused.returncode != 0
    assert refused.stdout == b""


def san_of(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


class Resumable(http.client.HTTPSConnection):
    """A connection that takes up an earlier TLS session."""

    def __init__(self, server: Server, context: ssl.SSLContext, session: ssl.SSLSession | None) -> None:
        own_share = ("127.0.2.2", 0)  # of refusals a minute: the server is shared
        super().__init__(
            "127.0.0.1", server.port("https"), context=context, timeout=60, source_address=own_share
        )
        self._session, self._tls = session, context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock: ssl.SSLSocket = self._tls.wrap_socket(
            self.sock, server_hostname="127.0.0.1", session=self._session
        )


def reenroll(connection: http.client.HTTPSConnection, held: x509.Certificate) -> Reply:
    csr = base64.b64encode(renewal_csr(held, new_key()).public_bytes(Encoding.DER))
    return ask(connection, "POST", REENROLL, csr, {"Content-Type": "application/pkcs10"})


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_status_is_looked_at_on_kept_and_resumed_connections(
    version: ssl.TLSVersion, shared: Server, tmp_path: Path
) -> None:
    held, *files = enrolled(shared, "device", tmp_path)
    context = shared.tls((files[0], files[1]))
    context.maximum_version = version
    kept = Resumable(shared, context, None)
    assert reenroll(kept, held).status == 200
    session = kept.sock.session

    def resumed() -> Reply:
        connection = Resumable(shared, context, session)
        try:
            reply = reenroll(connection, held)
            assert connection.sock.session_reused
            return reply
        finally:
            connection.close()

    assert resumed().status == 200
    for change, status in (
        (shared.suspend, 403),
        (shared.restore, 200),
        (shared.suspend, 403),
        (shared.revoke, 403),
    ):
        change(held)
        assert [reenroll(kept, held).status, resumed().status] == [status, status]
    kept.close()


def test_reenrolment_without_a_client_certificate_is_refused(shared: Server) -> None:
    certificate = shared.device(new_key())
    connection = shared.connection(source="127.0.2.1")
    assert reenroll(connection, certificate).status == 403
    connection.close()


def manufacturer(folder: Path) -> tuple[Path, Path, Path]:
    """Return the files of a manufacturer's CA, and of certificate and key of a device that it made."""
    acme, device = folder / "acme", folder / "device"
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "9")
    subject = ("-subj", "/CN=Acme CA", "-keyout", f"{acme}.key", "-out", f"{acme}.pem")
    worked(tool("openssl", "req", "-x509", *new, *subject))
    signed = ("-CA", f"{acme}.pem", "-CAkey", f"{acme}.key", "-addext", "basicConstraints=critical,CA:FALSE")
    subject = ("-subj", "/O=Acme/serialNumber=A-17", "-keyout", f"{device}.key", "-out", f"{device}.pem")
    worked(tool("openssl", "req", "-x509", *new, *signed, *subject))
    return Path(f"{acme}.pem"), Path(f"{device}.pem"), Path(f"{device}.key")


MACHINE = """
description = "A machine that its manufacturer numbered"
issuer = "infrastructure"
lifetime = "90d"
keys = ["ec:P-256"]
key_usage = ["digitalSignature"]
extended_key_usage = ["clientAuth"]
est_authentication = ["certificate"]
trusted_issuers = ["acme.pem"]
subject = [{ attribute = "serialNumber", source = "credential" }]
policies = [{ oid = "1.3.6.1.4.1.32473.2.1" }]
"""


def test_strongswan_enrols_with_a_manufacturer_s_certificate(
    home: Path, strongswan: str, tmp_path: Path
) -> None:
    """It posts simplereenroll, without a label: the one profile that trusts the manufacturer is meant."""
    acme, certificate, key = manufacturer(tmp_path)
    (home / "acme.pem").write_bytes(acme.read_bytes())
    (home / "profiles").mkdir(exist_ok=True)
    (home / "profiles" / "machine.toml").write_text(MACHINE)
    with running(home) as server:
        csr = csr_for(new_key(), "CN=anything").public_bytes(Encoding.DER)
        issued = strongswan_certificate(server, strongswan, csr, "--cert", certificate, "--key", key)
        assert issued.subject.rfc4514_string() == "2.5.4.5=A-17"
        issued.verify_directly_issued_by(server.ca("infrastructure"))
