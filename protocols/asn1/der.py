"""Strict DER (X.690 §10, §11), read and written; bounded, and without knowledge of any type.

A `Reader` walks one constructed value and raises `MalformedError` for everything that is not DER:
long forms of short lengths, indefinite lengths, non-minimal integers, trailing bytes, multi-byte tags.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Self, TypeVar

from protocols.errors import MalformedError, TooLargeError

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OID: Final = 0x06
ENUMERATED: Final = 0x0A
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
IA5_STRING: Final = 0x16
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

CONSTRUCTED: Final = 0x20
CONTEXT: Final = 0x80

MAX_DEPTH: Final = 32  # the deepest message of CMP nests about 20 levels
_MAX_KNOWN_OID: Final = 32  # octets of one that is remembered: what is kept stays small
_TAG_NUMBER_MASK: Final = 0x1F
_LONG_LENGTH: Final = 0x80
_FIRST_UTC_YEAR: Final = 50  # RFC 5280 §4.1.2.5.1: YY from 50 up is 19YY
_MAX_LENGTH_OCTETS: Final = 4  # no message of ours reaches 4 GiB
_T = TypeVar("_T")
_DOTTED: Final = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+", re.ASCII)


def context(number: int, *, constructed: bool = True) -> int:
    """Return the identifier octet of the context-specific tag `[number]`."""
    return CONTEXT | (CONSTRUCTED if constructed else 0) | number


class Reader:
    """Reads the values inside one constructed DER value, in order.

    Every method raises `MalformedError` where the bytes are not the DER asked for and `TooLargeError`
    where nesting passes `MAX_DEPTH`.
    """

    __slots__ = ("_data", "_depth", "_end", "_position")

    def __init__(self, data: bytes, start: int = 0, end: int | None = None, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise TooLargeError("DER nests too deeply")
        self._data = data
        self._position = start
        self._end = len(data) if end is None else end
        self._depth = depth

    @property
    def position(self) -> int:
        """Where in the data the next value begins."""
        return self._position

    @property
    def at_end(self) -> bool:
        """True when nothing is left to read."""
        return self._position >= self._end

    def finish(self) -> None:
        """Raise `MalformedError` unless everything was read."""
        if self._position != self._end:
            raise MalformedError("unexpected bytes after the last element")

    def peek(self) -> int | None:
        """Return the next identifier octet, or None at the end."""
        return self._data[self._position] if self._position < self._end else None

    def look(self) -> Self:
        """Return another reader that stands where this one does."""
        return type(self)(self._data, self._position, self._end, self._depth)

    def _header(self) -> tuple[int, int, int]:
        """Return identifier octet, start and end of the content of the next value."""
        data, position, end = self._data, self._position, self._end
        if end - position < 2:
            raise MalformedError("truncated DER value")
        tag, length = data[position], data[position + 1]
        if tag & _TAG_NUMBER_MASK == _TAG_NUMBER_MASK:
            raise MalformedError("multi-byte DER tag")
        position += 2
        if length >= _LONG_LENGTH:
            position, length = self._long_length(position, length & 0x7F)
        if length > end - position:
            raise MalformedError("DER length runs past the end")
        return tag, position, position + length

    def _long_length(self, position: int, octets: int) -> tuple[int, int]:
        if octets == 0 or octets > _MAX_LENGTH_OCTETS or octets > self._end - position:
            raise MalformedError("DER length is indefinite, too long or truncated")
        length = int.from_bytes(self._data[position : position + octets], "big")
        if length < _LONG_LENGTH or length < 1 << (8 * (octets - 1)):
            raise MalformedError("DER length is not minimal")
        return position + octets, length

    def read_any(self) -> tuple[int, bytes]:
        """Return identifier octet and whole encoding (header and content) of the next value."""
        start = self._position
        tag, _, end = self._header()
        self._position = end
        return tag, self._data[start:end]

    def read_raw(self, tag: int) -> bytes:
        """Return the whole encoding of the next value, which must bear `tag`."""
        position = self._position
        return self._data[position : self._pass(tag)[1]]

    def read(self, tag: int) -> bytes:
        """Return the content of the next value, which must bear `tag`."""
        start, end = self._pass(tag)
        return self._data[start:end]

    def read_explicit(self, number: int, tag: int) -> bytes:
        """Return the content of the one value in `[number] EXPLICIT`, which must bear `tag`."""
        self._position, outer_end = self._pass(CONTEXT | CONSTRUCTED | number)
        start, end = self._pass(tag)
        if end != outer_end:
            raise MalformedError("an EXPLICIT tag holds more or less than one value")
        return self._data[start:end]

    def enter(self, tag: int = SEQUENCE) -> Self:
        """Return a reader of the content of the next value, which must bear `tag`."""
        start, end = self._pass(tag)
        return type(self)(self._data, start, end, self._depth + 1)

    def _pass(self, tag: int) -> tuple[int, int]:
        """Go behind the next value, which must bear `tag`; return start and end of its content."""
        data, start = self._data, self._position + 2
        # Most values are short: a look at two octets then does what `_expect` and `_header` do.
        if start <= self._end and data[start - 2] == tag and (length := data[start - 1]) < _LONG_LENGTH:
            end = start + length
            if end <= self._end and tag & _TAG_NUMBER_MASK != _TAG_NUMBER_MASK:
                self._position = end
                return start, end
        self._expect(tag)
        _, start, end = self._header()
        self._position = end
        return start, end

    def _expect(self, tag: int) -> None:
        if self._position >= self._end or self._data[self._position] != tag:
            found = self.peek()
            shown = "the end" if found is None else f"0x{found:02x}"
            raise MalformedError(f"expected DER tag 0x{tag:02x}, found {shown}")

    def boolean(self) -> bool:
        """Return a BOOLEAN (X.690 §11.1: 00 or FF only)."""
        content = self.read(BOOLEAN)
        if content not in (b"\x00", b"\xff"):
            raise MalformedError("BOOLEAN is neither 00 nor FF")
        return content == b"\xff"

    def integer(self, tag: int = INTEGER) -> int:
        """Return an INTEGER (or, by tag, an ENUMERATED) in its minimal encoding."""
        return integer_value(self.read(tag))

    def oid(self) -> str:
        """Return an OBJECT IDENTIFIER in dotted form."""
        content = bytes(self.read(OID))  # a slice of a bytearray has no hash
        return _known_dotted(content) if len(content) <= _MAX_KNOWN_OID else _dotted(content)

    def null(self) -> None:
        """Read a NULL."""
        if self.read(NULL):
            raise MalformedError("NULL with content")

    def octet_string(self) -> bytes:
        """Return the content of a primitive OCTET STRING."""
        return self.read(OCTET_STRING)

    def bit_string(self) -> bytes:
        """Return a BIT STRING of whole octets (signatures and keys)."""
        content = self.read(BIT_STRING)
        if not content or content[0] != 0:
            raise MalformedError("BIT STRING is empty or has unused bits")
        return content[1:]

    def generalized_time(self) -> datetime:
        """Return a GeneralizedTime `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5.2) as aware UTC."""
        return generalized_time_value(self.read(GENERALIZED_TIME))

    def time(self) -> datetime:
        """Return a Time (RFC 5280 §4.1.2.5) as aware UTC, whichever of both types it is in."""
        if self.peek() == GENERALIZED_TIME:
            return self.generalized_time()
        text = self.read(UTC_TIME)
        if len(text) != 13 or not text[:12].isdigit() or text[12:] != b"Z":
            raise MalformedError("UTCTime is not YYMMDDHHMMSSZ")
        year = int(text[:2])
        return _moment(year + (1900 if year >= _FIRST_UTC_YEAR else 2000), text[2:12])


def _moment(year: int, rest: bytes) -> datetime:
    """Return the time of a year and ten digits of month, day, hour, minute, second."""
    month, day, hour, minute, second = (int(rest[i : i + 2]) for i in range(0, 10, 2))
    try:  # some ten times as fast as strptime
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise MalformedError("time is no date") from error


def generalized_time_value(content: bytes) -> datetime:
    """Return the time of a GeneralizedTime's content octets `YYYYMMDDHHMMSSZ`."""
    if len(content) != 15 or not content[:14].isdigit() or content[14:] != b"Z":
        raise MalformedError("GeneralizedTime is not YYYYMMDDHHMMSSZ")
    return _moment(int(content[:4]), content[4:14])


def whole(encoded: bytes, parse: Callable[[Reader], _T]) -> _T:
    """Return what `parse` reads from these bytes; `MalformedError` where some are left over."""
    reader = Reader(encoded)
    value = parse(reader)
    reader.finish()
    return value


def optional(reader: Reader, number: int, parse: Callable[[Reader], _T]) -> _T | None:
    """Return what stands in `[number] EXPLICIT`, or None where the tag is not next."""
    if reader.peek() != context(number):
        return None
    fields = reader.enter(context(number))
    value = parse(fields)
    fields.finish()
    return value


def repeated(reader: Reader, parse: Callable[[Reader], _T], *, at_most: int, what: str) -> tuple[_T, ...]:
    """Return all that `parse` finds to the end of `reader`; `TooLargeError` names `what` over the bound."""
    values: list[_T] = []
    while not reader.at_end:
        if len(values) == at_most:
            raise TooLargeError(f"more than {at_most} {what}")
        values.append(parse(reader))
    return tuple(values)


def integer_value(content: bytes) -> int:
    """Return the value of an INTEGER's content octets; `MalformedError` unless minimal (X.690 §8.3.2)."""
    if not content:
        raise MalformedError("INTEGER without content")
    if len(content) > 1 and (content[0], content[1] >> 7) in ((0x00, 0), (0xFF, 1)):
        raise MalformedError("INTEGER is not minimal")
    return int.from_bytes(content, "big", signed=True)


@lru_cache(maxsize=1024)  # those in use are few, and each certificate has dozens
def _known_dotted(content: bytes) -> str:
    return _dotted(content)


def _dotted(content: bytes) -> str:
    if not content or content[-1] & 0x80:
        raise MalformedError("OBJECT IDENTIFIER is truncated")
    arcs: list[int] = []
    value, fresh = 0, True
    for octet in content:
        if fresh and octet == 0x80:
            raise MalformedError("OBJECT IDENTIFIER arc is not minimal")
        if value >> 121:
            raise TooLargeError("OBJECT IDENTIFIER arc over 128 bits")
        value = value << 7 | octet & 0x7F
        fresh = not octet & 0x80
        if fresh:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))


def header(tag: int, length: int) -> bytes:
    """Return identifier and length octets of a DER value with so many octets of content."""
    if length < _LONG_LENGTH:
        return bytes((tag, length))
    octets = (length.bit_length() + 7) // 8
    return bytes((tag, _LONG_LENGTH | octets)) + length.to_bytes(octets, "big")


def encode(tag: int, content: bytes) -> bytes:
    """Return the DER value with this identifier octet and content."""
    return header(tag, len(content)) + content


def sequence(*parts: bytes | bytearray) -> bytes:
    """Return a SEQUENCE of encoded parts, each copied once."""
    return b"".join((header(SEQUENCE, sum(map(len, parts))), *parts))


def set_of(parts: Iterable[bytes]) -> bytes:
    """Return a SET OF encoded parts, sorted as X.690 §11.6 asks."""
    return encode(SET, b"".join(sorted(parts)))


def explicit(number: int, value: bytes) -> bytes:
    """Return `[number] EXPLICIT value`."""
    return encode(context(number), value)


def boolean(value: bool) -> bytes:
    """Return a BOOLEAN."""
    return encode(BOOLEAN, b"\xff" if value else b"\x00")


def integer_content(value: int) -> bytes:
    """Return the minimal content octets of an INTEGER."""
    magnitude = value if value >= 0 else ~value
    return value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True)


def integer(value: int) -> bytes:
    """Return an INTEGER."""
    return encode(INTEGER, integer_content(value))


def enumerated(value: int) -> bytes:
    """Return an ENUMERATED."""
    return encode(ENUMERATED, integer_content(value))


@lru_cache(maxsize=256)  # what is written is ours, and of few kinds
def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER; `ValueError` for text that is none."""
    if not _DOTTED.fullmatch(dotted):
        raise ValueError(f"no OBJECT IDENTIFIER: {dotted}")
    first, second, *rest = map(int, dotted.split("."))
    if first < 2 and second > 39:
        raise ValueError(f"no OBJECT IDENTIFIER: {dotted}")
    return encode(OID, b"".join(_arc(value) for value in (40 * first + second, *rest)))


def _arc(value: int) -> bytes:
    octets = [value & 0x7F]
    while value := value >> 7:
        octets.append(value & 0x7F | 0x80)
    return bytes(reversed(octets))


def null() -> bytes:
    """Return a NULL."""
    return b"\x05\x00"


def octet_string(content: bytes) -> bytes:
    """Return a primitive OCTET STRING."""
    return encode(OCTET_STRING, content)


def bit_string(content: bytes) -> bytes:
    """Return a BIT STRING of whole octets."""
    return encode(BIT_STRING, b"\x00" + content)


def utf8_string(text: str) -> bytes:
    """Return a UTF8String."""
    return encode(UTF8_STRING, text.encode())


def generalized_time(moment: datetime) -> bytes:
    """Return a GeneralizedTime in whole seconds of UTC (RFC 5280 §4.1.2.5.2)."""
    moment = moment.astimezone(UTC)
    text = f"{moment.year:04}{moment:%m%d%H%M%S}Z"  # %Y does not pad years before 1000
    return encode(GENERALIZED_TIME, text.encode("ascii"))


def time(moment: datetime) -> bytes:
    """Return a Time: UTCTime through 2049, GeneralizedTime after (RFC 5280 §4.1.2.5)."""
    moment = moment.astimezone(UTC)
    if 1950 <= moment.year < 2050:
        return encode(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode("ascii"))
    return generalized_time(moment)
