"""Which part of a file a client asks for (Range, RFC 9110 §14), and in which coding (§12.5.3)."""

import re
from functools import lru_cache
from typing import Final

# One int-range or suffix-range (RFC 9110 §14.1.2), of numbers below any that would be slow.
_BYTE_RANGE: Final = re.compile(
    rb"bytes=[ \t]*(?:([0-9]{1,15})-([0-9]{0,15})|-([0-9]{1,15}))[ \t]*", re.IGNORECASE
)
# A weight (RFC 9110 §12.4.2); at most three digits behind the point.
_WEIGHT: Final = re.compile(rb"[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*")


def byte_range(asked: bytes, length: int) -> range | None:
    """Return the octets that a Range field asks for of a representation of this length.

    None: the whole, where it asks for several ranges, in another unit, or not as RFC 9110 §14.2 has it; a
    server may ignore these, and several parts of a signed file serve nobody. An empty range: there are none.
    """
    match = _BYTE_RANGE.fullmatch(asked)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return range(max(length - int(suffix), 0), length)
    if last and int(last) < int(first):
        return None
    end = min(int(last) + 1, length) if last else length
    return range(int(first), end)


@lru_cache(maxsize=256)  # there are few different ones
def prefers_gzip(accepted: bytes) -> bool:
    """Tell whether an Accept-Encoding takes gzip, and does not say that it would rather have no coding.

    A weight that is none refuses; `x-gzip` is gzip (RFC 9110 §8.4.1.3).
    """
    weights: dict[bytes, float] = {}
    for member in accepted.lower().split(b","):
        coding, mark, parameters = member.partition(b";")
        weights[coding.strip()] = _weight(mark + parameters)
    gzip = weights.get(b"gzip", weights.get(b"x-gzip", weights.get(b"*", 0.0)))
    return gzip > 0 and gzip >= weights.get(b"identity", 0.0)


def _weight(parameters: bytes) -> float:
    if not parameters:
        return 1.0
    match = _WEIGHT.fullmatch(parameters)
    return float(match[1]) if match else 0.0
