"""The CRLs that were in force at a moment, made again from the store octet for octet."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pkiserver.clock import utc_text
from pkiserver.status.crl_builder import rebuilt
from pkiserver.status.register import reason_name
from pkiserver.storage import Storage
from store import crl_entries, crls
from store.crls import DELTA, FULL
from store.database import Transaction
from store.records import CertificateRecord, CRLRecord

# File name, whether of the certificate's shard, and which kind.
_KINDS: Final = (
    ("crl.der", False, FULL),
    ("delta-crl.der", False, DELTA),
    ("shard-crl.der", True, FULL),
    ("shard-delta-crl.der", True, DELTA),
)


@dataclass(frozen=True, slots=True)
class CRLInForce:
    """A CRL that was in force; `said` is what it told of the certificate."""

    file: str
    record: CRLRecord
    said: str

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "number": self.record.number,
            "this_update": utc_text(self.record.this_update),
            "next_update": utc_text(self.record.next_update),
            "sha256": self.record.sha256.hex(),
            "said": self.said,
        }


async def crls_in_force(
    storage: Storage, certificate: CertificateRecord, moment: datetime
) -> list[CRLInForce]:
    """Return the CRLs in force at a moment that cover this certificate: thisUpdate <= moment < nextUpdate."""
    return await storage.read(lambda tx: list(_in_force(tx, certificate, moment)))


def _in_force(tx: Transaction, certificate: CertificateRecord, moment: datetime) -> list[CRLInForce]:
    found: list[CRLInForce] = []
    base: CRLRecord | None = None
    for file, of_shard, kind in _KINDS:
        if of_shard and not certificate.crl_shard:
            continue
        scope = certificate.crl_shard if of_shard else 0
        record = crls.in_force_at(tx, certificate.authority, scope, kind, moment)
        if record is not None and record.next_update <= moment:
            record = None
        if kind == FULL:
            base = record
        elif record is not None and (base is None or record.number < base.number):
            continue  # it tells of nothing that the full CRL does not
        if record is not None:
            found.append(CRLInForce(file, record, _said(tx, certificate, record)))
    return found


def _said(tx: Transaction, certificate: CertificateRecord, record: CRLRecord) -> str:
    """Return what relying parties were told by it; by a delta CRL, together with its base."""
    entry = crl_entries.at(tx, certificate.authority, certificate.serial, record.events_to)
    if entry is None or (record.not_expired_at is not None and entry.not_after < record.not_expired_at):
        return "good"
    return f"{reason_name(entry.reason)} since {utc_text(entry.revoked_at)}"


async def crl_content(storage: Storage, found: CRLInForce) -> AsyncIterator[bytes]:
    """Yield the octets of a CRL, which were compared with its SHA-256; `ConflictError` where they differ."""
    for piece in await rebuilt(storage, found.record):
        yield piece
