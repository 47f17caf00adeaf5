"""Reads `pkiserver.toml` into `Settings`."""

from pathlib import Path

from config.schema import Settings
from config.validation import read_toml, validate


def load_settings(path: Path) -> Settings:
    """Return the settings of a file; `ConfigError` that lists everything wrong with it.

    Rules between sections are looked at once the sections themselves are sound.
    """
    return validate(Settings, read_toml(path), path.name)
