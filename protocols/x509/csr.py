"""PKCS #10 CertificationRequest (RFC 2986 §4), read strictly and with its proof of possession verified.

Structure and attributes are read here; the key by `spki`, the signature by `possession`. cryptography's
own CSR loader is not used: it refuses attributes in another order than that of SET OF, which strongSwan
writes. The signature covers the received octets, so their order does no harm.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import Extension, find_extension, parse_extensions
from protocols.errors import MalformedError, TooLargeError
from protocols.x509.distinguished_names import read_name
from protocols.x509.general_names import read_general_names
from protocols.x509.possession import verify_possession
from protocols.x509.spki import PublicKey, read_public_key

MAX_CSR_BYTES: Final = 16 * 1024  # RSA of 8192 bits takes 2.5 KiB; the rest is room for names
MAX_ATTRIBUTES: Final = 16  # clients in use send up to six
MAX_CHALLENGE_PASSWORD_CHARS: Final = 255  # RFC 2985 §5.4.1, ub-challengePassword

_SINGLE_VALUED: Final = frozenset({oid.CHALLENGE_PASSWORD, oid.EXTENSION_REQUEST})  # RFC 2985 §5.4
_T61_STRING: Final = 0x14
_BMP_STRING: Final = 0x1E
_STRING_CODECS: Final = {  # DirectoryString, and the IA5String that some clients write in its place
    der.UTF8_STRING: "utf-8",
    der.PRINTABLE_STRING: "ascii",
    der.IA5_STRING: "ascii",
    _T61_STRING: "latin-1",
    _BMP_STRING: "utf-16-be",
}


@dataclass(frozen=True, slots=True)
class ParsedCSR:
    """A request whose signer holds the key it names; nothing in it is authorised yet.

    `san` is () without a requested subjectAltName, the one extension whose value is read.
    """

    subject: x509.Name
    san: tuple[x509.GeneralName, ...]
    challenge_password: str | None = field(repr=False)  # EST puts a channel binding there: no log's business
    public_key: PublicKey
    spki_sha256: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Info:
    """CertificationRequestInfo as received; of each attribute its single value, by type."""

    subject_der: bytes
    spki_der: bytes
    attributes: dict[str, bytes]


def parse_csr(csr_der: bytes) -> ParsedCSR:
    """Return a CertificationRequest whose signature was verified by its own key.

    Raises `TooLargeError` over a bound, `MalformedError` where it is not DER of RFC 2986 or names are
    not valid, `BadKeyError` for a key that cannot be used, `BadPOPError` for a wrong or weak signature.
    """
    if len(csr_der) > MAX_CSR_BYTES:
        raise TooLargeError(f"certification request is longer than {MAX_CSR_BYTES} bytes")
    outer = der.Reader(csr_der)
    request = outer.enter()
    outer.finish()
    info_der = request.read_raw(der.SEQUENCE)
    algorithm_der = request.read_raw(der.SEQUENCE)
    signature = request.bit_string()
    request.finish()

    info = _read_info(info_der)
    extensions = _requested_extensions(info.attributes.get(oid.EXTENSION_REQUEST))
    subject = read_name(info.subject_der)
    san = _requested_san(extensions)
    challenge_password = _challenge_password(info.attributes.get(oid.CHALLENGE_PASSWORD))

    public_key = read_public_key(info.spki_der)
    verify_possession(public_key, algorithm_der, info_der, signature)
    return ParsedCSR(
        subject=subject,
        san=san,
        challenge_password=challenge_password,
        public_key=public_key,
        spki_sha256=hashlib.sha256(info.spki_der).digest(),
    )


def _read_info(info_der: bytes) -> _Info:
    info = der.Reader(info_der).enter()
    if info.integer() != 0:
        raise MalformedError("certification request is not of version 1")
    subject_der = info.read_raw(der.SEQUENCE)
    spki_der = info.read_raw(der.SEQUENCE)
    attributes = _read_attributes(info.enter(der.context(0)))
    info.finish()
    return _Info(subject_der, spki_der, attributes)


def _read_attributes(reader: der.Reader) -> dict[str, bytes]:
    """Return the first value of each attribute by type; the attributes that are read have only one."""
    attributes: dict[str, bytes] = {}
    while not reader.at_end:
        if len(attributes) == MAX_ATTRIBUTES:
            raise TooLargeError(f"certification request has more than {MAX_ATTRIBUTES} attributes")
        attribute = reader.enter()
        attribute_type = attribute.oid()
        values = attribute.enter(der.SET)
        attribute.finish()
        if attribute_type in attributes:
            raise MalformedError("certification request has an attribute twice")
        _, attributes[attribute_type] = values.read_any()
        if attribute_type in _SINGLE_VALUED:
            values.finish()
    return attributes


def _requested_extensions(request_der: bytes | None) -> tuple[Extension, ...]:
    """Return the Extensions of an extensionRequest (RFC 2985 §5.4.2), which may not be empty."""
    return () if request_der is None else parse_extensions(der.Reader(request_der))


def _requested_san(extensions: tuple[Extension, ...]) -> tuple[x509.GeneralName, ...]:
    extension = find_extension(extensions, oid.SUBJECT_ALT_NAME)
    return () if extension is None else read_general_names(extension.value)


def _challenge_password(value_der: bytes | None) -> str | None:
    if value_der is None:
        return None
    reader = der.Reader(value_der)
    tag = reader.peek()
    codec = _STRING_CODECS.get(tag) if tag is not None else None
    if tag is None or codec is None:
        raise MalformedError("challengePassword is no DirectoryString")
    try:
        text = reader.read(tag).decode(codec)
    except UnicodeDecodeError as error:
        raise MalformedError("challengePassword is not valid text") from error
    if not 1 <= len(text) <= MAX_CHALLENGE_PASSWORD_CHARS:
        raise MalformedError(f"challengePassword is not of 1 to {MAX_CHALLENGE_PASSWORD_CHARS} characters")
    return text
