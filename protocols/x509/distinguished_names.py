"""Distinguished names: RFC 4514 text as an operator types it, their DER, and their equality.

Attribute types, string types and lengths follow RFC 5280 §4.1.2.4 and appendix A. Which attributes a
certificate may bear is the profile's matter.
"""

import re
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography import x509

from protocols import oid
from protocols.asn1 import der
from protocols.errors import MalformedError, TooLargeError
from protocols.x509.addresses import check_email, check_label

MAX_SUBJECT_CHARS: Final = 4096  # far over any real name; bounds the work of parsing one
MAX_RDNS: Final = 32  # more attributes than any profile of ours knows
_MAX_KNOWN_OCTETS: Final = 512  # of a name that is remembered: what is kept stays small
_MAX_SHOWN_CHARS: Final = 40  # enough of a faulty part to find it

# Upper bounds of RFC 5280 appendix A.1, in characters. X.520 leaves organizationIdentifier and UID
# unbounded; they get a bound of ours.
UB_NAME: Final = 32768
UB_COMMON_NAME: Final = 64
UB_LOCALITY_NAME: Final = 128
UB_STATE_NAME: Final = 128
UB_ORGANIZATION_NAME: Final = 64
UB_ORGANIZATIONAL_UNIT_NAME: Final = 64
UB_TITLE: Final = 64
UB_SERIAL_NUMBER: Final = 64
UB_EMAILADDRESS_LENGTH: Final = 255
UB_IDENTIFIER: Final = 256
UB_DOMAIN_LABEL: Final = 63  # RFC 1034 §3.1

_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_PART: Final = re.compile(r"((?:[^\\,+]|\\.)*)([,+]|\Z)", re.DOTALL)
_TOKEN: Final = re.compile(r"\\([0-9A-Fa-f]{2})|\\([ \"#+,;<=>\\])|([^\\\"+,;<>])", re.DOTALL)
_HAS_ESCAPE: Final = frozenset('"+,;<>\\')
# Invisible characters: they reorder or break what an operator reads, and make two names look like one.
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# Those that the traditional Mongolian script is not written without: joiners and the vowel separator.
_JOINERS: Final = frozenset("\u200c\u200d\u180e")

# RFC 5280 counts characters, cryptography warns about octets: a Cyrillic commonName over 32 letters is right.
warnings.filterwarnings("ignore", message="Attribute's length must be", category=UserWarning)


def _check_printable(value: str) -> None:
    if not _PRINTABLE.fullmatch(value):
        raise MalformedError("has characters that a PrintableString lacks")


def _check_country(value: str) -> None:
    if not _COUNTRY.fullmatch(value):
        raise MalformedError("is not a country code of two capital letters")


def _check_text(value: str) -> None:
    # What can be printed is of none of the refused categories: most names need no look at each character.
    if not value.isprintable() and any(map(_is_unsafe, value)):
        raise MalformedError("has control or invisible characters")


@dataclass(frozen=True, slots=True)
class AttributeRule:
    """How one attribute type is named, encoded and bounded; the first name is the one shown."""

    names: tuple[str, ...]
    oid: str
    max_chars: int
    tag: int = der.UTF8_STRING
    check: Callable[[str], None] = _check_text


ATTRIBUTES: Final = (
    AttributeRule(("CN",), oid.COMMON_NAME, UB_COMMON_NAME),
    AttributeRule(("SN", "surname"), oid.SURNAME, UB_NAME),
    AttributeRule(
        ("serialNumber",), oid.SERIAL_NUMBER, UB_SERIAL_NUMBER, der.PRINTABLE_STRING, _check_printable
    ),
    AttributeRule(("C",), oid.COUNTRY_NAME, 2, der.PRINTABLE_STRING, _check_country),
    AttributeRule(("L",), oid.LOCALITY_NAME, UB_LOCALITY_NAME),
    AttributeRule(("ST",), oid.STATE_OR_PROVINCE_NAME, UB_STATE_NAME),
    AttributeRule(("O",), oid.ORGANIZATION_NAME, UB_ORGANIZATION_NAME),
    AttributeRule(("OU",), oid.ORGANIZATIONAL_UNIT_NAME, UB_ORGANIZATIONAL_UNIT_NAME),
    AttributeRule(("title", "T"), oid.TITLE, UB_TITLE),
    AttributeRule(("givenName", "GN"), oid.GIVEN_NAME, UB_NAME),
    AttributeRule(("organizationIdentifier",), oid.ORGANIZATION_IDENTIFIER, UB_IDENTIFIER),
    AttributeRule(
        ("emailAddress", "E"), oid.EMAIL_ADDRESS, UB_EMAILADDRESS_LENGTH, der.IA5_STRING, check_email
    ),
    AttributeRule(("UID",), oid.USER_ID, UB_IDENTIFIER),
    AttributeRule(("DC",), oid.DOMAIN_COMPONENT, UB_DOMAIN_LABEL, der.IA5_STRING, check_label),
)
_BY_NAME: Final = {name.lower(): rule for rule in ATTRIBUTES for name in rule.names}
_BY_OID: Final = {rule.oid: rule for rule in ATTRIBUTES}


def parse_subject(text: str) -> x509.Name:
    """Return the name that RFC 4514 text stands for: `CN=…,O=…,C=MN` gives C first and CN last.

    Spaces around separators are passed over; values are normalised to NFC; `+` joins the attributes of
    one RDN. C and serialNumber become PrintableString, emailAddress and DC IA5String, others UTF8String.
    `MalformedError` names the part that is wrong, `TooLargeError` the bound that is passed.
    """
    if len(text) > MAX_SUBJECT_CHARS:
        raise TooLargeError(f"subject is longer than {MAX_SUBJECT_CHARS} characters")
    rdns: list[list[bytes]] = [[]]
    position = 0
    while True:
        match = _PART.match(text, position)
        if match is None:
            raise MalformedError("subject ends in a lone backslash")
        rdns[-1].append(_attribute(match[1]))
        position = match.end()
        if not match[2]:
            break
        if match[2] == ",":
            rdns.append([])
    return read_name(der.sequence(*map(der.set_of, reversed(rdns))))


def _attribute(part: str) -> bytes:
    name, equals, raw = part.partition("=")
    if not equals:
        raise MalformedError(
            f"subject: {_shown(part)} is not NAME=VALUE (in a value, write comma and plus as \\, \\+)"
        )
    rule = _BY_NAME.get(name.strip().lower())
    if rule is None:
        known = ", ".join(rule.names[0] for rule in ATTRIBUTES)
        raise MalformedError(f"subject: unknown attribute {_shown(name.strip())}; known are {known}")
    try:
        return _encoded(rule, _unescape(raw))
    except MalformedError as error:
        raise MalformedError(f"subject: {rule.names[0]}={_shown(raw.strip())} {error}") from error


def make_name(attributes: Sequence[tuple[str, str]]) -> x509.Name:
    """Return the name of these attributes, type and value, one an RDN.

    The rules are those of `parse_subject`; `MalformedError` also for a type that is not in `ATTRIBUTES`.
    """
    if sum(len(value) for _, value in attributes) > MAX_SUBJECT_CHARS:
        raise TooLargeError(f"subject is longer than {MAX_SUBJECT_CHARS} characters")
    return read_name(der.sequence(*(der.set_of([_typed(*attribute)]) for attribute in attributes)))


def _typed(attribute_type: str, value: str) -> bytes:
    rule = _BY_OID.get(attribute_type)
    if rule is None:
        raise MalformedError(f"subject: unknown attribute {attribute_type}")
    try:
        return _encoded(rule, value)
    except MalformedError as error:
        raise MalformedError(f"subject: {rule.names[0]}={_shown(value)} {error}") from error


def _encoded(rule: AttributeRule, text: str) -> bytes:
    """Return an AttributeTypeAndValue; `MalformedError` says what is wrong with the value."""
    value = unicodedata.normalize("NFC", text)
    _check_length(value, rule)
    rule.check(value)
    try:
        return der.sequence(der.oid(rule.oid), der.encode(rule.tag, value.encode()))
    except UnicodeEncodeError as error:
        raise MalformedError("is not UTF-8") from error


def _check_length(value: str, rule: AttributeRule) -> None:
    if not value:
        raise MalformedError("is empty")
    if len(value) > rule.max_chars:
        raise MalformedError(f"is longer than {rule.max_chars} characters")


def _unescape(raw: str) -> str:
    """Return the value that RFC 4514 §2.4 text stands for, without unescaped outer spaces."""
    octets = bytearray()
    position = len(raw) - len(raw.lstrip(" "))
    kept = 0  # where the last character other than an unescaped space ends
    if raw[position : position + 1] == "#":
        raise MalformedError("starts with #: hexadecimal values are not taken (escape it as \\#)")
    if _HAS_ESCAPE.isdisjoint(raw) and raw.isprintable():
        return raw.strip(" ")
    while position < len(raw):
        match = _TOKEN.match(raw, position)
        if match is None:
            raise MalformedError(f"has {raw[position]!r} where a backslash must precede it, or a bad escape")
        octets += bytes.fromhex(match[1]) if match[1] else _utf8(match[2] or match[3])
        position = match.end()
        if match[3] != " ":
            kept = len(octets)
    try:
        return octets[:kept].decode()
    except UnicodeDecodeError as error:
        raise MalformedError("is not UTF-8") from error


def _utf8(character: str) -> bytes:
    try:
        return character.encode()
    except UnicodeEncodeError as error:
        raise MalformedError("is not UTF-8") from error


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in _REFUSED_CATEGORIES and character not in _JOINERS


def _shown(text: str) -> str:
    return repr(text[:_MAX_SHOWN_CHARS])  # which escapes all that is not printable


def subject_text(name: x509.Name) -> str:
    """Return RFC 4514 text of a name, last RDN first; on one line and safe to show, whatever the name holds.

    Unknown attribute types are shown as OID. For names that `parse_subject` made it is the reverse.
    """
    return ",".join("+".join(map(_attribute_text, rdn)) for rdn in reversed(name.rdns))


def _attribute_text(attribute: x509.NameAttribute[str | bytes]) -> str:
    dotted = attribute.oid.dotted_string
    rule = _BY_OID.get(dotted)
    shown = rule.names[0] if rule else dotted
    value = attribute.value
    return f"{shown}=#{value.hex()}" if isinstance(value, bytes) else f"{shown}={_escape(value)}"


def _escape(value: str) -> str:
    if (
        _HAS_ESCAPE.isdisjoint(value)
        and value.isprintable()
        and value == value.strip(" ")
        and value[:1] != "#"
    ):
        return value
    characters = [_escape_character(character) for character in value]
    if value[:1] in ("#", " "):
        characters[0] = "\\" + value[0]
    if len(value) > 1 and value[-1] == " ":
        characters[-1] = "\\ "
    return "".join(characters)


def _escape_character(character: str) -> str:
    if character in _HAS_ESCAPE:
        return "\\" + character
    if _is_unsafe(character):
        return "".join(f"\\{octet:02x}" for octet in character.encode("utf-8", "surrogatepass"))
    return character


def read_name(name_der: bytes) -> x509.Name:
    """Return a DER Name (RFC 5280 §4.1.2.4), which may be empty; `MalformedError` where it is none."""
    return _known_name(name_der) if len(name_der) <= _MAX_KNOWN_OCTETS else _read_name(name_der)


@lru_cache(maxsize=256)  # a message names its sender in its header, its template and its certificate
def _known_name(name_der: bytes) -> x509.Name:
    return _read_name(name_der)


def _read_name(name_der: bytes) -> x509.Name:
    outer = der.Reader(name_der)
    rdns = outer.enter()
    outer.finish()
    count = 0
    while not rdns.at_end:
        attributes = rdns.enter(der.SET)
        while not attributes.at_end:
            attributes.read(der.SEQUENCE)
            count += 1
            if count > MAX_RDNS:
                raise TooLargeError(f"name has more than {MAX_RDNS} attributes")
    try:
        return x509.Name.from_bytes(name_der)
    except (ValueError, TypeError) as error:
        raise MalformedError("name is not a valid RDNSequence") from error


def names_equal(a: x509.Name, b: x509.Name) -> bool:
    """Return whether two names are identical but for string types (RFC 7030 §4.2.2).

    The RDNs and their order, attribute types and the characters of each value must agree exactly: a
    client that writes PrintableString for our UTF8String names the same subject, one that changes the
    case of a letter does not.
    """
    return a == b
