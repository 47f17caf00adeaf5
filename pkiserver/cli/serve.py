"""`pkiserver serve`: the server in its roles."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pkiserver.cli.context import Context
from pkiserver.clock import Clock
from pkiserver.home import Home, HomeLock
from pkiserver.logs import configure_logs

if TYPE_CHECKING:
    from pkiserver.app import Server
    from pkiserver.serving import Addresses
    from pkiserver.status_server import StatusServer


@click.command("serve")
@click.option(
    "--role",
    type=click.Choice(["all", "issuing", "status"]),
    default="all",
    show_default=True,
    help="issuing: all but the HTTP port. status: the HTTP port alone, without key or database.",
)
@click.option("--http", metavar="ADDR:PORT", help="Plain HTTP address, instead of the configured one.")
@click.option("--https", metavar="ADDR:PORT", help="HTTPS address, instead of the configured one.")
@click.option("--metrics", metavar="ADDR:PORT", help="Metrics address, instead of the configured one.")
@click.option(
    "--welcome",
    "show_welcome",
    is_flag=True,
    help="Print the endpoints, a fresh enrolment credential and commands to try.",
)
@click.pass_obj
def serve_command(
    context: Context,
    role: str,
    http: str | None,
    https: str | None,
    metrics: str | None,
    show_welcome: bool,
) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    \b
    Examples:  pkiserver serve
               pkiserver serve --http 0.0.0.0:80 --https 0.0.0.0:443
               pkiserver serve --role status --http 0.0.0.0:80
    """
    if (role == "status" and https) or (role == "issuing" and http):
        raise click.UsageError(f"the role {role} does not listen there")
    if show_welcome and role != "all":
        raise click.UsageError("--welcome shows what the role all serves")
    given = {"http": http, "https": https, "metrics": metrics}
    listen = {door: [address] for door, address in given.items() if address}
    if role == "status":
        _serve_status(context.ready_home(), listen)
    else:
        _serve_issuing(context, listen, show_welcome, status=role == "all")


def _serve_status(home: Home, listen: dict[str, list[str]]) -> None:
    import uvloop

    from config.schema_status import load_status_settings
    from pkiserver.status_server import serve_status

    settings = load_status_settings(home.configuration).with_listen(listen)
    configure_logs(form=settings.log.format, level=settings.log.level)

    async def started(server: "StatusServer") -> None:
        _log("ready", server.addresses)

    with HomeLock(home, "status"):
        uvloop.run(serve_status(home, settings, Clock(), started))
    _log("stopped")


def _log(event: str, addresses: "Addresses | None" = None) -> None:
    import structlog

    structlog.get_logger("pkiserver.cli").info(event, **(asdict(addresses) if addresses else {}))


def _serve_issuing(
    context: Context, listen: dict[str, list[str]], show_welcome: bool, *, status: bool
) -> None:
    import uvloop

    from pkiserver.app import serve
    from pkiserver.core import load_configuration
    from pkiserver.welcome import welcome

    home = context.issuing_home()
    settings, _ = load_configuration(home)
    context.finished_home()
    configure_logs(form=settings.log.format, level="warning" if show_welcome else settings.log.level)

    async def started(server: "Server") -> None:
        _log("ready", server.addresses)
        if show_welcome:
            click.echo(await welcome(server))

    home.make()  # a backup holds only what cannot be made anew
    with HomeLock(home):
        uvloop.run(serve(home, Clock(), started, listen=listen, status=status))
    _log("stopped")
