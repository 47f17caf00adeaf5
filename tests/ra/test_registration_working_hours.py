"""Deadlines in working hours, held to counting minute by minute."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiserver.errors import RefusedError
from pkiserver.ra.registration.numbers import ULAANBAATAR
from pkiserver.ra.registration.working_hours import Calendar, due_at

WEEK = Calendar(opens_at=540, closes_at=1080, break_from=780, break_to=840, weekdays="12345")
EIGHT = timedelta(hours=8)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ULAANBAATAR)


@pytest.mark.parametrize(
    ("received", "due"),
    [
        pytest.param("2026-07-09T15:00", "2026-07-16T15:00", id="naadam-lies-between"),
        pytest.param("2026-09-07T09:00", "2026-09-07T18:00", id="a-whole-day"),
        pytest.param("2026-09-07T07:12", "2026-09-07T18:00", id="before-the-office-opens"),
        pytest.param("2026-09-07T13:30", "2026-09-08T13:00", id="in-the-break"),
        pytest.param("2026-09-11T18:00", "2026-09-14T18:00", id="friday-evening-begins-on-monday"),
        pytest.param("2026-09-12T11:00", "2026-09-14T18:00", id="saturday-begins-on-monday"),
        pytest.param("2026-02-17T17:00", "2026-02-23T17:00", id="the-lunar-new-year-lies-between"),
    ],
)
def test_eight_working_hours_end(received: str, due: str) -> None:
    assert due_at(WEEK, local(received), EIGHT) == local(due)


def test_a_day_of_the_office_goes_before_the_public_holidays() -> None:
    open_at_naadam = Calendar(540, 1080, 780, 840, "12345", {date(2026, 7, 10): True})
    closed_on_thursday = Calendar(540, 1080, 780, 840, "12345", {date(2026, 7, 16): False})
    assert due_at(open_at_naadam, local("2026-07-09T15:00"), EIGHT) == local("2026-07-10T15:00")
    assert due_at(closed_on_thursday, local("2026-07-09T15:00"), EIGHT) == local("2026-07-17T15:00")


def test_a_deadline_is_told_in_the_zone_it_was_asked_in() -> None:
    due = due_at(WEEK, datetime(2026, 7, 9, 7, tzinfo=UTC), EIGHT)
    assert (due.tzinfo, due) == (UTC, datetime(2026, 7, 16, 7, tzinfo=UTC))


def test_an_office_that_never_works_has_no_deadline() -> None:
    days = {date(2026, 7, 1) + timedelta(days=n): False for n in range(200)}
    with pytest.raises(RefusedError, match="does not work"):
        due_at(Calendar(540, 1080, 780, 840, "12345", days), local("2026-07-09T15:00"), EIGHT)


def counted(calendar: Calendar, received: datetime, hours: timedelta) -> datetime:
    """Return the same by looking at every minute."""
    moment, missing = received, hours
    while missing:
        minute = moment.hour * 60 + moment.minute
        in_hours = calendar.opens_at <= minute < calendar.closes_at
        in_break = calendar.break_from <= minute < calendar.break_to
        if calendar.works_on(moment.date()) and in_hours and not in_break:
            missing -= timedelta(minutes=1)
        moment += timedelta(minutes=1)
    return moment


@settings(deadline=None)  # counting takes long
@given(
    received=st.integers(0, 2 * 365 * 24 * 60).map(
        lambda n: local("2026-01-01T00:00") + timedelta(minutes=n)
    ),
    minutes=st.integers(1, 10 * 60),
    hours=st.sampled_from(
        [(540, 780, 840, 1080), (0, 600, 600, 1440), (600, 600, 660, 720), (480, 700, 710, 715)]
    ),
    weekdays=st.sets(st.sampled_from("1234567"), min_size=2),
    day=st.integers(0, 5),
    works=st.booleans(),
)
def test_deadlines_agree_with_counting_minutes(
    received: datetime,
    minutes: int,
    hours: tuple[int, int, int, int],
    weekdays: set[str],
    day: int,
    works: bool,
) -> None:
    opens, break_from, break_to, closes = hours
    special = {received.date() + timedelta(days=day): works}
    calendar = Calendar(opens, closes, break_from, break_to, "".join(sorted(weekdays)), special)
    assert due_at(calendar, received, timedelta(minutes=minutes)) == counted(
        calendar, received, timedelta(minutes=minutes)
    )
