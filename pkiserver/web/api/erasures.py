"""Erasing what is personal of somebody: one person asks, and another one confirms within a day."""

from datetime import datetime
from typing import Any, Final

from pydantic import ConfigDict

from pkiserver.ra.registration.erasure import WAITS
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.operations import Answer, APIServices, Call, Message, Operation
from pkiserver.web.api.people import Ground, PersonPath


class ErasureRequest(Message):
    """Why what is personal of somebody is to be erased."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ground": "retention is over"}]})

    ground: Ground


class RequestedErasure(Message):
    """An erasure that awaits its second person."""

    person: int
    asked_by: str
    asked_at: datetime
    confirm_until: datetime


class Erasure(Message):
    """What was erased: how many encrypted values, and of which applications."""

    person: int
    values: int
    applications: tuple[int, ...]


async def request_erasure(services: APIServices, call: Call[PersonPath, Any, ErasureRequest]) -> Answer:
    """Ask for an erasure, which the rule of retention has to permit."""
    asked = await services.registration.erasures.ask(call.caller.acting, call.path.person, call.body.ground)
    return Answer(
        RequestedErasure(
            person=asked.person,
            asked_by=asked.asked_by,
            asked_at=asked.asked_at,
            confirm_until=asked.asked_at + WAITS,
        )
    )


async def confirm_erasure(services: APIServices, call: Call[PersonPath, Any, None]) -> Answer:
    """Erase what another person asked for; it cannot be undone."""
    erased = await services.registration.erasures.confirm(call.caller.acting, call.path.person)
    return Answer(Erasure(person=erased.person, values=erased.values, applications=erased.applications))


OPERATIONS: Final = (
    Operation(
        "requestErasure",
        "POST",
        "/people/{person}/erasure",
        "Ask that what is personal of somebody is erased",
        Action.ERASE_PERSON,
        request_erasure,
        RequestedErasure,
        parameters=PersonPath,
        body=ErasureRequest,
    ),
    Operation(
        "confirmErasure",
        "POST",
        "/people/{person}/erasure/confirm",
        "Erase what another person asked to erase",
        Action.ERASE_PERSON,
        confirm_erasure,
        Erasure,
        parameters=PersonPath,
    ),
)
