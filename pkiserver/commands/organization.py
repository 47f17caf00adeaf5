"""Commands on organisations, their contracts and officers."""

from collections.abc import Mapping
from typing import Any, Final

from pkiserver.commands.registration import office_worker, values_of
from pkiserver.commands.services import Caller, CommandEntry, CommandServices, parse_after
from pkiserver.errors import RefusedError
from pkiserver.ra.registration import contracts
from pkiserver.ra.registration.officers import NewOfficer
from store import organizations


async def register_organization(
    services: CommandServices, caller: Caller, /, *, number: str, name: str, mail: str
) -> dict[str, Any]:
    record = await services.registration.organizations.register(caller.actor, number, name, mail)
    return values_of(record)


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
    return [values_of(one) for one in found]


async def show_organization(services: CommandServices, caller: Caller, /, *, number: str) -> dict[str, Any]:
    shown = await services.registration.organizations.show(office_worker(caller), number)
    return values_of(shown.record) | {
        "domains": shown.domains,
        "events": [values_of(one) for one in shown.events],
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
    return values_of(moved)


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
    return values_of(await services.registration.officers.add(office_worker(caller), number, new, ground))


async def list_officers(services: CommandServices, caller: Caller, /, *, number: str) -> list[dict[str, Any]]:
    found = await services.registration.officers.current(office_worker(caller), number)
    return [values_of(one) for one in found]


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "organization.register": CommandEntry(register_organization),
    "organization.list": CommandEntry(list_organizations, reading=True),
    "organization.show": CommandEntry(show_organization, reading=True),
    "organization.move": CommandEntry(move_organization),
    "organization.decline": CommandEntry(decline_organizations),
    "organization.domains": CommandEntry(set_organization_domains),
    "organization.officer-add": CommandEntry(add_officer),
    "organization.officers": CommandEntry(list_officers, reading=True),
}
