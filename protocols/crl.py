"""CRLs by concatenation (RFC 5280 §5): entries encoded once, when a certificate is revoked, and then reused.

A CRL is its entries joined, a header and extensions around them, and a signature; nothing is decoded or
sorted. Which entries belong to it, and the extensions of delta and partitioned CRLs, are the caller's matter.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import Extension, find_extension, parse_extensions
from protocols.errors import MalformedError

MAX_SERIAL_BITS: Final = 159  # 20 octets with a sign bit (RFC 5280 §4.1.2.2)
MAX_CRL_NUMBER_BITS: Final = 159  # 20 octets with a sign bit (RFC 5280 §5.2.3)
NO_FURTHER_UPDATE: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # last CRL: EN 319 411-1 §6.3.9
REASONS: Final = frozenset({0, 1, 2, 3, 4, 5, 6, 8, 9, 10})  # RFC 5280 §5.3.1; 7 is not used

_V2: Final = 1
_KEY_IDENTIFIER: Final = der.context(0, constructed=False)


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """One member of revokedCertificates (RFC 5280 §5.1.2.6); `reason` None means unspecified."""

    serial: int
    revocation_date: datetime
    reason: int | None = None
    invalidity_date: datetime | None = None


def revoked_entry(
    serial: int, revocation_date: datetime, reason: int | None = None, invalidity_date: datetime | None = None
) -> bytes:
    """Return the DER of one entry; the reason unspecified (0) is left out (RFC 5280 §5.3.1).

    removeFromCRL (8) is for delta CRLs only. `MalformedError` for a serial or reason out of range and for
    times without a zone.
    """
    return _entry(serial, _entry_tail(revocation_date, reason, invalidity_date))


def _entry(serial: int, tail: bytes) -> bytes:
    if serial <= 0 or serial.bit_length() > MAX_SERIAL_BITS:
        raise MalformedError("serial number is not positive or over 20 octets (RFC 5280 §4.1.2.2)")
    return der.sequence(der.integer(serial), tail)


def _entry_tail(revocation_date: datetime, reason: int | None, invalidity_date: datetime | None) -> bytes:
    """Return what stands in an entry behind its serial number."""
    extensions: list[bytes] = []
    if reason is not None and reason not in REASONS:
        raise MalformedError(f"{reason} is no CRLReason (RFC 5280 §5.3.1)")
    if reason:
        extensions.append(Extension(oid.CRL_REASON, False, der.enumerated(reason)).encode())
    if invalidity_date is not None:
        value = der.generalized_time(_aware(invalidity_date))
        extensions.append(Extension(oid.INVALIDITY_DATE, False, value).encode())
    return der.time(_aware(revocation_date)) + (der.sequence(*extensions) if extensions else b"")


def revoked_entries(serials: Iterable[bytes], revocation_date: datetime, reason: int) -> list[bytes]:
    """Return what `revoked_entry` does for many serials, big-endian octets, of one date and reason."""
    tail = _entry_tail(revocation_date, reason, None)
    return [_entry(int.from_bytes(serial, "big"), tail) for serial in serials]


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise MalformedError("time without a zone")
    return moment


def parse_entry(entry: bytes) -> RevokedEntry:
    """Return what `revoked_entry` encoded; `MalformedError` for any octets that it would not have written."""
    outer = der.Reader(entry)
    fields = outer.enter()
    outer.finish()
    serial = fields.integer()
    revocation_date = fields.time()
    extensions = () if fields.at_end else parse_extensions(fields)
    fields.finish()
    reason, invalidity_date = _reason(extensions), _invalidity_date(extensions)
    if revoked_entry(serial, revocation_date, reason, invalidity_date) != entry:
        raise MalformedError("CRL entry is not one of ours")
    return RevokedEntry(serial, revocation_date, reason, invalidity_date)


def _reason(extensions: Iterable[Extension]) -> int | None:
    extension = find_extension(extensions, oid.CRL_REASON)
    if extension is None:
        return None
    reader = der.Reader(extension.value)
    reason = reader.integer(der.ENUMERATED)
    reader.finish()
    return reason


def _invalidity_date(extensions: Iterable[Extension]) -> datetime | None:
    extension = find_extension(extensions, oid.INVALIDITY_DATE)
    if extension is None:
        return None
    reader = der.Reader(extension.value)
    moment = reader.generalized_time()
    reader.finish()
    return moment


def build_tbs_cert_list(
    signature_algorithm: bytes,
    issuer_der: bytes,
    this_update: datetime,
    next_update: datetime,
    entries: bytes | Iterable[bytes],
    authority_key_identifier: bytes,
    crl_number: int,
    extensions: Sequence[bytes] = (),
) -> bytes:
    """Return the DER TBSCertList of version 2 (RFC 5280 §5.1.2) over entries that are already encoded.

    `signature_algorithm` and `issuer_der` are DER as the issuer's certificate has them; `entries` are
    pieces of `revoked_entry` results, or all of them joined; `authority_key_identifier` is the content of
    the issuer's subjectKeyIdentifier; `extensions` are further DER Extension values, such as those of
    `protocols.crl_extensions`, put last. revokedCertificates is absent when there is no entry. Takes time in
    proportion to the entries and, beside the result, memory for them once. `MalformedError` for a number
    out of range or times out of order.
    """
    if crl_number < 0 or crl_number.bit_length() > MAX_CRL_NUMBER_BITS:
        raise MalformedError("CRL number is negative or over 20 octets (RFC 5280 §5.2.3)")
    if _aware(next_update) <= _aware(this_update):
        raise MalformedError("nextUpdate is not after thisUpdate (RFC 5280 §5.1.2.5)")
    revoked = entries if isinstance(entries, bytes) else _joined(entries)
    return der.sequence(
        der.integer(_V2),
        signature_algorithm,
        issuer_der,
        der.time(this_update),
        der.time(next_update),
        der.header(der.SEQUENCE, len(revoked)) if revoked else b"",
        revoked,
        der.explicit(0, der.sequence(*_own_extensions(authority_key_identifier, crl_number), *extensions)),
    )


def _joined(pieces: Iterable[bytes]) -> bytearray:
    """Join pieces as they come: a million small ones need not be there at once."""
    joined = bytearray()
    for piece in pieces:
        joined += piece
    return joined


def _own_extensions(authority_key_identifier: bytes, crl_number: int) -> Iterable[bytes]:
    key_identifier = der.sequence(der.encode(_KEY_IDENTIFIER, authority_key_identifier))
    yield Extension(oid.AUTHORITY_KEY_IDENTIFIER, False, key_identifier).encode()
    yield Extension(oid.CRL_NUMBER, False, der.integer(crl_number)).encode()


def assemble_crl(tbs: bytes, signature_algorithm: bytes, signature: bytes) -> bytes:
    """Return the DER CertificateList; `MalformedError` where the TBSCertList names another algorithm."""
    fields = der.Reader(tbs).enter()
    fields.integer()
    if fields.read_raw(der.SEQUENCE) != signature_algorithm:
        raise MalformedError("CRL names two different signature algorithms (RFC 5280 §5.1.1.2)")
    return der.sequence(tbs, signature_algorithm, der.bit_string(signature))
