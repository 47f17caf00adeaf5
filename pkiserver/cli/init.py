"""`pkiserver init`: a new home, or one that was begun finished."""

import sys

import click

from config.errors import ConfigError
from pkiserver.cli.context import Context, InterruptedCommandError
from pkiserver.home import Home
from pkiserver.logs import configure_logs
from pkiserver.printing import progress


@click.command("init")
@click.option("--public-url", metavar="URL", help="Where relying parties reach the HTTP side.")
@click.option("--defaults", is_flag=True, help="Ask nothing.")
@click.option("--offline-root", is_flag=True, help="Make no root: an outside root signs the issuing CAs.")
@click.option("--show-config", is_flag=True, help="Print the configuration reference and do nothing else.")
@click.option("--quiet", is_flag=True, help="Do not say what comes next.")
@click.pass_obj
def init_command(
    context: Context,
    public_url: str | None,
    defaults: bool,
    offline_root: bool,
    show_config: bool,
    quiet: bool,
) -> None:
    """Make a new home: configuration, keys, authorities, the first certificates.

    Run again on a home that was begun, it finishes what is missing.

    \b
    Examples:  pkiserver init --defaults
               pkiserver --home /srv/pki init --public-url http://pki.example.mn
    """
    from config.reference import reference
    from pkiserver.initialise import checked_url

    if show_config:
        click.echo(reference(checked_url(public_url)) if public_url else reference(), nl=False)
        return
    try:
        if public_url is None and not defaults and not context.home.exists():
            public_url = _asked_url()
        waiting = _initialise(context.home, public_url, offline_root)
    except (KeyboardInterrupt, click.Abort) as error:
        raise InterruptedCommandError("interrupted; run the same command again, it finishes") from error
    if not quiet:
        click.echo(_next_step(context, waiting))


def _initialise(home: Home, public_url: str | None, offline_root: bool) -> list[str]:
    import asyncio

    from pkiserver.initialise import initialise

    configure_logs(form="console", level="error")
    with progress() as tell:
        return asyncio.run(initialise(home, public_url, offline_root=offline_root, progress=tell))


def _next_step(context: Context, waiting: list[str]) -> str:
    if not waiting:
        return f"The home {context.home.path} is ready. Next: {context.program} serve"
    return (
        f"The home {context.home.path} waits for an outside root to certify {', '.join(waiting)}."
        f"\nNext: {context.program} ca csr {waiting[0]}, and so on"
    )


def _asked_url() -> str:
    """Ask for the public URL until it is one."""
    if not is_terminal():
        raise click.UsageError("there is no terminal to ask at: give --public-url URL or --defaults")
    question = "Public URL (it is written into certificates)"
    from config.schema import DEFAULT_PUBLIC_URL

    return str(click.prompt(question, DEFAULT_PUBLIC_URL, value_proc=_url_answer))


def _url_answer(answer: str) -> str:
    from pkiserver.initialise import checked_url

    try:
        return checked_url(answer)
    except ConfigError as error:
        finding = error.findings[0]
        raise click.BadParameter(f"{finding.problem}; {finding.rule}") from error


def is_terminal() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty()
