"""SEQUENCEs and BIT STRINGs under IMPLICIT tags, as CRMF's module has them (RFC 4211 appendix B).

Those of CMP's own module are EXPLICIT.
"""

from protocols.asn1 import der
from protocols.asn1.der import Reader


def implicit(tag: int, sequence_der: bytes) -> bytes:
    """Return a SEQUENCE under an IMPLICIT tag."""
    return der.encode(tag, Reader(sequence_der).read(der.SEQUENCE))


def sequence_under(reader: Reader, tag: int) -> bytes:
    """Read the value under an IMPLICIT tag and return it as the SEQUENCE it is."""
    return der.encode(der.SEQUENCE, reader.read(tag))


def bits_under(reader: Reader, tag: int) -> bytes:
    """Read a BIT STRING of whole octets under an IMPLICIT tag; return its octets."""
    return Reader(der.encode(der.BIT_STRING, reader.read(tag))).bit_string()
