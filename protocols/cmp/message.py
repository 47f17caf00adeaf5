"""PKIMessage (RFC 9810 §5.1): taken apart as received, and put together from its parts.

What was protected is sliced out of the received bytes and never encoded again. Protection is verified and
made in `protection`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.cmp.bodies import PKIBody
from protocols.cmp.header import PartialHeader, PKIHeader, read_partial_header
from protocols.errors import MalformedError, ProtocolError, TooLargeError

MAX_MESSAGE_BYTES: Final = 256 * 1024  # a batch of 32 requests, each with its chain
MAX_EXTRA_CERTS: Final = 32  # of a message; chains in use have up to five
MAX_NESTED: Final = 32  # messages in one PKIMessages


class MalformedMessageError(MalformedError):
    """The bytes are not a PKIMessage; `partial` is what its header tells nevertheless (RFC 9810 §5.3.21).

    None where they resemble no PKIMessage, which HTTP answers with 400 (RFC 9811 §3.1).
    """

    def __init__(self, reason: str, partial: PartialHeader | None) -> None:
        super().__init__(reason)
        self.partial = partial


@dataclass(frozen=True, slots=True)
class PKIMessage:
    """A message as received; nothing in it is authentic before its protection is verified.

    `header_der` and `body_der` are the received encodings, `protection` the octets of the BIT STRING, None
    where the message has none; `extra_certs` are DER certificates, not looked at.
    """

    header: PKIHeader
    body: PKIBody
    header_der: bytes = field(repr=False)
    body_der: bytes = field(repr=False)
    protection: bytes | None = field(repr=False)
    extra_certs: tuple[bytes, ...] = field(repr=False)
    der: bytes = field(repr=False)


def parse_pki_message(data: bytes, *, max_bytes: int = MAX_MESSAGE_BYTES) -> PKIMessage:
    """Return the PKIMessage in `data`, whose body is read as far as its kind.

    Raises `TooLargeError` over `max_bytes`, and `MalformedMessageError` for all else that is wrong.
    """
    if len(data) > max_bytes:
        raise TooLargeError(f"message is longer than {max_bytes} bytes")
    try:
        return _parse(data)
    except ProtocolError as error:
        raise MalformedMessageError(str(error), read_partial_header(data)) from error


def _parse(data: bytes) -> PKIMessage:
    outer = Reader(data)
    fields = outer.enter()
    outer.finish()
    start = fields.position
    header = PKIHeader.parse(fields)
    header_end = fields.position
    body = PKIBody.parse(fields)
    body_end = fields.position
    protection = der.optional(fields, 0, Reader.bit_string)
    extra_certs = der.optional(fields, 1, _parse_certificates)
    fields.finish()
    return PKIMessage(
        header, body, data[start:header_end], data[header_end:body_end], protection, extra_certs or (), data
    )


def _parse_certificates(reader: Reader) -> tuple[bytes, ...]:
    certificates = der.repeated(
        reader.enter(), lambda inner: inner.read_raw(der.SEQUENCE), at_most=MAX_EXTRA_CERTS, what="extraCerts"
    )
    if not certificates:
        raise MalformedError("extraCerts is empty")
    return certificates


def protected_part(message: PKIMessage) -> bytes:
    """Return the DER ProtectedPart (RFC 9810 §5.1.3): header and body as they were received."""
    return der.sequence(message.header_der, message.body_der)


def protected_part_of(header: PKIHeader, body: PKIBody) -> bytes:
    """Return the DER ProtectedPart of a message to be sent; its header says how it will be protected."""
    return der.sequence(header.encode(), body.encode())


def build_pki_message(
    header: PKIHeader, body: PKIBody, protection: bytes | None = None, extra_certs: Iterable[bytes] = ()
) -> bytes:
    """Return the DER of a message, with the octets of its protection where there is one."""
    return finish_message(protected_part_of(header, body), protection, extra_certs)


def finish_message(part: bytes, protection: bytes | None, extra_certs: Iterable[bytes] = ()) -> bytes:
    """Return the DER of a message from its ProtectedPart and what was computed over that."""
    certificates = der.sequence(*extra_certs)
    return der.sequence(
        Reader(part).read(der.SEQUENCE),
        b"" if protection is None else der.explicit(0, der.bit_string(protection)),
        der.explicit(1, certificates) if len(certificates) > len(der.sequence()) else b"",
    )


def parse_nested(body: PKIBody) -> tuple[bytes, ...]:
    """Return the DER of each message in a NestedMessageContent (§5.1.3.5), in order and not yet parsed."""
    return der.whole(body.content_der, parse_pki_messages)


def parse_pki_messages(reader: Reader) -> tuple[bytes, ...]:
    """Read PKIMessages: one or more, at most `MAX_NESTED`; each is returned as its DER."""
    messages = der.repeated(
        reader.enter(), lambda inner: inner.read_raw(der.SEQUENCE), at_most=MAX_NESTED, what="nested messages"
    )
    if not messages:
        raise MalformedError("PKIMessages is empty")
    return messages
