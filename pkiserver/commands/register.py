"""Commands that tell of the register: its events."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.ra.registration.roles import Actor, Assignment, Role


def auditing(caller: Caller) -> Actor:
    """Return who gives a command at this machine, as one who reads everything and changes nothing."""
    return Actor(caller.actor, (Assignment(Role.AUDITOR),))


async def list_events(
    services: CommandServices, caller: Caller, /, *, after: str | None, limit: int
) -> list[dict[str, Any]]:
    found = await services.registration.register.feed.follow(auditing(caller), after, limit)
    return [as_json(one) for one in found]


def as_json(record: Any) -> dict[str, Any]:
    """Return a record of the register as JSON values."""
    values: dict[str, Any] = asdict(record)
    return {name: one.isoformat() if isinstance(one, datetime) else one for name, one in values.items()}


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "register.events": CommandEntry(list_events, reading=True),
}
