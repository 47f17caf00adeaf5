"""What is wrong with a configuration file: every finding at once, one line each."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, what, and the rule it breaks."""

    file: str
    key: str  # dotted, as in `ocsp.max_age`; empty where the whole file is meant
    problem: str
    rule: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where}: {self.problem}; {self.rule}"


class ConfigError(Exception):
    """The configuration cannot be used. `findings` holds all that is wrong; `str()` has a line for each."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


@dataclass(frozen=True, slots=True)
class Broken:
    """A broken rule, said by a validator that does not know its file; `key` is relative to its model.

    `needs` names further keys of that model which the rule compares: it says nothing while one is bad itself.
    """

    problem: str
    rule: str
    key: str = ""
    needs: tuple[str, ...] = ()


class RuleError(ValueError):
    """Raised inside validators: one or several broken rules of the value at hand."""

    def __init__(self, *broken: Broken) -> None:
        self.broken = broken
        super().__init__("; ".join(f"{one.problem}; {one.rule}" for one in broken))


def refuse(problem: str, rule: str) -> RuleError:
    """Return the error of a value that breaks one rule."""
    return RuleError(Broken(problem, rule))
