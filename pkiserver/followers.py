"""Who follows what the issuing side does: within the transaction that does it, or once that is on disk."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from pkiserver.ca.issuance import OnEvent, OnRecord
from store.database import Transaction
from store.records import CertificateRecord


@dataclass(frozen=True, slots=True)
class Followers:
    """Told in the order in which they were added."""

    changed: list[OnEvent] = field(default_factory=list)  # awaited after each commit of a change of status
    recorded: list[OnRecord] = field(default_factory=list)  # called in the transaction that records it
    issued: list[OnEvent] = field(default_factory=list)  # awaited after each commit of a new certificate
    authorities: list[Callable[[], None]] = field(default_factory=list)  # called when they changed

    async def tell_changed(self, sequence: int) -> None:
        """Tell of a change of status by its event."""
        for follower in self.changed:
            await follower(sequence)

    def tell_recorded(self, tx: Transaction, certificate: CertificateRecord, now: datetime) -> None:
        """Tell of a certificate while it is recorded."""
        for follower in self.recorded:
            follower(tx, certificate, now)

    async def tell_issued(self, sequence: int) -> None:
        """Tell of a new certificate by its event."""
        for follower in self.issued:
            await follower(sequence)

    def tell_authorities_changed(self) -> None:
        """Tell that authorities or responders changed."""
        for follower in self.authorities:
            follower()
