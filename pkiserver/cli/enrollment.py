"""`pkiserver enrollment`: the queue of enrolments that await approval."""

from typing import Final

import click

from pkiserver.bounds import MAX_NUMBER
from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import AFTER_OPTION, JSON_OPTION, LIMIT_OPTION
from pkiserver.printing import show, show_page

_NUMBER: Final = click.argument("number", type=click.IntRange(1, MAX_NUMBER))
_STATES: Final = ("waiting", "approved", "refused", "issued", "expired")


@click.group("enrollment", cls=CommandGroup)
def enrollment_group() -> None:
    """Enrolments that await approval: look at them, approve, refuse."""


@enrollment_group.command("list")
@click.option(
    "--state",
    type=click.Choice([*_STATES, "all"]),
    default="waiting",
    show_default=True,
    help="Only those that are so now.",
)
@AFTER_OPTION
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def enrollment_list(context: Context, state: str, after: str | None, limit: int, as_json: bool) -> None:
    """List enrolments: those that wait by age, others with the newest first.

    \b
    Example:  pkiserver enrollment list --state refused
    """
    rows = context.command(
        "enrollment.list", state=None if state == "all" else state, after=after, limit=limit
    )
    show_page(
        rows,
        ("enrollment", "state", "profile", "requested_at", "asked_by", "subject"),
        as_json,
        limit,
        "enrollment",
    )


@enrollment_group.command("show")
@_NUMBER
@JSON_OPTION
@click.pass_obj
def enrollment_show(context: Context, number: int, as_json: bool) -> None:
    """Show an enrolment: the identity and the key that would be certified, and what became of it.

    \b
    Example:  pkiserver enrollment show 7
    """
    show(context.command("enrollment.show", enrollment=number), as_json)


@enrollment_group.command("approve")
@_NUMBER
@JSON_OPTION
@click.pass_obj
def enrollment_approve(context: Context, number: int, as_json: bool) -> None:
    """Approve an enrolment: its client gets the certificate when it asks again.

    \b
    Example:  pkiserver enrollment approve 7
    """
    show(context.command("enrollment.approve", enrollment=number), as_json)


@enrollment_group.command("refuse")
@_NUMBER
@click.option("--reason", required=True, help="Why, and what is to be done; the client is told.")
@JSON_OPTION
@click.pass_obj
def enrollment_refuse(context: Context, number: int, reason: str, as_json: bool) -> None:
    """Refuse an enrolment that waits, or take back an approval of which nothing was made yet.

    \b
    Example:  pkiserver enrollment refuse 7 --reason "the device is not in the inventory"
    """
    show(context.command("enrollment.refuse", enrollment=number, reason=reason), as_json)
