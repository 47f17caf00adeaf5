"""The TBSCertificate of every shipped profile: what it holds, and that the CA's own lint agrees."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from config.profile import SHIPPED_PROFILES, Profile, load_profiles
from config.profile_fields import Policy
from config.units import Lifetime
from pkiserver.ca.extensions import Addresses, key_identifier
from pkiserver.ca.identity import Identity, certificate_identity
from pkiserver.ca.lint import lint_tbs
from pkiserver.ca.tbs import CertificateContents, IssuerFacts, build_tbs, lint_facts, validity
from pkiserver.errors import RefusedError
from pkiserver.signer.algorithms import signature_algorithm_for
from protocols import oid
from protocols.asn1 import der
from protocols.crl_extensions import freshest_crl
from protocols.x509.certificate import assemble_certificate
from protocols.x509.names import parse_san, parse_subject
from protocols.x509.qcstatements import PKIXQCSyntaxV2, QcLimitValue, QcType, parse_qc_statements

NOW = datetime(2026, 7, 9, 7, 0, 0, tzinfo=UTC)
ADDRESSES = Addresses(
    "http://pki.gov.mn/ocsp", "http://pki.gov.mn/ca/citizen.cer", "http://pki.gov.mn/crl/citizen.crl"
)
WITH_DELTA = replace(
    ADDRESSES, crl="http://pki.gov.mn/crl/citizen-7.crl", delta="http://pki.gov.mn/crl/citizen-7.delta.crl"
)
PROFILES = load_profiles(SHIPPED_PROFILES)
ROOT_KEY = ec.generate_private_key(ec.SECP384R1())
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT_NAME = parse_subject("CN=National Root CA,O=National Certification Authority,C=MN")
SERIAL = 0x7234567890ABCDEF7234567890ABCDEF
LIFETIMES = {
    "root-ca": Lifetime(years=20),
    "issuing-ca": Lifetime(years=10),
    "root-link": Lifetime(years=9),
    "cross-ca": Lifetime(years=3),
    "ocsp-responder": Lifetime(span=timedelta(days=90)),
}
SUBJECTS = {
    "root-ca": "CN=National Root CA,O=National Certification Authority,C=MN",
    "root-link": "CN=National Root CA,O=National Certification Authority,C=MN",
    "citizen-signature": "CN=Дорж,givenName=Дорж,SN=Бат-Эрдэнэ,serialNumber=PNOMN-123456789012,C=MN",
    "tls-server": "CN=pki.gov.mn",
}
SANS = {"tls-server": ("dns:pki.gov.mn", "ip:127.0.0.1"), "government-token": ("email:bat@gov.mn",)}


def profile_of(name: str) -> Profile:
    profile = PROFILES[name]
    return profile.with_lifetime(LIFETIMES[name]) if name in LIFETIMES else profile


def identity_of(name: str, limit_mnt: int | None = None) -> Identity:
    subject = parse_subject(SUBJECTS.get(name, "CN=Дорж,O=Яам,C=MN"))
    return Identity(subject, tuple(map(parse_san, SANS.get(name, ()))), limit_mnt)


def issue(
    profile: Profile,
    identity: Identity,
    public_key: ec.EllipticCurvePublicKey,
    issuer: IssuerFacts,
    key: ec.EllipticCurvePrivateKey,
    serial: int = SERIAL,
    addresses: Addresses = ADDRESSES,
) -> x509.Certificate:
    times = validity(profile, NOW, issuer.not_after)
    tbs = build_tbs(CertificateContents(profile, identity, public_key, issuer, addresses, serial, *times))
    algorithm = signature_algorithm_for(issuer.public_key)
    assert algorithm.hash is not None
    signature = key.sign(tbs, ec.ECDSA(algorithm.hash))
    return x509.load_der_x509_certificate(assemble_certificate(tbs, algorithm.der, signature))


ROOT = issue(
    profile_of("root-ca"),
    Identity(ROOT_NAME),
    ROOT_KEY.public_key(),
    IssuerFacts.of_root(ROOT_NAME, ROOT_KEY.public_key()),
    ROOT_KEY,
)


def certificate_of(name: str, limit_mnt: int | None = None) -> x509.Certificate:
    if name == "root-ca":
        return ROOT
    return issue(
        profile_of(name), identity_of(name, limit_mnt), KEY.public_key(), IssuerFacts.of(ROOT), ROOT_KEY
    )


@pytest.mark.parametrize("addresses", [ADDRESSES, WITH_DELTA], ids=["plain", "shard_and_delta"])
@pytest.mark.parametrize("name", sorted(PROFILES))
def test_own_lint_agrees_with_what_is_built(name: str, addresses: Addresses) -> None:
    profile, identity = profile_of(name), identity_of(name)
    is_root = name == "root-ca"
    public_key = ROOT_KEY.public_key() if is_root else KEY.public_key()
    issuer = IssuerFacts.of_root(identity.subject, public_key) if is_root else IssuerFacts.of(ROOT)
    contents = CertificateContents(
        profile,
        identity,
        public_key,
        issuer,
        addresses,
        SERIAL,
        *validity(profile, NOW, issuer.not_after),
    )
    assert lint_tbs(build_tbs(contents), lint_facts(contents)) == []


@pytest.mark.parametrize("addresses", [ADDRESSES, WITH_DELTA], ids=["plain", "shard_and_delta"])
@pytest.mark.parametrize("limit_mnt", [None, 5_000_000])
@pytest.mark.parametrize("name", sorted(set(PROFILES) - {"root-ca"}))
def test_another_encoder_writes_the_same_octets(
    name: str, limit_mnt: int | None, addresses: Addresses
) -> None:
    profile, issuer = profile_of(name), IssuerFacts.of(ROOT)
    for serial in (SERIAL, SERIAL + 1):  # the second one with what was encoded for the first
        ours = issue(
            profile, identity_of(name, limit_mnt), KEY.public_key(), issuer, ROOT_KEY, serial, addresses
        )
        builder = x509.CertificateBuilder(
            issuer_name=ROOT.subject,
            subject_name=ours.subject,
            public_key=KEY.public_key(),
            serial_number=serial,
            not_valid_before=ours.not_valid_before_utc,
            not_valid_after=ours.not_valid_after_utc,
        )
        for extension in ours.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        theirs = builder.sign(ROOT_KEY, hashes.SHA384())
        assert ours.tbs_certificate_bytes == theirs.tbs_certificate_bytes


def test_a_profile_that_changed_under_its_name_is_encoded_anew() -> None:
    issuer, profile = IssuerFacts.of(ROOT), profile_of("device")
    changed = profile.model_copy(update={"extended_key_usage": ("clientAuth",)})
    for one, count in ((profile, 2), (changed, 1), (profile, 2)):
        certificate = issue(one, identity_of("device"), KEY.public_key(), issuer, ROOT_KEY)
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert len(list(usage)) == count


def test_a_policy_may_name_its_practice_statement() -> None:
    policies = (
        Policy(oid="1.3.6.1.4.1.32473.2.1", cps_uri="http://pki.example.mn/cps"),
        Policy(oid="2.5.29.32.0"),
    )
    profile = profile_of("device").model_copy(update={"policies": policies})
    issuer = IssuerFacts.of(ROOT)
    public_key = KEY.public_key()
    times = validity(profile, NOW, issuer.not_after)
    contents = CertificateContents(
        profile, identity_of("device"), public_key, issuer, ADDRESSES, SERIAL, *times
    )
    assert lint_tbs(build_tbs(contents), lint_facts(contents)) == []


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_certificate_says_what_the_profile_says(name: str) -> None:
    profile, certificate = PROFILES[name], certificate_of(name)
    found = certificate.extensions
    usage = found.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.content_commitment == ("nonRepudiation" in profile.key_usage)
    assert usage.value.digital_signature == ("digitalSignature" in profile.key_usage)
    assert usage.value.key_cert_sign == usage.value.crl_sign == profile.kind.endswith("-ca")
    constraints = found.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(profile.kind.endswith("-ca"), profile.path_length)
    present = {extension.oid.dotted_string for extension in found}
    assert (oid.EXT_KEY_USAGE in present) == bool(profile.extended_key_usage)
    assert (oid.CERTIFICATE_POLICIES in present) == bool(profile.policies)
    assert (oid.CRL_DISTRIBUTION_POINTS in present) == profile.crl_distribution_points
    assert (oid.OCSP_NOCHECK in present) == profile.ocsp_nocheck
    assert (oid.QC_STATEMENTS in present) == (profile.qc_statements is not None)
    assert (oid.AUTHORITY_INFO_ACCESS in present) == (profile.kind != "root-ca")


def test_addresses_are_where_relying_parties_look() -> None:
    found = certificate_of("tls-server").extensions
    access = {
        description.access_method.dotted_string: description.access_location.value
        for description in found.get_extension_for_class(x509.AuthorityInformationAccess).value
    }
    assert access == {oid.AD_OCSP: ADDRESSES.ocsp, oid.AD_CA_ISSUERS: ADDRESSES.ca_issuers}
    (point,) = found.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name == [x509.UniformResourceIdentifier(ADDRESSES.crl)]
    assert oid.FRESHEST_CRL not in {extension.oid.dotted_string for extension in found}


@pytest.mark.parametrize("name", sorted(set(PROFILES) - {"root-ca"}))
def test_rfc5280_4_2_1_15_freshest_crl_is_beside_the_crl_of_an_issuer_with_deltas(name: str) -> None:
    profile = profile_of(name)
    certificate = issue(
        profile, identity_of(name), KEY.public_key(), IssuerFacts.of(ROOT), ROOT_KEY, addresses=WITH_DELTA
    )
    urls = {
        point.oid.dotted_string: point.value[0].full_name[0].value
        for point in certificate.extensions
        if isinstance(point.value, x509.CRLDistributionPoints | x509.FreshestCRL) and not point.critical
    }
    want = {oid.CRL_DISTRIBUTION_POINTS: WITH_DELTA.crl, oid.FRESHEST_CRL: WITH_DELTA.delta}
    assert urls == (want if profile.crl_distribution_points else {})
    # The octets are those that CRLs have too (RFC 5280 §5.2.6).
    if profile.crl_distribution_points:
        value = certificate.extensions.get_extension_for_class(x509.FreshestCRL).value.public_bytes()
        assert der.octet_string(value) in freshest_crl([WITH_DELTA.delta or ""])


@pytest.mark.parametrize("limit", [None, 1, 5_000_000])
def test_citizen_signature(limit: int | None) -> None:
    certificate = certificate_of("citizen-signature", limit)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.content_commitment
    assert usage.public_bytes() == b"\x03\x02\x06\x40"  # nonRepudiation, bit 1, alone
    statements = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(oid.QC_STATEMENTS)).value
    assert isinstance(statements, x509.UnrecognizedExtension)
    limits = () if limit is None else (QcLimitValue("MNT", limit),)
    assert parse_qc_statements(statements.value) == (
        PKIXQCSyntaxV2(oid.SEMANTICS_NATURAL),
        QcType((oid.QCT_ESIGN,)),
        *limits,
    )
    assert certificate.not_valid_before_utc == NOW
    assert certificate.not_valid_after_utc == datetime(2031, 7, 9, 6, 59, 59, tzinfo=UTC)
    assert certificate_identity(certificate) == identity_of("citizen-signature", limit)


def test_cyrillic_is_utf8_and_serial_number_printable() -> None:
    subject = certificate_of("citizen-signature").subject.public_bytes()
    assert der.utf8_string("Бат-Эрдэнэ") in subject
    assert der.encode(der.PRINTABLE_STRING, b"PNOMN-123456789012") in subject


def test_key_identifiers_are_rfc5280_method_1() -> None:
    certificate = certificate_of("device")
    point = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    ski = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    aki = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert ski.digest == hashlib.sha1(point, usedforsecurity=False).digest()
    assert aki.key_identifier == key_identifier(ROOT_KEY.public_key())


def test_authority_key_identifier_is_the_issuers_own_even_when_made_otherwise() -> None:
    foreign = (
        x509.CertificateBuilder(
            ROOT_NAME, ROOT_NAME, ROOT_KEY.public_key(), 1, NOW, NOW + timedelta(days=3650)
        )
        .add_extension(x509.SubjectKeyIdentifier(b"\x01\x02\x03"), critical=False)
        .sign(ROOT_KEY, signature_algorithm_for(ROOT_KEY.public_key()).hash)
    )
    assert IssuerFacts.of(foreign).key_identifier == b"\x01\x02\x03"


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["p521", "ed25519", "rsa"],
)
def test_every_kind_of_issuer_key_has_its_signature_algorithm(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey,
) -> None:
    issuer = IssuerFacts.of_root(ROOT_NAME, key.public_key())
    profile = profile_of("root-ca")
    period = validity(profile, NOW, None)
    contents = CertificateContents(
        profile, Identity(ROOT_NAME), key.public_key(), issuer, ADDRESSES, SERIAL, *period
    )
    tbs = build_tbs(contents)
    assert signature_algorithm_for(key.public_key()).der in tbs
    assert lint_tbs(tbs, lint_facts(contents)) == []


def test_san_is_critical_exactly_where_there_is_no_subject() -> None:
    identity = Identity(x509.Name([]), (parse_san("dns:pki.gov.mn"),))
    nameless = issue(profile_of("tls-server"), identity, KEY.public_key(), IssuerFacts.of(ROOT), ROOT_KEY)
    assert nameless.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    named = certificate_of("tls-server")
    assert not named.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (datetime(2026, 3, 1, tzinfo=UTC), datetime(2031, 2, 28, 23, 59, 59, tzinfo=UTC)),
        (datetime(2028, 2, 29, 10, tzinfo=UTC), datetime(2033, 2, 28, 9, 59, 59, tzinfo=UTC)),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2031, 12, 31, 23, 59, 58, tzinfo=UTC)),
    ],
)
def test_years_are_calendar_years(start: datetime, end: datetime) -> None:
    assert validity(PROFILES["citizen-signature"], start, None) == (start, end)


def test_lifetime_may_end_with_the_issuer_but_not_after_it() -> None:
    profile = PROFILES["tls-server"]
    end = NOW + timedelta(days=397) - timedelta(seconds=1)
    assert validity(profile, NOW, end) == (NOW, end)
    with pytest.raises(RefusedError, match="outlive its issuer"):
        validity(profile, NOW, end - timedelta(seconds=1))


def test_lifetime_may_be_cut_at_the_issuers_end_while_there_is_any_left() -> None:
    profile = PROFILES["tls-server"]
    second = timedelta(seconds=1)
    assert validity(profile, NOW, NOW + second, cut=True) == (NOW, NOW + second)
    with pytest.raises(RefusedError, match="outlive its issuer"):
        validity(profile, NOW, NOW, cut=True)


def test_profile_without_a_lifetime_of_its_own_needs_one() -> None:
    with pytest.raises(RefusedError, match="no lifetime"):
        validity(PROFILES["issuing-ca"], NOW, None)
