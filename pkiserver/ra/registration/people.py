"""People on record: read, searched and corrected; what a change replaced is kept as history.

Whoever reads personal data is on record before the data leave this module.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypeVar

from pkiserver import audit
from pkiserver.bounds import MAX_LIST
from pkiserver.clock import Clock
from pkiserver.errors import ChangedError, ConflictError, NotFoundError, RefusedError
from pkiserver.ra.registration.contacts import name_key, parse_line
from pkiserver.ra.registration.form import validate_form
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.numbers import parse_civil_id, parse_register_number, today
from pkiserver.ra.registration.officer_form import AnyForm
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.roles import ONESELF, Action, Actor, Permission, Target
from pkiserver.ra.registration.states import MAX_GROUND_CHARACTERS
from pkiserver.storage import Storage
from store import actors
from store import audit as audit_chain
from store import people as rows
from store.database import Transaction
from store.people import NameRow, PersonChangeRecord, PersonRecord

SUBJECT: Final = "people"  # where the personal data of a person stand
CHANGES: Final = "person_changes"
APPLICATIONS: Final = "applications"
ACTORS: Final = "actors"  # of whom the civil registration number is kept alone
MAX_FOUND: Final = 100
NAME_FIELDS: Final = ("parent_name", "clan_name", "given_name")
# What is kept of a person: the fields of the form but those that are of one application.
SEALED_FIELDS: Final = (
    *("aimag", "district", "register_number", "civil_id", "birth_date"),
    *("address", "phone", "mail"),
)
# What a senior registrar corrects; the numbers are the civil registry's, and come with an application.
CORRECTABLE: Final = frozenset({"aimag", "district", "address", "phone", "mail", *NAME_FIELDS})

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with what it holds
class Person:
    """A person as they are shown: the record, and personal data by field; none where they were erased."""

    record: PersonRecord
    data: Mapping[str, str]


@dataclass(frozen=True, slots=True, repr=False)
class PersonChange:
    """A change as it is shown, with the value before; None: there was none, or it was erased."""

    record: PersonChangeRecord
    before: str | None


class People:
    """The people on record."""

    def __init__(self, *, storage: Storage, clock: Clock, gate: Gate, data: PersonalData) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._data = data

    async def show(self, actor: Actor, person: int) -> Person:
        """Return a person with their data; the reading is recorded in the same transaction."""
        await self._gate.require(Permission(actor, Action.READ_PERSON, Target(holder=person)))

        def look(tx: Transaction) -> Person:
            return Person(found_person(tx, person), self._data.read(tx, SUBJECT, person))

        return await self._recorded(actor, "person.read", look, person=person)

    async def history(self, actor: Actor, person: int) -> list[PersonChange]:
        """Return what was changed of a person, the latest first; the reading is recorded."""
        await self._gate.require(Permission(actor, Action.READ_PERSON, Target(holder=person)))

        def look(tx: Transaction) -> list[PersonChange]:
            found_person(tx, person)
            return [
                PersonChange(change, self._data.read(tx, CHANGES, change.id).get("before"))
                for change in rows.changes(tx, person, MAX_LIST)
            ]

        return await self._recorded(actor, "person.history", look, person=person)

    async def find(
        self,
        actor: Actor,
        *,
        register_number: str | None = None,
        civil_id: str | None = None,
        name: str | None = None,
        after: int | None = None,
        limit: int = MAX_FOUND,
    ) -> list[PersonRecord]:
        """Return people by one criterion: a number as it is, or how a name begins. The search is recorded.

        By names a part at a time: `after` is the last person of the part before.
        """
        given = {
            "register_number": parse_register_number(register_number) if register_number else None,
            "civil_id": parse_civil_id(civil_id) if civil_id else None,
            "name": name_key(parse_line(name, 2 * MAX_GROUND_CHARACTERS)) if name else None,
        }
        criteria = {field: value for field, value in given.items() if value is not None}
        if len(criteria) != 1:
            raise RefusedError("people are found by one of register number, civil id, or how the name begins")
        ((field, value),) = criteria.items()
        await self._gate.require(Permission(actor, Action.READ_PERSON))

        def look(tx: Transaction) -> list[PersonRecord]:
            if field == "name":
                return rows.with_name_prefix(tx, value, max(1, min(limit, MAX_LIST)), after)
            found = self._data.find(tx, SUBJECT, field, value)
            return [record for row in found if (record := rows.get(tx, row)) is not None]

        return await self._recorded(actor, "person.find", look, by=field)

    async def correct(
        self, actor: Actor, person: int, seen_version: int, changes: Mapping[str, str], ground: str
    ) -> PersonRecord:
        """Change what is wrong of a person and keep what it replaces; all fields are held to the form."""
        unknown = sorted(set(changes) - CORRECTABLE)
        if unknown or not changes:
            raise RefusedError(f"what may be corrected is {', '.join(sorted(CORRECTABLE))}")
        why = parse_line(ground, MAX_GROUND_CHARACTERS)
        await self._gate.require(Permission(actor, Action.CORRECT_PERSON, Target(holder=person)))
        now = self._clock.now()

        def transaction(tx: Transaction) -> PersonRecord:
            record = found_person(tx, person)
            if record.version != seen_version:
                raise ChangedError(f"the person has changed since: version {record.version}")
            before = _values(record, self._data.read(tx, SUBJECT, person))
            fields: dict[str, object] = {"use_restricted": False, "value_limited": False}
            form = validate_form({**fields, **before, **changes}, today(now))
            return self._change(tx, record, form, actor.name, why, now)

        return await self._storage.write(transaction)

    def of_civil_id(self, tx: Transaction, civil_id: str) -> int | None:
        """Return the person who has this civil registration number, or None."""
        found = self._data.find(tx, SUBJECT, "civil_id", civil_id)
        return found[0] if found else None

    def whose(self, tx: Transaction, actor: Actor, civil_id: str) -> int | None:
        """Return whose a form is, as the permission table asks; None: of nobody who is known."""
        known = self.of_civil_id(tx, civil_id)
        if known is None and actor.number in self._data.find(tx, ACTORS, "civil_id", civil_id):
            return ONESELF
        return actor.holder_of(civil_id, known)

    def take_over(self, tx: Transaction, form: AnyForm, actor: str, ground: str, now: datetime) -> int:
        """Put a verified form on record, of a new person or as changes of a known one; return the person.

        Of an officer's form names and numbers alone: how the office reaches them is no data of the person.
        """
        known = self.of_civil_id(tx, form.civil_id)
        if known is not None:
            self._change(tx, found_person(tx, known), form, actor, ground, now)
            return known
        added = rows.add(tx, _names(form), now)
        self._data.put(tx, SUBJECT, added.id, _sealed(form))
        for one in self._data.find(tx, ACTORS, "civil_id", form.civil_id):
            actors.set_person(tx, one, added.id)
        audit_chain.append(tx, audit.entry(now, actor, "person.add", person=added.id))
        return added.id

    def _change(
        self, tx: Transaction, record: PersonRecord, form: AnyForm, actor: str, ground: str, now: datetime
    ) -> PersonRecord:
        """Write what differs, each with the value before; nothing where nothing does."""
        before = _values(record, self._data.read(tx, SUBJECT, record.id))
        after = {name: getattr(form, name) for name in NAME_FIELDS} | _sealed(form)
        changed = [field for field, value in after.items() if before.get(field) != value]
        if not changed:
            return record
        if not rows.change(tx, record.id, record.version, _names(form), now):
            raise ConflictError("the person has changed since, or is erased")
        self._data.put(tx, SUBJECT, record.id, _sealed(form))
        for field in changed:
            row = rows.add_change(
                tx,
                person=record.id,
                version=record.version + 1,
                field=field,
                actor=actor,
                ground=ground,
                now=now,
            )
            if (old := before.get(field)) is not None:
                self._data.put(tx, CHANGES, row, {"before": old})
        entry = audit.entry(now, actor, "person.change", person=record.id, fields=changed)
        audit_chain.append(tx, entry)
        return found_person(tx, record.id)

    async def _recorded(
        self, actor: Actor, action: str, look: Callable[[Transaction], Result], **detail: Any
    ) -> Result:
        now = self._clock.now()

        def transaction(tx: Transaction) -> Result:
            found = look(tx)
            entry = audit.entry(now, actor.name, action, on_behalf_of=actor.on_behalf_of, **detail)
            audit_chain.append(tx, entry)
            return found

        return await self._storage.write(transaction)


def found_person(tx: Transaction, person: int) -> PersonRecord:
    """Return a person or raise `NotFoundError`."""
    found = rows.get(tx, person)
    if found is None:
        raise NotFoundError(f"no person {person}; see `pkiserver person find`")
    return found


def _values(record: PersonRecord, data: Mapping[str, str]) -> dict[str, str]:
    names = {name: getattr(record, name) for name in NAME_FIELDS}
    return {field: value for field, value in (names | dict(data)).items() if value is not None}


def _names(form: AnyForm) -> NameRow:
    return NameRow(
        parent_name=form.parent_name,
        clan_name=form.clan_name,
        given_name=form.given_name,
        name_key=name_key(f"{form.given_name} {form.parent_name}"),
        full_name_key=name_key(f"{form.parent_name} {form.given_name}"),
    )


def _sealed(form: AnyForm) -> dict[str, str]:
    values = {field: getattr(form, field) for field in SEALED_FIELDS if hasattr(form, field)}
    return {field: value.isoformat() if isinstance(value, date) else value for field, value in values.items()}
