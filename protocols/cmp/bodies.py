"""PKIBody (RFC 9810 §5.1.2): which kind a message is of, and its content, not yet read.

The contents have modules of their own, by subject: `crmf`, `certificates`, `confirmation`, `revocation`,
`general`, `challenges`, `polling`, `status`, `announcements`.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.errors import MalformedError


class BodyType(IntEnum):
    """The tags of the CHOICE PKIBody."""

    IR = 0
    IP = 1
    CR = 2
    CP = 3
    P10CR = 4
    POPDECC = 5
    POPDECR = 6
    KUR = 7
    KUP = 8
    KRR = 9
    KRP = 10
    RR = 11
    RP = 12
    CCR = 13
    CCP = 14
    CKUANN = 15
    CANN = 16
    RANN = 17
    CRLANN = 18
    PKICONF = 19
    NESTED = 20
    GENM = 21
    GENP = 22
    ERROR = 23
    CERT_CONF = 24
    POLL_REQ = 25
    POLL_REP = 26


_BY_TAG: Final = {der.context(kind): kind for kind in BodyType}


@dataclass(frozen=True, slots=True)
class PKIBody:
    """A body: its kind, and the DER of the one value inside its tag, as received."""

    tag: BodyType
    content_der: bytes = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a PKIBody as far as its tag and the one value inside."""
        kind = _BY_TAG.get(reader.peek() or 0)
        if kind is None:
            raise MalformedError("the body is of no kind that RFC 9810 knows")
        inner = reader.enter(der.context(kind))
        _, content = inner.read_any()
        inner.finish()
        return cls(kind, content)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.explicit(self.tag, self.content_der)
