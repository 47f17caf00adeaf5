"""What the lint rules of CRLs are given: a TBSCertList read back, and what it was to say."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from pkiserver.ca.lint_tbs import TBS, read_tbs
from protocols import oid
from protocols.asn1 import der
from protocols.crl_extensions import CRLExtensions
from protocols.crl_reader import TBSCertList


@dataclass(frozen=True, slots=True)
class PublishedCRL:
    """A CRL of the same scope that was published before: its number, its thisUpdate."""

    number: int
    this_update: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CRLFacts:
    """What a CRL is to say: the rules compare the TBSCertList with this and nothing else.

    `issuer` is the authority's own certificate, `signature_algorithm` the DER AlgorithmIdentifier that its
    key signs with. `previous` is the newest CRL, complete or delta, that was published in the scope before
    this moment; None for the first. `together` is the complete CRL that is issued at the same moment as this
    delta, None otherwise. `base` is the published complete CRL that this one is a delta to, None for a
    complete CRL. `shard_url` is the URL in the certificates of the shard, None where the scope is all
    certificates. `delta_url` is where deltas to this complete CRL are, None where there are none.
    `expired_since`: whose revoked certificates stay though they expired since then; None where they are
    dropped. `is_last`: the authority ends with it.
    """

    issuer: x509.Certificate
    signature_algorithm: bytes
    number: int
    this_update: datetime
    next_update: datetime
    previous: PublishedCRL | None
    base: PublishedCRL | None = None
    together: PublishedCRL | None = None
    shard_url: str | None = None
    delta_url: str | None = None
    expired_since: datetime | None = None
    is_last: bool = False

    @property
    def is_delta(self) -> bool:
        """Whether it is to be a delta CRL."""
        return self.base is not None


@dataclass(frozen=True, slots=True)
class CRLCase:
    """What one rule is given; `idp_is_empty` where an issuingDistributionPoint is there and says nothing."""

    tbs: TBSCertList
    extensions: CRLExtensions
    idp_is_empty: bool
    issuer: TBS
    facts: CRLFacts


@dataclass(frozen=True, slots=True)
class CRLRule:
    """One rule: `check` yields a sentence for each breach; a `ProtocolError` from it is a breach too."""

    name: str
    citation: str
    check: Callable[[CRLCase], Iterable[str]]


def read_case(tbs: bytes, facts: CRLFacts) -> CRLCase:
    """Return the case of a DER TBSCertList; raises `ProtocolError` where its structure is another.

    The empty issuingDistributionPoint, which no reader takes, is kept for its rule.
    """
    read = TBSCertList.parse(tbs)
    kept = tuple(
        found
        for found in read.extensions
        if (found.oid, found.value) != (oid.ISSUING_DISTRIBUTION_POINT, der.sequence())
    )
    issuer = read_tbs(facts.issuer.tbs_certificate_bytes)
    return CRLCase(read, CRLExtensions.read(kept), len(kept) != len(read.extensions), issuer, facts)
