"""A certificate that was made and never taken is given again, so that none is made twice (ADR 0004)."""

from collections.abc import Callable

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.ra.lifecycle import Standing, State
from pkiserver.storage import Storage
from protocols.x509.certificate import serial_text
from store import audit as audit_chain
from store import certificates
from store.database import Transaction
from store.records import CertificateRecord, IssuanceRecord

Find = Callable[[Transaction], IssuanceRecord | None]  # the issuance that no client has taken


async def untaken(storage: Storage, clock: Clock, find: Find, actor: str) -> bytes | None:
    """Return the DER certificate that `actor` has not taken yet, where it is active; that is audited."""

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
    again = audit.entry(
        now,
        actor,
        "certificate.deliver-again",
        authority=certificate.authority,
        serial=serial_text(certificate.serial),
    )
    await storage.write(lambda tx: audit_chain.append(tx, again))
    return certificate.certificate
