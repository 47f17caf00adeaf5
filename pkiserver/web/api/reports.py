"""Reports by office, channel and period, as JSON and as CSV."""

from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from pkiserver.ra.register.reports import Each, ReportRow, Span, as_csv
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.offices import OfficeCode
from pkiserver.web.api.operations import (
    CSV,
    Answer,
    APIServices,
    Call,
    Message,
    Octets,
    Operation,
    Parameters,
)


class ReportSearch(Parameters):
    """Of which days of Mongolia, both included, and of which office; without one, all that may be known."""

    first: Annotated[date, Field(description="The first day.")]
    last: Annotated[date, Field(description="The last day.")]
    each: Annotated[Literal["whole", "month", "day"], Field(description="How the time is divided.")] = "whole"
    office: OfficeCode | None = None


class ReportLine(Message):
    """What happened in a period at an office by a channel; null: at no office, by no channel.

    A deadline counts in the period in which it lay: kept, or missed, also where there is no decision yet.
    """

    first: date
    last: date
    office: str | None
    office_name: str | None
    channel: str | None
    issued: int
    returned: int
    suspended: int
    restored: int
    revoked: int
    deadlines_kept: int
    deadlines_missed: int


class Report(Message):
    """The lines by period, office and channel; where nothing happened there is none."""

    lines: tuple[ReportLine, ...]


async def show_report(services: APIServices, call: Call[Any, ReportSearch, None]) -> Answer:
    """Count what was issued, returned, suspended, restored and revoked, and deadlines kept and missed."""
    lines = tuple(
        ReportLine(**{name: getattr(row, name) for name in ReportLine.model_fields})
        for row in await _rows(services, call)
    )
    return Answer(Report(lines=lines))


async def show_report_csv(services: APIServices, call: Call[Any, ReportSearch, None]) -> Answer:
    """Give the same as CSV (RFC 4180), in which no value begins as a spreadsheet's formula does."""
    return Answer(Octets(octets=as_csv(await _rows(services, call)).encode()))


async def _rows(services: APIServices, call: Call[Any, ReportSearch, None]) -> list[ReportRow]:
    query = call.query
    span = Span(query.first, query.last, Each(query.each))
    return await services.registration.register.reports.make(call.caller.acting, span, query.office)


OPERATIONS: Final = (
    Operation(
        "showReport",
        "GET",
        "/reports/register",
        "Report by office, channel and period",
        Action.READ_REPORT,
        show_report,
        Report,
        query=ReportSearch,
    ),
    Operation(
        "showReportCSV",
        "GET",
        "/reports/register.csv",
        "Report by office, channel and period, as CSV",
        Action.READ_REPORT,
        show_report_csv,
        Octets,
        query=ReportSearch,
        produces=CSV,
    ),
)
