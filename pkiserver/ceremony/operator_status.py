"""Whether the certificate of somebody who signs for a ceremony still stands, by CRLs that are brought along.

A ceremony has no network: the register of operators may name a file with the CAs that issued the operators'
certificates, and their CRLs. Where it does, a certificate that they do not speak for is of no use.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from pkiserver.ceremony.inputs import read_bounded
from pkiserver.clock import utc_text
from pkiserver.errors import NotAuthorizedError, RefusedError
from pkiserver.ra.issuer_crls import CRLs, read_crls
from pkiserver.ra.trusted_issuers import MAX_FILE_BYTES, certificates_of_issuers
from protocols.x509.names import subject_text


@dataclass(frozen=True, slots=True)
class OperatorIssuers:
    """Who issued the operators' certificates, and the newest CRL of each that has one."""

    certificates: tuple[x509.Certificate, ...]
    crls: CRLs

    def require_unrevoked(self, name: str, certificate: x509.Certificate, now: datetime) -> None:
        """Raise `NotAuthorizedError` unless a current CRL of its issuer is there, and does not have it."""
        issuers = [one for one in self.certificates if _issued(one, certificate)]
        if not issuers:
            raise NotAuthorizedError(f"none of the register's issuers issued the certificate of {name}")
        crls = [self.crls[one] for one in issuers if one in self.crls]
        if not crls:
            raise NotAuthorizedError(f"no CRL says whether the certificate of {name} is revoked")
        for crl in crls:
            _require_current(crl, now)
            if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
                raise NotAuthorizedError(f"the certificate of {name} is revoked or suspended")

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each issuer that has a CRL, and from when that is."""
        for issuer, crl in self.crls.items():
            yield subject_text(issuer.subject), utc_text(crl.last_update_utc)


def read_issuers(path: Path) -> OperatorIssuers:
    """Return the issuers in a PEM file with their CRLs; `RefusedError` for anything that is wrong with it."""
    content = read_bounded(path, MAX_FILE_BYTES)
    try:
        certificates = tuple(certificates_of_issuers(content))
        return OperatorIssuers(certificates, read_crls(content, certificates))
    except ValueError as error:
        raise RefusedError(f"{path} {error}") from error


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _require_current(crl: x509.CertificateRevocationList, now: datetime) -> None:
    ends = crl.next_update_utc
    if ends is None or not crl.last_update_utc <= now <= ends:
        name = subject_text(crl.issuer)
        raise NotAuthorizedError(f"the CRL of {name} is not current: put its newest into the issuers' file")
