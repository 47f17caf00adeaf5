"""The INTEGERs by which CMP matches requests with their answers."""

from typing import Final

from protocols.asn1.der import Reader
from protocols.errors import TooLargeError

P10CR_REQ_ID: Final = -1  # RFC 9810 §5.3.4: of an answer to a p10cr, which has no certReqId
_MAX_BITS: Final = 63  # what a database's integers hold; clients send 0


def parse_cert_req_id(reader: Reader) -> int:
    """Read a certReqId of at most 64 bits."""
    value = reader.integer()
    if value.bit_length() > _MAX_BITS:
        raise TooLargeError("certReqId is longer than 64 bits")
    return value
