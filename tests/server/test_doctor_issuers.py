"""What `pkiserver doctor` says of the files of `trusted_issuers`: CRLs are asked for in time."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from config.profile import SHIPPED_PROFILES
from pkiserver.doctor.examination import examine
from pkiserver.doctor.finding import Finding
from pkiserver.home import Home

TRUSTING = 'trusted_issuers = ["acme.pem"]\nest_authentication = ["credential+certificate"]\n'


NOW = datetime.now(UTC)
KEY = ec.generate_private_key(ec.SECP256R1())


def authority(name: str) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder(subject, subject, KEY.public_key(), 1, NOW, NOW + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(KEY, SHA256())
    )


ACME, OTHER = authority("Acme CA"), authority("Other CA")
ISSUERS = ACME.public_bytes(Encoding.PEM) + OTHER.public_bytes(Encoding.PEM)


def crl(made: timedelta, until: timedelta) -> bytes:
    """Return a CRL (PEM) of the first."""
    builder = x509.CertificateRevocationListBuilder(ACME.subject, NOW + made, NOW + until)
    return builder.sign(KEY, SHA256()).public_bytes(Encoding.PEM)


async def findings(home: Home, content: bytes) -> list[Finding]:
    """Return what is said of trusted issuers where two profiles name a file of this content."""
    home.profiles.mkdir(exist_ok=True)
    (home.path / "acme.pem").write_bytes(content)
    for name in ("device", "administrator"):
        shipped = (SHIPPED_PROFILES / f"{name}.toml").read_text()
        (home.profiles / f"{name}.toml").write_text(TRUSTING + shipped)
    return [one for one in await examine(home) if one.check == "trusted issuer"]


@pytest.mark.parametrize(
    ("made", "until", "ok"),
    [
        (timedelta(days=-7), timedelta(days=3), True),
        (timedelta(days=-8), timedelta(days=2), False),
        (timedelta(days=-8), timedelta(minutes=-1), False),
    ],
)
async def test_a_crl_is_asked_for_when_a_quarter_of_its_time_is_left(
    home: Home, made: timedelta, until: timedelta, ok: bool
) -> None:
    (finding,) = await findings(home, ISSUERS + crl(made, until))  # of the other nothing is looked at
    assert finding.ok is ok
    assert "CN=Acme CA: nextUpdate" in finding.detail
    assert ("put the next one into the file of trusted_issuers" in finding.detail) is not ok


async def test_the_newest_crl_counts(home: Home) -> None:
    old, new = crl(timedelta(days=-9), timedelta(days=-2)), crl(timedelta(days=-2), timedelta(days=5))
    assert [one.ok for one in await findings(home, ISSUERS + old + new)] == [True]


async def test_nothing_is_said_where_nobody_is_trusted(home: Home) -> None:
    assert [one for one in await examine(home) if one.check == "trusted issuer"] == []
