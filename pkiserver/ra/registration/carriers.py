"""What may happen to a carrier of keys: a pure table of states and events, and how an event is recorded.

The application gives a carrier to a person; blocking, loss and retirement come with the cases of its holder.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from itertools import product
from typing import Final

from pkiserver import audit
from pkiserver.errors import ConflictError, RefusedError
from store import audit as audit_chain
from store import carriers as rows
from store.carriers import CarrierEventRecord, CarrierRecord
from store.database import Transaction

KINDS: Final = ("id_card", "token", "mobile")  # regulation 2.11
_SERIAL: Final = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9./:-]{0,39}", re.ASCII
)  # chips have 8 to 20 hexadecimal octets


class State(Enum):
    """Where a carrier is in its life."""

    BLANK = "blank"
    ISSUED = "issued"
    BLOCKED = "blocked"
    LOST = "lost"
    DAMAGED = "damaged"
    RETIRED = "retired"


class Event(Enum):
    """What happens to a carrier."""

    ISSUE = "issue"  # it bears its holder's certificate
    BLOCK = "block"
    UNBLOCK = "unblock"
    LOSE = "lose"
    DAMAGE = "damage"
    RETIRE = "retire"
    RETURN = "return"  # its holder gave it back; wiped, it may be another's


_IN_USE: Final = (State.BLANK, State.ISSUED, State.BLOCKED)
_ALLOWED: Final[Mapping[tuple[State, Event], State]] = {
    (State.BLANK, Event.ISSUE): State.ISSUED,
    (State.ISSUED, Event.BLOCK): State.BLOCKED,
    (State.BLOCKED, Event.UNBLOCK): State.ISSUED,
    (State.ISSUED, Event.RETURN): State.BLANK,
    (State.BLOCKED, Event.RETURN): State.BLANK,
    **{(state, Event.LOSE): State.LOST for state in _IN_USE},
    **{(state, Event.DAMAGE): State.DAMAGED for state in _IN_USE},
    **{(state, Event.RETIRE): State.RETIRED for state in _IN_USE},
}
# Every pair is decided: None is a refusal. Lost, damaged and retired are ends: no carrier comes back.
TRANSITIONS: Final[Mapping[tuple[State, Event], State | None]] = {
    pair: _ALLOWED.get(pair) for pair in product(State, Event)
}


def parse_carrier_serial(text: str) -> str:
    """Return the serial number of a carrier as it is kept; `RefusedError` for what is none."""
    if _SERIAL.fullmatch(text) is None:
        raise RefusedError("a carrier's serial has 1 to 40 letters, digits and . / : -")
    return text.upper()


def decide(carrier: CarrierRecord, event: Event) -> State:
    """Return the state that an event leads to; `ConflictError` says why it may not happen."""
    to_state = TRANSITIONS[State(carrier.state), event]
    if to_state is None:
        raise ConflictError(
            f"carrier {carrier.serial} is {carrier.state}: {event.value} does not lead on from there"
        )
    return to_state


def known_or_new(tx: Transaction, kind: str, serial: str) -> CarrierRecord:
    """Return a carrier by its serial; one that nobody took in before comes in blank."""
    return rows.with_serial(tx, kind, serial) or rows.add(tx, kind, serial)


def record(
    tx: Transaction, carrier: CarrierRecord, event: Event, *, actor: str, ground: str, now: datetime
) -> None:
    """Move a carrier on, with its event and the audit record, in the caller's transaction."""
    to_state = decide(carrier, event)
    appended = rows.append(
        tx,
        CarrierEventRecord(
            carrier=carrier.id,
            version=carrier.version + 1,
            event=event.value,
            from_state=carrier.state,
            to_state=to_state.value,
            actor=actor,
            ground=ground,
            at=now,
        ),
    )
    if not appended:
        raise ConflictError(f"carrier {carrier.serial} has changed since")
    entry = audit.entry(
        now,
        actor,
        f"carrier.{event.value}",
        carrier=carrier.id,
        kind=carrier.kind,
        version=carrier.version + 1,
        state=to_state.value,
    )
    audit_chain.append(tx, entry)
