"""What may be asked in a case, by which channel, on which ground, and until when it is decided. Pure tables.

The clauses are those of the regulation on citizens' certificates; where it is silent, the choice is ours and
said so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from pkiserver.errors import RefusedError
from pkiserver.ra.lifecycle import HoldOwner
from pkiserver.ra.registration.roles import Actor, Role
from pkiserver.ra.registration.working_hours import Calendar, due_at
from protocols.asn1.ocsp import CRLReason


class Kind(Enum):
    """What is asked."""

    SUSPEND = "suspend"
    RESTORE = "restore"
    REVOKE = "revoke"
    UNBLOCK = "unblock"  # of the carrier, whose PIN was entered wrongly too often


class Channel(Enum):
    """How it was asked."""

    WRITTEN = "written"  # at an office, by its holder
    SELF_SERVICE = "self_service"  # through a connected system that identified the holder
    AUTHORITY = "authority"  # a competent authority's decision (law, 17.1.3 and 17.1.4)
    CIVIL_REGISTRY = "civil_registry"
    ORGANIZATION = "organization"  # an officer's certificate, by official letter


@dataclass(frozen=True, slots=True)
class Deadline:
    """Until when a case is decided; `at_once` when it carries itself out."""

    working: timedelta = timedelta()
    elapsed: timedelta = timedelta()
    at_once: bool = False

    def after(self, received_at: datetime, calendar: Calendar) -> datetime:
        """Return the moment until which a case received then is to be decided."""
        if self.working:
            return due_at(calendar, received_at, self.working)
        return received_at + self.elapsed


@dataclass(frozen=True, slots=True)
class CaseRule:
    """One row: the deadline, and whose hold the case opens or closes."""

    deadline: Deadline
    owner: HoldOwner = HoldOwner.HOLDER


EIGHT_WORKING_HOURS: Final = Deadline(working=timedelta(hours=8))
ONE_WORKING_HOUR: Final = Deadline(working=timedelta(hours=1))  # "at once", at a counter [ours]
ONE_DAY: Final = Deadline(elapsed=timedelta(hours=24))
AT_ONCE: Final = Deadline(at_once=True)

RULES: Final[Mapping[tuple[Kind, Channel], CaseRule]] = {
    (Kind.SUSPEND, Channel.WRITTEN): CaseRule(EIGHT_WORKING_HOURS),  # 3.2
    (Kind.SUSPEND, Channel.SELF_SERVICE): CaseRule(AT_ONCE),  # 3.2
    (Kind.SUSPEND, Channel.AUTHORITY): CaseRule(ONE_DAY, HoldOwner.AUTHORITY),  # 3.3; the day is ours
    (Kind.SUSPEND, Channel.CIVIL_REGISTRY): CaseRule(AT_ONCE, HoldOwner.AUTHORITY),
    (Kind.SUSPEND, Channel.ORGANIZATION): CaseRule(EIGHT_WORKING_HOURS, HoldOwner.AUTHORITY),
    (Kind.RESTORE, Channel.WRITTEN): CaseRule(ONE_WORKING_HOUR),  # 3.4
    (Kind.RESTORE, Channel.SELF_SERVICE): CaseRule(AT_ONCE),  # 3.4
    (Kind.RESTORE, Channel.AUTHORITY): CaseRule(EIGHT_WORKING_HOURS, HoldOwner.AUTHORITY),  # 3.5
    (Kind.RESTORE, Channel.CIVIL_REGISTRY): CaseRule(AT_ONCE, HoldOwner.AUTHORITY),
    (Kind.RESTORE, Channel.ORGANIZATION): CaseRule(EIGHT_WORKING_HOURS, HoldOwner.AUTHORITY),
    (Kind.REVOKE, Channel.WRITTEN): CaseRule(ONE_DAY),  # 3.6; the day is ours
    (Kind.REVOKE, Channel.SELF_SERVICE): CaseRule(AT_ONCE),
    (Kind.REVOKE, Channel.AUTHORITY): CaseRule(ONE_DAY, HoldOwner.AUTHORITY),
    (Kind.REVOKE, Channel.CIVIL_REGISTRY): CaseRule(AT_ONCE, HoldOwner.AUTHORITY),
    (Kind.REVOKE, Channel.ORGANIZATION): CaseRule(ONE_DAY, HoldOwner.AUTHORITY),
    (Kind.UNBLOCK, Channel.WRITTEN): CaseRule(EIGHT_WORKING_HOURS),
    (Kind.UNBLOCK, Channel.SELF_SERVICE): CaseRule(AT_ONCE),
    (Kind.UNBLOCK, Channel.ORGANIZATION): CaseRule(EIGHT_WORKING_HOURS),
}
# Of what the civil registry tells, this waits for a registrar [ours]: the holder comes for a new certificate.
BY_REGISTRAR: Final[Mapping[tuple[Kind, Channel, str], CaseRule]] = {
    (Kind.REVOKE, Channel.CIVIL_REGISTRY, "name_changed"): CaseRule(EIGHT_WORKING_HOURS, HoldOwner.AUTHORITY),
}
# A channel is open to these roles alone: no registrar has a request carry itself out.
ROLES: Final[Mapping[Channel, frozenset[Role]]] = {
    Channel.WRITTEN: frozenset({Role.REGISTRAR, Role.SENIOR_REGISTRAR}),
    Channel.SELF_SERVICE: frozenset({Role.SERVICE}),
    Channel.AUTHORITY: frozenset({Role.LEGAL}),
    Channel.CIVIL_REGISTRY: frozenset({Role.CIVIL_REGISTRY}),
    Channel.ORGANIZATION: frozenset({Role.ORG_OFFICER}),
}


@dataclass(frozen=True, slots=True)
class Ground:
    """Why: what it allows, what CRL and OCSP say of a revocation, and whether the holder agrees."""

    kinds: frozenset[Kind]
    reason: CRLReason = CRLReason.UNSPECIFIED
    against_will: bool = False


def _ground(*kinds: Kind, reason: CRLReason = CRLReason.UNSPECIFIED, against_will: bool = False) -> Ground:
    return Ground(frozenset(kinds), reason, against_will)


_REVOKE: Final = (Kind.REVOKE,)

GROUNDS: Final[Mapping[str, Ground]] = {
    "holder_request": _ground(*Kind, reason=CRLReason.CESSATION_OF_OPERATION),
    "carrier_missing": _ground(Kind.SUSPEND, Kind.REVOKE, reason=CRLReason.KEY_COMPROMISE),
    "carrier_found": _ground(Kind.RESTORE),
    "carrier_blocked": _ground(Kind.UNBLOCK),
    "carrier_exchanged": _ground(*_REVOKE, reason=CRLReason.SUPERSEDED),
    "key_compromised": _ground(Kind.SUSPEND, Kind.REVOKE, reason=CRLReason.KEY_COMPROMISE),
    "authority_decision": _ground(
        Kind.SUSPEND, Kind.REVOKE, reason=CRLReason.PRIVILEGE_WITHDRAWN, against_will=True
    ),
    "cause_gone": _ground(Kind.RESTORE),  # 3.5
    "death": _ground(*_REVOKE, reason=CRLReason.CESSATION_OF_OPERATION),
    "citizenship_lost": _ground(*_REVOKE, reason=CRLReason.PRIVILEGE_WITHDRAWN),
    "name_changed": _ground(*_REVOKE, reason=CRLReason.SUPERSEDED),
    "forged_documents": _ground(*_REVOKE, reason=CRLReason.PRIVILEGE_WITHDRAWN, against_will=True),
    "duties_breached": _ground(*_REVOKE, reason=CRLReason.PRIVILEGE_WITHDRAWN, against_will=True),
    "position_changed": _ground(*_REVOKE, reason=CRLReason.SUPERSEDED),
    "officer_left": _ground(*_REVOKE, reason=CRLReason.CESSATION_OF_OPERATION),
    "contract_ended": _ground(*_REVOKE, reason=CRLReason.CESSATION_OF_OPERATION),
}


def rule_for(kind: Kind, channel: Channel, ground: str) -> CaseRule:
    """Return the row of a case; `RefusedError` says what the channel or the ground does not allow."""
    rule = RULES.get((kind, channel))
    if rule is None:
        raise RefusedError(f"by the channel {channel.value} nobody may ask to {kind.value}")
    if ground not in GROUNDS:
        raise RefusedError(f"a ground is one of {', '.join(sorted(GROUNDS))}")
    if kind not in GROUNDS[ground].kinds:
        raise RefusedError(f"{ground} is no ground to {kind.value}")
    chosen = BY_REGISTRAR.get((kind, channel, ground), rule)
    if chosen.deadline.at_once and needs_second(kind, channel, ground):
        raise RefusedError(f"of {ground} two decide: by the channel {channel.value} nobody does")
    return chosen


def needs_second(kind: Kind, channel: Channel, ground: str) -> bool:
    """Return whether a second person decides: an authority's decisions, and what the holder does not want."""
    return channel is Channel.AUTHORITY or (kind is Kind.REVOKE and GROUNDS[ground].against_will)


def asking(actor: Actor, channel: Channel) -> Actor:
    """Return an actor in the roles alone to which a channel is open."""
    return replace(actor, assignments=tuple(one for one in actor.assignments if one.role in ROLES[channel]))
