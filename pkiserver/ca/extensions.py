"""The extensions of a certificate, as a profile says them (RFC 5280 §4.2, RFC 3739 §3.2.6)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from config.profile import Profile
from pkiserver.ca.identity import Identity
from protocols import oid
from protocols.asn1 import der
from protocols.x509.qcstatements import (
    PKIXQCSyntaxV2,
    QcLimitValue,
    QCStatement,
    QcType,
    encode_qc_statements,
)

_KEY_USAGE: Final = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
}
_EXTENDED_KEY_USAGE: Final = {
    "serverAuth": oid.KP_SERVER_AUTH,
    "clientAuth": oid.KP_CLIENT_AUTH,
    "emailProtection": oid.KP_EMAIL_PROTECTION,
    "OCSPSigning": oid.KP_OCSP_SIGNING,
    "cmcRA": oid.KP_CMC_RA,
    "cmcCA": oid.KP_CMC_CA,
    "cmKGA": oid.KP_CM_KGA,
}
_QC_TYPES: Final = {"esign": oid.QCT_ESIGN, "eseal": oid.QCT_ESEAL, "web": oid.QCT_WEB}
_SEMANTICS: Final = {"natural": oid.SEMANTICS_NATURAL, "legal": oid.SEMANTICS_LEGAL}
_CURRENCY: Final = "MNT"
MAX_COMMON: Final = 1024  # profiles, times the CRL shards of their issuers


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where relying parties ask about a certificate: `crl` is the complete CRL that covers it, that of its
    shard or that of all; `delta` is the delta to it, None where the issuer makes none."""

    ocsp: str
    ca_issuers: str
    crl: str
    delta: str | None = None


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension and whether it is critical."""

    value: x509.ExtensionType
    critical: bool = False


def key_identifier(public_key: CertificatePublicKeyTypes) -> bytes:
    """Return the subjectKeyIdentifier of a key by RFC 5280 §4.2.1.2 method (1).

    SHA-1 only names the key here, nothing rests on its strength. Of the methods that RFC 7093 adds none is
    what clients compute by themselves to find a certificate, as OCSP's KeyHash is (RFC 6960 §4.2.1).
    """
    return x509.SubjectKeyIdentifier.from_public_key(public_key).digest


def key_usage(profile: Profile) -> frozenset[str]:
    """Return the key usage in the names of `x509.KeyUsage`, such as `content_commitment`."""
    return frozenset(_KEY_USAGE[name] for name in profile.key_usage)


def extended_key_usage(profile: Profile) -> tuple[str, ...]:
    """Return the OIDs of the extended key usage in the profile's order."""
    return tuple(_EXTENDED_KEY_USAGE[name] for name in profile.extended_key_usage)


def policies(profile: Profile) -> tuple[str, ...]:
    """Return the OIDs of the certificate policies in the profile's order."""
    return tuple(policy.oid for policy in profile.policies)


def is_ca(profile: Profile) -> bool:
    """Return whether the profile is that of an authority."""
    return profile.kind in ("root-ca", "issuing-ca")


def qc_statements(profile: Profile, identity: Identity) -> bytes | None:
    """Return the DER value of the qcStatements extension, None when the certificate has none."""
    statements = tuple(_statements(profile, identity))
    return encode_qc_statements(statements) if statements else None


def _statements(profile: Profile, identity: Identity) -> Iterator[QCStatement]:
    wanted = profile.qc_statements
    if wanted is None:
        return
    if wanted.semantics:
        yield PKIXQCSyntaxV2(_SEMANTICS[wanted.semantics])
    if wanted.types:
        yield QcType(tuple(_QC_TYPES[name] for name in wanted.types))
    if wanted.limit_value and identity.limit_mnt is not None:
        yield QcLimitValue(_CURRENCY, identity.limit_mnt)


@dataclass(frozen=True, slots=True)
class CommonExtensions:
    """The DER of what the certificates of one profile and issuer have alike, by where it stands.

    `authority` comes first, then the key identifier; `usage`, then the names; `addresses`, then the
    qcStatements; `responder`. Kept with the profile that it was made of.
    """

    profile: Profile
    authority: bytes
    usage: bytes
    addresses: bytes
    responder: bytes


_common: dict[tuple[str, bytes, Addresses], CommonExtensions] = {}


def common_extensions(
    profile: Profile, issuer_key_identifier: bytes, addresses: Addresses
) -> CommonExtensions:
    """Return those extensions; they are encoded once for each profile, issuer and CRL address."""
    key = (profile.name, issuer_key_identifier, addresses)
    known = _common.get(key)
    if known is not None and known.profile is profile:
        return known
    authority = x509.AuthorityKeyIdentifier(issuer_key_identifier, None, None)
    constraints = x509.BasicConstraints(is_ca(profile), profile.path_length)
    made = CommonExtensions(
        profile,
        encoded(Extension(authority)),
        _all_encoded((Extension(constraints, critical=True), *usage_extensions(profile))),
        _all_encoded((*_policy_extensions(profile), *_address_extensions(profile, addresses))),
        encoded(Extension(x509.OCSPNoCheck())) if profile.ocsp_nocheck else b"",
    )
    if len(_common) >= MAX_COMMON:
        _common.clear()
    _common[key] = made
    return made


def encoded(extension: Extension) -> bytes:
    """Return the DER Extension (RFC 5280 §4.1); `critical` is left out where it is its default."""
    value = extension.value
    return der.sequence(
        der.oid(value.oid.dotted_string),
        der.boolean(True) if extension.critical else b"",
        der.octet_string(value.public_bytes()),
    )


def _all_encoded(extensions: Iterable[Extension]) -> bytes:
    return b"".join(map(encoded, extensions))


def name_extensions(identity: Identity) -> Iterator[Extension]:
    """Yield subjectAltName where there is a name, critical where it alone names the subject.

    RFC 5280 §4.2.1.6.
    """
    if identity.san:
        yield Extension(x509.SubjectAlternativeName(identity.san), critical=not identity.subject.rdns)


def qc_extensions(profile: Profile, identity: Identity) -> Iterator[Extension]:
    """Yield qcStatements where the profile has some."""
    if (statements := qc_statements(profile, identity)) is not None:
        yield Extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid.QC_STATEMENTS), statements))


def usage_extensions(profile: Profile) -> Iterator[Extension]:
    """Yield keyUsage and, where the profile has it, extKeyUsage."""
    bits = key_usage(profile)
    every = (*_KEY_USAGE.values(), "encipher_only", "decipher_only")
    # Critical always: RFC 5280 §4.2.1.3 SHOULD.
    yield Extension(x509.KeyUsage(**{bit: bit in bits for bit in every}), critical=True)
    if profile.extended_key_usage:
        usages = map(x509.ObjectIdentifier, extended_key_usage(profile))
        yield Extension(x509.ExtendedKeyUsage(usages))


def _policy_extensions(profile: Profile) -> Iterator[Extension]:
    if profile.policies:
        information = [
            x509.PolicyInformation(
                x509.ObjectIdentifier(policy.oid), [policy.cps_uri] if policy.cps_uri else None
            )
            for policy in profile.policies
        ]
        yield Extension(x509.CertificatePolicies(information))


def _address_extensions(profile: Profile, addresses: Addresses) -> Iterator[Extension]:
    access = profile.authority_info_access
    wanted = (
        (access.ocsp, oid.AD_OCSP, addresses.ocsp),
        (access.ca_issuers, oid.AD_CA_ISSUERS, addresses.ca_issuers),
    )
    descriptions = [
        x509.AccessDescription(x509.ObjectIdentifier(method), x509.UniformResourceIdentifier(address))
        for is_wanted, method, address in wanted
        if is_wanted
    ]
    if descriptions:
        yield Extension(x509.AuthorityInformationAccess(descriptions))
    if profile.crl_distribution_points:
        yield Extension(x509.CRLDistributionPoints([_distribution_point(addresses.crl)]))
        if addresses.delta is not None:  # RFC 5280 §4.2.1.15; non-critical
            yield Extension(x509.FreshestCRL([_distribution_point(addresses.delta)]))


def _distribution_point(url: str) -> x509.DistributionPoint:
    return x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
