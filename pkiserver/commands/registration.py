"""Commands on offices and people, and what all commands of registration share.

Who gives them sits at this machine, so they have the roles of office work everywhere; what takes a second
person is confirmed by another user of this machine, or over the API.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime
from typing import Any, Final

from pkiserver.commands.services import Caller, CommandEntry, CommandServices, parse_after
from pkiserver.errors import RefusedError
from pkiserver.ra.registration.erasure import WAITS
from pkiserver.ra.registration.offices import OfficeForm, time_of_day
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from store.offices import OfficeRecord

_ROLES: Final = (Role.ADMINISTRATOR, Role.SPECIALIST, Role.REGISTRAR)


def office_worker(caller: Caller) -> Actor:
    """Return who gives a command at this machine, in the roles of office work everywhere."""
    return Actor(caller.actor, tuple(Assignment(role, everywhere=True) for role in _ROLES))


def values_of(record: Any) -> dict[str, Any]:
    """Return a record as JSON values."""
    values: dict[str, Any] = asdict(record)
    return {name: one.isoformat() if isinstance(one, datetime) else one for name, one in values.items()}


def _office(record: OfficeRecord) -> dict[str, Any]:
    hours = ("opens_at", "closes_at", "break_from", "break_to")
    return values_of(record) | {name: time_of_day(getattr(record, name)) for name in hours}


async def add_office(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    code: str,
    name: str,
    kind: str,
    opens_at: str,
    closes_at: str,
    break_from: str,
    break_to: str,
    weekdays: str,
) -> dict[str, Any]:
    form = OfficeForm(name, kind, opens_at, closes_at, break_from, break_to, weekdays)
    return _office(await services.registration.offices.add(office_worker(caller), code, form))


async def list_offices(services: CommandServices, _caller: Caller, /) -> list[dict[str, Any]]:
    return [_office(one) for one in await services.registration.offices.in_order()]


async def show_office(services: CommandServices, _caller: Caller, /, *, code: str) -> dict[str, Any]:
    offices = services.registration.offices
    days = await offices.days(code, date.min, date.max)
    return _office(await offices.get(code)) | {
        "days": {day.isoformat(): "works" if works else "closed" for day, works in sorted(days.items())}
    }


async def set_office_day(
    services: CommandServices, caller: Caller, /, *, code: str, day: str, works: bool
) -> dict[str, Any]:
    try:
        moment = date.fromisoformat(day)
    except ValueError as error:
        raise RefusedError("a day is written as 2026-07-10") from error
    await services.registration.offices.set_day(office_worker(caller), code, moment, works=works)
    return {"code": code, "day": moment.isoformat(), "works": works}


async def find_people(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    name: str | None,
    civil_id: str | None,
    register_number: str | None,
    after: str | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    found = await services.registration.people.find(
        office_worker(caller),
        name=name,
        civil_id=civil_id,
        register_number=register_number,
        after=parse_after(after),
        limit=limit,
    )
    return [values_of(one) for one in found]


async def show_person(services: CommandServices, caller: Caller, /, *, person: int) -> dict[str, Any]:
    found = await services.registration.people.show(office_worker(caller), person)
    return values_of(found.record) | dict(found.data)


async def person_history(
    services: CommandServices, caller: Caller, /, *, person: int
) -> list[dict[str, Any]]:
    found = await services.registration.people.history(office_worker(caller), person)
    return [values_of(one.record) | {"before": one.before} for one in found]


async def ask_erasure(
    services: CommandServices, caller: Caller, /, *, person: int, ground: str
) -> dict[str, Any]:
    asked = await services.registration.erasures.ask(office_worker(caller), person, ground)
    return values_of(asked) | {"confirm_until": (asked.asked_at + WAITS).isoformat()}


async def confirm_erasure(services: CommandServices, caller: Caller, /, *, person: int) -> dict[str, Any]:
    erased = await services.registration.erasures.confirm(office_worker(caller), person)
    return {"person": erased.person, "values": erased.values, "applications": list(erased.applications)}


async def replace_data_key(services: CommandServices, caller: Caller, /) -> dict[str, Any]:
    return {"values": await services.registration.data_key.rotate(office_worker(caller), caller.progress)}


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "office.add": CommandEntry(add_office),
    "office.list": CommandEntry(list_offices, reading=True),
    "office.show": CommandEntry(show_office, reading=True),
    "office.day": CommandEntry(set_office_day),
    "person.find": CommandEntry(find_people, reading=True),
    "person.show": CommandEntry(show_person, reading=True),
    "person.history": CommandEntry(person_history, reading=True),
    "person.erase": CommandEntry(ask_erasure),
    "person.confirm-erasure": CommandEntry(confirm_erasure),
    "person.rotate-key": CommandEntry(replace_data_key),
}
