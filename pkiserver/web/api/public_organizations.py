"""Organisations that register themselves, and the specialist's bulk refusal of what is none.

The first takes no client certificate. Nothing follows from it but a row for a specialist to look at.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from pkiserver.ra.registration.organizations import MAX_DECLINED
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.operations import Answer, APIServices, Call, Message, Operation, Stranger
from pkiserver.web.api.organizations import NewOrganization, OrganizationNumber
from pkiserver.web.api.people import Ground


class Registered(Message):
    """What was registered; a specialist writes to the mail address."""

    number: str
    state: Literal["registered"]


class Refused(Message):
    """Registrations that are none, and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"numbers": ["7654321"], "ground": "spam"}]})

    numbers: Annotated[
        tuple[OrganizationNumber, ...], Field(min_length=1, max_length=MAX_DECLINED, strict=False)
    ]
    ground: Ground


class Declined(Message):
    """Which were declined; the others were not waiting for a specialist any more."""

    declined: tuple[str, ...]


async def register_own(services: APIServices, call: Stranger[NewOrganization]) -> Answer:
    """Register the own organisation; asked again with the same values, nothing changes."""
    body = call.body
    record = await services.registration.organizations.register_publicly(
        call.address, body.number, body.name, body.mail
    )
    return Answer(Registered(number=record.number, state="registered"))


async def decline_organizations(services: APIServices, call: Call[Any, Any, Refused]) -> Answer:
    """Decline registrations that wait for a specialist."""
    declined = await services.registration.organizations.decline_all(
        call.caller.acting, call.body.numbers, call.body.ground
    )
    return Answer(Declined(declined=declined))


PUBLIC: Final = (
    Operation(
        "registerOwnOrganization",
        "POST",
        "/public/organizations",
        "Register the own organisation",
        Action.REGISTER_ORGANIZATION,
        register_own,
        Registered,
        body=NewOrganization,
        public=True,
    ),
)
OPERATIONS: Final = (
    Operation(
        "declineOrganizations",
        "POST",
        "/organizations/decline",
        "Decline registrations, many at a time",
        Action.MANAGE_CONTRACT,
        decline_organizations,
        Declined,
        body=Refused,
    ),
)
