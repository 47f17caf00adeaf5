"""PKCS #10 CertificationRequest (RFC 2986 §4), read strictly and with its proof of possession verified.

Structure is read here; values of attributes by `request_attributes`, the key by `spki`, the signature by
`possession`. cryptography's own CSR loader is not used: it refuses attributes in another order than that of
SET OF, which strongSwan writes. The signature covers the received octets, so their order does no harm.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from cryptography import x509

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import Extension, find_extension, parse_extensions
from protocols.errors import MalformedError, TooLargeError
from protocols.x509.distinguished_names import read_name
from protocols.x509.general_names import read_general_names
from protocols.x509.possession import verify_possession
from protocols.x509.request_attributes import (
    ChangeSubjectName,
    SMIMECapability,
    parse_challenge_password,
    parse_key_identifier,
    parse_smime_capabilities,
)
from protocols.x509.spki import PublicKey, read_public_key

MAX_CSR_BYTES: Final = 16 * 1024  # RSA of 8192 bits takes 2.5 KiB; the rest is room for names
MAX_ATTRIBUTES: Final = 16  # clients in use send up to six

# The attributes that are read; each has one value (RFC 2985 §5.4, RFC 6402 §2.8, RFC 4108 §2.2.5, RFC 8551).
_READ: Final = frozenset(
    {
        oid.CHALLENGE_PASSWORD,
        oid.EXTENSION_REQUEST,
        oid.SMIME_CAPABILITIES,
        oid.CMC_CHANGE_SUBJECT_NAME,
        oid.AA_DECRYPT_KEY_ID,
        oid.AA_ASYMM_DECRYPT_KEY_ID,
    }
)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnprovenCSR:
    """What a request asks for, whoever holds its key; nothing in it is authorised.

    `san` is () without a requested subjectAltName. Other fields are None, `smime_capabilities` (), where the
    request has no such attribute or extension.
    """

    subject: x509.Name
    san: tuple[x509.GeneralName, ...]
    subject_key_identifier: bytes | None = None
    challenge_password: str | None = field(repr=False)  # EST puts a channel binding there: no log's business
    change_subject_name: ChangeSubjectName | None = None
    decrypt_key_identifier: bytes | None = None
    asymmetric_decrypt_key_identifier: bytes | None = None
    smime_capabilities: tuple[SMIMECapability, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCSR(UnprovenCSR):
    """A request whose signer holds the key it names; nothing in it is authorised yet."""

    public_key: PublicKey
    spki_sha256: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Request:
    """A CertificationRequest as received; of each attribute its first value, by type."""

    info_der: bytes
    algorithm_der: bytes
    signature: bytes
    subject_der: bytes
    spki_der: bytes
    attributes: dict[str, bytes]


def parse_csr(csr_der: bytes) -> ParsedCSR:
    """Return a CertificationRequest whose signature was verified by its own key.

    Raises `TooLargeError` over a bound, `MalformedError` where it is not DER of RFC 2986, or names or
    attributes are not valid, `BadKeyError` for a key that cannot be used, `BadPOPError` for a wrong or weak
    signature.
    """
    request = _read_request(csr_der)
    wanted = _wanted(request)
    public_key = read_public_key(request.spki_der)
    verify_possession(public_key, request.algorithm_der, request.info_der, request.signature)
    return ParsedCSR(**wanted, public_key=public_key, spki_sha256=hashlib.sha256(request.spki_der).digest())


def parse_csr_without_key(csr_der: bytes) -> UnprovenCSR:
    """Return what a request asks for whose key the server makes: its own key and signature are not looked at.

    RFC 7030 §4.4.1 has them be ignored. Raises as `parse_csr` for the rest.
    """
    return UnprovenCSR(**_wanted(_read_request(csr_der)))


def _wanted(request: _Request) -> dict[str, Any]:
    """Return the fields of an UnprovenCSR."""
    attributes = request.attributes
    extensions = _value(attributes, oid.EXTENSION_REQUEST, parse_extensions) or ()
    return {
        "subject": read_name(request.subject_der),
        "san": _requested_san(extensions),
        "subject_key_identifier": _requested_key_identifier(extensions),
        "challenge_password": _value(attributes, oid.CHALLENGE_PASSWORD, parse_challenge_password),
        "change_subject_name": _value(attributes, oid.CMC_CHANGE_SUBJECT_NAME, ChangeSubjectName.parse),
        "decrypt_key_identifier": _value(attributes, oid.AA_DECRYPT_KEY_ID, parse_key_identifier),
        "asymmetric_decrypt_key_identifier": _value(
            attributes, oid.AA_ASYMM_DECRYPT_KEY_ID, parse_key_identifier
        ),
        "smime_capabilities": _value(attributes, oid.SMIME_CAPABILITIES, parse_smime_capabilities) or (),
    }


def _value(attributes: dict[str, bytes], attribute_type: str, parse: Callable[[der.Reader], _T]) -> _T | None:
    value = attributes.get(attribute_type)
    return None if value is None else der.whole(value, parse)


def _read_request(csr_der: bytes) -> _Request:
    if len(csr_der) > MAX_CSR_BYTES:
        raise TooLargeError(f"certification request is longer than {MAX_CSR_BYTES} bytes")
    outer = der.Reader(csr_der)
    request = outer.enter()
    outer.finish()
    info_der = request.read_raw(der.SEQUENCE)
    algorithm_der = request.read_raw(der.SEQUENCE)
    signature = request.bit_string()
    request.finish()

    info = der.Reader(info_der).enter()
    if info.integer() != 0:
        raise MalformedError("certification request is not of version 1")
    subject_der = info.read_raw(der.SEQUENCE)
    spki_der = info.read_raw(der.SEQUENCE)
    attributes = _read_attributes(info.enter(der.context(0)))
    info.finish()
    return _Request(info_der, algorithm_der, signature, subject_der, spki_der, attributes)


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
        if attribute_type in _READ:
            values.finish()
    return attributes


def _requested_san(extensions: tuple[Extension, ...]) -> tuple[x509.GeneralName, ...]:
    extension = find_extension(extensions, oid.SUBJECT_ALT_NAME)
    return () if extension is None else read_general_names(extension.value)


def _requested_key_identifier(extensions: tuple[Extension, ...]) -> bytes | None:
    extension = find_extension(extensions, oid.SUBJECT_KEY_IDENTIFIER)
    return None if extension is None else der.whole(extension.value, parse_key_identifier)
