"""The register's events for connected systems, such as the national fund: a feed with a cursor."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from pkiserver.ra.register.feed import CURSOR_PATTERN, FollowedEvent
from pkiserver.ra.registration.roles import Action
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

Cursor = Annotated[
    str,
    Field(pattern=CURSOR_PATTERN, description="`cursor` of the last event taken over. None: from the first."),
]


class RegisterSearch(Parameters):
    """From where on."""

    after: Cursor | None = None
    limit: Limit = DEFAULT_LIMIT


class RegisterEvent(Message):
    """What happened to a certificate. `case`, `application` and `person` are numbers on record here.

    `channel`, `ground` and `office` are of the case that was decided so; of a new certificate, `channel` and
    `office` are its application's. `at` is when it took effect.
    """

    cursor: str
    event: Literal["issued", "suspended", "restored", "revoked", "expired"]
    ca: str
    serial: str
    profile: str | None
    expires_at: datetime | None
    at: datetime
    reason: str | None
    case: int | None
    channel: str | None
    ground: str | None
    office: str | None
    application: int | None
    person: int | None


class RegisterEventList(Message):
    """Events in an order that never changes. `next` is the cursor to ask with again, now or later."""

    items: tuple[RegisterEvent, ...]
    next: str | None


def shown(event: FollowedEvent) -> RegisterEvent:
    """Return an event as it goes over the API, and to webhooks."""
    return RegisterEvent(**{name: getattr(event, name) for name in RegisterEvent.model_fields})


async def follow_register(services: APIServices, call: Call[Any, RegisterSearch, None]) -> Answer:
    """Give what happened to certificates since a cursor."""
    query = call.query
    found = await services.registration.register.feed.follow(call.caller.acting, query.after, query.limit)
    items = tuple(shown(one) for one in found)
    return Answer(RegisterEventList(items=items, next=items[-1].cursor if items else query.after))


OPERATIONS: Final = (
    Operation(
        "followRegister",
        "GET",
        "/register/events",
        "Follow what happens to certificates",
        Action.FOLLOW_REGISTER,
        follow_register,
        RegisterEventList,
        query=RegisterSearch,
    ),
)
