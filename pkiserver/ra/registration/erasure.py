"""Erasing what is personal of somebody: by rule, once retention is over, by two persons.

Certificates and events stay: they prove what was signed. The audit log names people by numbers of rows; what
is personal beside it is removed, and the chain holds with the salted hashes.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotFoundError
from pkiserver.ra.documents import erase_documents
from pkiserver.ra.letters.outbox import Outbox
from pkiserver.ra.registration.contacts import parse_line
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.people import ACTORS, APPLICATIONS, CHANGES, SUBJECT, found_person
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.roles import (
    Action,
    Actor,
    Approval,
    Assignment,
    Permission,
    Role,
    Target,
)
from pkiserver.ra.registration.states import MAX_GROUND_CHARACTERS, OPEN, State
from pkiserver.storage import Storage
from store import actors, applications, archive, certificates, credentials, documents, organizations
from store import audit as audit_chain
from store import people as rows
from store.applications import ApplicationRecord
from store.database import Transaction
from store.people import ErasureRecord

WAITS: Final = timedelta(days=1)  # for the second person: longer, and the first may have another role by then


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased: encrypted values, those of letters that waited too, and the applications."""

    person: int
    values: int
    applications: tuple[int, ...]


class Erasures:
    """Asks for erasures and carries them out."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        gate: Gate,
        data: PersonalData,
        outbox: Outbox,
        retention: timedelta,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._data = data
        self._outbox = outbox
        self._retention = retention

    async def ask(self, actor: Actor, person: int, ground: str) -> ErasureRecord:
        """Ask for an erasure, which a second person is to confirm within `WAITS`.

        `ConflictError` where the rule does not permit it: something of theirs is open, or is kept still.
        """
        why = parse_line(ground, MAX_GROUND_CHARACTERS)
        record = await self._storage.read(lambda tx: found_person(tx, person))
        permission = Permission(actor, Action.ERASE_PERSON, Target(holder=person, version=record.version))
        granted = await self._gate.granted(permission)
        now = self._clock.now()
        asked = ErasureRecord(person, record.version, actor.name, granted.role.value, actor.person, why, now)

        def transaction(tx: Transaction) -> ErasureRecord:
            self._require_permitted(tx, person, now)
            rows.ask_erasure(tx, asked)
            entry = audit.entry(now, actor.name, "person.erase.ask", person=person, personal={"ground": why})
            audit_chain.append(tx, entry)
            return asked

        return await self._storage.write(transaction)

    async def confirm(self, actor: Actor, person: int) -> Erased:
        """Carry out what another person asked for; `NotAuthorizedError` where it is the same one."""
        now = self._clock.now()
        asked = await self._storage.read(lambda tx: _asked(tx, person, now))
        first = Actor(asked.asked_by, (Assignment(Role(asked.asked_role)),), asked.asked_person)
        target = Target(holder=person, version=asked.version)
        approval = Approval(first, asked.version)
        await self._gate.require(Permission(actor, Action.ERASE_PERSON, target, approval))

        def transaction(tx: Transaction) -> Erased:
            if _asked(tx, person, now) != asked or found_person(tx, person).version != asked.version:
                raise ConflictError("the person, or what was asked for, has changed since: ask again")
            self._require_permitted(tx, person, now)
            erased = self._erase(tx, person, now)
            entry = audit.entry(
                now,
                actor.name,
                "person.erase",
                person=person,
                asked_by=asked.asked_by,
                values=erased.values,
                applications=list(erased.applications),
                personal={"ground": asked.ground},
            )
            audit_chain.append(tx, entry)
            return erased

        return await self._storage.write(transaction)

    def _applications(self, tx: Transaction, person: int) -> list[ApplicationRecord]:
        """Return the applications of a person, those that were never verified among them."""
        found = {one.id: one for one in applications.all_of_person(tx, person)}
        civil_id = self._data.read(tx, SUBJECT, person).get("civil_id")
        drafts = self._data.find(tx, APPLICATIONS, "civil_id", civil_id) if civil_id else []
        for row in drafts:
            record = applications.get(tx, row)
            if record is not None and record.person in (None, person):
                found.setdefault(row, record)
        return list(found.values())

    def _require_permitted(self, tx: Transaction, person: int, now: datetime) -> None:
        if found_person(tx, person).erased_at is not None:
            raise ConflictError("the person is erased already")
        for actor in actors.of_person(tx, person):
            if actor.roles:
                raise ConflictError(f"this person acts here, as {actor.name}: take back the roles first")
        of_person = self._applications(tx, person)
        for officer in _officers(tx, person, of_person):
            if officer.left_at is None:
                raise ConflictError(f"this person is officer {officer.id} of an organisation")
        for application in of_person:
            if State(application.state) in OPEN:
                raise ConflictError(f"application {application.id} of this person is open")
        for application in of_person:
            until = (_ended_at(tx, application) or application.updated_at) + self._retention
            if now < until:
                raise ConflictError(
                    f"application {application.id} of this person is kept until {until:%Y-%m-%d}"
                )

    def _erase(self, tx: Transaction, person: int, now: datetime) -> Erased:
        of_person = self._applications(tx, person)
        if not rows.erase(tx, person, now):
            raise ConflictError("the person is erased already")
        erased = self._data.erase(tx, SUBJECT, person)
        erased += sum(self._data.erase(tx, CHANGES, row) for row in rows.all_change_ids(tx, person))
        erased += sum(self._data.erase(tx, ACTORS, one.id) for one in actors.of_person(tx, person))
        erased += erase_documents(tx, self._data, documents.of_person(tx, person), now)
        for unit in archive.units_of_person(tx, person):
            erased += self._data.erase(tx, "archive_units", unit)
        erased += self._outbox.drop(tx, person, now)
        for officer in _officers(tx, person, of_person):
            organizations.erase_officer(tx, officer.id)
        for application in of_person:
            applications.erase_name(tx, application.id)
            erased += self._data.erase(tx, APPLICATIONS, application.id)
            for reference in _credentials(tx, application):
                credentials.erase(tx, reference, now)
        rows.end_erasure(tx, person)
        return Erased(person, erased, tuple(sorted(one.id for one in of_person)))


def _officers(
    tx: Transaction, person: int, of_person: Iterable[ApplicationRecord]
) -> list[organizations.OfficerRecord]:
    """Return the officers that a person is or was, those of applications that were never verified too."""
    found = {one.id: one for one in organizations.officers_of_person(tx, person)}
    for number in {one.officer for one in of_person if one.officer is not None} - set(found):
        officer = organizations.officer(tx, number)
        if officer is not None and officer.person is None:
            found[number] = officer
    return list(found.values())


def _asked(tx: Transaction, person: int, now: datetime) -> ErasureRecord:
    asked = rows.asked_erasure(tx, person)
    if asked is None or not asked.asked_at <= now < asked.asked_at + WAITS:
        raise NotFoundError(
            f"nobody asked to erase person {person} within a day: ask with `pkiserver person erase`"
        )
    return asked


def _ended_at(tx: Transaction, application: ApplicationRecord) -> datetime | None:
    """Return when the last certificate of an application's subject ends: its own, or a renewed one."""
    if application.authority is None or application.serial is None:
        return None
    certificate = certificates.get(tx, application.authority, application.serial)
    if certificate is None:
        return None
    return certificates.last_end_of_subject(tx, certificate.subject)


def _credentials(tx: Transaction, application: ApplicationRecord) -> Iterator[str]:
    """Yield the references of every credential that an application had."""
    for event in applications.events(tx, application.id):
        reference = json.loads(event.detail).get("credential")
        if isinstance(reference, str):
            yield reference
