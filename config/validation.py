"""Turns TOML files into models, and what pydantic finds wrong with them into `Finding`s."""

import difflib
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from config.errors import Broken, ConfigError, Finding, RuleError

_MAX_FILE_BYTES: Final = 1 << 20  # a configuration is some KiB; anything larger is the wrong file
_SHOWN_CHARACTERS: Final = 60

Location = tuple[int | str, ...]
Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; `ConfigError` when it cannot be read or is no TOML."""
    return parse_toml(read_file(path), path.name)


def read_file(path: Path) -> bytes:
    """Return the octets of a configuration file, of which `parse_toml` refuses too many; `ConfigError`."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or 'input/output error'})"
        raise ConfigError([Finding(str(path), "", problem, "the file exists and is readable")]) from error


def parse_toml(data: bytes, file: str) -> dict[str, Any]:
    """Return what the octets of a TOML file of this name say; `ConfigError` when they are no TOML."""
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError([Finding(file, "", "over 1 MiB", "a configuration file is smaller")])
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise ConfigError([Finding(file, "", "not UTF-8", "TOML is UTF-8 text")]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Finding(file, "", str(error), "the file is TOML 1.0")]) from error
    except RecursionError as error:
        raise ConfigError([Finding(file, "", "nested too deeply", "a few tables deep")]) from error


def dotted(location: Location) -> str:
    """Return a place in a file as an operator writes it: `listen.http[0]`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part:
            text += f".{part}" if text else part
    return text


def _broken(detail: Any, model: type[BaseModel]) -> Iterator[Broken]:
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, RuleError):
        yield from cause.broken
    elif detail["type"] == "extra_forbidden":
        yield _unknown_key(detail["loc"], model)
    elif detail["type"] == "missing":
        yield Broken("missing", "this key is required")
    else:
        shown = repr(detail["input"])
        if len(shown) > _SHOWN_CHARACTERS:
            shown = f"{shown[: _SHOWN_CHARACTERS - 3]}..."
        yield Broken(f"{shown} is not allowed", detail["msg"].replace("Input should be", "must be"))


def _unknown_key(location: Location, model: type[BaseModel]) -> Broken:
    owner = _model_at(location[:-1], model)
    known = sorted(owner.model_fields) if owner else []
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f", did you mean {close[0]}?" if close else ""
    return Broken(f"unknown key{hint}", f"keys here: {', '.join(known)}")


def _model_at(location: Location, model: type[BaseModel]) -> type[BaseModel] | None:
    """Return the model that a location inside `model` belongs to."""
    current: type[BaseModel] | None = model
    skip = False  # the key of a table of tables, or the index in an array of tables
    for part in location:
        if current is None or skip:
            skip = False
            continue
        field = current.model_fields.get(str(part))
        current, skip = _model_in(field.annotation) if field else (None, False)
    return current


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the model that an annotation holds, and whether a key or an index leads to it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    origin = typing.get_origin(annotation)
    for argument in typing.get_args(annotation):
        inner, _ = _model_in(argument)
        if inner is not None:
            return inner, origin not in (types.UnionType, typing.Union)
    return None, False


def validate(model: type[Model], content: Mapping[str, Any], file: str) -> Model:
    """Return the content as the model; `ConfigError` with every finding.

    Rules between keys run where these are sound, so what is wrong, a value or a table that breaks a rule of
    its own, is taken out for another look, until nothing new is found.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(dict.fromkeys(_every_finding(model, content, file, error))) from error


def _every_finding(
    model: type[BaseModel], content: Mapping[str, Any], file: str, error: ValidationError
) -> Iterator[Finding]:
    bad: frozenset[Location] = frozenset()
    while True:
        yield from _findings(error, file, model, bad)
        found = bad.union(detail["loc"] for detail in error.errors())
        if found == bad:
            return
        bad = found
        try:
            model.model_validate(_without(content, bad, ()))
        except ValidationError as another:
            error = another
        else:
            return


def _without(value: Any, bad: frozenset[Location], location: Location) -> Any:
    """Return a content without the keys whose values are bad, or hold a bad value in a list."""
    if isinstance(value, list):
        return [_without(item, bad, (*location, index)) for index, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    kept = {key: item for key, item in value.items() if not _is_bad(item, bad, (*location, key))}
    return {key: _without(item, bad, (*location, key)) for key, item in kept.items()}


def _is_bad(value: Any, bad: frozenset[Location], location: Location) -> bool:
    items = range(len(value)) if isinstance(value, list) else ()
    return location in bad or any((*location, index) in bad for index in items)


def _is_rule(detail: Any) -> bool:
    """Return True for a rule between several keys: it stands at a table, not at a value."""
    return isinstance(detail["input"], Mapping) and isinstance(detail.get("ctx", {}).get("error"), RuleError)


def _findings(
    error: ValidationError, file: str, model: type[BaseModel], bad: frozenset[Location]
) -> list[Finding]:
    """Return a finding for each thing refused; with `bad`, only for rules that do not look at what is bad."""
    return [
        Finding(file, dotted((*detail["loc"], broken.key)), broken.problem, broken.rule)
        for detail in error.errors(include_url=False)
        if not bad or _is_rule(detail)
        for broken in _broken(detail, model)
        if not any(
            _leads_through((*detail["loc"], *key.split(".")), bad) for key in (broken.key, *broken.needs)
        )
    ]


def _leads_through(location: Location, bad: frozenset[Location]) -> bool:
    return any(location[:depth] in bad for depth in range(1, len(location) + 1))
