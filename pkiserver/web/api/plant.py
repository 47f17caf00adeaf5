"""The printing plant's batches: pull one, look at its cards, report what became of each (regulation 2.8)."""

import secrets
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from pkiserver.bounds import MAX_NUMBER
from pkiserver.ra.api_access import Caller
from pkiserver.ra.registration import plant_results
from pkiserver.ra.registration.plant import CardState, PlantCard
from pkiserver.ra.registration.roles import Action, Role
from pkiserver.ra.registration.states import MAX_GROUND_CHARACTERS
from pkiserver.web.api.operations import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
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
from protocols.errors import MalformedError
from protocols.x509.certificate import serial_text
from store.plant import BatchRecord, BatchState, Outcome, Result

Reference = Annotated[str, Field(pattern=r"^card-[a-z0-9]{16}$", description="What names a card.")]
CarrierSerial = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9./:-]{0,39}$", description="The serial number of its chip.")
]
FailureName = Literal["carrier_refused", "damaged", "misprinted", "lost", "not_delivered"]


class BatchPath(Parameters):
    """A batch by its number."""

    batch: Number


class CardPath(BatchPath):
    """A card of a batch by its reference."""

    card: Reference


class BatchSearch(Parameters):
    """What to look for; a plant sees its own batches."""

    state: Literal["open", "overdue", "closed"] | None = None
    limit: Limit = DEFAULT_LIMIT
    after: NumberCursor | None = None


class CardSearch(Parameters):
    """A part of the cards."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many at most.")] = MAX_LIMIT
    after: NumberCursor | None = None


class BatchPull(Message):
    """How many cards the plant has room for. The same Idempotency-Key gives the same batch, for good."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"size": 100}]})

    size: Annotated[int, Field(ge=1, le=1000)]


class CardResult(Message):
    """What became of a card: `issued` with the carrier's serial, or `failed` with failure and reason."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"result": "issued", "carrier": "04A1B2C3"}]})

    result: Literal["issued", "failed"]
    carrier: CarrierSerial | None = None
    failure: FailureName | None = None
    reason: Annotated[str, Field(min_length=1, max_length=MAX_GROUND_CHARACTERS)] | None = None


class Batch(Message):
    """A batch; it is closed once each of its cards has a result."""

    batch: int
    plant: str
    state: BatchState
    cards: int
    open_cards: int
    pulled_at: datetime
    due_at: datetime
    closed_at: datetime | None


class BatchList(Message):
    """A page of batches, the newest first; `next` leads to the page behind, null where none is."""

    items: tuple[Batch, ...]
    next: str | None


class PrintedForm(Message):
    """What is printed on a card; the names as the holder wrote them."""

    parent_name: str
    clan_name: str | None
    given_name: str
    register_number: str
    civil_id: str
    birth_date: date


class Card(Message):
    """A card: what is certified, by which reference, and what became of it.

    `form` is null once the card has its result, and where the data were erased.
    """

    card: str
    application: int
    attempt: int
    state: CardState
    profile: str
    subject: str
    limit_mnt: int | None
    ca: str | None
    serial: str | None
    certificate_state: str | None
    result: Outcome | None
    failure: str | None
    reason: str | None
    carrier: str | None
    reported_at: datetime | None
    form: PrintedForm | None


class CardList(Message):
    """A page of cards in the order of their applications; `next` leads to the page behind."""

    items: tuple[Card, ...]
    next: str | None


async def pull(services: APIServices, call: Call[Any, Any, BatchPull]) -> Answer:
    """Give the plant the applications that have waited longest for a card."""
    caller = call.caller
    key = call.key or secrets.token_hex(16)
    found = await services.registration.plant.pull(caller.acting, caller.actor, call.body.size, key)
    return Answer(_batch(services, found))


async def list_batches(services: APIServices, call: Call[Any, BatchSearch, None]) -> Answer:
    """List batches."""
    query, caller = call.query, call.caller
    found = await services.registration.plant.batches(
        caller.acting,
        plant=caller.actor if _is_plant(caller) else None,
        state=query.state,
        before=MAX_NUMBER if query.after is None else int(query.after),
        limit=query.limit + 1,
    )
    items = tuple(_batch(services, one) for one in found[: query.limit])
    return Answer(BatchList(items=items, next=str(items[-1].batch) if len(found) > query.limit else None))


async def show_batch(services: APIServices, call: Call[BatchPath, Any, None]) -> Answer:
    """Show one batch."""
    found = await services.registration.plant.batch(call.caller.acting, call.path.batch)
    return Answer(_batch(services, found))


async def list_cards(services: APIServices, call: Call[BatchPath, CardSearch, None]) -> Answer:
    """List the cards of a batch with what is printed on them; the reading is in the audit log."""
    query = call.query
    after = 0 if query.after is None else int(query.after)
    found = await services.registration.plant.cards(
        call.caller.acting, call.path.batch, after=after, limit=query.limit + 1
    )
    items = tuple(_card(services, one) for one in found[: query.limit])
    more = len(found) > query.limit
    return Answer(CardList(items=items, next=str(items[-1].application) if more else None))


async def report(services: APIServices, call: Call[CardPath, Any, CardResult]) -> Answer:
    """Report what became of a card. One that failed is revoked, and its application waits again."""
    actor, path = call.caller.acting, call.path
    await services.registration.plant_results.report(actor, path.batch, path.card, _result(call.body))
    return Answer(_card(services, await services.registration.plant.card(actor, path.batch, path.card)))


def _is_plant(caller: Caller) -> bool:
    return any(one.role is Role.PLANT for one in caller.acting.assignments)


def _result(body: CardResult) -> Result:
    if body.result == "issued":
        if body.carrier is None or body.failure is not None or body.reason is not None:
            raise MalformedError("a card that was made has the serial of its carrier, and no failure")
        return plant_results.issued(body.carrier)
    if body.failure is None or body.reason is None:
        raise MalformedError("a card that failed has a failure and a reason")
    return plant_results.failed(body.failure, body.reason, body.carrier)


def _batch(services: APIServices, record: BatchRecord) -> Batch:
    return Batch(
        batch=record.id,
        plant=record.plant,
        state=record.state(services.clock.now()),
        cards=record.cards,
        open_cards=record.open_cards,
        pulled_at=record.pulled_at,
        due_at=record.due_at,
        closed_at=record.closed_at,
    )


def _card(services: APIServices, card: PlantCard) -> Card:
    record, result, certificate = card.record, card.record.result, card.certificate
    return Card(
        card=record.reference,
        application=record.application,
        attempt=record.attempt,
        state=card.state,
        profile=card.profile,
        subject=card.subject,
        limit_mnt=card.limit_mnt,
        ca=None if certificate is None else services.authorities.record_with_id(certificate[0]).handle,
        serial=None if certificate is None else serial_text(certificate[1]),
        certificate_state=card.certificate_state,
        result=result.outcome if result else None,
        failure=result.failure if result else None,
        reason=result.reason if result else None,
        carrier=result.carrier if result else None,
        reported_at=record.reported_at,
        form=_printed(card),
    )


def _printed(card: PlantCard) -> PrintedForm | None:
    if card.form is None:
        return None
    return PrintedForm.model_validate(card.form, strict=False)  # the date is kept as text


OPERATIONS: Final = (
    Operation(
        "listPlantBatches",
        "GET",
        "/plant/batches",
        "List batches of cards",
        Action.READ_BATCH,
        list_batches,
        BatchList,
        query=BatchSearch,
    ),
    Operation(
        "pullPlantBatch",
        "POST",
        "/plant/batches",
        "Pull a batch of cards",
        Action.PULL_BATCH,
        pull,
        Batch,
        body=BatchPull,
        repeatable=True,
    ),
    Operation(
        "showPlantBatch",
        "GET",
        "/plant/batches/{batch}",
        "Show a batch of cards",
        Action.READ_BATCH,
        show_batch,
        Batch,
        parameters=BatchPath,
    ),
    Operation(
        "listPlantCards",
        "GET",
        "/plant/batches/{batch}/cards",
        "List the cards of a batch with what is printed on them",
        Action.READ_BATCH,
        list_cards,
        CardList,
        parameters=BatchPath,
        query=CardSearch,
    ),
    Operation(
        "reportPlantCard",
        "POST",
        "/plant/batches/{batch}/cards/{card}/result",
        "Report what became of a card",
        Action.ISSUE_APPLICATION,
        report,
        Card,
        parameters=CardPath,
        body=CardResult,
        repeatable=True,
    ),
)
