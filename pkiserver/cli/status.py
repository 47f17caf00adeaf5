"""`pkiserver status`: what the status of a certificate was."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import CA_OPTION, JSON_OPTION, SERIAL_ARGUMENT
from pkiserver.errors import ConflictError, RefusedError
from pkiserver.home import PRIVATE_FOLDER_MODE
from pkiserver.printing import show

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,40}\.[a-z]{2,5}|SHA256SUMS", re.ASCII)


@click.group("status", cls=CommandGroup)
def status_group() -> None:
    """What the status of a certificate was. SERIAL is hexadecimal."""


@status_group.command("at")
@SERIAL_ARGUMENT
@click.option("--time", required=True, metavar="TIME", help="When: RFC 3339, with its zone.")
@CA_OPTION
@click.option(
    "--evidence",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Also write what proves it to this new folder; its README.txt says how to check it.",
)
@click.option(
    "--head",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --evidence: a head that `audit head` wrote after the last event; the proof leads to it.",
)
@JSON_OPTION
@click.pass_obj
def status_at(
    context: Context,
    serial: str,
    time: str,
    ca: str | None,
    evidence: Path | None,
    head: Path | None,
    as_json: bool,
) -> None:
    """Say what the status of a certificate was at some time, from the history of its events.

    An event counts from its own second on.

    \b
    Examples:  pkiserver status at 5d2b… --time 2026-03-01T12:00:00Z
               pkiserver status at 5d2b… --time 2026-03-01T20:00:00+08:00 --evidence case-17
    """
    if evidence is None:
        if head is not None:
            raise click.UsageError("--head is for --evidence")
        show(context.command("status.at", serial=serial, ca=ca, time=time), as_json)
        return
    text = head.read_text(errors="replace") if head is not None else None
    with _new_folder(evidence) as folder:
        files = _FolderWriter(folder)
        answer = context.command("status.evidence", files.take, serial=serial, ca=ca, time=time, head=text)
        files.close()
    show(answer, as_json)


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Give a folder that becomes `path`, whole, when the block ends well."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConflictError(f"{path} is there already: evidence goes into a folder of its own")
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    try:
        folder.chmod(PRIVATE_FOLDER_MODE)
        yield folder
        folder.replace(path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class _FolderWriter:
    """Writes the files of a command, one after another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = ""
        self._file: BinaryIO | None = None

    async def take(self, name: str, piece: bytes) -> None:
        if _NAME.fullmatch(name) is None:
            raise RefusedError("the server sent a file of an unknown name")
        if name != self._name or self._file is None:
            self.close()
            self._file = (self._folder / name).open("xb")
            self._name = name
        self._file.write(piece)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
