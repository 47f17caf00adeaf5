"""Commands on the printing plant's batches.

Who gives them sits at this machine, and may do for a plant what it could do itself, as when its line is down.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Final

from pkiserver.bounds import MAX_LIST, MAX_NUMBER
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from pkiserver.ra.registration import plant_results
from pkiserver.ra.registration.plant import PlantCard
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from protocols.x509.certificate import serial_text
from store import actors
from store.plant import STATES, BatchRecord, CardRecord


def _actor(caller: Caller) -> Actor:
    return Actor(caller.actor, (Assignment(Role.PLANT, everywhere=True),))


async def pull_batch(
    services: CommandServices, caller: Caller, /, *, plant: str, size: int, key: str | None
) -> dict[str, Any]:
    found = await services.storage.read(lambda tx: actors.with_name(tx, plant))
    if found is None or not found.has_role(Role.PLANT.value):
        raise RefusedError(f"{plant[:63]} is no actor with the role plant; see `pkiserver actor list`")
    batch = await services.registration.plant.pull(
        _actor(caller), f"actor:{plant}", size, key or secrets.token_hex(16)
    )
    return _batch(services, batch)


async def list_batches(
    services: CommandServices, caller: Caller, /, *, state: str | None, limit: int
) -> list[dict[str, Any]]:
    if state is not None and state not in STATES:
        raise RefusedError(f"a batch is one of {', '.join(STATES)}")
    found = await services.registration.plant.batches(
        _actor(caller), state=state, before=MAX_NUMBER, limit=min(limit, MAX_LIST)
    )
    return [_batch(services, one) for one in found]


async def show_batch(services: CommandServices, caller: Caller, /, *, batch: int) -> dict[str, Any]:
    plant, actor = services.registration.plant, _actor(caller)
    found = await plant.batch(actor, batch)
    cards = await plant.cards(actor, batch, limit=found.cards)
    return _batch(services, found) | {"cards": [_card(services, one) for one in cards]}


async def report_card(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    batch: int,
    card: str,
    failure: str | None,
    reason: str | None,
    carrier: str | None,
) -> dict[str, Any]:
    if failure is None:
        if carrier is None or reason is not None:
            raise RefusedError("a card that was made has the serial of its carrier, and no reason")
        result = plant_results.issued(carrier)
    else:
        result = plant_results.failed(failure, reason or "", carrier)
    taken = await services.registration.plant_results.report(_actor(caller), batch, card, result)
    return _reported(taken)


def _batch(services: CommandServices, record: BatchRecord) -> dict[str, Any]:
    return {
        "batch": record.id,
        "plant": record.plant,
        "state": record.state(services.clock.now()),
        "size": record.cards,
        "open_cards": record.open_cards,
        "pulled_at": record.pulled_at.isoformat(),
        "due_at": record.due_at.isoformat(),
        "closed_at": record.closed_at.isoformat() if record.closed_at else None,
    }


def _card(services: CommandServices, card: PlantCard) -> dict[str, Any]:
    ca, serial = None, None
    if card.certificate is not None:
        ca = services.authorities.record_with_id(card.certificate[0]).handle
        serial = serial_text(card.certificate[1])
    shown = _reported(card.record) | {
        "state": card.state,
        "profile": card.profile,
        "subject": card.subject,
        "limit_mnt": card.limit_mnt,
        "ca": ca,
        "serial": serial,
        "certificate_state": card.certificate_state,
    }
    return shown | {"form": dict(card.form) if card.form is not None else None}


def _reported(record: CardRecord) -> dict[str, Any]:
    result = record.result
    return {
        "card": record.reference,
        "application": record.application,
        "attempt": record.attempt,
        "result": result.outcome if result else None,
        "failure": result.failure if result else None,
        "reason": result.reason if result else None,
        "carrier": result.carrier if result else None,
        "reported_at": record.reported_at.isoformat() if record.reported_at else None,
        "reported_by": record.reported_by,
    }


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "plant.pull": CommandEntry(pull_batch),
    "plant.list": CommandEntry(list_batches, reading=True),
    "plant.show": CommandEntry(show_batch, reading=True),
    "plant.report": CommandEntry(report_card),
}
