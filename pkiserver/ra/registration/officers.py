"""Officers of organisations: who they are, how their work mail must be, and their positions.

With a position end the credentials given for it; what follows for certificates is in `consequences`.
"""

from dataclasses import dataclass
from typing import Final

from pkiserver import audit
from pkiserver.bounds import MAX_LIST
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotFoundError, RefusedError
from pkiserver.ra.registration.consequences import Consequences
from pkiserver.ra.registration.contacts import is_of_domain, parse_line, parse_mail, parse_name
from pkiserver.ra.registration.contracts import State
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.organizations import MAX_NAME_CHARACTERS, found_organization
from pkiserver.ra.registration.positions import end_credentials
from pkiserver.ra.registration.roles import Action, Actor, Permission, Target
from pkiserver.ra.registration.states import MAX_GROUND_CHARACTERS
from pkiserver.storage import Storage
from store import applications
from store import audit as audit_chain
from store import organizations as rows
from store.database import Transaction
from store.organizations import OfficerRecord, OrganizationRecord

MAX_OFFICERS: Final = 100_000  # of one organisation


@dataclass(frozen=True, slots=True)
class NewOfficer:
    """An officer as the list of an organisation names them."""

    parent_name: str
    given_name: str
    mail: str
    title: str
    unit: str | None = None


class Officers:
    """Keeps the officers of organisations that have a contract."""

    def __init__(self, storage: Storage, clock: Clock, gate: Gate, consequences: Consequences) -> None:
        self._consequences = consequences
        self._storage = storage
        self._clock = clock
        self._gate = gate

    async def add(self, actor: Actor, number: str, new: NewOfficer, ground: str) -> OfficerRecord:
        """Add an officer, whose work mail is of an allowed domain, to a contracted organisation."""
        mail = parse_mail(new.mail)
        parent_name, given_name = parse_name(new.parent_name), parse_name(new.given_name)
        title, unit, why = _position(new.title, new.unit, ground)
        found = await self._permitted(actor, Action.MANAGE_OFFICERS, number)
        now = self._clock.now()

        def transaction(tx: Transaction) -> OfficerRecord:
            _require_contracted(found_organization(tx, number))
            if not any(is_of_domain(mail, domain) for domain in rows.domains(tx, found.id)):
                raise RefusedError("the work mail is of none of the organisation's domains")
            if rows.is_of_nearer_domain(tx, found.id, mail):
                raise RefusedError("the work mail is of another organisation's domain")
            if rows.officer_with_mail(tx, found.id, mail) is not None:
                raise ConflictError("an officer of the organisation has this work mail")
            if rows.count_officers(tx, found.id) >= MAX_OFFICERS:
                raise ConflictError(f"an organisation has at most {MAX_OFFICERS} officers")
            officer = rows.add_officer(
                tx, organization=found.id, parent_name=parent_name, given_name=given_name, mail=mail, now=now
            )
            rows.set_position(
                tx, officer=officer, title=title, unit=unit, actor=actor.name, ground=why, now=now
            )
            entry = audit.entry(now, actor.name, "officer.add", organization=found.id, officer=officer)
            audit_chain.append(tx, entry)
            return _officer(tx, found.id, officer)

        return await self._storage.write(transaction)

    async def change_position(
        self, actor: Actor, number: str, officer: int, title: str, unit: str | None, ground: str
    ) -> OfficerRecord:
        """Give an officer another position, on the ground of a paper; the one before stays on record."""
        title, unit, why = _position(title, unit, ground)
        found = await self._permitted(actor, Action.MANAGE_OFFICERS, number)
        now = self._clock.now()

        def transaction(tx: Transaction) -> OfficerRecord:
            before = _officer(tx, found.id, officer)
            if before.left_at is not None:
                raise ConflictError(f"officer {officer} has left")
            if (before.title, before.unit) == (title, unit):
                return before  # asked twice
            rows.set_position(
                tx, officer=officer, title=title, unit=unit, actor=actor.name, ground=why, now=now
            )
            entry = audit.entry(
                now,
                actor.name,
                "officer.position",
                organization=found.id,
                officer=officer,
                cancelled=end_credentials(tx, officer, actor.name, "the officer has another position", now),
            )
            audit_chain.append(tx, entry)
            return _officer(tx, found.id, officer)

        return await self._storage.write(transaction)

    async def remove(self, actor: Actor, number: str, officer: int) -> OfficerRecord:
        """Note that an officer left: what enrols for them enrols nothing any more, what they have is revoked.

        For whom nobody applied, no name is kept.
        """
        found = await self._permitted(actor, Action.MANAGE_OFFICERS, number)
        now, events = self._clock.now(), list[int]()

        def transaction(tx: Transaction) -> OfficerRecord:
            _officer(tx, found.id, officer)
            if not rows.end_officer(tx, officer, now):
                raise ConflictError(f"officer {officer} has left already")
            entry = audit.entry(
                now,
                actor.name,
                "officer.remove",
                organization=found.id,
                officer=officer,
                cancelled=end_credentials(tx, officer, actor.name, "the officer has left", now),
            )
            audit_chain.append(tx, entry)
            events[:] = self._consequences.officer_left(tx, officer, actor.name, now)
            left = _officer(tx, found.id, officer)
            if not applications.of_officer(tx, officer):
                rows.erase_officer(tx, officer)
            return left

        removed = await self._storage.write(transaction)
        await self._consequences.tell(events)
        return removed

    async def current(self, actor: Actor, number: str) -> list[OfficerRecord]:
        """Return the officers of an organisation who have not left, with their positions."""
        found = await self._permitted(actor, Action.READ_ORGANIZATION, number)
        return await self._storage.read(lambda tx: rows.officers(tx, found.id, MAX_LIST))

    async def _permitted(self, actor: Actor, action: Action, number: str) -> OrganizationRecord:
        found = await self._storage.read(lambda tx: found_organization(tx, number))
        await self._gate.require(Permission(actor, action, Target(organization=found.id)))
        return found


def _officer(tx: Transaction, organization: int, officer: int) -> OfficerRecord:
    found = rows.officer(tx, officer)
    if found is None or found.organization != organization:
        raise NotFoundError(f"no officer {officer} of this organisation")
    return found


def _require_contracted(record: OrganizationRecord) -> None:
    if record.state != State.CONTRACTED.value:
        raise ConflictError(f"the organisation is {record.state}: officers come with the contract")


def _position(title: str, unit: str | None, ground: str) -> tuple[str, str | None, str]:
    return (
        parse_line(title, MAX_NAME_CHARACTERS),
        parse_line(unit, MAX_NAME_CHARACTERS) if unit is not None else None,
        parse_line(ground, MAX_GROUND_CHARACTERS),
    )
