"""Reports by office, channel and period: what was issued, returned, suspended, restored, revoked, in time."""

import csv
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from enum import Enum
from io import StringIO
from typing import Final

from pkiserver.bounds import MAX_LIST
from pkiserver.clock import Clock
from pkiserver.errors import RefusedError
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.numbers import midnight
from pkiserver.ra.registration.permissions import may_anywhere, reach
from pkiserver.ra.registration.roles import Action, Actor, Permission, Target
from pkiserver.storage import Storage
from store import offices, reports
from store.database import Transaction

MAX_PERIODS: Final = 400  # over a year by days
MAX_ROWS: Final = 10_000  # some 3 MB of JSON
_YEARS: Final = range(2000, 2200)
_DAY: Final = timedelta(days=1)
# What a spreadsheet takes for a formula, or skips before one (OWASP, CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


class Each(Enum):
    """How a span is divided."""

    WHOLE = "whole"
    MONTH = "month"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Span:
    """Days of Mongolia, both included, and how they are divided."""

    first: date
    last: date
    each: Each = Each.WHOLE

    def periods(self) -> list[tuple[date, date]]:
        """Return the first and last day of each part; `RefusedError` for no span, or too many parts."""
        if self.last < self.first:
            raise RefusedError("the last day comes before the first")
        if self.first.year not in _YEARS or self.last.year not in _YEARS:
            raise RefusedError(f"days are of the years {_YEARS[0]} to {_YEARS[-1]}")
        found = []
        begin = self.first
        while begin <= self.last:
            end = self._end_of(begin)
            found.append((begin, end))
            if len(found) > MAX_PERIODS:
                raise RefusedError(f"this has more than {MAX_PERIODS} parts: ask for a shorter time")
            begin = end + _DAY
        return found

    def _end_of(self, begin: date) -> date:
        if self.each is Each.DAY:
            return begin
        if self.each is Each.WHOLE:
            return self.last
        following = (begin.replace(day=1) + timedelta(days=32)).replace(day=1)
        return min(following - _DAY, self.last)


@dataclass(frozen=True, slots=True)
class ReportRow:
    """What happened in a period at an office by a channel; None: at no office, by no channel.

    `deadlines_kept` and `deadlines_missed` count cases by when their decision was due.
    """

    first: date
    last: date
    office: str | None
    office_name: str | None
    channel: str | None
    issued: int = 0
    returned: int = 0
    suspended: int = 0
    restored: int = 0
    revoked: int = 0
    deadlines_kept: int = 0
    deadlines_missed: int = 0


Wanted = Callable[[int | None], bool]  # by the number of an office; None: what happened at none
_COLUMNS: Final[Mapping[str, str]] = {"kept": "deadlines_kept", "missed": "deadlines_missed"}


class Reports:
    """Counts for whoever may know: of all offices, or of the own ones."""

    def __init__(self, storage: Storage, clock: Clock, gate: Gate, subscribers: Collection[str]) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._subscribers = subscribers

    async def make(self, actor: Actor, span: Span, office: str | None = None) -> list[ReportRow]:
        """Return the rows by period, office and channel; nothing happened where there is none.

        Without an office, of all that the actor may know of. `RefusedError` where it would be too long.
        """
        periods = span.periods()
        wanted = await self._wanted(actor, office)
        rows: list[ReportRow] = []
        for first, last in periods:
            rows += await self._storage.read(lambda tx, a=first, b=last: self._rows(tx, a, b, wanted))  # type: ignore[misc]
            if len(rows) > MAX_ROWS:
                raise RefusedError(
                    f"this has more than {MAX_ROWS} rows: ask for an office, or a shorter time"
                )
        return rows

    async def _wanted(self, actor: Actor, office: str | None) -> Wanted:
        """Return of which offices is to be told, and whether of what happened at none; audits refusals."""
        if office is not None:
            record = await self._storage.read(lambda tx: offices.with_code(tx, office))
            target = Target(office=record.id if record is not None else None)
            await self._gate.require(Permission(actor, Action.READ_REPORT, target))
            return lambda one: record is not None and one == record.id
        may_anywhere(actor, Action.READ_REPORT)
        reached = reach(actor, Action.READ_REPORT)
        own = reached.offices
        return lambda one: reached.everything or (one is not None and (reached.every_office or one in own))

    def _rows(self, tx: Transaction, first: date, last: date, wanted: Wanted) -> list[ReportRow]:
        counted: dict[tuple[int | None, str | None], Counter[str]] = {}
        span = (midnight(first), midnight(last + _DAY))
        for one in reports.counts(tx, *span, self._clock.now(), self._subscribers):
            if wanted(one.office):
                counter = counted.setdefault((one.office, one.channel), Counter())
                counter[_COLUMNS.get(one.what, one.what)] += one.count
        known = {one.id: one for one in offices.in_order(tx, MAX_LIST)}
        rows = []
        for (office, channel), counter in counted.items():
            record = known.get(office) if office is not None else None
            code, name = (record.code, record.name) if record is not None else (None, None)
            rows.append(ReportRow(first, last, code, name, channel, **counter))
        return sorted(rows, key=lambda row: (row.office or "", row.channel or ""))


def as_csv(rows: Sequence[ReportRow]) -> str:
    """Return rows as CSV (RFC 4180) with a header; no value is one that a spreadsheet would carry out."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    names = [one.name for one in fields(ReportRow)]
    writer.writerow(names)
    for row in rows:
        writer.writerow([_harmless(getattr(row, name)) for name in names])
    return text.getvalue()


def _harmless(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
