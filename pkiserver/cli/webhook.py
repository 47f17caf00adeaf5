"""`pkiserver webhook`: who is pushed the register's events."""

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.printing import show, show_rows


@click.group("webhook", cls=CommandGroup)
def webhook_group() -> None:
    """Connected systems that events of the register are pushed to, such as e-Mongolia."""


@webhook_group.command("add")
@click.argument("name")
@click.argument("url")
@JSON_OPTION
@click.pass_obj
def webhook_add(context: Context, name: str, url: str, as_json: bool) -> None:
    """Have events pushed to a URL from now on. The secret that signs them is shown this once.

    \b
    Example:  pkiserver webhook add e-mongolia https://api.e-mongolia.mn/certificates
    """
    show(context.command("webhook.add", name=name, url=url), as_json)


@webhook_group.command("list")
@JSON_OPTION
@click.pass_obj
def webhook_list(context: Context, as_json: bool) -> None:
    """List webhooks, and up to which event letters to them are written.

    \b
    Example:  pkiserver webhook list
    """
    show_rows(context.command("webhook.list"), ("id", "name", "url", "written", "added_by"), as_json)


@webhook_group.command("remove")
@click.argument("webhook", type=int)
@JSON_OPTION
@click.pass_obj
def webhook_remove(context: Context, webhook: int, as_json: bool) -> None:
    """Remove a webhook. What waits for it is given up.

    \b
    Example:  pkiserver webhook remove 1
    """
    show(context.command("webhook.remove", webhook=webhook), as_json)


@webhook_group.command("resend")
@click.argument("webhook", type=int)
@click.option("--after", metavar="CURSOR", help="What follows this event; without it, all from the first.")
@JSON_OPTION
@click.pass_obj
def webhook_resend(context: Context, webhook: int, after: str | None, as_json: bool) -> None:
    """Push events once more, such as those that were given up while the system was away.

    \b
    Example:  pkiserver webhook resend 1 --after 1200-3
    """
    show(context.command("webhook.resend", webhook=webhook, after=after), as_json)
