"""The base of every model of a configuration file."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A table of a configuration file: frozen, no unknown keys, defaults validated as what is written is."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)


def option(default: object, description: str, **bounds: Any) -> Any:
    """Return a field whose default is written as an operator writes it, with its line of the reference."""
    return Field(default, description=description, **bounds)
