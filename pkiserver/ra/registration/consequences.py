"""What follows for certificates from what happens in a government organisation, in the event's transaction.

The contract ends: nothing more is issued, and all is to be revoked. An officer leaves: what they have is
revoked. One with another position gets the certificate for it: those that name the old one are superseded.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from pkiserver import audit
from pkiserver.ca.issuance import OnEvent
from pkiserver.ra.bulk.acts import BulkActs, By, NewAct
from pkiserver.ra.bulk.selection import Selection
from pkiserver.ra.cases.rules import GROUNDS, Kind
from pkiserver.ra.letters.notices import Notices
from pkiserver.ra.lifecycle import Action, Command, HoldOwner
from pkiserver.ra.registration.application_events import withdraw_in
from pkiserver.ra.registration.contracts import State
from pkiserver.ra.registration.issuing import FOLLOWER
from pkiserver.ra.registration.officer_form import PROFILE
from pkiserver.ra.registration.renewed import mails_of, with_renewed
from pkiserver.ra.registration.roles import Actor, Role
from pkiserver.ra.status_changes import change_status
from store import applications as rows
from store import audit as audit_chain
from store import certificates, credentials, organizations, renewals
from store.applications import ApplicationRecord
from store.database import Transaction
from store.organizations import OrganizationRecord
from store.records import CertificateRecord, to_unix

_REVOKE: Final = Command(Action.REVOKE, HoldOwner.AUTHORITY)


class Consequences:
    """Withdraws applications, revokes, and proposes bulk acts; what it returns is told once committed."""

    def __init__(self, *, bulk_acts: BulkActs, notices: Notices, on_event: OnEvent) -> None:
        self._bulk_acts = bulk_acts
        self._notices = notices
        self._on_event = on_event

    def contract_ended(
        self, tx: Transaction, organization: OrganizationRecord, actor: Actor, paper: str, now: datetime
    ) -> None:
        """Withdraw what an organisation applied for; a second person confirms the revocation of the rest.

        `ConflictError` while a certificate is being made for one of its officers: it would be left out.
        """
        for application in rows.unissued(tx, organization=organization.id):
            withdraw_in(tx, application, actor.name, "the contract has ended", now)
        cancelled = credentials.cancel_unused(tx, now, organization=organization.id)
        if cancelled:
            entry = audit.entry(
                now, actor.name, "credential.cancel", organization=organization.id, references=cancelled
            )
            audit_chain.append(tx, entry)
        selection = Selection(organization=organization.number)
        new = NewAct(Kind.REVOKE, "contract_ended", selection, {"letter": paper})
        self._bulk_acts.propose_in(tx, new, By(actor, Role.SPECIALIST), now)

    def officer_left(self, tx: Transaction, officer: int, actor: str, now: datetime) -> list[int]:
        """Revoke what an officer has; return the events."""
        found = _certificates(tx, rows.of_officer(tx, officer), now)
        return self._revoke(tx, found, "officer_left", actor, now)

    def certified(self, tx: Transaction, certificate: CertificateRecord, now: datetime) -> None:
        """Revoke a certificate that was being made when its officer left, or the contract ended."""
        if certificate.profile != PROFILE:
            return
        made = renewals.behind(tx, certificate)
        officer = None if made is None or made.officer is None else organizations.officer(tx, made.officer)
        if made is None or officer is None:
            return
        mails = mails_of(certificate)
        if mails and officer.mail not in (None, *mails):
            return  # it is of somebody else who has the same subject
        employer = organizations.get(tx, officer.organization)
        if officer.left_at is not None:
            self._revoke(tx, [(certificate, made.person)], "officer_left", FOLLOWER, now)
        elif employer is None or employer.state != State.CONTRACTED.value:
            self._revoke(tx, [(certificate, made.person)], "contract_ended", FOLLOWER, now)

    def delivered(self, tx: Transaction, made: ApplicationRecord, actor: str, now: datetime) -> list[int]:
        """Supersede an officer's certificates of other positions, now that the new one is in their hands."""
        if made.officer is None or made.authority is None or made.serial is None:
            return []
        new = certificates.get(tx, made.authority, made.serial)
        if new is None:
            return []
        earlier = [one for one in rows.of_officer(tx, made.officer) if one.id < made.id]
        found = [
            (one, person)
            for one, person in _certificates(tx, earlier, now)
            if (one.profile, one.subject != new.subject) == (new.profile, True)
        ]
        return self._revoke(tx, found, "position_changed", actor, now)

    async def tell(self, sequences: Iterable[int]) -> None:
        """Tell of events once they are on disk."""
        for sequence in sequences:
            await self._on_event(sequence)

    def _revoke(
        self,
        tx: Transaction,
        found: Sequence[tuple[CertificateRecord, int | None]],
        ground: str,
        actor: str,
        now: datetime,
    ) -> list[int]:
        command, sequences = replace(_REVOKE, reason=GROUNDS[ground].reason), []
        for certificate, person in found:
            if certificate.state == "revoked" or to_unix(certificate.not_after) < to_unix(now):
                continue
            named = (certificate.authority, certificate.serial)
            changed = change_status(tx, *named, command, actor, now)
            self._notices.of_change(tx, changed, person, ground, now)
            sequences.append(changed.sequence)
        return sequences


def _certificates(
    tx: Transaction, applications: Iterable[ApplicationRecord], now: datetime
) -> list[tuple[CertificateRecord, int | None]]:
    """Return the certificates that came of applications, and what renewed those, each with its holder."""
    found = {
        (one.authority, one.serial): (one, application.person)
        for application in applications
        for one in _of_application(tx, application, now)
    }
    return list(found.values())


def _of_application(
    tx: Transaction, application: ApplicationRecord, now: datetime
) -> Iterator[CertificateRecord]:
    if application.authority is None or application.serial is None:
        return
    first = certificates.get(tx, application.authority, application.serial)
    if first is not None:
        yield from with_renewed(tx, first, now)
