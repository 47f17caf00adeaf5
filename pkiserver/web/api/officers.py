"""Officers of organisations, and their positions."""

from datetime import datetime
from typing import Any, Final

from pydantic import ConfigDict
from pydantic.config import JsonDict

from pkiserver.ra.registration.officers import NewOfficer
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.idempotency import answered
from pkiserver.web.api.operations import (
    Answer,
    APIServices,
    Call,
    Message,
    Number,
    Operation,
)
from pkiserver.web.api.organizations import Mail, OrganizationName, OrganizationPath
from pkiserver.web.api.people import Ground, PersonName
from store.organizations import OfficerRecord

_POSITION: Final[JsonDict] = {
    "title": "Ахлах мэргэжилтэн",
    "unit": "Мэдээллийн технологийн хэлтэс",
    "ground": "order 12",
}
_OFFICER: Final[JsonDict] = {
    "parent_name": "Бат",
    "given_name": "Дорж",
    "mail": "dorj@audit.gov.mn",
    **_POSITION,
}


class OfficerPath(OrganizationPath):
    """An officer of an organisation by number."""

    officer: Number


class Position(Message):
    """A position, and the paper that it follows from."""

    model_config = ConfigDict(json_schema_extra={"examples": [_POSITION]})

    title: OrganizationName
    unit: OrganizationName | None = None
    ground: Ground


class NewOfficerBody(Position):
    """An officer who is added."""

    model_config = ConfigDict(title="NewOfficer", json_schema_extra={"examples": [_OFFICER]})

    parent_name: PersonName
    given_name: PersonName
    mail: Mail


class Officer(Message):
    """An officer with the position of now; `left_at`: since when there is none. Erased data are null."""

    officer: int
    parent_name: str | None
    given_name: str | None
    mail: str | None
    title: str | None
    unit: str | None
    added_at: datetime
    left_at: datetime | None


class OfficerList(Message):
    """The officers of an organisation who have not left."""

    items: tuple[Officer, ...]


async def list_officers(services: APIServices, call: Call[OrganizationPath, Any, None]) -> Answer:
    """List the officers of an organisation."""
    found = await services.registration.officers.current(call.caller.acting, call.path.organization)
    return Answer(OfficerList(items=tuple(_officer(one) for one in found)))


async def add_officer(services: APIServices, call: Call[OrganizationPath, Any, NewOfficerBody]) -> Answer:
    """Add an officer, whose work mail is of an allowed domain, to a contracted organisation."""
    body = call.body
    new = NewOfficer(body.parent_name, body.given_name, body.mail, body.title, body.unit)
    deed = services.registration.officers.add(call.caller.acting, call.path.organization, new, body.ground)
    return await answered(OfficerRecord, deed, lambda made: Answer(_officer(made)))


async def change_position(services: APIServices, call: Call[OfficerPath, Any, Position]) -> Answer:
    """Give an officer another position; asked again, nothing changes."""
    path, body = call.path, call.body
    deed = services.registration.officers.change_position(
        call.caller.acting, path.organization, path.officer, body.title, body.unit, body.ground
    )
    return await answered(OfficerRecord, deed, lambda made: Answer(_officer(made)))


async def remove_officer(services: APIServices, call: Call[OfficerPath, Any, None]) -> Answer:
    """Note that an officer left."""
    deed = services.registration.officers.remove(
        call.caller.acting, call.path.organization, call.path.officer
    )
    return await answered(OfficerRecord, deed, lambda made: Answer(_officer(made)))


def _officer(record: OfficerRecord) -> Officer:
    return Officer(
        officer=record.id,
        parent_name=record.parent_name,
        given_name=record.given_name,
        mail=record.mail,
        title=record.title,
        unit=record.unit,
        added_at=record.added_at,
        left_at=record.left_at,
    )


OPERATIONS: Final = (
    Operation(
        "listOfficers",
        "GET",
        "/organizations/{organization}/officers",
        "List the officers of an organisation",
        Action.READ_ORGANIZATION,
        list_officers,
        OfficerList,
        parameters=OrganizationPath,
    ),
    Operation(
        "addOfficer",
        "POST",
        "/organizations/{organization}/officers",
        "Add an officer to an organisation",
        Action.MANAGE_OFFICERS,
        add_officer,
        Officer,
        parameters=OrganizationPath,
        body=NewOfficerBody,
    ),
    Operation(
        "changePosition",
        "POST",
        "/organizations/{organization}/officers/{officer}/position",
        "Give an officer another position",
        Action.MANAGE_OFFICERS,
        change_position,
        Officer,
        parameters=OfficerPath,
        body=Position,
    ),
    Operation(
        "removeOfficer",
        "POST",
        "/organizations/{organization}/officers/{officer}/leave",
        "Note that an officer left",
        Action.MANAGE_OFFICERS,
        remove_officer,
        Officer,
        parameters=OfficerPath,
    ),
)
