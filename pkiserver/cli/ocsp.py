"""`pkiserver ocsp`: the responses about certificates that are signed beforehand."""

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.printing import show


@click.group("ocsp", cls=CommandGroup)
def ocsp_group() -> None:
    """OCSP responses."""


@ocsp_group.command("presign")
@click.option("--all", "everything", is_flag=True, help="Sign every response anew, due or not.")
@click.option("--ca", metavar="NAME", help="With --all: only the responses of this authority.")
@JSON_OPTION
@click.pass_obj
def ocsp_presign(context: Context, everything: bool, ca: str | None, as_json: bool) -> None:
    """Sign OCSP responses now; the server also does it by itself, as they become due.

    With --all a new table is made and takes the place of the present one when it is whole.

    \b
    Examples:  pkiserver ocsp presign
               pkiserver ocsp presign --all
    """
    done = context.command("ocsp.presign", everything=everything, ca=ca)
    if as_json:
        show(done, as_json)
        return
    click.echo(
        f"Responses signed: {done['signed']:,} in {done['seconds']:.1f} s ({done['rate']:,} a second)."
    )
    if done["valid_until"] is not None:
        click.echo(f"All are valid until {done['valid_until']}.")
