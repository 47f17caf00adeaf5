"""A new root key and a new key of an issuing authority on a running server, as relying parties see it."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from client_messages import csr_for, new_key, serial_of
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from foreign_clients import curl, expect_crl_verdict, openssl_ocsp, save_certificate, tool, worked
from server_harness import Server, done, eventually, run_program, running

from protocols.crl import NO_FURTHER_UPDATE

pytestmark = pytest.mark.interop

CA = "infrastructure"


def rolled(server: Server, name: str) -> None:
    """Walk an authority to its next key, as an operator does."""
    for step in ("--prepare", "--publish", "--activate"):
        done(run_program(server.home, "ca", "rollover", name, step, "--json"))


def verified(anchor: Path, certificate: Path, *untrusted: Path) -> bool:
    """Return whether `openssl verify` finds a way from a certificate to this trust anchor."""
    others = [part for path in untrusted for part in ("-untrusted", path)]
    run = tool("openssl", "verify", "-x509_strict", "-CAfile", anchor, *others, certificate)
    assert run.returncode in (0, 2), run.stderr
    return run.returncode == 0


def cacerts(server: Server) -> list[x509.Certificate]:
    """Return what curl and openssl get of /cacerts."""
    body = curl(server, f"{server.est_url}/cacerts")
    pem = worked(tool("openssl", "base64", "-d", "-A", stdin=body.replace(b"\n", b"").replace(b"\r", b"")))
    listed = worked(tool("openssl", "pkcs7", "-inform", "DER", "-print_certs", stdin=pem))
    return x509.load_pem_x509_certificates(listed)


def links(certificates: list[x509.Certificate], old: x509.Certificate, new: x509.Certificate) -> list[bytes]:
    """Return OldWithNew and NewWithOld in PEM, found by keys and issuers alone."""
    found = []
    for subject, issuer in ((old, new), (new, old)):
        (link,) = (
            one
            for one in certificates
            if one.public_key() == subject.public_key() and one not in (old, new) and _issued(issuer, one)
        )
        found.append(link.public_bytes(Encoding.PEM))
    return found


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return identifier.key_identifier == own.digest


def served_issuer(server: Server, certificate: x509.Certificate) -> x509.Certificate:
    """Return the CA certificate at the address in a certificate's AIA."""
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    (url,) = (
        one.access_location.value
        for one in access
        if one.access_method == x509.AuthorityInformationAccessOID.CA_ISSUERS
    )
    reply = server.get(urlsplit(url).path)
    assert reply.status == 200
    return x509.load_der_x509_certificate(reply.body)


def test_the_whole_walk(home: Path, tmp_path: Path) -> None:
    with running(home) as server:
        first = server.device(new_key(), "gate-1")
        rolled(server, "root")
        rolled(server, CA)
        second = server.device(new_key(), "gate-2")
        files = [save_certificate(tmp_path / f"{n}.pem", one) for n, one in enumerate((first, second))]

        # Each certificate names the key that issued it, and both bear one issuer name.
        assert first.issuer == second.issuer
        first.verify_directly_issued_by(served_issuer(server, first))
        second.verify_directly_issued_by(served_issuer(server, second))
        assert served_issuer(server, second) == server.ca(f"{CA}.2")

        # cacerts has both roots and both links: every verifier finds its way (RFC 9810 §4.4.2).
        old, new = server.ca("root"), server.ca("root.2")
        given = cacerts(server)
        assert {old, new, server.ca(CA), server.ca(f"{CA}.2")} < set(given)
        old_with_new, new_with_old = tmp_path / "old-with-new.pem", tmp_path / "new-with-old.pem"
        for path, pem in zip((old_with_new, new_with_old), links(given, old, new), strict=True):
            path.write_bytes(pem)
        old_pem, new_pem = server.ca_pem("root"), server.ca_pem("root.2")
        ca_1, ca_2 = server.ca_pem(CA), server.ca_pem(f"{CA}.2")
        assert verified(old_pem, files[0], ca_1)
        assert verified(new_pem, files[1], ca_2)
        assert verified(new_pem, files[0], ca_1, old_with_new)
        assert verified(old_pem, files[1], ca_2, new_with_old)
        assert not verified(new_pem, files[0], ca_1)
        assert not verified(old_pem, files[1], ca_2)

        # Status of both, before and after a change, by OCSP and by the CRL of the right key.
        for handle, certificate, file in ((CA, first, files[0]), (f"{CA}.2", second, files[1])):
            server.shows(certificate, "good", handle)
            assert openssl_ocsp(server, handle, file) == "good"
            assert openssl_ocsp(server, handle, file, "-sha256") == "good"
            server.revoke(certificate, "superseded")
            server.shows(certificate, "revoked", handle)
            assert openssl_ocsp(server, handle, file) == "revoked"
            _listed_by_its_own_key(server, handle, certificate)
        expect_crl_verdict(server, CA, files[0], "certificate revoked")
        assert server.ocsp_status(CA, second.serial_number) == "unauthorized"

        states = {row["name"]: row["state"] for row in server.command("ca.list")}
        assert (states[f"{CA}.1"], states[f"{CA}.2"]) == ("retiring", "ready")
        assert server.ready()[0] == 200
    with running(home) as server:  # and after a restart
        assert cacerts(server) == given
        assert server.status_of(first, CA) == server.status_of(second, f"{CA}.2") == "revoked"


def _listed_by_its_own_key(server: Server, handle: str, certificate: x509.Certificate) -> None:
    """A CRL has the entry, says whose it is, and no CRL of the other key has it."""
    serial = certificate.serial_number
    eventually(
        lambda: server.crl(handle).get_revoked_certificate_by_serial_number(serial) is not None,
        "the CRL to list the certificate",
    )
    crl = server.crl(handle)
    point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value.full_name
    own = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0].full_name
    assert point == own
    other = CA if handle != CA else f"{CA}.2"
    assert server.crl(other).get_revoked_certificate_by_serial_number(serial) is None


def test_a_wrong_step_says_what_to_do(home: Path) -> None:
    run: subprocess.CompletedProcess[str] = run_program(home, "ca", "rollover", "citizen", "--activate")
    assert run.returncode == 1
    assert "ca rollover citizen --prepare` makes it" in run.stderr
    assert run_program(home, "ca", "rollover", "citizen", "--at", "2030-01-01T00:00:00Z").returncode == 2


def test_a_planned_activation_happens_by_itself(home: Path) -> None:
    with running(home) as server:
        for step in ("prepare", "publish"):
            server.command(f"ca.rollover.{step}", name="citizen")
        at = datetime.now(UTC) + timedelta(seconds=2)
        server.command("ca.rollover.activate", name="citizen", at=f"{at:%Y-%m-%dT%H:%M:%SZ}")

        def active() -> bool:
            rows = server.command("ca.rollover.status", name="citizen")
            return [row["state"] for row in rows] == ["retiring", "active"]

        eventually(active, "the activation")


def test_a_compromise_is_rehearsed(home: Path, tmp_path: Path) -> None:
    """From the alarm to the first certificate by a new key, as relying parties see it."""
    with running(home) as server:
        device = server.device(new_key())
        file = save_certificate(tmp_path / "device.pem", device)
        issuer_file = save_certificate(tmp_path / "issuer.pem", server.ca(CA))
        server.shows(device, "good")
        listed = tmp_path / "reissue.csv"
        refused = run_program(home, "ca", "compromise", CA, "--reissue", str(listed))  # nobody confirms
        assert refused.returncode == 1
        assert not listed.exists()
        told = json.loads(
            done(run_program(home, "ca", "compromise", CA, "--reissue", str(listed), "--yes", "--json"))
        )
        assert told["to_reissue"] == 4  # the device, the administrator, the server, the audit log
        assert listed.stat().st_mode & 0o777 == 0o600
        assert serial_of(device) in listed.read_text()
        server.shows(device, "revoked")
        assert openssl_ocsp(server, CA, file) == "revoked"
        assert openssl_ocsp(server, "root", issuer_file) == "revoked"
        expect_crl_verdict(server, CA, file, "certificate revoked")
        assert server.crl(CA).next_update_utc == NO_FURTHER_UPDATE
        reply = server.enroll(
            server.credential("device", "CN=late", "dns:late.example.mn"), csr_for(new_key())
        )
        assert reply.status >= 400
        rolled(server, CA)
        again = server.device(new_key())
        again.verify_directly_issued_by(server.ca(f"{CA}.2"))
        server.shows(again, "good", f"{CA}.2")
        assert server.ready()[0] == 200
