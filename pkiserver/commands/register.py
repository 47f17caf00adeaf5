"""Commands that tell of the register: its events, and reports."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any, Final

from pkiserver.commands.services import Caller, CommandEntry, CommandServices, certificate_of
from pkiserver.errors import RefusedError
from pkiserver.ra.register.reports import Each, Span, as_csv
from pkiserver.ra.register.timeline import TimelinePage
from pkiserver.ra.registration.roles import Actor, Assignment, Role, Target


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


async def person_timeline(
    services: CommandServices, caller: Caller, /, *, person: int, after: str | None, limit: int
) -> dict[str, Any]:
    timelines = services.registration.register.timelines
    return _page(await timelines.of_person(auditing(caller), person, after, limit))


async def certificate_timeline(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    serial: str,
    ca: str | None,
    after: str | None,
    limit: int,
) -> dict[str, Any]:
    found = await certificate_of(services, serial, ca)
    timelines = services.registration.register.timelines
    named = (found.authority, found.serial, Target())
    return _page(await timelines.of_certificate(auditing(caller), *named, after, limit))


def _page(page: TimelinePage) -> dict[str, Any]:
    return {"entries": [as_json(one) for one in page.entries], "next": page.next}


def as_json(record: Any) -> dict[str, Any]:
    """Return a record of the register as JSON values."""
    values: dict[str, Any] = asdict(record)
    return {name: one.isoformat() if isinstance(one, date) else one for name, one in values.items()}


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "report": CommandEntry(report, reading=True),
    "person.timeline": CommandEntry(person_timeline, reading=True),
    "certificate.timeline": CommandEntry(certificate_timeline, reading=True),
    "register.events": CommandEntry(list_events, reading=True),
}
