"""Offices: where people apply, with hours and calendar."""

from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from pkiserver.ra.registration.numbers import today
from pkiserver.ra.registration.offices import MAX_NAME_CHARACTERS, OfficeForm, time_of_day
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.conditions import seen_number
from pkiserver.web.api.idempotency import answered
from pkiserver.web.api.operations import Answer, APIServices, Call, Message, Operation, Parameters
from store.offices import OfficeRecord

SHOWN_DAYS: Final = timedelta(days=730)
OfficeCode = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$", description="The code of an office.")]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Kind = Literal["branch", "service_centre", "mission"]
TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Weekdays = Annotated[str, Field(pattern=r"^1?2?3?4?5?6?7?$", min_length=1, description="1 is Monday.")]
_HOURS: Final[JsonDict] = {
    "name": "Сүхбаатар дүүрэг",
    "kind": "branch",
    "opens_at": "09:00",
    "closes_at": "18:00",
    "break_from": "13:00",
    "break_to": "14:00",
    "weekdays": "12345",
}


class OfficePath(Parameters):
    """An office by its code."""

    office: OfficeCode


class OfficeDayPath(OfficePath):
    """A day of an office's calendar."""

    day: date


class OfficeHours(Message):
    """What is entered of an office; times are of Mongolia."""

    model_config = ConfigDict(json_schema_extra={"examples": [_HOURS]})

    name: Name
    kind: Kind = "branch"
    opens_at: TimeOfDay = "09:00"
    closes_at: TimeOfDay = "18:00"
    break_from: TimeOfDay = "13:00"
    break_to: TimeOfDay = "14:00"
    weekdays: Weekdays = "12345"


class NewOffice(OfficeHours):
    """An office that is added, with the code by which it is known."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "ub-1", **_HOURS}]})

    code: OfficeCode


class OfficeDay(Message):
    """Whether an office works on a day, whatever the day of the week."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"works": False}]})

    works: bool


class OfficeSummary(Message):
    """An office of a list."""

    code: str
    name: str
    kind: str
    opens_at: str
    closes_at: str
    break_from: str
    break_to: str
    weekdays: str
    version: int


class Office(OfficeSummary):
    """An office, and the days of two years from yesterday on that differ from its week."""

    days: dict[date, bool]


class OfficeList(Message):
    """The offices by their codes."""

    items: tuple[OfficeSummary, ...]


async def list_offices(services: APIServices, _call: Call[Any, Any, None]) -> Answer:
    """List the offices."""
    found = await services.registration.offices.in_order()
    return Answer(OfficeList(items=tuple(OfficeSummary(**_values(one)) for one in found)))


async def show_office(services: APIServices, call: Call[OfficePath, Any, None]) -> Answer:
    """Show an office with its calendar."""
    return await _shown(services, call.path.office)


async def create_office(services: APIServices, call: Call[Any, Any, NewOffice]) -> Answer:
    """Add an office."""
    deed = services.registration.offices.add(call.caller.acting, call.body.code, _form(call.body))
    return await answered(
        OfficeRecord, deed, lambda made: Answer(Office(**_values(made), days={}), str(made.version))
    )


async def change_office(services: APIServices, call: Call[OfficePath, Any, OfficeHours]) -> Answer:
    """Set all of an office but its code."""
    code = call.path.office
    await services.registration.offices.change(
        call.caller.acting, code, seen_number(call.seen), _form(call.body)
    )
    return await _shown(services, code)


async def set_office_day(services: APIServices, call: Call[OfficeDayPath, Any, OfficeDay]) -> Answer:
    """Say that an office works on a day, or is closed; said again, it is the same."""
    path = call.path
    await services.registration.offices.set_day(
        call.caller.acting, path.office, path.day, works=call.body.works
    )
    return await _shown(services, path.office)


async def _shown(services: APIServices, code: str) -> Answer:
    offices, first = services.registration.offices, today(services.clock.now()) - timedelta(days=1)
    found = await offices.get(code)
    days = await offices.days(code, first, first + SHOWN_DAYS)
    return Answer(Office(**_values(found), days=days), str(found.version))


def _form(body: OfficeHours) -> OfficeForm:
    return OfficeForm(**body.model_dump(exclude={"code"}))


def _values(record: OfficeRecord) -> dict[str, Any]:
    return {
        "code": record.code,
        "name": record.name,
        "kind": record.kind,
        "opens_at": time_of_day(record.opens_at),
        "closes_at": time_of_day(record.closes_at),
        "break_from": time_of_day(record.break_from),
        "break_to": time_of_day(record.break_to),
        "weekdays": record.weekdays,
        "version": record.version,
    }


OPERATIONS: Final = (
    Operation("listOffices", "GET", "/offices", "List offices", Action.READ_OFFICE, list_offices, OfficeList),
    Operation(
        "showOffice",
        "GET",
        "/offices/{office}",
        "Show an office and its calendar",
        Action.READ_OFFICE,
        show_office,
        Office,
        parameters=OfficePath,
        shows_version=True,
    ),
    Operation(
        "createOffice",
        "POST",
        "/offices",
        "Add an office",
        Action.MANAGE_OFFICES,
        create_office,
        Office,
        body=NewOffice,
        shows_version=True,
    ),
    Operation(
        "changeOffice",
        "PUT",
        "/offices/{office}",
        "Set the name and the hours of an office",
        Action.MANAGE_OFFICES,
        change_office,
        Office,
        parameters=OfficePath,
        body=OfficeHours,
        versioned=True,
    ),
    Operation(
        "setOfficeDay",
        "PUT",
        "/offices/{office}/days/{day}",
        "Say whether an office works on a day",
        Action.MANAGE_OFFICES,
        set_office_day,
        Office,
        parameters=OfficeDayPath,
        body=OfficeDay,
        shows_version=True,
    ),
)
