"""Commands on actors: programs that act on behalf of others."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography import x509

from pkiserver.bounds import MAX_LIST
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from protocols.x509.certificate import serial_text
from store import actor_profiles, actors


async def add_actor(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    name: str,
    role: str,
    pem: str,
    profiles: Sequence[str] = (),
) -> dict[str, Any]:
    services.registration_clients.check_limit(profiles)
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise RefusedError("the file holds no certificate in PEM") from error
    record = await services.actors.add(name, role, certificate, caller.actor, profiles)
    return {
        "name": name,
        "role": role,
        "serial": serial_text(record.serial),
        "not_after": record.not_after.isoformat(),
        "subject": record.subject,
        "profiles": ", ".join(sorted(profiles)) or None,
    }


async def list_actors(services: CommandServices, _caller: Caller, /) -> list[dict[str, Any]]:
    found, limits = await services.storage.read(
        lambda tx: (actors.newest(tx, MAX_LIST), actor_profiles.everywhere(tx))
    )
    return [
        {
            "name": record.name,
            "role": record.role,
            "profiles": None if record.removed_at else limits.get(record.name),
            "serial": serial_text(record.serial),
            "added_at": record.added_at.isoformat(),
            "added_by": record.added_by,
            "removed_at": record.removed_at.isoformat() if record.removed_at else None,
            "removed_by": record.removed_by,
        }
        for record in found
    ]


async def remove_actor(services: CommandServices, caller: Caller, /, *, name: str) -> dict[str, Any]:
    return {"name": name, "certificates_removed": await services.actors.remove(name, caller.actor)}


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "actor.add": CommandEntry(add_actor),
    "actor.list": CommandEntry(list_actors, reading=True),
    "actor.remove": CommandEntry(remove_actor),
}
