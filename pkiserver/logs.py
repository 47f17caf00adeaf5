"""How the server logs: structured lines to standard error, by structlog, with nothing in them unescaped.

Every value passes `safe_values` before it is rendered, so what a client sent can neither forge a line nor
reach a terminal as a control sequence. Lines of aiohttp and asyncio take the same way. A command that only
prints uses `escaped` and does not load structlog.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor

MAX_VALUE_CHARACTERS: Final = 1_000  # one value; longer ones are cut, since clients choose some of them
MAX_TRACEBACK_CHARACTERS: Final = 16_000
_MAX_DEPTH: Final = 4  # nesting of values we log ourselves
_JSON: Final = json.JSONEncoder(ensure_ascii=False)  # `safe_values` left what JSON has, and no object else
_SECRET_NAMES: Final = frozenset({"authorization", "passphrase", "password", "pin", "secret"})

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]


def escaped(text: str, limit: int = MAX_VALUE_CHARACTERS) -> str:
    """Return `text` as one printable line of at most `limit` characters, and an ellipsis where it was cut.

    What is not printable (controls, bidirectional overrides, line separators, surrogates) becomes `\\xNN`,
    `\\uNNNN` or `\\UNNNNNNNN`; letters of every script stay.
    """
    if len(text) <= limit and text.isprintable():
        return text
    shown = text[: limit + 1]
    if not shown.isprintable():
        shown = "".join(map(_escaped_character, shown))
    return shown if len(shown) <= limit else shown[:limit] + "…"


def _escaped_character(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _safe(value: object, depth: int = 0) -> Any:
    if type(value) is str:  # nearly all of them
        return escaped(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {escaped(str(name)): _safe(held, depth + 1) for name, held in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe(held, depth + 1) for held in value]
    if isinstance(value, bytes):
        return escaped(value.hex())
    return escaped(str(value))


def _safe_traceback(text: str) -> str:
    """Return a traceback whose every line is escaped and indented, so that none passes for a log line."""
    return "\n".join("  " + escaped(line) for line in text[:MAX_TRACEBACK_CHARACTERS].split("\n"))


def safe_values(_logger: Any, _method: str, event: "EventDict") -> "EventDict":
    """Escape and bound every value of an event; drop the value of a field that is named like a secret.

    A structlog processor; it stands after the one that turns exceptions into text.
    """
    safe: dict[str, Any] = {}
    for name, value in event.items():
        if _is_plain(name):
            short = type(value) is str and len(value) <= MAX_VALUE_CHARACTERS and value.isprintable()
            safe[name] = value if short or type(value) is int else _safe(value)
        elif name.startswith("_"):  # structlog's own, taken out before rendering
            safe[name] = value
        elif name.lower() in _SECRET_NAMES:
            safe[name] = "[withheld]"
        else:  # the exception, by now a text of many lines
            safe[name] = _safe_traceback(str(value))
    return safe


@lru_cache(maxsize=1024)  # names are ours, but for those that a library makes up
def _is_plain(name: str) -> bool:
    """Return whether a field's value is treated by what it is alone."""
    return not name.startswith("_") and name.lower() not in _SECRET_NAMES and name != "exception"


def configure_logs(*, form: LogFormat = "json", level: LogLevel = "info") -> None:
    """Send every log line of this process, ours and the libraries', to standard error in this form.

    Call it once in each process, before anything logs. Times are UTC.
    """
    import structlog

    known: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    shown: list[Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.StackInfoRenderer(),
        safe_values,
    ]
    # Not by way of `logging`: a line of every request passes here, and that way costs three times as much.
    structlog.configure(
        processors=[*known, *shown, _renderer(form)],
        logger_factory=_Lines,
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=known,
            processors=[
                *shown,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(form),
            ],
        )
    )
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(level.upper())


def info_writer(name: str) -> "Callable[[EventDict], None]":
    """Return what writes an event as `info` of this logger does, at half its cost: for every request.

    The event has the key `event` beside its values. How it is written is that of the time of this call.
    """
    import structlog

    configuration = structlog.get_config()
    processors, lines = configuration["processors"], configuration["logger_factory"](name)

    def write(event: "EventDict") -> None:
        line: Any = event
        for process in processors:
            line = process(lines, "info", line)
        lines.info(line)

    shown = structlog.get_logger(name).bind().is_enabled_for(logging.INFO)
    return write if shown else lambda _: None


class _Lines:
    """Writes the lines of one logger to standard error; what cannot be written there is lost."""

    __slots__ = ("name",)

    def __init__(self, name: str = "root") -> None:
        self.name = name

    def _write(self, line: str) -> None:
        # Nobody reads it any more, or its disk is full: no reason to break what was logged.
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = exception = _write


def _json_line(_logger: Any, _method: str, event: "EventDict") -> str:
    return _JSON.encode(event)


def _renderer(form: LogFormat) -> "Processor":
    if form == "json":
        # Not ASCII only: names are Cyrillic here, and `safe_values` has escaped what could do harm.
        return _json_line
    import structlog

    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
