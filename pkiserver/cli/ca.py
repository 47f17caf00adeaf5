"""`pkiserver ca`: the authorities."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from pkiserver.bounds import MAX_LINE_BYTES
from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.errors import ConflictError
from pkiserver.home import PRIVATE_FILE_MODE
from pkiserver.printing import show, show_rows


@click.group("ca", cls=CommandGroup)
def ca_group() -> None:
    """The authorities of this installation."""


@ca_group.command("list")
@JSON_OPTION
@click.pass_obj
def ca_list(context: Context, as_json: bool) -> None:
    """List the authorities.

    \b
    Example:  pkiserver ca list
    """
    show_rows(context.command("ca.list"), ("name", "state", "parent", "not_after", "subject"), as_json)


@ca_group.command("show")
@click.argument("name")
@JSON_OPTION
@click.pass_obj
def ca_show(context: Context, name: str, as_json: bool) -> None:
    """Show an authority, its OCSP signer and its CRL.

    \b
    Example:  pkiserver ca show citizen
    """
    show(context.command("ca.show", name=name), as_json)


@ca_group.command("export")
@click.argument("name")
@click.option("--chain", is_flag=True, help="Also the certificates above it, the root last.")
@click.option("--der", is_flag=True, help="DER instead of PEM; one certificate only.")
@JSON_OPTION
@click.pass_obj
def ca_export(context: Context, name: str, chain: bool, der: bool, as_json: bool) -> None:
    """Write an authority's certificate to standard output.

    \b
    Example:  pkiserver ca export citizen --chain > citizen-chain.pem
    """
    if der and (chain or as_json):
        raise click.UsageError("--der writes one certificate: leave --chain and --json away")
    result = context.command("ca.export", name=name, chain=chain)
    certificates = result["certificates"]
    if as_json:
        show(result, as_json)
    elif der:
        import ssl

        sys.stdout.buffer.write(ssl.PEM_cert_to_DER_cert(certificates[0]))
        sys.stdout.buffer.flush()  # a closed pipe shows here, and not when the interpreter ends
    else:
        click.echo("".join(certificates), nl=False)


@ca_group.command("csr")
@click.argument("name")
@JSON_OPTION
@click.pass_obj
def ca_csr(context: Context, name: str, as_json: bool) -> None:
    """Write the request of an authority (PKCS #10, PEM) for an outside root to sign.

    \b
    Example:  pkiserver ca csr citizen > citizen.csr
    """
    show(context.command("ca.csr", name=name), as_json)


@ca_group.command("import")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@JSON_OPTION
@click.pass_obj
def ca_import(context: Context, name: str, file: Path, as_json: bool) -> None:
    """Take the certificate that an outside root gave an authority (PEM); first the root's own.

    \b
    Example:  pkiserver ca import root outside-root.pem
              pkiserver ca import citizen citizen.pem
    """
    show(context.command("ca.import", name=name, pem=_certificate_text(file)), as_json)


@ca_group.command("import-link")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@JSON_OPTION
@click.pass_obj
def ca_import_link(context: Context, file: Path, as_json: bool) -> None:
    """Take a link (PEM) by which two keys of an outside root certify each other: NewWithOld or OldWithNew.

    \b
    Example:  pkiserver ca import-link new-with-old.pem
    """
    show(context.command("ca.import_link", pem=_certificate_text(file)), as_json)


def _certificate_text(file: Path) -> str:
    if file.stat().st_size > MAX_LINE_BYTES // 2:
        raise click.UsageError(f"{file} is too large for a certificate")
    return file.read_text("ascii", "replace")


@ca_group.command("rollover")
@click.argument("name")
@click.option("--prepare", "step", flag_value="prepare", help="Make the next key and its certificate.")
@click.option("--publish", "step", flag_value="publish", help="Let everybody know the next certificate.")
@click.option("--activate", "step", flag_value="activate", help="Have the next key issue.")
@click.option("--cancel", "step", flag_value="cancel", help="Take back the time that --activate --at set.")
@click.option("--drop", "step", flag_value="drop", help="Give the next key up; its certificate is revoked.")
@click.option("--status", "step", flag_value="status", help="Say how far it is (the default).")
@click.option("--at", metavar="TIME", help="With --activate: when (RFC 3339, with its zone); else at once.")
@JSON_OPTION
@click.pass_obj
def ca_rollover(context: Context, name: str, step: str | None, at: str | None, as_json: bool) -> None:
    """Have a new key follow an authority's present one, a step at a time.

    The former key goes on signing CRLs and the status of what it issued. Until the next one is active it
    can be given up: no certificate but its own OCSP signer's is of it.

    \b
    Example:  pkiserver ca rollover citizen --prepare
              pkiserver ca rollover citizen --publish
              pkiserver ca rollover citizen --activate --at 2031-01-01T00:00:00+08:00
              pkiserver ca rollover citizen --cancel
    """
    if at is not None and step != "activate":
        raise click.UsageError("--at is for --activate")
    arguments = {"name": name, "at": at} if step == "activate" else {"name": name}
    rows = context.command(f"ca.rollover.{step or 'status'}", **arguments)
    columns = ("name", "state", "not_after", "activate_at", "certificates", "next")
    show_rows(rows, columns, as_json)


@ca_group.command("compromise")
@click.argument("name")
@click.option(
    "--reissue",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="Write who must be enrolled anew to this new file (CSV; it names persons).",
)
@click.option("--yes", is_flag=True, help="Do not ask: for scripts and rehearsals.")
@JSON_OPTION
@click.pass_obj
def ca_compromise(context: Context, name: str, reissue: Path, yes: bool, as_json: bool) -> None:
    """End an authority whose key is no longer its own alone. This cannot be taken back.

    It issues nothing more; its certificate and everything it issued are revoked (cACompromise), its last CRL
    is published. One that was cut short is simply repeated.

    \b
    Example:  pkiserver ca compromise citizen --reissue citizen.csv
    """
    if not yes:
        question = f"Revoke {name} and every certificate that it issued, for ever?"
        click.confirm(question, abort=True, err=True)
    with private_file(reissue) as file:

        async def take(name: str, piece: bytes) -> None:  # noqa: ARG001 - there is one file only
            file.write(piece)

        result = context.command("ca.compromise", take, name=name, confirmed=True)
    show(result, as_json)


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """Give a new file, for its owner alone; it is gone again where the block fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE_MODE)
    except FileExistsError as error:
        raise ConflictError(f"{path} is there already: say another file") from error
    try:
        with open(descriptor, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise
