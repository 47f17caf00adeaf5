"""`pkiserver archive`: units of applications and cases for the archive: exported, verified, handed over."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.errors import ConflictError, PKIServerError, RefusedError
from pkiserver.printing import progress, show

_PRIVATE: Final = 0o700
_TOLD_EACH: Final = 25  # units; each takes up to half a second, where its documents have to be made
_NOTHING: Final = "nothing waits for the archive: all that ended before then was handed over"


@click.group("archive", cls=CommandGroup)
def archive_group() -> None:
    """What is handed over to the archive of civil documents: signed units in a folder."""


@archive_group.command("export")
@click.option("--until", metavar="TIME", help="All that ended before then and nobody took. Without: now.")
@click.option("--application", type=int, multiple=True, metavar="ID", help="Only this one; repeatable.")
@click.option("--case", type=int, multiple=True, metavar="ID", help="Only this one; repeatable.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@JSON_OPTION
@click.pass_obj
def archive_export(
    context: Context,
    until: str | None,
    application: tuple[int, ...],
    case: tuple[int, ...],
    folder: Path,
    as_json: bool,
) -> None:
    """Write a package of archive units to a new folder; cut short, the same command goes on with it.

    A thousand units at most go into one; give it again with another folder after the hand-over. Documents
    that are missing are made. What cannot be exported is named, and the rest is.

    \b
    Examples:  pkiserver archive export --until 2026-08-01T00:00:00+08:00 archive-2026-07
               pkiserver archive export --application 17 --case 7 archive-17
    """
    if folder.exists():
        raise ConflictError(f"{folder} is there already: a package goes into a folder of its own")
    root = _root(context, None)
    wanted = _wanted(context, until, application, case)
    begun = folder.with_name(f"{folder.name}.part")
    begun.mkdir(mode=_PRIVATE, exist_ok=True)
    units, refused = [], {}
    for done, one in enumerate(wanted, start=1):
        try:
            units.append(_unit(context, begun, one, root))
        except PKIServerError as error:
            refused[_folder(one)] = str(error)
        if done % _TOLD_EACH == 0:
            click.echo(f"archive units: {done} of {len(wanted)}", err=True)
    if not units:
        raise RefusedError(f"no unit can be exported: {next(iter(refused.values()))}")
    _remove_others(begun, {_folder(one) for one in wanted} - set(refused))
    sealed = _sealed(context, begun, units)
    _sync(begun)
    begun.rename(folder)
    _sync(folder.absolute().parent)
    show(sealed | {"refused": refused}, as_json)


def _wanted(
    context: Context, until: str | None, application: tuple[int, ...], case: tuple[int, ...]
) -> list[dict[str, Any]]:
    if application or case:
        if until is not None:
            raise click.UsageError("--until is for all that ended; --application and --case name some")
        chosen = [{"application": one, "case": None} for one in dict.fromkeys(application)]
        return [*chosen, *({"application": None, "case": one} for one in dict.fromkeys(case))]
    found: list[dict[str, Any]] = context.command("archive.pending", until=until)
    if not found:
        raise RefusedError(_NOTHING)
    return found


def _folder(one: dict[str, Any]) -> str:
    return f"case-{one['case']}" if one["application"] is None else f"application-{one['application']}"


def _unit(context: Context, begun: Path, one: dict[str, Any], root: Any) -> int:
    """Return the number of a unit that is in the folder whole; one that was written before is looked over."""
    from pkiserver.archive.verifying import ArchiveError, verify_unit

    there = begun / _folder(one)
    if there.is_dir():
        try:
            return verify_unit(there, root, f"{there.name}/").number
        except ArchiveError:
            shutil.rmtree(there)
    with _whole(there) as made:
        answer = context.command(
            "archive.unit", _Writer(made).take, application=one["application"], case=one["case"]
        )
    return int(answer["unit"])


def _sealed(context: Context, begun: Path, units: list[int]) -> dict[str, Any]:
    from pkiserver.archive.manifest import PACKAGE, SIGNATURES

    for name in (PACKAGE, SIGNATURES[PACKAGE]):  # of an export that was cut short
        (begun / name).unlink(missing_ok=True)
    answer: dict[str, Any] = context.command("archive.seal", _Writer(begun).take, units=units)
    return answer


def _remove_others(begun: Path, wanted: set[str]) -> None:
    """Remove what an earlier export, cut short, wrote of something else."""
    for one in begun.iterdir():
        if one.is_dir() and one.name not in wanted:
            shutil.rmtree(one)


class _Writer:
    """Writes the files of a command to a folder, each durably."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def take(self, name: str, piece: bytes) -> None:
        from pkiserver.archive.manifest import FILE_NAME, SIGNATURES

        if FILE_NAME.fullmatch(name) is None and name not in SIGNATURES.values() and name != "receipt.p7s":
            raise RefusedError("the server sent a file of an unknown name")
        with (self._folder / name).open("ab") as file:  # a long file comes in pieces
            file.write(piece)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a folder that becomes `path` when the block ends well, on disk before that."""
    made = path.with_name(f".{path.name}.new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(mode=_PRIVATE)
    try:
        yield made
        _sync(made)
        made.rename(path)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _root(context: Context, path: Path | None) -> Any:
    from cryptography import x509

    chosen = path if path is not None else context.home.public / "ca" / "root.pem"
    if not chosen.is_file():
        raise RefusedError(f"there is no certificate {chosen}: name the root with --root")
    return x509.load_pem_x509_certificate(chosen.read_bytes())


@archive_group.command("verify")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--root",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The root certificate that is trusted, PEM. Without: that of the home.",
)
@JSON_OPTION
@click.pass_obj
def archive_verify(context: Context, folder: Path, root: Path | None, as_json: bool) -> None:
    """Check a package, or one unit of it: signatures, hashes, nothing missing or added. Needs no server.

    It names the first file that is wrong.

    \b
    Example:  pkiserver archive verify archive-2026-07 --root root.pem
    """
    from pkiserver.archive.verifying import verify_folder

    with progress() as tell:
        found = verify_folder(folder, _root(context, root), tell)
    values = {"kind": found.kind, "number": found.number, "made_at": found.made_at}
    show(values | {"units": found.units, "files": found.files}, as_json)


@archive_group.command("receipt")
@click.argument("package", type=int)
@click.option("--taken-by", required=True, metavar="NAME", help="Who took it.")
@click.option("--number", required=True, help="The number of the hand-over in the archive's own book.")
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The new folder for the signed receipt.",
)
@JSON_OPTION
@click.pass_obj
def archive_receipt(
    context: Context, package: int, taken_by: str, number: str, out: Path, as_json: bool
) -> None:
    """Record that a package was taken, and write the signed receipt. Its applications are closed by it.

    \b
    Example:  pkiserver archive receipt 1 --taken-by 'Д. Оюун' --number 2026/17 --out receipt-1
    """
    if out.exists():
        raise ConflictError(f"{out} is there already: a receipt goes into a folder of its own")
    with _whole(out) as made:
        answer = context.command(
            "archive.receipt", _Writer(made).take, package=package, taken_by=taken_by, number=number
        )
    show(answer, as_json)


@archive_group.command("purge")
@click.argument("kind", type=click.Choice(["application", "case"]))
@click.option("--ground", required=True, help="Why; without personal data.")
@JSON_OPTION
@click.pass_obj
def archive_purge(context: Context, kind: str, ground: str, as_json: bool) -> None:
    """Ask that documents are erased whose retention is over. Another administrator confirms it.

    \b
    Example:  pkiserver archive purge application --ground 'retention is over'
    """
    show(context.command("archive.purge", kind=kind, ground=ground), as_json)


@archive_group.command("confirm-purge")
@click.argument("purge", type=int)
@JSON_OPTION
@click.pass_obj
def archive_confirm_purge(context: Context, purge: int, as_json: bool) -> None:
    """Erase the documents that another administrator asked to erase. It cannot be undone.

    \b
    Example:  pkiserver archive confirm-purge 1
    """
    show(context.command("archive.confirm-purge", purge=purge), as_json)
