"""The CA's own lint of CRLs: what it is about to sign is compared with what it is to say (RFC 5280 §5).

The rules are in `lint_crl_*`, one function and one citation each; this module runs them. `check_crl` comes
before every signature and looks at header and extensions, whatever the size: the entries were made one by one
by `protocols.crl.revoked_entry`, which refuses what the rules on entries would find, and are put in order by
the store. `lint_crl` looks at all entries too, which takes some twenty seconds for a million of them.
"""

from collections import Counter
from typing import Final

from pkiserver.ca import lint_crl_entries, lint_crl_extensions, lint_crl_fields
from pkiserver.ca.lint import Finding, LintError
from pkiserver.ca.lint_crl_case import CRLCase, CRLFacts, CRLRule, PublishedCRL, read_case
from pkiserver.ca.lint_crl_entries import CheckEntry, Entry, EntryRule, read_entries
from protocols.errors import ProtocolError

__all__ = ["ENTRY_RULES", "RULES", "STRUCTURE", "CRLFacts", "PublishedCRL", "check_crl", "lint_crl"]

RULES: Final[tuple[CRLRule, ...]] = (*lint_crl_fields.RULES, *lint_crl_extensions.RULES)
ENTRY_RULES: Final[tuple[EntryRule, ...]] = lint_crl_entries.RULES
# Found while reading, before any rule can run: the bytes, and the issuer's, are what they should be.
STRUCTURE: Final = CRLRule("crl_structure", "RFC 5280 §5.1, X.690 §8, §10", lambda _: ())
MAX_FINDINGS: Final = 10  # of one rule on entries: a million entries may all have the same fault


def lint_crl(tbs: bytes, facts: CRLFacts) -> list[Finding]:
    """Return every finding of every rule about a DER TBSCertList; of one about entries, the first few.

    Never raises for what `tbs` holds: what cannot be read is a finding of the rule `crl_structure`.
    """
    try:
        case = read_case(tbs, facts)
        return [*_header_findings(case), *_entry_findings(case)]
    except ProtocolError as error:
        return [_structure(error)]


def check_crl(tbs: bytes, facts: CRLFacts) -> None:
    """Raise `LintError`, which carries the findings, unless every rule on header and extensions holds."""
    try:
        findings = _header_findings(read_case(tbs, facts))
    except ProtocolError as error:
        findings = [_structure(error)]
    if findings:
        raise LintError("CRL", findings)


def _structure(error: ProtocolError) -> Finding:
    return Finding(STRUCTURE.name, STRUCTURE.citation, str(error))


def _header_findings(case: CRLCase) -> list[Finding]:
    return [finding for rule in RULES for finding in _apply(rule, case)]


def _apply(rule: CRLRule, case: CRLCase) -> list[Finding]:
    try:
        return [Finding(rule.name, rule.citation, message) for message in rule.check(case)]
    except ProtocolError as error:
        return [Finding(rule.name, rule.citation, str(error))]


def _entry_findings(case: CRLCase) -> list[Finding]:
    checks = [(rule, rule.begin(case)) for rule in ENTRY_RULES]
    findings: list[Finding] = []
    counts: Counter[str] = Counter()
    for entry in read_entries(case):
        for rule, check in checks:
            for message in _sentences(check, entry):
                if (count := counts[rule.name]) < MAX_FINDINGS:
                    findings.append(Finding(rule.name, rule.citation, message))
                counts[rule.name] = count + 1
    return findings


def _sentences(check: CheckEntry, entry: Entry) -> list[str]:
    try:
        return list(check(entry))
    except ProtocolError as error:
        return [f"{entry.serial:x}: {error}"]
