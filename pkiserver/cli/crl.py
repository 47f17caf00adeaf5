"""`pkiserver crl`: certificate revocation lists."""

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.printing import show_rows


@click.group("crl", cls=CommandGroup)
def crl_group() -> None:
    """Certificate revocation lists."""


@crl_group.command("publish")
@click.option("--ca", metavar="NAME", help="Only the CRL of this authority.")
@JSON_OPTION
@click.pass_obj
def crl_publish(context: Context, ca: str | None, as_json: bool) -> None:
    """Publish new CRLs now; the server also does it by itself on change and on schedule."""
    rows = context.command("crl.publish", ca=ca)
    show_rows(rows, ("ca", "number", "this_update", "next_update"), as_json)
