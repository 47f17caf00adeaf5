"""`pkiserver clock`: the machine's clock, as the server sees it."""

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.printing import show


@click.group("clock", cls=CommandGroup)
def clock_group() -> None:
    """The machine's clock, as the server sees it."""


@clock_group.command("accept")
@JSON_OPTION
@click.pass_obj
def clock_accept(context: Context, as_json: bool) -> None:
    """Say that the clock is right now, although records of a later time are there.

    Only after the clock had been ahead by mistake and was corrected: issuing waits otherwise until the
    wrong time is reached.

    \b
    Example:  pkiserver clock accept
    """
    show(context.command("clock.accept"), as_json)
