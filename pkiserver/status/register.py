"""What the public register says (regulation 4.2): serial numbers and their states, and nothing about persons.

The same entries are shown by the feed, the search and the daily files.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pkiserver.ca.authorities import Authorities
from pkiserver.clock import utc_text
from pkiserver.storage import Storage
from protocols.asn1.ocsp import REASON_NAMES, CRLReason
from protocols.x509.certificate import serial_text
from store import certificates, register, status_events
from store.database import Transaction
from store.records import CertificateRecord, PublicEventRecord

MAX_PAGE: Final = 1000  # entries: some 150 KB of JSON
MAX_HISTORY: Final = 100  # entries shown of one serial, the newest


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of a certificate's status; `reason` None where it is good."""

    sequence: int
    ca: str
    serial: str
    state: str
    reason: str | None
    at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return it as the feed shows it."""
        reason = {"reason": self.reason} if self.reason is not None else {}
        return {
            "sequence": self.sequence,
            "ca": self.ca,
            "serial": self.serial,
            "state": self.state,
            **reason,
            "at": utc_text(self.at),
        }


@dataclass(frozen=True, slots=True)
class Found:
    """What the register holds of one certificate, the oldest change first."""

    ca: str
    serial: str
    expires_at: datetime
    entries: tuple[Entry, ...]

    @property
    def from_issuance(self) -> bool:
        """Whether the entries begin with the first one."""
        return len(self.entries) < MAX_HISTORY

    def state_at(self, now: datetime) -> str:
        """Return the last state recorded; expired where the certificate is over, unless revoked."""
        last = self.entries[-1].state
        return "expired" if last != "revoked" and now > self.expires_at else last


class Register:
    """Reads the register from the store."""

    def __init__(self, storage: Storage, authorities: Authorities) -> None:
        self._storage = storage
        self._authorities = authorities

    async def after(self, sequence: int, limit: int) -> list[Entry]:
        """Return the entries after `sequence` in commit order, at most `limit`."""
        found = await self._storage.read(lambda tx: register.after(tx, sequence, limit))
        return [self.entry(record) for record in found]

    async def head(self) -> int:
        """Return the sequence number of the newest status event."""
        return await self._storage.read(status_events.head)

    async def with_serial(self, serial: int) -> list[Found]:
        """Return what is known of a serial, for each authority that gave it."""

        def read(tx: Transaction) -> tuple[list[CertificateRecord], list[PublicEventRecord]]:
            return certificates.with_serial(tx, serial), register.of_serial(tx, serial, MAX_HISTORY)

        issued, events = await self._storage.read(read)
        found = []
        for record in issued:
            entries = tuple(self.entry(event) for event in events if event.authority == record.authority)
            if entries:
                found.append(
                    Found(self._name(record.authority), serial_text(serial), record.not_after, entries)
                )
        return found

    def entry(self, record: PublicEventRecord) -> Entry:
        """Return what is shown of an event."""
        return Entry(
            record.sequence,
            self._name(record.authority),
            serial_text(record.serial),
            record.to_state,
            reason_name(record.reason),
            record.effective_at,
        )

    def _name(self, authority: int) -> str:
        return self._authorities.record_with_id(authority).name


def reason_name(reason: int | None) -> str | None:
    """Return a reason as RFC 5280 §5.3.1 spells it."""
    return REASON_NAMES[CRLReason(reason)] if reason is not None else None
