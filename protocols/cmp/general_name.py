"""GeneralName (RFC 5280 §4.2.1.6) as CMP carries it: one DER value, kept as received."""

from typing import Final

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.errors import MalformedError

_DIRECTORY_NAME: Final = der.context(4)
_CHOICES: Final = frozenset(
    {
        *(
            der.context(number) for number in (0, 3, 4, 5)
        ),  # otherName, x400Address, directoryName, ediPartyName
        *(der.context(number, constructed=False) for number in (1, 2, 6, 7, 8)),
    }
)


def general_name(name_der: bytes) -> bytes:
    """Return the GeneralName that is a directoryName of this DER Name."""
    return der.encode(_DIRECTORY_NAME, name_der)


NULL_DN: Final = general_name(der.sequence())  # RFC 9810 §5.1.1: the sender that nothing is known of


def parse_general_name(reader: Reader) -> bytes:
    """Read a GeneralName and return its DER; only what a directoryName holds is looked at."""
    if reader.peek() not in _CHOICES:
        raise MalformedError("a GeneralName is none of its kinds")
    tag, name = reader.read_any()
    if tag == _DIRECTORY_NAME:
        Reader(name).read_explicit(4, der.SEQUENCE)
    return name


def directory_name(name: bytes) -> bytes | None:
    """Return the DER Name of a GeneralName that is a directoryName, else None."""
    if name[0] != _DIRECTORY_NAME:
        return None
    return der.encode(der.SEQUENCE, Reader(name).read_explicit(4, der.SEQUENCE))
