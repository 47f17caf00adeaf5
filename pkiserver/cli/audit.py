"""`pkiserver audit`: the audit log."""

import json
from pathlib import Path

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION, LIMIT_OPTION
from pkiserver.printing import show, show_rows


@click.group("audit", cls=CommandGroup)
def audit_group() -> None:
    """The audit log."""


@audit_group.command("list")
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def audit_list(context: Context, limit: int, as_json: bool) -> None:
    """List the records, the newest first: who did what, and how it ended.

    \b
    Example:  pkiserver audit list --limit 20
    """
    rows = context.command("audit.list", limit=limit)
    show_rows(rows, ("sequence", "at", "actor", "action", "outcome", "detail"), as_json)


@audit_group.command("verify")
@click.option(
    "--head",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A head that `audit head` wrote earlier: proves that no tail was cut since.",
)
@JSON_OPTION
@click.pass_obj
def audit_verify(context: Context, head: Path | None, as_json: bool) -> None:
    """Check the whole chain; fails at the first record that was altered, removed or moved.

    \b
    Example:  pkiserver audit head > monday.json
              pkiserver audit verify --head monday.json
    """
    text = head.read_text(errors="replace") if head is not None else None
    show(context.command("audit.verify", head=text), as_json)


@audit_group.command("check-evidence")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--head",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The head that the evidence was made with: nobody can have written the records after it was kept.",
)
@JSON_OPTION
def audit_check_evidence(folder: Path, head: Path | None, as_json: bool) -> None:
    """Check the evidence that `status at --evidence` wrote: its files, audit proof, events and answer.

    Needs no home. Signatures of CRL and OCSP response are for openssl, as the README.txt there shows.

    \b
    Example:  pkiserver audit check-evidence case-17
    """
    from pkiserver.audit import Head
    from pkiserver.evidence_check import check_evidence

    kept = Head.parse(head.read_text(errors="replace")) if head is not None else None
    checked = check_evidence(folder, kept)
    show(
        {
            "serial": checked.serial,
            "time": checked.time,
            "status": checked.status,
            "events": checked.events,
            "files": checked.files,
            "audit_record": checked.head.sequence,
            "audit_hash": checked.head.hash,
        },
        as_json,
    )


@audit_group.command("head")
@click.option("--json", is_flag=True, expose_value=False, help="As always: this command prints JSON.")
@click.pass_obj
def audit_head(context: Context) -> None:
    """Print the end of the chain as JSON, to be kept elsewhere.

    \b
    Example:  pkiserver audit head > monday.json
    """
    click.echo(json.dumps(context.command("audit.head")))
