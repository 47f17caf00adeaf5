"""Organisations: search, look at one, register, contract and mail domains."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from pkiserver.ra.registration.contacts import MAX_MAIL_CHARACTERS
from pkiserver.ra.registration.contracts import Event, State
from pkiserver.ra.registration.organizations import MAX_DOMAINS, MAX_NAME_CHARACTERS
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.conditions import seen_number
from pkiserver.web.api.idempotency import answered
from pkiserver.web.api.operations import (
    DEFAULT_LIMIT,
    Answer,
    APIServices,
    Call,
    Limit,
    Message,
    NumberCursor,
    Operation,
    Parameters,
)
from pkiserver.web.api.people import Ground
from store.organizations import OrganizationRecord

OrganizationNumber = Annotated[
    str, Field(pattern=r"^[0-9]{7}$", description="The number of the state register, 7 digits.")
]
OrganizationName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Mail = Annotated[str, Field(min_length=3, max_length=MAX_MAIL_CHARACTERS)]
Domain = Annotated[str, Field(min_length=1, max_length=253)]
StateName = Literal["registered", "contract_sent", "contracted", "declined", "ended"]
EventName = Literal["send_contract", "sign_contract", "decline", "end"]


class OrganizationPath(Parameters):
    """An organisation by the number of the state register."""

    organization: OrganizationNumber


class OrganizationSearch(Parameters):
    """What to look for; by name they come in the order of names, and there are no further pages."""

    state: StateName | None = None
    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)] | None = None
    limit: Limit = DEFAULT_LIMIT
    after: NumberCursor | None = None


class NewOrganization(Message):
    """An organisation that is registered."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"number": "1234567", "name": "Аудит", "mail": "it@audit.gov.mn"}]}
    )

    number: OrganizationNumber
    name: OrganizationName
    mail: Mail


class ContractStep(Message):
    """What happens to the contract of an organisation."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"event": "send_contract", "ground": "letter 7"}]}
    )

    event: EventName
    ground: Ground


class Domains(Message):
    """Of which domains the work mail of officers is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"domains": ["audit.gov.mn"]}]})

    domains: Annotated[tuple[Domain, ...], Field(min_length=1, max_length=MAX_DOMAINS, strict=False)]


class OrganizationSummary(Message):
    """An organisation of a list."""

    number: str
    name: str
    mail: str
    state: StateName
    version: int
    created_at: datetime


class OrganizationList(Message):
    """A page of organisations, the newest first; `next` leads to the page behind, null where none is."""

    items: tuple[OrganizationSummary, ...]
    next: str | None


class OrganizationEvent(Message):
    """What happened to an organisation."""

    version: int
    event: str
    to: str
    actor: str
    ground: str
    at: datetime


class Organization(OrganizationSummary):
    """An organisation."""

    domains: tuple[str, ...]
    events: tuple[OrganizationEvent, ...]


async def list_organizations(services: APIServices, call: Call[Any, OrganizationSearch, None]) -> Answer:
    """Search organisations."""
    query, organizations = call.query, services.registration.organizations
    state = State(query.state) if query.state is not None else None
    if query.name is not None:
        named = await organizations.find(call.caller.acting, query.name)
        found = [one for one in named if query.state in (None, one.state)][: query.limit]
        return Answer(OrganizationList(items=tuple(_summary(one) for one in found), next=None))
    before = None if query.after is None else int(query.after)
    found = await organizations.newest(call.caller.acting, state=state, before=before, limit=query.limit + 1)
    items = tuple(_summary(one) for one in found[: query.limit])
    more = str(found[query.limit - 1].id) if len(found) > query.limit else None
    return Answer(OrganizationList(items=items, next=more))


async def show_organization(services: APIServices, call: Call[OrganizationPath, Any, None]) -> Answer:
    """Show an organisation with its domains and what happened to it."""
    return await _shown(services, call)


async def register_organization(services: APIServices, call: Call[Any, Any, NewOrganization]) -> Answer:
    """Register an organisation that came to a specialist; nothing follows until a contract is sent."""
    body = call.body
    deed = services.registration.organizations.register(call.caller.actor, body.number, body.name, body.mail)
    return await answered(OrganizationRecord, deed, lambda made: Answer(_summary(made), str(made.version)))


async def move_contract(services: APIServices, call: Call[OrganizationPath, Any, ContractStep]) -> Answer:
    """Note what happens to the contract of an organisation."""
    event, number = Event(call.body.event), call.path.organization
    await services.registration.organizations.move(
        call.caller.acting, number, event, seen_number(call.seen), call.body.ground
    )
    return await _shown(services, call)


async def set_domains(services: APIServices, call: Call[OrganizationPath, Any, Domains]) -> Answer:
    """Set of which domains the work mail of an organisation's officers may be; said again, it is the same."""
    await services.registration.organizations.set_domains(
        call.caller.acting, call.path.organization, call.body.domains
    )
    return await _shown(services, call)


async def _shown(services: APIServices, call: Call[OrganizationPath, Any, Any]) -> Answer:
    # Who may move a contract may read organisations, too: the permission table has both rows for them.
    found = await services.registration.organizations.show(call.caller.acting, call.path.organization)
    shown = Organization(
        **_summary(found.record).model_dump(),
        domains=tuple(found.domains),
        events=tuple(
            OrganizationEvent(
                version=one.version,
                event=one.event,
                to=one.to_state,
                actor=one.actor,
                ground=one.ground,
                at=one.at,
            )
            for one in found.events
        ),
    )
    return Answer(shown, str(found.record.version))


def _summary(record: OrganizationRecord) -> OrganizationSummary:
    return OrganizationSummary(
        number=record.number,
        name=record.name,
        mail=record.mail,
        state=State(record.state).value,
        version=record.version,
        created_at=record.created_at,
    )


OPERATIONS: Final = (
    Operation(
        "listOrganizations",
        "GET",
        "/organizations",
        "Search organisations",
        Action.READ_ORGANIZATION,
        list_organizations,
        OrganizationList,
        query=OrganizationSearch,
    ),
    Operation(
        "showOrganization",
        "GET",
        "/organizations/{organization}",
        "Show an organisation",
        Action.READ_ORGANIZATION,
        show_organization,
        Organization,
        parameters=OrganizationPath,
        shows_version=True,
    ),
    Operation(
        "registerOrganization",
        "POST",
        "/organizations",
        "Register an organisation",
        Action.REGISTER_ORGANIZATION,
        register_organization,
        OrganizationSummary,
        body=NewOrganization,
        shows_version=True,
    ),
    Operation(
        "moveContract",
        "POST",
        "/organizations/{organization}/contract",
        "Note what happens to an organisation's contract",
        Action.MANAGE_CONTRACT,
        move_contract,
        Organization,
        parameters=OrganizationPath,
        body=ContractStep,
        versioned=True,
    ),
    Operation(
        "setDomains",
        "PUT",
        "/organizations/{organization}/domains",
        "Set the mail domains of an organisation",
        Action.MANAGE_CONTRACT,
        set_domains,
        Organization,
        parameters=OrganizationPath,
        body=Domains,
        shows_version=True,
    ),
)
