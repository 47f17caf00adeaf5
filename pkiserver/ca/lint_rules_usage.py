"""Lint rules on what the key may do: keyUsage, extKeyUsage, basicConstraints (RFC 5280 §4.2.1)."""

from collections.abc import Iterator
from typing import Final

from cryptography.x509.oid import ExtendedKeyUsageOID, PublicKeyAlgorithmOID

from pkiserver.ca.lint_extensions import (
    BASIC_CONSTRAINTS,
    EXTENDED_KEY_USAGE,
    KEY_USAGE,
    OCSP_NOCHECK,
    basic_constraints,
    extended_key_usage,
    key_algorithm,
    key_usage,
)
from pkiserver.ca.lint_tbs import Case, Rule
from protocols.asn1 import der

_TIME_STAMPING: Final = ExtendedKeyUsageOID.TIME_STAMPING.dotted_string
_OCSP_SIGNING: Final = ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string
_ANY: Final = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string

_SIGNING_ONLY: Final = frozenset({"digital_signature", "content_commitment", "key_cert_sign", "crl_sign"})
_USAGES_OF_KEY: Final = {
    PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5.dotted_string: _SIGNING_ONLY
    | {"key_encipherment", "data_encipherment"},
    PublicKeyAlgorithmOID.EC_PUBLIC_KEY.dotted_string: _SIGNING_ONLY
    | {"key_agreement", "encipher_only", "decipher_only"},
    PublicKeyAlgorithmOID.ED25519.dotted_string: _SIGNING_ONLY,
    PublicKeyAlgorithmOID.ED448.dotted_string: _SIGNING_ONLY,
}
# RFC 5280 §4.2.1.12: of each purpose, the key usages of which at least one must be there.
_USAGES_OF_PURPOSE: Final = {
    ExtendedKeyUsageOID.SERVER_AUTH.dotted_string: {"digital_signature", "key_encipherment", "key_agreement"},
    ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string: {"digital_signature", "key_agreement"},
    ExtendedKeyUsageOID.CODE_SIGNING.dotted_string: {"digital_signature"},
    ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string: {
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "key_agreement",
    },
    _TIME_STAMPING: {"digital_signature", "content_commitment"},
    _OCSP_SIGNING: {"digital_signature", "content_commitment"},
}


def _key_usage_approved(case: Case) -> Iterator[str]:
    if key_usage(case.tbs) != case.facts.key_usage:
        yield "keyUsage is not that of the profile"


def _key_usage_critical(case: Case) -> Iterator[str]:
    extension = case.tbs.extension(KEY_USAGE)
    if extension is not None and not extension.critical:
        yield "keyUsage is not critical"


def _key_usage_not_empty(case: Case) -> Iterator[str]:
    if case.tbs.extension(KEY_USAGE) is not None and not key_usage(case.tbs):
        yield "keyUsage has no bit set"


def _key_usage_of_ca(case: Case) -> Iterator[str]:
    constraints = basic_constraints(case.tbs)
    is_ca = constraints is not None and constraints.is_ca
    if is_ca != ("key_cert_sign" in key_usage(case.tbs)):
        yield "keyCertSign is not set exactly in the certificate of a CA"


def _key_usage_fits_key(case: Case) -> Iterator[str]:
    algorithm = key_algorithm(case.tbs.spki)
    if algorithm not in _USAGES_OF_KEY:
        yield f"no key usage is known for keys of {algorithm}"
    elif unfit := sorted(key_usage(case.tbs) - _USAGES_OF_KEY[algorithm]):
        yield f"the key cannot be used for {', '.join(unfit)}"


def _key_usage_qualified(case: Case) -> Iterator[str]:
    usage = key_usage(case.tbs)
    only = usage & {"encipher_only", "decipher_only"}
    if only and "key_agreement" not in usage:
        yield "encipherOnly or decipherOnly is set without keyAgreement"
    if len(only) > 1:
        yield "encipherOnly and decipherOnly exclude each other"


def _purposes_approved(case: Case) -> Iterator[str]:
    found = extended_key_usage(case.tbs)
    if frozenset(found) != case.facts.extended_key_usage or len(set(found)) != len(found):
        yield "extKeyUsage is not that of the profile"


def _purposes_not_empty(case: Case) -> Iterator[str]:
    if case.tbs.extension(EXTENDED_KEY_USAGE) is not None and not extended_key_usage(case.tbs):
        yield "extKeyUsage holds no purpose"


def _purposes_not_any(case: Case) -> Iterator[str]:
    if _ANY in extended_key_usage(case.tbs):
        yield "extKeyUsage holds anyExtendedKeyUsage"


def _purposes_critical(case: Case) -> Iterator[str]:
    extension = case.tbs.extension(EXTENDED_KEY_USAGE)
    if extension is None:
        return
    found = extended_key_usage(case.tbs)
    if extension.critical != (found == (_TIME_STAMPING,)):
        yield "extKeyUsage is not critical exactly where its one purpose is timeStamping"
    if _TIME_STAMPING in found and len(found) > 1:
        yield "timeStamping is not the only purpose"


def _purposes_fit_key_usage(case: Case) -> Iterator[str]:
    usage = key_usage(case.tbs)
    for purpose in extended_key_usage(case.tbs):
        needed = _USAGES_OF_PURPOSE.get(purpose)
        if needed is not None and usage and not usage & needed:
            yield f"no bit of keyUsage is consistent with the purpose {purpose}"


def _basic_constraints(case: Case) -> Iterator[str]:
    extension, found = case.tbs.extension(BASIC_CONSTRAINTS), basic_constraints(case.tbs)
    if (found is not None and found.is_ca) != case.facts.is_ca:
        yield "cA is not what the profile says"
    if found is not None and found.is_ca and extension is not None and not extension.critical:
        yield "basicConstraints of a CA is not critical"


def _path_length(case: Case) -> Iterator[str]:
    found = basic_constraints(case.tbs)
    path_length = None if found is None else found.path_length
    if path_length != case.facts.path_length:
        yield "pathLenConstraint is not what the profile says"
    if path_length is not None and found is not None and (not found.is_ca or path_length < 0):
        yield "pathLenConstraint is negative or outside the certificate of a CA"


def _issuer_may_issue(case: Case) -> Iterator[str]:
    constraints = basic_constraints(case.issuer)
    if constraints is None or not constraints.is_ca or "key_cert_sign" not in key_usage(case.issuer):
        yield "the issuer's certificate is not that of a CA"


def _issuer_path_length(case: Case) -> Iterator[str]:
    own, above = basic_constraints(case.tbs), basic_constraints(case.issuer)
    if case.facts.issuer is None or own is None or not own.is_ca or above is None:
        return
    if above.path_length is not None and (own.path_length is None or own.path_length >= above.path_length):
        yield "pathLenConstraint is not below that of the issuer"


def _ocsp_nocheck(case: Case) -> Iterator[str]:
    extension = case.tbs.extension(OCSP_NOCHECK)
    if (extension is not None) != case.facts.ocsp_nocheck:
        yield "ocsp-nocheck is not there exactly where the profile says so"
    if extension is not None and extension.value != der.null():
        yield "ocsp-nocheck is not NULL"
    if extension is not None and _OCSP_SIGNING not in extended_key_usage(case.tbs):
        yield "ocsp-nocheck is outside the certificate of an OCSP responder"


RULES: Final = (
    Rule("key_usage_approved", "RFC 5280 §4.2.1.3", _key_usage_approved, common=True),
    Rule("key_usage_critical", "RFC 5280 §4.2.1.3", _key_usage_critical, common=True),
    Rule("key_usage_not_empty", "RFC 5280 §4.2.1.3", _key_usage_not_empty, common=True),
    Rule("key_usage_of_ca", "RFC 5280 §4.2.1.3, §4.2.1.9", _key_usage_of_ca, common=True),
    Rule(
        "key_usage_fits_key",
        "RFC 3279 §2.3.1, RFC 5480 §3, RFC 8813 §3, RFC 8410 §5",
        _key_usage_fits_key,
        common=True,
    ),
    Rule("key_usage_qualified", "RFC 5280 §4.2.1.3, RFC 5480 §3", _key_usage_qualified, common=True),
    Rule("purposes_approved", "RFC 5280 §4.2.1.12", _purposes_approved, common=True),
    Rule("purposes_not_empty", "RFC 5280 §4.2.1.12 (SIZE (1..MAX))", _purposes_not_empty, common=True),
    Rule("purposes_not_any", "RFC 5280 §4.2.1.12, CA/B BR §7.1.2.7.10", _purposes_not_any, common=True),
    Rule("purposes_critical", "RFC 5280 §4.2.1.12, RFC 3161 §2.3", _purposes_critical, common=True),
    Rule("purposes_fit_key_usage", "RFC 5280 §4.2.1.12", _purposes_fit_key_usage, common=True),
    Rule("basic_constraints", "RFC 5280 §4.2.1.9", _basic_constraints, common=True),
    Rule("path_length", "RFC 5280 §4.2.1.9", _path_length, common=True),
    Rule("issuer_may_issue", "RFC 5280 §6.1.4 (k), (n)", _issuer_may_issue, common=True),
    Rule("issuer_path_length", "RFC 5280 §6.1.4 (l), (m)", _issuer_path_length, common=True),
    Rule("ocsp_nocheck", "RFC 6960 §4.2.2.2.1", _ocsp_nocheck, common=True),
)
