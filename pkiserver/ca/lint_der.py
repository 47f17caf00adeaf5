"""Finds what is not DER (X.690 §10, §11) anywhere in an encoding, without knowledge of its type."""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

from protocols.asn1 import der

_PRINTABLE: Final = re.compile(rb"[A-Za-z0-9 '()+,\-./:=?]*")
_UTC_TIME: Final = re.compile(rb"[0-9]{12}Z")
_GENERALIZED_TIME: Final = re.compile(rb"[0-9]{14}Z")


def _is_bit_string(content: bytes) -> bool:
    """X.690 §8.6.2, §11.2.1: unused bits below 8, all of them zero, and none of an empty string."""
    if not content or content[0] > 7 or (len(content) == 1 and content[0]):
        return False
    return not content[-1] & ((1 << content[0]) - 1) if len(content) > 1 else True


def _is_integer(content: bytes) -> bool:
    redundant = len(content) > 1 and (content[0], content[1] >> 7) in ((0x00, 0), (0xFF, 1))
    return bool(content) and not redundant


def _is_oid(content: bytes) -> bool:
    if not content or content[-1] & 0x80:
        return False
    return all(content[i] != 0x80 or (i and content[i - 1] & 0x80) for i in range(len(content)))


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


_PRIMITIVES: Final[dict[int, tuple[str, Callable[[bytes], bool]]]] = {
    der.BOOLEAN: ("BOOLEAN", lambda content: content in (b"\x00", b"\xff")),
    der.INTEGER: ("INTEGER", _is_integer),
    der.BIT_STRING: ("BIT STRING", _is_bit_string),
    der.OCTET_STRING: ("OCTET STRING", lambda _: True),
    der.NULL: ("NULL", lambda content: not content),
    der.OID: ("OBJECT IDENTIFIER", _is_oid),
    der.ENUMERATED: ("ENUMERATED", _is_integer),
    der.UTF8_STRING: ("UTF8String", _is_utf8),
    der.PRINTABLE_STRING: ("PrintableString", lambda content: _PRINTABLE.fullmatch(content) is not None),
    der.IA5_STRING: ("IA5String", bytes.isascii),
    der.UTC_TIME: ("UTCTime", lambda content: _UTC_TIME.fullmatch(content) is not None),
    der.GENERALIZED_TIME: (
        "GeneralizedTime",
        lambda content: _GENERALIZED_TIME.fullmatch(content) is not None,
    ),
}


@lru_cache(maxsize=512)
def part_faults(part: bytes, depth: int = 0) -> tuple[str, ...]:
    """Return what `der_faults` yields for a part of a certificate; most of those of a profile are alike."""
    return tuple(der_faults(part, depth))


def der_faults(data: bytes, depth: int = 0) -> Iterator[str]:
    """Yield a phrase for each value in `data` that is not DER; raises `ProtocolError` for broken framing.

    Universal types that no certificate of ours uses are faults too.
    """
    reader = der.Reader(data, depth=depth)
    while (tag := reader.peek()) is not None:
        content = reader.read(tag)
        if tag & der.CONSTRUCTED:
            yield from _constructed_faults(tag, content, depth)
        elif (primitive := _PRIMITIVES.get(tag)) is None:
            if not tag & der.CONTEXT:
                yield f"a value has the unexpected tag 0x{tag:02x}"
        elif not primitive[1](content):
            yield f"a {primitive[0]} is not in its DER form"


def _constructed_faults(tag: int, content: bytes, depth: int) -> Iterator[str]:
    if tag not in (der.SEQUENCE, der.SET) and not tag & der.CONTEXT:
        yield f"a value has the unexpected tag 0x{tag:02x}"
        return
    yield from der_faults(content, depth + 1)
    if tag == der.SET:
        reader, parts = der.Reader(content), []
        while not reader.at_end:
            parts.append(reader.read_any()[1])
        if parts != sorted(parts):
            yield "a SET OF is not in order"
