"""Applications found: in lists of the newest, as far as the actor may see, and by how a name begins."""

from datetime import datetime
from typing import Final

from pkiserver import audit
from pkiserver.bounds import MAX_LIST
from pkiserver.clock import Clock
from pkiserver.ra.registration.contacts import name_key, parse_line
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.offices import found_office
from pkiserver.ra.registration.people import MAX_FOUND
from pkiserver.ra.registration.permissions import reach
from pkiserver.ra.registration.roles import Action, Actor, Permission, Target
from pkiserver.ra.registration.states import State
from pkiserver.storage import Storage
from store import applications as rows
from store import audit as audit_chain
from store.applications import ApplicationRecord, Search
from store.database import Transaction

MAX_NAME_CHARACTERS: Final = 130


class ApplicationSearch:
    """Searches applications; what it returns has no personal data."""

    def __init__(self, storage: Storage, clock: Clock, gate: Gate) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate

    async def newest(
        self,
        actor: Actor,
        *,
        state: State | None = None,
        office: str | None = None,
        person: int | None = None,
        created_from: datetime | None = None,
        created_until: datetime | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[ApplicationRecord]:
        """Return applications without personal data, the newest first; `before` is the last one seen.

        Without an office those that the actor may see: of the own offices or organisations, or of the holder
        identified.
        """
        found = await self._storage.read(lambda tx: found_office(tx, office)) if office else None
        reached = reach(actor, Action.READ_APPLICATION)
        narrow = not (reached.everything or reached.every_office or reached.offices)
        of_organizations = narrow and (reached.every_organization or bool(reached.organizations))
        of_holder = narrow and not of_organizations
        if found is not None:  # the holder opens an office only where no more than theirs is listed
            target = Target(office=found.id, holder=reached.holder if of_holder else None)
            await self._gate.require(Permission(actor, Action.READ_APPLICATION, target))
        if of_holder and person not in (None, reached.holder):
            await self._gate.require(Permission(actor, Action.READ_APPLICATION, Target(holder=person)))
        if of_holder and not reached.holder:
            return []  # nobody was identified, or somebody who is not on record: there is nothing of theirs
        whole = reached.everything or reached.every_office
        mine = None if whole or narrow else reached.offices
        wanted = Search(
            state=state.value if state else None,
            offices=mine if found is None else frozenset({found.id}),
            outside_organizations=reached.every_office and not reached.everything,
            organizations=reached.organizations if of_organizations else None,
            every_organization=of_organizations and reached.every_organization,
            person=reached.holder if of_holder else person,
            created_from=created_from,
            created_until=created_until,
            before=before,
        )
        most = max(1, min(limit, MAX_LIST))
        return await self._storage.read(lambda tx: rows.newest(tx, wanted, most))

    async def find(self, actor: Actor, name: str) -> list[ApplicationRecord]:
        """Return applications of those whose given name, then the parent's, begins so; it is recorded."""
        await self._gate.require(Permission(actor, Action.READ_PERSON))
        prefix, now = name_key(parse_line(name, MAX_NAME_CHARACTERS)), self._clock.now()

        def transaction(tx: Transaction) -> list[ApplicationRecord]:
            audit_chain.append(tx, audit.entry(now, actor.name, "application.find", by="name"))
            return rows.with_name_prefix(tx, prefix, MAX_FOUND)

        return await self._storage.write(transaction)
