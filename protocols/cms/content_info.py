"""The outer layer of CMS (RFC 5652 §3), and how its messages name certificates (§10.2.4, §5.3)."""

from dataclasses import dataclass
from typing import Final, Self

from protocols.asn1 import ber, der
from protocols.asn1.der import Reader

MAX_CMS_BYTES: Final = 64 * 1024  # a CMC request with its chain takes 8 KiB; bounds the pass over BER

_KEY_IDENTIFIER_TAG: Final = der.context(0, constructed=False)


@dataclass(frozen=True, slots=True)
class ContentInfo:
    """A content type and the DER of the value that it says."""

    content_type: str
    content: bytes

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a ContentInfo."""
        fields = reader.enter()
        content_type = fields.oid()
        explicit = fields.enter(der.context(0))
        _, content = explicit.read_any()
        explicit.finish()
        fields.finish()
        return cls(content_type, content)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(der.oid(self.content_type), der.explicit(0, self.content))


def read_content_info(message: bytes) -> ContentInfo:
    """Return the ContentInfo that a client sent in BER or DER; its content is in the framing of DER.

    `TooLargeError` over `MAX_CMS_BYTES` or the depth of the DER reader, else `MalformedError`.
    """
    return der.whole(ber.to_der(message, max_bytes=MAX_CMS_BYTES), ContentInfo.parse)


@dataclass(frozen=True, slots=True)
class IssuerAndSerialNumber:
    """A certificate by its issuer's Name in DER and its serial number (RFC 5652 §10.2.4)."""

    issuer: bytes
    serial_number: int

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an IssuerAndSerialNumber."""
        fields = reader.enter()
        identifier = cls(fields.read_raw(der.SEQUENCE), fields.integer())
        fields.finish()
        return identifier

    def encode(self) -> bytes:
        """Return the DER, which is that of the CHOICEs SignerIdentifier and RecipientIdentifier too."""
        return der.sequence(self.issuer, der.integer(self.serial_number))


@dataclass(frozen=True, slots=True)
class SubjectKeyIdentifier:
    """A certificate, or a key without one, by the key's identifier."""

    key_identifier: bytes

    def encode(self) -> bytes:
        """Return the DER of the CHOICEs SignerIdentifier (§5.3) and RecipientIdentifier (§6.2.1)."""
        return der.encode(_KEY_IDENTIFIER_TAG, self.key_identifier)


CertificateIdentifier = IssuerAndSerialNumber | SubjectKeyIdentifier


def parse_certificate_identifier(reader: Reader) -> CertificateIdentifier:
    """Read a SignerIdentifier (§5.3) or a RecipientIdentifier (§6.2.1)."""
    if reader.peek() == _KEY_IDENTIFIER_TAG:
        return SubjectKeyIdentifier(reader.read(_KEY_IDENTIFIER_TAG))
    return IssuerAndSerialNumber.parse(reader)
