"""`pkiserver organization`: organisations, their contracts and officers."""

import base64
from pathlib import Path
from typing import Any

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import AFTER_OPTION, JSON_OPTION, LIMIT_OPTION
from pkiserver.printing import show, show_page, show_rows

_VERSION = click.option("--version", type=int, help="The version that you saw.  [default: that of now]")


@click.group("organization", cls=CommandGroup)
def organization_group() -> None:
    """Organisations, their contracts and officers."""


@organization_group.command("register")
@click.argument("number")
@click.option("--name", required=True, help="What it is called.")
@click.option("--mail", required=True, help="Where it is written to.")
@JSON_OPTION
@click.pass_obj
def organization_register(context: Context, number: str, name: str, mail: str, as_json: bool) -> None:
    """Register an organisation by the number of the state register.

    \b
    Example:  pkiserver organization register 1234567 --name 'Татварын газар' --mail info@tax.gov.mn
    """
    show(context.command("organization.register", number=number, name=name, mail=mail), as_json)


@organization_group.command("list")
@click.option("--state", help="Only those in this state, such as registered or contracted.")
@AFTER_OPTION
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def organization_list(
    context: Context, state: str | None, after: str | None, limit: int, as_json: bool
) -> None:
    """List the organisations, the newest first.

    \b
    Example:  pkiserver organization list --state registered
    """
    result = context.command("organization.list", state=state, after=after, limit=limit)
    show_page(result, ("number", "name", "state", "version", "mail"), as_json, limit, "id")


@organization_group.command("show")
@click.argument("number")
@JSON_OPTION
@click.pass_obj
def organization_show(context: Context, number: str, as_json: bool) -> None:
    """Show an organisation with its mail domains and what happened to its contract.

    \b
    Example:  pkiserver organization show 1234567
    """
    show(context.command("organization.show", number=number), as_json)


@organization_group.command("move")
@click.argument("number")
@click.argument("event", type=click.Choice(["send_contract", "sign_contract", "decline", "end"]))
@click.option("--ground", required=True, help="Why: the paper that it is done on.")
@_VERSION
@JSON_OPTION
@click.pass_obj
def organization_move(
    context: Context, number: str, event: str, ground: str, version: int | None, as_json: bool
) -> None:
    """Note what happened to the contract of an organisation.

    \b
    Example:  pkiserver organization move 1234567 send_contract --ground 'letter 12'
    """
    result = context.command("organization.move", number=number, event=event, ground=ground, version=version)
    show(result, as_json)


@organization_group.command("decline")
@click.argument("numbers", nargs=-1, required=True)
@click.option("--ground", required=True, help="Why.")
@JSON_OPTION
@click.pass_obj
def organization_decline(context: Context, numbers: tuple[str, ...], ground: str, as_json: bool) -> None:
    """Decline registrations that wait for a specialist, many at a time; the others stay as they are.

    \b
    Example:  pkiserver organization decline 7654321 7654322 --ground 'no organisation'
    """
    show(context.command("organization.decline", numbers=list(numbers), ground=ground), as_json)


@organization_group.command("domains")
@click.argument("number")
@click.argument("domains", nargs=-1, required=True)
@JSON_OPTION
@click.pass_obj
def organization_domains(context: Context, number: str, domains: tuple[str, ...], as_json: bool) -> None:
    """Say of which domains the work mail of officers may be; those below one count too.

    \b
    Example:  pkiserver organization domains 1234567 tax.gov.mn
    """
    show(context.command("organization.domains", number=number, domains=list(domains)), as_json)


@organization_group.command("officer-add")
@click.argument("number")
@click.option("--parent-name", required=True, help="The parent's name.")
@click.option("--given-name", required=True, help="The given name.")
@click.option("--mail", required=True, help="The work mail, of an allowed domain.")
@click.option("--title", required=True, help="The position.")
@click.option("--unit", help="The unit of the organisation.")
@click.option("--ground", required=True, help="The appointment paper.")
@JSON_OPTION
@click.pass_obj
def organization_officer_add(
    context: Context,
    number: str,
    parent_name: str,
    given_name: str,
    mail: str,
    title: str,
    unit: str | None,
    ground: str,
    as_json: bool,
) -> None:
    """Add an officer to an organisation that has a contract.

    \b
    Example:  pkiserver organization officer-add 1234567 --parent-name Бат --given-name Дорж \\
                  --mail dorj@tax.gov.mn --title Мэргэжилтэн --ground 'order 1'
    """
    result = context.command(
        "organization.officer-add",
        number=number,
        parent_name=parent_name,
        given_name=given_name,
        mail=mail,
        title=title,
        unit=unit,
        ground=ground,
    )
    show(result, as_json)


@organization_group.command("officers")
@click.argument("number")
@JSON_OPTION
@click.pass_obj
def organization_officers(context: Context, number: str, as_json: bool) -> None:
    """List the officers of an organisation with their positions.

    \b
    Example:  pkiserver organization officers 1234567
    """
    result = context.command("organization.officers", number=number)
    show_rows(result, ("id", "parent_name", "given_name", "mail", "title", "unit"), as_json)


@organization_group.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--organization", "number", required=True, metavar="NUMBER", help="Whose officers they are.")
@click.option("--partial", is_flag=True, help="Take the good rows; else it is all of them or none.")
@click.option("--dry-run", is_flag=True, help="Say what would become of each row, and do nothing.")
@JSON_OPTION
@click.pass_context
def organization_import(
    click_context: click.Context, file: Path, number: str, partial: bool, dry_run: bool, as_json: bool
) -> None:
    """Make an application for each officer in a CSV file, with a report of every row.

    The first row names the columns: parent_name, given_name, register_number, civil_id, work_mail, phone,
    position, unit, or in Mongolian. A file that is given again goes on where it was cut off, and makes
    nothing twice. Ends with 1 where rows are refused.

    \b
    Example:  pkiserver organization import officers.csv --organization 1234567 --dry-run
    """
    from pkiserver.ra.registration.officer_list import MAX_LIST_BYTES

    if file.stat().st_size > MAX_LIST_BYTES:
        raise click.UsageError(f"{file} is over {MAX_LIST_BYTES >> 10} KiB: split it")
    result = click_context.obj.command(
        "organization.import",
        number=number,
        content=base64.b64encode(file.read_bytes()).decode("ascii"),
        whole=not partial,
        dry_run=dry_run,
    )
    _show_report(result, as_json)
    if result["refused"]:
        click_context.exit(1)


def _show_report(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show(result, as_json)
        return
    rows = [
        one
        | {"problem": "; ".join(f"{fault['field']}: {fault['problem']}" for fault in one["faults"]) or None}
        for one in result.pop("rows")
    ]
    show(result, as_json)
    show_rows(rows, ("line", "outcome", "application", "problem"), as_json)
