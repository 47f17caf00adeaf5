"""Lint rules on the subject and its alternative names (RFC 5280 §4.1.2.6, §4.2.1.6, appendix A.1)."""

import re
from collections.abc import Iterator
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from pkiserver.ca.lint_extensions import SAN
from pkiserver.ca.lint_tbs import Case, Rule, attributes
from protocols.asn1 import der

_EMPTY: Final = der.sequence()
_COUNTRY: Final = NameOID.COUNTRY_NAME.dotted_string
_PRINTABLE_ONLY: Final = frozenset({der.PRINTABLE_STRING})
_IA5_ONLY: Final = frozenset({der.IA5_STRING})
_DIRECTORY_STRING: Final = frozenset({der.UTF8_STRING, der.PRINTABLE_STRING})
_ENCODINGS: Final = {
    _COUNTRY: _PRINTABLE_ONLY,
    NameOID.SERIAL_NUMBER.dotted_string: _PRINTABLE_ONLY,
    NameOID.DN_QUALIFIER.dotted_string: _PRINTABLE_ONLY,
    NameOID.EMAIL_ADDRESS.dotted_string: _IA5_ONLY,
    NameOID.DOMAIN_COMPONENT.dotted_string: _IA5_ONLY,
}
_UB_NAME: Final = 32768  # ub-name; also the bound for attributes without one in RFC 5280
_BOUNDS: Final = {
    NameOID.COMMON_NAME.dotted_string: 64,
    NameOID.SERIAL_NUMBER.dotted_string: 64,
    _COUNTRY: 2,
    NameOID.LOCALITY_NAME.dotted_string: 128,
    NameOID.STATE_OR_PROVINCE_NAME.dotted_string: 128,
    NameOID.ORGANIZATION_NAME.dotted_string: 64,
    NameOID.ORGANIZATIONAL_UNIT_NAME.dotted_string: 64,
    NameOID.TITLE.dotted_string: 64,
    NameOID.PSEUDONYM.dotted_string: 128,
    NameOID.EMAIL_ADDRESS.dotted_string: 255,
}
_MAX_DNS_NAME: Final = 253
_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_MAILBOX: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@([A-Za-z0-9.-]{1,253})")


def _texts(case: Case) -> Iterator[tuple[str, str]]:
    """Yield type and text of the subject's attributes that are strings a subject may use."""
    for oid, tag, content in attributes(case.tbs.subject):
        if tag in _DIRECTORY_STRING | _IA5_ONLY:
            yield oid, content.decode("utf-8", "replace")


def _subject_approved(case: Case) -> Iterator[str]:
    if case.second is not None and case.second.subject != case.facts.subject:
        yield "the subject is not the approved one"


def _subject_of_ca(case: Case) -> Iterator[str]:
    if case.facts.is_ca and case.tbs.subject == _EMPTY:
        yield "the subject of a CA is empty"


def _name_encoding(case: Case) -> Iterator[str]:
    for oid, tag, _ in attributes(case.tbs.subject):
        if tag not in _ENCODINGS.get(oid, _DIRECTORY_STRING):
            yield f"the subject attribute {oid} has a wrong string type"


def _name_country(case: Case) -> Iterator[str]:
    for oid, text in _texts(case):
        if oid == _COUNTRY and re.fullmatch(r"[A-Z]{2}", text) is None:
            yield "countryName is not two capital letters"


def _name_bounds(case: Case) -> Iterator[str]:
    for oid, text in _texts(case):
        if len(text) > _BOUNDS.get(oid, _UB_NAME):
            yield f"the subject attribute {oid} is longer than {_BOUNDS.get(oid, _UB_NAME)} characters"


def _name_not_empty(case: Case) -> Iterator[str]:
    for oid, text in _texts(case):
        if not text.strip():
            yield f"the subject attribute {oid} is empty"


def _name_spaces(case: Case) -> Iterator[str]:
    for oid, text in _texts(case):
        if text.strip() and text != text.strip():
            yield f"the subject attribute {oid} begins or ends with a space"


def _name_characters(case: Case) -> Iterator[str]:
    for oid, text in _texts(case):
        if not text.isprintable():
            yield f"the subject attribute {oid} has a character that cannot be shown"


def _san_approved(case: Case) -> Iterator[str]:
    if case.second is not None and case.second.san != case.facts.san:
        yield "the subject alternative names are not the approved ones"


def _san_not_empty(case: Case) -> Iterator[str]:
    extension = case.tbs.extension(SAN)
    if extension is not None and extension.value == _EMPTY:
        yield "the extension subjectAltName holds no name"
    if extension is None and case.tbs.subject == _EMPTY:
        yield "there is neither a subject nor an alternative name"


def _san_critical(case: Case) -> Iterator[str]:
    extension = case.tbs.extension(SAN)
    if extension is not None and extension.critical != (case.tbs.subject == _EMPTY):
        yield "subjectAltName is not critical exactly where the subject is empty"


def _is_host_name(text: str) -> bool:
    return len(text) <= _MAX_DNS_NAME and all(_LABEL.fullmatch(label) for label in text.split("."))


def _san_dns_name(case: Case) -> Iterator[str]:
    for name in case.second.san if case.second else ():
        # One asterisk as the whole leftmost label is the wildcard of RFC 9525 §6.3.
        if isinstance(name, x509.DNSName) and not _is_host_name(name.value.removeprefix("*.")):
            yield "a dNSName is not a host name of letters, digits and hyphens"


def _san_email(case: Case) -> Iterator[str]:
    for name in case.second.san if case.second else ():
        if isinstance(name, x509.RFC822Name):
            mailbox = _MAILBOX.fullmatch(name.value)
            if mailbox is None or not _is_host_name(mailbox[1]):
                yield "an rfc822Name is not a mailbox"


RULES: Final = (
    Rule("subject_approved", "RFC 5280 §4.1.2.6", _subject_approved),
    Rule("subject_of_ca", "RFC 5280 §4.1.2.6", _subject_of_ca),
    Rule("name_encoding", "RFC 5280 §4.1.2.4, appendix A.1", _name_encoding),
    Rule("name_country", "RFC 5280 appendix A.1 (X520countryName), ISO 3166-1", _name_country),
    Rule("name_bounds", "RFC 5280 appendix A.1 (upper bounds)", _name_bounds),
    Rule("name_not_empty", "RFC 5280 appendix A.1 (SIZE (1..MAX)), CA/B BR §7.1.4.2", _name_not_empty),
    Rule("name_spaces", "RFC 5280 §7.1, RFC 4518 §2.6.1 (insignificant spaces)", _name_spaces),
    Rule("name_characters", "RFC 4518 §2.2, §2.4 (control characters)", _name_characters),
    Rule("san_approved", "RFC 5280 §4.2.1.6", _san_approved),
    Rule("san_not_empty", "RFC 5280 §4.1.2.6, §4.2.1.6", _san_not_empty),
    Rule("san_critical", "RFC 5280 §4.2.1.6", _san_critical),
    Rule("san_dns_name", "RFC 5280 §4.2.1.6, RFC 1034 §3.5, RFC 1123 §2.1", _san_dns_name),
    Rule("san_email", "RFC 5280 §4.2.1.6, RFC 5321 §4.1.2", _san_email),
)
