"""The circuit breaker of a service that we ask: after failures in a row it is left alone, then probed.

Pure but for its state: who asks says what time it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_DOUBLINGS: Final = 4  # of the pause: a registry that is back is found within 16 pauses


class State(Enum):
    """What may be asked."""

    CLOSED = "closed"  # everything
    OPEN = "open"  # nothing, until the pause is over
    HALF_OPEN = "half_open"  # a probe is under way, and nothing else


class Event(Enum):
    """What happened."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    FAILED_TOO_OFTEN = "failed_too_often"  # it was one failure more than is borne
    ABANDONED = "abandoned"  # who asked went away: that tells nothing
    PROBED = "probed"  # the pause is over, and somebody asks


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.CLOSED, Event.SUCCEEDED): State.CLOSED,
    (State.CLOSED, Event.FAILED): State.CLOSED,
    (State.CLOSED, Event.FAILED_TOO_OFTEN): State.OPEN,
    (State.CLOSED, Event.ABANDONED): State.CLOSED,
    (State.CLOSED, Event.PROBED): State.CLOSED,
    (State.OPEN, Event.SUCCEEDED): State.OPEN,  # begun before it opened: the probe is to tell
    (State.OPEN, Event.FAILED): State.OPEN,
    (State.OPEN, Event.FAILED_TOO_OFTEN): State.OPEN,
    (State.OPEN, Event.ABANDONED): State.OPEN,
    (State.OPEN, Event.PROBED): State.HALF_OPEN,
    (State.HALF_OPEN, Event.SUCCEEDED): State.CLOSED,
    (State.HALF_OPEN, Event.FAILED): State.OPEN,
    (State.HALF_OPEN, Event.FAILED_TOO_OFTEN): State.OPEN,
    (State.HALF_OPEN, Event.ABANDONED): State.OPEN,
    (State.HALF_OPEN, Event.PROBED): State.HALF_OPEN,
}


@dataclass(frozen=True, slots=True)
class Pass:
    """That somebody may ask; `probe`: nobody else does."""

    probe: bool


class Circuit:
    """Decides whether a service is asked. Moments are seconds of one steady clock."""

    def __init__(self, *, open_after: int, pause_s: float) -> None:
        self.state = State.CLOSED
        self._open_after = open_after
        self._pause_s = pause_s
        self._failures = 0  # in a row
        self._opened = 0  # times in a row
        self._until_s = 0.0

    def enter(self, now_s: float) -> Pass | None:
        """Return a pass, or None where the service is left alone; give it back by `leave` in any case."""
        if self.state is State.CLOSED:
            return Pass(probe=False)
        if self.state is State.OPEN and now_s >= self._until_s:
            self.state = TRANSITIONS[self.state, Event.PROBED]
            return Pass(probe=True)
        return None

    def leave(self, held: Pass, now_s: float, *, succeeded: bool | None) -> None:
        """Note how it went; None: nobody waited for the end.

        Where it is a probe's turn, nobody else's outcome counts.
        """
        if self.state is State.HALF_OPEN and not held.probe:
            return
        event = self._event(succeeded)
        before, self.state = self.state, TRANSITIONS[self.state, event]
        if self.state is State.CLOSED and event is Event.SUCCEEDED:
            self._failures = self._opened = 0
        elif self.state is State.OPEN and before is not State.OPEN and event is not Event.ABANDONED:
            self._until_s = now_s + self._pause_s * 2 ** min(self._opened, MAX_DOUBLINGS)
            self._opened += 1

    def _event(self, succeeded: bool | None) -> Event:
        if succeeded is not False:
            return Event.SUCCEEDED if succeeded else Event.ABANDONED
        self._failures += 1
        return Event.FAILED_TOO_OFTEN if self._failures >= self._open_after else Event.FAILED
