"""`pkiserver crl`: certificate revocation lists."""

from pathlib import Path

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.clock import Clock
from pkiserver.printing import progress, show, show_rows


@click.group("crl", cls=CommandGroup)
def crl_group() -> None:
    """Certificate revocation lists."""


@crl_group.command("list")
@JSON_OPTION
@click.pass_obj
def crl_list(context: Context, as_json: bool) -> None:
    """Show the CRLs that are published: of all certificates, of shards, and deltas.

    \b
    Example:  pkiserver crl list
    """
    columns = ("file", "kind", "number", "entries", "octets", "this_update", "next_update")
    show_rows(context.command("crl.list"), columns, as_json)


@crl_group.command("publish")
@click.option("--ca", metavar="NAME", help="Only the CRLs of this authority.")
@click.option(
    "--last",
    is_flag=True,
    help="End the authority: its CRLs have no successors, and it issues nothing more. All its certificates "
    "must be revoked or expired.",
)
@JSON_OPTION
@click.pass_obj
def crl_publish(context: Context, ca: str | None, last: bool, as_json: bool) -> None:
    """Publish new CRLs now; the server also does it by itself on change and on schedule.

    \b
    Examples:  pkiserver crl publish
               pkiserver crl publish --ca citizen --last
    """
    rows = context.command("crl.publish", ca=ca, last=last)
    show_rows(rows, ("ca", "shard", "kind", "number", "this_update", "next_update"), as_json)


@crl_group.command("export")
@click.option(
    "--dir",
    "target",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of a web server or CDN; made where it is missing.",
)
@click.option("--force", is_flag=True, help="Write every file again, older CRLs over later ones too.")
@JSON_OPTION
@click.pass_obj
def crl_export(context: Context, target: Path, force: bool, as_json: bool) -> None:
    """Write the files that are served (crl, ca, register) to DIR: only what changed, each at once.

    Works beside a running server and without one. Files that are only in DIR are left alone.

    \b
    Example:  pkiserver crl export --dir /srv/www/pki
    """
    from pkiserver.status.public_export import export_public

    home = context.ready_home()
    with progress() as tell:
        exported = export_public(home, target, Clock().now(), tell, force=force)
    show(
        {
            "written": len(exported.written),
            "unchanged": exported.unchanged,
            "octets": exported.octets,
            "stale": ", ".join(exported.stale) or None,
            "files": [{"file": name} for name in exported.written],
        },
        as_json,
    )
