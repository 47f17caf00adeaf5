"""Commands of registration: offices, people, organisations and applications.

Who gives them sits at this machine, so they have the roles of office work everywhere; what takes a second
person is confirmed by another user of this machine, or over the API.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime
from typing import Any, Final

from pkiserver.commands.services import Caller, CommandEntry, CommandServices, parse_after
from pkiserver.errors import RefusedError
from pkiserver.ra.credentials import Use
from pkiserver.ra.registration import contracts, states
from pkiserver.ra.registration.applications import NewApplication
from pkiserver.ra.registration.erasure import WAITS
from pkiserver.ra.registration.officers import NewOfficer
from pkiserver.ra.registration.offices import OfficeForm, time_of_day
from pkiserver.ra.registration.registry import IdentityProof, ProofKind
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from protocols.x509.certificate import serial_text
from store import applications, organizations
from store.applications import ApplicationRecord
from store.offices import OfficeRecord

_ROLES: Final = (Role.ADMINISTRATOR, Role.SPECIALIST, Role.REGISTRAR)


def office_worker(caller: Caller) -> Actor:
    """Return who gives a command at this machine, in the roles of office work everywhere."""
    return Actor(caller.actor, tuple(Assignment(role, everywhere=True) for role in _ROLES))


def _values(record: Any) -> dict[str, Any]:
    """Return a record as JSON values."""
    values: dict[str, Any] = asdict(record)
    return {name: one.isoformat() if isinstance(one, datetime) else one for name, one in values.items()}


def _application(record: ApplicationRecord) -> dict[str, Any]:
    serial = serial_text(record.serial) if record.serial is not None else None
    return _values(record) | {"serial": serial}


def _office(record: OfficeRecord) -> dict[str, Any]:
    hours = ("opens_at", "closes_at", "break_from", "break_to")
    return _values(record) | {name: time_of_day(getattr(record, name)) for name in hours}


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
    return [_values(one) for one in found]


async def show_person(services: CommandServices, caller: Caller, /, *, person: int) -> dict[str, Any]:
    found = await services.registration.people.show(office_worker(caller), person)
    return _values(found.record) | dict(found.data)


async def person_history(
    services: CommandServices, caller: Caller, /, *, person: int
) -> list[dict[str, Any]]:
    found = await services.registration.people.history(office_worker(caller), person)
    return [_values(one.record) | {"before": one.before} for one in found]


async def ask_erasure(
    services: CommandServices, caller: Caller, /, *, person: int, ground: str
) -> dict[str, Any]:
    asked = await services.registration.erasures.ask(office_worker(caller), person, ground)
    return _values(asked) | {"confirm_until": (asked.asked_at + WAITS).isoformat()}


async def confirm_erasure(services: CommandServices, caller: Caller, /, *, person: int) -> dict[str, Any]:
    erased = await services.registration.erasures.confirm(office_worker(caller), person)
    return {"person": erased.person, "values": erased.values, "applications": list(erased.applications)}


async def replace_data_key(services: CommandServices, caller: Caller, /) -> dict[str, Any]:
    return {"values": await services.registration.data_key.rotate(office_worker(caller), caller.progress)}


async def register_organization(
    services: CommandServices, caller: Caller, /, *, number: str, name: str, mail: str
) -> dict[str, Any]:
    record = await services.registration.organizations.register(caller.actor, number, name, mail)
    return _values(record)


async def list_organizations(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    state: str | None,
    limit: int,
    after: str | None = None,
) -> list[dict[str, Any]]:
    chosen = contracts.State(state) if state in {one.value for one in contracts.State} else None
    if state is not None and chosen is None:
        raise RefusedError("there is no such state of an organisation")
    found = await services.registration.organizations.newest(
        office_worker(caller), state=chosen, before=parse_after(after), limit=limit
    )
    return [_values(one) for one in found]


async def show_organization(services: CommandServices, caller: Caller, /, *, number: str) -> dict[str, Any]:
    shown = await services.registration.organizations.show(office_worker(caller), number)
    return _values(shown.record) | {
        "domains": shown.domains,
        "events": [_values(one) for one in shown.events],
    }


async def move_organization(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    number: str,
    event: str,
    ground: str,
    version: int | None,
) -> dict[str, Any]:
    if event not in {one.value for one in contracts.Event}:
        raise RefusedError("there is no such step of a contract")
    found = await services.storage.read(lambda tx: organizations.with_number(tx, number))
    seen = version if version is not None else found.version if found else 0
    moved = await services.registration.organizations.move(
        office_worker(caller), number, contracts.Event(event), seen, ground
    )
    return _values(moved)


async def decline_organizations(
    services: CommandServices, caller: Caller, /, *, numbers: list[str], ground: str
) -> dict[str, Any]:
    declined = await services.registration.organizations.decline_all(office_worker(caller), numbers, ground)
    return {"declined": list(declined)}


async def set_organization_domains(
    services: CommandServices, caller: Caller, /, *, number: str, domains: list[str]
) -> dict[str, Any]:
    allowed = await services.registration.organizations.set_domains(
        office_worker(caller), number, tuple(domains)
    )
    return {"number": number, "domains": allowed}


async def add_officer(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    number: str,
    parent_name: str,
    given_name: str,
    mail: str,
    title: str,
    unit: str | None,
    ground: str,
) -> dict[str, Any]:
    new = NewOfficer(parent_name, given_name, mail, title, unit)
    return _values(await services.registration.officers.add(office_worker(caller), number, new, ground))


async def list_officers(services: CommandServices, caller: Caller, /, *, number: str) -> list[dict[str, Any]]:
    found = await services.registration.officers.current(office_worker(caller), number)
    return [_values(one) for one in found]


async def create_application(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    office: str,
    fields: dict[str, Any],
    channel: str,
    carrier: str,
    profile: str,
    delivery: str = "office",
) -> dict[str, Any]:
    new = NewApplication(office, fields, channel, carrier, profile, delivery)
    return _application(await services.registration.applications.draft(office_worker(caller), new))


async def list_applications(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    state: str | None,
    office: str | None,
    limit: int,
    after: str | None = None,
) -> list[dict[str, Any]]:
    chosen = states.State(state) if state in {one.value for one in states.State} else None
    if state is not None and chosen is None:
        raise RefusedError("there is no such state of an application")
    found = await services.registration.applications.newest(
        office_worker(caller), state=chosen, office=office, before=parse_after(after), limit=limit
    )
    return [_application(one) for one in found]


async def show_application(
    services: CommandServices, caller: Caller, /, *, application: int
) -> dict[str, Any]:
    shown = await services.registration.applications.show(office_worker(caller), application)
    return _application(shown.record) | {
        "form": dict(shown.form) if shown.form is not None else None,
        "events": [_values(one) for one in shown.events],
    }


async def verify_application(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    application: int,
    fingerprint: str | None,
    reason: str | None,
    version: int | None,
) -> dict[str, Any]:
    if (fingerprint is None) == (reason is None):
        raise RefusedError("an identity is proved by a fingerprint's check, or by numbers with a reason")
    proof = (
        IdentityProof.of(ProofKind.FINGERPRINT.value, fingerprint)
        if fingerprint is not None
        else IdentityProof.of(ProofKind.REGISTER_NUMBERS.value, reason or "")
    )
    seen = await _seen(services, application, version)
    verified = await services.registration.applications.verify(
        office_worker(caller), application, seen, proof
    )
    return _application(verified)


async def return_application(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    application: int,
    ground: str,
    fields: list[str],
    version: int | None,
) -> dict[str, Any]:
    seen = await _seen(services, application, version)
    returned = await services.registration.applications.send_back(
        office_worker(caller), application, seen, ground, tuple(fields)
    )
    return _application(returned)


async def withdraw_application(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    application: int,
    ground: str,
    version: int | None,
) -> dict[str, Any]:
    seen = await _seen(services, application, version)
    withdrawn = await services.registration.applications.withdraw(
        office_worker(caller), application, seen, ground
    )
    return _application(withdrawn)


async def issue_application(
    services: CommandServices, caller: Caller, /, *, application: int, use: Use, version: int | None
) -> dict[str, Any]:
    seen = await _seen(services, application, version)
    new = await services.registration.issuing.begin(office_worker(caller), application, seen, use)
    return {"reference": new.reference, "secret": new.secret, "expires_at": new.expires_at.isoformat()}


async def _seen(services: CommandServices, application: int, version: int | None) -> int:
    """Return the version that the caller saw: the one they name, else that of now."""
    if version is not None:
        return version
    found = await services.storage.read(lambda tx: applications.get(tx, application))
    return found.version if found else 0


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
    "organization.register": CommandEntry(register_organization),
    "organization.list": CommandEntry(list_organizations, reading=True),
    "organization.show": CommandEntry(show_organization, reading=True),
    "organization.move": CommandEntry(move_organization),
    "organization.decline": CommandEntry(decline_organizations),
    "organization.domains": CommandEntry(set_organization_domains),
    "organization.officer-add": CommandEntry(add_officer),
    "organization.officers": CommandEntry(list_officers, reading=True),
    "application.create": CommandEntry(create_application),
    "application.list": CommandEntry(list_applications, reading=True),
    "application.show": CommandEntry(show_application, reading=True),
    "application.verify": CommandEntry(verify_application),
    "application.return": CommandEntry(return_application),
    "application.withdraw": CommandEntry(withdraw_application),
    "application.issue": CommandEntry(issue_application),
}
