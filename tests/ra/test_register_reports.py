"""Reports: what happened by office, channel and period, and which deadlines were kept."""

import csv
from dataclasses import asdict
from datetime import date, timedelta
from io import StringIO
from typing import Any

import pytest

from pkiserver.errors import DeniedError, NotAuthorizedError, RefusedError
from pkiserver.ra.cases.entry import NewCase
from pkiserver.ra.cases.rules import Channel, Kind
from pkiserver.ra.cases.service import Decision
from pkiserver.ra.register.reports import MAX_PERIODS, Each, ReportRow, Span, as_csv
from pkiserver.ra.registration.numbers import today
from pkiserver.ra.registration.offices import OfficeForm
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from store.applications import ApplicationRecord
from tests.ra.test_registration_services import ADMINISTRATOR, Story, story  # noqa: F401 - a fixture

AUDITOR = Actor("anna", (Assignment(Role.AUDITOR),))


async def report(story: Story, actor: Actor = AUDITOR, office: str | None = None) -> list[dict[str, Any]]:  # noqa: F811
    """Report of the days from a week ago to a month ahead; what is none is left out."""
    now = today(story.clock.now())
    span = Span(now - timedelta(days=7), now + timedelta(days=31))
    rows = await story.services.register.reports.make(actor, span, office)
    return [
        {
            name: value
            for name, value in asdict(row).items()
            if value and name not in ("first", "last", "office_name")
        }
        for row in rows
    ]


def case_about(made: ApplicationRecord, kind: Kind, channel: Channel, ground: str, **more: Any) -> NewCase:
    assert made.authority is not None
    assert made.serial is not None
    return NewCase(made.authority, made.serial, kind, channel, ground, **more)


async def test_by_office_and_channel(story: Story) -> None:  # noqa: F811
    made = await story.issued()
    holder = Actor("e-mongolia", (Assignment(Role.SERVICE),), on_behalf_of=made.person)
    cases = story.services.cases
    await cases.receive(holder, case_about(made, Kind.SUSPEND, Channel.SELF_SERVICE, "carrier_missing"))
    await cases.receive(holder, case_about(made, Kind.RESTORE, Channel.SELF_SERVICE, "carrier_found"))
    asked = case_about(made, Kind.REVOKE, Channel.WRITTEN, "holder_request", office="ub-1")
    received = await cases.receive(story.registrar, asked)
    story.clock.moment = received.due_at
    await cases.decide(story.registrar, received.id, Decision(received.version, True, "seen"))
    draft = await story.draft(civil_id="210987654321", register_number="УА90051207", birth_date="1990-05-12")
    await story.services.applications.send_back(story.registrar, draft.id, draft.version, "the papers differ")
    assert await report(story) == [
        {"channel": "self_service", "suspended": 1, "restored": 1, "deadlines_kept": 2},
        {"office": "ub-1", "channel": "branch", "issued": 1, "returned": 1},
        {"office": "ub-1", "channel": "written", "revoked": 1, "deadlines_kept": 1},
    ]


async def test_deadlines_are_missed_by_a_late_decision_and_by_none(story: Story) -> None:  # noqa: F811
    made = await story.issued()
    cases = story.services.cases
    late = await cases.receive(
        story.registrar, case_about(made, Kind.SUSPEND, Channel.WRITTEN, "carrier_missing", office="ub-1")
    )
    assert [one for one in await report(story) if "deadlines_missed" in one] == []
    story.clock.moment = late.due_at + timedelta(seconds=1)
    missed = {"office": "ub-1", "channel": "written", "deadlines_missed": 1}
    assert missed in await report(story)
    await cases.decide(story.registrar, late.id, Decision(late.version, True, "seen"))
    assert missed | {"suspended": 1} in await report(story)


async def test_days_are_those_of_mongolia(story: Story) -> None:  # noqa: F811
    await story.issued()
    day = today(story.clock.now())
    reports = story.services.register.reports
    span = Span(day - timedelta(days=1), day + timedelta(days=1), Each.DAY)
    rows = await reports.make(AUDITOR, span)
    assert [(row.first, row.last, row.issued) for row in rows if row.issued] == [(day, day, 1)]


async def test_who_has_an_office_knows_of_it_alone(story: Story) -> None:  # noqa: F811
    await story.issued()
    other = await story.services.offices.add(ADMINISTRATOR, "ub-2", OfficeForm("Баянзүрх"))
    own = story.registrar.assignments[0].office
    senior = Actor("sara", (Assignment(Role.SENIOR_REGISTRAR, office=own),))
    elsewhere = Actor("dulam", (Assignment(Role.SENIOR_REGISTRAR, office=other.id),))
    assert [one["office"] for one in await report(story, senior)] == ["ub-1"]
    assert await report(story, senior, "ub-1") == await report(story, AUDITOR, "ub-1")
    assert await report(story, elsewhere) == []
    everywhere = Actor("tuya", (Assignment(Role.SENIOR_REGISTRAR, everywhere=True),))
    assert await report(story, everywhere) == await report(story, senior)
    for office in ("ub-1", "ub-9"):
        with pytest.raises(DeniedError):
            await report(story, elsewhere, office)
    with pytest.raises(NotAuthorizedError):
        await report(story, story.registrar)


@pytest.mark.parametrize(
    ("first", "last", "each", "periods"),
    [
        ("2026-07-09", "2026-07-16", "whole", [("2026-07-09", "2026-07-16")]),
        ("2026-07-30", "2026-08-01", "day", [("2026-07-30",) * 2, ("2026-07-31",) * 2, ("2026-08-01",) * 2]),
        (
            "2026-01-31",
            "2026-03-02",
            "month",
            [("2026-01-31",) * 2, ("2026-02-01", "2026-02-28"), ("2026-03-01", "2026-03-02")],
        ),
    ],
)
def test_a_span_is_divided_without_gap(
    first: str, last: str, each: str, periods: list[tuple[str, str]]
) -> None:
    found = Span(date.fromisoformat(first), date.fromisoformat(last), Each(each)).periods()
    assert [(str(begin), str(end)) for begin, end in found] == periods


@pytest.mark.parametrize(
    "span",
    [
        Span(date(2026, 7, 2), date(2026, 7, 1)),
        Span(date(2026, 1, 1), date(2026, 1, 1) + timedelta(days=MAX_PERIODS), Each.DAY),
        Span(date(2001, 1, 1), date(2099, 1, 1), Each.MONTH),
        Span(date(2026, 1, 1), date.max),
        Span(date.min, date(2026, 1, 1)),
    ],
    ids=["backwards", "too many days", "too many months", "for ever", "since ever"],
)
def test_what_is_no_span(span: Span) -> None:
    with pytest.raises(RefusedError):
        span.periods()


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_is_a_formula(begin: str) -> None:
    """What an operator named an office is shown, and not carried out."""
    name = f'{begin}HYPERLINK("https://evil.example","Дарх, ан")'
    day = date(2026, 7, 9)
    header, row = csv.reader(
        StringIO(as_csv([ReportRow(day, day, "ub-1", name, None, issued=3)]), newline="")
    )
    assert dict(zip(header, row, strict=True)) | {
        "office_name": f"'{name}",
        "channel": "",
        "issued": "3",
    } == dict(zip(header, row, strict=True))


def test_lines_end_as_rfc_4180_says() -> None:
    day = date(2026, 7, 9)
    assert as_csv([ReportRow(day, day, None, None, "kiosk")]).count("\r\n") == 2
