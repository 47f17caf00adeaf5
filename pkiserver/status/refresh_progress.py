"""How far the refresh of each authority's responses is: each has a cycle of its own, by its status policy.

Says what is due, and keeps a mark for each authority in the store, by which the work resumes.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

import structlog

from config.status_policy import StatusPolicy
from pkiserver.ca.authorities import Authorities, Authority
from pkiserver.status.refresh_cycle import RefreshCycle
from store import facts
from store.database import Transaction

_MARK_FACT: Final = "presigner-mark"  # of each authority, by its number
_log = structlog.get_logger("pkiserver.presigner")


class RefreshProgress:
    """The slots up to which responses were signed anew, by authority."""

    def __init__(
        self, authorities: Authorities, policies: Mapping[str, StatusPolicy], hashes: Sequence[str]
    ) -> None:
        self._authorities = authorities
        self._policies = policies
        self._hashes = tuple(hashes)
        self._slots: dict[int, int] = {}

    def cycle(self, authority: Authority) -> RefreshCycle:
        """Return the cycle of an authority."""
        return RefreshCycle(self._policies[authority.name].refresh)

    def due(self, authority: Authority, now: datetime) -> list[tuple[int, int]]:
        """Return the ranges of serials of which responses are to be signed anew."""
        cycle, signed = self.cycle(authority), self._slots.get(authority.id, 0)
        current = cycle.slot_at(now)
        if cycle.from_the_future(signed, current):
            _log.warning("responses-from-the-future", ca=authority.handle, slots_ahead=signed - current)
        return cycle.due(signed, current)

    def signed(self, authority: Authority, now: datetime) -> None:
        """Say that all that was due at a moment is signed."""
        self._slots[authority.id] = self.cycle(authority).slot_at(now)

    def load(self, tx: Transaction) -> None:
        """Find where the work stopped; all is due of what has no mark, or one of another cycle or hashes."""
        for one in self._authorities:
            mark = facts.get(tx, f"{_MARK_FACT}-{one.id}")
            self._slots[one.id] = self.cycle(one).slot_of(mark, self._hashes)

    def store(self, tx: Transaction, silent: Collection[int]) -> None:
        """Note how far each authority is; not `silent` ones, of which answers may be missing."""
        for one in self._authorities:
            if one.id in self._slots and one.id not in silent:
                mark = self.cycle(one).mark(self._slots[one.id], self._hashes)
                facts.put(tx, f"{_MARK_FACT}-{one.id}", mark)

    def forget(self, tx: Transaction, silent: Collection[int]) -> None:
        """Note that answers of these authorities are missing: after a restart too, all of theirs is due."""
        for authority in silent:
            facts.delete(tx, f"{_MARK_FACT}-{authority}")
