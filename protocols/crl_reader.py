"""Reads CRLs (RFC 5280 §5) strictly: header, extensions and signature at once, entries one by one later.

`TBSCertList` is the structure alone, for those who judge what it says. `parse_crl` also takes only what this
profile of CRLs may say: known extensions, each with its criticality. No signature is verified here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.pkix import Extension, parse_extensions
from protocols.crl import RevokedEntry, parse_entry
from protocols.crl_extensions import CRITICAL, CRLExtensions
from protocols.errors import MalformedError, TooLargeError

MAX_CRL_OCTETS: Final = 1 << 30  # twenty million entries: what is larger is no CRL of a nation

V2: Final = 1
_TIMES: Final = (der.UTC_TIME, der.GENERALIZED_TIME)


@dataclass(frozen=True, slots=True)
class TBSCertList:
    """A TBSCertList (RFC 5280 §5.1.2); names and algorithms as their whole DER.

    `version` None: absent, which means v1. `span` and `revoked` say where in `source` the whole value is, and
    the entries; `revoked` is empty where revokedCertificates is absent.
    """

    version: int | None
    signature: bytes
    issuer: bytes
    this_update: datetime
    next_update: datetime | None
    extensions: tuple[Extension, ...]
    span: range = field(repr=False)
    revoked: range = field(repr=False)
    source: bytes = field(repr=False)

    @classmethod
    def parse(cls, tbs: bytes) -> Self:
        """Read one whole DER TBSCertList, entries unseen.

        `MalformedError` where it is none, `TooLargeError` over the bound.
        """
        if len(tbs) > MAX_CRL_OCTETS:
            raise TooLargeError(f"CRL over {MAX_CRL_OCTETS} octets")
        outer = der.Reader(tbs)
        read = cls.read(tbs, outer)
        outer.finish()
        return read

    @classmethod
    def read(cls, source: bytes, reader: der.Reader) -> Self:
        """Read the TBSCertList before which `reader`, of `source`, stands."""
        start = reader.position
        fields = reader.enter()
        version = fields.integer() if fields.peek() == der.INTEGER else None
        signature, issuer = fields.read_raw(der.SEQUENCE), fields.read_raw(der.SEQUENCE)
        this_update = fields.time()
        next_update = fields.time() if fields.peek() in _TIMES else None
        revoked = _revoked(fields) if fields.peek() == der.SEQUENCE else range(0)
        extensions: tuple[Extension, ...] = ()
        if not fields.at_end:
            wrapper = fields.enter(der.context(0))
            extensions = parse_extensions(wrapper)
            wrapper.finish()
        fields.finish()
        span = range(start, reader.position)
        return cls(version, signature, issuer, this_update, next_update, extensions, span, revoked, source)

    @property
    def encoded(self) -> bytes:
        """The DER, as it was or will be signed; a copy where it was read out of a whole CRL."""
        return self.source[self.span.start : self.span.stop]

    def raw_entries(self) -> Iterator[bytes]:
        """Yield the DER of each entry; `MalformedError` when something else stands there."""
        reader = der.Reader(self.source, start=self.revoked.start, end=self.revoked.stop)
        while not reader.at_end:
            yield reader.read_raw(der.SEQUENCE)

    def entries(self) -> Iterator[RevokedEntry]:
        """Yield the entries one by one; `MalformedError` at the first that is not one of ours."""
        return map(parse_entry, self.raw_entries())


@dataclass(frozen=True, slots=True)
class CertificateList:
    """A whole CRL (RFC 5280 §5.1.1): what is signed, the same with its extensions by name, the signature."""

    tbs_cert_list: TBSCertList
    extensions: CRLExtensions
    signature_algorithm: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def entries(self) -> Iterator[RevokedEntry]:
        """Yield the entries one by one; `MalformedError` at the first that is not one of ours."""
        return self.tbs_cert_list.entries()


def parse_crl(crl: bytes) -> CertificateList:
    """Return a DER CertificateList; the entries are read when they are asked for, the signature is unseen.

    Takes no more memory than a few header fields, besides the bytes given. `MalformedError` for what is not
    DER, or no CRL of this profile: of another version, with an extension that is not known or not as critical
    as its section says, with two different algorithms. `TooLargeError` over the bound.
    """
    if len(crl) > MAX_CRL_OCTETS:
        raise TooLargeError(f"CRL over {MAX_CRL_OCTETS} octets")
    outer = der.Reader(crl)
    fields = outer.enter()
    outer.finish()
    tbs = TBSCertList.read(crl, fields)
    algorithm, signature = fields.read_raw(der.SEQUENCE), fields.bit_string()
    fields.finish()
    if tbs.version != V2 and (tbs.version is not None or tbs.extensions):
        raise MalformedError("CRL is of another version than it says (RFC 5280 §5.1.2.1)")
    if algorithm != tbs.signature:
        raise MalformedError("CRL names two different signature algorithms (RFC 5280 §5.1.1.2)")
    _check_criticality(tbs.extensions)
    return CertificateList(tbs, CRLExtensions.read(tbs.extensions), algorithm, signature)


@dataclass(frozen=True, slots=True)
class CRLTimes:
    """When a CRL was made, by when there is another, its number; None for what it does not say."""

    this_update: datetime
    next_update: datetime | None
    number: int | None


def crl_times(crl: bytes) -> CRLTimes:
    """Return the times and the number of a CRL that `parse_crl` takes, and keep nothing else of it."""
    read = parse_crl(crl)
    tbs = read.tbs_cert_list
    return CRLTimes(tbs.this_update, tbs.next_update, read.extensions.crl_number)


def _revoked(fields: der.Reader) -> range:
    entries = fields.enter()
    if entries.at_end:
        raise MalformedError("revokedCertificates is empty instead of absent (RFC 5280 §5.1.2.6)")
    return range(entries.position, fields.position)


def _check_criticality(extensions: tuple[Extension, ...]) -> None:
    for extension in extensions:
        if CRITICAL.get(extension.oid) is not extension.critical:
            raise MalformedError(
                f"CRL extension {extension.oid} is not known, or not as critical as it should be"
            )
