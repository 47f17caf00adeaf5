"""The reference of `pkiserver.toml`, generated from the models: every option, described, with its default."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from config.schema import DEFAULT_PUBLIC_URL, Settings
from config.schema_authorities import DEFAULT_AUTHORITIES, Authority

_WIDTH: Final = 100
_HEADING: Final = """\
# Configuration of pkiserver. Every option stands here with its default value.
# Durations: 30s, 5m, 24h, 7d. Lifetimes of certificates: 90d, 5y (calendar years). Sizes: 64KiB, 64MiB.
# Relative paths begin at the home folder. Check a changed file with `pkiserver doctor`.
"""


def reference(public_url: str = DEFAULT_PUBLIC_URL) -> str:
    """Return a complete, commented `pkiserver.toml`; without an argument it says exactly the defaults."""
    fields = Settings.model_fields
    lines = [_HEADING]
    lines += _option("public_url", fields["public_url"], public_url)
    for name, field in fields.items():
        if name == "authorities":
            lines += _authorities(field)
        elif name != "public_url":
            lines += _section(name, field)
    return "\n".join(lines) + "\n"


def _section(name: str, field: FieldInfo) -> Iterator[str]:
    model = field.annotation
    assert isinstance(model, type)  # noqa: S101 -- narrows for mypy: every field but two is a section
    assert issubclass(model, BaseModel)  # noqa: S101 -- as above
    yield ""
    yield from _comment(model.__doc__ or "")
    yield f"[{name}]"
    for key, option in model.model_fields.items():
        yield from _option(key, option, option.default)


def _authorities(field: FieldInfo) -> Iterator[str]:
    yield ""
    yield from _comment(field.description or "")
    described = False
    for name, values in DEFAULT_AUTHORITIES.items():
        yield f"[authorities.{name}]"
        for key, option in Authority.model_fields.items():
            value = values.get(key, option.default)
            yield from _line(key, value) if described else _option(key, option, value)
        yield ""
        described = True


def _option(key: str, field: FieldInfo, value: Any) -> Iterator[str]:
    yield from _comment(field.description or "")
    yield from _line(key, value)


def _line(key: str, value: Any) -> Iterator[str]:
    yield f"{key} = {_toml(value)}"


def _comment(text: str) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(text.split()), _WIDTH - 2):
        yield f"# {line}"


def _toml(value: Any) -> str:
    """Return a value as TOML writes it; the defaults are texts, whole numbers and lists of texts."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, Mapping):
        raise TypeError("a section is no value")
    return f"[{', '.join(map(_toml, value))}]"
