"""`pkiserver certificate`: issued certificates and their status."""

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import AFTER_OPTION, CA_OPTION, JSON_OPTION, LIMIT_OPTION, SERIAL_ARGUMENT
from pkiserver.cli.register import show_timeline
from pkiserver.printing import show, show_page
from pkiserver.ra.lifecycle import REVOCATION_REASONS

_BY = click.option(
    "--by",
    type=click.Choice(["holder", "authority"]),
    default="holder",
    show_default=True,
    help="Whose hold it is: one side's hold is not lifted by the other.",
)


@click.group("certificate", cls=CommandGroup)
def certificate_group() -> None:
    """Issued certificates: look at them, suspend, restore, revoke. SERIAL is hexadecimal."""


@certificate_group.command("list")
@click.option("--ca", metavar="NAME", help="Only those of this authority.")
@click.option(
    "--status",
    type=click.Choice(["active", "suspended", "revoked", "expired"]),
    help="Only those that are so now.",
)
@AFTER_OPTION
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def certificate_list(
    context: Context, ca: str | None, status: str | None, after: str | None, limit: int, as_json: bool
) -> None:
    """List certificates, the newest first.

    \b
    Example:  pkiserver certificate list --ca citizen --status suspended
    """
    rows = context.command("certificate.list", ca=ca, state=status, after=after, limit=limit)
    show_page(rows, ("ca", "serial", "status", "profile", "not_after", "subject"), as_json, limit, "serial")


@certificate_group.command("show")
@SERIAL_ARGUMENT
@CA_OPTION
@JSON_OPTION
@click.pass_obj
def certificate_show(context: Context, serial: str, ca: str | None, as_json: bool) -> None:
    """Show a certificate and what happened to it.

    \b
    Example:  pkiserver certificate show 5d2b…
    """
    show(context.command("certificate.show", serial=serial, ca=ca), as_json)


@certificate_group.command("timeline")
@SERIAL_ARGUMENT
@CA_OPTION
@AFTER_OPTION
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def certificate_timeline(
    context: Context, serial: str, ca: str | None, after: str | None, limit: int, as_json: bool
) -> None:
    """Show all that happened to a certificate: application, holds, cases, letters, carrier. Oldest first.

    \b
    Example:  pkiserver certificate timeline 5d2b…
    """
    result = context.command("certificate.timeline", serial=serial, ca=ca, after=after, limit=limit)
    show_timeline(result, as_json)


@certificate_group.command("suspend")
@SERIAL_ARGUMENT
@CA_OPTION
@_BY
@JSON_OPTION
@click.pass_obj
def certificate_suspend(context: Context, serial: str, ca: str | None, by: str, as_json: bool) -> None:
    """Put a certificate on hold: OCSP and CRL say certificateHold until it is restored.

    \b
    Example:  pkiserver certificate suspend 5d2b… --by authority
    """
    show(context.command("certificate.suspend", serial=serial, ca=ca, by=by), as_json)


@certificate_group.command("restore")
@SERIAL_ARGUMENT
@CA_OPTION
@_BY
@JSON_OPTION
@click.pass_obj
def certificate_restore(context: Context, serial: str, ca: str | None, by: str, as_json: bool) -> None:
    """Lift a hold; the certificate is good again when no other hold is open.

    \b
    Example:  pkiserver certificate restore 5d2b… --by authority
    """
    show(context.command("certificate.restore", serial=serial, ca=ca, by=by), as_json)


@certificate_group.command("revoke")
@SERIAL_ARGUMENT
@CA_OPTION
@click.option(
    "--reason",
    type=click.Choice(list(REVOCATION_REASONS)),
    default="unspecified",
    show_default=True,
    help="Why, in the words of RFC 5280 §5.3.1; CRL and OCSP say it.",
)
@click.option(
    "--invalidity-date",
    metavar="TIME",
    help="Since when it is known or thought to be invalid, such as when its key was compromised: "
    "2026-01-31T12:00:00Z. CRLs say it (RFC 5280 §5.3.2).",
)
@JSON_OPTION
@click.pass_obj
def certificate_revoke(
    context: Context, serial: str, ca: str | None, reason: str, invalidity_date: str | None, as_json: bool
) -> None:
    """Revoke a certificate for ever.

    \b
    Example:  pkiserver certificate revoke 5d2b… --reason keyCompromise
    """
    arguments = {"serial": serial, "ca": ca, "reason": reason, "invalidity_date": invalidity_date}
    show(context.command("certificate.revoke", **arguments), as_json)
