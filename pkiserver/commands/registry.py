"""The command by which messages of the civil registry come in from a file."""

from collections.abc import Mapping
from typing import Any, Final

from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from pkiserver.ra.cases.registry_feed import MAX_MESSAGES
from pkiserver.ra.cases.registry_rules import parse_message
from pkiserver.ra.registration.roles import Actor, Assignment, Role

MAX_IMPORTED: Final = 1000  # of one command: some 200 KiB on the control socket


async def import_messages(
    services: CommandServices, caller: Caller, /, *, messages: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    if len(messages) > MAX_IMPORTED:
        raise RefusedError(f"{MAX_IMPORTED} messages at a time at most")
    parsed = [parse_message(one) for one in messages]
    actor = Actor(caller.actor, (Assignment(Role.CIVIL_REGISTRY),))
    results = []
    for start in range(0, len(parsed), MAX_MESSAGES):
        results += await services.registration.registry_feed.take(actor, parsed[start : start + MAX_MESSAGES])
    return [{"id": one.id, "outcome": one.outcome, "cases": list(one.cases)} for one in results]


COMMANDS: Final[Mapping[str, CommandEntry]] = {"registry.import": CommandEntry(import_messages)}
