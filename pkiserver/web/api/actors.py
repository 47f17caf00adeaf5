"""Actors: who may ask, by which certificates. They are registered with `pkiserver actor`."""

from datetime import datetime
from typing import Any, Final

from pkiserver.errors import NotFoundError
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.operations import (
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
from protocols.x509.certificate import serial_text
from store import actors
from store.records import ActorRecord

_END: Final = (1 << 63) - 1  # no number of the store is larger


class ActorPath(Parameters):
    """A certificate of an actor by its number."""

    actor: Number


class ActorSearch(Parameters):
    """A part of the list."""

    limit: Limit = DEFAULT_LIMIT
    after: NumberCursor | None = None


class Actor(Message):
    """A certificate by which an actor asks, or asked until it was removed; several may have one name."""

    actor: int
    name: str
    role: str
    ca: str
    serial: str
    added_at: datetime
    added_by: str
    removed_at: datetime | None
    removed_by: str | None


class ActorList(Message):
    """A page of actors, the newest first; `next` leads to the page behind, null where none is."""

    items: tuple[Actor, ...]
    next: str | None


async def list_actors(services: APIServices, call: Call[Any, ActorSearch, None]) -> Answer:
    """List the actors, removed ones too."""
    limit = call.query.limit
    before = _END if call.query.after is None else int(call.query.after)
    found = await services.storage.read(lambda tx: actors.page(tx, before, limit + 1))
    items = tuple(_message(services, one) for one in found[:limit])
    return Answer(ActorList(items=items, next=str(items[-1].actor) if len(found) > limit else None))


async def show_actor(services: APIServices, call: Call[ActorPath, Any, None]) -> Answer:
    """Show one certificate of an actor."""
    found = await services.storage.read(lambda tx: actors.get(tx, call.path.actor))
    if found is None:
        raise NotFoundError(f"there is no actor {call.path.actor}")
    return Answer(_message(services, found))


def _message(services: APIServices, record: ActorRecord) -> Actor:
    return Actor(
        actor=record.id,
        name=record.name,
        role=record.role,
        ca=services.authorities.record_with_id(record.authority).handle,
        serial=serial_text(record.serial),
        added_at=record.added_at,
        added_by=record.added_by,
        removed_at=record.removed_at,
        removed_by=record.removed_by,
    )


OPERATIONS: Final = (
    Operation(
        "listActors",
        "GET",
        "/actors",
        "List actors",
        Action.READ_ACTOR,
        list_actors,
        ActorList,
        query=ActorSearch,
    ),
    Operation(
        "showActor",
        "GET",
        "/actors/{actor}",
        "Show one certificate of an actor",
        Action.READ_ACTOR,
        show_actor,
        Actor,
        parameters=ActorPath,
    ),
)
