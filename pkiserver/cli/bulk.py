"""`pkiserver bulk`: acts on very many certificates; who confirms one does so over the API."""

from pathlib import Path

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import AFTER_OPTION, CA_OPTION, JSON_OPTION, LIMIT_OPTION
from pkiserver.printing import show, show_rows

MAX_FILE_BYTES = 512 << 10  # 10,000 serial numbers


@click.group("bulk", cls=CommandGroup)
def bulk_group() -> None:
    """Suspend, restore or revoke very many certificates at once."""


@bulk_group.command("start")
@click.option(
    "--kind", required=True, type=click.Choice(["suspend", "restore", "revoke"]), help="What is to be done."
)
@click.option("--ground", required=True, help="Why, such as key_compromised or cause_gone.")
@click.option("--organization", metavar="NUMBER", help="Those of its officers.")
@CA_OPTION
@click.option("--profile", metavar="NAME", help="Of the authority, those of this profile.")
@click.option("--issued-from", metavar="TIME", help="Of the authority, those issued then or later.")
@click.option("--issued-until", metavar="TIME", help="Of the authority, those issued before.")
@click.option(
    "--serials",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with a serial number a line.",
)
@click.option("--lifts", type=int, metavar="ACT", help="To restore: the bulk act that suspended them.")
@click.option("--letter", metavar="NUMBER", help="The paper that it follows from.")
@JSON_OPTION
@click.pass_obj
def bulk_start(
    context: Context,
    kind: str,
    ground: str,
    organization: str | None,
    ca: str | None,
    profile: str | None,
    issued_from: str | None,
    issued_until: str | None,
    serials: Path | None,
    lifts: int | None,
    letter: str | None,
    as_json: bool,
) -> None:
    """Propose a bulk act; it begins when a second person confirms it over the API.

    \b
    Example:  pkiserver bulk start --kind suspend --ground key_compromised --ca citizen
              pkiserver bulk start --kind restore --ground cause_gone --lifts 1
    """
    if serials is not None and serials.stat().st_size > MAX_FILE_BYTES:
        raise click.UsageError(f"{serials} is over {MAX_FILE_BYTES >> 10} KiB: divide it")
    result = context.command(
        "bulk.propose",
        kind=kind,
        ground=ground,
        organization=organization,
        ca=ca,
        profile=profile,
        issued_from=issued_from,
        issued_until=issued_until,
        serials=[] if serials is None else serials.read_text().split(),
        lifts=lifts,
        evidence={} if letter is None else {"letter": letter},
    )
    show(result, as_json)


@bulk_group.command("list")
@click.option(
    "--state",
    type=click.Choice(["proposed", "running", "stopped", "done", "refused"]),
    help="Those in this state.",
)
@AFTER_OPTION
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def bulk_list(context: Context, state: str | None, after: str | None, limit: int, as_json: bool) -> None:
    """List bulk acts, the newest first.

    \b
    Example:  pkiserver bulk list --state proposed
    """
    result = context.command("bulk.list", state=state, after=after, limit=limit)
    show_rows(result, ("id", "kind", "ground", "state", "certificates", "done", "batches"), as_json)


@bulk_group.command("status")
@click.argument("act", type=int)
@JSON_OPTION
@click.pass_obj
def bulk_status(context: Context, act: int, as_json: bool) -> None:
    """Show a bulk act and how far it is.

    \b
    Example:  pkiserver bulk status 1
    """
    show(context.command("bulk.show", act=act), as_json)


@bulk_group.command("stop")
@click.argument("act", type=int)
@click.option("--version", required=True, type=int, help="The version that you saw.")
@JSON_OPTION
@click.pass_obj
def bulk_stop(context: Context, act: int, version: int, as_json: bool) -> None:
    """Stop a bulk act between two batches; what is done stays done.

    \b
    Example:  pkiserver bulk stop 1 --version 2
    """
    show(context.command("bulk.stop", act=act, version=version), as_json)


@bulk_group.command("resume")
@click.argument("act", type=int, required=False)
@JSON_OPTION
@click.pass_obj
def bulk_resume(context: Context, act: int | None, as_json: bool) -> None:
    """Carry out what is confirmed, and follow it to its end; of a stopped act, say which.

    A running server does so by itself, and after a crash goes on where it was.

    \b
    Example:  pkiserver bulk resume
              pkiserver bulk resume 1
    """
    show(context.command("bulk.resume", act=act), as_json)
