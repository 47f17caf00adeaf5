"""Logs: nothing unescaped, nothing secret, one line an event; of the listener too."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web
from https_harness import listening
from hypothesis import given
from hypothesis import strategies as st

from pkiserver.logs import MAX_VALUE_CHARACTERS, LogFormat, configure_logs, escaped, info_writer, safe_values
from pkiserver.web.middleware import plain_response

Lines = Callable[[], list[str]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """Return what was logged so far, a line each; logging is put back as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err.splitlines()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Бат-Эрдэнэ Ө. 5!", "Бат-Эрдэнэ Ө. 5!"),
        ("a\r\nb\tc\x00", "a\\x0d\\x0ab\\x09c\\x00"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\u2028", "\\u2028"),
        ("\udcff", "\\udcff"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text(), st.integers(0, 20))
def test_escaped_is_one_printable_bounded_line(text: str, limit: int) -> None:
    shown = escaped(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit + 1
    assert shown == text or shown != text[:limit] or not text[limit:]


def test_values_of_every_kind_are_made_safe() -> None:
    event = safe_values(
        None,
        "info",
        {
            "text": "a\nb",
            "bytes": b"\x00\xff",
            "count": 3,
            "nothing": None,
            "nested": {"k\n": ["x\x1b", ("y\r",)]},
            "deep": [[[[[["x"]]]]]],
            "error": ValueError("a\nb"),
            "long": "x" * 5_000,
            "secret": "s3cret",
            "Authorization": "Basic x",
        },
    )
    assert event == {
        "text": "a\\x0ab",
        "bytes": "00ff",
        "count": 3,
        "nothing": None,
        "nested": {"k\\x0a": ["x\\x1b", ["y\\x0d"]]},
        "deep": [[[["…"]]]],
        "error": "a\\x0ab",
        "long": "x" * MAX_VALUE_CHARACTERS + "…",
        "secret": "[withheld]",
        "Authorization": "[withheld]",
    }


@pytest.mark.parametrize("form", ["json", "console"])
def test_each_event_is_one_line(lines: Lines, form: LogFormat) -> None:
    configure_logs(form=form, level="info")
    log = structlog.get_logger("ours")
    log.info("first", path="/\n2026-01-01 [info] forged", name="Ганболд")
    log.debug("not shown")
    logging.getLogger("theirs").warning("of a library: %s", "a\nb\x1b[0m")
    first, second = lines()
    assert "Ганболд" in first
    assert "\\x0a2026-01-01 [info] forged" in first.replace("\\\\", "\\")
    assert "\\x0ab\\x1b[0m" in second.replace("\\\\", "\\")


def test_json_fields(lines: Lines) -> None:
    configure_logs(form="json", level="debug")
    structlog.get_logger("ours").debug("started", count=2)
    [line] = lines()
    event: dict[str, Any] = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "started", "count": 2, "level": "debug", "logger": "ours"}


def test_the_line_of_a_request_is_that_of_its_logger(lines: Lines) -> None:
    configure_logs(form="json")
    values = {"path": "/\n[info] forged", "password": "s3cret", "count": 2, "peer": None}
    structlog.contextvars.bind_contextvars(request_id="abc")
    structlog.get_logger("ours").info("request", **values)
    info_writer("ours")({"event": "request", **values})
    structlog.contextvars.clear_contextvars()
    usual, own = (json.loads(line) for line in lines())
    assert usual.pop("timestamp") <= own.pop("timestamp")
    assert usual == own
    assert (own["path"], own["password"]) == ("/\\x0a[info] forged", "[withheld]")
    assert own["request_id"] == "abc"


def test_no_line_of_a_request_below_the_level(lines: Lines) -> None:
    configure_logs(form="json", level="warning")
    info_writer("ours")({"event": "request"})
    assert lines() == []


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_cannot_forge_lines(lines: Lines, form: LogFormat) -> None:
    configure_logs(form=form)
    try:
        int("x\n2026-01-01 [info] forged\x1b[31m")
    except ValueError as error:
        structlog.get_logger("ours").error("failed", exc_info=error)
    shown = lines()
    assert "Traceback" in "".join(shown)
    assert "\x1b[31mforged" not in "".join(shown)
    assert not [line for line in shown if line.startswith("2026-01-01")]


async def test_configured_twice_logs_once(lines: Lines) -> None:
    configure_logs()
    configure_logs()
    structlog.get_logger("ours").info("once")
    assert len(lines()) == 1
    assert logging.getLogger().handlers[0].stream is sys.stderr  # type: ignore[attr-defined]  # a StreamHandler


async def test_one_line_for_each_request(lines: Lines) -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.query_string:
            raise ZeroDivisionError("row 5\nforged")
        return plain_response(200, "fine")

    configure_logs(form="json")
    async with listening([web.get("/{any:.*}", handle, name="test.any")], None) as listener:
        base = "http://{}:{}".format(*listener.address)
        async with aiohttp.ClientSession(headers={"Authorization": "Basic c2VjcmV0"}) as session:
            for path in ("/a%1b%5b31m%0d", "/" + "x" * 3_000, "/?fail"):
                await (await session.get(base + path)).release()
    shown = lines()
    assert "c2VjcmV0" not in "".join(shown)
    events = [json.loads(line) for line in shown]
    requests = [event for event in events if event["event"] == "request"]
    assert [(event["status"], event["peer"], event["operation"]) for event in requests] == [
        (200, "127.0.0.1", "any"),
        (200, "127.0.0.1", "any"),
        (500, "127.0.0.1", "any"),
    ]
    assert len({event["request_id"] for event in requests}) == 3
    assert all(len(event["path"]) <= 201 for event in requests)
    [failure] = [event for event in events if event["event"] == "request failed"]
    assert "ZeroDivisionError" in failure["exception"]
    assert failure["request_id"] == requests[2]["request_id"]
