"""Commands on actors: who acts here, and in which roles. Who gives them counts as an administrator.

What takes a second person waits for one: another user of this machine, or an administrator over the API.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography import x509

from pkiserver.bounds import MAX_LIST, MAX_NUMBER
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from pkiserver.ra.actors import NewActor, ShownActor, grant_of
from pkiserver.ra.role_grants import at_machine
from protocols.x509.certificate import serial_text
from store.actor_proposals import Change, ProposalRecord
from store.records import ActorRecord, RoleRecord


async def add_actor(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    name: str,
    pem: str,
    role: str | None = None,
    office: str | None = None,
    organization: str | None = None,
    everywhere: bool = False,
    civil_id: str | None = None,
    profiles: Sequence[str] = (),
) -> dict[str, Any]:
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise RefusedError("the file holds no certificate in PEM") from error
    services.registration_clients.check_limit(profiles)
    place = await services.actors.place(office, organization, everywhere=everywhere)
    new = NewActor(name, certificate, role, place, civil_id, tuple(profiles))
    registered = await services.actors.register(at_machine(caller.actor), new)
    return {
        "name": name,
        "roles": [one.role for one in registered.actor.roles],
        "serial": serial_text(registered.certificate.serial),
        "not_after": registered.certificate.not_after.isoformat(),
        "subject": registered.certificate.subject,
        "profiles": ", ".join(sorted(profiles)) or None,
        "waiting": [one.id for one in registered.waiting],
    }


async def identify_actor(
    services: CommandServices, caller: Caller, /, *, name: str, civil_id: str
) -> dict[str, Any]:
    await services.actors.identify(at_machine(caller.actor), name, civil_id)
    return await _actor(services, await services.actors.show(name))


async def list_actors(services: CommandServices, _caller: Caller, /) -> list[dict[str, Any]]:
    return [await _actor(services, one) for one in await services.actors.newest(MAX_NUMBER, MAX_LIST)]


async def show_actor(services: CommandServices, _caller: Caller, /, *, name: str) -> dict[str, Any]:
    shown = await services.actors.show(name)
    return await _actor(services, shown) | {
        "certificates": [
            {
                "serial": serial_text(one.serial),
                "added_at": one.added_at.isoformat(),
                "added_by": one.added_by,
                "removed_at": one.removed_at.isoformat() if one.removed_at else None,
                "removed_by": one.removed_by,
            }
            for one in shown.certificates
        ]
    }


async def change_role(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    kind: str,
    name: str,
    role: str,
    office: str | None = None,
    organization: str | None = None,
    everywhere: bool = False,
) -> dict[str, Any]:
    if kind not in ("grant", "withdraw"):
        raise RefusedError("a role is granted or withdrawn")
    place = await services.actors.place(office, organization, everywhere=everywhere)
    made = await services.role_grants.propose(at_machine(caller.actor), name, grant_of(role, place, kind))
    return await _proposal(services, made)


async def remove_actor(services: CommandServices, caller: Caller, /, *, name: str) -> dict[str, Any]:
    made = await services.role_grants.propose(at_machine(caller.actor), name, Change("remove"))
    return await _proposal(services, made)


async def list_proposals(
    services: CommandServices, _caller: Caller, /, *, state: str | None
) -> list[dict[str, Any]]:
    found = await services.actors.proposals(state, MAX_NUMBER, MAX_LIST)
    return [await _proposal(services, one, actor) for one, actor in found]


async def confirm(
    services: CommandServices, caller: Caller, /, *, proposal: int, version: int
) -> dict[str, Any]:
    made = await services.role_grants.confirm(at_machine(caller.actor), proposal, version)
    return await _proposal(services, made)


async def refuse(services: CommandServices, caller: Caller, /, *, proposal: int) -> dict[str, Any]:
    return await _proposal(services, await services.role_grants.refuse(at_machine(caller.actor), proposal))


async def _actor(services: CommandServices, shown: ShownActor) -> dict[str, Any]:
    record = shown.record
    current = [one for one in shown.certificates if one.removed_at is None]
    return {
        "name": record.name,
        "roles": [await _role(services, one) for one in record.roles],
        "profiles": ", ".join(sorted(shown.profiles)) or None,
        "identified": shown.identified,
        "person": record.person,
        "version": record.version,
        "serials": [serial_text(one.serial) for one in current],
        "added_at": record.added_at.isoformat(),
        "added_by": record.added_by,
    }


async def _role(services: CommandServices, role: RoleRecord) -> str:
    """Return a role as one reads it: registrar of ub-1."""
    place = (
        "all offices"
        if role.everywhere
        else next(filter(None, await services.actors.place_names(role)), None)
    )
    return f"{role.role} of {place}" if place else role.role


async def _proposal(
    services: CommandServices, made: ProposalRecord, actor: ActorRecord | None = None
) -> dict[str, Any]:
    if actor is None:
        _, actor = await services.actors.proposal(made.id)
    office, organization = await services.actors.place_names(made.change)
    change = made.change
    return {
        "proposal": made.id,
        "state": made.state,
        "kind": change.kind,
        "name": actor.name,
        "role": change.role,
        "office": office,
        "organization": organization,
        "everywhere": change.everywhere,
        "serial": None if change.serial is None else serial_text(change.serial),
        "version": actor.version,
        "proposed_at": made.proposed_at.isoformat(),
        "proposed_by": made.proposed_by,
        "decided_by": made.decided_by,
    }


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "actor.add": CommandEntry(add_actor),
    "actor.identify": CommandEntry(identify_actor),
    "actor.list": CommandEntry(list_actors, reading=True),
    "actor.show": CommandEntry(show_actor, reading=True),
    "actor.role": CommandEntry(change_role),
    "actor.remove": CommandEntry(remove_actor),
    "actor.proposals": CommandEntry(list_proposals, reading=True),
    "actor.confirm": CommandEntry(confirm),
    "actor.refuse": CommandEntry(refuse),
}
