"""What may happen to an organisation's contract: a pure table, of the form that `states` has."""

from collections.abc import Mapping
from enum import Enum
from itertools import product
from typing import Final

from pkiserver.errors import ConflictError


class State(Enum):
    """How far an organisation is; its officers are served while it is contracted."""

    REGISTERED = "registered"
    CONTRACT_SENT = "contract_sent"
    CONTRACTED = "contracted"
    DECLINED = "declined"
    ENDED = "ended"


class Event(Enum):
    """What happens to a contract."""

    SEND_CONTRACT = "send_contract"
    SIGN_CONTRACT = "sign_contract"  # the papers are complete, and it is signed
    DECLINE = "decline"  # no organisation, or no service for it
    END = "end"
    REGISTER = "register"  # anew: whoever was declined, or ended, may come again


_ALLOWED: Final[Mapping[tuple[State, Event], State]] = {
    (State.REGISTERED, Event.SEND_CONTRACT): State.CONTRACT_SENT,
    (State.REGISTERED, Event.DECLINE): State.DECLINED,
    (State.CONTRACT_SENT, Event.SIGN_CONTRACT): State.CONTRACTED,
    (State.CONTRACT_SENT, Event.DECLINE): State.DECLINED,
    (State.CONTRACTED, Event.END): State.ENDED,
    (State.DECLINED, Event.REGISTER): State.REGISTERED,
    (State.ENDED, Event.REGISTER): State.REGISTERED,
}
TRANSITIONS: Final[Mapping[tuple[State, Event], State | None]] = {
    pair: _ALLOWED.get(pair) for pair in product(State, Event)
}


def decide(state: State, event: Event) -> State:
    """Return the state that an event leads to; `ConflictError` where it may not happen."""
    to_state = TRANSITIONS[state, event]
    if to_state is None:
        raise ConflictError(f"the organisation is {state.value}: {event.value} does not lead on from there")
    return to_state
