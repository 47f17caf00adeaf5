"""`pkiserver doctor`: what is wrong with an installation."""

import sys

import click

from pkiserver.cli.context import Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.printing import show_rows


@click.command("doctor")
@JSON_OPTION
@click.pass_obj
def doctor_command(context: Context, as_json: bool) -> None:
    """Say what is wrong here and what to do about it; fails when anything is.

    \b
    Example:  pkiserver doctor
    """
    import asyncio

    from pkiserver.doctor.examination import examine

    findings = asyncio.run(examine(context.home))
    rows = [{**finding.to_json(), "detail": context.hint(finding.detail)} for finding in findings]
    show_rows(rows, ("check", "ok", "detail"), as_json)
    if not all(finding.ok for finding in findings):
        sys.exit(1)
