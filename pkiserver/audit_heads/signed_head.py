"""A signed head as it is written: what is signed, the SignedData around it, and how both stand in text.

The content is a line of JSON, `{"hash", "installation", "sequence", "time"}`, as id-data in a SignedData
(RFC 5652 §5). What is kept has no certificates; who gets it whole has those of its signer beside it.
"""

import base64
import binascii
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

from pkiserver.audit import Head
from pkiserver.clock import utc_text
from pkiserver.errors import RefusedError
from protocols import oid
from protocols.cms.content_info import read_content_info
from protocols.cms.signed_data import SignedData
from protocols.errors import ProtocolError

MAX_CONTENT_OCTETS: Final = 1024
MAX_HEAD_OCTETS: Final = 32 * 1024  # with a long chain of RSA; without certificates it takes 500
_PEM_COLUMNS: Final = 64  # RFC 7468 §3
_BEGIN: Final = "-----BEGIN CMS-----"  # RFC 7468 §9
_END: Final = "-----END CMS-----"
_BASE64: Final = "[A-Za-z0-9+/=]"
_IN_TEXT: Final = re.compile(rf"{_BEGIN}\s+((?:{_BASE64}+\s+)+){_END}|\bcms=({_BASE64}+)")
_BEGINNINGS: Final = re.compile(rf"{_BEGIN}|\bcms=")


def head_content(head: Head, at: datetime, installation: str) -> bytes:
    """Return what is signed of a head."""
    said = {"hash": head.hash, "installation": installation, "sequence": head.sequence, "time": utc_text(at)}
    return json.dumps(said, sort_keys=True).encode("ascii") + b"\n"


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head as its signer has it; whether the signature holds is for `checking`."""

    head: Head
    at: datetime
    installation: str
    signed_data: SignedData

    @classmethod
    def parse(cls, cms: bytes) -> Self:
        """Read a SignedData with one signer; `RefusedError` where this is no signed head."""
        if len(cms) > MAX_HEAD_OCTETS:
            raise RefusedError("this is no signed head of an audit log: it is too long")
        try:
            signed_data = SignedData.from_content_info(read_content_info(cms))
        except ProtocolError as error:
            raise RefusedError(f"this is no signed head of an audit log: {error}") from error
        content = signed_data.content
        if (
            signed_data.content_type != oid.PKCS7_DATA
            or content is None
            or len(signed_data.signer_infos) != 1
        ):
            raise RefusedError("this is no signed head of an audit log: no content, or not one signer")
        return cls(*_said(content), signed_data)

    def encode(self, certificates: Sequence[bytes] = ()) -> bytes:
        """Return the DER of the message with these certificates instead of its own."""
        return replace(self.signed_data, certificates=tuple(certificates)).to_content_info().encode()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A head to be sent, with the certificates in DER that who checks it needs."""

    head: SignedHead
    certificates: tuple[bytes, ...]


def _said(content: bytes) -> tuple[Head, datetime, str]:
    """Return head, time and installation of a content that this program wrote, octet by octet."""
    try:
        values: dict[str, Any] = json.loads(content[:MAX_CONTENT_OCTETS])  # what is longer is cut, and none
        head = Head.parse(content.decode("ascii"))
        at = datetime.strptime(values["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        installation = str(values["installation"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RefusedError("this is no signed head of an audit log: its content is another") from error
    if head_content(head, at, installation) != content:
        raise RefusedError("this is no signed head of an audit log: its content is another")
    return head, at, installation


def head_pem(outgoing: Outgoing) -> str:
    """Return the whole message as text (RFC 7468 §9), with a line before it that says of what it is."""
    head = outgoing.head
    encoded = base64.b64encode(head.encode(outgoing.certificates)).decode("ascii")
    lines = "\n".join(textwrap.wrap(encoded, _PEM_COLUMNS))
    title = f"# audit record {head.head.sequence} {head.head.hash} {utc_text(head.at)} {head.installation}"
    return f"{title}\n{_BEGIN}\n{lines}\n{_END}\n"


def heads_in(text: str) -> tuple[list[bytes], int]:
    """Return the heads in the file of heads, a mail or a log of syslog, and how many more cannot be read."""
    found = list(_decoded(text))
    return found, len(_BEGINNINGS.findall(text)) - len(found)


def _decoded(text: str) -> Iterator[bytes]:
    """Yield what can be decoded: what was cut off while it was written, or is too long, is counted only."""
    for match in _IN_TEXT.finditer(text):
        encoded = "".join((match[1] or match[2]).split())
        with suppress(binascii.Error):
            decoded = base64.b64decode(encoded, validate=True)
            if len(decoded) <= MAX_HEAD_OCTETS:
                yield decoded
