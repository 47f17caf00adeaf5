"""Operators whose certificates were revoked: nobody signs with one that no CRL clears."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ceremony_setting import NAMES, Operator, Setting
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.ceremony.quorum import read_register
from pkiserver.errors import NotAuthorizedError, RefusedError

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
SHARD = x509.IssuingDistributionPoint(
    [x509.UniformResourceIdentifier("http://pki.example.mn/crl/1.crl")],
    None,
    False,
    False,
    None,
    False,
    False,
)


def crl(
    issuer: Operator,
    revoked: Sequence[Operator] = (),
    *,
    begins: datetime = NOW - DAY,
    ends: datetime | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
    shard: bool = False,
) -> bytes:
    """Return a CRL in PEM."""
    ends = ends or begins + 2 * DAY
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, begins, ends)
    for one in revoked:
        entry = x509.RevokedCertificateBuilder(one.certificate.serial_number, NOW - DAY)
        hold = x509.CRLReason(x509.ReasonFlags.certificate_hold)
        builder = builder.add_revoked_certificate(entry.add_extension(hold, critical=False).build())
    if shard:
        builder = builder.add_extension(SHARD, critical=True)
    return builder.sign(key or issuer.key, SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture
def issuer() -> Operator:
    return Operator("Infrastructure CA")


@pytest.fixture
def setting(tmp_path: Path, issuer: Operator) -> Setting:
    """A setting whose operators have certificates of one issuer, which the register names."""
    found = Setting(tmp_path / "room")
    found.operators = [Operator(name, issuer=issuer) for name in NAMES]
    found.register(found.operators, 2, 'issuers = "issuers.pem"')
    found.write(found.path.read_text())
    return found


def bring(setting: Setting, issuer: Operator, *crls: bytes) -> None:
    """Put the issuer's certificate and its CRLs beside the register."""
    certificate = issuer.certificate.public_bytes(Encoding.PEM)
    (setting.folder / "issuers.pem").write_bytes(b"".join((certificate, *crls)))


def test_who_is_not_revoked_signs(setting: Setting, issuer: Operator, tmp_path: Path) -> None:
    """Tuya is, and did not sign."""
    bring(setting, issuer, crl(issuer, [setting.operators[2]]))
    setting.perform(tmp_path / "out")
    text = (tmp_path / "out" / "transcript.txt").read_text()
    assert "not revoked by CN=Infrastructure CA" in text


REFUSED = {
    "revoked": "the certificate of Saran is revoked or suspended",
    "revoked by the newer": "the certificate of Saran is revoked or suspended",
    "no CRL": "no CRL says",
    "ended": "is not current",
    "not begun": "is not current",
    "another issuer": "none of the register's issuers issued the certificate of Bold",
}


@pytest.mark.parametrize("which", REFUSED)
def test_who_is_not_cleared_does_not(setting: Setting, issuer: Operator, tmp_path: Path, which: str) -> None:
    saran = setting.operators[1]
    brought = {
        "revoked": (issuer, crl(issuer, [saran])),
        "revoked by the newer": (
            issuer,
            crl(issuer, [saran]),
            crl(issuer, begins=NOW - 2 * DAY, ends=NOW + DAY),
        ),
        "no CRL": (issuer,),
        "ended": (issuer, crl(issuer, begins=NOW - 3 * DAY)),
        "not begun": (issuer, crl(issuer, begins=NOW + DAY)),
        "another issuer": (other := Operator("Infrastructure CA"), crl(other)),
    }[which]
    bring(setting, *brought)
    with pytest.raises(NotAuthorizedError, match=REFUSED[which]):
        setting.perform(tmp_path / "out")
    assert not (setting.folder / "keys").exists()


BAD = {
    "signed by another": "none of its CAs has signed",
    "of a part": "critical extension",
    "no CA": "is no CA certificate",
    "nothing": "holds no certificates",
}


@pytest.mark.parametrize("which", BAD)
def test_issuers_that_cannot_be_believed(
    setting: Setting, issuer: Operator, tmp_path: Path, which: str
) -> None:
    """Without them nothing is made, though the certificates may stand."""
    if which == "signed by another":
        bring(setting, issuer, crl(issuer, key=ec.generate_private_key(ec.SECP256R1())))
    elif which == "of a part":
        bring(setting, issuer, crl(issuer, shard=True))
    elif which == "no CA":
        bring(setting, setting.operators[0])
    else:
        (setting.folder / "issuers.pem").write_bytes(b"")
    with pytest.raises(RefusedError, match=BAD[which]):
        setting.perform(tmp_path / "out")
    (setting.folder / "issuers.pem").unlink()
    with pytest.raises(FileNotFoundError):
        setting.perform(tmp_path / "out")


def test_the_sha256_of_the_register_is_over_issuers_but_no_crls(setting: Setting, issuer: Operator) -> None:
    """People compare it with the one that they keep, which a CRL a day would change."""
    path, found = setting.folder / "operators.toml", []
    for brought in ((issuer, crl(issuer)), (issuer, crl(issuer, setting.operators)), (Operator("X"),)):
        bring(setting, *brought)
        found.append(read_register(path).sha256)
    assert found[0] == found[1] != found[2]


def test_without_issuers_the_transcript_says_that_nobody_looked(tmp_path: Path) -> None:
    Setting(tmp_path / "plain").perform(tmp_path / "out")
    assert "not looked at" in (tmp_path / "out" / "transcript.txt").read_text()
