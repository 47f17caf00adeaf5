"""What the command line prints: results as text or JSON, errors with advice, the progress of long work."""

import errno
import json
import pwd
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from config.errors import ConfigError
from pkiserver.home import Home
from pkiserver.logs import escaped
from pkiserver.progress import Progress, silent
from pkiserver.signer.errors import SignerError, SignerSecretError

MAX_CELL_CHARACTERS: Final = 2_000
_LISTENING: Final = "cannot listen on "  # how the listeners of `web` begin
_ADDRESS_ADVICE: Final = {
    errno.EADDRINUSE: "another program has it: stop that one, or choose another address with --http, --https,"
    " --metrics or under [listen] of the configuration",
    errno.EADDRNOTAVAIL: "no interface of this machine has it: see `ip address`",
    errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE, which a systemd unit can give",
}
_FILE_ADVICE: Final = {
    errno.EROFS: "mount it for writing",
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
}


def error_text(error: Exception, home: Home | None) -> str:
    """Return an error as one printable line with what to do; a line a finding for the configuration's."""
    if isinstance(error, ConfigError):
        lines = str(error).splitlines()
    elif isinstance(error, OSError):
        lines = [_os_error(error)]
    else:
        lines = [str(error) + _advice(error, home)]
    return "\n".join(map(escaped, lines))


def _os_error(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is None:
        return reason
    path = Path(str(error.filename)).absolute()
    if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
        return f"there is no folder {path.parent}: make it first"
    advice = _FILE_ADVICE.get(error.errno or 0)
    if isinstance(error, PermissionError):
        advice = f"give the command as {_owner(path)}"
    return f"{path}: {reason}" + (f": {advice}" if advice else "")


def _owner(path: Path) -> str:
    """Return who may work with a path: the owner of the nearest part of it that can be looked at."""
    for part in (path, *path.parents):
        try:
            uid = part.stat().st_uid
        except OSError:
            continue
        try:
            return f"{pwd.getpwuid(uid).pw_name}, whose {part} is"
        except KeyError:
            return f"user {uid}, whose {part} is"
    return "its owner"


def _advice(error: Exception, home: Home | None) -> str:
    """Return what to add to the message of an error from below, which knows nothing of options."""
    if str(error).startswith(_LISTENING) and isinstance(error.__cause__, OSError):
        advice = _ADDRESS_ADVICE.get(error.__cause__.errno or 0)
        return f": {advice}" if advice else ""
    if isinstance(error, SignerError) and home is not None:
        return _key_options(home, secret=isinstance(error, SignerSecretError))
    return ""


def _key_options(home: Home, *, secret: bool) -> str:
    """Return the options of the key store that an error of it is about."""
    from config.loader import load_settings

    try:
        keys = load_settings(home.configuration).keys
    except ConfigError:
        return ""
    if keys.store == "software":
        names = ("passphrase_env",) if keys.passphrase_env else ("passphrase_file",)
        return _options(home, keys, names) if secret else ""
    return _options(home, keys, ("uri",))


def _options(home: Home, keys: object, names: Sequence[str]) -> str:
    said = ", ".join(f'keys.{name} = "{getattr(keys, name)}"' for name in names)
    return f" ({said} in {home.configuration.absolute()})"


def show(result: dict[str, Any], as_json: bool) -> None:
    """Print one result: JSON, or a line a field; what has several lines (PEM) comes last."""
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False, indent=2))
        return
    width = max(len(key) for key in result)
    last = ""
    for key, value in result.items():
        if isinstance(value, dict):
            words = ", ".join(f"{name} {held}" for name, held in value.items())
            click.echo(f"{key.replace('_', ' '):<{width}}  {_cell(words)}")
        elif isinstance(value, list) and value and isinstance(value[0], str):
            click.echo(f"{key.replace('_', ' '):<{width}}  {_cell(', '.join(value))}")
        elif isinstance(value, list):
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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    console = Console(width=None if sys.stdout.isatty() else MAX_CELL_CHARACTERS)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=column != columns[-1])
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_page(
    rows: Sequence[dict[str, Any]], columns: Sequence[str], as_json: bool, limit: int, last: str
) -> None:
    """Print a part of a list, and on standard error how to go on where it is full.

    `last` is the field by which `--after` names a row.
    """
    show_rows(rows, columns, as_json)
    if rows and len(rows) == limit:
        click.echo(f"There may be more: --after {rows[-1][last]}", err=True)


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
    from pkiserver.progress_bar import progress_bar

    with progress_bar() as tell:
        yield tell
