"""The rules that the authorities of one configuration keep together."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from config.errors import Broken
from config.units import Lifetime, duration_text

INFRASTRUCTURE: Final = "infrastructure"  # issues the server's own and the administrators' certificates
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")  # it is a file name and a part of URLs
_ANY_DAY: Final = datetime(2000, 1, 1, tzinfo=UTC)  # lifetimes are compared as laid from one day


class AuthorityRules(Protocol):
    """What the rules look at."""

    @property
    def parent(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def lifetime(self) -> Lifetime: ...
    @property
    def responder_lifetime(self) -> Lifetime: ...
    @property
    def crl_period(self) -> timedelta: ...
    @property
    def crl_delta_period(self) -> timedelta: ...


def check_hierarchy(authorities: Mapping[str, AuthorityRules]) -> list[Broken]:
    """Return every rule that the authorities break: names, one root, parents, subjects, times."""
    rules = (_names, _parents, _subjects, _lifetimes, _crl_periods)
    return [broken for rule in rules for broken in rule(authorities)]


def _names(authorities: Mapping[str, AuthorityRules]) -> Iterator[Broken]:
    for name in authorities:
        if _NAME.fullmatch(name) is None:
            rule = "lower-case letters, digits and hyphens, a letter first, 32 at most"
            yield Broken(f"{name[:40]!r} is no name of an authority", rule)
        stem, _, number = name.rpartition("-")
        if stem in authorities and number.isdigit():
            yield Broken(f"{name!r} is the name of a CRL", f"the shards of {stem} are named {stem}-NUMBER")
    if INFRASTRUCTURE not in authorities:
        yield Broken("missing", "the server's own certificates need this authority", INFRASTRUCTURE)


def _parents(authorities: Mapping[str, AuthorityRules]) -> Iterator[Broken]:
    roots = [name for name, authority in authorities.items() if not authority.parent]
    if len(roots) != 1:
        yield Broken(f"{len(roots)} roots", 'exactly one authority has parent = ""')
    for name, authority in authorities.items():
        if authority.parent and authority.parent not in roots:
            problem = f"{authority.parent[:40]!r} is not the root"
            yield Broken(problem, "an issuing authority stands directly under the root", f"{name}.parent")


def _subjects(authorities: Mapping[str, AuthorityRules]) -> Iterator[Broken]:
    seen: dict[str, str] = {}
    for name, authority in authorities.items():
        first = seen.setdefault(authority.subject.casefold(), name)
        if first != name:
            yield Broken(f"the same as that of {first}", "no two authorities share a name", f"{name}.subject")


def _lifetimes(authorities: Mapping[str, AuthorityRules]) -> Iterator[Broken]:
    for name, authority in authorities.items():
        end = authority.lifetime.after(_ANY_DAY)
        parent = authorities.get(authority.parent)
        if parent is not None and parent.lifetime.after(_ANY_DAY) < end:
            yield Broken(
                f"outlives {authority.parent}", "a certificate ends within its issuer's", f"{name}.lifetime"
            )
        if authority.responder_lifetime.after(_ANY_DAY) > end:
            yield Broken(
                f"outlives {name}", "a certificate ends within its issuer's", f"{name}.responder_lifetime"
            )


def _crl_periods(authorities: Mapping[str, AuthorityRules]) -> Iterator[Broken]:
    for name, authority in authorities.items():
        if authority.crl_delta_period >= authority.crl_period:
            problem = f"{duration_text(authority.crl_delta_period)} is too long"
            rule, needs = "crl_delta_period < crl_period", (f"{name}.crl_period",)
            yield Broken(problem, rule, f"{name}.crl_delta_period", needs)
