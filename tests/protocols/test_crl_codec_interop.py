"""OpenSSL reads and verifies CRLs built by concatenation."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from protocols import oid
from protocols.asn1 import der
from protocols.crl import assemble_crl, build_tbs_cert_list, revoked_entry
from protocols.x509.names import parse_subject

KEY = ec.derive_private_key(0x5280, ec.SECP256R1())
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALGORITHM = der.sequence(der.oid(oid.ECDSA_WITH_SHA256))


def issuer() -> x509.Certificate:
    name = parse_subject("CN=Test CA,C=MN")
    identifier = x509.SubjectKeyIdentifier.from_public_key(KEY.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=3650))
        .public_key(KEY.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(identifier, critical=False)
        .sign(KEY, hashes.SHA256())
    )


@pytest.mark.interop
@pytest.mark.parametrize("count", [0, 1000])
def test_openssl_verifies_and_prints_the_crl(count: int, tmp_path: Path) -> None:
    certificate = issuer()
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    entries = (revoked_entry(serial, NOW, 6) for serial in range(1, count + 1))
    tbs = build_tbs_cert_list(
        ALGORITHM, certificate.subject.public_bytes(), NOW, NOW + timedelta(days=1), entries, identifier, 42
    )
    (tmp_path / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "ca.crl").write_bytes(assemble_crl(tbs, ALGORITHM, KEY.sign(tbs, ec.ECDSA(hashes.SHA256()))))

    ran = subprocess.run(
        ["openssl", "crl", "-inform", "DER", "-in", "ca.crl", "-CAfile", "ca.pem", "-noout", "-text"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
    )

    assert "verify OK" in ran.stdout + ran.stderr
    assert ran.stdout.count("Certificate Hold") == count
    assert ("No Revoked Certificates" in ran.stdout) is (count == 0)
