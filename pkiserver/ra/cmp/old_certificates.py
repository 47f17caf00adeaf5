"""The certificate that a registration client updates for its holder (RFC 9810 §5.3.5, RFC 4211 §6.5)."""

from datetime import datetime

from cryptography import x509

from pkiserver.ca.issuance_rules import require_entitled
from pkiserver.errors import NotAuthorizedError
from pkiserver.ra.client_certificates import Holder
from pkiserver.ra.cmp.errors import BadCertIDError, CertRevokedError
from pkiserver.ra.cmp.named_certificates import NamedCertificates
from pkiserver.ra.cmp.wanted import Wanted, old_cert_id
from pkiserver.storage import Storage


class OldCertificates:
    """Finds what oldCertID names, where it is not the certificate that signs."""

    def __init__(self, storage: Storage, named_certificates: NamedCertificates) -> None:
        self._storage = storage
        self._named_certificates = named_certificates

    async def named(self, wanted: Wanted, now: datetime) -> Holder:
        """Return the holder of the certificate that is to be updated, which speaks for them at `now`.

        `BadCertIDError` where oldCertID is missing (nothing else says whose it is) or names none of ours,
        `CertRevokedError`, `NotAuthorizedError` where it is suspended, expired or not confirmed.
        """
        old = old_cert_id(wanted)
        if old is None:
            raise BadCertIDError("a registration client says by oldCertID which certificate it updates")
        issuer = old.issuer_name
        record = None if issuer is None else await self._named_certificates.find(issuer, old.serial_number)
        if record is None:
            raise BadCertIDError("oldCertID names no certificate of this CA")
        if record.state == "revoked":
            raise CertRevokedError("the certificate that oldCertID names is revoked")
        try:
            await self._storage.read(lambda tx: require_entitled(tx, record, now), brief=True)
        except NotAuthorizedError as error:
            raise NotAuthorizedError(f"oldCertID: {error}") from error
        return Holder(x509.load_der_x509_certificate(record.certificate), record)
