"""Reads `pkiserver.toml` into `Settings`."""

from functools import lru_cache
from pathlib import Path

from config.schema import Settings
from config.validation import parse_toml, read_file, validate


def load_settings(path: Path) -> Settings:
    """Return the settings of a file; `ConfigError` that lists everything wrong with it.

    Rules between sections are looked at once the sections themselves are sound.
    """
    return _settings(read_file(path), path.name)


@lru_cache(maxsize=4)  # a command reads the file to check it, and again to work by it
def _settings(data: bytes, file: str) -> Settings:
    return validate(Settings, parse_toml(data, file), file)
