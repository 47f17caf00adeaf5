"""Lint rules on extensions as such, on key identifiers, and on those that point elsewhere (RFC 5280 §4.2)."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

from pkiserver.ca.lint_extensions import (
    AD_CA_ISSUERS,
    AD_OCSP,
    AIA,
    AKI,
    BASIC_CONSTRAINTS,
    CERTIFICATE_POLICIES,
    CRL_DISTRIBUTION_POINTS,
    EXTENDED_KEY_USAGE,
    FRESHEST_CRL,
    KEY_USAGE,
    OCSP_NOCHECK,
    QC_STATEMENTS,
    SAN,
    SKI,
    access_descriptions,
    authority_key_identifier,
    crl_urls,
    key_octets,
    policies,
    subject_key_identifier,
)
from pkiserver.ca.lint_tbs import Case, Rule

_NEVER_CRITICAL: Final = frozenset(
    {AKI, SKI, AIA, CRL_DISTRIBUTION_POINTS, FRESHEST_CRL, CERTIFICATE_POLICIES, OCSP_NOCHECK, QC_STATEMENTS}
)
_KNOWN: Final = _NEVER_CRITICAL | {KEY_USAGE, EXTENDED_KEY_USAGE, BASIC_CONSTRAINTS, SAN}
_URL_SCHEMES: Final = ("http://", "ldap://", "ldaps://")


def _unique(case: Case) -> Iterator[str]:
    for oid, count in Counter(extension.oid for extension in case.tbs.extensions).items():
        if count > 1:
            yield f"the extension {oid} is there {count} times"


def _known(case: Case) -> Iterator[str]:
    for extension in case.tbs.extensions:
        if extension.oid not in _KNOWN:
            kind = "critical extension" if extension.critical else "extension"
            yield f"the {kind} {extension.oid} is none that profiles have"


def _never_critical(case: Case) -> Iterator[str]:
    for extension in case.tbs.extensions:
        if extension.critical and extension.oid in _NEVER_CRITICAL:
            yield f"the extension {extension.oid} is critical"


def _second_decoder(case: Case) -> Iterator[str]:
    if case.second is None:
        yield "a second decoder refuses the certificate"
    elif case.second.extension_count != len(case.tbs.extensions):
        yield "a second decoder reads other extensions"


def _aki(case: Case) -> Iterator[str]:
    found = authority_key_identifier(case.tbs)
    if found is None and case.facts.issuer is None:
        return
    if found is None or found != subject_key_identifier(case.issuer):
        yield "authorityKeyIdentifier is not the subjectKeyIdentifier of the issuer"


def _ski(case: Case) -> Iterator[str]:
    method_1 = hashlib.sha1(key_octets(case.tbs.spki), usedforsecurity=False).digest()
    if subject_key_identifier(case.tbs) != method_1:
        yield "subjectKeyIdentifier is not the SHA-1 of the public key's BIT STRING"


def _aia(case: Case) -> Iterator[str]:
    found = access_descriptions(case.tbs)
    if tuple(uri for method, uri in found if method == AD_OCSP) != case.facts.ocsp_urls:
        yield "the OCSP addresses are not those of the profile"
    if tuple(uri for method, uri in found if method == AD_CA_ISSUERS) != case.facts.ca_issuers_urls:
        yield "the addresses of the issuer's certificate are not those of the profile"
    if any(method not in (AD_OCSP, AD_CA_ISSUERS) for method, _ in found):
        yield "authorityInfoAccess has an access method that profiles do not have"
    if not found and case.tbs.extension(AIA) is not None:
        yield "authorityInfoAccess is empty"


def _crl_distribution_points(case: Case) -> Iterator[str]:
    found = crl_urls(case.tbs)
    if found != case.facts.crl_urls:
        yield "the CRL distribution points are not those of the profile"
    if not found and case.tbs.extension(CRL_DISTRIBUTION_POINTS) is not None:
        yield "cRLDistributionPoints is empty"


def _freshest_crl(case: Case) -> Iterator[str]:
    found = crl_urls(case.tbs, FRESHEST_CRL)
    if found != case.facts.freshest_crl_urls:
        yield "the addresses of delta CRLs are not those of the issuer"
    if not found and case.tbs.extension(FRESHEST_CRL) is not None:
        yield "freshestCRL is empty"
    if found and not crl_urls(case.tbs):
        yield "freshestCRL is there without the complete CRL that it adds to"


def _url_schemes(case: Case) -> Iterator[str]:
    crls = (*crl_urls(case.tbs), *crl_urls(case.tbs, FRESHEST_CRL))
    for url in (*(uri for _, uri in access_descriptions(case.tbs)), *crls):
        if not url.lower().startswith(_URL_SCHEMES):
            yield "an address of status or issuer is neither http nor ldap"


def _policies(case: Case) -> Iterator[str]:
    with_uris = policies(case.tbs)
    found = tuple(policy for policy, _ in with_uris)
    if found != case.facts.policies:
        yield "the certificate policies are not those of the profile"
    if tuple((policy, uri) for policy, uri in with_uris if uri) != case.facts.cps_uris:
        yield "the addresses of practice statements are not those of the profile"
    if len(set(found)) != len(found):
        yield "a certificate policy is there twice"
    if not found and case.tbs.extension(CERTIFICATE_POLICIES) is not None:
        yield "certificatePolicies is empty"


def _qc_statements(case: Case) -> Iterator[str]:
    extension = case.tbs.extension(QC_STATEMENTS)
    if (None if extension is None else extension.value) != case.facts.qc_statements:
        yield "qcStatements are not those of the profile and the application"


RULES: Final = (
    Rule("extensions_unique", "RFC 5280 §4.2", _unique, common=True),
    Rule(
        "extensions_known", "RFC 5280 §4.2 (an unknown critical extension is rejected)", _known, common=True
    ),
    Rule(
        "extensions_never_critical",
        "RFC 5280 §4.2.1.1, §4.2.1.2, §4.2.1.13, §4.2.1.15, §4.2.2.1, ETSI EN 319 412-5 §4.1",
        _never_critical,
        common=True,
    ),
    Rule("second_decoder", "RFC 5280 §4.1, §4.2 (read by a second implementation)", _second_decoder),
    Rule("aki", "RFC 5280 §4.2.1.1", _aki, common=True),
    Rule("ski", "RFC 5280 §4.2.1.2 (1)", _ski),
    Rule("aia", "RFC 5280 §4.2.2.1", _aia, common=True),
    Rule("crl_distribution_points", "RFC 5280 §4.2.1.13", _crl_distribution_points, common=True),
    Rule("freshest_crl", "RFC 5280 §4.2.1.15", _freshest_crl, common=True),
    Rule(
        "url_schemes",
        "RFC 5280 §4.2.1.13, §4.2.2.1, §8 (https would need a status itself)",
        _url_schemes,
        common=True,
    ),
    Rule("policies", "RFC 5280 §4.2.1.4", _policies, common=True),
    Rule("qc_statements", "RFC 3739 §3.2.6, ETSI EN 319 412-5 §4", _qc_statements, common=True),
)
