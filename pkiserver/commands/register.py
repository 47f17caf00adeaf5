"""Commands that tell of the register: its events, and reports."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any, Final

from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from pkiserver.ra.register.reports import Each, Span, as_csv
from pkiserver.ra.registration.roles import Actor, Assignment, Role


def auditing(caller: Caller) -> Actor:
    """Return who gives a command at this machine, as one who reads everything and changes nothing."""
    return Actor(caller.actor, (Assignment(Role.AUDITOR),))


async def list_events(
    services: CommandServices, caller: Caller, /, *, after: str | None, limit: int
) -> list[dict[str, Any]]:
    found = await services.registration.register.feed.follow(auditing(caller), after, limit)
    return [as_json(one) for one in found]


async def report(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    first: str,
    last: str,
    each: str,
    office: str | None,
    csv: bool,
) -> dict[str, Any]:
    try:
        span = Span(date.fromisoformat(first), date.fromisoformat(last), Each(each))
    except ValueError as error:
        raise RefusedError(
            "days are written as 2026-07-10; time is divided by whole, month or day"
        ) from error
    rows = await services.registration.register.reports.make(auditing(caller), span, office)
    return {"csv": as_csv(rows)} if csv else {"lines": [as_json(one) for one in rows]}


def as_json(record: Any) -> dict[str, Any]:
    """Return a record of the register as JSON values."""
    values: dict[str, Any] = asdict(record)
    return {name: one.isoformat() if isinstance(one, date) else one for name, one in values.items()}


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "report": CommandEntry(report, reading=True),
    "register.events": CommandEntry(list_events, reading=True),
}
