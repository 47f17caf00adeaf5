"""CMP over HTTP (RFC 9811): which resource a path names, and which messages get no CMP answer.

Pure: methods, status codes and bodies are the web layer's. Operation labels are those of RFC 9483 §6.1.
"""

import re
from dataclasses import dataclass
from typing import Final

from protocols.asn1 import der
from protocols.errors import ProtocolError

MEDIA_TYPE: Final = "application/pkixcmp"
PATH: Final = b"/.well-known/cmp"

OPERATIONS: Final = frozenset({
    "initialization", "certification", "keyupdate", "pkcs10", "revocation", "getcacerts", "getrootupdate",
    "getcertreqtemplate", "getcrls", "nested",
})  # fmt: skip

_PROFILE: Final = re.compile(rb"[a-z][a-z0-9-]{0,62}")  # what a profile's file may be called
_PROFILE_MARK: Final = b"p"
# ckuann, cann, rann and crlann (RFC 9811 §3.5)
_ANNOUNCEMENTS: Final = frozenset(der.context(number) for number in range(15, 19))


@dataclass(frozen=True, slots=True)
class CMPAddress:
    """What a path says of the message that is sent to it; None where it leaves that to the message."""

    operation: str | None = None
    profile: str | None = None


def address_of(path: bytes) -> CMPAddress | None:
    """Return what a path below `PATH` names (RFC 9811 §3.4), None where there is nothing of that name.

    A slash at the end is forgiven: clients join it to their paths.
    """
    if path != PATH and not path.startswith(PATH + b"/"):
        return None
    rest = path[len(PATH) + 1 :]
    segments = rest.removesuffix(b"/").split(b"/") if rest else []
    profile = None
    if segments[:1] == [_PROFILE_MARK]:
        if len(segments) < 2 or _PROFILE.fullmatch(segments[1]) is None:
            return None
        profile, segments = segments[1].decode("ascii"), segments[2:]
    if not segments:
        return CMPAddress(None, profile)
    operation = b"/".join(segments).decode("ascii", "replace")
    if operation not in OPERATIONS:
        return None
    return CMPAddress(operation, profile)


def is_announcement(message: bytes) -> bool:
    """Tell whether a PKIMessage is one of those that HTTP alone acknowledges (RFC 9811 §3.5)."""
    try:
        fields = der.Reader(message).enter()
        fields.read_raw(der.SEQUENCE)
        return fields.peek() in _ANNOUNCEMENTS
    except ProtocolError:
        return False
