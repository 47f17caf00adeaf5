"""Whether issuing may go on: the disk, the clock, and what else the wiring names.

The status plane does not ask: it keeps answering from what was signed beforehand.
"""

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from pkiserver.clock import Clock, utc_text
from pkiserver.errors import UnavailableError
from pkiserver.health import Cause
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import facts
from store.database import Transaction
from store.records import from_unix, to_unix

_PROBE = "storage-probe"
_ACCEPTED = "clock-accepted"  # the wrong time of the last record, and the time accepted; Unix seconds


class ClockGuard:
    """Remembers the latest moment seen and tells when the clock has fallen behind it."""

    def __init__(self, clock: Clock, tolerance: timedelta, latest: datetime | None) -> None:
        self._clock = clock
        self._tolerance = tolerance
        self._latest = latest or clock.now()

    def cause(self) -> Cause:
        """Look at the clock; not ok while it is behind the latest moment by more than the tolerance."""
        now = self._clock.now()
        behind = self._latest - now
        if behind > self._tolerance:
            return Cause(
                "clock",
                ok=False,
                detail=f"the clock is {behind} behind the last record ({utc_text(self._latest)});"
                " set it right, issuing goes on when it has caught up; if the clock was ahead before and is"
                " right now, say `pkiserver clock accept`",
            )
        self._latest = max(self._latest, now)
        return Cause("clock", ok=True, detail="")

    def accept(self) -> None:
        """Take the clock as right: what was recorded of a later time was wrong."""
        self._latest = self._clock.now()


class StorageGuard:
    """Tells when the disk is nearly full or the last write failed, and tries again."""

    def __init__(self, storage: Storage, folder: Path, min_free_bytes: int) -> None:
        self._storage = storage
        self._folder = folder
        self._min_free_bytes = min_free_bytes

    def cause(self) -> Cause:
        """Look at the disk; not ok when too little is free or the last write failed."""
        status = os.statvfs(self._folder)
        free = status.f_bavail * status.f_frsize
        if free < self._min_free_bytes:
            return Cause(
                "storage",
                ok=False,
                detail=f"{free >> 20} MiB free on the disk of the home, {self._min_free_bytes >> 20} MiB are"
                " needed; make room, issuing goes on by itself",
            )
        if self._storage.failure:
            return Cause("storage", ok=False, detail=f"the last write failed: {self._storage.failure}")
        return Cause("storage", ok=True, detail="")

    async def probe(self) -> None:
        """After a failed write, write something small: success clears the failure."""
        if self._storage.failure:
            try:
                await self._storage.write(lambda tx: facts.put(tx, _PROBE, os.urandom(8).hex()))
            except UnavailableError:
                return  # the failure stays and is shown by `cause`


class Readiness:
    """All causes together. Those that issuing needs also stop it; the others only show."""

    def __init__(self) -> None:
        self._issuing: list[Callable[[], Cause]] = []
        self._others: list[Callable[[], Cause]] = []

    def needs(self, cause: Callable[[], Cause]) -> None:
        """Add a cause without which nothing may be issued."""
        self._issuing.append(cause)

    def shows(self, cause: Callable[[], Cause]) -> None:
        """Add a cause that only makes the server not ready."""
        self._others.append(cause)

    def causes(self) -> list[Cause]:
        """Return every cause as it stands now."""
        return [cause() for cause in (*self._issuing, *self._others)]

    def gate(self) -> None:
        """Raise `UnavailableError` while issuing stands still."""
        for look in self._issuing:
            cause = look()
            if not cause.ok:
                raise UnavailableError(f"nothing is issued now: {cause.detail}")


async def latest_record_time(storage: Storage) -> datetime | None:
    """Return the time of the last audit record, which the clock must not fall behind.

    After `accept_clock` it is the time accepted, until records pass the wrong time.
    """
    head = await storage.read(audit_chain.head)
    accepted = await storage.read(lambda tx: facts.get(tx, _ACCEPTED))
    if head is None:
        return None
    if accepted is not None:
        wrong, right = (from_unix(int(seconds)) for seconds in accepted.split())
        if head.at <= wrong:
            return right
    return head.at


def accept_clock(tx: Transaction, now: datetime) -> None:
    """Note that the clock is right now, whatever later time was recorded before."""
    head = audit_chain.head(tx)
    wrong = head.at if head else now
    facts.put(tx, _ACCEPTED, f"{to_unix(wrong)} {to_unix(now)}")
