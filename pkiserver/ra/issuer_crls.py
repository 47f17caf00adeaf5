"""CRLs of trusted third parties: which of their certificates open nothing any more.

They stand in the files of the third parties' certificates (PEM, `X509 CRL`). Nothing is fetched: who trusts
an issuer puts its CRLs in place, and the newest of each issuer counts.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from pkiserver.errors import NotAuthorizedError

CRLs = Mapping[x509.Certificate, x509.CertificateRevocationList]  # the newest of each issuer that has one

RENEWAL_SHARE: Final = 4  # issuers publish by half of a CRL's time, as a rule: at a quarter one was missed
_PEM: Final = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_SHA2: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


def read_crls(content: bytes, issuers: Sequence[x509.Certificate]) -> CRLs:
    """Return the CRLs in a PEM file by who of its issuers has signed them.

    `ValueError` says what is wrong with one: it cannot be read, nobody of them signed it, or it has not all
    that its issuer has revoked (RFC 5280 §5.2: deltas and partitions have a critical extension).
    """
    found: dict[x509.Certificate, x509.CertificateRevocationList] = {}
    for pem in _PEM.findall(content):
        crl = _read(pem)
        signers = [issuer for issuer in issuers if _signed(issuer, crl)]
        if not signers:
            raise ValueError("holds a CRL that none of its CAs has signed")
        for signer in signers:
            if signer not in found or _made_at(found[signer]) < _made_at(crl):
                found[signer] = crl
    return found


def newest(several: Sequence[CRLs]) -> CRLs:
    """Return the newest CRL of each issuer in the files of several profiles."""
    merged: dict[x509.Certificate, x509.CertificateRevocationList] = {}
    for crls in several:
        for issuer, crl in crls.items():
            if issuer not in merged or _made_at(merged[issuer]) < _made_at(crl):
                merged[issuer] = crl
    return merged


def require_unrevoked(
    crls: CRLs, issuer: x509.Certificate, certificate: x509.Certificate, now: datetime
) -> None:
    """Raise `NotAuthorizedError` where the issuer has a CRL that names the certificate, or has run out."""
    crl = crls.get(issuer)
    if crl is None:
        return
    if crl.next_update_utc is None or crl.next_update_utc < now:
        raise NotAuthorizedError("the CRL of the client certificate's issuer is out of date")
    if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
        raise NotAuthorizedError("the client certificate is revoked by its issuer")


def renewal_due(crl: x509.CertificateRevocationList) -> datetime | None:
    """Return when the next one is asked for: a quarter of its time is left. None without nextUpdate."""
    if crl.next_update_utc is None:
        return None
    return crl.next_update_utc - (crl.next_update_utc - _made_at(crl)) / RENEWAL_SHARE


def _read(pem: bytes) -> x509.CertificateRevocationList:
    try:
        crl = x509.load_pem_x509_crl(pem)
        critical = [one.oid.dotted_string for one in crl.extensions if one.critical]
    except (ValueError, TypeError, x509.DuplicateExtension, UnsupportedAlgorithm) as error:
        raise ValueError("holds a CRL that cannot be read") from error
    if critical:
        raise ValueError(f"holds a CRL with a critical extension, {critical[0]}")
    return crl


def _signed(issuer: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    try:
        return (
            issuer.subject == crl.issuer
            and isinstance(crl.signature_hash_algorithm, (*_SHA2, type(None)))  # None: EdDSA
            and crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # TypeError for others
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _made_at(crl: x509.CertificateRevocationList) -> datetime:
    return crl.last_update_utc or _BEGINNING
