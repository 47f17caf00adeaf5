"""Reads the extensions that our profiles use (RFC 5280 §4.2) out of a TBSCertificate, strictly.

Each reader raises `ProtocolError` for what is not the extension's syntax in DER, and gives None, or nothing,
where the extension is absent.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from pkiserver.ca.lint_tbs import TBS
from protocols import oid
from protocols.asn1 import der
from protocols.errors import MalformedError

KEY_USAGE: Final = ExtensionOID.KEY_USAGE.dotted_string
EXTENDED_KEY_USAGE: Final = ExtensionOID.EXTENDED_KEY_USAGE.dotted_string
BASIC_CONSTRAINTS: Final = ExtensionOID.BASIC_CONSTRAINTS.dotted_string
AKI: Final = ExtensionOID.AUTHORITY_KEY_IDENTIFIER.dotted_string
SKI: Final = ExtensionOID.SUBJECT_KEY_IDENTIFIER.dotted_string
SAN: Final = ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string
AIA: Final = ExtensionOID.AUTHORITY_INFORMATION_ACCESS.dotted_string
CRL_DISTRIBUTION_POINTS: Final = ExtensionOID.CRL_DISTRIBUTION_POINTS.dotted_string
FRESHEST_CRL: Final = ExtensionOID.FRESHEST_CRL.dotted_string
CERTIFICATE_POLICIES: Final = ExtensionOID.CERTIFICATE_POLICIES.dotted_string
OCSP_NOCHECK: Final = ExtensionOID.OCSP_NO_CHECK.dotted_string
QC_STATEMENTS: Final = "1.3.6.1.5.5.7.1.3"
AD_OCSP: Final = AuthorityInformationAccessOID.OCSP.dotted_string
AD_CA_ISSUERS: Final = AuthorityInformationAccessOID.CA_ISSUERS.dotted_string

_URI: Final = der.context(6, constructed=False)
_KEY_ID: Final = der.context(0, constructed=False)
# In the order of the bits (RFC 5280 §4.2.1.3), in the words of cryptography.
_KEY_USAGE_BITS: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
# Rules ask for the same extension many times, and a profile's certificates have most of them alike.
_remembered: Final = lru_cache(maxsize=256)


@dataclass(frozen=True, slots=True)
class BasicConstraints:
    """BasicConstraints (RFC 5280 §4.2.1.9)."""

    is_ca: bool
    path_length: int | None


def _sequence(value: bytes) -> der.Reader:
    outer = der.Reader(value)
    reader = outer.enter()
    outer.finish()
    return reader


def _value(tbs: TBS, oid: str) -> bytes | None:
    extension = tbs.extension(oid)
    return None if extension is None else extension.value


def key_usage(tbs: TBS) -> frozenset[str]:
    """Return the names of the bits that are set."""
    value = _value(tbs, KEY_USAGE)
    return frozenset() if value is None else _key_usage(value)


@_remembered
def _key_usage(value: bytes) -> frozenset[str]:
    reader = der.Reader(value)
    content = reader.read(der.BIT_STRING)
    reader.finish()
    if not content or content[0] > 7 or len(content) > 3:
        raise MalformedError("keyUsage is no BIT STRING of at most nine bits")
    if len(content) > 1 and not content[-1] >> content[0] & 1:
        raise MalformedError("keyUsage ends in zero bits (X.690 §11.2.2)")
    bits = [octet >> shift & 1 for octet in content[1:] for shift in range(7, -1, -1)]
    if any(bits[len(_KEY_USAGE_BITS) :]):
        raise MalformedError("keyUsage has a bit without a name")
    return frozenset(name for name, bit in zip(_KEY_USAGE_BITS, bits, strict=False) if bit)


def extended_key_usage(tbs: TBS) -> tuple[str, ...]:
    """Return the key purposes in their order."""
    value = _value(tbs, EXTENDED_KEY_USAGE)
    return () if value is None else _extended_key_usage(value)


@_remembered
def _extended_key_usage(value: bytes) -> tuple[str, ...]:
    reader, found = _sequence(value), []
    while not reader.at_end:
        found.append(reader.oid())
    return tuple(found)


def basic_constraints(tbs: TBS) -> BasicConstraints | None:
    """Return BasicConstraints."""
    value = _value(tbs, BASIC_CONSTRAINTS)
    return None if value is None else _basic_constraints(value)


@_remembered
def _basic_constraints(value: bytes) -> BasicConstraints | None:
    reader = _sequence(value)
    is_ca, path_length = False, None
    if reader.peek() == der.BOOLEAN:
        is_ca = reader.boolean()
        if not is_ca:
            raise MalformedError("basicConstraints spells out its default (X.690 §11.5)")
    if not reader.at_end:
        path_length = reader.integer()
    reader.finish()
    return BasicConstraints(is_ca, path_length)


def subject_key_identifier(tbs: TBS) -> bytes | None:
    """Return the key identifier of the subject."""
    value = _value(tbs, SKI)
    if value is None:
        return None
    reader = der.Reader(value)
    found = reader.octet_string()
    reader.finish()
    return found


def authority_key_identifier(tbs: TBS) -> bytes | None:
    """Return the key identifier of the issuer; issuer name and serial, the other form, are refused."""
    value = _value(tbs, AKI)
    if value is None:
        return None
    reader = _sequence(value)
    found = reader.read(_KEY_ID)
    reader.finish()
    return found


def access_descriptions(tbs: TBS) -> tuple[tuple[str, str], ...]:
    """Return access method and URI of each description."""
    value = _value(tbs, AIA)
    return () if value is None else _access_descriptions(value)


@_remembered
def _access_descriptions(value: bytes) -> tuple[tuple[str, str], ...]:
    reader, found = _sequence(value), []
    while not reader.at_end:
        one = reader.enter()
        found.append((one.oid(), _uri(one)))
        one.finish()
    return tuple(found)


def crl_urls(tbs: TBS, extension: str = CRL_DISTRIBUTION_POINTS) -> tuple[str, ...]:
    """Return the URIs of all distribution points; reasons and cRLIssuer are refused.

    `extension` may be `FRESHEST_CRL`, which has the same syntax (RFC 5280 §4.2.1.15).
    """
    value = _value(tbs, extension)
    if value is None:
        return ()
    reader, found = _sequence(value), []
    while not reader.at_end:
        point = reader.enter()
        name = point.enter(der.context(0))
        point.finish()
        full_name = name.enter(der.context(0))
        name.finish()
        while not full_name.at_end:
            found.append(_uri(full_name))
    return tuple(found)


def policies(tbs: TBS) -> tuple[tuple[str, str], ...]:
    """Return each policy identifier with its CPS URI, "" for none; other qualifiers are refused."""
    value = _value(tbs, CERTIFICATE_POLICIES)
    if value is None:
        return ()
    reader, found = _sequence(value), []
    while not reader.at_end:
        one = reader.enter()
        found.append((one.oid(), "" if one.at_end else _cps_uri(one)))
        one.finish()
    return tuple(found)


def _cps_uri(policy: der.Reader) -> str:
    """Read policyQualifiers, where our profiles have one CPSuri (RFC 5280 §4.2.1.4)."""
    qualifiers = policy.enter()
    qualifier = qualifiers.enter()
    qualifiers.finish()
    if qualifier.oid() != oid.CPS:
        raise MalformedError("a policy qualifier is no CPS URI")
    uri = qualifier.read(der.IA5_STRING)
    qualifier.finish()
    return uri.decode("ascii", "replace")


def key_algorithm(spki: bytes) -> str:
    """Return the algorithm of a SubjectPublicKeyInfo."""
    return _sequence(spki).enter().oid()


def key_octets(spki: bytes) -> bytes:
    """Return what the BIT STRING of a SubjectPublicKeyInfo holds."""
    reader = _sequence(spki)
    reader.read_raw(der.SEQUENCE)
    found = reader.bit_string()
    reader.finish()
    return found


def _uri(reader: der.Reader) -> str:
    try:
        return reader.read(_URI).decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedError("a URI is not ASCII") from error
