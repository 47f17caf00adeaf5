"""Lint rules on the basic fields of a TBSCertificate (RFC 5280 §4.1)."""

from collections.abc import Iterator
from typing import Final

from pkiserver.ca.lint_der import part_faults
from pkiserver.ca.lint_tbs import Case, Rule, Time
from protocols.asn1 import der

_VERSION_3: Final = 2
_MAX_SERIAL_OCTETS: Final = 20
_MIN_SERIAL_BITS: Final = 64  # fewer significant bits of 127 random ones come once in 2^63
_MAX_SERIAL_BITS: Final = 127
_LAST_UTC_YEAR: Final = 2049


def _version(case: Case) -> Iterator[str]:
    if case.tbs.version != _VERSION_3:
        yield "the version is not 3"


def _serial_form(case: Case) -> Iterator[str]:
    if len(case.tbs.serial) > _MAX_SERIAL_OCTETS:
        yield "the serial number is longer than 20 octets"
    if der.integer_value(case.tbs.serial) <= 0:
        yield "the serial number is not positive"


def _serial_reserved(case: Case) -> Iterator[str]:
    if der.integer_value(case.tbs.serial) != case.facts.serial_number:
        yield "the serial number is not the reserved one"


def _serial_entropy(case: Case) -> Iterator[str]:
    bits = der.integer_value(case.tbs.serial).bit_length()
    if not _MIN_SERIAL_BITS <= bits <= _MAX_SERIAL_BITS:
        yield f"the serial number has {bits} bits, and 127 random ones were asked for"


def _signature_algorithm(case: Case) -> Iterator[str]:
    if case.tbs.signature != case.facts.signature_algorithm:
        yield "the signature algorithm is not the one that the issuer's key signs with"


def _issuer_name(case: Case) -> Iterator[str]:
    if case.tbs.issuer != case.issuer.subject:
        yield "the issuer is not, octet for octet, the subject of the issuer's certificate"


def _issuer_is_not_empty(case: Case) -> Iterator[str]:
    if case.tbs.issuer == der.sequence():
        yield "the issuer is empty"


def _validity_order(case: Case) -> Iterator[str]:
    if case.tbs.not_before.moment >= case.tbs.not_after.moment:
        yield "notBefore is not before notAfter"


def _validity_approved(case: Case) -> Iterator[str]:
    if case.tbs.not_before.moment != case.facts.not_before:
        yield "notBefore is not the approved one"
    if case.tbs.not_after.moment != case.facts.not_after:
        yield "notAfter is not the approved one"


def _validity_nesting(case: Case) -> Iterator[str]:
    # OldWithNew begins with the old key, before the new one that signs it (RFC 9810 §4.4.1).
    is_link = case.facts.is_ca and case.tbs.subject == case.tbs.issuer
    if not is_link and case.tbs.not_before.moment < case.issuer.not_before.moment:
        yield "the validity begins before the issuer's"
    if case.tbs.not_after.moment > case.issuer.not_after.moment:
        yield "the validity ends after the issuer's"


def _validity_encoding(case: Case) -> Iterator[str]:
    for name, time in (("notBefore", case.tbs.not_before), ("notAfter", case.tbs.not_after)):
        if time.tag != _time_tag(time):
            yield f"{name} is not UTCTime through 2049 and GeneralizedTime after"


def _time_tag(time: Time) -> int:
    return der.UTC_TIME if time.moment.year <= _LAST_UTC_YEAR else der.GENERALIZED_TIME


def _spki_approved(case: Case) -> Iterator[str]:
    if case.tbs.spki != case.facts.spki:
        yield "the public key is not the approved one"


def _unique_ids(case: Case) -> Iterator[str]:
    if case.tbs.has_unique_id:
        yield "there is a unique identifier"


def _der(case: Case) -> Iterator[str]:
    for part in case.tbs.parts:
        yield from part_faults(part, depth=1)
    for part in case.tbs.extension_parts:
        yield from part_faults(part, depth=3)
    for extension in case.tbs.extensions:
        yield from part_faults(extension.value)
        if extension.critical_written and not extension.critical:
            yield f"the extension {extension.oid} spells out that it is not critical, which is the default"


RULES: Final = (
    Rule("version", "RFC 5280 §4.1.2.1", _version, common=True),
    Rule("serial_form", "RFC 5280 §4.1.2.2", _serial_form),
    Rule("serial_reserved", "RFC 5280 §4.1.2.2 (unique for each issuer)", _serial_reserved),
    Rule("serial_entropy", "CA/B BR §7.1", _serial_entropy),
    Rule("signature_algorithm", "RFC 5280 §4.1.2.3", _signature_algorithm, common=True),
    Rule("issuer_name", "RFC 5280 §4.1.2.4, §6.1.3 (a)(4)", _issuer_name, common=True),
    Rule("issuer_not_empty", "RFC 5280 §4.1.2.4", _issuer_is_not_empty, common=True),
    Rule("validity_order", "RFC 5280 §4.1.2.5", _validity_order),
    Rule("validity_approved", "RFC 5280 §4.1.2.5", _validity_approved),
    Rule("validity_nesting", "RFC 5280 §6.1.3 (a)(2) (a whole path is valid at once)", _validity_nesting),
    Rule("validity_encoding", "RFC 5280 §4.1.2.5", _validity_encoding),
    Rule("spki_approved", "RFC 5280 §4.1.2.7", _spki_approved),
    Rule("unique_ids", "RFC 5280 §4.1.2.8", _unique_ids, common=True),
    Rule("der", "RFC 5280 §4.1, X.690 §10, §11", _der),
)
