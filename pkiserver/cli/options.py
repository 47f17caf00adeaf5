"""Options and arguments that several commands have."""

import click

from pkiserver.bounds import MAX_LIST

JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
CA_OPTION = click.option("--ca", metavar="NAME", help="The authority, where a serial alone is not enough.")
SERIAL_ARGUMENT = click.argument("serial")
AFTER_OPTION = click.option(
    "--after", metavar="LAST", help="Go on behind this one, the last that was listed before."
)
LIMIT_OPTION = click.option(
    "--limit",
    type=click.IntRange(1, MAX_LIST),
    default=100,
    show_default=True,
    help="How many at most.",
)
