"""People on record: search, look at one, what was changed, corrections. Every reading is on record.

A person comes on record with an application that the civil registry agreed to, and in no other way.
"""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from pkiserver.ra.registration.contacts import MAX_NAME_CHARACTERS
from pkiserver.ra.registration.people import SEALED_FIELDS
from pkiserver.ra.registration.roles import Action
from pkiserver.ra.registration.states import MAX_GROUND_CHARACTERS
from pkiserver.web.api.conditions import seen_number
from pkiserver.web.api.operations import Answer, APIServices, Call, Message, Number, Operation, Parameters
from store.people import PersonRecord

RegisterNumber = Annotated[str, Field(min_length=1, max_length=40, description="Such as УБ05231418.")]
CivilId = Annotated[str, Field(min_length=1, max_length=40, description="12 digits.")]
PersonName = Annotated[str, Field(min_length=1, max_length=4 * MAX_NAME_CHARACTERS)]
NamePrefix = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2 * MAX_NAME_CHARACTERS,
        description="How the name begins: the given name first, or the parent's; capitals do not matter.",
    ),
]
Place = Annotated[str, Field(min_length=1, max_length=300)]
Ground = Annotated[
    str, Field(min_length=1, max_length=MAX_GROUND_CHARACTERS, description="Why, in one line.")
]


class PersonPath(Parameters):
    """A person by number."""

    person: Number


class PersonSearch(Message):
    """Whom to look for: by one of the three."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "дорж"}]})

    name: NamePrefix | None = None
    register_number: RegisterNumber | None = None
    civil_id: CivilId | None = None


class Correction(Message):
    """What is set right of a person, and why; the numbers come with an application."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ground": "moved", "address": "2-р хороо 7-1"}]}
    )

    ground: Ground
    aimag: Place | None = None
    district: Place | None = None
    address: Place | None = None
    phone: Place | None = None
    mail: Place | None = None
    parent_name: PersonName | None = None
    clan_name: PersonName | None = None
    given_name: PersonName | None = None


class PersonSummary(Message):
    """A person of a list; the names are null once they are erased."""

    person: int
    parent_name: str | None
    clan_name: str | None
    given_name: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    erased_at: datetime | None


class PersonList(Message):
    """Who was found: a hundred at most, so say more of the name where there are many."""

    items: tuple[PersonSummary, ...]


class Person(PersonSummary):
    """A person; null is what was erased."""

    aimag: str | None
    district: str | None
    register_number: str | None
    civil_id: str | None
    birth_date: str | None
    address: str | None
    phone: str | None
    mail: str | None


class PersonChange(Message):
    """A field that was changed; `before` is null where there was none, or it is erased."""

    version: int
    field: str
    before: str | None
    actor: str
    ground: str
    at: datetime


class PersonHistory(Message):
    """What was changed of a person, the latest first."""

    items: tuple[PersonChange, ...]


async def search_people(services: APIServices, call: Call[Any, Any, PersonSearch]) -> Answer:
    """Find people by register number, by civil registration number, or by how the name begins."""
    body = call.body
    found = await services.registration.people.find(
        call.caller.acting, register_number=body.register_number, civil_id=body.civil_id, name=body.name
    )
    return Answer(PersonList(items=tuple(PersonSummary(**_summary(one)) for one in found)))


async def show_person(services: APIServices, call: Call[PersonPath, Any, None]) -> Answer:
    """Show a person with their data."""
    return await _shown(services, call)


async def show_history(services: APIServices, call: Call[PersonPath, Any, None]) -> Answer:
    """Show what was changed of a person, with the values before."""
    found = await services.registration.people.history(call.caller.acting, call.path.person)
    return Answer(
        PersonHistory(
            items=tuple(
                PersonChange(
                    version=one.record.version,
                    field=one.record.field,
                    before=one.before,
                    actor=one.record.actor,
                    ground=one.record.ground,
                    at=one.record.at,
                )
                for one in found
            )
        )
    )


async def correct_person(services: APIServices, call: Call[PersonPath, Any, Correction]) -> Answer:
    """Set right what is wrong of a person; what it replaces is kept."""
    changes = call.body.model_dump(exclude={"ground"}, exclude_none=True)
    await services.registration.people.correct(
        call.caller.acting, call.path.person, seen_number(call.seen), changes, call.body.ground
    )
    return await _shown(services, call)


async def _shown(services: APIServices, call: Call[PersonPath, Any, Any]) -> Answer:
    found = await services.registration.people.show(call.caller.acting, call.path.person)
    data: dict[str, Any] = {field: found.data.get(field) for field in SEALED_FIELDS}
    return Answer(Person(**_summary(found.record), **data), str(found.record.version))


def _summary(record: PersonRecord) -> dict[str, Any]:
    return {
        "person": record.id,
        "parent_name": record.parent_name,
        "clan_name": record.clan_name,
        "given_name": record.given_name,
        "version": record.version,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "erased_at": record.erased_at,
    }


OPERATIONS: Final = (
    Operation(
        "searchPeople",
        "POST",
        "/people/search",
        "Find people by a number or the beginning of a name",
        Action.READ_PERSON,
        search_people,
        PersonList,
        body=PersonSearch,
        reads=True,
    ),
    Operation(
        "showPerson",
        "GET",
        "/people/{person}",
        "Show a person",
        Action.READ_PERSON,
        show_person,
        Person,
        parameters=PersonPath,
        shows_version=True,
    ),
    Operation(
        "showPersonHistory",
        "GET",
        "/people/{person}/history",
        "Show what was changed of a person",
        Action.READ_PERSON,
        show_history,
        PersonHistory,
        parameters=PersonPath,
    ),
    Operation(
        "correctPerson",
        "POST",
        "/people/{person}/correct",
        "Correct what is wrong of a person",
        Action.CORRECT_PERSON,
        correct_person,
        Person,
        parameters=PersonPath,
        body=Correction,
        versioned=True,
    ),
)
