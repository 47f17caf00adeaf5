"""`pkiserver token`: the tokens of an organisation, received, assigned, returned and lost."""

import base64
from pathlib import Path

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION, LIMIT_OPTION, read_secret_line
from pkiserver.printing import show, show_rows

MAX_FILE_BYTES = 64 << 10
ORGANIZATION_OPTION = click.option(
    "--organization", "number", required=True, metavar="NUMBER", help="Whose tokens they are."
)


@click.group("token", cls=CommandGroup)
def token_group() -> None:
    """The tokens of organisations."""


@token_group.command("receive")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@ORGANIZATION_OPTION
@click.option("--paper", required=True, help="The paper that they came with.")
@JSON_OPTION
@click.pass_obj
def token_receive(context: Context, file: Path, number: str, paper: str, as_json: bool) -> None:
    """Take in the tokens of a file, a serial number a line; given again, they are known.

    \b
    Example:  pkiserver token receive tokens.csv --organization 1234567 --paper "act 12"
    """
    if file.stat().st_size > MAX_FILE_BYTES:
        raise click.UsageError(f"{file} is over {MAX_FILE_BYTES >> 10} KiB: divide it")
    content = base64.b64encode(file.read_bytes()).decode("ascii")
    show(context.command("token.receive", number=number, content=content, paper=paper), as_json)


@token_group.command("list")
@ORGANIZATION_OPTION
@click.option(
    "--state",
    type=click.Choice(["blank", "issued", "blocked", "lost", "damaged", "retired"]),
    help="Those in this state.",
)
@click.option("--after", type=int, default=0, metavar="ID", help="Those behind this one, for the next page.")
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def token_list(
    context: Context, number: str, state: str | None, after: int, limit: int, as_json: bool
) -> None:
    """List the tokens of an organisation in the order they came in.

    \b
    Example:  pkiserver token list --organization 1234567 --state blank
    """
    result = context.command("token.list", number=number, state=state, after=after, limit=limit)
    show_rows(result, ("id", "serial", "state", "person"), as_json)


@token_group.command("assign")
@click.argument("serial")
@ORGANIZATION_OPTION
@click.option("--application", required=True, type=int, help="Whose certificate is on it.")
@JSON_OPTION
@click.pass_obj
def token_assign(context: Context, serial: str, number: str, application: int, as_json: bool) -> None:
    """Note that a token bears the certificate of an application; one person may have several.

    \b
    Example:  pkiserver token assign T-0001 --organization 1234567 --application 7
    """
    result = context.command("token.assign", number=number, serial=serial, application=application)
    show(result, as_json)


@token_group.command("move")
@click.argument("serial")
@ORGANIZATION_OPTION
@click.option(
    "--event",
    required=True,
    type=click.Choice(["return", "lose", "damage", "retire"]),
    help="What happened to it.",
)
@click.option("--ground", required=True, help="Why, or by which paper.")
@JSON_OPTION
@click.pass_obj
def token_move(context: Context, serial: str, number: str, event: str, ground: str, as_json: bool) -> None:
    """Note what happened to a token; what is on one that was returned or lost is revoked.

    \b
    Example:  pkiserver token move T-0001 --organization 1234567 --event lose --ground "letter 9"
    """
    result = context.command("token.move", number=number, serial=serial, event=event, ground=ground)
    show(result, as_json)


@token_group.command("keep-code")
@click.argument("serial")
@ORGANIZATION_OPTION
@JSON_OPTION
@click.pass_obj
def token_keep_code(context: Context, serial: str, number: str, as_json: bool) -> None:
    """Have the unblock code (PUK, SO PIN) of a token kept: typed unseen, or a line of standard input.

    It is released once, over the API, to who answers a challenge; then the token gets another one.

    \b
    Example:  pkiserver token keep-code T-0001 --organization 1234567
    """
    code = read_secret_line("Unblock code")
    show(context.command("token.keep-code", number=number, serial=serial, code=code), as_json)
