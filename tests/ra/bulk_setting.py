"""Subscribers' certificates as rows, those who act on them in bulk, and what is known of them afterwards."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pkiserver.core import Core
from pkiserver.ra.bulk.acts import BulkActs, NewAct
from pkiserver.ra.bulk.selection import Selection
from pkiserver.ra.cases.rules import Kind
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from store import audit, certificates, crl_entries, status_events
from store.bulk_acts import ActRecord
from store.database import Transaction
from store.records import AuditEntry, CertificateRecord

LEGAL = Actor("legal-1", (Assignment(Role.LEGAL),))
OTHER_LEGAL = Actor("legal-2", (Assignment(Role.LEGAL),))
FIRST_SERIAL = 1 << 100


@dataclass
class Bulk:
    """An open core with certificates of citizens, which no application tells of."""

    core: Core
    clock: Any
    authority: int

    @classmethod
    async def of(cls, core: Core, clock: Any, count: int) -> "Bulk":
        """Fill the store."""
        made = cls(core, clock, core.authorities.get("citizen").id)
        await core.storage.write(lambda tx: made.fill(tx, count))
        return made

    def fill(self, tx: Transaction, count: int) -> None:
        """Add certificates with the events of their issuance, each a record of the audit log."""
        now = self.clock.now()
        for number in range(FIRST_SERIAL, FIRST_SERIAL + count):
            octets = b"%d" % number
            record = CertificateRecord(
                authority=self.authority,
                serial=number,
                profile="citizen-signature",
                subject=f"CN=Citizen {number}",
                spki_sha256=hashlib.sha256(octets).digest(),
                not_before=now,
                not_after=now + timedelta(days=1825),
                state="active",
                certificate=octets,
            )
            certificates.add(tx, record)
            issued = audit.append(tx, AuditEntry(now, "test", "certificate.issue", "done", "{}", None))
            status_events.append(
                tx,
                authority=self.authority,
                serial=number,
                from_state=None,
                to_state="active",
                reason=None,
                effective_at=now,
                actor="test",
                audit=issued.sequence,
            )

    @property
    def acts(self) -> BulkActs:
        return self.core.registration.bulk_acts

    def new(self, kind: Kind = Kind.SUSPEND, ground: str = "key_compromised", **more: Any) -> NewAct:
        """Return an act about all of them, unless said otherwise."""
        if kind is not Kind.RESTORE and not more.keys() & {"named", "organization"}:
            more.setdefault("issuer", (self.authority,))
        return NewAct(kind, ground, Selection(**more))

    async def confirmed(self, new: NewAct) -> ActRecord:
        """Propose an act and confirm it by a second person."""
        proposed = await self.acts.propose(LEGAL, new)
        return await self.acts.confirm(OTHER_LEGAL, proposed.id, proposed.version)

    async def done(self, new: NewAct) -> ActRecord:
        """Have an act carried out."""
        begun = await self.confirmed(new)
        await self.core.registration.bulk_runner.work()
        return await self.acts.show(LEGAL, begun.id)

    async def state(self, number: int) -> str | None:
        """Return the state of one of them, counted from 0."""
        serial = FIRST_SERIAL + number
        return await self.core.storage.read(lambda tx: certificates.state_of(tx, self.authority, serial))

    async def told(self, number: int) -> int | None:
        """Return the reason that CRL and OCSP tell of one of them; None: it is good."""
        serial = FIRST_SERIAL + number
        found = await self.core.storage.read(lambda tx: crl_entries.current(tx, self.authority, serial))
        return None if found is None else found.reason
