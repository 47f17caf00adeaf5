"""Whom a client certificate speaks for: a holder of ours, by the record, or a device that others vouch for.

TLS has verified what came over TLS, and nobody what a proxy says: everything is verified here, either way.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from pkiserver.ca.authorities import Authorities, Authority
from pkiserver.ca.issuance_rules import entitled
from pkiserver.clock import Clock
from pkiserver.errors import NotAuthorizedError, RefusedError
from pkiserver.ra.issuer_crls import require_unrevoked
from pkiserver.ra.trusted_issuers import TrustedIssuers
from pkiserver.storage import Storage
from protocols.errors import ProtocolError
from protocols.x509.certificate import TBSCertificate, read_with_parts, serial_text
from store.database import Transaction
from store.records import CertificateRecord

_READ: Final = frozenset(
    {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE}
    # Names and policies say nothing of whether it is valid; IDevIDs may have either critical (IEEE 802.1AR).
    | {ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.CERTIFICATE_POLICIES}
)
_SHA2: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """A client certificate as it was read, with its parts, and who of ours issued it, if anybody did."""

    certificate: x509.Certificate
    parts: TBSCertificate = field(repr=False)
    issuer: Authority | None
    der: bytes = field(repr=False)
    sha256: bytes = field(repr=False)

    @property
    def actor(self) -> str:
        """How the audit log names who shows it; one of another CA by its hash: its number is not of ours."""
        if self.issuer is not None:
            return f"certificate:{serial_text(self.certificate.serial_number)}"
        return f"device:{self.sha256.hex()}"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a certificate of ours that is active now."""

    certificate: x509.Certificate
    record: CertificateRecord


@dataclass(frozen=True, slots=True)
class Device:
    """A device that shows the certificate of a trusted third party, and the profiles that trust that one."""

    certificate: x509.Certificate
    profiles: frozenset[str]

    @property
    def subject(self) -> x509.Name:
        """The identity that it may have here: its serialNumber, which IEEE 802.1AR has name the device.

        Nothing else is copied: a manufacturer is trusted to number its devices, not to name our subscribers.
        """
        found = self.certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
        if len(found) != 1:
            raise RefusedError("the client certificate names its device by no single serialNumber")
        return x509.Name(found)


MAX_KNOWN: Final = 1_024  # certificates of ours that were read, at some 10 KiB; the first read is forgotten


class ClientCertificates:
    """Identifies who shows a client certificate."""

    def __init__(
        self, *, storage: Storage, clock: Clock, authorities: Authorities, trusted_issuers: TrustedIssuers
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._authorities = authorities
        self._trusted_issuers = trusted_issuers
        self._known: OrderedDict[bytes, tuple[x509.Certificate, TBSCertificate, int]] = OrderedDict()

    def read(self, client_certificate: bytes) -> ShownCertificate:
        """Return a DER certificate as it was read; `NotAuthorizedError` where it is none.

        That one of our keys signed these octets stays true: it is verified once. The status is looked up by
        `identify`, each time.
        """
        digest = hashlib.sha256(client_certificate).digest()
        known = self._known.get(digest)
        if known is not None:
            certificate, parts, issuer_id = known
            issued_by = self._authorities.with_id(issuer_id)
            return ShownCertificate(certificate, parts, issued_by, client_certificate, digest)
        certificate, parts = _load(client_certificate)
        issuer = self._authorities.issuer_of(certificate)
        if issuer is not None:
            self._known[digest] = certificate, parts, issuer.id
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return ShownCertificate(certificate, parts, issuer, client_certificate, digest)

    async def identify(self, shown: ShownCertificate) -> Holder | Device:
        """Return whom a certificate speaks for; `NotAuthorizedError` says why for nobody."""
        if shown.issuer is None:
            return self._device(shown.certificate)
        return await self._storage.read(lambda tx: self.holder(tx, shown), brief=True)

    def holder(self, tx: Transaction, shown: ShownCertificate) -> Holder:
        """Return the holder of a certificate of ours, whose status is read from the store at each call.

        `NotAuthorizedError` where it speaks for nobody, and for one that we did not issue.
        """
        if shown.issuer is None:
            raise NotAuthorizedError("the client certificate is not of this CA")
        certificate = shown.certificate
        record = entitled(tx, shown.issuer.id, certificate.serial_number, shown.der, self._clock.now())
        return Holder(certificate, record)

    def _device(self, certificate: x509.Certificate) -> Device:
        now = self._clock.now()
        issuers = [one for one in self._trusted_issuers if _issued(one, certificate)]
        if not issuers:
            raise NotAuthorizedError("the client certificate is neither of this CA nor of a trusted issuer")
        for issuer in issuers:
            _require_valid(issuer, now, "the certificate of the client certificate's issuer")
            require_unrevoked(self._trusted_issuers.crls, issuer, certificate, now)
        _require_valid(certificate, now, "the client certificate")
        _require_client_usage(certificate)
        return Device(certificate, frozenset().union(*map(self._trusted_issuers.profiles, issuers)))


def _load(client_certificate: bytes) -> tuple[x509.Certificate, TBSCertificate]:
    try:
        return read_with_parts(client_certificate)
    except ProtocolError as error:
        raise NotAuthorizedError("the client certificate is no certificate that can be read") from error


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        return isinstance(certificate.signature_hash_algorithm, (*_SHA2, type(None)))  # None: EdDSA
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return False


def _require_valid(certificate: x509.Certificate, now: datetime, whose: str) -> None:
    if now < certificate.not_valid_before_utc:
        raise NotAuthorizedError(f"{whose} is not valid yet")
    if now > certificate.not_valid_after_utc:
        raise NotAuthorizedError(f"{whose} is expired")


def _require_client_usage(certificate: x509.Certificate) -> None:
    """Hold a certificate to what TLS asks of a client's (RFC 5280 §4.2, RFC 8446 §4.4.2.4)."""
    found = {one.oid: one for one in certificate.extensions}
    unknown = [one.oid.dotted_string for one in found.values() if one.critical and one.oid not in _READ]
    if unknown:
        raise NotAuthorizedError(f"the client certificate has an unknown critical extension, {unknown[0]}")
    constraints = found.get(ExtensionOID.BASIC_CONSTRAINTS)
    if constraints is not None and constraints.value.ca:
        raise NotAuthorizedError("the client certificate is that of a CA")
    usage = found.get(ExtensionOID.KEY_USAGE)
    if usage is not None and not usage.value.digital_signature:
        raise NotAuthorizedError("the client certificate is not for digitalSignature")
    extended = found.get(ExtensionOID.EXTENDED_KEY_USAGE)
    accepted = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if extended is not None and accepted.isdisjoint(extended.value):
        raise NotAuthorizedError("the client certificate is not for clientAuth")
