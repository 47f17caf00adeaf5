"""How large bodies may be: each, by its path, and the large ones of all connections of a worker together."""

from collections.abc import Callable
from typing import Final

from pkiserver.web.http_limits import MAX_BODY_BYTES

TOTAL_BYTES: Final = 32 * 1024 * 1024  # of a worker's memory: 512 bodies of the largest kind at once


def _none_larger(_path: bytes) -> int:
    return MAX_BODY_BYTES


class BodyRoom:
    """Bounds the bodies of one worker; those up to `MAX_BODY_BYTES` are not counted."""

    def __init__(
        self, bound: Callable[[bytes], int] = _none_larger, *, total_bytes: int = TOTAL_BYTES
    ) -> None:
        """Take what says how many octets a body may have that is sent to a path."""
        self._bound = bound
        self._left = total_bytes

    def bound(self, path: bytes) -> int:
        """Return how many octets a body may have that is sent to this path."""
        return max(self._bound(path), MAX_BODY_BYTES)

    def take(self, octets: int) -> bool:
        """Take room for so many octets more of a large body; False where there is none left."""
        if octets > self._left:
            return False
        self._left -= octets
        return True

    def give_back(self, octets: int) -> None:
        """Give back what was taken."""
        self._left += octets
