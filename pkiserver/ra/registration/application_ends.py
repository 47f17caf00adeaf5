"""How an application ends at an office: the form confirmed, the carrier handed over, the archive unit closed.

One that its holder signed ends by itself (`renewal_ends`).
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum

from pkiserver.ca.issuance import OnEvent
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, RefusedError
from pkiserver.ra.registration.application_events import found_application, record_event, standing_of
from pkiserver.ra.registration.applications import Applications
from pkiserver.ra.registration.contacts import parse_line
from pkiserver.ra.registration.roles import Action, Actor
from pkiserver.ra.registration.states import Command, Event, decide
from pkiserver.storage import Storage
from store import plant
from store.applications import ApplicationRecord
from store.database import Transaction


class Explanation(Enum):
    """What is explained to the holder when the carrier is handed over (regulation 2.7)."""

    LEGAL_EFFECT = "legal_effect"
    CONDITIONS_OF_USE = "conditions_of_use"
    CONFIDENTIALITY = "confidentiality"
    LIABILITY = "liability"


# What follows when a carrier is handed over, in that transaction: the status events that it led to.
OnDelivered = Callable[[Transaction, ApplicationRecord, str, datetime], list[int]]


class ApplicationEnds:
    """The way of an application from the certificate to its end."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        applications: Applications,
        on_delivered: OnDelivered,
        on_event: OnEvent,
    ) -> None:
        """Take what it works with; `on_event` is awaited for the events that `on_delivered` returns."""
        self._storage = storage
        self._clock = clock
        self._applications = applications
        self._on_delivered = on_delivered
        self._on_event = on_event

    async def sign_off(
        self, actor: Actor, application: int, seen_version: int, ground: str
    ) -> ApplicationRecord:
        """Note that the form was checked by the citizen and confirmed by stamp (regulation 2.6)."""
        await self._require(actor, application)
        command, now = Command(Event.SIGN_OFF, seen_version, actor.name, ground), self._clock.now()

        def transaction(tx: Transaction) -> ApplicationRecord:
            found = found_application(tx, application)
            changed = decide(standing_of(found), command, now)
            if plant.is_on_the_way(tx, application):
                raise ConflictError("the printing plant has not said yet whether the card was made")
            return record_event(tx, found, changed, {})

        return await self._storage.write(transaction, brief=True)

    async def deliver(
        self,
        actor: Actor,
        application: int,
        seen_version: int,
        acknowledged: frozenset[Explanation],
        text_version: str,
    ) -> ApplicationRecord:
        """Note that the carrier was handed over; all four explanations are acknowledged (regulation 2.7).

        What an officer has for another position is superseded with it.
        """
        await self._require(actor, application)
        missing = sorted(one.value for one in set(Explanation) - acknowledged)
        if missing:
            raise RefusedError(f"not acknowledged: {', '.join(missing)} (regulation 2.7)")
        detail = {
            "acknowledged": sorted(one.value for one in acknowledged),
            "text_version": parse_line(text_version, 40),
        }
        ground = "handed over, explanations acknowledged"
        command = Command(Event.DELIVER, seen_version, actor.name, ground)
        now, events = self._clock.now(), list[int]()

        def transaction(tx: Transaction) -> ApplicationRecord:
            made = _move(tx, application, command, detail, now)
            events[:] = self._on_delivered(tx, made, actor.name, now)
            return made

        delivered = await self._storage.write(transaction)
        for sequence in events:
            await self._on_event(sequence)
        return delivered

    async def close(
        self, actor: Actor, application: int, seen_version: int, archive_unit: str
    ) -> ApplicationRecord:
        """Note that the archive unit was handed over (regulation 2.6, 4.1)."""
        await self._require(actor, application)
        detail = {"archive_unit": parse_line(archive_unit, 60)}
        command, now = Command(Event.CLOSE, seen_version, actor.name, "archived"), self._clock.now()
        return await self._storage.write(lambda tx: _move(tx, application, command, detail, now), brief=True)

    async def _require(self, actor: Actor, application: int) -> None:
        await self._applications.permitted(actor, Action.FINISH_APPLICATION, application)


def _move(
    tx: Transaction, application: int, command: Command, detail: Mapping[str, object], now: datetime
) -> ApplicationRecord:
    found = found_application(tx, application)
    return record_event(tx, found, decide(standing_of(found), command, now), detail)
