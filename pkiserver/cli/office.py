"""`pkiserver office`: where people apply, and when it works."""

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.printing import show, show_rows


@click.group("office", cls=CommandGroup)
def office_group() -> None:
    """Offices where people apply, with their hours."""


@office_group.command("add")
@click.argument("code")
@click.option("--name", required=True, help="What it is called.")
@click.option(
    "--kind",
    type=click.Choice(["branch", "service_centre", "mission"]),
    default="branch",
    show_default=True,
    help="What it is.",
)
@click.option("--opens", default="09:00", show_default=True, help="When it opens, by Mongolian time.")
@click.option("--closes", default="18:00", show_default=True, help="When it closes.")
@click.option("--break-from", default="13:00", show_default=True, help="When its break begins.")
@click.option("--break-to", default="14:00", show_default=True, help="When its break ends.")
@click.option("--weekdays", default="12345", show_default=True, help="Its working days; 1 is Monday.")
@JSON_OPTION
@click.pass_obj
def office_add(
    context: Context,
    code: str,
    name: str,
    kind: str,
    opens: str,
    closes: str,
    break_from: str,
    break_to: str,
    weekdays: str,
    as_json: bool,
) -> None:
    """Add an office, known by a code.

    \b
    Example:  pkiserver office add ub-1 --name 'Сүхбаатар дүүрэг'
    """
    result = context.command(
        "office.add",
        code=code,
        name=name,
        kind=kind,
        opens_at=opens,
        closes_at=closes,
        break_from=break_from,
        break_to=break_to,
        weekdays=weekdays,
    )
    show(result, as_json)


@office_group.command("list")
@JSON_OPTION
@click.pass_obj
def office_list(context: Context, as_json: bool) -> None:
    """List the offices by their codes.

    \b
    Example:  pkiserver office list
    """
    show_rows(context.command("office.list"), ("code", "name", "kind", "weekdays", "version"), as_json)


@office_group.command("show")
@click.argument("code")
@JSON_OPTION
@click.pass_obj
def office_show(context: Context, code: str, as_json: bool) -> None:
    """Show an office: its hours in minutes after midnight, and the days that differ from its week.

    \b
    Example:  pkiserver office show ub-1
    """
    show(context.command("office.show", code=code), as_json)


@office_group.command("day")
@click.argument("code")
@click.argument("day")
@click.option("--works", is_flag=True, help="It works on that day; without this, it is closed.")
@JSON_OPTION
@click.pass_obj
def office_day(context: Context, code: str, day: str, works: bool, as_json: bool) -> None:
    """Say that an office is closed on a day, or works, whatever the day of the week.

    \b
    Example:  pkiserver office day ub-1 2026-07-10
    """
    show(context.command("office.day", code=code, day=day, works=works), as_json)
