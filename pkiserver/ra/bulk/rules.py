"""What may be done to very many certificates at once, on which ground, and the life of such an act. Pure."""

from collections.abc import Mapping
from enum import Enum
from itertools import product
from typing import Final

from pkiserver.errors import ConflictError, RefusedError
from pkiserver.ra.cases.rules import GROUNDS, Kind
from pkiserver.ra.lifecycle import Action

KINDS: Final[Mapping[Kind, Action]] = {
    Kind.SUSPEND: Action.SUSPEND,
    Kind.RESTORE: Action.RESTORE,
    Kind.REVOKE: Action.REVOKE,
}
# Grounds that many certificates share; the others are about one holder, who has a case.
BULK_GROUNDS: Final = frozenset(
    {
        "key_compromised",
        "authority_decision",
        "cause_gone",
        "forged_documents",
        "duties_breached",
        "contract_ended",
    }
)


class State(Enum):
    """How far an act is."""

    PROPOSED = "proposed"
    RUNNING = "running"
    STOPPED = "stopped"
    DONE = "done"
    REFUSED = "refused"


class Event(Enum):
    """What happens to an act."""

    CONFIRM = "confirm"  # by a second person: it begins
    REFUSE = "refuse"
    STOP = "stop"  # between two batches
    RESUME = "resume"
    FINISH = "finish"  # its last batch is carried out


_ALLOWED: Final[Mapping[tuple[State, Event], State]] = {
    (State.PROPOSED, Event.CONFIRM): State.RUNNING,
    (State.PROPOSED, Event.REFUSE): State.REFUSED,
    (State.RUNNING, Event.STOP): State.STOPPED,
    (State.RUNNING, Event.FINISH): State.DONE,
    (State.STOPPED, Event.RESUME): State.RUNNING,
}
# Every pair is decided: None is a refusal. What is done is undone by another act alone.
TRANSITIONS: Final[Mapping[tuple[State, Event], State | None]] = {
    pair: _ALLOWED.get(pair) for pair in product(State, Event)
}


def decide(state: State, event: Event) -> State:
    """Return the state that an event leads to; `ConflictError` where it may not happen."""
    to_state = TRANSITIONS[state, event]
    if to_state is None:
        raise ConflictError(f"the bulk act is {state.value}: {event.value} does not lead on from there")
    return to_state


def require_ground(kind: Kind, ground: str) -> None:
    """Raise `RefusedError` for a ground that is none for so many certificates, or not for this."""
    if kind not in KINDS:
        raise RefusedError(f"many certificates at once: {', '.join(one.value for one in KINDS)}")
    if ground not in BULK_GROUNDS:
        raise RefusedError(f"a ground of a bulk act is one of {', '.join(sorted(BULK_GROUNDS))}")
    if kind not in GROUNDS[ground].kinds:
        raise RefusedError(f"{ground} is no ground to {kind.value}")
