"""What fails of signing and sending heads: told to people, and tried again later and later."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

_FIRST_PAUSE: Final = timedelta(seconds=15)
_LONGEST_PAUSE: Final = timedelta(minutes=15)
_DOUBLINGS: Final = 6  # from the first pause to the longest

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Trouble:
    reason: str
    attempts: int
    next_at: datetime


class Troubles:
    """The failures that go on, by the part that fails."""

    def __init__(self) -> None:
        self._of: dict[str, _Trouble] = {}

    def texts(self) -> list[str]:
        """Return what fails and why."""
        return [f"{part}: {trouble.reason}" for part, trouble in self._of.items()]

    def rests(self, part: str, now: datetime) -> bool:
        """Return whether a part is to be left alone a while longer; not where the clock was set back."""
        trouble = self._of.get(part)
        return trouble is not None and timedelta(0) < trouble.next_at - now <= _LONGEST_PAUSE

    def failed(self, part: str, reason: str, now: datetime) -> None:
        """Note a failure of a part."""
        before = self._of.get(part)
        attempts = before.attempts + 1 if before is not None else 1
        pause = min(_FIRST_PAUSE * (1 << min(attempts - 1, _DOUBLINGS)), _LONGEST_PAUSE)
        self._of[part] = _Trouble(reason, attempts, now + pause)
        _log.warning("audit-head", part=part, reason=reason, attempts=attempts)

    def over(self, part: str) -> None:
        """Note that a part works."""
        if self._of.pop(part, None) is not None:
            _log.info("audit-head", part=part, reason="works again")
