"""Files that a home needs and that a backup of it does not hold: its configuration names them elsewhere."""

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from config.base import Section
from config.schema import Settings
from pkiserver.home import Home

_WRITTEN: Final = frozenset({"head_file"})  # made anew by the server
_BY_STORE: Final = "keys"  # which of its files are needed is said by the kind of key store


def files_outside(home: Home, settings: Settings, names: Sequence[str]) -> tuple[str, ...]:
    """Return the files that are named and not among `names`, those of the home that the backup holds."""
    there = {(home.path / name).resolve() for name in names}
    wanted = (*_named_in(settings), *_of_keys(settings), *settings.cmp.peers, *_trusted_issuers(home))
    paths = ((home.path / path).resolve() for path in wanted)
    return tuple(sorted({str(path) for path in paths if path not in there}))


def _named_in(section: Section) -> Iterator[Path]:
    """Yield every path that a section and those below it have: what is added to them is not forgotten."""
    for name, value in section:
        if name in _WRITTEN or name == _BY_STORE:
            continue
        if isinstance(value, Section):
            yield from _named_in(value)
        else:
            values = value if isinstance(value, tuple) else (value,)
            yield from (one for one in values if isinstance(one, Path))


def _of_keys(settings: Settings) -> Iterator[Path | str]:
    keys = settings.keys
    named: tuple[Path | str | None, ...] = (keys.passphrase_file if not keys.passphrase_env else None,)
    if keys.store == "pkcs11":
        named = (keys.token.module_path, keys.token.pin_file)
    yield from (one for one in named if one is not None)


def _trusted_issuers(home: Home) -> Iterator[str]:
    """Yield the files that the home's profiles name; a profile that cannot be read hinders no backup."""
    for path in sorted(home.profiles.glob("*.toml")):
        try:
            files = tomllib.loads(path.read_text()).get("trusted_issuers", [])
        except (OSError, ValueError):
            continue
        yield from (one for one in files if isinstance(one, str)) if isinstance(files, list) else ()
