"""The tokens of an organisation: received by a list, assigned, returned, lost."""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from pkiserver.ra.registration.carriers import Event, State
from pkiserver.ra.registration.roles import Action
from pkiserver.ra.registration.tokens import Received
from pkiserver.web.api.idempotency import answered
from pkiserver.web.api.operations import (
    CSV,
    DEFAULT_LIMIT,
    Answer,
    APIServices,
    Call,
    Limit,
    Message,
    Number,
    NumberCursor,
    Operation,
    Parameters,
)
from pkiserver.web.api.organizations import OrganizationPath
from pkiserver.web.api.people import Ground
from store.carriers import CarrierRecord

StateName = Literal["blank", "issued", "blocked", "lost", "damaged", "retired"]
TokenSerial = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]{0,39}$", description="The serial number on the token.")
]


class TokenPath(OrganizationPath):
    """A token of an organisation."""

    token: TokenSerial


class TokenSearch(Parameters):
    """Which tokens."""

    state: StateName | None = None
    limit: Limit = DEFAULT_LIMIT
    after: NumberCursor | None = None


class TokenList(Parameters):
    """By which paper they came."""

    paper: Annotated[str, Field(min_length=1, max_length=200)]


class TokenAssignment(Message):
    """The application whose certificate is on it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"application": 7}]})

    application: Number


class TokenEvent(Message):
    """What happened to a token; what is on one that was returned or lost is revoked."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"event": "lose", "ground": "letter 9"}]})

    event: Literal["return", "lose", "damage", "retire"]
    ground: Ground


class Token(Message):
    """A token; `person` is whose it is."""

    token: str
    state: StateName
    version: int
    person: int | None


class TokenPage(Message):
    """Tokens in the order they came in; `next` leads to the page behind, null where none is."""

    items: tuple[Token, ...]
    next: str | None


class TokensReceived(Message):
    """How many were taken in, and how many were known before."""

    received: int
    known: int


async def list_tokens(services: APIServices, call: Call[OrganizationPath, TokenSearch, None]) -> Answer:
    """List the tokens of an organisation."""
    query = call.query
    found = await services.registration.tokens.listed(
        call.caller.acting,
        call.path.organization,
        state=None if query.state is None else State(query.state),
        after=0 if query.after is None else int(query.after),
        limit=query.limit + 1,
    )
    more = str(found[query.limit - 1].id) if len(found) > query.limit else None
    return Answer(TokenPage(items=tuple(_token(one) for one in found[: query.limit]), next=more))


async def receive_tokens(services: APIServices, call: Call[OrganizationPath, TokenList, bytes]) -> Answer:
    """Take in the tokens of a list, a serial a line; sent again, they are known."""
    deed = services.registration.tokens.receive(
        call.caller.acting, call.path.organization, call.body, call.query.paper
    )
    return await answered(
        Received, deed, lambda made: Answer(TokensReceived(received=made.received, known=made.known))
    )


async def assign_token(services: APIServices, call: Call[TokenPath, Any, TokenAssignment]) -> Answer:
    """Note which certificate is on a token, and whose it is by that."""
    path = call.path
    deed = services.registration.tokens.assign(
        call.caller.acting, path.organization, path.token, call.body.application
    )
    return await answered(CarrierRecord, deed, lambda made: Answer(_token(made)))


async def move_token(services: APIServices, call: Call[TokenPath, Any, TokenEvent]) -> Answer:
    """Note what happened to a token."""
    path, body = call.path, call.body
    deed = services.registration.tokens.move(
        call.caller.acting, path.organization, path.token, Event(body.event), body.ground
    )
    return await answered(CarrierRecord, deed, lambda made: Answer(_token(made)))


def _token(record: CarrierRecord) -> Token:
    return Token(
        token=record.serial,
        state=State(record.state).value,
        version=record.version,
        person=record.person,
    )


_OF_ORGANIZATION: Final = "/organizations/{organization}/tokens"
OPERATIONS: Final = (
    Operation(
        "listTokens",
        "GET",
        _OF_ORGANIZATION,
        "List the tokens of an organisation",
        Action.READ_ORGANIZATION,
        list_tokens,
        TokenPage,
        parameters=OrganizationPath,
        query=TokenSearch,
    ),
    Operation(
        "receiveTokens",
        "POST",
        _OF_ORGANIZATION,
        "Take in the tokens of a list",
        Action.MANAGE_CONTRACT,
        receive_tokens,
        TokensReceived,
        parameters=OrganizationPath,
        query=TokenList,
        media_types=(CSV,),
    ),
    Operation(
        "assignToken",
        "POST",
        f"{_OF_ORGANIZATION}/{{token}}/assign",
        "Assign a token to whose certificate is on it",
        Action.MANAGE_OFFICERS,
        assign_token,
        Token,
        parameters=TokenPath,
        body=TokenAssignment,
    ),
    Operation(
        "moveToken",
        "POST",
        f"{_OF_ORGANIZATION}/{{token}}/events",
        "Note that a token was returned, lost, damaged or retired",
        Action.MANAGE_OFFICERS,
        move_token,
        Token,
        parameters=TokenPath,
        body=TokenEvent,
    ),
)
