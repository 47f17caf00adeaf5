"""CRLs that keep every lint rule, and for each rule some that break it: put together of parts, some wrong."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pkiserver.ca.lint_crl import CRLFacts, PublishedCRL
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import Extension
from protocols.crl import NO_FURTHER_UPDATE, build_tbs_cert_list, revoked_entry
from protocols.crl_extensions import (
    delta_crl_indicator,
    expired_certs_on_crl,
    freshest_crl,
    issuing_distribution_point,
)

KEY = ec.derive_private_key(0x5280, ec.SECP256R1())
ALGORITHM = der.sequence(der.oid(oid.ECDSA_WITH_SHA256))
NOW = datetime(2026, 5, 1, 8, 0, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SHARD_URL = "http://pki.example.mn/crl/citizen-7.crl"
DELTA_URL = "http://pki.example.mn/crl/citizen-7.delta.crl"
PRIVATE = "1.3.6.1.4.1.32473.1"


def certificate(*, crl_sign: bool = True) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "MN"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Иргэний ГО"),
        ]
    )
    usage = {"key_cert_sign", "crl_sign"} if crl_sign else {"key_cert_sign"}
    bits = (
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
    return (
        x509.CertificateBuilder(name, name, KEY.public_key(), 1, NOW - 30 * DAY, NOW + 3650 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**{bit: bit in usage for bit in bits}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()), critical=False)
        .sign(KEY, hashes.SHA256())
    )


ISSUER = certificate()
SUBJECT = ISSUER.subject.public_bytes()
IDENTIFIER = ISSUER.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


# ---- the base cases, each made by our encoders

FULL = CRLFacts(
    issuer=ISSUER,
    signature_algorithm=ALGORITHM,
    number=12,
    this_update=NOW,
    next_update=NOW + DAY,
    previous=PublishedCRL(11, NOW - HOUR),
)
DELTA = replace(FULL, base=PublishedCRL(9, NOW - DAY))
BASES = {
    "full": (FULL, []),
    "first": (replace(FULL, previous=None), []),
    "with_deltas": (replace(FULL, delta_url=DELTA_URL), [freshest_crl([DELTA_URL])]),
    "delta": (DELTA, [delta_crl_indicator(9)]),
    "together": (replace(DELTA, together=PublishedCRL(12, NOW)), [delta_crl_indicator(9)]),
    "shard": (replace(FULL, shard_url=SHARD_URL), [issuing_distribution_point(SHARD_URL)]),
    "delta_of_shard": (
        replace(DELTA, shard_url=SHARD_URL),
        [delta_crl_indicator(9), issuing_distribution_point(SHARD_URL)],
    ),
    "kept_expired": (
        replace(FULL, expired_since=ISSUER.not_valid_before_utc),
        [expired_certs_on_crl(ISSUER.not_valid_before_utc)],
    ),
    "last": (replace(FULL, next_update=NO_FURTHER_UPDATE, is_last=True), []),
}


def entries_of(facts: CRLFacts) -> list[bytes]:
    entries = [revoked_entry(5, NOW - DAY, 6), revoked_entry(900, NOW - HOUR, None, NOW - 2 * DAY)]
    return [*entries, revoked_entry(1 << 120, NOW, 8)] if facts.is_delta else entries


def built(base: str) -> bytes:
    facts, extensions = BASES[base]
    return build_tbs_cert_list(
        ALGORITHM, SUBJECT, NOW, facts.next_update, entries_of(facts), IDENTIFIER, facts.number, extensions
    )


# ---- parts, and what breaks a rule


@dataclass(frozen=True)
class Parts:
    """A TBSCertList in parts that are already DER; extensions by kind, in their order."""

    version: bytes
    signature: bytes
    issuer: bytes
    this_update: bytes
    next_update: bytes
    entries: tuple[bytes, ...]
    extensions: dict[str, bytes]
    tail: bytes = b""

    def encode(self) -> bytes:
        revoked = der.sequence(*self.entries) if self.entries else b""
        extensions = der.explicit(0, der.sequence(*self.extensions.values())) if self.extensions else b""
        return der.sequence(
            self.version,
            self.signature,
            self.issuer,
            self.this_update,
            self.next_update,
            revoked,
            extensions,
            self.tail,
        )


def parts_of(base: str) -> Parts:
    facts, extensions = BASES[base]
    identifier = der.sequence(der.encode(der.context(0, constructed=False), IDENTIFIER))
    every = [
        extension(oid.AUTHORITY_KEY_IDENTIFIER, identifier),
        extension(oid.CRL_NUMBER, der.integer(facts.number)),
        *extensions,
    ]
    return Parts(
        der.integer(1),
        ALGORITHM,
        SUBJECT,
        der.time(NOW),
        der.time(facts.next_update),
        tuple(entries_of(facts)),
        {Extension.parse(der.Reader(encoded)).oid: encoded for encoded in every},
    )


def extension(kind: str, value: bytes, *, critical: bool = False) -> bytes:
    return Extension(kind, critical, value).encode()


def with_extension(kind: str, value: bytes, *, critical: bool = False) -> Callable[[Parts], Parts]:
    """Return what puts an extension in, in the place of one of its kind."""
    encoded = extension(kind, value, critical=critical)
    return lambda parts: replace(parts, extensions=parts.extensions | {kind: encoded})


def with_built(encoded: bytes) -> Callable[[Parts], Parts]:
    found = Extension.parse(der.Reader(encoded))
    return with_extension(found.oid, found.value, critical=found.critical)


def without(kind: str) -> Callable[[Parts], Parts]:
    def change(parts: Parts) -> Parts:
        assert kind in parts.extensions
        return replace(parts, extensions={k: v for k, v in parts.extensions.items() if k != kind})

    return change


def turned_round(kind: str) -> Callable[[Parts], Parts]:
    """Return what makes a critical extension non-critical, or the other way."""

    def change(parts: Parts) -> Parts:
        found = Extension.parse(der.Reader(parts.extensions[kind]))
        return with_extension(kind, found.value, critical=not found.critical)(parts)

    return change


def fields(**changes: bytes) -> Callable[[Parts], Parts]:
    return lambda parts: replace(parts, **changes)  # type: ignore[arg-type]  # the rows name what they change


def entries(*encoded: bytes) -> Callable[[Parts], Parts]:
    return lambda parts: replace(parts, entries=encoded)


def entry(serial: int = 5, *extensions: bytes, date: bytes | None = None) -> bytes:
    return der.sequence(
        der.integer(serial),
        der.time(NOW) if date is None else date,
        der.sequence(*extensions) if extensions else b"",
    )


def idp(*parts: bytes) -> Callable[[Parts], Parts]:
    return with_extension(oid.ISSUING_DISTRIBUTION_POINT, der.sequence(*parts), critical=True)


def uri(url: str) -> bytes:
    return der.encode(der.context(6, constructed=False), url.encode())


def name(*urls: str) -> bytes:
    return der.explicit(0, der.explicit(0, b"".join(map(uri, urls))))


def flag(number: int) -> bytes:
    return der.encode(der.context(number, constructed=False), b"\xff")


def reason(code: int, *, critical: bool = False) -> bytes:
    return extension(oid.CRL_REASON, der.enumerated(code), critical=critical)


@dataclass(frozen=True)
class Breach:
    """A TBS made of a base that breaks `rule`, perhaps against other facts; `also` are broken too."""

    rule: str
    base: str
    change: Callable[[Parts], Parts]
    also: frozenset[str]
    facts: dict[str, Any]


def breach(rule: str, of: str, change: Callable[[Parts], Parts], *also: str, **facts: object) -> Breach:
    return Breach(rule, of, change, frozenset(also), facts)


def as_it_is(parts: Parts) -> Parts:
    return parts


RECODED = SUBJECT.replace(b"\x13\x02MN", b"\x0c\x02MN")  # equal to a person, not to one who compares octets
NOT_DER = der.sequence(der.oid(oid.ECDSA_WITH_SHA256), der.encode(der.BOOLEAN, b"\x01"))

BREACHES = (
    breach("crl_structure", "full", fields(tail=der.null())),
    breach("crl_structure", "full", fields(this_update=b"", next_update=b"")),
    breach("crl_structure", "full", fields(tail=b"", next_update=der.time(NOW + DAY) + der.sequence())),
    breach("crl_structure", "full", with_extension(oid.CRL_NUMBER, b"\x02\x02\x00\x01")),
    breach("crl_structure", "full", with_extension(oid.CRL_NUMBER, der.integer(1 << 159))),
    breach("crl_structure", "shard", idp(name())),
    breach("crl_structure", "full", entries(entry() + der.null())),
    breach("crl_structure", "full", entries(der.sequence(der.null()))),
    breach("crl_structure", "full", entries(entry(5, reason(1), reason(3)))),
    breach("crl_version", "full", fields(version=b"")),
    breach("crl_version", "full", fields(version=der.integer(2))),
    breach("crl_signature_algorithm", "full", fields(signature=der.sequence(der.oid(oid.ECDSA_WITH_SHA384)))),
    breach("crl_issuer_name", "full", fields(issuer=RECODED)),
    breach("crl_issuer_name", "full", fields(issuer=der.sequence())),
    breach("crl_issuer_may_sign", "full", as_it_is, issuer=certificate(crl_sign=False)),
    breach("crl_time_encoding", "full", fields(this_update=der.generalized_time(NOW))),
    breach("crl_time_encoding", "full", fields(next_update=der.generalized_time(NOW + DAY))),
    breach("crl_times", "full", fields(this_update=der.time(NOW + HOUR))),
    breach("crl_times", "full", fields(next_update=der.time(NOW + 2 * DAY))),
    breach("crl_next_update", "full", fields(next_update=b"")),
    breach("crl_next_update", "full", fields(next_update=der.time(NOW)), next_update=NOW),
    breach(
        "crl_within_issuer",
        "full",
        fields(next_update=der.time(NOW + 3651 * DAY)),
        next_update=NOW + 3651 * DAY,
    ),
    breach(
        "crl_within_issuer",
        "full",
        fields(this_update=der.time(NOW - 31 * DAY)),
        this_update=NOW - 31 * DAY,
        previous=None,
    ),
    breach(
        "crl_last", "full", fields(next_update=der.time(NO_FURTHER_UPDATE)), next_update=NO_FURTHER_UPDATE
    ),
    breach("crl_last", "last", fields(next_update=der.time(NOW + DAY)), next_update=NOW + DAY),
    breach(
        "crl_last",
        "delta",
        fields(next_update=der.time(NO_FURTHER_UPDATE)),
        next_update=NO_FURTHER_UPDATE,
        is_last=True,
    ),
    breach("crl_this_update_order", "full", as_it_is, previous=PublishedCRL(11, NOW + HOUR)),
    breach("crl_der", "full", fields(signature=NOT_DER), signature_algorithm=NOT_DER),
    breach("crl_extensions_known", "full", with_extension(oid.AUTHORITY_INFO_ACCESS, der.sequence())),
    breach("crl_extensions_known", "full", with_extension(PRIVATE, der.null(), critical=True)),
    *(
        breach("crl_criticality", base, turned_round(kind))
        for base, kind in (
            ("full", oid.AUTHORITY_KEY_IDENTIFIER),
            ("full", oid.CRL_NUMBER),
            ("delta", oid.DELTA_CRL_INDICATOR),
            ("shard", oid.ISSUING_DISTRIBUTION_POINT),
            ("with_deltas", oid.FRESHEST_CRL),
            ("kept_expired", oid.EXPIRED_CERTS_ON_CRL),
        )
    ),
    breach("crl_aki", "full", without(oid.AUTHORITY_KEY_IDENTIFIER)),
    breach(
        "crl_aki",
        "full",
        with_extension(
            oid.AUTHORITY_KEY_IDENTIFIER, der.sequence(der.encode(der.context(0, constructed=False), b"\x01"))
        ),
    ),
    breach("crl_number", "full", without(oid.CRL_NUMBER)),
    breach("crl_number", "full", with_extension(oid.CRL_NUMBER, der.integer(13))),
    breach("crl_number_order", "full", as_it_is, previous=PublishedCRL(12, NOW - HOUR)),
    breach("crl_number_order", "delta", as_it_is, previous=PublishedCRL(13, NOW - HOUR)),
    breach("crl_number_shared", "together", as_it_is, together=PublishedCRL(11, NOW)),
    breach("crl_number_shared", "together", as_it_is, together=PublishedCRL(12, NOW - HOUR)),
    breach("crl_idp_not_empty", "shard", idp()),
    breach("crl_idp_not_empty", "full", idp()),
    breach("crl_idp_name", "shard", without(oid.ISSUING_DISTRIBUTION_POINT)),
    breach("crl_idp_name", "full", idp(name(SHARD_URL))),
    breach("crl_idp_name", "shard", idp(name(SHARD_URL.upper()))),
    breach("crl_idp_name", "shard", idp(name(SHARD_URL, SHARD_URL))),
    breach("crl_idp_name", "delta_of_shard", idp(name(DELTA_URL))),
    breach("crl_idp_limits", "shard", idp(name(SHARD_URL), flag(1))),
    breach(
        "crl_idp_limits",
        "shard",
        idp(name(SHARD_URL), der.encode(der.context(3, constructed=False), b"\x06\x40")),
    ),
    breach("crl_idp_limits", "shard", idp(name(SHARD_URL), flag(4))),
    breach("crl_idp_limits", "shard", idp(flag(2)), "crl_idp_name"),
    breach("crl_delta_indicator", "delta", without(oid.DELTA_CRL_INDICATOR)),
    breach("crl_delta_indicator", "full", with_built(delta_crl_indicator(9))),
    breach("crl_delta_indicator", "delta", with_built(delta_crl_indicator(8))),
    breach("crl_delta_order", "delta", with_built(delta_crl_indicator(12)), base=PublishedCRL(12, NOW - DAY)),
    breach("crl_delta_order", "delta", as_it_is, base=PublishedCRL(9, NOW + HOUR)),
    breach("crl_delta_freshest", "delta", with_built(freshest_crl([DELTA_URL]))),
    breach("crl_freshest", "with_deltas", without(oid.FRESHEST_CRL)),
    breach("crl_freshest", "full", with_built(freshest_crl([DELTA_URL]))),
    breach("crl_freshest", "with_deltas", with_built(freshest_crl([SHARD_URL]))),
    breach("crl_expired_certs", "kept_expired", without(oid.EXPIRED_CERTS_ON_CRL)),
    breach("crl_expired_certs", "full", with_built(expired_certs_on_crl(NOW))),
    breach("crl_expired_certs", "kept_expired", with_built(expired_certs_on_crl(NOW))),
    breach("crl_entry_serial", "full", entries(entry(0))),
    breach("crl_entry_serial", "full", entries(entry(-1))),
    breach("crl_entry_serial", "full", entries(entry(1 << 159))),
    breach("crl_entry_unique", "full", entries(entry(4), entry(5), entry(5, reason(1)))),
    breach("crl_entry_unique", "full", entries(entry(4), entry(5), entry(4)), "crl_entry_order"),
    breach("crl_entry_order", "full", entries(entry(4), entry(6), entry(5))),
    breach("crl_entry_dates", "full", entries(entry(date=der.generalized_time(NOW)))),
    breach("crl_entry_dates", "full", entries(entry(date=der.null()))),
    breach("crl_entry_dates", "full", entries(entry(5, extension(oid.INVALIDITY_DATE, der.time(NOW))))),
    breach("crl_entry_reason", "full", entries(entry(5, reason(0)))),
    breach("crl_entry_reason", "full", entries(entry(5, reason(7)))),
    breach("crl_entry_reason", "delta", entries(entry(5, reason(11)))),
    breach("crl_entry_reason", "full", entries(entry(5, extension(oid.CRL_REASON, der.integer(1))))),
    breach("crl_entry_remove_from_crl", "full", entries(entry(5, reason(8)))),
    breach("crl_entry_remove_from_crl", "shard", entries(entry(5, reason(8)))),
    breach("crl_entry_extensions", "full", entries(entry(5, extension(PRIVATE, der.null())))),
    breach("crl_entry_extensions", "full", entries(entry(5, extension(PRIVATE, der.null(), critical=True)))),
    breach("crl_entry_extensions", "full", entries(entry(5, reason(1, critical=True)))),
    breach(
        "crl_entry_certificate_issuer",
        "full",
        entries(entry(5, extension(oid.CERTIFICATE_ISSUER, der.sequence(), critical=True))),
    ),
)
