"""Certificates of every shipped profile against pkilint, an independent linter.

`lint_etsi_cert` is run on `citizen-signature` as NCP-NATURAL-PERSON-CERTIFICATE: EN 319 411-1 NCP for natural
persons with the certificate profile of EN 319 412-2, and what its own detection chooses. The qualified types
do not fit: those of eIDAS require QcCompliance, a claim that only a provider under EU law may make, and both
QCP-N-QSCD types want the policy identifier 0.4.0.194112.1.2 of the EU (the last test shows that this is all
that separates us from the one without eIDAS).
"""

import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from config.profile import SHIPPED_PROFILES, load_profiles
from config.profile_fields import Access
from config.units import Lifetime
from pkiserver.ca.extensions import Addresses
from pkiserver.ca.identity import Identity, approve_identity
from pkiserver.ca.tbs import CertificateContents, IssuerFacts, build_tbs, validity
from pkiserver.clock import Clock
from pkiserver.signer.algorithms import signature_algorithm_for
from protocols.x509.certificate import assemble_certificate
from protocols.x509.names import parse_san, parse_subject

pytestmark = pytest.mark.interop

PROFILES = load_profiles(SHIPPED_PROFILES)
AUTHORITY = "O=National Certification Authority,C=MN"
ADDRESSES = Addresses("http://pki.gov.mn/ocsp", "http://pki.gov.mn/ca/x.cer", "http://pki.gov.mn/crl/x.crl")
OF_A_SHARD = replace(
    ADDRESSES, crl="http://pki.gov.mn/crl/x-7.crl", delta="http://pki.gov.mn/crl/x-7.delta.crl"
)
CITIZEN = "CN=Бат-Эрдэнэ Дорж,givenName=Дорж,SN=Бат-Эрдэнэ,serialNumber=PNOMN-123456789012"
OFFICER = "CN=Бат-Эрдэнэ Дорж,title=Мэргэжилтэн,organizationIdentifier=NTRMN-9876543,O=Сангийн яам"
APPROVED = {
    "citizen-signature": (CITIZEN, ()),
    "citizen-authentication": (CITIZEN, ()),
    "government-token": (OFFICER, ("email:bat@mof.gov.mn",)),
    "tls-server": ("CN=www.gov.mn", ("dns:www.gov.mn", "dns:gov.mn")),
    "device": ("CN=gate-1,serialNumber=A-17,O=Гааль,C=MN", ("dns:gate-1.gov.mn",)),
    "registration-client": ("CN=Station 7,O=Registration", ()),
    "administrator": ("CN=Дорж", ("email:dorj@gov.mn",)),
    "cmc-server": ("CN=CMC server 1", ()),
    "archive": ("CN=Archive 1", ()),
    "audit-log": ("CN=Audit log 1", ()),
    "ceremony-transcript": ("CN=Ceremony of 2026", ()),
}
CA_NAMES = {
    "root-ca": parse_subject(f"CN=National Root CA,{AUTHORITY}"),
    "issuing-ca": parse_subject(f"CN=Citizen CA,{AUTHORITY}"),
    "root-link": parse_subject(f"CN=National Root CA,{AUTHORITY}"),
    "cross-ca": parse_subject("CN=Bridge CA,O=Neighbour,C=KZ"),
    "ocsp-responder": parse_subject(f"CN=Citizen CA OCSP,{AUTHORITY}"),
}
LIFETIMES = {
    "root-ca": Lifetime(years=20),
    "issuing-ca": Lifetime(years=10),
    "root-link": Lifetime(years=9),
    "cross-ca": Lifetime(years=3),
    "ocsp-responder": Lifetime(years=1),
}
NCP = "NCP-NATURAL-PERSON-CERTIFICATE"
HARMLESS = frozenset({"NOTICE", "INFO", "DEBUG"})

CA_KEY = ec.generate_private_key(ec.SECP384R1())  # of every authority here: nothing of it is looked at
KEY = ec.generate_private_key(ec.SECP256R1())


def identity_of(name: str, limit_mnt: int | None) -> Identity:
    if name in CA_NAMES:
        return Identity(CA_NAMES[name])
    subject, san = APPROVED[name]
    return approve_identity(
        PROFILES[name],
        approved_subject=parse_subject(subject),
        approved_san=tuple(map(parse_san, san)),
        requested_subject=x509.Name([]),
        limit_mnt=limit_mnt,
    )


def issue(name: str, issuer: IssuerFacts, limit_mnt: int | None, addresses: Addresses) -> bytes:
    profile = PROFILES[name].with_lifetime(LIFETIMES[name]) if name in LIFETIMES else PROFILES[name]
    key = CA_KEY if profile.kind.endswith("-ca") else KEY
    contents = CertificateContents(
        profile,
        identity_of(name, limit_mnt),
        key.public_key(),
        issuer,
        addresses,
        x509.random_serial_number(),
        *validity(profile, Clock().now(), issuer.not_after),
    )
    tbs = build_tbs(contents)
    signature = CA_KEY.sign(tbs, ec.ECDSA(hashes.SHA384()))
    return assemble_certificate(tbs, signature_algorithm_for(issuer.public_key).der, signature)


@cache
def certificate_of(name: str, limit_mnt: int | None = None, addresses: Addresses = ADDRESSES) -> bytes:
    issuer = IssuerFacts.of_root(CA_NAMES["root-ca"], CA_KEY.public_key())
    for ca in ("root-ca", "issuing-ca"):
        certificate = issue(ca, issuer, None, addresses)
        if name == ca:
            return certificate
        issuer = IssuerFacts.of(x509.load_der_x509_certificate(certificate))
    return issue(name, issuer, limit_mnt, addresses)


def linted(linter: str, *arguments: str) -> tuple[str, str]:
    """Return what a linter writes and says beside it; as a program each takes a second to load."""
    with redirect_stdout(StringIO()) as written, redirect_stderr(StringIO()) as said:
        import_module(f"pkilint.bin.{linter}").main(["lint", *arguments])
    return written.getvalue(), said.getvalue()


def findings(folder: Path, certificate: bytes, linter: str, *options: str) -> set[str]:
    """Return severity and code of everything a linter found that is a warning or worse."""
    file = folder / "certificate.der"
    file.write_bytes(certificate)
    said, _ = linted(linter, "-s", "ALL", "-f", "JSON", *options, str(file))
    return {
        f"{finding['severity']} {finding['code']}"
        for result in json.loads(said)["results"]
        for finding in result["finding_descriptions"]
        if finding["severity"] not in HARMLESS
    }


@pytest.mark.parametrize("addresses", [ADDRESSES, OF_A_SHARD], ids=["plain", "shard_and_delta"])
@pytest.mark.parametrize("name", sorted(PROFILES))
def test_lint_pkix_cert(name: str, addresses: Addresses, tmp_path: Path) -> None:
    assert findings(tmp_path, certificate_of(name, None, addresses), "lint_pkix_cert") == set()


@pytest.mark.parametrize(
    ("limit_mnt", "addresses"),
    [(None, ADDRESSES), (5_000_000, ADDRESSES), (None, OF_A_SHARD)],
    ids=["plain", "limit", "shard_and_delta"],
)
@pytest.mark.parametrize("choice", [("-t", NCP), ("-d",)], ids=["named", "detected"])
def test_lint_etsi_cert(
    limit_mnt: int | None, addresses: Addresses, choice: tuple[str, ...], tmp_path: Path
) -> None:
    certificate = certificate_of("citizen-signature", limit_mnt, addresses)
    assert findings(tmp_path, certificate, "lint_etsi_cert", *choice) == set()


def test_lint_etsi_cert_detects_the_type_that_we_name(tmp_path: Path) -> None:
    file = tmp_path / "certificate.der"
    file.write_bytes(certificate_of("citizen-signature"))
    _, said = linted("lint_etsi_cert", "-d", "-o", str(file))
    assert said.strip() == NCP


def test_only_the_policy_of_the_eu_separates_us_from_a_qualified_certificate(tmp_path: Path) -> None:
    type_ = ("-t", "QCP-N-QSCD-NON-EIDAS-FINAL-CERTIFICATE")
    assert findings(tmp_path, certificate_of("citizen-signature", 1), "lint_etsi_cert", *type_) == {
        "WARNING etsi.en_319_412_2.qcs-5.2-1.recommended_certificate_type_policy_identifier_missing"
    }


def test_a_bad_certificate_is_found(tmp_path: Path) -> None:
    """The linters run and judge: a citizen's certificate without authorityInfoAccess is refused."""
    issuer = IssuerFacts.of(x509.load_der_x509_certificate(certificate_of("issuing-ca")))
    access = Access(ocsp=False, ca_issuers=False)
    profile = PROFILES["citizen-signature"].model_copy(update={"authority_info_access": access})
    period = validity(profile, Clock().now(), issuer.not_after)
    identity = identity_of("citizen-signature", None)
    tbs = build_tbs(CertificateContents(profile, identity, KEY.public_key(), issuer, ADDRESSES, 99, *period))
    bad = assemble_certificate(tbs, signature_algorithm_for(issuer.public_key).der, b"\x30\x00")
    assert any("ERROR" in finding for finding in findings(tmp_path, bad, "lint_etsi_cert", "-t", NCP))
