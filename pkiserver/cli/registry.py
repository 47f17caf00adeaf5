"""`pkiserver registry`: what the civil registry tells, from a file."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click

from pkiserver.cli.context import CommandGroup
from pkiserver.cli.options import JSON_OPTION
from pkiserver.printing import show

MAX_LINE_CHARACTERS: Final = 1000  # a message has under 250
BATCH: Final = 1000


@click.group("registry", cls=CommandGroup)
def registry_group() -> None:
    """What the civil registry tells of deaths, names, citizenship and cards."""


@registry_group.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@JSON_OPTION
@click.pass_context
def registry_import(click_context: click.Context, file: Path, as_json: bool) -> None:
    """Take messages from a file, a JSON object in each line.

    Each has id, sequence, kind, civil_id and effective_at. The whole file is read before anything is done.
    One that is given again goes on where it was cut off: a message counts once. Ends with 1 where some are
    refused.

    \b
    Example:  pkiserver registry import messages.jsonl
    """
    for _ in _messages(file):
        pass
    counted: Counter[str] = Counter()
    refused: list[str] = []
    messages = _messages(file)
    while batch := list(islice(messages, BATCH)):
        for result in click_context.obj.command("registry.import", messages=batch):
            counted[result["outcome"]] += 1
            refused += [result["id"]] if result["outcome"] == "refused" else []
    show({"messages": counted.total(), **dict(sorted(counted.items()))}, as_json)
    if refused:
        click.echo(f"refused: {', '.join(refused[:20])}; see the audit log", err=True)
        click_context.exit(1)


def _messages(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the messages of a file; a usage error names the first line that is none, and quotes nothing."""
    from pkiserver.errors import PKIServerError
    from pkiserver.ra.cases.registry_rules import parse_message

    with file.open(encoding="utf-8") as lines:
        number = 0
        while line := lines.readline(MAX_LINE_CHARACTERS):
            number += 1
            try:
                values = json.loads(line)
                parse_message(values if isinstance(values, dict) else {})
            except (ValueError, RecursionError) as error:
                raise click.UsageError(f"{file}, line {number}: it is no JSON object") from error
            except PKIServerError as error:
                raise click.UsageError(f"{file}, line {number}: {error}") from error
            yield values
