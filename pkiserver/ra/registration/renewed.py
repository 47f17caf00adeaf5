"""What renewed the certificate of an application: no application tells of it, so its names do."""

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509

from store import applications as rows
from store import certificates
from store.database import Transaction
from store.records import CertificateRecord


def with_renewed(tx: Transaction, first: CertificateRecord, now: datetime) -> Iterator[CertificateRecord]:
    """Yield the certificate of an application, and what renewed it and is in use at `now`.

    Two officers may have one subject: what names another work mail is somebody else's, and so is what came
    of another application.
    """
    yield first
    mails = mails_of(first)
    for one in certificates.in_use_of_subject(tx, first.subject, now):
        own = rows.of_certificate(tx, one.authority, one.serial)
        if own is None and (not mails or mails & mails_of(one)):
            yield one


def mails_of(record: CertificateRecord) -> frozenset[str]:
    """Return the mail addresses in a certificate."""
    try:
        certificate = x509.load_der_x509_certificate(record.certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(names.get_values_for_type(x509.RFC822Name))
