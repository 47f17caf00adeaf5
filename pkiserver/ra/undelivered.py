"""A certificate that was made and never taken is given again, so that none is made twice (ADR 0004)."""

from collections.abc import Callable
from datetime import datetime

from cryptography import x509

from pkiserver import audit
from pkiserver.ca.identity import Identity, certificate_identity
from pkiserver.clock import Clock
from pkiserver.ra.lifecycle import Standing, State
from pkiserver.storage import Storage
from protocols.x509.certificate import serial_text
from protocols.x509.names import names_equal, sans_equal
from store import audit as audit_chain
from store import certificates
from store.database import Transaction
from store.records import CertificateRecord, IssuanceRecord

Find = Callable[[Transaction], IssuanceRecord | None]  # the issuance that no client has taken


async def untaken(
    storage: Storage, clock: Clock, find: Find, actor: str, wanted: Identity | None = None
) -> bytes | None:
    """Return the DER certificate that `actor` has not taken yet, where it is active; that is audited.

    Who is entitled to another (`wanted`) gets it only where it certifies just that, and half of its life
    is still to come.
    """

    def record(tx: Transaction) -> CertificateRecord | None:
        issuance = find(tx)
        return certificates.get(tx, issuance.authority, issuance.serial) if issuance else None

    now = clock.now()
    certificate = await storage.read(record)
    if (
        certificate is None
        or Standing(State(certificate.state), certificate.not_after).at(now) is not State.ACTIVE
    ):
        return None
    if wanted is not None and not _as_good_as_new(certificate, wanted, now):
        return None
    again = audit.entry(
        now,
        actor,
        "certificate.deliver-again",
        authority=certificate.authority,
        serial=serial_text(certificate.serial),
    )
    await storage.write(lambda tx: audit_chain.append(tx, again))
    return certificate.certificate


def _as_good_as_new(record: CertificateRecord, wanted: Identity, now: datetime) -> bool:
    if now - record.not_before > (record.not_after - record.not_before) / 2:
        return False
    held = certificate_identity(x509.load_der_x509_certificate(record.certificate))
    return (
        names_equal(held.subject, wanted.subject)
        and sans_equal(held.san, wanted.san)
        and held.limit_mnt == wanted.limit_mnt
    )
