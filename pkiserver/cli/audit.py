"""`pkiserver audit`: the audit log."""

import base64
import json
from pathlib import Path
from typing import Final

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.new_folder import FolderWriter, new_folder
from pkiserver.cli.options import JSON_OPTION, LIMIT_OPTION
from pkiserver.errors import RefusedError
from pkiserver.printing import show, show_rows

_MAX_HEADS_OCTETS: Final = 256 << 20  # ten years of heads, an hour each, take some 200 MiB
_COMMAND_CHARACTERS: Final = 600_000  # of heads; a request to the server is a line of at most 1 MiB


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
@click.option(
    "--heads",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Signed heads kept elsewhere: the file of heads, a mail, or a log of syslog.",
)
@JSON_OPTION
@click.pass_obj
def audit_verify(context: Context, head: Path | None, heads: Path | None, as_json: bool) -> None:
    """Check the whole chain and all signed heads; fails at the first record that is not right.

    Heads that are kept here prove nothing against who can write to the database: give those kept elsewhere.

    \b
    Examples:  pkiserver audit verify --heads /mnt/other/audit-heads.pem
               pkiserver audit head > monday.json
               pkiserver audit verify --head monday.json
    """
    text = head.read_text(errors="replace") if head is not None else None
    given = _read_heads(heads) if heads is not None else None
    result = context.command("audit.verify", head=text)
    if given is not None:
        result |= _check_heads(context, *given)
    show(result, as_json)


def _read_heads(path: Path) -> tuple[list[bytes], int]:
    from pkiserver.audit_heads.signed_head import heads_in

    if path.stat().st_size > _MAX_HEADS_OCTETS:
        raise RefusedError(f"{path} is larger than {_MAX_HEADS_OCTETS >> 20} MiB: split it")
    found, unreadable = heads_in(path.read_text(errors="replace"))
    if not found:
        raise RefusedError(f"{path} holds no signed head that can be read")
    return found, unreadable


def _check_heads(context: Context, found: list[bytes], unreadable: int) -> dict[str, int]:
    checked = 0
    while checked < len(found):
        some = _as_many_as_fit(found[checked:])
        context.command("audit.check_heads", heads=some, first=checked + 1)
        checked += len(some)
    return {"given_heads": checked, "unreadable_heads": unreadable}


def _as_many_as_fit(heads: list[bytes]) -> list[str]:
    """Return the first heads in Base64, those that go into one command; at least one."""
    some: list[str] = []
    room = _COMMAND_CHARACTERS
    for one in heads:
        some.append(base64.b64encode(one).decode("ascii"))
        room -= len(some[-1])
        if room <= 0:
            break
    return some


@audit_group.command("export")
@click.option("--from", "first", type=click.IntRange(1), default=1, show_default=True, help="First record.")
@click.option("--to", "last", type=click.IntRange(1), help="Last record. Without: the newest.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@JSON_OPTION
@click.pass_obj
def audit_export(context: Context, first: int, last: int | None, folder: Path, as_json: bool) -> None:
    """Write records to a new folder as JSON lines, with the signed head that covers them.

    Without personal data. The README.txt there says how to check it with openssl and sha256sum alone.

    \b
    Example:  pkiserver audit export --from 1 --to 5000 audit-2026-q1
    """
    with new_folder(folder) as made:
        files = FolderWriter(made)
        answer = context.command("audit.export", files.take, first=first, last=last)
        files.close()
    show(answer, as_json)


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
@click.option("--signed", is_flag=True, help="Sign it now, and print that (CMS, PEM).")
@click.option("--json", is_flag=True, expose_value=False, help="As always: this command prints JSON.")
@click.pass_obj
def audit_head(context: Context, signed: bool) -> None:
    """Print the end of the chain as JSON, to be kept elsewhere.

    \b
    Examples:  pkiserver audit head > monday.json
               pkiserver audit head --signed > monday.pem
    """
    if signed:
        click.echo(context.command("audit.sign_head"), nl=False)
        return
    click.echo(json.dumps(context.command("audit.head")))
