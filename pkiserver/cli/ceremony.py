"""`pkiserver ceremony`: keys, certificates and CRLs made from a reviewed and signed file."""

import os
from pathlib import Path

import click

from pkiserver.cli.context import Context
from pkiserver.clock import Clock
from pkiserver.home import Home
from pkiserver.process_limits import prepare_process
from pkiserver.signer.secret import forbid_dumps

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("ceremony")
@click.argument("file", type=_FILE)
@click.option("--dry-run", is_flag=True, help="Show all of it, made with keys that are thrown away.")
@click.option(
    "--transcript",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for what is made and the transcript; else the file's name without its ending.",
)
@click.option(
    "--operators",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The register of operators and their quorum; else operators.toml in the home folder.",
)
@click.option(
    "--signature",
    "signatures",
    type=_FILE,
    multiple=True,
    help="An operator's detached CMS signature over FILE; as many as the quorum needs.",
)
@click.option(
    "--witnessed",
    type=_FILE,
    help="The witness's detached CMS signature over transcript.pdf: verify and keep it, make nothing.",
)
@click.option("--yes", is_flag=True, help="Do not ask before the first key is touched.")
@click.pass_obj
def ceremony_command(
    context: Context,
    file: Path,
    dry_run: bool,
    transcript: Path | None,
    operators: Path | None,
    signatures: tuple[Path, ...],
    witnessed: Path | None,
    yes: bool,
) -> None:
    """Make the keys, certificates, requests and CRLs that FILE says, once, and a signed transcript.

    Needs no home. A ceremony that was cut short is taken up by the same command.

    \b
    Examples:  pkiserver ceremony root.toml --dry-run
               pkiserver ceremony root.toml --operators operators.toml \\
                   --signature bold.p7s --signature saran.p7s --transcript root-2026
               pkiserver ceremony root.toml --transcript root-2026 --witnessed notary.p7s
    """
    from pkiserver.ceremony.inputs import read_bounded, read_ceremony
    from pkiserver.ceremony.journal import Journal
    from pkiserver.ceremony.performing import Approval, accept_witnessed, perform, rehearse
    from pkiserver.ceremony.quorum import check_quorum, read_register
    from pkiserver.ceremony.transcript import as_text
    from pkiserver.control import local_actor

    prepare_process()
    forbid_dumps()  # no core dump or debugger shows a passphrase or PIN
    read, clock, by = read_ceremony(file), Clock(), local_actor(os.getuid())
    folder = transcript or file.with_suffix("")
    if dry_run:
        click.echo(as_text(rehearse(read, by, clock, lambda _product: None)), nl=False)
        return
    if witnessed is not None:
        kept = accept_witnessed(read, folder, read_bounded(witnessed))
        click.echo(f"The witness signed {folder / 'transcript.pdf'}: kept as {kept}.")
        return
    register = read_register(operators or _register(context.home))
    approval = Approval(register, [read_bounded(path) for path in signatures])
    signed_by = check_quorum(read.content, approval.signatures, register, clock.now())
    if not yes:
        names = ", ".join(one.name for one in signed_by)
        click.echo(f"file      {read.sha256}\noperators {register.sha256}\nsigned by {names}", err=True)
        if Journal.is_in(folder):
            click.echo(f"goes on   with the ceremony that was begun in {folder}", err=True)
        click.confirm("Make the keys and certificates of this file?", abort=True, err=True)
    perform(
        read,
        approval,
        folder,
        by,
        clock,
        lambda product: click.echo(f"made {product.kind} {product.name}", err=True),
    )
    click.echo(f"The transcript is {folder / 'transcript.pdf'}; verify its signature, print it and sign it.")


def _register(home: Home) -> Path:
    return home.path / "operators.toml"
