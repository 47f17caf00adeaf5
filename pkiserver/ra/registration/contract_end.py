"""What follows when an organisation's contract ends: nothing more is issued, and all is to be revoked."""

from datetime import datetime
from typing import Final

from pkiserver.ra.bulk.acts import BulkActs, By, NewAct
from pkiserver.ra.bulk.selection import Selection
from pkiserver.ra.cases.rules import Kind
from pkiserver.ra.registration.applications import withdraw_in
from pkiserver.ra.registration.roles import Actor, Role
from store import applications as rows
from store.database import Transaction
from store.organizations import OrganizationRecord

GROUND: Final = "contract_ended"


class ContractEnd:
    """Withdraws the open applications of an organisation and proposes the bulk act on its certificates."""

    def __init__(self, bulk_acts: BulkActs) -> None:
        self._bulk_acts = bulk_acts

    def follow(
        self, tx: Transaction, organization: OrganizationRecord, actor: Actor, paper: str, now: datetime
    ) -> None:
        """Do so in the transaction that ends the contract; a second person confirms the revocation.

        `ConflictError` while a certificate is being made for one of its officers: it would be left out.
        """
        for application in rows.unissued(tx, organization=organization.id):
            withdraw_in(tx, application, actor.name, "the contract has ended", now)
        new = NewAct(Kind.REVOKE, GROUND, Selection(organization=organization.number), {"letter": paper})
        self._bulk_acts.propose_in(tx, new, By(actor, Role.SPECIALIST), now)
