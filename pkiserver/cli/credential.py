"""`pkiserver credential`: enrolment credentials."""

import click

from config.errors import RuleError
from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.printing import show, show_rows


@click.group("credential", cls=CommandGroup)
def credential_group() -> None:
    """Enrolment credentials: who knows one may enrol the identity in it."""


@credential_group.command("create")
@click.option("--profile", required=True, help="The certificate profile to enrol for.")
@click.option("--subject", required=True, metavar="CN=…,…", help="The subject, as RFC 4514 text.")
@click.option("--san", multiple=True, metavar="dns:NAME", help="A subjectAltName: dns:, ip:, email: or uri:.")
@click.option("--uses", default=1, show_default=True, help="How many certificates it is good for.")
@click.option(
    "--use",
    type=click.Choice(["est", "cmp"]),
    default="est",
    show_default=True,
    help="The protocol it is for: est, where its secret is sent, or cmp, where it keys MACs.",
)
@click.option("--limit-mnt", type=int, help="Limit of the value of transactions, in MNT (citizen-signature).")
@click.option("--lifetime", metavar="7d", help="How long it may be used.  [default: the configured time]")
@JSON_OPTION
@click.pass_obj
def credential_create(
    context: Context,
    profile: str,
    subject: str,
    san: tuple[str, ...],
    uses: int,
    use: str,
    limit_mnt: int | None,
    lifetime: str | None,
    as_json: bool,
) -> None:
    """Make a credential and print its reference and secret. The secret is not shown again: note it now.

    \b
    Example:  pkiserver credential create --profile tls-server \\
                  --subject CN=www.example.mn --san dns:www.example.mn
              pkiserver credential create --use cmp --profile device --subject CN=sensor-7
    """
    result = context.command(
        "credential.create",
        profile=profile,
        subject=subject,
        san=list(san),
        uses=uses,
        limit_mnt=limit_mnt,
        use=use,
        lifetime_s=_seconds(lifetime) if lifetime else None,
    )
    show(result, as_json)


def _seconds(duration: str) -> int:
    from config.units import parse_duration

    try:
        return int(parse_duration(duration).total_seconds())
    except RuleError as error:
        raise click.BadParameter(str(error), param_hint="--lifetime") from error


@credential_group.command("list")
@JSON_OPTION
@click.pass_obj
def credential_list(context: Context, as_json: bool) -> None:
    """List the credentials, the newest first; secrets are not known.

    \b
    Example:  pkiserver credential list
    """
    show_rows(
        context.command("credential.list"),
        ("reference", "use", "profile", "state", "uses_left", "expires_at", "subject"),
        as_json,
    )


@credential_group.command("cancel")
@click.argument("reference")
@JSON_OPTION
@click.pass_obj
def credential_cancel(context: Context, reference: str, as_json: bool) -> None:
    """Cancel a credential: it cannot be used any more.

    \b
    Example:  pkiserver credential cancel h0YnysOgIuldK
    """
    show(context.command("credential.cancel", reference=reference), as_json)
