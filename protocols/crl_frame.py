"""A CRL in pieces (RFC 5280 §5.1): all but its entries, which may be too many to be copied.

A frame is what TBSCertList holds before and after revokedCertificates. With the entries, joined in chunks of
any size, it gives the octets that are signed, and with the signature those of the CRL; no chunk is copied.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.asn1 import der
from protocols.errors import MalformedError


@dataclass(frozen=True, slots=True)
class CRLFrame:
    """What TBSCertList holds before (`head`) and after (`tail`) revokedCertificates, in DER."""

    head: bytes
    tail: bytes


def split_frame(tbs: bytes) -> CRLFrame:
    """Return the frame of a TBSCertList of version 2 without entries, with nextUpdate and extensions.

    `MalformedError` for any other.
    """
    outer = der.Reader(tbs)
    fields = outer.enter()
    outer.finish()
    named = [fields.read_raw(tag) for tag in (der.INTEGER, der.SEQUENCE, der.SEQUENCE)]
    times = [_raw_time(fields), _raw_time(fields)]
    tail = fields.read_raw(der.context(0))
    fields.finish()
    return CRLFrame(b"".join((*named, *times)), tail)


def _raw_time(fields: der.Reader) -> bytes:
    return fields.read_raw(der.UTC_TIME if fields.peek() == der.UTC_TIME else der.GENERALIZED_TIME)


def tbs_pieces(frame: CRLFrame, entries: Sequence[bytes]) -> list[bytes]:
    """Return the pieces of the DER TBSCertList; revokedCertificates is absent when there is no entry."""
    octets = sum(map(len, entries))
    revoked = der.header(der.SEQUENCE, octets) if octets else b""
    length = len(frame.head) + len(revoked) + octets + len(frame.tail)
    return [der.header(der.SEQUENCE, length) + frame.head + revoked, *entries, frame.tail]


def crl_pieces(frame: CRLFrame, entries: Sequence[bytes], signature: bytes) -> list[bytes]:
    """Return the pieces of the DER CertificateList, its algorithm being that of the frame (§5.1.1.2)."""
    signed = tbs_pieces(frame, entries)
    tail = _signature_algorithm(frame) + der.bit_string(signature)
    return [der.header(der.SEQUENCE, sum(map(len, signed)) + len(tail)), *signed, tail]


def _signature_algorithm(frame: CRLFrame) -> bytes:
    fields = der.Reader(frame.head)
    fields.integer()
    if fields.peek() != der.SEQUENCE:
        raise MalformedError("the frame of a CRL names no signature algorithm")
    return fields.read_raw(der.SEQUENCE)
