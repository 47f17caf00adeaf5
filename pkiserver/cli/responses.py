"""`pkiserver responses`: the table of OCSP responses, moved between machines."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.clock import Clock
from pkiserver.home import PRIVATE_FILE_MODE, replaced_file
from pkiserver.printing import progress, show

if TYPE_CHECKING:
    from pkiserver.status.transfer import Moved

_DASH: Final = Path("-")


@click.group("responses", cls=CommandGroup)
def responses_group() -> None:
    """The table of OCSP responses, and the CRLs and CA certificates served beside it."""


@responses_group.command("export")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--no-public", is_flag=True, help="Leave out the CRLs and CA certificates.")
@JSON_OPTION
@click.pass_obj
def responses_export(context: Context, file: Path, no_public: bool, as_json: bool) -> None:
    """Write all that a status machine serves to FILE, or to standard output for "-".

    One snapshot of the table, while the server goes on.

    \b
    Examples:  pkiserver responses export status.bin
               pkiserver responses export - | ssh status1 pkiserver responses import -
    """
    from pkiserver.status.transfer import export_responses

    home = context.ready_home()
    with progress() as tell, _written(file) as out:
        moved = export_responses(home, out, Clock().now(), tell, public=not no_public)
    if file != _DASH:
        show(_shown_move(moved), as_json)


@contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    if file != _DASH:
        with replaced_file(file, PRIVATE_FILE_MODE) as out:
            yield out
    elif sys.stdout.isatty():
        raise click.UsageError("an export is not to be read: send it to a file or another program")
    else:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()


@responses_group.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--allow-older", is_flag=True, help="Also one that is older than what is served.")
@JSON_OPTION
@click.pass_obj
def responses_import(context: Context, file: Path, allow_older: bool, as_json: bool) -> None:
    """Serve what is in FILE, or comes on standard input for "-", in place of what is served now.

    A server of the role status takes it up by itself. Whatever is wrong with the file, nothing changes.

    \b
    Example:  pkiserver responses import status.bin
    """
    from pkiserver.status.transfer import import_responses

    home = context.ready_home()
    with progress() as tell, _read(file) as source:
        moved = import_responses(home, source, Clock().now(), tell, allow_older=allow_older)
    show(_shown_move(moved), as_json)


@contextmanager
def _read(file: Path) -> Iterator[BinaryIO]:
    if file == _DASH:
        yield sys.stdin.buffer
    else:
        with file.open("rb") as source:
            yield source


def _shown_move(moved: "Moved") -> dict[str, Any]:
    return asdict(moved) | {"exported_at": moved.exported_at.isoformat()}
