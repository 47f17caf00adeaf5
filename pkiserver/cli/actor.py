"""`pkiserver actor`: who acts here, in which roles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pkiserver.bounds import MAX_LINE_BYTES
from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION, read_number
from pkiserver.printing import show, show_rows

_OFFICE = click.option("--office", metavar="CODE", help="Of a registrar: the office.")
_ORGANIZATION = click.option("--organization", metavar="NUMBER", help="Of an org_officer: the organisation.")
_EVERYWHERE = click.option("--everywhere", is_flag=True, help="Of a registrar: in all offices.")
_PROPOSAL = click.argument("proposal", type=click.IntRange(1))


def _place(command: Callable[..., None]) -> Callable[..., None]:
    return _OFFICE(_ORGANIZATION(_EVERYWHERE(command)))


@click.group("actor", cls=CommandGroup)
def actor_group() -> None:
    """People and programs that act here, each known by certificates, and their roles."""


@actor_group.command("add")
@click.argument("name")
@click.option(
    "--certificate",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Its certificate (PEM), of the authority infrastructure and active.",
)
@click.option(
    "--role",
    help="ra: asks for certificates on behalf of others. registrar, auditor, administrator, …: uses the API.",
)
@_place
@click.option(
    "--civil-id",
    "identify",
    is_flag=True,
    help="Who it is, which roles of people need: the civil registration number is asked for, or read from"
    " standard input.",
)
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    help="Of an ra: it asks for this profile, and others that are named so, alone.",
)
@JSON_OPTION
@click.pass_obj
def actor_add(
    context: Context,
    /,
    name: str,
    certificate: Path,
    profiles: tuple[str, ...],
    identify: bool,
    as_json: bool,
    **given: str | bool | None,
) -> None:
    """Register a certificate for an actor, with a role; after a renewal, the new one beside the old.

    `waiting` names what a second administrator has to confirm.

    \b
    Example:  pkiserver actor add station-1 --certificate station-1.pem --role ra --profile gate
              pkiserver actor add bat --certificate bat.pem --role registrar --office ub-1 --civil-id
    """
    if certificate.stat().st_size > MAX_LINE_BYTES // 2:
        raise click.UsageError(f"{certificate} is too large for a certificate")
    pem = certificate.read_text("ascii", "replace")
    number = read_number() if identify else None
    result = context.command(
        "actor.add", name=name, pem=pem, civil_id=number, profiles=list(profiles), **given
    )
    show(result, as_json)


@actor_group.command("identify")
@click.argument("name")
@JSON_OPTION
@click.pass_obj
def actor_identify(context: Context, name: str, as_json: bool) -> None:
    """Say who an actor is, once: on what is that person's own it may not act.

    The civil registration number is asked for, or read from standard input: others of this machine see the
    arguments of a command. It is kept encrypted, and shown nowhere.

    \b
    Example:  pkiserver actor identify administrator < number.txt
    """
    show(context.command("actor.identify", name=name, civil_id=read_number()), as_json)


@actor_group.command("list")
@JSON_OPTION
@click.pass_obj
def actor_list(context: Context, as_json: bool) -> None:
    """List the actors with their roles of now, the newest first.

    \b
    Example:  pkiserver actor list
    """
    found = context.command("actor.list")
    rows = (
        found
        if as_json
        else [one | {"roles": _words(one["roles"]), "serials": _words(one["serials"])} for one in found]
    )
    show_rows(rows, ("name", "roles", "profiles", "serials", "added_at", "added_by"), as_json)


@actor_group.command("show")
@click.argument("name")
@JSON_OPTION
@click.pass_obj
def actor_show(context: Context, name: str, as_json: bool) -> None:
    """Show an actor with its certificates, removed ones too.

    \b
    Example:  pkiserver actor show station-1
    """
    show(context.command("actor.show", name=name), as_json)


@actor_group.command("grant")
@click.argument("name")
@click.argument("role")
@_place
@JSON_OPTION
@click.pass_obj
def actor_grant(context: Context, /, name: str, role: str, as_json: bool, **place: str | bool | None) -> None:
    """Grant an actor a role; once there are two administrators, the second one confirms it.

    \b
    Example:  pkiserver actor grant bat registrar --office ub-1
    """
    show(context.command("actor.role", kind="grant", name=name, role=role, **place), as_json)


@actor_group.command("withdraw")
@click.argument("name")
@click.argument("role")
@_place
@JSON_OPTION
@click.pass_obj
def actor_withdraw(
    context: Context, /, name: str, role: str, as_json: bool, **place: str | bool | None
) -> None:
    """Take a role back, at once; that of an administrator when another one has confirmed it.

    \b
    Example:  pkiserver actor withdraw bat registrar --office ub-1
    """
    show(context.command("actor.role", kind="withdraw", name=name, role=role, **place), as_json)


@actor_group.command("remove")
@click.argument("name")
@JSON_OPTION
@click.pass_obj
def actor_remove(context: Context, name: str, as_json: bool) -> None:
    """Remove an actor's roles and certificates: from its next request on, these speak for themselves alone.

    \b
    Example:  pkiserver actor remove station-1
    """
    show(context.command("actor.remove", name=name), as_json)


@actor_group.command("proposals")
@click.option(
    "--state",
    type=click.Choice(["waiting", "done", "refused", "all"]),
    default="waiting",
    show_default=True,
    help="How they stand.",
)
@JSON_OPTION
@click.pass_obj
def actor_proposals(context: Context, state: str, as_json: bool) -> None:
    """List what waits for a second administrator; `version` is the actor's, to be confirmed with.

    \b
    Example:  pkiserver actor proposals
    """
    found = context.command("actor.proposals", state=None if state == "all" else state)
    columns = (
        "proposal",
        "state",
        "kind",
        "name",
        "version",
        "role",
        "office",
        "organization",
        "proposed_by",
    )
    show_rows(found, columns, as_json)


@actor_group.command("confirm")
@_PROPOSAL
@click.option("--version", required=True, type=click.IntRange(0), help="The actor's, as you saw it.")
@JSON_OPTION
@click.pass_obj
def actor_confirm(context: Context, proposal: int, version: int, as_json: bool) -> None:
    """Confirm what another administrator proposed, after a look at the actor.

    \b
    Example:  pkiserver actor confirm 7 --version 1
    """
    show(context.command("actor.confirm", proposal=proposal, version=version), as_json)


@actor_group.command("refuse")
@_PROPOSAL
@JSON_OPTION
@click.pass_obj
def actor_refuse(context: Context, proposal: int, as_json: bool) -> None:
    """Refuse a proposal, or take the own one back.

    \b
    Example:  pkiserver actor refuse 7
    """
    show(context.command("actor.refuse", proposal=proposal), as_json)


def _words(values: Any) -> str:
    return ", ".join(values) or "-"
