"""What the certificates of one profile and issuer have alike, and the rules that look at nothing else.

Such a rule is asked once, not for every certificate. It is given a case in which all that differs is left
out, so that its answer cannot depend on it.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509

from pkiserver.ca.lint_tbs import MAX_REMEMBERED, VARYING, Case, Rule, Time
from protocols.asn1 import der

_NO_MOMENT: Final = datetime(1, 1, 1, tzinfo=UTC)
_NO_TIME: Final = Time(0, b"", _NO_MOMENT)


def common_case(case: Case) -> Case:
    """Return the case without serial, validity, subject, names, key and key identifier."""
    tbs, facts = case.tbs, case.facts
    reduced = replace(
        tbs,
        serial=b"",
        not_before=_NO_TIME,
        not_after=_NO_TIME,
        subject=b"",
        spki=der.sequence(_algorithm(tbs.spki)),
        extensions=tuple(replace(one, value=b"") if one.oid in VARYING else one for one in tbs.extensions),
        der=b"",
        parts=(),
        extension_parts=(),
    )
    expected = replace(
        facts,
        serial_number=0,
        not_before=_NO_MOMENT,
        not_after=_NO_MOMENT,
        subject=x509.Name([]),
        san=(),
        spki=b"",
    )
    return Case(reduced, expected, case.issuer, None)


def _common_key(case: Case) -> tuple[Any, ...]:
    """Return all that `common_case` leaves, in a form that is quick to look up."""
    tbs, facts = case.tbs, case.facts
    return (
        tbs.version,
        tbs.signature,
        tbs.issuer,
        tbs.has_unique_id,
        _algorithm(tbs.spki),
        *(
            (one.oid, one.critical, one.critical_written) if one.oid in VARYING else part
            for one, part in zip(tbs.extensions, tbs.extension_parts, strict=True)
        ),
        case.issuer.der,
        facts.signature_algorithm,
        facts.key_usage,
        facts.extended_key_usage,
        facts.is_ca,
        facts.path_length,
        facts.ocsp_urls,
        facts.ca_issuers_urls,
        facts.crl_urls,
        facts.policies,
        facts.freshest_crl_urls,
        facts.cps_uris,
        facts.qc_statements,
        facts.ocsp_nocheck,
    )


def _algorithm(spki: bytes) -> bytes:
    return der.Reader(spki).enter().read_raw(der.SEQUENCE)


class CommonRules:
    """Remembers for which certificates no common rule had a finding."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._clean: set[tuple[Any, ...]] = set()

    def hold(self, case: Case) -> bool:
        """Return whether no rule has a finding; raises `ProtocolError` where a rule does."""
        if case.facts.issuer is None:  # a root: its issuer is the certificate itself
            return not any(True for rule in self._rules for _ in rule.check(case))
        key = _common_key(case)
        if key in self._clean:
            return True
        common = common_case(case)
        if any(True for rule in self._rules for _ in rule.check(common)):
            return False
        if len(self._clean) >= MAX_REMEMBERED:
            self._clean.clear()
        self._clean.add(key)
        return True
