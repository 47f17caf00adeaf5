"""Organisations: they register themselves, come to a contract, and name the domains of their mail.

Registering is open to anybody, so it is bounded, and nothing follows from it until a specialist acts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from config.schema_registration import Registration as RegistrationSettings
from pkiserver import audit
from pkiserver.bounds import MAX_LIST
from pkiserver.clock import Clock
from pkiserver.errors import (
    ChangedError,
    ConflictError,
    NotAuthorizedError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from pkiserver.ra.registration.consequences import Consequences
from pkiserver.ra.registration.contacts import (
    name_key,
    parse_domain,
    parse_line,
    parse_mail,
)
from pkiserver.ra.registration.contracts import Event, State, decide
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.numbers import parse_organization_number
from pkiserver.ra.registration.public_share import PublicShare
from pkiserver.ra.registration.roles import Action, Actor, Permission, Target
from pkiserver.ra.registration.states import MAX_GROUND_CHARACTERS
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import organizations as rows
from store.database import Transaction
from store.organizations import OrganizationEventRecord, OrganizationRecord

MAX_NAME_CHARACTERS: Final = 64  # ub-organization-name, RFC 5280 App. A.1; so are unit and title bounded
MAX_DOMAINS: Final = 20
MAX_DECLINED: Final = 1000  # at a time
PUBLIC: Final = "public"  # who is on record for what a stranger registered


@dataclass(frozen=True, slots=True)
class ShownOrganization:
    """An organisation with its domains and events."""

    record: OrganizationRecord
    domains: list[str]
    events: list[OrganizationEventRecord]


@dataclass(frozen=True, slots=True)
class _New:
    """What an organisation says of itself, checked."""

    number: str
    name: str
    mail: str


class Organizations:
    """Registers organisations and follows their contracts; officers are of `officers`."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        gate: Gate,
        settings: RegistrationSettings,
        consequences: Consequences,
    ) -> None:
        self._settings = settings
        self._consequences = consequences
        self._share = PublicShare(settings.public_per_hour)
        self._storage = storage
        self._clock = clock
        self._gate = gate

    async def register(self, by: str, number: str, name: str, mail: str) -> OrganizationRecord:
        """Register an organisation as a specialist; nothing follows until one sends a contract."""
        new = _parsed(number, name, mail)
        return await self._storage.write(lambda tx: self._register(tx, new, by, None))

    async def register_publicly(self, address: str, number: str, name: str, mail: str) -> OrganizationRecord:
        """Register an organisation for whoever asks from an address; asked twice, it is done once.

        Raises `RefusedError`, `TooManyRequestsError`; `NotAuthorizedError` where it is not offered;
        `ConflictError` where the number is registered otherwise; `UnavailableError` where too many wait.
        """
        if not self._settings.public_organizations:
            raise NotAuthorizedError("organisations do not register themselves here: write to us")
        new = _parsed(number, name, mail)
        self._share.take(address, self._clock.now())

        def transaction(tx: Transaction) -> OrganizationRecord:
            found = rows.with_number(tx, new.number)
            if found is not None and found.state == State.REGISTERED.value and _is_of(found, new):
                return found
            if rows.count_in_state(tx, State.REGISTERED.value) >= self._settings.public_waiting:
                raise UnavailableError("too many organisations wait for a specialist; try again later")
            return self._register(tx, new, PUBLIC, address)

        return await self._storage.write(transaction)

    async def decline_all(self, actor: Actor, numbers: Sequence[str], ground: str) -> tuple[str, ...]:
        """Decline registrations that wait for a specialist; return which: the others waited no more."""
        if not 1 <= len(numbers) <= MAX_DECLINED:
            raise RefusedError(f"1 to {MAX_DECLINED} registrations are declined at a time")
        why = parse_line(ground, MAX_GROUND_CHARACTERS)
        await self._gate.require(Permission(actor, Action.MANAGE_CONTRACT))
        now = self._clock.now()

        def transaction(tx: Transaction) -> tuple[str, ...]:
            found = (rows.with_number(tx, number) for number in dict.fromkeys(numbers))
            waiting = [one for one in found if one is not None and one.state == State.REGISTERED.value]
            for record in waiting:
                self._append(tx, _event(record, Event.DECLINE, actor.name, why, now))
            return tuple(record.number for record in waiting)

        return await self._storage.write(transaction)

    def _register(self, tx: Transaction, new: _New, by: str, address: str | None) -> OrganizationRecord:
        now = self._clock.now()
        found = rows.with_number(tx, new.number)
        if found is None:
            added = rows.add(
                tx, number=new.number, name=new.name, name_key=name_key(new.name), mail=new.mail, now=now
            )
            event = OrganizationEventRecord(
                added.id, 1, Event.REGISTER.value, None, State.REGISTERED.value, by, "registered", now
            )
            return self._append(tx, event, address)
        # What a contract ended of has officers still: a specialist alone takes that up again.
        over = (State.DECLINED, State.ENDED) if address is None else (State.DECLINED,)
        if State(found.state) not in over:
            raise ConflictError("an organisation with this number is registered already")
        event = _event(found, Event.REGISTER, by, "registered", now)
        rows.rename(tx, found.id, name=new.name, name_key=name_key(new.name), mail=new.mail)
        return self._append(tx, event, address)

    async def move(
        self, actor: Actor, number: str, event: Event, seen_version: int, ground: str
    ) -> OrganizationRecord:
        """Move the contract of an organisation; `ConflictError` where it changed since it was seen.

        With its end nothing more is issued to its officers, and it is proposed to revoke all that they have.
        """
        if event is Event.REGISTER:
            raise RefusedError("an organisation is registered, not moved there")
        why = parse_line(ground, MAX_GROUND_CHARACTERS)
        found = await self._permitted(actor, Action.MANAGE_CONTRACT, number)
        now = self._clock.now()

        def transaction(tx: Transaction) -> OrganizationRecord:
            record = found_organization(tx, found.number)
            if record.version != seen_version:
                raise ChangedError(f"the organisation has changed since: version {record.version}")
            moved = self._append(tx, _event(record, event, actor.name, why, now))
            if event is Event.END:
                self._consequences.contract_ended(tx, moved, actor, why, now)
            return moved

        return await self._storage.write(transaction)

    async def set_domains(self, actor: Actor, number: str, domains: tuple[str, ...]) -> list[str]:
        """Say of which domains the work mail of an organisation's officers may be."""
        if not 1 <= len(domains) <= MAX_DOMAINS:
            raise RefusedError(f"an organisation has 1 to {MAX_DOMAINS} mail domains")
        allowed = tuple(sorted({parse_domain(domain) for domain in domains}))
        found = await self._permitted(actor, Action.MANAGE_CONTRACT, number)
        now = self._clock.now()

        def transaction(tx: Transaction) -> list[str]:
            rows.set_domains(tx, found.id, allowed)
            entry = audit.entry(
                now, actor.name, "organization.domains", organization=found.id, domains=list(allowed)
            )
            audit_chain.append(tx, entry)
            return list(allowed)

        return await self._storage.write(transaction)

    async def show(self, actor: Actor, number: str) -> ShownOrganization:
        """Return an organisation with its domains and events."""
        found = await self._permitted(actor, Action.READ_ORGANIZATION, number)
        return await self._storage.read(
            lambda tx: ShownOrganization(
                found_organization(tx, found.number), rows.domains(tx, found.id), rows.events(tx, found.id)
            )
        )

    async def newest(
        self, actor: Actor, *, state: State | None = None, before: int | None = None, limit: int = 100
    ) -> list[OrganizationRecord]:
        """Return organisations, the newest first; `before` is the last one seen."""
        await self._gate.require(Permission(actor, Action.READ_ORGANIZATION))
        most = max(1, min(limit, MAX_LIST))
        return await self._storage.read(
            lambda tx: rows.newest(tx, state=state.value if state else None, before=before, limit=most)
        )

    async def find(self, actor: Actor, name: str) -> list[OrganizationRecord]:
        """Return organisations whose name begins so, without regard to capitals."""
        await self._gate.require(Permission(actor, Action.READ_ORGANIZATION))
        prefix = name_key(parse_line(name, MAX_NAME_CHARACTERS))
        return await self._storage.read(lambda tx: rows.with_name_prefix(tx, prefix, MAX_LIST))

    async def _permitted(self, actor: Actor, action: Action, number: str) -> OrganizationRecord:
        found = await self._storage.read(lambda tx: found_organization(tx, number))
        await self._gate.require(Permission(actor, action, Target(organization=found.id)))
        return found

    def _append(
        self, tx: Transaction, event: OrganizationEventRecord, address: str | None = None
    ) -> OrganizationRecord:
        if not rows.append(tx, event):
            raise ConflictError("the organisation has changed since")
        entry = audit.entry(
            event.at,
            event.actor,
            f"organization.{event.event}",
            organization=event.organization,
            version=event.version,
            state=event.to_state,
            peer=address,
        )
        audit_chain.append(tx, entry)
        found = rows.get(tx, event.organization)
        if found is None:
            raise NotFoundError(f"no organisation {event.organization}")
        return found


def _parsed(number: str, name: str, mail: str) -> _New:
    return _New(parse_organization_number(number), parse_line(name, MAX_NAME_CHARACTERS), parse_mail(mail))


def _is_of(record: OrganizationRecord, new: _New) -> bool:
    return (record.name, record.mail) == (new.name, new.mail)


def _event(
    record: OrganizationRecord, event: Event, actor: str, ground: str, now: datetime
) -> OrganizationEventRecord:
    """Return an event as it is recorded; `ConflictError` where it may not happen."""
    return OrganizationEventRecord(
        organization=record.id,
        version=record.version + 1,
        event=event.value,
        from_state=record.state,
        to_state=decide(State(record.state), event).value,
        actor=actor,
        ground=ground,
        at=now,
    )


def found_organization(tx: Transaction, number: str) -> OrganizationRecord:
    """Return the organisation of a number or raise `NotFoundError`."""
    found = rows.with_number(tx, number)
    if found is None:
        raise NotFoundError(f"no organisation {number[:20]}; see `pkiserver organization list`")
    return found
