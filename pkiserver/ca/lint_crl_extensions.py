"""Lint rules on the extensions of a TBSCertList (RFC 5280 §5.2): number, scope, deltas."""

from collections.abc import Iterator
from typing import Final

from cryptography import x509

from pkiserver.ca.lint_crl_case import CRLCase, CRLRule
from pkiserver.ca.lint_extensions import subject_key_identifier
from protocols import oid
from protocols.asn1 import der
from protocols.crl_extensions import CRITICAL


def _known(case: CRLCase) -> Iterator[str]:
    for extension in case.tbs.extensions:
        if extension.oid not in CRITICAL:
            kind = "critical extension" if extension.critical else "extension"
            yield f"the {kind} {extension.oid} is none that CRLs of ours have"


def _criticality(case: CRLCase) -> Iterator[str]:
    for extension in case.tbs.extensions:
        if CRITICAL.get(extension.oid, extension.critical) is not extension.critical:
            yield f"the extension {extension.oid} is {'' if extension.critical else 'not '}critical"


def _aki(case: CRLCase) -> Iterator[str]:
    found = case.extensions.authority_key_identifier
    if found is None or found != subject_key_identifier(case.issuer):
        yield "authorityKeyIdentifier is not the subjectKeyIdentifier of the issuer"


def _number(case: CRLCase) -> Iterator[str]:
    if case.extensions.crl_number != case.facts.number:
        yield "the CRL number is not the one that was recorded for it"


def _number_order(case: CRLCase) -> Iterator[str]:
    number, previous = case.extensions.crl_number, case.facts.previous
    if number is not None and previous is not None and number <= previous.number:
        yield "the CRL number is not greater than that of the CRL before, complete or delta"


def _number_shared(case: CRLCase) -> Iterator[str]:
    together = case.facts.together
    if together is None:
        return
    if case.extensions.crl_number != together.number or case.tbs.this_update != together.this_update:
        yield "number and thisUpdate are not those of the complete CRL that is issued at the same time"


def _idp_not_empty(case: CRLCase) -> Iterator[str]:
    if case.idp_is_empty:
        yield "issuingDistributionPoint is the empty sequence"


def _idp_name(case: CRLCase) -> Iterator[str]:
    url, found = case.facts.shard_url, case.extensions.issuing_distribution_point
    if case.idp_is_empty:
        return
    if found is None:
        if url is not None:
            yield "the CRL of a shard has no issuingDistributionPoint"
    elif url is None:
        yield "the CRL of all certificates has an issuingDistributionPoint"
    elif _idp_distribution_point(case) != _cdp_distribution_point(url):
        yield "the issuingDistributionPoint has not, octet for octet, the name that the certificates have"


def _idp_distribution_point(case: CRLCase) -> bytes:
    value = next(e.value for e in case.tbs.extensions if e.oid == oid.ISSUING_DISTRIBUTION_POINT)
    return _distribution_point(der.Reader(value).enter())


def _cdp_distribution_point(url: str) -> bytes:
    """Return distributionPoint as it stands in certificates, which cryptography's builder makes."""
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    return _distribution_point(der.Reader(x509.CRLDistributionPoints([point]).public_bytes()).enter().enter())


def _distribution_point(fields: der.Reader) -> bytes:
    return fields.read_raw(der.context(0)) if fields.peek() == der.context(0) else b""


def _idp_limits(case: CRLCase) -> Iterator[str]:
    found = case.extensions.issuing_distribution_point
    for limit in found.limits if found is not None else ():
        yield f"the issuingDistributionPoint has {limit}: ours cover every kind and all reasons"


def _delta_indicator(case: CRLCase) -> Iterator[str]:
    found, base = case.extensions.base_crl_number, case.facts.base
    if found is None and base is not None:
        yield "the delta CRL has no deltaCRLIndicator"
    if found is not None and base is None:
        yield "the complete CRL has a deltaCRLIndicator"
    if found is not None and base is not None and found != base.number:
        yield "BaseCRLNumber is not the number of the complete CRL that was published as the base"


def _delta_order(case: CRLCase) -> Iterator[str]:
    base_number, number = case.extensions.base_crl_number, case.extensions.crl_number
    if base_number is not None and number is not None and base_number >= number:
        yield "BaseCRLNumber is not less than the CRL number"
    if case.facts.base is not None and case.tbs.this_update < case.facts.base.this_update:
        yield "thisUpdate is before that of the base"


def _delta_freshest(case: CRLCase) -> Iterator[str]:
    if case.facts.is_delta and case.extensions.freshest_crl:
        yield "a delta CRL has freshestCRL"


def _freshest(case: CRLCase) -> Iterator[str]:
    url = case.facts.delta_url
    if not case.facts.is_delta and case.extensions.freshest_crl != (() if url is None else (url,)):
        yield "freshestCRL is not the address of the deltas to this CRL"


def _expired_certs(case: CRLCase) -> Iterator[str]:
    if case.extensions.expired_certs_on_crl != case.facts.expired_since:
        yield "expiredCertsOnCRL is not what is done with revoked certificates that expired"


RULES: Final = (
    CRLRule("crl_extensions_known", "RFC 5280 §5.2 (an unknown critical extension is rejected)", _known),
    CRLRule("crl_criticality", "RFC 5280 §5.2.1, §5.2.3, §5.2.4, §5.2.5, §5.2.6, X.509 §9.5.2", _criticality),
    CRLRule("crl_aki", "RFC 5280 §5.2.1", _aki),
    CRLRule("crl_number", "RFC 5280 §5.2.3", _number),
    CRLRule("crl_number_order", "RFC 5280 §5.2.3 (monotonically increasing)", _number_order),
    CRLRule("crl_number_shared", "RFC 5280 §5.2.3 (issued at the same time)", _number_shared),
    CRLRule("crl_idp_not_empty", "RFC 5280 §5.2.5 (never an empty sequence)", _idp_not_empty),
    CRLRule("crl_idp_name", "RFC 5280 §5.2.5 (identical encoding), §6.3.3 (b)(2)(i)", _idp_name),
    CRLRule("crl_idp_limits", "RFC 5280 §5.2.5", _idp_limits),
    CRLRule("crl_delta_indicator", "RFC 5280 §5.2.4", _delta_indicator),
    CRLRule("crl_delta_order", "RFC 5280 §5.2.4 (c), (d)", _delta_order),
    CRLRule("crl_delta_freshest", "RFC 5280 §5.2.6 (not in delta CRLs)", _delta_freshest),
    CRLRule("crl_freshest", "RFC 5280 §5.2.6", _freshest),
    CRLRule("crl_expired_certs", "X.509 §9.5.2 (ExpiredCertsOnCRL), RFC 5280 §3.3", _expired_certs),
)
