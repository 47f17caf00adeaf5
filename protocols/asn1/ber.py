"""BER (X.690 §8) brought into the form of DER, for CMS as clients send it (RFC 5652 §1: BER is allowed).

Only the framing is changed: lengths become definite and minimal, and OCTET STRINGs that were sent in segments
whole. What primitive values hold and the order of SET OF stay as sent, so whatever was signed as DER keeps
its octets. The result is read with `protocols.asn1.der`, which refuses what else is not DER.
"""

from typing import Final

from protocols.asn1 import der
from protocols.errors import MalformedError, TooLargeError

_INDEFINITE: Final = 0x80
_MAX_LENGTH_OCTETS: Final = 8  # senders of streams write a fixed four; BER sets no bound
_END_OF_CONTENTS: Final = b"\x00\x00"
_TAG_NUMBER_MASK: Final = 0x1F
_SEGMENTED_OCTET_STRING: Final = der.OCTET_STRING | der.CONSTRUCTED
_UNIVERSAL_CLASS_MASK: Final = 0xC0
_CONSTRUCTED_TYPES: Final = frozenset({der.SEQUENCE, der.SET})


def to_der(ber: bytes, *, max_bytes: int) -> bytes:
    """Return the one value in `ber` in the framing of DER; DER comes back as it is.

    `TooLargeError` over `max_bytes` or where values nest deeper than the DER reader takes, `MalformedError`
    where it is no BER, goes on after the value, or has segmented strings other than OCTET STRINGs.
    """
    if len(ber) > max_bytes:
        raise TooLargeError(f"message is longer than {max_bytes} bytes")
    encoded, end = _value(ber, 0, len(ber), 0)
    if end != len(ber):
        raise MalformedError("unexpected bytes after the last element")
    return encoded


def _value(data: bytes, position: int, end: int, depth: int) -> tuple[bytes, int]:
    """Return the DER of the value at `position` and where the next begins."""
    if depth > der.MAX_DEPTH:
        raise TooLargeError("BER nests too deeply")
    tag, content, stop = _header(data, position, end)
    if tag == _SEGMENTED_OCTET_STRING:
        segments, after = _children(data, content, stop, end, depth)
        return der.octet_string(b"".join(map(_octets_of_segment, segments))), after
    if tag & der.CONSTRUCTED:
        if not tag & _UNIVERSAL_CLASS_MASK and tag not in _CONSTRUCTED_TYPES:
            raise MalformedError("BER holds a segmented string that is no OCTET STRING")
        values, after = _children(data, content, stop, end, depth)
        return der.encode(tag, b"".join(values)), after
    if stop is None:
        raise MalformedError("primitive BER value of indefinite length")
    return der.encode(tag, data[content:stop]), stop


def _children(data: bytes, start: int, stop: int | None, end: int, depth: int) -> tuple[list[bytes], int]:
    """Return the values inside a constructed one, which ends at `stop`, or, None, at its end-of-contents."""
    values: list[bytes] = []
    position = start
    limit = end if stop is None else stop
    while position != stop:
        if stop is None and data[position : position + 2] == _END_OF_CONTENTS and position + 2 <= end:
            return values, position + 2
        encoded, position = _value(data, position, limit, depth + 1)
        values.append(encoded)
    return values, position


def _header(data: bytes, position: int, end: int) -> tuple[int, int, int | None]:
    """Return the identifier octet, where the content starts, and where it ends: None for indefinite."""
    if end - position < 2:
        raise MalformedError("truncated BER value")
    tag, length = data[position], data[position + 1]
    if tag & _TAG_NUMBER_MASK == _TAG_NUMBER_MASK or not tag:
        raise MalformedError("multi-byte BER tag, or end-of-contents out of place")
    position += 2
    if length == _INDEFINITE:
        return tag, position, None
    if length > _INDEFINITE:
        octets = length & 0x7F
        if octets > _MAX_LENGTH_OCTETS or octets > end - position:
            raise MalformedError("BER length is too long or truncated")
        length = int.from_bytes(data[position : position + octets], "big")
        position += octets
    if length > end - position:
        raise MalformedError("BER length runs past the end")
    return tag, position, position + length


def _octets_of_segment(segment: bytes) -> bytes:
    return der.whole(segment, der.Reader.octet_string)
