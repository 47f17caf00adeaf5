"""`pkiserver actor`: programs that act on behalf of others."""

from pathlib import Path

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.control import MAX_LINE_BYTES
from pkiserver.printing import show, show_rows


@click.group("actor", cls=CommandGroup)
def actor_group() -> None:
    """Programs that act on behalf of others, each known by its certificates."""


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
    required=True,
    help="ra: asks for certificates on behalf of others. registrar, auditor, administrator, …: uses the API.",
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
    context: Context, name: str, certificate: Path, role: str, profiles: tuple[str, ...], as_json: bool
) -> None:
    """Register a certificate for an actor; after a renewal, the new one beside the old.

    \b
    Example:  pkiserver actor add station-1 --certificate station-1.pem --role ra --profile gate
    """
    if certificate.stat().st_size > MAX_LINE_BYTES // 2:
        raise click.UsageError(f"{certificate} is too large for a certificate")
    pem = certificate.read_text("ascii", "replace")
    show(context.command("actor.add", name=name, role=role, pem=pem, profiles=list(profiles)), as_json)


@actor_group.command("list")
@JSON_OPTION
@click.pass_obj
def actor_list(context: Context, as_json: bool) -> None:
    """List the actors, those that were removed too, the newest first.

    \b
    Example:  pkiserver actor list
    """
    show_rows(
        context.command("actor.list"),
        ("name", "role", "profiles", "serial", "added_at", "added_by", "removed_at"),
        as_json,
    )


@actor_group.command("remove")
@click.argument("name")
@JSON_OPTION
@click.pass_obj
def actor_remove(context: Context, name: str, as_json: bool) -> None:
    """Remove an actor: from its next request on, its certificates speak for themselves alone.

    \b
    Example:  pkiserver actor remove station-1
    """
    show(context.command("actor.remove", name=name), as_json)
