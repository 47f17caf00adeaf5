"""Builds the TBSCertificate of a profile, and says what the lint rules should find in it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from config.profile import Profile
from pkiserver.ca.extensions import (
    Addresses,
    Extension,
    common_extensions,
    encoded,
    extended_key_usage,
    is_ca,
    key_identifier,
    key_usage,
    name_extensions,
    policies,
    qc_extensions,
    qc_statements,
)
from pkiserver.ca.identity import Identity
from pkiserver.ca.lint_tbs import LintFacts
from pkiserver.errors import RefusedError
from pkiserver.signer.algorithms import signature_algorithm_for
from protocols.asn1 import der
from protocols.x509.certificate import TBSCertificate

_SECOND: Final = timedelta(seconds=1)
_VERSION_3: Final = der.explicit(0, der.integer(2))


@dataclass(frozen=True, slots=True)
class IssuerFacts:
    """What a certificate says of its issuer. `certificate` and `not_after` are None for a root itself.

    `subject_der` is the name as the issuer's certificate has it, octet for octet.
    """

    subject_der: bytes
    public_key: CertificatePublicKeyTypes
    key_identifier: bytes
    not_after: datetime | None
    certificate: x509.Certificate | None

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """Return the facts of an issuer that has its certificate; its subjectKeyIdentifier is taken over."""
        ski = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        subject_der = TBSCertificate.parse(certificate.tbs_certificate_bytes).subject_der
        return cls(subject_der, certificate.public_key(), ski, certificate.not_valid_after_utc, certificate)

    @classmethod
    def of_root(cls, subject: x509.Name, public_key: CertificatePublicKeyTypes) -> Self:
        """Return the facts of a root that is about to certify itself."""
        return cls(subject.public_bytes(), public_key, key_identifier(public_key), None, None)


@dataclass(frozen=True, slots=True)
class CertificateContents:
    """All that one certificate is to say; `spki` is the DER of its public key."""

    profile: Profile
    identity: Identity
    public_key: CertificatePublicKeyTypes
    issuer: IssuerFacts
    addresses: Addresses
    serial: int
    not_before: datetime
    not_after: datetime
    spki: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        spki = self.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        object.__setattr__(self, "spki", spki)


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
    """Return the DER TBSCertificate (RFC 5280 §4.1), of an identity and a key that the caller has approved.

    Raises `UnsupportedKeyError` of the signer for an issuer's key that does not sign here.
    """
    issuer = contents.issuer
    return der.sequence(
        _VERSION_3,
        der.integer(contents.serial),
        signature_algorithm_for(issuer.public_key).der,
        issuer.subject_der,
        der.sequence(der.time(contents.not_before), der.time(contents.not_after)),
        contents.identity.subject.public_bytes(),
        contents.spki,
        der.explicit(3, _extensions(contents)),
    )


def _extensions(contents: CertificateContents) -> bytes:
    """Return the DER Extensions; those that the certificates of a profile have alike were encoded before."""
    profile, identity = contents.profile, contents.identity
    alike = common_extensions(profile, contents.issuer.key_identifier, contents.addresses)
    return der.sequence(
        alike.authority,
        encoded(Extension(x509.SubjectKeyIdentifier(key_identifier(contents.public_key)))),
        alike.usage,
        *map(encoded, name_extensions(identity)),
        alike.addresses,
        *map(encoded, qc_extensions(profile, identity)),
        alike.responder,
    )


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
        spki=contents.spki,
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
