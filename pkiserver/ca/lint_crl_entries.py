"""Lint rules on the entries of a TBSCertList (RFC 5280 §5.3), all of which are run in one pass over them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pkiserver.ca.lint_crl_case import CRLCase
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import Extension, parse_extensions
from protocols.crl import MAX_SERIAL_BITS, REASONS

_REMOVE_FROM_CRL: Final = 8
_UNSPECIFIED: Final = 0
_KNOWN: Final = frozenset({oid.CRL_REASON, oid.INVALIDITY_DATE})


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it stands, whatever the rules: revocationDate as its DER."""

    serial: int
    revocation_date: bytes
    extensions: tuple[Extension, ...]

    def value(self, kind: str) -> bytes | None:
        """Return the value of the extension of this kind, None where there is none."""
        return next((extension.value for extension in self.extensions if extension.oid == kind), None)


CheckEntry = Callable[[Entry], Iterable[str]]


@dataclass(frozen=True, slots=True)
class EntryRule:
    """One rule: `begin` returns what is given the entries in order, and yields a sentence for each breach."""

    name: str
    citation: str
    begin: Callable[[CRLCase], CheckEntry]


def read_entries(case: CRLCase) -> Iterator[Entry]:
    """Yield the entries in their order; raises `ProtocolError` where one has another structure."""
    for encoded in case.tbs.raw_entries():
        fields = der.Reader(encoded).enter()
        serial, date = fields.integer(), fields.read_any()[1]
        extensions = () if fields.at_end else parse_extensions(fields)
        fields.finish()
        yield Entry(serial, date, extensions)


def _stateless(check: CheckEntry) -> Callable[[CRLCase], CheckEntry]:
    return lambda _: check


def _serial(entry: Entry) -> Iterator[str]:
    if entry.serial <= 0 or entry.serial.bit_length() > MAX_SERIAL_BITS:
        yield f"the serial number {entry.serial:x} is not positive, or longer than 20 octets"


def _unique(_: CRLCase) -> CheckEntry:
    seen: set[int] = set()

    def check(entry: Entry) -> Iterator[str]:
        if entry.serial in seen:
            yield f"the serial number {entry.serial:x} is there twice"
        seen.add(entry.serial)

    return check


def _order(_: CRLCase) -> CheckEntry:
    greatest: int | None = None

    def check(entry: Entry) -> Iterator[str]:
        nonlocal greatest
        if greatest is not None and entry.serial < greatest:
            yield f"the serial number {entry.serial:x} comes after a greater one"
        greatest = entry.serial if greatest is None else max(greatest, entry.serial)

    return check


def _dates(entry: Entry) -> Iterator[str]:
    if der.time(der.Reader(entry.revocation_date).time()) != entry.revocation_date:
        yield f"revocationDate of {entry.serial:x} is not UTCTime through 2049 and GeneralizedTime after"
    if (value := entry.value(oid.INVALIDITY_DATE)) is not None:
        reader = der.Reader(value)
        reader.generalized_time()
        reader.finish()


def _reason_code(entry: Entry) -> int | None:
    value = entry.value(oid.CRL_REASON)
    if value is None:
        return None
    reader = der.Reader(value)
    reason = reader.integer(der.ENUMERATED)
    reader.finish()
    return reason


def _reason(entry: Entry) -> Iterator[str]:
    reason = _reason_code(entry)
    if reason is not None and reason not in REASONS:
        yield f"the reason of {entry.serial:x}, {reason}, is no CRLReason"
    if reason == _UNSPECIFIED:
        yield f"the reason of {entry.serial:x} is unspecified, and should be left out"


def _remove_from_crl(case: CRLCase) -> CheckEntry:
    removal = der.enumerated(_REMOVE_FROM_CRL)

    def check(entry: Entry) -> Iterator[str]:
        if not case.facts.is_delta and entry.value(oid.CRL_REASON) == removal:
            yield f"the complete CRL has removeFromCRL for {entry.serial:x}"

    return check


def _extensions(entry: Entry) -> Iterator[str]:
    for extension in entry.extensions:
        if extension.oid not in _KNOWN | {oid.CERTIFICATE_ISSUER}:
            yield f"the extension {extension.oid} of {entry.serial:x} is none that entries of ours have"
        elif extension.critical and extension.oid in _KNOWN:
            yield f"the extension {extension.oid} of {entry.serial:x} is critical"


def _certificate_issuer(entry: Entry) -> Iterator[str]:
    if entry.value(oid.CERTIFICATE_ISSUER) is not None:
        yield f"certificateIssuer of {entry.serial:x}: indirect CRLs are not issued"


RULES: Final = (
    EntryRule("crl_entry_serial", "RFC 5280 §4.1.2.2, §5.1.2.6", _stateless(_serial)),
    EntryRule("crl_entry_unique", "RFC 5280 §6.3.3 (j) (one entry tells the status)", _unique),
    EntryRule("crl_entry_order", "own (with RFC 5280 silent: a CRL is built again octet for octet)", _order),
    EntryRule("crl_entry_dates", "RFC 5280 §5.1.2.6, §5.3.2", _stateless(_dates)),
    EntryRule("crl_entry_reason", "RFC 5280 §5.3.1", _stateless(_reason)),
    EntryRule("crl_entry_remove_from_crl", "RFC 5280 §5.3.1 (only in delta CRLs)", _remove_from_crl),
    EntryRule("crl_entry_extensions", "RFC 5280 §5.3, §5.3.1, §5.3.2", _stateless(_extensions)),
    EntryRule("crl_entry_certificate_issuer", "RFC 5280 §5.3.3", _stateless(_certificate_issuer)),
)
