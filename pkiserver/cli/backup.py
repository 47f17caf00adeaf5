"""`pkiserver backup` and `pkiserver restore`: all that a lost machine needs, in one sealed file."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from pkiserver.cli.context import Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.clock import Clock
from pkiserver.home import Home
from pkiserver.printing import progress, show
from pkiserver.process_limits import prepare_process
from pkiserver.signer.secret import forbid_dumps, read_secret

_PASSPHRASE_OPTION = click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the passphrase that seals the backup; without it you are asked.",
)


@click.command("backup")
@click.argument("destination", type=click.Path(path_type=Path))
@_PASSPHRASE_OPTION
@JSON_OPTION
@click.pass_obj
def backup_command(context: Context, destination: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Write all of this home to the new file DESTINATION, or into the folder of that name.

    One moment of it, while the server goes on: database, keys, configuration, profiles, TLS, administrator.
    The file is sealed with a passphrase.

    \b
    Examples:  pkiserver backup /backup
               pkiserver backup /backup/today.backup --passphrase-file /root/backup-passphrase
    """
    from pkiserver.backup.making import make_backup

    prepare_process()
    forbid_dumps()  # no core dump or debugger shows a passphrase or PIN
    home = context.finished_home()
    passphrase = _passphrase(passphrase_file, twice=True)
    begun = context.command("backup.begin")
    with progress() as tell:
        made = make_backup(home, destination, passphrase, begun["actor"], Clock().now(), tell)
    context.command("backup.done", sha256=made.sha256)
    shown: dict[str, Any] = {
        "file": str(made.file),
        "octets": made.octets,
        "sha256": made.sha256,
        "files": len(made.manifest.files),
        "audit_record": made.manifest.head.sequence,
        "audit_hash": made.manifest.head.hash,
        "event": made.manifest.events,
        "not_in_it": ", ".join(made.manifest.outside) or None,
    }
    show(shown, as_json)


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--home",
    "new_home",
    type=click.Path(path_type=Path),
    help="The new home, which must not be there yet or be empty; else that of the program.",
)
@click.option("--check", is_flag=True, help="Verify the backup and write nothing.")
@_PASSPHRASE_OPTION
@JSON_OPTION
@click.pass_obj
def restore_command(
    context: Context,
    file: Path,
    new_home: Path | None,
    check: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make a new home of the backup FILE; all of it is verified before anything is written.

    \b
    Examples:  pkiserver restore /backup/today.backup --home /srv/pki
               pkiserver restore /backup/today.backup --check
    """
    import asyncio

    from pkiserver.backup.restoring import restore_backup, verify_backup
    from pkiserver.control import local_actor

    prepare_process()
    forbid_dumps()  # no core dump or debugger shows a passphrase or PIN
    home = Home(new_home) if new_home is not None else context.home
    passphrase = _passphrase(passphrase_file, twice=False)
    with progress() as tell, file.open("rb") as source:
        if check:
            manifest = verify_backup(source, passphrase, tell)
        else:
            by = local_actor(os.getuid())
            manifest = asyncio.run(restore_backup(source, passphrase, home, by, Clock().now(), tell))
    shown: dict[str, Any] = {
        "home": None if check else str(home.path.absolute()),
        "made_at": manifest.made_at,
        "made_by": manifest.made_by,
        "program": manifest.program,
        "files": len(manifest.files),
        "audit_record": manifest.head.sequence,
        "audit_hash": manifest.head.hash,
        "event": manifest.events,
        "not_in_it": ", ".join(manifest.outside) or None,
    }
    show(shown, as_json)


def _passphrase(file: Path | None, *, twice: bool) -> str:
    """Return the passphrase of a backup, from a file closed to others or typed unseen."""
    if file is not None:
        return read_secret("passphrase", str(file), None)
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to type a passphrase at: name --passphrase-file")
    typed: str = click.prompt(
        "Passphrase of the backup", hide_input=True, confirmation_prompt=twice, err=True
    )
    return typed
