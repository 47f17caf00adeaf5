"""`pkiserver register`: what happened to certificates, in the order in which it is told to others."""

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
