"""Certificates as octets (RFC 5280 §4.1): taken apart as received, and put together from signed parts.

What a field means is read with `cryptography.x509`, behind `read_certificate` where it comes from anybody;
here nothing is decoded that must be used as received.
"""

from dataclasses import dataclass, field
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from protocols.asn1 import der
from protocols.errors import MalformedError, TooLargeError

MAX_CERTIFICATE_BYTES: Final = 64 * 1024  # far over any certificate in use; bounds the work of slicing one

_V2: Final = 1
_V3: Final = 2
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
)


@dataclass(frozen=True, slots=True)
class TBSCertificate:
    """Parts of a TBSCertificate, sliced as received; `extensions_der` is b"" where there are none."""

    serial_number: int
    signature_algorithm: bytes = field(repr=False)
    issuer_der: bytes = field(repr=False)
    subject_der: bytes = field(repr=False)
    spki_der: bytes = field(repr=False)
    extensions_der: bytes = field(repr=False)

    @classmethod
    def parse(cls, tbs: bytes) -> Self:
        """Slice a DER TBSCertificate; `MalformedError` where it is none, `TooLargeError` over the bound."""
        if len(tbs) > MAX_CERTIFICATE_BYTES:
            raise TooLargeError(f"certificate is longer than {MAX_CERTIFICATE_BYTES} bytes")
        outer = der.Reader(tbs)
        reader = outer.enter()
        outer.finish()
        version = _version(reader)
        serial_number = reader.integer()
        signature_algorithm = reader.read_raw(der.SEQUENCE)
        issuer_der = reader.read_raw(der.SEQUENCE)
        reader.read(der.SEQUENCE)  # validity
        subject_der = reader.read_raw(der.SEQUENCE)
        spki_der = reader.read_raw(der.SEQUENCE)
        extensions_der = _extensions(reader, version)
        return cls(serial_number, signature_algorithm, issuer_der, subject_der, spki_der, extensions_der)

    @classmethod
    def of_certificate(cls, certificate: bytes) -> Self:
        """Slice the TBSCertificate of a DER Certificate; raises as `parse`."""
        outer = der.Reader(certificate)
        reader = outer.enter()
        outer.finish()
        return cls.parse(reader.read_raw(der.SEQUENCE))


def read_certificate(certificate: bytes) -> x509.Certificate:
    """Return a DER certificate of anybody, with names, validity and extensions known to be readable.

    `MalformedError` where it breaks RFC 5280 §4.1, `TooLargeError` over the bound. cryptography reads these
    parts when they are asked for, and raises then. Its key may be of a kind that cannot be used.
    """
    tbs = TBSCertificate.of_certificate(certificate)
    if tbs.serial_number <= 0:
        raise MalformedError("certificate has no positive serial number (RFC 5280 §4.1.2.2)")
    try:
        read = x509.load_der_x509_certificate(certificate)
        for name in (read.issuer, read.subject):
            name.public_bytes()
        read.extensions, read.not_valid_before_utc, read.not_valid_after_utc  # noqa: B018 - to have them read
    except _UNREADABLE as error:
        raise MalformedError("certificate has parts that cannot be read") from error
    return read


def _version(reader: der.Reader) -> int:
    if reader.peek() != der.context(0):
        return 0
    explicit = reader.enter(der.context(0))
    version = explicit.integer()
    explicit.finish()
    if version not in (_V2, _V3):
        raise MalformedError("certificate version is neither absent, 2 nor 3")
    return version


def _extensions(reader: der.Reader, version: int) -> bytes:
    """Return the DER Extensions (version 3), behind the unique identifiers (version 2 and up)."""
    extensions_der = b""
    for number in (1, 2):
        tag = der.context(number, constructed=False)
        if version >= _V2 and reader.peek() == tag:
            reader.read(tag)
    if version == _V3 and reader.peek() == der.context(3):
        extensions = reader.enter(der.context(3))
        extensions_der = extensions.read_raw(der.SEQUENCE)
        extensions.finish()
    reader.finish()
    return extensions_der


def assemble_certificate(tbs: bytes, signature_algorithm: bytes, signature: bytes) -> bytes:
    """Return the DER Certificate of a TBSCertificate, a DER AlgorithmIdentifier and a signature's octets.

    `MalformedError` where the TBSCertificate names another algorithm (RFC 5280 §4.1.1.2).
    """
    if _signature_algorithm(tbs) != signature_algorithm:
        raise MalformedError("certificate names two different signature algorithms (RFC 5280 §4.1.1.2)")
    return der.sequence(tbs, signature_algorithm, der.bit_string(signature))


def _signature_algorithm(tbs: bytes) -> bytes:
    outer = der.Reader(tbs)
    reader = outer.enter()
    outer.finish()
    _version(reader)
    reader.read(der.INTEGER)
    return reader.read_raw(der.SEQUENCE)


def subject_public_key_bits(spki_der: bytes) -> bytes:
    """Return the content of subjectPublicKey without tag, length and unused bits.

    It is what SHA-1 key identifiers (RFC 5280 §4.2.1.2) and issuerKeyHash (RFC 6960 §4.1.1) are taken over.
    """
    outer = der.Reader(spki_der)
    reader = outer.enter()
    outer.finish()
    reader.read(der.SEQUENCE)
    bits = reader.bit_string()
    reader.finish()
    return bits


def serial_text(serial_number: int) -> str:
    """Return a serial number as people read it: whole octets in lower-case hexadecimal."""
    return serial_number.to_bytes(max(1, (serial_number.bit_length() + 7) // 8), "big").hex()
