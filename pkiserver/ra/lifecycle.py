"""What may happen to a certificate: a pure table of transitions over states and holds.

A certificate is suspended exactly while a hold is open; revoked is final (X.509,
RFC 5280 §5.3.1). Nothing here reads a clock or a store.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from pkiserver.errors import ConflictError
from protocols.asn1.ocsp import REASON_NAMES, CRLReason


class State(Enum):
    """The state of a certificate; expired follows from the time alone and is never stored."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    EXPIRED = "expired"


class Action(Enum):
    """What is asked to happen."""

    SUSPEND = "suspend"
    RESTORE = "restore"
    REVOKE = "revoke"


class HoldOwner(Enum):
    """Whose hold it is: only its owner's side lifts it."""

    HOLDER = "holder"
    AUTHORITY = "authority"


# By the names of RFC 5280 §5.3.1, as an operator types them. certificateHold is a suspension's, and
# removeFromCRL a delta CRL's.
REVOCATION_REASONS: Final[Mapping[str, CRLReason]] = {
    REASON_NAMES[reason]: reason
    for reason in (
        CRLReason.UNSPECIFIED,
        CRLReason.KEY_COMPROMISE,
        CRLReason.CA_COMPROMISE,
        CRLReason.AFFILIATION_CHANGED,
        CRLReason.SUPERSEDED,
        CRLReason.CESSATION_OF_OPERATION,
        CRLReason.PRIVILEGE_WITHDRAWN,
    )
}


@dataclass(frozen=True, slots=True)
class Hold:
    """An open hold, by an authority's decision (its case), or by a bulk act: each of them holds by itself."""

    owner: HoldOwner
    opened_at: datetime
    decision: int | None = None
    act: int | None = None

    def is_of(self, command: "Command") -> bool:
        """Return whether the command's side, by the same decision or bulk act, placed it."""
        return (self.owner, self.decision, self.act) == (command.owner, command.decision, command.act)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a certificate when a command arrives."""

    state: State  # as stored: never EXPIRED
    not_after: datetime
    holds: Sequence[Hold] = ()
    suspended_since: datetime | None = None  # what CRL and OCSP say; holds of that time may be lifted

    def at(self, now: datetime) -> State:
        """Return the state at `now`: expired once the validity is over, unless revoked before."""
        if self.state is not State.REVOKED and now > self.not_after:
            return State.EXPIRED
        return self.state

    def since(self, now: datetime) -> datetime:
        """Return when the suspension began that stands at `now`, or begins then.

        It is the date when the certificate was placed on hold, and neither another hold nor
        a revocation moves it (X.509; see docs/divergences.md).
        """
        began = [self.suspended_since] if self.suspended_since is not None else []
        return min([now, *began, *(hold.opened_at for hold in self.holds)])


@dataclass(frozen=True, slots=True)
class Command:
    """A command: an action, for holds whose and by which decision or bulk act, for revocations why.

    `invalid_since` is when the certificate is known or thought to have become invalid, such as by the
    compromise of its key; None where nobody said.
    """

    action: Action
    owner: HoldOwner = HoldOwner.HOLDER
    reason: CRLReason = CRLReason.UNSPECIFIED
    invalid_since: datetime | None = None
    decision: int | None = None
    act: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a command leads to. `revoked_at` and `reason` are what CRL and OCSP say; None: good.

    CRLs say `invalid_since` too, as invalidityDate (RFC 5280 §5.3.2).
    """

    to_state: State
    reason: CRLReason | None
    revoked_at: datetime | None
    opens: Hold | None = None
    closes: Sequence[Hold] = ()
    invalid_since: datetime | None = None


def decide(standing: Standing, command: Command, now: datetime) -> Change:
    """Return what the command leads to; `ConflictError` says why it may not happen."""
    return TRANSITIONS[standing.at(now), command.action](standing, command, now)


def _suspend(standing: Standing, command: Command, now: datetime) -> Change:
    if any(hold.is_of(command) for hold in standing.holds):
        raise ConflictError(f"the certificate is suspended by the {command.owner.value} already")
    opened = Hold(command.owner, now, command.decision, command.act)
    return Change(State.SUSPENDED, CRLReason.CERTIFICATE_HOLD, standing.since(now), opens=opened)


def _restore(standing: Standing, command: Command, now: datetime) -> Change:
    closes = [hold for hold in standing.holds if hold.is_of(command)]
    if not closes:
        owners = " and ".join(sorted({hold.owner.value for hold in standing.holds}))
        raise ConflictError(f"the certificate is suspended by the {owners}, who alone can restore it")
    if len(closes) < len(standing.holds):
        return Change(State.SUSPENDED, CRLReason.CERTIFICATE_HOLD, standing.since(now), closes=closes)
    return Change(State.ACTIVE, None, None, closes=closes)


def _revoke(standing: Standing, command: Command, now: datetime) -> Change:
    if command.reason not in REVOCATION_REASONS.values():
        raise ConflictError(f"{command.reason.name} is no reason to revoke")
    if command.invalid_since is not None and command.invalid_since > now:
        raise ConflictError("the certificate cannot have become invalid in the future")
    return Change(
        State.REVOKED,
        command.reason,
        standing.since(now),
        closes=standing.holds,
        invalid_since=command.invalid_since,
    )


def _refuse(message: str) -> Callable[[Standing, Command, datetime], Change]:
    def refuse(_standing: Standing, _command: Command, _now: datetime) -> Change:
        raise ConflictError(message)

    return refuse


_FINAL = _refuse("the certificate is revoked; a revocation is final")
_OVER = _refuse("the certificate has expired")

TRANSITIONS: Final[dict[tuple[State, Action], Callable[[Standing, Command, datetime], Change]]] = {
    (State.ACTIVE, Action.SUSPEND): _suspend,
    (State.ACTIVE, Action.RESTORE): _refuse("the certificate is active; there is nothing to restore"),
    (State.ACTIVE, Action.REVOKE): _revoke,
    (State.SUSPENDED, Action.SUSPEND): _suspend,
    (State.SUSPENDED, Action.RESTORE): _restore,
    (State.SUSPENDED, Action.REVOKE): _revoke,
    (State.REVOKED, Action.SUSPEND): _FINAL,
    (State.REVOKED, Action.RESTORE): _FINAL,
    (State.REVOKED, Action.REVOKE): _FINAL,
    (State.EXPIRED, Action.SUSPEND): _OVER,
    (State.EXPIRED, Action.RESTORE): _OVER,
    (State.EXPIRED, Action.REVOKE): _OVER,
}
