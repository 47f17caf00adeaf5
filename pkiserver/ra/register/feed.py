"""The register's events for connected systems, such as the national fund: what happened, and why.

Whoever follows keeps the cursor of the last event taken over, and asks for what is behind it: each event
comes at least once, in an order that never changes, and none is left out.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from pkiserver.ca.authorities import Authorities
from pkiserver.clock import utc_text
from pkiserver.errors import RefusedError
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.roles import Action, Actor, Permission
from pkiserver.storage import Storage
from protocols.asn1.ocsp import REASON_NAMES, CRLReason
from protocols.x509.certificate import serial_text
from store import register_events, status_events
from store.database import Transaction
from store.register_events import Place, RegisterEvent

CURSOR_PATTERN: Final = r"^[0-9]{1,18}-[0-9]{1,18}$"
BEGIN: Final = Place(0, 0)
MAX_EVENTS: Final = 1000
_EVENT_NAMES: Final = {"suspended": "suspended", "revoked": "revoked", "expired": "expired"}


@dataclass(frozen=True, slots=True)
class FollowedEvent:
    """An event as who follows is told of it. People and applications are numbers on record here, no data."""

    cursor: str
    event: str  # issued, suspended, restored, revoked, expired
    ca: str
    serial: str
    profile: str | None
    expires_at: datetime | None
    at: datetime
    reason: str | None
    case: int | None
    channel: str | None
    ground: str | None
    office: str | None
    application: int | None
    person: int | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values: dict[str, Any] = asdict(self)
        return {name: utc_text(one) if isinstance(one, datetime) else one for name, one in values.items()}


class RegisterFeed:
    """Gives events behind a cursor."""

    def __init__(self, storage: Storage, authorities: Authorities, gate: Gate) -> None:
        self._storage = storage
        self._authorities = authorities
        self._gate = gate

    async def follow(self, actor: Actor, cursor: str | None, limit: int) -> list[FollowedEvent]:
        """Return the events behind a cursor, the oldest first; None: from the first one on.

        `RefusedError` for a cursor that this register did not give, such as after an older backup came back.
        """
        await self._gate.require(Permission(actor, Action.FOLLOW_REGISTER))
        return await self.behind(parse_cursor(cursor), limit)

    async def behind(self, place: Place, limit: int) -> list[FollowedEvent]:
        """Return the events behind a place, for who asked the permission table."""
        found = await self._storage.read(lambda tx: _behind(tx, place, limit))
        return [self._told(one) for one in found]

    def _told(self, event: RegisterEvent) -> FollowedEvent:
        return FollowedEvent(
            cursor=cursor_text(event.place),
            event=event_name(event.from_state, event.to_state),
            ca=self._authorities.record_with_id(event.authority).name,
            serial=serial_text(event.serial),
            profile=event.profile,
            expires_at=event.not_after,
            at=event.at,
            reason=REASON_NAMES[CRLReason(event.reason)] if event.reason is not None else None,
            case=event.case,
            channel=event.channel,
            ground=event.ground,
            office=event.office,
            application=event.application,
            person=event.person,
        )


def event_name(from_state: str | None, to_state: str) -> str:
    """Return what happened by the states before and after."""
    if from_state is None:
        return "issued"
    return _EVENT_NAMES.get(to_state, "restored")


def cursor_text(place: Place) -> str:
    """Return a place as clients keep it."""
    return f"{place.sequence}-{place.expiry}"


def parse_cursor(text: str | None) -> Place:
    """Return the place of a cursor; `RefusedError` for what is none."""
    if text is None:
        return BEGIN
    if re.fullmatch(CURSOR_PATTERN, text, re.ASCII) is None:
        raise RefusedError("a cursor is what an event of the register came with")
    sequence, _, expiry = text.partition("-")
    return Place(int(sequence), int(expiry))


def _behind(tx: Transaction, place: Place, limit: int) -> Sequence[RegisterEvent]:
    if place.sequence > status_events.head(tx) or place.expiry > register_events.last_expiry(tx):
        raise RefusedError(
            "this cursor is of another register, or of a later state of this one: begin again without it"
        )
    return register_events.after(tx, place, max(1, min(limit, MAX_EVENTS)))
