"""PKIHeader (RFC 9810 §5.1.1), whole and, of a message that is broken, as far as it can be read.

What a field must hold is the server's matter; here it is only well formed.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.free_text import encode_free_text, parse_free_text
from protocols.cmp.general_name import NULL_DN, directory_name, parse_general_name
from protocols.cmp.info_type import InfoTypeAndValue, encode_infos, parse_infos
from protocols.errors import MalformedError, ProtocolError


class Version(IntEnum):
    """The versions that have a name (RFC 9810 §7); `PKIHeader.pvno` may hold others."""

    CMP1999 = 1
    CMP2000 = 2
    CMP2021 = 3


def _message_time(fields: Reader, number: int) -> datetime:
    return der.generalized_time_value(fields.read_explicit(number, der.GENERALIZED_TIME))


def _octets(fields: Reader, number: int) -> bytes:
    return fields.read_explicit(number, der.OCTET_STRING)


def _protection_alg(fields: Reader, number: int) -> AlgorithmIdentifier | None:
    return der.optional(fields, number, AlgorithmIdentifier.parse)


def _free_text(fields: Reader, number: int) -> tuple[str, ...] | None:
    return der.optional(fields, number, parse_free_text)


def _general_info(fields: Reader, number: int) -> tuple[InfoTypeAndValue, ...]:
    infos = der.optional(fields, number, parse_infos)
    if not infos:
        raise MalformedError("generalInfo is empty")
    return infos


# The optional fields in the order of their tags [0] to [8].
_OPTIONAL: Final[tuple[tuple[str, Callable[[Reader, int], Any]], ...]] = (
    ("message_time", _message_time),
    ("protection_alg", _protection_alg),
    ("sender_kid", _octets),
    ("recip_kid", _octets),
    ("transaction_id", _octets),
    ("sender_nonce", _octets),
    ("recip_nonce", _octets),
    ("free_text", _free_text),
    ("general_info", _general_info),
)
_BY_TAG: Final = {
    der.context(number): (number, name, parse) for number, (name, parse) in enumerate(_OPTIONAL)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PKIHeader:
    """A header; `sender` and `recipient` are DER GeneralNames, times are whole seconds of UTC.

    What is absent is None, and () of `free_text` and `general_info`; what is known of those says
    `general_info`.
    """

    pvno: int = Version.CMP2000
    sender: bytes = NULL_DN
    recipient: bytes = NULL_DN
    message_time: datetime | None = None
    protection_alg: AlgorithmIdentifier | None = None
    sender_kid: bytes | None = None
    recip_kid: bytes | None = None
    transaction_id: bytes | None = None
    sender_nonce: bytes | None = None
    recip_nonce: bytes | None = None
    free_text: tuple[str, ...] = ()
    general_info: tuple[InfoTypeAndValue, ...] = ()

    @property
    def sender_name(self) -> bytes | None:
        """The DER Name of the sender, None where it is another kind of GeneralName."""
        return directory_name(self.sender)

    @property
    def recipient_name(self) -> bytes | None:
        """The DER Name of the recipient, None where it is another kind of GeneralName."""
        return directory_name(self.recipient)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a PKIHeader."""
        fields = reader.enter()
        read: dict[str, Any] = {
            "pvno": fields.integer(),
            "sender": parse_general_name(fields),
            "recipient": parse_general_name(fields),
        }
        last = 0
        while (tag := fields.peek()) is not None:
            rule = _BY_TAG.get(tag)
            if rule is None or tag <= last:
                raise MalformedError("a field of the header is unknown, repeated or out of order")
            last = tag
            number, name, parse = rule
            read[name] = parse(fields, number)
        return cls(**read)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            der.integer(self.pvno), self.sender, self.recipient, *map(_encode_optional, _values(self))
        )


def _values(header: PKIHeader) -> list[tuple[int, bytes]]:
    """Return the tag number and the DER of each optional field; b"" where it is absent."""
    octets = (
        header.sender_kid,
        header.recip_kid,
        header.transaction_id,
        header.sender_nonce,
        header.recip_nonce,
    )
    encoded = [
        der.generalized_time(header.message_time) if header.message_time else b"",
        header.protection_alg.encode() if header.protection_alg else b"",
        *(b"" if value is None else der.octet_string(value) for value in octets),
        encode_free_text(header.free_text),
        encode_infos(header.general_info) if header.general_info else b"",
    ]
    return list(enumerate(encoded))


def _encode_optional(field: tuple[int, bytes]) -> bytes:
    number, encoded = field
    return der.explicit(number, encoded) if encoded else b""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialHeader:
    """What could be read of the header of a broken message, for the error that answers it.

    Nothing in it is authentic. What is absent or could not be read is None.
    """

    pvno: int | None = None
    sender: bytes | None = None
    recipient: bytes | None = None
    protection_alg: AlgorithmIdentifier | None = None
    sender_kid: bytes | None = None
    transaction_id: bytes | None = None
    sender_nonce: bytes | None = None
    recip_nonce: bytes | None = None


_WANTED: Final = frozenset(PartialHeader.__slots__)
_MAX_FIELDS: Final = 2 * len(_OPTIONAL)  # passed over in a broken header: a message has room for 100,000


def read_partial_header(data: bytes) -> PartialHeader | None:
    """Return what can be read of the header of a message that `parse_pki_message` refused.

    None where the bytes are no PKIMessage at all: not a SEQUENCE that begins with a SEQUENCE that begins
    with an INTEGER, the version.
    """
    try:
        fields = Reader(data).enter().enter()
        read: dict[str, Any] = {"pvno": fields.integer()}
    except ProtocolError:
        return None
    with suppress(ProtocolError):  # from there on the framing is broken
        read["sender"] = parse_general_name(fields)
        read["recipient"] = parse_general_name(fields)
        for _ in range(_MAX_FIELDS):
            _read_one(fields, read)
    return PartialHeader(**read)


def _read_one(fields: Reader, read: dict[str, Any]) -> None:
    """Read the next optional field into `read`, or pass over it where it is not wanted or not of its type."""
    tag, encoded = fields.read_any()
    rule = _BY_TAG.get(tag)
    if rule is None:
        return
    number, name, parse = rule
    if name in _WANTED and name not in read:
        with suppress(ProtocolError):
            read[name] = parse(Reader(encoded), number)
