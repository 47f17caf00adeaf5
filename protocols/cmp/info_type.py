"""InfoTypeAndValue (RFC 9810 §5.3.19), of which general messages and the generalInfo of headers are made."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader

MAX_INFOS: Final = 32  # more than there are types of them


@dataclass(frozen=True, slots=True)
class InfoTypeAndValue:
    """What is asked or said; `info_value` is one DER value, None where it is absent."""

    info_type: str
    info_value: bytes | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an InfoTypeAndValue."""
        fields = reader.enter()
        info_type = fields.oid()
        info_value = None if fields.at_end else fields.read_any()[1]
        fields.finish()
        return cls(info_type, info_value)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(der.oid(self.info_type), self.info_value or b"")


def parse_infos(reader: Reader) -> tuple[InfoTypeAndValue, ...]:
    """Read a SEQUENCE OF InfoTypeAndValue, which may be empty; at most `MAX_INFOS`."""
    return der.repeated(reader.enter(), InfoTypeAndValue.parse, at_most=MAX_INFOS, what="InfoTypeAndValues")


def encode_infos(infos: Iterable[InfoTypeAndValue]) -> bytes:
    """Return the SEQUENCE OF these."""
    return der.sequence(*(info.encode() for info in infos))
