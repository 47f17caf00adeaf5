"""`pkiserver register`, `pkiserver report`: what happened to certificates, one by one and counted."""

from typing import Any, Final

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION, LIMIT_OPTION
from pkiserver.printing import show_rows


@click.group("register", cls=CommandGroup)
def register_group() -> None:
    """What happened to certificates, as connected systems are told."""


@register_group.command("events")
@click.option("--after", metavar="CURSOR", help="Those behind this one.")
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def register_events(context: Context, after: str | None, limit: int, as_json: bool) -> None:
    """List events of the register, the oldest first: issued, suspended, restored, revoked, expired.

    \b
    Example:  pkiserver register events --after 1200-3
    """
    result = context.command("register.events", after=after, limit=limit)
    show_rows(result, ("cursor", "event", "ca", "serial", "at", "channel", "office"), as_json)


@click.command("report")
@click.option("--from", "first", required=True, metavar="DAY", help="The first day, such as 2026-07-01.")
@click.option("--to", "last", required=True, metavar="DAY", help="The last day.")
@click.option(
    "--each",
    type=click.Choice(["whole", "month", "day"]),
    default="whole",
    show_default=True,
    help="How the time is divided.",
)
@click.option("--office", metavar="CODE", help="Only this office.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, in which nothing begins as a formula does.")
@JSON_OPTION
@click.pass_obj
def report_command(
    context: Context, first: str, last: str, each: str, office: str | None, as_csv: bool, as_json: bool
) -> None:
    """Count by office and channel what was issued, returned, suspended, restored and revoked.

    Days are those of Mongolia. Deadlines of cases count in the time in which they lay: kept, or missed.

    \b
    Example:  pkiserver report --from 2026-01-01 --to 2026-12-31 --each month --csv
    """
    result = context.command("report", first=first, last=last, each=each, office=office, csv=as_csv)
    if as_csv:
        click.echo(result["csv"], nl=False)
        return
    columns = ("first", "office", "channel", "issued", "returned", "suspended", "restored", "revoked")
    show_rows(result["lines"], (*columns, "deadlines_kept", "deadlines_missed"), as_json)


_TIMELINE: Final = ("at", "event", "actor", "ground", "note", "serial", "application", "case", "letter")


def show_timeline(result: dict[str, Any], as_json: bool) -> None:
    """Print a part of a timeline, and on standard error how to go on."""
    show_rows(result["entries"], _TIMELINE, as_json)
    if result["next"] is not None:
        click.echo(f"There is more: --after {result['next']}", err=True)
