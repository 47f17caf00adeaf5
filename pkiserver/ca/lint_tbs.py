"""The TBSCertificate as the lint rules see it: read by the strict DER reader, and by a second decoder.

Nothing here was used to build it, so that a fault of the builder, or of a profile, cannot hide itself.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography import x509

from protocols import oid
from protocols.asn1 import der
from protocols.errors import MalformedError

MAX_EXTENSIONS: Final = 32  # our profiles use at most a dozen
MAX_ATTRIBUTES: Final = 64  # no subject of ours comes near
MAX_REMEMBERED: Final = 1024  # profiles, times the shards and value limits in use
MAX_ISSUERS: Final = 64  # kept: each is read for each certificate that it issues
VARYING: Final = frozenset({oid.SUBJECT_ALT_NAME, oid.SUBJECT_KEY_IDENTIFIER})  # within a profile and issuer


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFacts:
    """What was approved, and what the profile says: the rules compare the TBS with this and nothing else.

    `issuer` is None for a self-signed root. OBJECT IDENTIFIERs are dotted. `key_usage` holds attribute names
    of `x509.KeyUsage`, such as `digital_signature`. `signature_algorithm` is the DER AlgorithmIdentifier that
    the issuer's key signs with, `spki` the approved DER SubjectPublicKeyInfo, `qc_statements` the DER of
    the extension's value. An extension whose facts are empty must be absent. Times are aware UTC.
    """

    issuer: x509.Certificate | None
    signature_algorithm: bytes
    serial_number: int
    not_before: datetime
    not_after: datetime
    subject: x509.Name
    san: tuple[x509.GeneralName, ...]
    spki: bytes
    key_usage: frozenset[str]
    extended_key_usage: frozenset[str]
    is_ca: bool
    path_length: int | None
    ocsp_urls: tuple[str, ...]
    ca_issuers_urls: tuple[str, ...]
    crl_urls: tuple[str, ...]
    policies: tuple[str, ...]
    freshest_crl_urls: tuple[str, ...] = ()
    cps_uris: tuple[tuple[str, str], ...] = ()  # of the policies that have one: policy and URI
    qc_statements: bytes | None = None
    ocsp_nocheck: bool = False


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension: `critical_written` tells whether the BOOLEAN is there at all."""

    oid: str
    critical: bool
    critical_written: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class Time:
    """A Time: identifier octet, content octets and what they mean."""

    tag: int
    content: bytes
    moment: datetime


@dataclass(frozen=True, slots=True)
class TBS:
    """The fields of a TBSCertificate (RFC 5280 §4.1); names, algorithms and keys as their whole DER."""

    version: int
    serial: bytes
    signature: bytes
    issuer: bytes
    not_before: Time
    not_after: Time
    subject: bytes
    spki: bytes
    has_unique_id: bool
    extensions: tuple[Extension, ...]
    der: bytes
    parts: tuple[bytes, ...] = ()  # DER of what the SEQUENCE holds, but for the extensions
    extension_parts: tuple[bytes, ...] = ()  # DER of each extension

    def extension(self, oid: str) -> Extension | None:
        """Return the first extension of this type, None when it is absent."""
        for found in self.extensions:
            if found.oid == oid:
                return found
        return None


@dataclass(frozen=True, slots=True)
class SecondReading:
    """What a second decoder, cryptography's, finds in the same TBS."""

    subject: x509.Name
    san: tuple[x509.GeneralName, ...]
    extension_count: int


@dataclass(frozen=True, slots=True)
class Case:
    """What one rule is given.

    `issuer` is the issuer's TBS, of a root its own. `second` is None when the second decoder refuses the TBS:
    one rule says so, and the others that would use it say nothing.
    """

    tbs: TBS
    facts: LintFacts
    issuer: TBS
    second: SecondReading | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: `check` yields a sentence for each breach; a `ProtocolError` from it is a breach too.

    One that is `common` looks at nothing but what `lint_common.common_case` leaves of a case.
    """

    name: str
    citation: str
    check: Callable[[Case], Iterable[str]]
    common: bool = False


def issuer_tbs(issuer: x509.Certificate) -> TBS:
    """Return the parts of an issuer's TBSCertificate, as `read_tbs` does."""
    known = _issuers.get(id(issuer))  # its octets are copied, and its hash made, anew each time one asks
    if known is None or known[0] is not issuer:
        if len(_issuers) >= MAX_ISSUERS:
            _issuers.clear()
        known = _issuers[id(issuer)] = issuer, read_tbs(issuer.tbs_certificate_bytes)
    return known[1]


_issuers: dict[int, tuple[x509.Certificate, TBS]] = {}  # by identity, which the certificate kept here holds


def read_tbs(data: bytes) -> TBS:
    """Return the parts of a DER TBSCertificate; raises `ProtocolError` when it has another structure."""
    outer = der.Reader(data)
    reader = outer.enter()
    outer.finish()
    before = reader.look()
    version = 0
    if reader.peek() == der.context(0):
        version = reader.enter(der.context(0)).integer()
    serial, signature, issuer = (
        reader.read(der.INTEGER),
        reader.read_raw(der.SEQUENCE),
        reader.read_raw(der.SEQUENCE),
    )
    not_before, not_after = _validity(reader.read_raw(der.SEQUENCE))
    subject, spki = reader.read_raw(der.SEQUENCE), reader.read_raw(der.SEQUENCE)
    has_unique_id = False
    while reader.peek() in (der.context(1, constructed=False), der.context(2, constructed=False)):
        reader.read_any()
        has_unique_id = True
    parts = tuple(_parts_before(before, reader.position))
    extension_parts = _extension_parts(reader.enter(der.context(3))) if not reader.at_end else ()
    reader.finish()
    return TBS(
        version,
        serial,
        signature,
        issuer,
        not_before,
        not_after,
        subject,
        spki,
        has_unique_id,
        tuple(map(_extension, extension_parts)),
        data,
        parts,
        extension_parts,
    )


def _parts_before(reader: der.Reader, position: int) -> Iterator[bytes]:
    while reader.position < position:
        yield reader.read_any()[1]


@lru_cache(maxsize=256)  # many begin and end in the same second
def _validity(encoded: bytes) -> tuple[Time, Time]:
    reader = der.Reader(encoded).enter()
    times = _time(reader), _time(reader)
    reader.finish()
    return times


def _time(reader: der.Reader) -> Time:
    tag, raw = reader.read_any()
    if tag not in (der.UTC_TIME, der.GENERALIZED_TIME):
        raise MalformedError("a validity date is neither UTCTime nor GeneralizedTime")
    return Time(tag, raw[2:], der.Reader(raw).time())


def _extension_parts(wrapper: der.Reader) -> tuple[bytes, ...]:
    reader = wrapper.enter()
    wrapper.finish()
    found: list[bytes] = []
    while not reader.at_end:
        if len(found) == MAX_EXTENSIONS:
            raise MalformedError(f"more than {MAX_EXTENSIONS} extensions")
        found.append(reader.read_raw(der.SEQUENCE))
    return tuple(found)


@lru_cache(maxsize=256)  # those of one profile are alike, but for two or three
def _extension(part: bytes) -> Extension:
    one = der.Reader(part).enter()
    oid = one.oid()
    written = one.peek() == der.BOOLEAN
    critical = one.boolean() if written else False
    extension = Extension(oid, critical, written, one.octet_string())
    one.finish()
    return extension


@lru_cache(maxsize=64)  # a dozen rules ask for the two names of one certificate
def attributes(name: bytes) -> tuple[tuple[str, int, bytes], ...]:
    """Return type, identifier octet and content of each attribute of a DER Name."""
    return tuple(_attributes(name))


def _attributes(name: bytes) -> Iterator[tuple[str, int, bytes]]:
    reader = der.Reader(name).enter()
    count = 0
    while not reader.at_end:
        rdn = reader.enter(der.SET)
        while not rdn.at_end:
            if (count := count + 1) > MAX_ATTRIBUTES:
                raise MalformedError(f"more than {MAX_ATTRIBUTES} attributes in a name")
            pair = rdn.enter()
            oid = pair.oid()
            tag = pair.peek()
            if tag is None:
                raise MalformedError("an attribute has no value")
            yield oid, tag, pair.read(tag)
            pair.finish()


def second_reading(tbs: TBS) -> SecondReading | None:
    """Return what cryptography decodes, None where it refuses.

    The TBS is put under a signature without meaning, because that decoder knows whole certificates only.
    Extensions that it has read, octet for octet and all together, in a certificate of the same profile and
    issuer are left out: they are most of its work.
    """
    alike = tuple(
        part for one, part in zip(tbs.extensions, tbs.extension_parts, strict=True) if one.oid not in VARYING
    )
    if alike not in read_before:
        reading = _decoded(tbs.der, tbs.signature)
        if reading is not None and reading.extension_count == len(tbs.extensions):
            if len(read_before) >= MAX_REMEMBERED:
                read_before.clear()
            read_before.add(alike)
        return reading
    others = [
        part for one, part in zip(tbs.extensions, tbs.extension_parts, strict=True) if one.oid in VARYING
    ]
    extensions = (der.explicit(3, der.sequence(*others)),) if others else ()
    return _decoded(der.sequence(*tbs.parts, *extensions), tbs.signature, left_out=len(alike))


read_before: Final[set[tuple[bytes, ...]]] = set()  # what certificates of one profile and issuer have alike


def _decoded(tbs: bytes, signature: bytes, left_out: int = 0) -> SecondReading | None:
    wrapped = der.sequence(tbs, signature, der.bit_string(b"\x00"))
    try:
        certificate = x509.load_der_x509_certificate(wrapped)
        subject, extensions = certificate.subject, certificate.extensions
    except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return None
    names = [
        name
        for found in extensions
        if isinstance(found.value, x509.SubjectAlternativeName)
        for name in found.value
    ]
    return SecondReading(subject, tuple(names), len(extensions) + left_out)
