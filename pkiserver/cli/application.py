"""`pkiserver application`: citizens' applications, from the form to the credential."""

import json
from pathlib import Path
from typing import Any, Final

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import AFTER_OPTION, JSON_OPTION, LIMIT_OPTION
from pkiserver.printing import show, show_page

MAX_FORM_BYTES: Final = 64 << 10  # a form has some hundred characters
_VERSION = click.option("--version", type=int, help="The version that you saw.  [default: that of now]")
_GROUND = click.option("--ground", required=True, help="Why; without personal data.")


@click.group("application", cls=CommandGroup)
def application_group() -> None:
    """Applications of citizens for certificates."""


@application_group.command("create")
@click.argument("form", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--office", required=True, metavar="CODE", help="The office where it is made.")
@click.option(
    "--channel", default="branch", show_default=True, help="branch, service_centre, kiosk, mission."
)
@click.option("--carrier", default="id_card", show_default=True, help="id_card, token, mobile.")
@click.option("--profile", default="citizen-signature", show_default=True, help="The certificate's profile.")
@click.option(
    "--delivery",
    type=click.Choice(["office", "plant"]),
    default="office",
    show_default=True,
    help="Who makes the carrier: the office, or the printing plant.",
)
@JSON_OPTION
@click.pass_obj
def application_create(
    context: Context,
    form: Path,
    office: str,
    channel: str,
    carrier: str,
    profile: str,
    delivery: str,
    as_json: bool,
) -> None:
    """Make an application from a form: a JSON file with the fields of IUB-41.

    \b
    Example:  pkiserver application create form.json --office ub-1
    """
    result = context.command(
        "application.create",
        office=office,
        fields=_fields(form),
        channel=channel,
        carrier=carrier,
        profile=profile,
        delivery=delivery,
    )
    show(result, as_json)


def _fields(form: Path) -> dict[str, Any]:
    if form.stat().st_size > MAX_FORM_BYTES:
        raise click.UsageError(f"{form} is too large for a form")
    try:
        fields = json.loads(form.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{form} is no JSON") from error
    if not isinstance(fields, dict):
        raise click.UsageError(f"{form} is no JSON object")
    return fields


@application_group.command("list")
@click.option("--state", help="Only those in this state, such as draft or verified.")
@click.option("--office", metavar="CODE", help="Only those of this office.")
@AFTER_OPTION
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def application_list(
    context: Context, state: str | None, office: str | None, after: str | None, limit: int, as_json: bool
) -> None:
    """List applications without personal data, the newest first.

    \b
    Example:  pkiserver application list --state draft --office ub-1
    """
    result = context.command("application.list", state=state, office=office, after=after, limit=limit)
    show_page(result, ("id", "office", "state", "version", "profile", "created_at"), as_json, limit, "id")


@application_group.command("show")
@click.argument("application", type=int)
@JSON_OPTION
@click.pass_obj
def application_show(context: Context, application: int, as_json: bool) -> None:
    """Show an application with its form and events. The reading is in the audit log.

    \b
    Example:  pkiserver application show 1
    """
    result = context.command("application.show", application=application)
    if not as_json:
        result |= result.pop("form") or {}  # a line a field
    show(result, as_json)


@application_group.command("verify")
@click.argument("application", type=int)
@click.option("--fingerprint", metavar="REFERENCE", help="The reference of the check of fingerprints.")
@click.option("--reason", help="Why it goes by the numbers, where no fingerprint can be checked.")
@_VERSION
@JSON_OPTION
@click.pass_obj
def application_verify(
    context: Context,
    application: int,
    fingerprint: str | None,
    reason: str | None,
    version: int | None,
    as_json: bool,
) -> None:
    """Hold an application to the civil registry; it is returned where the data differ.

    \b
    Example:  pkiserver application verify 1 --fingerprint check-1
    """
    result = context.command(
        "application.verify",
        application=application,
        fingerprint=fingerprint,
        reason=reason,
        version=version,
    )
    show(result, as_json)


@application_group.command("return")
@click.argument("application", type=int)
@_GROUND
@click.option("--field", "fields", multiple=True, help="A field that is wrong, by its name in the form.")
@_VERSION
@JSON_OPTION
@click.pass_obj
def application_return(
    context: Context,
    application: int,
    ground: str,
    fields: tuple[str, ...],
    version: int | None,
    as_json: bool,
) -> None:
    """Return an application to who applied.

    \b
    Example:  pkiserver application return 1 --ground 'no longer at this address' --field address
    """
    result = context.command(
        "application.return", application=application, ground=ground, fields=list(fields), version=version
    )
    show(result, as_json)


@application_group.command("withdraw")
@click.argument("application", type=int)
@_GROUND
@_VERSION
@JSON_OPTION
@click.pass_obj
def application_withdraw(
    context: Context, application: int, ground: str, version: int | None, as_json: bool
) -> None:
    """Withdraw an application before its certificate is issued; its credential is cancelled.

    \b
    Example:  pkiserver application withdraw 1 --ground 'the citizen asked'
    """
    result = context.command("application.withdraw", application=application, ground=ground, version=version)
    show(result, as_json)


@application_group.command("issue")
@click.argument("application", type=int)
@click.option(
    "--use", type=click.Choice(["est", "cmp"]), default="est", show_default=True, help="What enrols with it."
)
@_VERSION
@JSON_OPTION
@click.pass_obj
def application_issue(
    context: Context, application: int, use: str, version: int | None, as_json: bool
) -> None:
    """Print the credential that enrols a verified application, once. The secret is not kept.

    \b
    Example:  pkiserver application issue 1
    """
    show(context.command("application.issue", application=application, use=use, version=version), as_json)
