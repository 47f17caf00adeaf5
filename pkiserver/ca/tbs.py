"""Builds the TBSCertificate of a profile, and says what the lint rules should find in it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from config.profile import Profile
from pkiserver.ca.extensions import (
    Addresses,
    extended_key_usage,
    extensions,
    is_ca,
    key_identifier,
    key_usage,
    policies,
    qc_statements,
)
from pkiserver.ca.identity import Identity
from pkiserver.ca.lint_tbs import LintFacts
from pkiserver.errors import RefusedError
from pkiserver.signer.algorithms import signature_algorithm_for
from pkiserver.signer.placeholder import placeholder_key

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class IssuerFacts:
    """What a certificate says of its issuer. `certificate` and `not_after` are None for a root itself."""

    subject: x509.Name
    public_key: CertificatePublicKeyTypes
    key_identifier: bytes
    not_after: datetime | None
    certificate: x509.Certificate | None

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """Return the facts of an issuer that has its certificate; its subjectKeyIdentifier is taken over."""
        ski = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        return cls(
            certificate.subject, certificate.public_key(), ski, certificate.not_valid_after_utc, certificate
        )

    @classmethod
    def of_root(cls, subject: x509.Name, public_key: CertificatePublicKeyTypes) -> Self:
        """Return the facts of a root that is about to certify itself."""
        return cls(subject, public_key, key_identifier(public_key), None, None)


@dataclass(frozen=True, slots=True)
class CertificateContents:
    """All that one certificate is to say."""

    profile: Profile
    identity: Identity
    public_key: CertificatePublicKeyTypes
    issuer: IssuerFacts
    addresses: Addresses
    serial: int
    not_before: datetime
    not_after: datetime


def validity(
    profile: Profile, now: datetime, issuer_not_after: datetime | None, *, cut: bool = False
) -> tuple[datetime, datetime]:
    """Return notBefore and notAfter, both included in the period (RFC 5280 §4.1.2.5).

    `RefusedError` when the certificate would outlive its issuer, whose end is None for a root, unless it may
    be `cut` there (then only when the issuer has ended), and for a
    profile without a lifetime (`Profile.with_lifetime` gives those of authorities and responders theirs).
    """
    if profile.lifetime is None:
        raise RefusedError(f"profile {profile.name} has no lifetime of its own")
    not_after = profile.lifetime.after(now) - _SECOND
    if issuer_not_after is not None and not_after > issuer_not_after:
        if cut and issuer_not_after > now:
            return now, issuer_not_after
        raise RefusedError(
            f"profile {profile.name}: a certificate until {not_after:%Y-%m-%d} would outlive its issuer, "
            f"which ends on {issuer_not_after:%Y-%m-%d}"
        )
    return now, not_after


def build_tbs(contents: CertificateContents) -> bytes:
    """Return the DER TBSCertificate; nothing is signed. The caller has approved identity and key.

    Raises `UnsupportedKeyError` of the signer for an issuer's key that does not sign here.
    """
    issuer, identity = contents.issuer, contents.identity
    builder = x509.CertificateBuilder(
        issuer_name=issuer.subject,
        subject_name=identity.subject,
        public_key=contents.public_key,
        serial_number=contents.serial,
        not_valid_before=contents.not_before,
        not_valid_after=contents.not_after,
    )
    wanted = extensions(
        contents.profile, identity, contents.public_key, issuer.key_identifier, contents.addresses
    )
    for extension in wanted:
        builder = builder.add_extension(extension.value, extension.critical)
    hash_algorithm = signature_algorithm_for(issuer.public_key).hash
    unsigned = builder.sign(placeholder_key(issuer.public_key), hash_algorithm)  # type: ignore[arg-type]  # SHA-2 only
    return unsigned.tbs_certificate_bytes


def lint_facts(contents: CertificateContents) -> LintFacts:
    """Return what the lint rules should find in the TBSCertificate of these contents."""
    profile, identity, addresses = contents.profile, contents.identity, contents.addresses
    access = profile.authority_info_access
    return LintFacts(
        issuer=contents.issuer.certificate,
        signature_algorithm=signature_algorithm_for(contents.issuer.public_key).der,
        serial_number=contents.serial,
        not_before=contents.not_before,
        not_after=contents.not_after,
        subject=identity.subject,
        san=identity.san,
        spki=contents.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key_usage=key_usage(profile),
        extended_key_usage=frozenset(extended_key_usage(profile)),
        is_ca=is_ca(profile),
        path_length=profile.path_length,
        ocsp_urls=(addresses.ocsp,) if access.ocsp else (),
        ca_issuers_urls=(addresses.ca_issuers,) if access.ca_issuers else (),
        crl_urls=(addresses.crl,) if profile.crl_distribution_points else (),
        freshest_crl_urls=(addresses.delta,) if profile.crl_distribution_points and addresses.delta else (),
        policies=policies(profile),
        cps_uris=tuple((policy.oid, policy.cps_uri) for policy in profile.policies if policy.cps_uri),
        qc_statements=qc_statements(profile, identity),
        ocsp_nocheck=profile.ocsp_nocheck,
    )
