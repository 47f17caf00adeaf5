"""`pkiserver document`: forms, acknowledgements and decisions as PDF."""

from pathlib import Path
from typing import Final

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.errors import RefusedError
from pkiserver.printing import show, show_rows

_FILE: Final = "document.pdf"  # as the command calls it
_APPLICATION_OPTION = click.option("--application", type=int, metavar="ID", help="Of this application.")
_CASE_OPTION = click.option("--case", type=int, metavar="ID", help="Of this case.")


@click.group("document", cls=CommandGroup)
def document_group() -> None:
    """Forms, acknowledgements and decisions as PDF. Who reads one is in the audit log."""


@document_group.command("make")
@_APPLICATION_OPTION
@_CASE_OPTION
@click.option(
    "--kind", type=click.Choice(["application_form", "acknowledgement"]), help="What, of an application."
)
@click.option(
    "--language", type=click.Choice(["mn", "en"]), default="mn", show_default=True, help="In which language."
)
@JSON_OPTION
@click.pass_obj
def document_make(
    context: Context,
    application: int | None,
    case: int | None,
    kind: str | None,
    language: str,
    as_json: bool,
) -> None:
    """Make a document of what is on record. Made again of the same, it is the one that there is.

    The form once there is a certificate, the acknowledgement once the carrier is handed over, the decision of
    a case once it is decided.

    \b
    Examples:  pkiserver document make --application 17 --kind application_form
               pkiserver document make --case 7 --language en
    """
    result = context.command(
        "document.make", application=application, case=case, kind=kind, language=language
    )
    show(result, as_json)


@document_group.command("list")
@_APPLICATION_OPTION
@_CASE_OPTION
@JSON_OPTION
@click.pass_obj
def document_list(context: Context, application: int | None, case: int | None, as_json: bool) -> None:
    """List the documents of an application or a case, the oldest first.

    \b
    Example:  pkiserver document list --application 17
    """
    result = context.command("document.list", application=application, case=case)
    show_rows(result, ("id", "kind", "language", "octets", "sha256", "made_at", "erased_at"), as_json)


@document_group.command("read")
@click.argument("document", type=int)
@_APPLICATION_OPTION
@_CASE_OPTION
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The new file that it is written to.",
)
@JSON_OPTION
@click.pass_obj
def document_read(
    context: Context, document: int, application: int | None, case: int | None, out: Path, as_json: bool
) -> None:
    """Write a document to a new file, which its owner alone can read.

    \b
    Example:  pkiserver document read 3 --application 17 --out form-17.pdf
    """
    pieces: list[bytes] = []

    async def take(name: str, piece: bytes) -> None:
        if name != _FILE:
            raise RefusedError("the server sent another file")
        pieces.append(piece)

    result = context.command("document.read", take, document=document, application=application, case=case)
    with out.open("xb") as file:
        file.write(b"".join(pieces))
    show(result, as_json)
