"""`pkiserver plant`: the printing plant's batches, their cards and results."""

from typing import Final

import click

from pkiserver.bounds import MAX_NUMBER
from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION, LIMIT_OPTION
from pkiserver.printing import show, show_rows

_BATCH: Final = click.argument("number", type=click.IntRange(1, MAX_NUMBER))
_FAILURES: Final = ("carrier_refused", "damaged", "misprinted", "lost", "not_delivered")


@click.group("plant", cls=CommandGroup)
def plant_group() -> None:
    """The printing plant, which makes identity cards."""


@plant_group.group("batch", cls=CommandGroup)
def batch_group() -> None:
    """Batches of cards: pull one, look at it, report what became of each card."""


@batch_group.command("pull")
@click.option("--plant", required=True, metavar="NAME", help="The actor for whom it is pulled.")
@click.option("--size", type=int, default=50, show_default=True, help="How many cards at most.")
@click.option("--key", help="Repeated with the same key, a pull gives the same batch.  [default: a new key]")
@JSON_OPTION
@click.pass_obj
def batch_pull(context: Context, plant: str, size: int, key: str | None, as_json: bool) -> None:
    """Give a plant the applications that have waited longest for a card.

    \b
    Example:  pkiserver plant batch pull --plant plant-1 --size 20
    """
    show(context.command("plant.pull", plant=plant, size=size, key=key), as_json)


@batch_group.command("list")
@click.option(
    "--state",
    type=click.Choice(["open", "overdue", "closed", "all"]),
    default="open",
    show_default=True,
    help="Only those that are so now; those that are overdue are open, too.",
)
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def batch_list(context: Context, state: str, limit: int, as_json: bool) -> None:
    """List batches, the newest first.

    \b
    Example:  pkiserver plant batch list --state overdue
    """
    rows = context.command("plant.list", state=None if state == "all" else state, limit=limit)
    show_rows(rows, ("batch", "plant", "state", "size", "open_cards", "pulled_at", "due_at"), as_json)


@batch_group.command("show")
@_BATCH
@JSON_OPTION
@click.pass_obj
def batch_show(context: Context, number: int, as_json: bool) -> None:
    """Show the cards of a batch; with --json what is printed on them, too. The reading is in the audit log.

    \b
    Example:  pkiserver plant batch show 1
    """
    found = context.command("plant.show", batch=number)
    if as_json:
        show(found, as_json)
        return
    show_rows(
        found["cards"], ("card", "application", "attempt", "state", "profile", "serial", "carrier"), as_json
    )


@batch_group.command("report")
@_BATCH
@click.argument("card")
@click.option("--carrier", metavar="SERIAL", help="The serial of the card's chip: the card was made.")
@click.option("--failed", type=click.Choice(_FAILURES), help="The card was not made, or is not whole.")
@click.option("--reason", help="Why, for --failed; without personal data.")
@JSON_OPTION
@click.pass_obj
def batch_report(
    context: Context,
    number: int,
    card: str,
    carrier: str | None,
    failed: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Report what became of a card. One that failed is revoked, and its application waits again.

    \b
    Example:  pkiserver plant batch report 1 card-0v9wq4mx2k7ya3tz --carrier 04A1B2C3D4E5F6
              pkiserver plant batch report 1 card-0v9wq4mx2k7ya3tz --failed damaged --reason torn
    """
    result = context.command(
        "plant.report", batch=number, card=card, failure=failed, reason=reason, carrier=carrier
    )
    show(result, as_json)
