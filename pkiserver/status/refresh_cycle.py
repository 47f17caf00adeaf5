"""The refresh cycle: when which serials are due. Pure: times and slots in, ranges of serials out.

A certificate's place in the cycle follows from its serial (random, so evenly spread): each slot of the
cycle is a range of serials, and SQL keeps no row per response. Slots count from the epoch in their own
length: after a change of it, or of the hashes, all is signed anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pkiserver.ca.serials import SERIAL_BITS
from protocols.asn1.der import integer_content

SLOTS: Final = 1440  # of a cycle: at 12 hours one every 30 seconds
EVERY_SERIAL: Final = (0, 1 << SERIAL_BITS)  # the range of all
# All as the keys of the table have them: a serial of fewer octets stands among the others, and comes last.
_FEWER_OCTETS: Final = 1 << (SERIAL_BITS - 8)
IN_TABLE_ORDER: Final = ((_FEWER_OCTETS, 1 << SERIAL_BITS), (0, _FEWER_OCTETS))


@dataclass(frozen=True, slots=True)
class RefreshCycle:
    """A cycle that comes round once in `period`."""

    period: timedelta

    @property
    def slot_s(self) -> float:
        """The length of a slot in seconds."""
        return self.period.total_seconds() / SLOTS

    def slot_at(self, now: datetime) -> int:
        """Return the slot of a moment, counted from the epoch."""
        return int(now.timestamp() / self.slot_s)

    def mark(self, slot: int, hashes: Sequence[str]) -> str:
        """Return what the store keeps of the work: all up to this slot was signed anew, with these hashes."""
        return f"{self.slot_s:g} {','.join(hashes)} {slot}"

    def slot_of(self, mark: str | None, hashes: Sequence[str]) -> int:
        """Return the slot of a mark; 0, so that all is due, where there is none or it is of another cycle."""
        kind, _, slot = (mark or "").rpartition(" ")
        return int(slot) if kind and self.mark(0, hashes).rpartition(" ")[0] == kind else 0

    def due(self, signed: int, current: int) -> list[tuple[int, int]]:
        """Return the ranges of serials to be signed anew, where all up to the slot `signed` was."""
        if self.from_the_future(signed, current):
            return slot_ranges(current + 1 - SLOTS, current)
        return slot_ranges(signed + 1, current) if current > signed else []

    @staticmethod
    def from_the_future(signed: int, current: int) -> bool:
        """Tell whether the clock was ahead: nothing that was signed then can be used."""
        return current < signed - 1


def slot_ranges(first: int, last: int) -> list[tuple[int, int]]:
    """Return the ranges of serials (low, high exclusive) of these slots, which count from the epoch."""
    if last - first + 1 >= SLOTS:
        return [EVERY_SERIAL]
    low, high = first % SLOTS, last % SLOTS
    if low <= high:
        return [(_slot_start(low), _slot_start(high + 1))]
    return [(_slot_start(low), 1 << SERIAL_BITS), (0, _slot_start(high + 1))]


def _slot_start(slot: int) -> int:
    return (slot << SERIAL_BITS) // SLOTS


# As keys of the table have them, and in their order: a number of fewer octets stands among the others.
SLOT_STARTS: Final = sorted(integer_content(_slot_start(slot)) for slot in range(SLOTS))
