"""The extensions that tell CRLs of one issuer apart and lead from one to another (RFC 5280 §5.2).

Each function returns a DER Extension for `protocols.crl.build_tbs_cert_list`, critical where its section says
so. Authority key identifier and CRL number, which every CRL has, are put there by that function itself.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import Extension
from protocols.crl import MAX_CRL_NUMBER_BITS
from protocols.errors import MalformedError
from protocols.x509.addresses import check_uri

_URI: Final = der.context(6, constructed=False)  # uniformResourceIdentifier of a GeneralName


def delta_crl_indicator(base_number: int) -> bytes:
    """Return the critical extension that makes a CRL a delta to the base of this number (RFC 5280 §5.2.4)."""
    if base_number < 0 or base_number.bit_length() > MAX_CRL_NUMBER_BITS:
        raise MalformedError("BaseCRLNumber is negative or over 20 octets (RFC 5280 §5.2.4)")
    return Extension(oid.DELTA_CRL_INDICATOR, True, der.integer(base_number)).encode()


def issuing_distribution_point(url: str) -> bytes:
    """Return the critical extension that confines a CRL to certificates that name `url` (RFC 5280 §5.2.5).

    A fullName of one URI, octet by octet that of the certificates' cRLDistributionPoints, and nothing else:
    the CRL covers certificates of every kind and all reasons. `MalformedError` for what is no URI.
    """
    return Extension(oid.ISSUING_DISTRIBUTION_POINT, True, der.sequence(_full_name([url]))).encode()


def freshest_crl(urls: Sequence[str]) -> bytes:
    """Return the extension that says where the delta to a complete CRL is (RFC 5280 §5.2.6, §4.2.1.15).

    Certificates have it in the same form. Several URLs are ways to the same delta. `MalformedError` for none,
    or for what is no URI.
    """
    point = der.sequence(_full_name(urls))
    return Extension(oid.FRESHEST_CRL, False, der.sequence(point)).encode()


def expired_certs_on_crl(since: datetime) -> bytes:
    """Return the extension that says: revoked certificates that expired since then are on the CRL (X.509).

    GeneralizedTime whatever the year. `MalformedError` for a time without a zone.
    """
    if since.tzinfo is None:
        raise MalformedError("time without a zone")
    return Extension(oid.EXPIRED_CERTS_ON_CRL, False, der.generalized_time(since)).encode()


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
