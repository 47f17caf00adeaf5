"""What may happen to an application: a pure table of states and events, and what a command leads to.

Nothing here reads a clock or a store.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import product
from typing import Final

from pkiserver.errors import ChangedError, ConflictError, RefusedError

MAX_GROUND_CHARACTERS: Final = 200


class State(Enum):
    """Where an application is on its way."""

    DRAFT = "draft"
    VERIFIED = "verified"
    RETURNED = "returned"
    ISSUING = "issuing"
    ISSUED = "issued"
    FAILED = "failed"
    SIGNED_OFF = "signed_off"
    DELIVERED = "delivered"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


class Event(Enum):
    """What happens to an application."""

    VERIFY = "verify"  # the civil registry agrees (regulation 2.5)
    RETURN = "return"  # it does not (2.10), or nothing can be issued
    BEGIN_ISSUING = "begin_issuing"
    CERTIFICATE_ISSUED = "certificate_issued"
    FAIL = "fail"
    CARRIER_REFUSED = "carrier_refused"  # the carrier did not take its certificate, which is revoked
    SIGN_OFF = "sign_off"  # the form is confirmed by stamp and signature (2.6)
    DELIVER = "deliver"  # the carrier is handed over, the explanations are acknowledged (2.7)
    CLOSE = "close"  # the archive unit is handed over (2.6)
    SETTLE = "settle"  # the holder signed the form and enrolled: there is no paper and no handing over (2.9)
    WITHDRAW = "withdraw"


OPEN: Final = frozenset(State) - {State.RETURNED, State.CLOSED, State.WITHDRAWN}

_ALLOWED: Final[Mapping[tuple[State, Event], State]] = {
    (State.DRAFT, Event.VERIFY): State.VERIFIED,
    (State.DRAFT, Event.RETURN): State.RETURNED,
    (State.VERIFIED, Event.BEGIN_ISSUING): State.ISSUING,
    (State.ISSUING, Event.CERTIFICATE_ISSUED): State.ISSUED,
    (State.ISSUING, Event.FAIL): State.FAILED,
    (State.FAILED, Event.BEGIN_ISSUING): State.ISSUING,
    (State.FAILED, Event.RETURN): State.RETURNED,
    (State.ISSUED, Event.CARRIER_REFUSED): State.ISSUING,
    (State.ISSUED, Event.SIGN_OFF): State.SIGNED_OFF,
    (State.ISSUED, Event.SETTLE): State.CLOSED,
    (State.SIGNED_OFF, Event.DELIVER): State.DELIVERED,
    (State.DELIVERED, Event.CLOSE): State.CLOSED,
    (State.DRAFT, Event.WITHDRAW): State.WITHDRAWN,
    (State.VERIFIED, Event.WITHDRAW): State.WITHDRAWN,
    (State.ISSUING, Event.WITHDRAW): State.WITHDRAWN,
    (State.FAILED, Event.WITHDRAW): State.WITHDRAWN,
}
# Every pair is decided: None is a refusal. A returned application has ended; the citizen makes another.
TRANSITIONS: Final[Mapping[tuple[State, Event], State | None]] = {
    pair: _ALLOWED.get(pair) for pair in product(State, Event)
}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an application stands: its state, and how many events led there."""

    state: State
    version: int


@dataclass(frozen=True, slots=True)
class Command:
    """What somebody asks to happen, the version that they saw, and why."""

    event: Event
    seen_version: int
    actor: str
    ground: str


@dataclass(frozen=True, slots=True)
class Change:
    """An event as it is recorded: number, from where to where, by whom, why and when."""

    version: int
    event: Event
    from_state: State
    to_state: State
    actor: str
    ground: str
    at: datetime


def decide(standing: Standing, command: Command, now: datetime) -> Change:
    """Return what a command leads to; `ConflictError` says why it may not happen.

    A command counts once: repeated, it names a version that is past, whatever the state has become.
    """
    if not command.actor or not _is_ground(command.ground):
        raise RefusedError(f"a ground of 1 to {MAX_GROUND_CHARACTERS} printable characters is required")
    if command.seen_version != standing.version:
        raise ChangedError(
            f"the application has changed since: it is at version {standing.version}, and not at"
            f" {command.seen_version}"
        )
    to_state = TRANSITIONS[standing.state, command.event]
    if to_state is None:
        raise ConflictError(
            f"the application is {standing.state.value}: {command.event.value} does not lead on from there"
        )
    return Change(
        version=standing.version + 1,
        event=command.event,
        from_state=standing.state,
        to_state=to_state,
        actor=command.actor,
        ground=command.ground,
        at=now,
    )


def _is_ground(text: str) -> bool:
    return bool(text.strip()) and len(text) <= MAX_GROUND_CHARACTERS and text.isprintable()
