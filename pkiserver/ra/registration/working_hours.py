"""Deadlines in working hours of an office (regulation 3.2, 3.5). Pure: no clock, no store."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Final

from pkiserver.errors import RefusedError
from pkiserver.ra.registration.numbers import ULAANBAATAR

# An office that has no working hour in so long has no deadlines either: somebody closed it.
MAX_DAYS: Final = 120


@dataclass(frozen=True, slots=True)
class Calendar:
    """When an office works: its week, in minutes after midnight of Mongolia, and the days that differ.

    `days` says of a date whether the office works on it, whatever the weekday and the public holidays say.
    """

    opens_at: int
    closes_at: int
    break_from: int
    break_to: int
    weekdays: str  # digits, 1 is Monday
    days: Mapping[date, bool] = field(default_factory=dict)

    def works_on(self, day: date) -> bool:
        """Return whether the office works on this day."""
        if day in self.days:
            return self.days[day]
        return str(day.isoweekday()) in self.weekdays and day not in _public_holidays(day.year)


def due_at(calendar: Calendar, received_at: datetime, hours: timedelta) -> datetime:
    """Return when this much working time has passed since `received_at`, in the zone of `received_at`.

    Raises `RefusedError` where the office does not work that much within `MAX_DAYS`.
    """
    missing = hours
    for begins, ends in _working_times(calendar, received_at.astimezone(ULAANBAATAR)):
        if ends - begins >= missing:
            return (begins + missing).astimezone(received_at.tzinfo)
        missing -= ends - begins
    raise RefusedError(
        f"the office does not work {hours} within {MAX_DAYS} days: look at its hours and days"
        " (`pkiserver office show`)"
    )


def _working_times(calendar: Calendar, since: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Give the stretches of work from `since` on, in order."""
    parts = ((calendar.opens_at, calendar.break_from), (calendar.break_to, calendar.closes_at))
    for offset in range(MAX_DAYS):
        day = since.date() + timedelta(days=offset)
        if not calendar.works_on(day):
            continue
        midnight = datetime.combine(day, time(), ULAANBAATAR)
        for opens, closes in parts:
            begins = max(since, midnight + timedelta(minutes=opens))
            ends = midnight + timedelta(minutes=closes)
            if begins < ends:
                yield begins, ends


@cache
def _public_holidays(year: int) -> frozenset[date]:
    from holidays import country_holidays  # some fifty modules of calendars

    return frozenset(country_holidays("MN", years=year))
