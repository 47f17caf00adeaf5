"""Every lint rule of CRLs, with the CRLs that keep it and that break it."""

from dataclasses import replace

import pytest
from crl_breaches import (
    ALGORITHM,
    BASES,
    BREACHES,
    DAY,
    FULL,
    IDENTIFIER,
    NOW,
    SUBJECT,
    Breach,
    built,
    entries,
    entries_of,
    entry,
    parts_of,
    reason,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiserver.ca.lint import Finding, LintError
from pkiserver.ca.lint_crl import ENTRY_RULES, MAX_FINDINGS, RULES, STRUCTURE, check_crl, lint_crl
from protocols.crl import build_tbs_cert_list
from protocols.errors import ErrorKind


@pytest.mark.parametrize("base", BASES)
def test_a_right_crl_has_no_finding(base: str) -> None:
    facts, _ = BASES[base]
    assert lint_crl(built(base), facts) == []
    check_crl(built(base), facts)


def test_a_crl_without_entries_has_no_finding() -> None:
    tbs = build_tbs_cert_list(ALGORITHM, SUBJECT, NOW, NOW + DAY, b"", IDENTIFIER, 12)
    assert lint_crl(tbs, FULL) == []


@pytest.mark.parametrize("base", BASES)
def test_the_parts_make_what_our_encoders_make(base: str) -> None:
    assert parts_of(base).encode() == built(base)


def found_by(findings: list[Finding]) -> set[str]:
    return {finding.rule for finding in findings}


@pytest.mark.parametrize("case", BREACHES, ids=lambda case: case.rule)
def test_a_breach_is_found_by_its_rule_and_no_other(case: Breach) -> None:
    facts = replace(BASES[case.base][0], **case.facts)
    found = found_by(lint_crl(case.change(parts_of(case.base)).encode(), facts))
    assert case.rule in found
    assert found - {case.rule} == case.also


@pytest.mark.parametrize("case", BREACHES, ids=lambda case: case.rule)
def test_what_is_signed_is_checked_up_to_its_entries(case: Breach) -> None:
    facts, right = replace(BASES[case.base][0], **case.facts), parts_of(case.base)
    wrong = case.change(right)
    if wrong.entries != right.entries:
        check_crl(wrong.encode(), facts)
        return
    with pytest.raises(LintError) as caught:
        check_crl(wrong.encode(), facts)
    assert {finding.rule for finding in caught.value.findings} == {case.rule} | case.also


def test_every_rule_is_broken_by_some_case() -> None:
    assert {rule.name for rule in (*RULES, *ENTRY_RULES, STRUCTURE)} == {case.rule for case in BREACHES}


def test_every_rule_has_a_name_and_a_citation_of_its_own() -> None:
    every = [*RULES, *ENTRY_RULES]
    assert len({rule.name for rule in every}) == len(every)
    assert all(any(word in rule.citation for word in ("RFC", "X.509", "ETSI")) for rule in every)


def test_check_raises_with_every_finding() -> None:
    with pytest.raises(LintError) as caught:
        check_crl(built("full"), replace(FULL, number=14, is_last=True))
    assert caught.value.kind is ErrorKind.INTERNAL
    assert [finding.rule for finding in caught.value.findings] == ["crl_last", "crl_number"]
    assert str(caught.value).startswith("the CRL breaks lint rules: crl_last: ")
    assert "\n" not in str(caught.value)


def test_of_a_fault_that_every_entry_has_the_first_few_are_told() -> None:
    many = entries(*(entry(serial, reason(0)) for serial in range(1, 100)))
    found = lint_crl(many(parts_of("full")).encode(), FULL)
    assert [finding.rule for finding in found] == ["crl_entry_reason"] * MAX_FINDINGS


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_makes_the_lint_raise_or_pass(data: st.DataObject) -> None:
    base = data.draw(st.sampled_from(sorted(BASES)))
    facts, tbs = BASES[base][0], built(base)
    revoked = b"".join(entries_of(facts))
    inside = range(tbs.index(revoked), tbs.index(revoked) + len(revoked))
    position = data.draw(st.integers(0, len(tbs) - 1).filter(lambda value: value not in inside))
    octet = data.draw(st.integers(0, 255).filter(lambda value: value != tbs[position]))
    damaged = tbs[:position] + bytes((octet,)) + tbs[position + 1 :]
    findings = lint_crl(damaged, facts)
    assert findings
    assert all("\n" not in str(finding) for finding in findings)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 120), st.integers(0, 120))
def test_no_entries_make_the_lint_raise(insert: bytes, low: int, high: int) -> None:
    revoked = b"".join(entries_of(FULL))
    damaged = revoked[:low] + insert + revoked[high:]
    findings = lint_crl(entries(damaged)(parts_of("full")).encode(), FULL)
    assert all(isinstance(finding, Finding) and "\n" not in str(finding) for finding in findings)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_a_finding(noise: bytes) -> None:
    assert found_by(lint_crl(noise, FULL)) == {"crl_structure"}
