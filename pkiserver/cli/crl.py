"""`pkiserver crl`: certificate revocation lists."""

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.printing import show_rows


@click.group("crl", cls=CommandGroup)
def crl_group() -> None:
    """Certificate revocation lists."""


@crl_group.command("list")
@JSON_OPTION
@click.pass_obj
def crl_list(context: Context, as_json: bool) -> None:
    """Show the CRLs that are published: of all certificates, of shards, and deltas."""
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
    """Publish new CRLs now; the server also does it by itself on change and on schedule."""
    rows = context.command("crl.publish", ca=ca, last=last)
    show_rows(rows, ("ca", "shard", "kind", "number", "this_update", "next_update"), as_json)
