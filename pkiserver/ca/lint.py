"""The CA's own lint: everything it is about to sign is compared with what was approved (RFC 5280 §4).

The rules are in `lint_rules_*`, one function and one citation each; this module runs them. A finding means
that our profile or our code is wrong, never the applicant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from pkiserver.ca import lint_rules_extensions, lint_rules_fields, lint_rules_names, lint_rules_usage
from pkiserver.ca.lint_common import CommonRules
from pkiserver.ca.lint_tbs import Case, LintFacts, Rule, issuer_tbs, read_tbs, second_reading
from pkiserver.errors import RefusedError
from protocols.errors import ErrorKind, ProtocolError

__all__ = ["RULES", "STRUCTURE", "Finding", "LintError", "LintFacts", "check_tbs", "lint_tbs"]

RULES: Final[tuple[Rule, ...]] = (
    *lint_rules_fields.RULES,
    *lint_rules_names.RULES,
    *lint_rules_usage.RULES,
    *lint_rules_extensions.RULES,
)
# Found while reading, before any rule can run: the bytes, and the issuer, are each a TBSCertificate.
STRUCTURE: Final = Rule("structure", "RFC 5280 §4.1, X.690 §8, §10", lambda _: ())


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of one rule, in a sentence that is safe to show."""

    rule: str
    citation: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.message} ({self.citation})"


class LintError(RefusedError):
    """The lint rules refuse what the CA itself was about to sign; `findings` says why."""

    kind: ClassVar[ErrorKind] = ErrorKind.INTERNAL

    def __init__(self, what: str, findings: Sequence[Finding]) -> None:
        super().__init__(f"the {what} breaks lint rules: " + "; ".join(map(str, findings)))
        self.findings = tuple(findings)


_common_rules: Final = CommonRules(rule for rule in RULES if rule.common)
_other_rules: Final = tuple(rule for rule in RULES if not rule.common)


def lint_tbs(tbs: bytes, facts: LintFacts) -> list[Finding]:
    """Return every finding of every rule about a DER TBSCertificate; where there is none, it may be signed.

    Never raises for what `tbs` holds: what cannot be read is a finding of the rule `structure`.
    """
    try:
        read = read_tbs(tbs)
        issuer = read if facts.issuer is None else issuer_tbs(facts.issuer)
        case = Case(read, facts, issuer, second_reading(read))
    except ProtocolError as error:
        return [Finding(STRUCTURE.name, STRUCTURE.citation, str(error))]
    if _keeps_all_rules(case):
        return []
    return [finding for rule in RULES for finding in _apply(rule, case)]


def _keeps_all_rules(case: Case) -> bool:
    try:
        return _common_rules.hold(case) and not any(True for rule in _other_rules for _ in rule.check(case))
    except ProtocolError:
        return False


def check_tbs(tbs: bytes, facts: LintFacts) -> None:
    """Raise `LintError`, which carries the findings, unless every rule holds."""
    if findings := lint_tbs(tbs, facts):
        raise LintError("certificate", findings)


def _apply(rule: Rule, case: Case) -> list[Finding]:
    try:
        return [Finding(rule.name, rule.citation, message) for message in rule.check(case)]
    except ProtocolError as error:
        return [Finding(rule.name, rule.citation, str(error))]
