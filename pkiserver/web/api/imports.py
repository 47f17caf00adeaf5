"""Lists of officers: an organisation's CSV, of which each row becomes an application."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from pkiserver.ra.registration.imports import ImportOptions, ImportReport
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.operations import CSV, Answer, APIServices, Call, Message, Operation, Parameters
from pkiserver.web.api.organizations import OrganizationPath
from store.imports import ImportRow


class ImportQuery(Parameters):
    """How a list is imported."""

    partial: Annotated[bool, Field(description="Take the good rows; else it is all of them or none.")] = False
    dry_run: Annotated[bool, Field(description="Say what would become of each row, and do nothing.")] = False


class ImportFault(Message):
    """What is wrong with a field of a row; `row` where it is the row itself."""

    field: str
    problem: str


class ImportedRow(Message):
    """What became of the row that begins at a line; `known`: an application was open already."""

    line: int
    outcome: Literal["made", "known", "refused"]
    application: int | None
    faults: tuple[ImportFault, ...]


class ImportedList(Message):
    """What became of a list; `carried_out` false: nothing was kept of it, rows say what would become of them.

    No value of the list is in it.
    """

    organization: str
    sha256: str
    carried_out: bool
    made: int
    known: int
    refused: int
    rows: tuple[ImportedRow, ...]


async def import_officers(services: APIServices, call: Call[OrganizationPath, ImportQuery, bytes]) -> Answer:
    """Make an application for each officer of a list, CSV in UTF-8; sent again, it makes nothing twice."""
    options = ImportOptions(whole=not call.query.partial, dry_run=call.query.dry_run)
    report = await services.registration.imports.run(
        call.caller.acting, call.path.organization, call.body, options
    )
    return Answer(_message(report))


def _message(report: ImportReport) -> ImportedList:
    return ImportedList(
        organization=report.organization,
        sha256=report.sha256,
        carried_out=report.carried_out,
        made=report.count("made"),
        known=report.count("known"),
        refused=report.count("refused"),
        rows=tuple(_row(one) for one in report.rows),
    )


def _row(row: ImportRow) -> ImportedRow:
    faults = tuple(ImportFault(field=field, problem=problem) for field, problem in row.faults)
    outcome: Any = row.outcome
    return ImportedRow(line=row.line, outcome=outcome, application=row.application, faults=faults)


OPERATIONS: Final = (
    Operation(
        "importOfficers",
        "POST",
        "/organizations/{organization}/imports",
        "Import a list of officers",
        Action.MANAGE_OFFICERS,
        import_officers,
        ImportedList,
        parameters=OrganizationPath,
        query=ImportQuery,
        media_types=(CSV,),
    ),
)
