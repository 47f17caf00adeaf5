"""Letters to holders: what waits, was sent, was given up; never what they say, nor to which address."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from pkiserver.ra.registration.roles import Action, Target
from pkiserver.web.api.operations import (
    DEFAULT_LIMIT,
    Answer,
    APIServices,
    Call,
    Limit,
    Message,
    NumberCursor,
    Operation,
    Parameters,
)
from store import letters
from store.letters import LetterRecord

StateName = Literal["waiting", "sent", "given_up"]


class LetterSearch(Parameters):
    """Which letters."""

    state: Annotated[StateName, Field(description="Those in this state.")] = "waiting"
    limit: Limit = DEFAULT_LIMIT
    after: NumberCursor | None = None


class Letter(Message):
    """A letter; `failure` says why the last attempt failed."""

    letter: int
    template: str
    language: str
    medium: Literal["mail", "sms", "webhook"]
    person: int | None
    state: StateName
    attempts: int
    created_at: datetime
    next_at: datetime
    done_at: datetime | None
    failure: str | None


class LetterList(Message):
    """A page of letters, the newest first; `next` leads to the page behind, null where none is."""

    items: tuple[Letter, ...]
    next: str | None


async def list_letters(services: APIServices, call: Call[Any, LetterSearch, None]) -> Answer:
    """List letters in a state."""
    query = call.query
    call.caller.require(Action.READ_LETTER, Target())
    before = None if query.after is None else int(query.after)
    found = await services.storage.read(lambda tx: letters.in_state(tx, query.state, before, query.limit + 1))
    items = tuple(_letter(one) for one in found[: query.limit])
    more = len(found) > query.limit
    return Answer(LetterList(items=items, next=str(items[-1].letter) if more else None))


def _letter(record: LetterRecord) -> Letter:
    values: dict[str, Any] = {name: getattr(record, name) for name in Letter.model_fields if name != "letter"}
    return Letter(letter=record.id, **values)


OPERATIONS: Final = (
    Operation(
        "listLetters",
        "GET",
        "/letters",
        "List letters without what they say",
        Action.READ_LETTER,
        list_letters,
        LetterList,
        query=LetterSearch,
    ),
)
