"""Every lint rule with what keeps it and what breaks it: a TBS is taken apart, changed, and put together."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiserver.ca.lint import RULES, STRUCTURE, Finding, LintError, LintFacts, check_tbs, lint_tbs
from pkiserver.ca.lint_common import CommonRules, common_case
from pkiserver.ca.lint_tbs import (
    TBS,
    Case,
    Extension,
    Rule,
    issuer_tbs,
    read_before,
    read_tbs,
    second_reading,
)
from pkiserver.errors import RefusedError
from protocols.asn1 import der
from protocols.errors import ErrorKind, ProtocolError

NOW = datetime(2026, 5, 1, 8, 0, 0, tzinfo=UTC)
SERIAL = (1 << 126) + 12345
EXPLICIT_TEXT = "1.3.6.1.4.1.99999.1.1"
OCSP_URL, CA_URL, CRL_URL, DELTA_URL = (
    "http://pki.example/ocsp",
    "http://pki.example/ca.crt",
    "http://pki.example/ca.crl",
    "http://pki.example/ca.delta.crl",
)
QC_STATEMENTS = der.sequence(der.sequence(der.oid("0.4.0.1862.1.1")))
QC_OID, SAN_OID, KU_OID, EKU_OID, BC_OID = (
    "1.3.6.1.5.5.7.1.3",
    "2.5.29.17",
    "2.5.29.15",
    "2.5.29.37",
    "2.5.29.19",
)
AKI_OID, SKI_OID, AIA_OID, CDP_OID = "2.5.29.35", "2.5.29.14", "1.3.6.1.5.5.7.1.1", "2.5.29.31"
CP_OID, NOCHECK_OID, FRESHEST_OID = "2.5.29.32", "1.3.6.1.5.5.7.48.1.5", "2.5.29.46"
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)

CA_KEY = ec.generate_private_key(ec.SECP256R1())
LEAF_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
RSA_KEY = rsa.generate_private_key(65537, 2048)


def spki(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def key_usage(names: frozenset[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in names for name in _USAGES})


# --- the base cases, each made by cryptography's builder ----------------------------------------------------


def build(facts: LintFacts, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> x509.Certificate:
    """Return a certificate that keeps every rule about `facts`."""
    issuer = facts.subject if facts.issuer is None else facts.issuer.subject
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=facts.subject,
        public_key=key.public_key(),
        serial_number=facts.serial_number,
        not_valid_before=facts.not_before,
        not_valid_after=facts.not_after,
    )
    add = builder.add_extension
    builder = add(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(CA_KEY.public_key()), critical=False
    )
    builder = builder.add_extension(key_usage(facts.key_usage), critical=True)
    builder = builder.add_extension(
        x509.BasicConstraints(facts.is_ca, facts.path_length), critical=facts.is_ca
    )
    if facts.extended_key_usage:
        purposes = [x509.ObjectIdentifier(oid) for oid in sorted(facts.extended_key_usage)]
        critical = purposes == [ExtendedKeyUsageOID.TIME_STAMPING]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=critical)
    if facts.san:
        empty = facts.subject == x509.Name([])
        builder = builder.add_extension(x509.SubjectAlternativeName(facts.san), critical=empty)
    if facts.ocsp_urls:
        access = [
            *((AuthorityInformationAccessOID.OCSP, url) for url in facts.ocsp_urls),
            *((AuthorityInformationAccessOID.CA_ISSUERS, url) for url in facts.ca_issuers_urls),
        ]
        descriptions = [
            x509.AccessDescription(method, x509.UniformResourceIdentifier(url)) for method, url in access
        ]
        builder = builder.add_extension(x509.AuthorityInformationAccess(descriptions), critical=False)
    if facts.crl_urls:
        names = [x509.UniformResourceIdentifier(url) for url in facts.crl_urls]
        points = [x509.DistributionPoint(names, None, None, None)]
        builder = builder.add_extension(x509.CRLDistributionPoints(points), critical=False)
    if facts.freshest_crl_urls:
        names = [x509.UniformResourceIdentifier(url) for url in facts.freshest_crl_urls]
        points = [x509.DistributionPoint(names, None, None, None)]
        builder = builder.add_extension(x509.FreshestCRL(points), critical=False)
    if facts.policies:
        policies = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in facts.policies]
        builder = builder.add_extension(x509.CertificatePolicies(policies), critical=False)
    if facts.qc_statements is not None:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(QC_OID), facts.qc_statements)
        builder = builder.add_extension(unknown, critical=False)
    if facts.ocsp_nocheck:
        builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
    return builder.sign(CA_KEY, hashes.SHA256())


CA_NAME = x509.Name(
    [x509.NameAttribute(NameOID.COUNTRY_NAME, "MN"), x509.NameAttribute(NameOID.COMMON_NAME, "Үндэсний ГО")]
)
ROOT_FACTS = LintFacts(
    issuer=None,
    signature_algorithm=der.sequence(der.oid("1.2.840.10045.4.3.2")),
    serial_number=SERIAL,
    not_before=NOW - timedelta(days=1),
    not_after=datetime(2056, 1, 1, tzinfo=UTC),
    subject=CA_NAME,
    san=(),
    spki=spki(CA_KEY),
    key_usage=frozenset({"key_cert_sign", "crl_sign"}),
    extended_key_usage=frozenset(),
    is_ca=True,
    path_length=1,
    ocsp_urls=(),
    ca_issuers_urls=(),
    crl_urls=(),
    policies=(),
)
ROOT = build(ROOT_FACTS, CA_KEY)
CA_FACTS = replace(
    ROOT_FACTS,
    issuer=ROOT,
    not_before=NOW,
    not_after=datetime(2050, 1, 1, tzinfo=UTC),
    subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Citizen CA")]),
    spki=spki(LEAF_KEY),
    path_length=0,
    ocsp_urls=(OCSP_URL,),
    ca_issuers_urls=(CA_URL,),
    crl_urls=(CRL_URL,),
)
LEAF_FACTS = replace(
    CA_FACTS,
    not_after=NOW + timedelta(days=365),
    subject=x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "MN"),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, "PNOMN-99010112"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Бат Болд"),
            x509.NameAttribute(NameOID.EMAIL_ADDRESS, "bat@example.mn"),
        ]
    ),
    san=(x509.DNSName("www.example.mn"), x509.DNSName("*.example.mn"), x509.RFC822Name("bat@example.mn")),
    key_usage=frozenset({"digital_signature", "key_agreement"}),
    extended_key_usage=frozenset(
        {ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string, ExtendedKeyUsageOID.SERVER_AUTH.dotted_string}
    ),
    is_ca=False,
    path_length=None,
    policies=(EXPLICIT_TEXT, "0.4.0.194112.1.0"),
    freshest_crl_urls=(DELTA_URL,),
    qc_statements=QC_STATEMENTS,
)
RESPONDER_FACTS = replace(
    LEAF_FACTS,
    san=(),
    key_usage=frozenset({"digital_signature"}),
    extended_key_usage=frozenset({ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string}),
    qc_statements=None,
    ocsp_nocheck=True,
)
TSA_FACTS = replace(
    RESPONDER_FACTS,
    extended_key_usage=frozenset({ExtendedKeyUsageOID.TIME_STAMPING.dotted_string}),
    ocsp_nocheck=False,
)
NAMELESS_FACTS = replace(LEAF_FACTS, subject=x509.Name([]))
RSA_FACTS = replace(
    LEAF_FACTS, spki=spki(RSA_KEY), key_usage=frozenset({"digital_signature", "key_encipherment"})
)
BASES = {
    "root": (ROOT_FACTS, read_tbs(ROOT.tbs_certificate_bytes)),
    **{
        name: (facts, read_tbs(build(facts, key).tbs_certificate_bytes))
        for name, facts, key in (
            ("ca", CA_FACTS, LEAF_KEY),
            ("leaf", LEAF_FACTS, LEAF_KEY),
            ("responder", RESPONDER_FACTS, LEAF_KEY),
            ("tsa", TSA_FACTS, LEAF_KEY),
            ("nameless", NAMELESS_FACTS, LEAF_KEY),
            ("rsa", RSA_FACTS, RSA_KEY),
        )
    },
}


@pytest.mark.parametrize("base", BASES)
def test_a_right_certificate_has_no_finding(base: str) -> None:
    facts, tbs = BASES[base]
    assert lint_tbs(tbs.der, facts) == []
    check_tbs(tbs.der, facts)


# --- taking apart and putting together ----------------------------------------------------------------------


def assemble(tbs: TBS, *, version: bytes | None = None, tail: bytes = b"") -> bytes:
    """Return the DER of a TBS from its parts, with `tail` between the public key and the extensions."""
    parts = [
        version if version is not None else der.explicit(0, der.integer(tbs.version)),
        der.encode(der.INTEGER, tbs.serial),
        tbs.signature,
        tbs.issuer,
        der.sequence(*(der.encode(time.tag, time.content) for time in (tbs.not_before, tbs.not_after))),
        tbs.subject,
        tbs.spki,
        tail,
    ]
    if tbs.extensions:
        parts.append(der.explicit(3, der.sequence(*map(extension_der, tbs.extensions))))
    return der.sequence(*parts)


def extension_der(extension: Extension) -> bytes:
    critical = der.boolean(extension.critical) if extension.critical_written else b""
    return der.sequence(der.oid(extension.oid), critical, der.octet_string(extension.value))


def with_value(tbs: TBS, oid: str, value: bytes | x509.ExtensionType) -> bytes:
    """Return the TBS with another value in one extension."""
    content = value if isinstance(value, bytes) else value.public_bytes()
    assert tbs.extension(oid) is not None
    return assemble(
        replace(
            tbs, extensions=tuple(replace(e, value=content) if e.oid == oid else e for e in tbs.extensions)
        )
    )


def with_critical(tbs: TBS, oid: str, critical: bool) -> bytes:
    assert tbs.extension(oid) is not None
    changed = tuple(
        replace(e, critical=critical, critical_written=critical) if e.oid == oid else e
        for e in tbs.extensions
    )
    return assemble(replace(tbs, extensions=changed))


def without(tbs: TBS, oid: str) -> bytes:
    assert tbs.extension(oid) is not None
    return assemble(replace(tbs, extensions=tuple(e for e in tbs.extensions if e.oid != oid)))


def with_more(tbs: TBS, *extensions: Extension) -> bytes:
    return assemble(replace(tbs, extensions=(*tbs.extensions, *extensions)))


def plain(oid: str, value: bytes, *, critical: bool = False) -> Extension:
    return Extension(oid, critical, critical, value)


def with_times(tbs: TBS, **times: tuple[int, bytes]) -> bytes:
    changed = {
        name: replace(getattr(tbs, name), tag=tag, content=content) for name, (tag, content) in times.items()
    }
    return assemble(replace(tbs, **changed))


def with_attribute(tbs: TBS, oid: str, value: bytes) -> bytes:
    """Return the TBS with a subject of one attribute."""
    subject = der.sequence(der.encode(der.SET, der.sequence(der.oid(oid), value)))
    return assemble(replace(tbs, subject=subject))


def with_serial(tbs: TBS, serial: int) -> bytes:
    return assemble(replace(tbs, serial=der.integer_content(serial)))


def with_names(tbs: TBS, *names: bytes) -> bytes:
    return with_value(tbs, SAN_OID, der.sequence(*names))


def dns(text: str) -> bytes:
    return der.encode(der.context(2, constructed=False), text.encode())


def email(text: str) -> bytes:
    return der.encode(der.context(1, constructed=False), text.encode())


def uri(text: str) -> bytes:
    return der.encode(der.context(6, constructed=False), text.encode())


def usage(*names: str) -> x509.KeyUsage:
    return key_usage(frozenset(names))


def point(*urls: str) -> bytes:
    return der.sequence(der.explicit(0, der.explicit(0, b"".join(map(uri, urls)))))


def access(method: str, location: bytes) -> bytes:
    return der.sequence(der.oid(method), location)


# The CA's name with its country as UTF8String: equal to a person, not to a verifier that compares octets.
CA_NAME_RECODED = CA_NAME.public_bytes().replace(b"\x13\x02MN", b"\x0c\x02MN")
CN, C, SN, E = "2.5.4.3", "2.5.4.6", "2.5.4.5", "1.2.840.113549.1.9.1"
PRINTABLE, UTF8 = der.PRINTABLE_STRING, der.UTF8_STRING
OCSP, CA_ISSUERS = "1.3.6.1.5.5.7.48.1", "1.3.6.1.5.5.7.48.2"
DS = frozenset({"digital_signature"})


@dataclass(frozen=True)
class Breach:
    """A TBS made of a base that breaks `rule`, perhaps against other facts; `also` are broken too."""

    rule: str
    base: str
    make: Callable[[TBS], bytes]
    also: frozenset[str] = frozenset()
    facts: Callable[[LintFacts], LintFacts] = lambda facts: facts


def breach(
    rule: str,
    base: str,
    make: Callable[[TBS], bytes],
    *also: str,
    **facts: object,
) -> Breach:
    return Breach(rule, base, make, frozenset(also), lambda old: replace(old, **facts))  # type: ignore[arg-type]


def names(*names: bytes) -> Callable[[TBS], bytes]:
    return lambda tbs: with_names(tbs, *names)


def made_critical(oid: str) -> Callable[[TBS], bytes]:
    return lambda tbs: with_critical(tbs, oid, True)


def qualified(qualifier: str | x509.UserNotice) -> Callable[[TBS], bytes]:
    policy = x509.PolicyInformation(x509.ObjectIdentifier(EXPLICIT_TEXT), [qualifier])
    return lambda tbs: with_value(tbs, CP_OID, x509.CertificatePolicies([policy]))


def text(oid: str, tag: int, value: str) -> Callable[[TBS], bytes]:
    return lambda tbs: with_attribute(tbs, oid, der.encode(tag, value.encode()))


BREACHES = (
    breach("version", "leaf", lambda tbs: assemble(tbs, version=b"")),
    breach("version", "leaf", lambda tbs: assemble(replace(tbs, version=1)), "second_decoder"),
    breach("version", "leaf", lambda tbs: assemble(replace(tbs, version=0)), "second_decoder"),
    breach("serial_form", "leaf", lambda tbs: with_serial(tbs, -SERIAL), "serial_reserved"),
    breach("serial_form", "leaf", lambda tbs: with_serial(tbs, -SERIAL), serial_number=-SERIAL),
    breach("serial_form", "leaf", lambda tbs: with_serial(tbs, 0), "serial_reserved", "serial_entropy"),
    breach(
        "serial_form",
        "leaf",
        lambda tbs: with_serial(tbs, 1 << 160),
        "serial_entropy",
        serial_number=1 << 160,
    ),
    breach("serial_reserved", "leaf", lambda tbs: with_serial(tbs, SERIAL + 1)),
    breach(
        "serial_entropy", "leaf", lambda tbs: with_serial(tbs, (1 << 63) - 1), serial_number=(1 << 63) - 1
    ),
    breach("serial_entropy", "leaf", lambda tbs: with_serial(tbs, 1 << 127), serial_number=1 << 127),
    breach(
        "signature_algorithm",
        "leaf",
        lambda tbs: assemble(replace(tbs, signature=der.sequence(der.oid("1.2.840.10045.4.3.3")))),
    ),
    breach(
        "signature_algorithm",
        "leaf",
        lambda tbs: assemble(
            replace(tbs, signature=der.sequence(der.oid("1.2.840.10045.4.3.2"), der.null()))
        ),
        "second_decoder",
    ),
    breach(
        "issuer_name",
        "leaf",
        lambda tbs: assemble(replace(tbs, issuer=CA_NAME_RECODED)),
    ),
    breach(
        "issuer_name", "root", lambda tbs: assemble(replace(tbs, issuer=LEAF_FACTS.subject.public_bytes()))
    ),
    breach(
        "issuer_not_empty", "leaf", lambda tbs: assemble(replace(tbs, issuer=der.sequence())), "issuer_name"
    ),
    breach(
        "validity_order",
        "leaf",
        lambda tbs: with_times(tbs, not_after=(tbs.not_before.tag, tbs.not_before.content)),
        not_after=NOW,
    ),
    breach(
        "validity_approved", "leaf", lambda tbs: with_times(tbs, not_before=(der.UTC_TIME, b"260501080001Z"))
    ),
    breach(
        "validity_approved", "leaf", lambda tbs: with_times(tbs, not_after=(der.UTC_TIME, b"270501080001Z"))
    ),
    breach(
        "validity_nesting",
        "leaf",
        lambda tbs: with_times(tbs, not_before=(der.UTC_TIME, b"260430075959Z")),
        not_before=datetime(2026, 4, 30, 7, 59, 59, tzinfo=UTC),
    ),
    breach(
        "validity_nesting",
        "ca",
        lambda tbs: with_times(tbs, not_after=(der.GENERALIZED_TIME, b"20560101000001Z")),
        not_after=datetime(2056, 1, 1, 0, 0, 1, tzinfo=UTC),
    ),
    breach(
        "validity_encoding",
        "leaf",
        lambda tbs: with_times(tbs, not_before=(der.GENERALIZED_TIME, b"20260501080000Z")),
    ),
    breach("spki_approved", "leaf", lambda tbs: assemble(replace(tbs, spki=spki(CA_KEY))), "ski"),
    breach(
        "unique_ids",
        "leaf",
        lambda tbs: assemble(tbs, tail=der.encode(der.context(1, constructed=False), b"\x00\x01")),
    ),
    breach(
        "der",
        "leaf",
        lambda tbs: assemble(
            replace(
                tbs,
                extensions=tuple(
                    replace(e, critical_written=True) if e.oid == AIA_OID else e for e in tbs.extensions
                ),
            )
        ),
        "second_decoder",
    ),
    breach(
        "der",  # the NULL of an algorithm, with content
        "leaf",
        lambda tbs: assemble(
            replace(tbs, signature=der.sequence(der.oid("1.2.840.10045.4.3.2"), b"\x05\x01\x00"))
        ),
        "signature_algorithm",
        "second_decoder",
    ),
    breach(
        "der",
        "leaf",
        lambda tbs: assemble(replace(tbs, serial=b"\x00" + tbs.serial)),
        "serial_form",
        "serial_reserved",
        "serial_entropy",
        "second_decoder",
    ),
    breach("der", "leaf", lambda tbs: with_value(tbs, QC_OID, b"\x30\x81\x00"), "qc_statements"),
    breach("der", "leaf", lambda tbs: with_value(tbs, QC_OID, b"\x30\x03\x01\x01\x01"), "qc_statements"),
    # names
    breach("subject_approved", "leaf", text(CN, UTF8, "Бат Дорж")),
    breach(
        "subject_of_ca",
        "ca",
        lambda tbs: assemble(replace(tbs, subject=der.sequence())),
        "san_not_empty",
        subject=x509.Name([]),
    ),
    breach("name_encoding", "leaf", text(C, UTF8, "MN"), "subject_approved"),
    breach("name_encoding", "leaf", text(SN, UTF8, "PNOMN-1"), "subject_approved"),
    breach("name_encoding", "leaf", text(E, UTF8, "bat@example.mn"), "subject_approved"),
    breach("name_encoding", "leaf", text(CN, der.IA5_STRING, "Bat"), "subject_approved"),
    breach("name_encoding", "leaf", text(CN, 0x14, "Bat"), "subject_approved", "der"),
    breach("name_country", "leaf", text(C, PRINTABLE, "mn"), "subject_approved"),
    breach("name_country", "leaf", text(C, PRINTABLE, "M1"), "subject_approved"),
    breach("name_bounds", "leaf", text(CN, UTF8, "Б" * 65), "subject_approved"),
    breach("name_bounds", "leaf", text(E, der.IA5_STRING, "a" * 256), "subject_approved"),
    breach("name_not_empty", "leaf", text(CN, UTF8, ""), "subject_approved"),
    breach("name_not_empty", "leaf", text(CN, UTF8, "  "), "subject_approved"),
    breach("name_spaces", "leaf", text(CN, UTF8, " Бат"), "subject_approved"),
    breach("name_spaces", "leaf", text(CN, UTF8, "Бат\u00a0"), "subject_approved", "name_characters"),
    breach("name_characters", "leaf", text(CN, UTF8, "Бат\x00Болд"), "subject_approved"),
    breach("name_characters", "leaf", text(CN, UTF8, "Бат\u202eБолд"), "subject_approved"),
    breach("san_approved", "leaf", lambda tbs: with_names(tbs, dns("www.example.mn"))),
    breach("san_approved", "leaf", lambda tbs: without(tbs, SAN_OID)),
    breach(
        "san_approved",
        "responder",
        lambda tbs: with_more(tbs, plain(SAN_OID, der.sequence(dns("evil.example")))),
    ),
    breach("san_not_empty", "leaf", with_names, "san_approved"),
    breach("san_not_empty", "nameless", lambda tbs: without(tbs, SAN_OID), "san_approved"),
    breach("san_critical", "nameless", lambda tbs: with_critical(tbs, SAN_OID, False)),
    breach("san_critical", "leaf", lambda tbs: with_critical(tbs, SAN_OID, True)),
    *(
        breach("san_dns_name", "leaf", names(dns(name)), "san_approved")
        for name in (
            "a_b.mn",
            "-a.mn",
            "a-.mn",
            "a..mn",
            "",
            ".",
            "a.mn.",
            "a.*.mn",
            "*",
            f"{'a' * 64}.mn",
            "a." * 127 + "a",
        )
    ),
    *(
        breach("san_email", "leaf", names(email(name)), "san_approved")
        for name in ("bat", "<bat@a.mn>", "bat@", "@a.mn", "bat@-a.mn", "bat dorj@a.mn")
    ),
    # usage
    breach("key_usage_approved", "leaf", lambda tbs: with_value(tbs, KU_OID, usage("digital_signature"))),
    breach("key_usage_approved", "leaf", lambda tbs: without(tbs, KU_OID)),
    breach("key_usage_critical", "leaf", lambda tbs: with_critical(tbs, KU_OID, False)),
    breach(
        "key_usage_not_empty",
        "leaf",
        lambda tbs: with_value(tbs, KU_OID, b"\x03\x01\x00"),
        "key_usage_approved",
    ),
    breach(
        "key_usage_of_ca",
        "leaf",
        lambda tbs: with_value(tbs, KU_OID, usage("digital_signature", "key_cert_sign")),
        key_usage=DS | {"key_cert_sign"},
    ),
    breach(
        "key_usage_of_ca",
        "ca",
        lambda tbs: with_value(tbs, KU_OID, usage("crl_sign")),
        key_usage=frozenset({"crl_sign"}),
    ),
    breach(
        "key_usage_fits_key",
        "leaf",
        lambda tbs: with_value(tbs, KU_OID, usage("digital_signature", "key_encipherment")),
        key_usage=DS | {"key_encipherment"},
    ),
    breach(
        "key_usage_fits_key",
        "rsa",
        lambda tbs: with_value(tbs, KU_OID, usage("digital_signature", "key_agreement")),
        key_usage=DS | {"key_agreement"},
    ),
    breach(
        "key_usage_fits_key",
        "leaf",
        lambda tbs: assemble(replace(tbs, spki=spki(ED_KEY))),
        "ski",
        spki=spki(ED_KEY),
    ),
    breach(
        "key_usage_qualified",  # cryptography's own class refuses to make this one
        "leaf",
        lambda tbs: with_value(tbs, KU_OID, b"\x03\x02\x00\x81"),
        "second_decoder",
        key_usage=DS | {"encipher_only"},
    ),
    breach(
        "key_usage_qualified",
        "leaf",
        lambda tbs: with_value(tbs, KU_OID, b"\x03\x03\x07\x89\x80"),
        key_usage=DS | {"key_agreement", "encipher_only", "decipher_only"},
    ),
    breach(
        "purposes_approved",
        "leaf",
        lambda tbs: with_value(tbs, EKU_OID, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])),
    ),
    breach("purposes_approved", "leaf", lambda tbs: without(tbs, EKU_OID)),
    breach(
        "purposes_approved",
        "leaf",
        lambda tbs: with_value(
            tbs, EKU_OID, der.sequence(*map(der.oid, sorted(LEAF_FACTS.extended_key_usage) * 2))
        ),
    ),
    breach(
        "purposes_not_empty",
        "leaf",
        lambda tbs: with_value(tbs, EKU_OID, der.sequence()),
        "purposes_approved",
        "second_decoder",
    ),
    breach(
        "purposes_not_any",
        "leaf",
        lambda tbs: with_value(
            tbs, EKU_OID, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
        ),
        extended_key_usage=frozenset({"2.5.29.37.0"}),
    ),
    breach("purposes_critical", "leaf", lambda tbs: with_critical(tbs, EKU_OID, True)),
    breach("purposes_critical", "tsa", lambda tbs: with_critical(tbs, EKU_OID, False)),
    breach(
        "purposes_fit_key_usage",
        "leaf",
        lambda tbs: with_value(tbs, KU_OID, usage("content_commitment")),
        key_usage=frozenset({"content_commitment"}),
    ),
    breach("basic_constraints", "ca", lambda tbs: with_critical(tbs, BC_OID, False)),
    breach(
        "basic_constraints",
        "leaf",
        lambda tbs: with_value(tbs, BC_OID, x509.BasicConstraints(True, None)),
        "key_usage_of_ca",
        "issuer_path_length",
    ),
    breach("basic_constraints", "ca", lambda tbs: without(tbs, BC_OID), "key_usage_of_ca", "path_length"),
    breach(
        "path_length",
        "ca",
        lambda tbs: with_value(tbs, BC_OID, x509.BasicConstraints(True, 0)),
        path_length=None,
    ),
    breach("path_length", "root", lambda tbs: with_value(tbs, BC_OID, x509.BasicConstraints(True, 2))),
    breach(
        "path_length",
        "leaf",
        lambda tbs: with_value(tbs, BC_OID, der.sequence(der.integer(0))),
        "second_decoder",
        path_length=0,
    ),
    breach(
        "issuer_may_issue",
        "leaf",
        lambda tbs: assemble(replace(tbs, issuer=LEAF_FACTS.subject.public_bytes())),
        "aki",
        issuer=build(replace(LEAF_FACTS, not_after=CA_FACTS.not_after), LEAF_KEY),
    ),
    breach(
        "issuer_path_length",
        "ca",
        lambda tbs: with_value(tbs, BC_OID, x509.BasicConstraints(True, 1)),
        path_length=1,
    ),
    breach(
        "issuer_path_length",
        "ca",
        lambda tbs: with_value(tbs, BC_OID, x509.BasicConstraints(True, None)),
        path_length=None,
    ),
    breach("ocsp_nocheck", "responder", lambda tbs: without(tbs, NOCHECK_OID)),
    breach("ocsp_nocheck", "tsa", lambda tbs: with_more(tbs, plain(NOCHECK_OID, der.null()))),
    breach(
        "ocsp_nocheck", "tsa", lambda tbs: with_more(tbs, plain(NOCHECK_OID, der.null())), ocsp_nocheck=True
    ),
    breach(
        "ocsp_nocheck",
        "responder",
        lambda tbs: with_value(tbs, NOCHECK_OID, der.octet_string(b"")),
        "second_decoder",
    ),
    # extensions
    breach(
        "extensions_unique",
        "leaf",
        lambda tbs: assemble(replace(tbs, extensions=(*tbs.extensions, tbs.extensions[0]))),
        "second_decoder",
    ),
    breach("extensions_known", "leaf", lambda tbs: with_more(tbs, plain(EXPLICIT_TEXT, der.null()))),
    breach(
        "extensions_known",
        "leaf",
        lambda tbs: with_more(tbs, plain(EXPLICIT_TEXT, der.null(), critical=True)),
    ),
    *(
        breach("extensions_never_critical", base, made_critical(oid))
        for base, oid in (
            ("leaf", AKI_OID),
            ("leaf", SKI_OID),
            ("leaf", AIA_OID),
            ("leaf", CDP_OID),
            ("leaf", FRESHEST_OID),
            ("leaf", CP_OID),
            ("leaf", QC_OID),
            ("responder", NOCHECK_OID),
        )
    ),
    # an x400Address, which it does not know
    breach("second_decoder", "leaf", names(der.explicit(3, der.null()))),
    breach("aki", "leaf", lambda tbs: without(tbs, AKI_OID)),
    breach(
        "aki",
        "leaf",
        lambda tbs: with_value(tbs, AKI_OID, x509.AuthorityKeyIdentifier(b"\x01" * 20, None, None)),
    ),
    breach(
        "aki",
        "leaf",
        lambda tbs: with_value(
            tbs,
            AKI_OID,
            x509.AuthorityKeyIdentifier(
                x509.SubjectKeyIdentifier.from_public_key(CA_KEY.public_key()).digest,
                [x509.DirectoryName(CA_NAME)],
                SERIAL,
            ),
        ),
    ),
    breach(
        "aki",
        "root",
        lambda tbs: with_value(tbs, AKI_OID, x509.AuthorityKeyIdentifier(b"\x01" * 20, None, None)),
    ),
    breach("ski", "leaf", lambda tbs: without(tbs, SKI_OID)),
    breach(
        "ski",
        "leaf",
        lambda tbs: with_value(tbs, SKI_OID, der.octet_string(hashlib.sha256(LEAF_FACTS.spki).digest()[:20])),
    ),
    breach("aia", "leaf", lambda tbs: without(tbs, AIA_OID)),
    breach("aia", "leaf", lambda tbs: with_value(tbs, AIA_OID, der.sequence(access(OCSP, uri(OCSP_URL))))),
    breach(
        "aia",
        "leaf",
        lambda tbs: with_value(
            tbs,
            AIA_OID,
            der.sequence(
                access(OCSP, uri(OCSP_URL)), access(CA_ISSUERS, uri(CA_URL)), access(QC_OID, uri(CA_URL))
            ),
        ),
    ),
    breach(
        "aia",
        "leaf",
        lambda tbs: with_value(tbs, AIA_OID, der.sequence()),
        ocsp_urls=(),
        ca_issuers_urls=(),
    ),
    breach("crl_distribution_points", "ca", lambda tbs: without(tbs, CDP_OID)),
    breach(
        "crl_distribution_points",
        "leaf",
        lambda tbs: with_value(tbs, CDP_OID, der.sequence(point(CRL_URL, CRL_URL + "2"))),
    ),
    breach(
        "crl_distribution_points", "ca", lambda tbs: with_value(tbs, CDP_OID, der.sequence()), crl_urls=()
    ),
    breach("freshest_crl", "leaf", lambda tbs: without(tbs, FRESHEST_OID)),
    breach("freshest_crl", "leaf", lambda tbs: without(tbs, CDP_OID), crl_urls=()),
    breach(
        "freshest_crl",
        "leaf",
        lambda tbs: with_value(tbs, FRESHEST_OID, der.sequence(point(CRL_URL))),
    ),
    breach(
        "freshest_crl",
        "leaf",
        lambda tbs: with_value(tbs, FRESHEST_OID, der.sequence()),
        freshest_crl_urls=(),
    ),
    breach(
        "url_schemes",
        "leaf",
        lambda tbs: with_value(tbs, FRESHEST_OID, der.sequence(point("https://pki.example/d.crl"))),
        freshest_crl_urls=("https://pki.example/d.crl",),
    ),
    breach(
        "url_schemes",
        "leaf",
        lambda tbs: with_value(tbs, CDP_OID, der.sequence(point("https://pki.example/ca.crl"))),
        crl_urls=("https://pki.example/ca.crl",),
    ),
    breach(
        "url_schemes",
        "leaf",
        lambda tbs: with_value(tbs, AIA_OID, der.sequence(access(OCSP, uri("pki.example/ocsp")))),
        ocsp_urls=("pki.example/ocsp",),
        ca_issuers_urls=(),
    ),
    breach("policies", "leaf", lambda tbs: without(tbs, CP_OID)),
    breach(
        "policies",
        "leaf",
        lambda tbs: with_value(tbs, CP_OID, der.sequence(der.sequence(der.oid("2.5.29.32.0")))),
    ),
    breach(
        "policies",
        "leaf",
        lambda tbs: with_value(tbs, CP_OID, der.sequence(*[der.sequence(der.oid(EXPLICIT_TEXT))] * 2)),
        policies=(EXPLICIT_TEXT, EXPLICIT_TEXT),
    ),
    breach("policies", "leaf", qualified("http://pki.example/cps"), policies=(EXPLICIT_TEXT,)),
    breach(
        "policies",
        "leaf",
        qualified("http://pki.example/cps"),
        policies=(EXPLICIT_TEXT,),
        cps_uris=((EXPLICIT_TEXT, "http://pki.example/other"),),
    ),
    breach("policies", "leaf", qualified(x509.UserNotice(None, "text")), policies=(EXPLICIT_TEXT,)),
    breach("qc_statements", "leaf", lambda tbs: without(tbs, QC_OID)),
    breach("qc_statements", "leaf", lambda tbs: with_value(tbs, QC_OID, der.sequence())),
    breach("qc_statements", "responder", lambda tbs: with_more(tbs, plain(QC_OID, QC_STATEMENTS))),
    # what is no TBSCertificate at all
    breach("structure", "leaf", lambda _: b""),
    breach("structure", "leaf", lambda _: der.sequence()),
    breach("structure", "leaf", lambda tbs: tbs.der + b"\x00"),
    breach("structure", "leaf", lambda tbs: tbs.der[:-1]),
    breach("structure", "leaf", lambda tbs: b"\x30\x80" + tbs.der[4:] + b"\x00\x00"),
    breach("structure", "leaf", lambda tbs: with_times(tbs, not_before=(der.UTC_TIME, b"2605010800Z"))),
    breach("structure", "leaf", lambda tbs: with_times(tbs, not_before=(der.UTC_TIME, b"261301080000Z"))),
    breach("structure", "leaf", lambda tbs: with_times(tbs, not_before=(PRINTABLE, b"260501080000Z"))),
    breach(
        "structure", "leaf", lambda tbs: with_times(tbs, not_after=(der.GENERALIZED_TIME, b"205605010800Z"))
    ),
    breach("structure", "leaf", lambda tbs: with_more(tbs, *[plain(EXPLICIT_TEXT, b"")] * 40)),
)


def found_by(findings: list[Finding]) -> set[str]:
    return {finding.rule for finding in findings}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", BREACHES, ids=lambda case: case.rule)
def test_a_breach_is_found_by_its_rule_and_no_other(case: Breach) -> None:
    facts, tbs = BASES[case.base]
    found = found_by(lint_tbs(case.make(tbs), case.facts(facts)))
    assert case.rule in found
    assert found - {case.rule} == case.also


def test_every_rule_is_broken_by_some_case() -> None:
    assert {rule.name for rule in (*RULES, STRUCTURE)} == {case.rule for case in BREACHES}


def test_every_rule_has_a_name_and_a_citation_of_its_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert len({rule.check for rule in RULES}) == len(RULES)
    assert all(any(word in rule.citation for word in ("RFC", "BR", "ETSI")) for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_rule_finds_fault_with_a_right_certificate(rule: object) -> None:
    name = next(r.name for r in RULES if r is rule)
    for facts, tbs in BASES.values():
        assert name not in found_by(lint_tbs(tbs.der, facts))


def test_taking_apart_and_putting_together_changes_nothing() -> None:
    for _, tbs in BASES.values():
        assert assemble(tbs) == tbs.der


# --- rules that are asked once for many certificates --------------------------------------------------------


def case_of(tbs: bytes, facts: LintFacts) -> Case:
    read = read_tbs(tbs)
    issuer = read if facts.issuer is None else issuer_tbs(facts.issuer)
    read_before.clear()  # each is read by the second decoder as a whole
    return Case(read, facts, issuer, second_reading(read))


def found_by_each_rule(tbs: bytes, facts: LintFacts) -> list[Finding]:
    """Return the findings of every rule, asked about this certificate itself."""
    try:
        case = case_of(tbs, facts)
    except ProtocolError as error:
        return [Finding(STRUCTURE.name, STRUCTURE.citation, str(error))]
    findings = []
    for rule in RULES:
        try:
            findings += [Finding(rule.name, rule.citation, message) for message in rule.check(case)]
        except ProtocolError as error:
            findings.append(Finding(rule.name, rule.citation, str(error)))
    return findings


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", BREACHES, ids=lambda case: case.rule)
def test_what_is_remembered_hides_no_breach(case: Breach) -> None:
    facts, tbs = BASES[case.base]
    assert lint_tbs(tbs.der, facts) == []
    changed, expected = case.make(tbs), case.facts(facts)
    assert lint_tbs(changed, expected) == found_by_each_rule(changed, expected)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_remembered_hides_no_damage(data: st.DataObject) -> None:
    facts, tbs = BASES["leaf"]
    assert lint_tbs(tbs.der, facts) == []
    position = data.draw(st.integers(0, len(tbs.der) - 1))
    octet = data.draw(st.integers(0, 255))
    damaged = tbs.der[:position] + bytes((octet,)) + tbs.der[position + 1 :]
    assert lint_tbs(damaged, facts) == found_by_each_rule(damaged, facts)


def another_of_its_profile() -> Case:
    """Return a right certificate that differs from the base `leaf` in all that one's own is."""
    key = ec.generate_private_key(ec.SECP256R1())
    facts = replace(
        LEAF_FACTS,
        serial_number=SERIAL + 77,
        not_before=LEAF_FACTS.not_before + timedelta(hours=1),
        not_after=LEAF_FACTS.not_after - timedelta(hours=1),
        subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another.example")]),
        san=(x509.DNSName("another.example"),),
        spki=spki(key),
    )
    return case_of(build(facts, key).tbs_certificate_bytes, facts)


def test_a_common_rule_is_given_nothing_that_differs() -> None:
    facts, tbs = BASES["leaf"]
    leaf, other = case_of(tbs.der, facts), another_of_its_profile()
    assert leaf.tbs != other.tbs
    assert common_case(leaf) == common_case(other)
    assert common_case(leaf).second is None


def test_the_second_decoder_finds_the_same_in_what_is_left_of_a_certificate() -> None:
    leaf, other = BASES["leaf"][1], another_of_its_profile()
    assert second_reading(leaf) is not None
    assert len(read_before) == 1
    assert second_reading(other.tbs) == other.second


def test_what_the_second_decoder_refused_is_not_left_out() -> None:
    _, tbs = BASES["leaf"]
    twice = read_tbs(assemble(replace(tbs, extensions=(*tbs.extensions, tbs.extensions[0]))))
    read_before.clear()
    assert [second_reading(twice) for _ in range(2)] == [None, None]
    assert not read_before


def test_a_common_rule_is_asked_once_for_a_profile_and_issuer() -> None:
    asked = []

    def check(case: Case) -> list[str]:
        asked.append(case)
        return []

    rules = CommonRules([Rule("counted", "RFC", check)])
    facts, tbs = BASES["leaf"]
    leaf = case_of(tbs.der, facts)
    assert rules.hold(leaf)
    assert rules.hold(another_of_its_profile())
    assert asked == [common_case(leaf)]
    for changed in (replace(facts, key_usage=frozenset()), replace(facts, crl_urls=("http://x/y.crl",))):
        assert rules.hold(replace(leaf, facts=changed))
    assert len(asked) == 3


def test_a_common_rule_that_finds_something_is_asked_again() -> None:
    facts, tbs = BASES["leaf"]
    rules = CommonRules([Rule("broken", "RFC", lambda _: ("always",))])
    assert not rules.hold(case_of(tbs.der, facts))
    assert not rules.hold(case_of(tbs.der, facts))


def test_check_raises_with_every_finding() -> None:
    facts, tbs = BASES["leaf"]
    with pytest.raises(LintError) as caught:
        check_tbs(without(tbs, SKI_OID), replace(facts, serial_number=SERIAL + 1))
    assert isinstance(caught.value, RefusedError)
    assert caught.value.kind is ErrorKind.INTERNAL
    assert [finding.rule for finding in caught.value.findings] == ["serial_reserved", "ski"]
    assert "RFC 5280 §4.1.2.2" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_makes_the_lint_raise_or_pass(data: st.DataObject) -> None:
    facts, tbs = BASES["leaf"]
    position = data.draw(st.integers(0, len(tbs.der) - 1))
    octet = data.draw(st.integers(0, 255).filter(lambda value: value != tbs.der[position]))
    findings = lint_tbs(tbs.der[:position] + bytes((octet,)) + tbs.der[position + 1 :], facts)
    assert findings
    assert all(isinstance(finding, Finding) and "\n" not in str(finding) for finding in findings)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_a_finding(noise: bytes) -> None:
    assert found_by(lint_tbs(noise, LEAF_FACTS)) == {"structure"}
