"""The extensions of CRLs (RFC 5280 §5.2): those that tell them apart and lead from one to another, both ways.

The builders return a DER Extension for `protocols.crl.build_tbs_cert_list`, critical where its section says
so. Authority key identifier and CRL number, which every CRL has, are put there by that function itself.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self, TypeVar

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import Extension, find_extension
from protocols.crl import MAX_CRL_NUMBER_BITS
from protocols.errors import MalformedError, TooLargeError
from protocols.x509.addresses import check_uri

MAX_URLS: Final = 16  # of all distribution points of one extension; we write one
# Every extension that a CRL of ours may have, and whether it is critical (RFC 5280 §5.2, X.509).
CRITICAL: Final = {
    oid.AUTHORITY_KEY_IDENTIFIER: False,
    oid.CRL_NUMBER: False,
    oid.DELTA_CRL_INDICATOR: True,
    oid.ISSUING_DISTRIBUTION_POINT: True,
    oid.FRESHEST_CRL: False,
    oid.EXPIRED_CERTS_ON_CRL: False,
}

_URI: Final = der.context(6, constructed=False)  # uniformResourceIdentifier of a GeneralName
_KEY_IDENTIFIER: Final = der.context(0, constructed=False)
_IDP_LIMITS: Final = {
    der.context(1, constructed=False): "onlyContainsUserCerts",
    der.context(2, constructed=False): "onlyContainsCACerts",
    der.context(3, constructed=False): "onlySomeReasons",
    der.context(4, constructed=False): "indirectCRL",
    der.context(5, constructed=False): "onlyContainsAttributeCerts",
}
_T = TypeVar("_T")


# ---- builders


def delta_crl_indicator(base_number: int) -> bytes:
    """Return the critical extension that makes a CRL a delta to the base of this number (RFC 5280 §5.2.4)."""
    if base_number < 0 or base_number.bit_length() > MAX_CRL_NUMBER_BITS:
        raise MalformedError("BaseCRLNumber is negative or over 20 octets (RFC 5280 §5.2.4)")
    return _extension(oid.DELTA_CRL_INDICATOR, der.integer(base_number))


def issuing_distribution_point(url: str) -> bytes:
    """Return the critical extension that confines a CRL to certificates that name `url` (RFC 5280 §5.2.5).

    A fullName of one URI, octet by octet that of the certificates' cRLDistributionPoints, and nothing else:
    the CRL covers certificates of every kind and all reasons. `MalformedError` for what is no URI.
    """
    return _extension(oid.ISSUING_DISTRIBUTION_POINT, der.sequence(_full_name([url])))


def freshest_crl(urls: Sequence[str]) -> bytes:
    """Return the extension that says where the delta to a complete CRL is (RFC 5280 §5.2.6, §4.2.1.15).

    Certificates have it in the same form. Several URLs are ways to the same delta. `MalformedError` for none,
    or for what is no URI.
    """
    return _extension(oid.FRESHEST_CRL, der.sequence(der.sequence(_full_name(urls))))


def expired_certs_on_crl(since: datetime) -> bytes:
    """Return the extension that says: revoked certificates that expired since then are on the CRL (X.509).

    GeneralizedTime whatever the year. `MalformedError` for a time without a zone.
    """
    if since.tzinfo is None:
        raise MalformedError("time without a zone")
    return _extension(oid.EXPIRED_CERTS_ON_CRL, der.generalized_time(since))


def _extension(kind: str, value: bytes) -> bytes:
    return Extension(kind, CRITICAL[kind], value).encode()


def _full_name(urls: Sequence[str]) -> bytes:
    """Return `distributionPoint [0]` with `fullName [0]` (RFC 5280 §4.2.1.13)."""
    if not urls:
        raise MalformedError("a distribution point without a name (RFC 5280 §4.2.1.13)")
    for url in urls:
        try:
            check_uri(url)
        except MalformedError as error:
            raise MalformedError(f"{url} {error}") from error
    names = b"".join(der.encode(_URI, url.encode("ascii")) for url in urls)
    return der.explicit(0, der.encode(der.context(0), names))


# ---- readers


@dataclass(frozen=True, slots=True)
class IssuingDistributionPoint:
    """What an issuingDistributionPoint says (RFC 5280 §5.2.5): its URIs and what limits the scope.

    `limits` has the names of the other fields that are there: onlyContainsUserCerts, onlySomeReasons, …
    """

    urls: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CRLExtensions:
    """The extensions of a CRL by name; None, or no URL, for what it does not have."""

    authority_key_identifier: bytes | None
    crl_number: int | None
    base_crl_number: int | None  # of the deltaCRLIndicator
    issuing_distribution_point: IssuingDistributionPoint | None
    freshest_crl: tuple[str, ...]
    expired_certs_on_crl: datetime | None

    @classmethod
    def read(cls, extensions: Iterable[Extension]) -> Self:
        """Read those that are known; `MalformedError` for a value that is not the DER of its syntax."""
        found = tuple(extensions)
        return cls(
            _value(found, oid.AUTHORITY_KEY_IDENTIFIER, _read_key_identifier),
            _value(found, oid.CRL_NUMBER, _read_number),
            _value(found, oid.DELTA_CRL_INDICATOR, _read_number),
            _value(found, oid.ISSUING_DISTRIBUTION_POINT, read_issuing_distribution_point),
            _value(found, oid.FRESHEST_CRL, read_distribution_points) or (),
            _value(found, oid.EXPIRED_CERTS_ON_CRL, der.Reader.generalized_time),
        )


def _value(extensions: Iterable[Extension], kind: str, read: Callable[[der.Reader], _T]) -> _T | None:
    extension = find_extension(extensions, kind)
    if extension is None:
        return None
    reader = der.Reader(extension.value)
    value = read(reader)
    reader.finish()
    return value


def _read_key_identifier(reader: der.Reader) -> bytes:
    """Read an AuthorityKeyIdentifier by key identifier alone (RFC 5280 §5.2.1)."""
    fields = reader.enter()
    identifier = fields.read(_KEY_IDENTIFIER)
    fields.finish()
    return identifier


def _read_number(reader: der.Reader) -> int:
    """Read a CRLNumber or BaseCRLNumber (RFC 5280 §5.2.3)."""
    number = reader.integer()
    if number < 0 or number.bit_length() > MAX_CRL_NUMBER_BITS:
        raise MalformedError("CRL number is negative or over 20 octets (RFC 5280 §5.2.3)")
    return number


def read_issuing_distribution_point(reader: der.Reader) -> IssuingDistributionPoint:
    """Read an IssuingDistributionPoint; the empty sequence is refused, and names that are no URI."""
    fields = reader.enter()
    if fields.at_end:
        raise MalformedError("issuingDistributionPoint is the empty sequence (RFC 5280 §5.2.5)")
    urls = _read_full_name(fields) if fields.peek() == der.context(0) else ()
    limits: list[str] = []
    for tag, name in _IDP_LIMITS.items():
        if fields.peek() == tag:
            content = fields.read(tag)
            if name != "onlySomeReasons" and content != b"\xff":
                raise MalformedError(f"{name} of the issuingDistributionPoint is not TRUE (X.690 §11.5)")
            limits.append(name)
    fields.finish()
    return IssuingDistributionPoint(urls, tuple(limits))


def read_distribution_points(reader: der.Reader) -> tuple[str, ...]:
    """Read CRLDistributionPoints, as freshestCRL has them, and return all URIs in their order.

    reasons and cRLIssuer are refused (RFC 5280 §5.2.6), and names that are no URI.
    """
    points = reader.enter()
    urls: list[str] = []
    while not points.at_end:
        fields = points.enter()
        urls += _read_full_name(fields)
        fields.finish()
        if len(urls) > MAX_URLS:
            raise TooLargeError(f"more than {MAX_URLS} URIs in one extension")
    if not urls:
        raise MalformedError("CRLDistributionPoints is empty (RFC 5280 §4.2.1.13)")
    return tuple(urls)


def _read_full_name(fields: der.Reader) -> tuple[str, ...]:
    name = fields.enter(der.context(0))
    full_name = name.enter(der.context(0))
    name.finish()
    urls: list[str] = []
    while not full_name.at_end:
        if len(urls) == MAX_URLS:
            raise TooLargeError(f"more than {MAX_URLS} URIs in one distribution point")
        content = full_name.read(_URI)
        if not content or not content.isascii():
            raise MalformedError("a URI is empty or not ASCII (RFC 5280 §4.2.1.6)")
        urls.append(content.decode("ascii"))
    if not urls:
        raise MalformedError("fullName is empty (RFC 5280 §4.2.1.13)")
    return tuple(urls)
