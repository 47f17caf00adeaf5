"""What the status plane can tell of itself without a key or a database: how long its answers are good.

Looks through the response table a part at a time, and at the CRLs that are served. For a machine that signs
nothing: where the presigner is, it knows.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pkiserver.health import Cause
from pkiserver.served_files import MAX_FILE_OCTETS
from protocols.crl_reader import CRLTimes, crl_times
from protocols.errors import ProtocolError
from store.errors import StorageError
from store.responses import ResponseTableReader

STEP: Final = 50_000  # responses looked at in one go: some 30 ms
PAUSE_S: Final = 60.0  # from one look through the table to the next, at least
REST: Final = 20  # and so many times as long as it took: a large table is not looked at all day

_Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Horizon:
    """When the responses of a table end, in Unix seconds: the first of them, the last; how many there are."""

    oldest_s: int
    newest_s: int
    responses: int


@dataclass(frozen=True, slots=True)
class _SeenCRL:
    signature: _Signature
    times: CRLTimes | None  # None: it cannot be read


class StatusWatch:
    """Looks when it is told to; what it saw may be read meanwhile, from another thread too."""

    def __init__(self, table: ResponseTableReader, public: Path) -> None:
        """Take a table that nobody else uses, and the folder of public files."""
        self._table = table
        self._crls = public / "crl"
        self._seen: dict[str, _SeenCRL] = {}
        self._survey = _Survey(table)
        self._failure = ""
        self.position = 0
        self.exported_at = 0

    @property
    def horizon(self) -> Horizon | None:
        """When the responses end; of the part that was seen, until all were. None for an empty table."""
        return self._survey.horizon

    @property
    def busy(self) -> bool:
        """True while a look through the table has begun and not ended."""
        return self._survey.busy

    @property
    def crls(self) -> dict[str, CRLTimes]:
        """The times of each CRL that can be read, by name."""
        return {name: seen.times for name, seen in self._seen.items() if seen.times is not None}

    def look(self) -> None:
        """Look at the next part of the table and at CRLs that changed; takes a moment, and the disk."""
        try:
            if self._table.follow():
                self._survey = _Survey(self._table)
            self._survey.step()
            self.position, self.exported_at = self._table.position(), self._table.exported_at()
        except StorageError as error:
            self._failure = str(error)
        else:
            self._failure = ""
        self._seen = dict(self._look_at_crls())

    def causes(self, now: datetime) -> list[Cause]:
        """Return the conditions of readiness of a machine that serves status."""
        return [self.responses_cause(now), self._crl_cause(now)]

    def responses_cause(self, now: datetime) -> Cause:
        """Not ok while no response of the table is fresh: every request would be answered with tryLater."""
        if self._failure:
            return Cause("responses", ok=False, detail=self._failure)
        horizon = self.horizon
        if horizon is None:
            return Cause("responses", ok=False, detail="the response table is empty: import an export")
        if horizon.newest_s <= now.timestamp():
            detail = "every response of the table is past its nextUpdate: import a newer export"
            return Cause("responses", ok=False, detail=detail)
        first = datetime.fromtimestamp(horizon.oldest_s, UTC)
        return Cause("responses", ok=True, detail=f"the first of them end {first:%Y-%m-%d %H:%M} UTC")

    def _crl_cause(self, now: datetime) -> Cause:
        bad = [name for name, seen in self._seen.items() if seen.times is None]
        stale = [name for name, times in self.crls.items() if times.next_update and times.next_update <= now]
        details = [f"the CRL {name} is past its nextUpdate: import a newer export" for name in sorted(stale)]
        details += [f"the CRL {name} cannot be read" for name in sorted(bad)]
        return Cause("crl", ok=not details, detail="; ".join(details))

    def _look_at_crls(self) -> Iterator[tuple[str, _SeenCRL]]:
        for path in self._crls.glob("*.crl"):
            try:
                status = path.stat()
                signature = (status.st_ino, status.st_mtime_ns, status.st_size)
                former = self._seen.get(path.stem)
                if former is not None and former.signature == signature:
                    yield path.stem, former
                else:
                    yield path.stem, _SeenCRL(signature, _times(path, status.st_size))
            except FileNotFoundError:
                continue  # replaced or taken away at this moment


class _Survey:
    """Looks through one generation of the table again and again."""

    def __init__(self, table: ResponseTableReader) -> None:
        self._table = table
        self._after = b""
        self._part: Horizon | None = None
        self._whole: Horizon | None = None
        self._ended = False  # the whole table was seen once
        self._took_s = 0.0
        self._next_s = 0.0  # of the monotonic clock: when to begin again

    @property
    def horizon(self) -> Horizon | None:
        return self._whole if self._ended else self._part

    @property
    def busy(self) -> bool:
        return bool(self._after)

    def step(self) -> None:
        start_s = time.monotonic()
        if not self.busy and start_s < self._next_s:
            return
        found = self._table.next_updates(self._after, STEP)
        if found.seen:
            part = Horizon(found.oldest, found.newest, found.seen)
            self._part = part if self._part is None else _joined(self._part, part)
        end_s = time.monotonic()
        self._took_s += end_s - start_s
        self._after = found.last or b""
        if found.last is None:
            self._ended, self._whole, self._part = True, self._part, None
            self._next_s = end_s + max(PAUSE_S, REST * self._took_s)
            self._took_s = 0.0


def _joined(first: Horizon, second: Horizon) -> Horizon:
    return Horizon(
        min(first.oldest_s, second.oldest_s),
        max(first.newest_s, second.newest_s),
        first.responses + second.responses,
    )


def _times(path: Path, size: int) -> CRLTimes | None:
    try:
        return crl_times(path.read_bytes()) if size <= MAX_FILE_OCTETS else None
    except (OSError, ProtocolError):
        return None
