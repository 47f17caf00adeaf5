"""The life of a certificate as openssl, strongSwan and pkilint see it: suspended, restored, revoked."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from client_messages import new_key, ocsp_request, serial_of
from consistency import AUTHORITIES
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from foreign_clients import (
    expect_crl_verdict,
    findings,
    openssl_ocsp,
    save_certificate,
    tool,
    worked,
)
from server_harness import Server, done, eventually, initialised, run_program, running

pytestmark = pytest.mark.interop

RecordProperty = Callable[[str, object], None]
CITIZEN = "CN=Бат-Эрдэнэ Дорж,givenName=Дорж,SN=Бат-Эрдэнэ,serialNumber=PNOMN-123456789012"


def expect_ocsp(server: Server, issuer: str, file: Path, status: str) -> None:
    """Wait until `openssl ocsp` says this, of the CertID with SHA-1 and with SHA-256."""
    for digest in ((), ("-sha256",)):
        says = partial(openssl_says, server, issuer, file, status, *digest)
        eventually(says, f"openssl ocsp {digest} to say {status}")


def openssl_says(server: Server, issuer: str, file: Path, status: str, *digest: str) -> bool:
    return openssl_ocsp(server, issuer, file, *digest) == status


@pytest.mark.parametrize(
    ("profile", "issuer", "subject", "san"),
    [
        ("device", "infrastructure", "CN=gate-1", ("dns:gate-1.gov.mn",)),
        ("citizen-signature", "citizen", CITIZEN, ()),
    ],
)
def test_openssl_follows_every_change_of_status(
    profile: str,
    issuer: str,
    subject: str,
    san: tuple[str, ...],
    shared: Server,
    tmp_path: Path,
    record_property: RecordProperty,
) -> None:
    certificate = shared.issued(new_key(), profile, subject, *san)
    file, serial = save_certificate(tmp_path / "certificate.pem", certificate), serial_of(certificate)

    def change(command: str, status: str, verdict: str) -> None:
        done(run_program(shared.home, "certificate", command, serial))
        record_property(f"{command}_shown_after_s", shared.shows(certificate, status, issuer))
        expect_ocsp(shared, issuer, file, status)
        expect_crl_verdict(shared, issuer, file, verdict)

    shared.shows(certificate, "good", issuer)
    expect_ocsp(shared, issuer, file, "good")
    expect_crl_verdict(shared, issuer, file, "OK")
    change("suspend", "revoked", "certificate revoked")
    assert entry_reason(shared, issuer, certificate) is x509.ReasonFlags.certificate_hold
    change("restore", "good", "OK")
    change("revoke", "revoked", "certificate revoked")
    assert entry_reason(shared, issuer, certificate) is None  # unspecified is not said (RFC 5280 §5.3.1)
    refused = run_program(shared.home, "certificate", "restore", serial)
    assert refused.returncode == 1
    assert openssl_ocsp(shared, issuer, file) == "revoked"


def entry_reason(server: Server, issuer: str, certificate: x509.Certificate) -> x509.ReasonFlags | None:
    entry = server.crl(issuer).get_revoked_certificate_by_serial_number(certificate.serial_number)
    assert entry is not None
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return None


def test_openssl_hears_nothing_of_what_was_never_issued(shared: Server) -> None:
    run = tool(
        *("openssl", "ocsp", "-issuer", shared.ca_pem("citizen"), "-serial", "0x1234567890"),
        *("-url", f"{shared.http_url}/ocsp", "-CAfile", shared.chain_pem),
    )
    assert b"unauthorized (6)" in run.stdout


def test_openssl_verifies_every_crl(shared: Server) -> None:
    for name in AUTHORITIES:
        crl = worked(tool("curl", "-sS", "--fail", f"{shared.http_url}/crl/{name}.crl"))
        run = tool("openssl", "crl", "-inform", "DER", "-noout", "-CAfile", shared.chain_pem, stdin=crl)
        assert worked(run) == b""
        assert run.stderr.strip() == b"verify OK"


def test_openssl_verifies_the_ca_certificates_where_aia_points(shared: Server, tmp_path: Path) -> None:
    for name in AUTHORITIES:
        served = worked(tool("curl", "-sS", "--fail", f"{shared.http_url}/ca/{name}.cer"))
        pem = tmp_path / f"{name}.pem"
        pem.write_bytes(worked(tool("openssl", "x509", "-inform", "DER", stdin=served)))
        assert worked(tool("openssl", "verify", "-x509_strict", "-CAfile", shared.root_pem, pem))


@pytest.mark.parametrize("state", ["active", "suspended", "revoked"])
def test_pkilint_accepts_ocsp_responses(state: str, shared: Server, tmp_path: Path) -> None:
    certificate = shared.device(new_key())
    if state == "suspended":
        shared.suspend(certificate)
    if state == "revoked":
        shared.revoke(certificate, "keyCompromise")
    shared.shows(certificate, "good" if state == "active" else "revoked")
    request = ocsp_request(shared.ca("infrastructure"), certificate.serial_number)
    file = tmp_path / "response.der"
    file.write_bytes(shared.post_ocsp(request).body)
    assert findings("lint_ocsp_response", file) == set()


def test_pkilint_accepts_crls(shared: Server, tmp_path: Path) -> None:
    held, revoked = shared.device(new_key()), shared.device(new_key())
    shared.suspend(held)
    shared.revoke(revoked, "superseded")
    listed = {held.serial_number, revoked.serial_number}
    eventually(lambda: listed <= {entry.serial_number for entry in shared.crl()}, "both in the CRL")
    for name in AUTHORITIES:
        file = tmp_path / f"{name}.crl"
        file.write_bytes(shared.get(f"/crl/{name}.crl").body)
        assert findings("lint_crl", file, "-p", "PKIX", "-t", "CRL") == set()


def test_pkilint_finds_what_is_wrong(tmp_path: Path) -> None:
    """The linters look: a CRL without number and authority key identifier is not let pass."""
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(x509.Name([])).last_update(now)
    crl = builder.next_update(now + timedelta(days=1)).sign(new_key(), hashes.SHA256())
    file = tmp_path / "bad.crl"
    file.write_bytes(crl.public_bytes(Encoding.DER))
    assert any("ERROR" in finding for finding in findings("lint_crl", file, "-p", "PKIX", "-t", "CRL"))


def test_strongswan_finds_ocsp_and_crl_by_the_certificate(strongswan: str, tmp_path: Path) -> None:
    """With the server at its public URL, `pki --verify --online` needs no telling where to ask."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = "{}:{}".format(*free.getsockname())
    home = initialised(tmp_path / "home", "--public-url", f"http://{address}")

    with running(home, "--http", address) as server:
        certificate = server.device(new_key())
        server.shows(certificate, "good")
        file = save_certificate(tmp_path / "certificate.pem", certificate)

        def verified() -> str:
            cas = ("--cacert", server.root_pem, "--cacert", server.ca_pem("infrastructure"))
            run = tool(strongswan, "--verify", "--online", "--in", file, *cas)
            return (run.stdout + run.stderr).decode()

        good = verified()
        assert "certificate trusted, lifetimes valid, certificate not revoked" in good
        assert "ocsp response correctly signed" in good
        server.revoke(certificate, "keyCompromise")
        server.shows(certificate, "revoked")
        assert "certificate was revoked on" in verified()
