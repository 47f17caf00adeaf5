"""Actors: who acts here, by which certificates, in which roles."""

from datetime import datetime
from typing import Annotated, Any, Final

from cryptography import x509
from pydantic import ConfigDict, Field

from pkiserver.errors import RefusedError
from pkiserver.ra.actors import NewActor, ShownActor, grant_of
from pkiserver.ra.registration.roles import Action
from pkiserver.ra.role_grants import ROLE_NAMES
from pkiserver.web.api.actor_proposals import Proposal, before, shown_proposal
from pkiserver.web.api.conditions import seen_number
from pkiserver.web.api.offices import OfficeCode
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
from pkiserver.web.api.organizations import OrganizationNumber
from pkiserver.web.api.people import CivilId
from protocols.x509.certificate import serial_text
from store.actor_proposals import Change

MAX_PEM_CHARACTERS: Final = 20_000
ActorName = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="The name of an actor, as of `actor:NAME`.")
]
RoleName = Annotated[
    str, Field(pattern=r"^[a-z_]{1,40}$", json_schema_extra={"enum": list(ROLE_NAMES)}, description="A role.")
]


class ActorPath(Parameters):
    """An actor by name."""

    actor: ActorName


class ActorSearch(Parameters):
    """A part of the list."""

    limit: Limit = DEFAULT_LIMIT
    after: NumberCursor | None = None


class RoleChange(Message):
    """A role and its place: an office or all of them for registrars, an organisation for its officer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "registrar", "office": "ub-1"}]})

    role: RoleName
    office: OfficeCode | None = None
    organization: OrganizationNumber | None = None
    everywhere: bool = False


class ActorRegistration(Message):
    """A certificate that is registered for an actor, and who that is, which roles of people need."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "bat", "certificate": "-----BEGIN CERTIFICATE-----\n…"}]}
    )

    name: ActorName
    certificate: Annotated[str, Field(max_length=MAX_PEM_CHARACTERS, description="PEM, of `infrastructure`.")]
    civil_id: CivilId | None = None


class ActorIdentity(Message):
    """Who an actor is, by the civil registration number; it is kept encrypted and shown nowhere."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"civil_id": "123456789012"}]})

    civil_id: CivilId


class ActorCertificate(Message):
    """A certificate by which an actor asks, or asked until it was removed."""

    ca: str
    serial: str
    added_at: datetime
    added_by: str
    removed_at: datetime | None
    removed_by: str | None


class ActorRole(Message):
    """A role that an actor has now."""

    role: str
    office: str | None
    organization: str | None
    everywhere: bool
    granted_at: datetime
    granted_by: str


class Actor(Message):
    """An actor; `version` counts what changed of who it is, and is what a second administrator has seen.

    `identified` tells whether it was said who it is; `person` is that one's number, null while not on record.
    `profiles` are those that a registration client is limited to; empty: it is not limited.
    """

    name: str
    identified: bool
    person: int | None
    version: int
    roles: tuple[ActorRole, ...]
    profiles: tuple[str, ...]
    certificates: tuple[ActorCertificate, ...]
    added_at: datetime
    added_by: str


class ActorList(Message):
    """A page of actors, the newest first; `next` leads to the page behind, null where none is."""

    items: tuple[Actor, ...]
    next: str | None


async def list_actors(services: APIServices, call: Call[Any, ActorSearch, None]) -> Answer:
    """List the actors with their roles and certificates."""
    limit = call.query.limit
    found = await services.actors.newest(before(call.query.after), limit + 1)
    items = [await _actor(services, one) for one in found[:limit]]
    more = str(found[limit - 1].record.id) if len(found) > limit else None
    return Answer(ActorList(items=tuple(items), next=more))


async def show_actor(services: APIServices, call: Call[ActorPath, Any, None]) -> Answer:
    """Show an actor with its certificates, removed ones too."""
    return await _shown(services, call.path.actor)


async def register_actor(services: APIServices, call: Call[Any, Any, ActorRegistration]) -> Answer:
    """Register a certificate for an actor, which may have others.

    Where the actor has roles already, and there are two administrators, the certificate waits for the second.
    """
    body = call.body
    try:
        certificate = x509.load_pem_x509_certificate(body.certificate.encode())
    except ValueError as error:
        raise RefusedError("certificate holds no certificate in PEM") from error
    made = await services.actors.register(
        call.caller.acting, NewActor(body.name, certificate, civil_id=body.civil_id)
    )
    return await _shown(services, made.actor.name)


async def identify_actor(services: APIServices, call: Call[ActorPath, Any, ActorIdentity]) -> Answer:
    """Say once who an actor is: on what is that person's own it may not act."""
    await services.actors.identify(
        call.caller.acting, call.path.actor, call.body.civil_id, seen_number(call.seen)
    )
    return await _shown(services, call.path.actor)


async def grant_role(services: APIServices, call: Call[ActorPath, Any, RoleChange]) -> Answer:
    """Grant an actor a role; once there are two administrators, the second one has to confirm it."""
    return await _propose(services, call, await _role_change(services, call.body, "grant"))


async def withdraw_role(services: APIServices, call: Call[ActorPath, Any, RoleChange]) -> Answer:
    """Take a role back; that of an administrator waits for a second one."""
    return await _propose(services, call, await _role_change(services, call.body, "withdraw"))


async def remove_actor(services: APIServices, call: Call[ActorPath, Any, None]) -> Answer:
    """Take all roles and certificates of an actor back; those of an administrator wait for a second one."""
    return await _propose(services, call, Change("remove"))


async def _propose(services: APIServices, call: Call[ActorPath, Any, Any], change: Change) -> Answer:
    made = await services.role_grants.propose(
        call.caller.acting, call.path.actor, change, seen_number(call.seen)
    )
    return await shown_proposal(services, made.id)


async def _role_change(services: APIServices, body: RoleChange, kind: str) -> Change:
    place = await services.actors.place(body.office, body.organization, everywhere=body.everywhere)
    return grant_of(body.role, place, kind)


async def _shown(services: APIServices, name: str) -> Answer:
    found = await services.actors.show(name)
    return Answer(await _actor(services, found), str(found.record.version))


async def _actor(services: APIServices, shown: ShownActor) -> Actor:
    record, authorities = shown.record, services.authorities
    places = [await services.actors.place_names(one) for one in record.roles]
    return Actor(
        name=record.name,
        identified=shown.identified,
        person=record.person,
        version=record.version,
        roles=tuple(
            ActorRole(
                role=one.role,
                office=office,
                organization=organization,
                everywhere=one.everywhere,
                granted_at=one.granted_at,
                granted_by=one.granted_by,
            )
            for one, (office, organization) in zip(record.roles, places, strict=True)
        ),
        profiles=tuple(sorted(shown.profiles)),
        certificates=tuple(
            ActorCertificate(
                ca=authorities.record_with_id(one.authority).handle,
                serial=serial_text(one.serial),
                added_at=one.added_at,
                added_by=one.added_by,
                removed_at=one.removed_at,
                removed_by=one.removed_by,
            )
            for one in shown.certificates
        ),
        added_at=record.added_at,
        added_by=record.added_by,
    )


OPERATIONS: Final = (
    Operation(
        "listActors",
        "GET",
        "/actors",
        "List actors",
        Action.READ_ACTOR,
        list_actors,
        ActorList,
        query=ActorSearch,
    ),
    Operation(
        "showActor",
        "GET",
        "/actors/{actor}",
        "Show an actor",
        Action.READ_ACTOR,
        show_actor,
        Actor,
        parameters=ActorPath,
        shows_version=True,
    ),
    Operation(
        "registerActor",
        "POST",
        "/actors",
        "Register a certificate for an actor",
        Action.MANAGE_ACTORS,
        register_actor,
        Actor,
        body=ActorRegistration,
        shows_version=True,
    ),
    Operation(
        "identifyActor",
        "POST",
        "/actors/{actor}/identify",
        "Say who an actor is",
        Action.MANAGE_ACTORS,
        identify_actor,
        Actor,
        parameters=ActorPath,
        body=ActorIdentity,
        versioned=True,
    ),
    *(
        Operation(
            f"{verb}Role",
            "POST",
            f"/actors/{{actor}}/{verb}",
            summary,
            Action.GRANT_ROLE,
            handle,
            Proposal,
            parameters=ActorPath,
            body=RoleChange,
            versioned=True,
        )
        for verb, summary, handle in (
            ("grant", "Grant an actor a role", grant_role),
            ("withdraw", "Take a role back from an actor", withdraw_role),
        )
    ),
    Operation(
        "removeActor",
        "POST",
        "/actors/{actor}/remove",
        "Take all roles and certificates of an actor back",
        Action.GRANT_ROLE,
        remove_actor,
        Proposal,
        parameters=ActorPath,
        versioned=True,
    ),
)
