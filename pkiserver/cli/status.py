"""`pkiserver status`: what the status of a certificate was."""

from pathlib import Path

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.new_folder import FolderWriter, new_folder
from pkiserver.cli.options import CA_OPTION, JSON_OPTION, SERIAL_ARGUMENT
from pkiserver.printing import show


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
    with new_folder(evidence) as folder:
        files = FolderWriter(folder)
        answer = context.command("status.evidence", files.take, serial=serial, ca=ca, time=time, head=text)
        files.close()
    show(answer, as_json)
