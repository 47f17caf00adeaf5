"""Versions of things: ETag, If-Match and If-None-Match (RFC 9110 §8.8.3, §13.1)."""

import re
from typing import Final

from pkiserver.errors import PreconditionFailedError, PreconditionRequiredError
from protocols.errors import MalformedError

MAX_HEADER_CHARACTERS: Final = 200  # a version of ours has under 40
MAX_DIGITS: Final = 18
_TAG: Final = re.compile(r'"([!#-~]{1,64})"', re.ASCII)
_TAGS: Final = re.compile(r'"[!#-~]{1,64}"', re.ASCII)


def etag(version: str) -> str:
    """Return a version as the header has it."""
    return f'"{version}"'


def seen_version(if_match: str | None) -> str:
    """Return the one version that a client says it saw.

    `PreconditionRequiredError` where it says none: "*" would be whichever (RFC 6585 §3). `MalformedError`
    for what is no tag; a weak one never matches (RFC 9110 §13.1.1).
    """
    if if_match is None or if_match.strip() == "*":
        raise PreconditionRequiredError("say in If-Match which version you saw: the ETag of the last answer")
    if if_match.startswith("W/"):
        raise PreconditionFailedError("a weak tag in If-Match never matches")
    found = _TAG.fullmatch(if_match.strip()) if len(if_match) <= MAX_HEADER_CHARACTERS else None
    if found is None:
        raise MalformedError("If-Match holds no single ETag")
    return found[1]


def require_seen(seen: str, version: str) -> None:
    """Raise `PreconditionFailedError` unless the client saw this version."""
    if seen != version:
        raise PreconditionFailedError("it was changed since you saw it: look at it again")


def seen_number(seen: str) -> int:
    """Return the version that a client saw of what counts them; -1, which there never is, for others."""
    return int(seen) if seen.isascii() and seen.isdecimal() and len(seen) <= MAX_DIGITS else -1


def is_unchanged(if_none_match: str | None, tag: str) -> bool:
    """Return whether the client has this version already (compared weakly, RFC 9110 §13.1.2)."""
    if if_none_match is None or len(if_none_match) > MAX_HEADER_CHARACTERS:
        return False
    return if_none_match.strip() == "*" or tag in _TAGS.findall(if_none_match)
