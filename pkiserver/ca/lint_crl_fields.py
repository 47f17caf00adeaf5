"""Lint rules on the fields of a TBSCertList (RFC 5280 §5.1): version, names, algorithms and times."""

from collections.abc import Iterator
from typing import Final

from pkiserver.ca.lint_crl_case import CRLCase, CRLRule
from pkiserver.ca.lint_der import der_faults
from pkiserver.ca.lint_extensions import key_usage
from protocols.asn1 import der
from protocols.crl import NO_FURTHER_UPDATE
from protocols.crl_reader import V2


def _version(case: CRLCase) -> Iterator[str]:
    if case.tbs.version != V2:
        yield "the version is not 2"


def _signature_algorithm(case: CRLCase) -> Iterator[str]:
    if case.tbs.signature != case.facts.signature_algorithm:
        yield "the signature algorithm is not the one that the issuer's key signs with"


def _issuer_name(case: CRLCase) -> Iterator[str]:
    if case.tbs.issuer != case.issuer.subject:
        yield "the issuer is not, octet for octet, the subject of the issuer's certificate"


def _issuer_may_sign(case: CRLCase) -> Iterator[str]:
    if "crl_sign" not in key_usage(case.issuer):
        yield "the issuer's certificate does not allow its key to sign CRLs"


def _time_encoding(case: CRLCase) -> Iterator[str]:
    fields = der.Reader(case.tbs.encoded).enter()
    for known in (der.INTEGER, der.SEQUENCE, der.SEQUENCE):
        if fields.peek() == known:
            fields.read_any()
    for name, moment in (("thisUpdate", case.tbs.this_update), ("nextUpdate", case.tbs.next_update)):
        if moment is not None and fields.read_any()[1] != der.time(moment):
            yield f"{name} is not UTCTime through 2049 and GeneralizedTime after"


def _times(case: CRLCase) -> Iterator[str]:
    if case.tbs.this_update != case.facts.this_update:
        yield "thisUpdate is not the moment of issue"
    if case.tbs.next_update not in (case.facts.next_update, None):  # its absence has a rule of its own
        yield "nextUpdate is not the one that the schedule promises"


def _next_update(case: CRLCase) -> Iterator[str]:
    if case.tbs.next_update is None:
        yield "there is no nextUpdate"
    elif case.tbs.next_update <= case.tbs.this_update:
        yield "nextUpdate is not after thisUpdate"


def _within_issuer(case: CRLCase) -> Iterator[str]:
    not_before, not_after = case.issuer.not_before.moment, case.issuer.not_after.moment
    if not not_before <= case.tbs.this_update <= not_after:
        yield "thisUpdate is outside the validity of the issuer's certificate"
    if case.facts.is_last or case.tbs.next_update is None or case.tbs.next_update == NO_FURTHER_UPDATE:
        return
    if case.tbs.next_update > not_after:
        yield "another CRL is promised for a time when the issuer's certificate has ended"


def _last(case: CRLCase) -> Iterator[str]:
    if (case.tbs.next_update == NO_FURTHER_UPDATE) is not case.facts.is_last:
        yield "nextUpdate is 99991231235959Z in the last CRL and in no other"
    if case.facts.is_last and case.facts.is_delta:
        yield "the last CRL is a delta"


def _this_update_order(case: CRLCase) -> Iterator[str]:
    previous = case.facts.previous
    if previous is not None and case.tbs.this_update < previous.this_update:
        yield "thisUpdate is before that of an earlier CRL of the scope"


def _der(case: CRLCase) -> Iterator[str]:
    yield from der_faults(case.tbs.signature)
    yield from der_faults(case.tbs.issuer)
    for extension in case.tbs.extensions:
        yield from der_faults(extension.value)


RULES: Final = (
    CRLRule("crl_version", "RFC 5280 §5.1.2.1", _version),
    CRLRule("crl_signature_algorithm", "RFC 5280 §5.1.1.2, §5.1.2.2", _signature_algorithm),
    CRLRule("crl_issuer_name", "RFC 5280 §5.1.2.3, §6.3.3 (b)(1)", _issuer_name),
    CRLRule("crl_issuer_may_sign", "RFC 5280 §4.2.1.3, §6.3.3 (f)", _issuer_may_sign),
    CRLRule("crl_time_encoding", "RFC 5280 §5.1.2.4, §5.1.2.5", _time_encoding),
    CRLRule("crl_times", "RFC 5280 §5.1.2.4, §5.1.2.5", _times),
    CRLRule("crl_next_update", "RFC 5280 §5.1.2.5", _next_update),
    CRLRule("crl_within_issuer", "RFC 5280 §6.3.3 (f) (the issuer's path is validated)", _within_issuer),
    CRLRule("crl_last", "ETSI EN 319 411-1 §6.3.9", _last),
    CRLRule("crl_this_update_order", "RFC 5280 §5.2.3 (later CRLs have greater numbers)", _this_update_order),
    CRLRule("crl_der", "RFC 5280 §5.1, X.690 §10, §11", _der),
)
