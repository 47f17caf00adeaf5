"""The civil registry's feed: batches of messages, each with what became of it."""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from pkiserver.ra.cases.registry_feed import MAX_MESSAGES
from pkiserver.ra.cases.registry_rules import ID_PATTERN, MAX_SEQUENCE, parse_message
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.operations import Answer, APIServices, Call, Message, Moment, Operation

_EXAMPLE: Final[dict[str, Any]] = {
    "id": "2026-000017",
    "sequence": 17,
    "kind": "card_lost",
    "civil_id": "123456789012",
    "effective_at": "2026-07-08T09:00:00+08:00",
}


class RegistryMessage(Message):
    """What happened to a citizen or to the identity card, and since when.

    `id` is the registry's own, one for each message for good; `sequence` orders what took effect at one
    moment.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: Annotated[str, Field(pattern=ID_PATTERN)]
    sequence: Annotated[int, Field(ge=0, le=MAX_SEQUENCE)]
    kind: Literal["death", "citizenship_lost", "name_changed", "card_lost", "card_found", "card_exchanged"]
    civil_id: Annotated[str, Field(pattern=r"^[0-9]{12}$")]
    effective_at: Moment


class RegistryBatch(Message):
    """Messages, carried out one after another."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"messages": [_EXAMPLE]}]})

    messages: Annotated[
        tuple[RegistryMessage, ...], Field(min_length=1, max_length=MAX_MESSAGES, strict=False)
    ]


class MessageResult(Message):
    """What became of a message, and the cases that it led to.

    `done`; `nothing`: there was nothing to do; `outdated`: what took effect later is known; `unknown`:
    nobody on record has the number; `repeated`: it came before; `refused`: it lies in the future, or its id
    is another message's, and it is not kept.
    """

    id: str
    outcome: Literal["done", "nothing", "outdated", "unknown", "repeated", "refused"]
    cases: tuple[int, ...]


class BatchResult(Message):
    """What became of each message, in the order of the batch."""

    results: tuple[MessageResult, ...]


async def feed_registry(services: APIServices, call: Call[Any, Any, RegistryBatch]) -> Answer:
    """Take messages of the civil registry; sent again, they are done once."""
    messages = [parse_message(one.model_dump()) for one in call.body.messages]
    results = await services.registration.registry_feed.take(call.caller.acting, messages)
    shown: list[dict[str, Any]] = [
        {"id": one.id, "outcome": one.outcome, "cases": one.cases} for one in results
    ]
    return Answer(BatchResult(results=tuple(MessageResult(**one) for one in shown)))


OPERATIONS: Final = (
    Operation(
        "feedRegistry",
        "POST",
        "/registry/messages",
        "Take messages of the civil registry",
        Action.FEED_REGISTRY,
        feed_registry,
        BatchResult,
        body=RegistryBatch,
        repeatable=True,
    ),
)
