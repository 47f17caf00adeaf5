"""`pkiserver case`, `pkiserver letter`: written requests and their decisions, and what holders are told."""

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import CA_OPTION, JSON_OPTION, LIMIT_OPTION, SERIAL_ARGUMENT
from pkiserver.printing import show, show_rows


@click.group("case", cls=CommandGroup)
def case_group() -> None:
    """Requests to suspend, restore, revoke or unblock, and their decisions."""


@case_group.command("receive")
@SERIAL_ARGUMENT
@CA_OPTION
@click.option(
    "--kind",
    required=True,
    type=click.Choice(["suspend", "restore", "revoke", "unblock"]),
    help="What is asked.",
)
@click.option("--ground", default="holder_request", show_default=True, help="Why, such as carrier_missing.")
@click.option("--office", required=True, metavar="CODE", help="The office that received it.")
@click.option("--letter", metavar="NUMBER", help="The number of the written request.")
@JSON_OPTION
@click.pass_obj
def case_receive(
    context: Context,
    serial: str,
    ca: str | None,
    kind: str,
    ground: str,
    office: str,
    letter: str | None,
    as_json: bool,
) -> None:
    """Enter a written request about a certificate. It says until when it is to be decided.

    \b
    Example:  pkiserver case receive 5B1F... --kind suspend --office ub-1 --letter 2026/17
    """
    result = context.command(
        "case.receive",
        serial=serial,
        ca=ca,
        kind=kind,
        ground=ground,
        office=office,
        evidence={"letter": letter} if letter else {},
    )
    show(result, as_json)


@case_group.command("list")
@click.option("--office", metavar="CODE", help="Only those of this office.")
@click.option("--overdue", is_flag=True, help="Only those whose time is over.")
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def case_list(context: Context, office: str | None, overdue: bool, limit: int, as_json: bool) -> None:
    """List open cases, the most urgent first.

    \b
    Example:  pkiserver case list --office ub-1 --overdue
    """
    result = context.command("case.list", office=office, overdue=overdue, limit=limit)
    show_rows(result, ("id", "kind", "channel", "ground", "due_at", "serial"), as_json)


@case_group.command("show")
@click.argument("case", type=int)
@JSON_OPTION
@click.pass_obj
def case_show(context: Context, case: int, as_json: bool) -> None:
    """Show a case.

    \b
    Example:  pkiserver case show 7
    """
    show(context.command("case.show", case=case), as_json)


@case_group.command("decide")
@click.argument("case", type=int)
@click.option("--grant/--refuse", "granted", required=True, help="What is decided.")
@click.option("--ground", required=True, help="Why so; without personal data.")
@click.option("--version", required=True, type=int, help="The version that you saw.")
@JSON_OPTION
@click.pass_obj
def case_decide(context: Context, case: int, granted: bool, ground: str, version: int, as_json: bool) -> None:
    """Grant or refuse a case. What is granted is done with the decision.

    \b
    Example:  pkiserver case decide 7 --grant --ground "signature compared" --version 1
    """
    result = context.command("case.decide", case=case, granted=granted, ground=ground, version=version)
    show(result, as_json)


@click.group("letter", cls=CommandGroup)
def letter_group() -> None:
    """Letters to holders: what waits, what was sent, what was given up."""


@letter_group.command("list")
@click.option(
    "--state",
    type=click.Choice(["waiting", "sent", "given_up"]),
    default="waiting",
    show_default=True,
    help="Those in this state.",
)
@click.option("--before", type=int, metavar="ID", help="Those older than this one, for the next page.")
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def letter_list(context: Context, state: str, before: int | None, limit: int, as_json: bool) -> None:
    """List letters without what they say, the newest first.

    \b
    Example:  pkiserver letter list --state given_up
    """
    result = context.command("letter.list", state=state, before=before, limit=limit)
    show_rows(result, ("id", "template", "medium", "state", "attempts", "created_at", "failure"), as_json)
