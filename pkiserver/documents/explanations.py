"""The four explanations that a holder acknowledges, by the version of their text.

A version is a TOML file, `[LANGUAGE.EXPLANATION]` with title and text. An operator's own go before those that
are shipped.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pkiserver.documents.words import Language
from pkiserver.errors import NotFoundError, UnavailableError

SHIPPED: Final = Path(__file__).with_name("explained")
EXPLANATIONS: Final = ("legal_effect", "conditions_of_use", "confidentiality", "liability")
MAX_TITLE_CHARACTERS: Final = 200
MAX_TEXT_CHARACTERS: Final = 1000  # a paragraph of a page is no longer
_MAX_FILE_OCTETS: Final = 64 * 1024
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", re.ASCII)  # the name of a file


@dataclass(frozen=True, slots=True)
class Explained:
    """One explanation."""

    title: str
    text: str


def explanations(folders: Sequence[Path], version: str, language: Language) -> tuple[Explained, ...]:
    """Return the explanations of a version, from the first folder that has it.

    `NotFoundError` where none has it, `UnavailableError` where its file is broken.
    """
    path = _found(folders, version)
    if path is None:
        raise NotFoundError(f"there is no version {version!r} of the explanations: see docs/operators.md")
    try:
        with path.open("rb") as file:
            tables = tomllib.loads(file.read(_MAX_FILE_OCTETS).decode())[language]
        return tuple(_explained(tables[name]) for name in EXPLANATIONS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnavailableError(f"the explanations {path.name} are broken: {language}") from error


def _found(folders: Sequence[Path], version: str) -> Path | None:
    if _VERSION.fullmatch(version) is None:
        return None
    paths = (folder / f"{version}.toml" for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def _explained(table: Any) -> Explained:
    title, text = " ".join(table["title"].split()), " ".join(table["text"].split())
    if not 0 < len(title) <= MAX_TITLE_CHARACTERS or not 0 < len(text) <= MAX_TEXT_CHARACTERS:
        raise ValueError("a title or a text is empty or too long")
    return Explained(title, text)
