"""Options and arguments that several commands have."""

import sys
from typing import Final

import click

from pkiserver.bounds import MAX_LIST

MAX_LINE_CHARACTERS: Final = 200
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


def read_number() -> str:
    """Return a number of a person, typed by somebody or the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt("Number", err=True))
    line = sys.stdin.readline(MAX_LINE_CHARACTERS)
    if not line.strip():
        raise click.UsageError("there is no number on standard input")
    return line.strip()


def read_secret_line(what: str) -> str:
    """Return a secret, typed unseen and twice, or the first line of standard input without its end."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, confirmation_prompt=True, err=True))
    line = sys.stdin.readline(MAX_LINE_CHARACTERS).rstrip("\r\n")
    if not line:
        raise click.UsageError("there is nothing on standard input")
    return line
