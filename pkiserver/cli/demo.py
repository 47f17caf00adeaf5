"""`pkiserver demo`: two stories on a running server, told step by step."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pkiserver.cli.context import Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.logs import escaped

if TYPE_CHECKING:
    from pkiserver.demo.stage import Step


@click.command("demo")
@click.option("--yes", is_flag=True, help="Play it although there are real people on record.")
@JSON_OPTION
@click.pass_obj
def demo_command(context: Context, yes: bool, as_json: bool) -> None:
    """Play a citizen's and a government body's story on the running server; a line a step.

    It registers actors of its own, speaks to the API, EST and OCSP as they would, and revokes in the end
    what it had certified. What stays on record is marked: demo-1, Demonstration organisation, Демо.

    \b
    Example:  pkiserver demo
    """
    from pkiserver.demo.stories import play

    steps: list[Step] = []

    def tell(step: "Step") -> None:
        steps.append(step)
        if not as_json:
            click.echo(f"{step.story:<11}{step.who:<21}{escaped(step.what)}")

    try:
        play(context.finished_home(), tell, among_real_people=yes)
    finally:
        if as_json:
            click.echo(json.dumps([asdict(one) for one in steps], ensure_ascii=False, indent=2))
