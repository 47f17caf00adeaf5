"""What the command line prints: results as text or JSON, and the progress of long work."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from pkiserver.logs import escaped
from pkiserver.progress import Progress, silent

MAX_CELL_CHARACTERS = 2_000


def show(result: dict[str, Any], as_json: bool) -> None:
    """Print one result: JSON, or a line a field; what has several lines (PEM) comes last."""
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False, indent=2))
        return
    width = max(len(key) for key in result)
    last = ""
    for key, value in result.items():
        if isinstance(value, list):
            for item in value:
                last += "  ".join(f"{name} {escaped(str(held))}" for name, held in item.items()) + "\n"
        elif isinstance(value, str) and "\n" in value:
            last += value
        else:
            click.echo(f"{key.replace('_', ' '):<{width}}  {_cell(value)}")
    click.echo(last, nl=False)


def show_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print a list of results: JSON, or a table."""
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=column != columns[-1])
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    Console(width=None if sys.stdout.isatty() else MAX_CELL_CHARACTERS).print(table)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return "-" if value is None else escaped(str(value), MAX_CELL_CHARACTERS)


@contextmanager
def progress() -> Iterator[Progress]:
    """Give a function that shows how far long work is: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield silent
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)

        def tell(text: str, done: int = 0, total: int = 0) -> None:
            bars.update(task, description=escaped(text), completed=done, total=total or None)

        yield tell
