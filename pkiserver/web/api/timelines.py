"""The history of a certificate, or of a person, as one timeline."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field

from pkiserver.errors import NotFoundError
from pkiserver.ra.register.timeline import CURSOR_PATTERN, TimelinePage
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.certificates import CertificatePath, issuer_of, target_of
from pkiserver.web.api.operations import (
    DEFAULT_LIMIT,
    Answer,
    APIServices,
    Call,
    Limit,
    Message,
    Operation,
    Parameters,
)
from pkiserver.web.api.people import PersonPath
from store import certificates


class TimelineSearch(Parameters):
    """From where on."""

    after: (
        Annotated[
            str, Field(pattern=CURSOR_PATTERN, description="Where to go on: `next` of the page before.")
        ]
        | None
    ) = None
    limit: Limit = DEFAULT_LIMIT


class TimelineEntry(Message):
    """What happened, by whom and why; `note` is a state, a kind and channel, a template, or a field."""

    at: datetime
    event: str
    actor: str | None
    ground: str | None
    note: str | None
    ca: str | None
    serial: str | None
    application: int | None
    case: int | None
    letter: int | None
    carrier: int | None


class Timeline(Message):
    """What happened, the oldest first, without what the caller may not read. `next` is null at the end."""

    items: tuple[TimelineEntry, ...]
    next: str | None


async def show_certificate_timeline(
    services: APIServices, call: Call[CertificatePath, TimelineSearch, None]
) -> Answer:
    """Show what happened to a certificate: application, issue, holds, cases, letters, carrier, end."""
    authority, serial = issuer_of(services, call.path.ca), int(call.path.serial, 16)
    record = await services.storage.read(lambda tx: certificates.get(tx, authority, serial))
    if record is None:
        raise NotFoundError("no such certificate")
    found = await services.registration.register.timelines.of_certificate(
        call.caller.acting,
        authority,
        serial,
        target_of(services, authority, record.profile),
        call.query.after,
        call.query.limit,
    )
    return Answer(_shown(found))


async def show_person_timeline(services: APIServices, call: Call[PersonPath, TimelineSearch, None]) -> Answer:
    """Show what happened to a person and all of their certificates; the reading is recorded."""
    found = await services.registration.register.timelines.of_person(
        call.caller.acting, call.path.person, call.query.after, call.query.limit
    )
    return Answer(_shown(found))


def _shown(page: TimelinePage) -> Timeline:
    names = TimelineEntry.model_fields
    entries: list[dict[str, Any]] = [{name: getattr(one, name) for name in names} for one in page.entries]
    return Timeline(items=tuple(TimelineEntry(**one) for one in entries), next=page.next)


OPERATIONS: Final = (
    Operation(
        "showCertificateTimeline",
        "GET",
        "/certificates/{ca}/{serial}/timeline",
        "Show all that happened to a certificate",
        Action.READ_CERTIFICATE,
        show_certificate_timeline,
        Timeline,
        parameters=CertificatePath,
        query=TimelineSearch,
    ),
    Operation(
        "showPersonTimeline",
        "GET",
        "/people/{person}/timeline",
        "Show all that happened to a person",
        Action.READ_PERSON,
        show_person_timeline,
        Timeline,
        parameters=PersonPath,
        query=TimelineSearch,
    ),
)
