"""The transition table: every state with every command, and any sequence of commands."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pkiserver.errors import ConflictError
from pkiserver.ra.lifecycle import (
    REVOCATION_REASONS,
    TRANSITIONS,
    Action,
    Change,
    Command,
    Hold,
    HoldOwner,
    Standing,
    State,
    decide,
)
from protocols.asn1.ocsp import CRLReason

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=365)
HOUR = timedelta(hours=1)
HOLDER, AUTHORITY = HoldOwner.HOLDER, HoldOwner.AUTHORITY
ACTIVE = Standing(State.ACTIVE, LATER)
BY_HOLDER = Standing(State.SUSPENDED, LATER, (Hold(HOLDER, NOW - HOUR),))
BY_AUTHORITY = Standing(State.SUSPENDED, LATER, (Hold(AUTHORITY, NOW - 2 * HOUR),))
BY_DECISION_4 = Standing(State.SUSPENDED, LATER, (Hold(AUTHORITY, NOW - HOUR, 4),))
BY_TWO_DECISIONS = Standing(
    State.SUSPENDED, LATER, (Hold(AUTHORITY, NOW - 3 * HOUR, 3), *BY_DECISION_4.holds)
)
BY_BOTH = Standing(State.SUSPENDED, LATER, (*BY_HOLDER.holds, *BY_AUTHORITY.holds))
REVOKED = Standing(State.REVOKED, LATER)
ON_HOLD = CRLReason.CERTIFICATE_HOLD
COMPROMISED = CRLReason.KEY_COMPROMISE


def test_the_table_is_total() -> None:
    assert set(TRANSITIONS) == set(product(State, Action))


@pytest.mark.parametrize(
    ("standing", "command", "change"),
    [
        (ACTIVE, Command(Action.SUSPEND), Change(State.SUSPENDED, ON_HOLD, NOW, opens=Hold(HOLDER, NOW))),
        (
            ACTIVE,
            Command(Action.SUSPEND, AUTHORITY),
            Change(State.SUSPENDED, ON_HOLD, NOW, opens=Hold(AUTHORITY, NOW)),
        ),
        (ACTIVE, Command(Action.REVOKE, reason=COMPROMISED), Change(State.REVOKED, COMPROMISED, NOW)),
        (
            BY_HOLDER,
            Command(Action.SUSPEND, AUTHORITY),
            Change(State.SUSPENDED, ON_HOLD, NOW - HOUR, opens=Hold(AUTHORITY, NOW)),
        ),
        (BY_HOLDER, Command(Action.RESTORE), Change(State.ACTIVE, None, None, closes=[*BY_HOLDER.holds])),
        (
            BY_AUTHORITY,
            Command(Action.RESTORE, AUTHORITY),
            Change(State.ACTIVE, None, None, closes=[*BY_AUTHORITY.holds]),
        ),
        (
            BY_BOTH,
            Command(Action.RESTORE),
            Change(State.SUSPENDED, ON_HOLD, NOW - 2 * HOUR, closes=[*BY_HOLDER.holds]),
        ),
        (
            BY_BOTH,
            Command(Action.RESTORE, AUTHORITY),
            Change(State.SUSPENDED, ON_HOLD, NOW - 2 * HOUR, closes=[*BY_AUTHORITY.holds]),
        ),
        (
            BY_BOTH,
            Command(Action.REVOKE, reason=COMPROMISED),
            Change(State.REVOKED, COMPROMISED, NOW - 2 * HOUR, closes=BY_BOTH.holds),
        ),
        # Two authorities decided: each holds by itself, and lifts its own alone.
        (
            BY_DECISION_4,
            Command(Action.SUSPEND, AUTHORITY, decision=5),
            Change(State.SUSPENDED, ON_HOLD, NOW - HOUR, opens=Hold(AUTHORITY, NOW, 5)),
        ),
        (
            BY_TWO_DECISIONS,
            Command(Action.RESTORE, AUTHORITY, decision=4),
            Change(State.SUSPENDED, ON_HOLD, NOW - 3 * HOUR, closes=[*BY_DECISION_4.holds]),
        ),
    ],
)
def test_allowed(standing: Standing, command: Command, change: Change) -> None:
    assert decide(standing, command, NOW) == change


@pytest.mark.parametrize(
    ("standing", "command", "message"),
    [
        (ACTIVE, Command(Action.RESTORE), "nothing to restore"),
        (BY_HOLDER, Command(Action.SUSPEND), "suspended by the holder already"),
        (BY_AUTHORITY, Command(Action.SUSPEND, AUTHORITY), "suspended by the authority already"),
        (BY_AUTHORITY, Command(Action.RESTORE), "suspended by the authority, who alone"),
        (BY_HOLDER, Command(Action.RESTORE, AUTHORITY), "suspended by the holder, who alone"),
        (BY_DECISION_4, Command(Action.SUSPEND, AUTHORITY, decision=4), "by the authority already"),
        (BY_DECISION_4, Command(Action.RESTORE, AUTHORITY, decision=5), "by the authority, who alone"),
        (BY_DECISION_4, Command(Action.RESTORE, AUTHORITY), "by the authority, who alone"),
        *((REVOKED, Command(action), "a revocation is final") for action in Action),
    ],
)
def test_refused(standing: Standing, command: Command, message: str) -> None:
    with pytest.raises(ConflictError, match=message):
        decide(standing, command, NOW)


@pytest.mark.parametrize("reason", sorted(set(CRLReason) - set(REVOCATION_REASONS.values())))
def test_a_reason_that_is_none_for_a_revocation(reason: CRLReason) -> None:
    """A hold is not revoked but suspended; removeFromCRL stands in delta CRLs only (RFC 5280 §5.3.1)."""
    for standing in (ACTIVE, BY_HOLDER):
        with pytest.raises(ConflictError, match=f"{reason.name} is no reason to revoke"):
            decide(standing, Command(Action.REVOKE, reason=reason), NOW)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("standing", [ACTIVE, BY_HOLDER, BY_BOTH])
def test_expired_from_the_second_after_its_end(standing: Standing, action: Action) -> None:
    assert standing.at(LATER) is standing.state
    assert standing.at(LATER + timedelta(seconds=1)) is State.EXPIRED
    with pytest.raises(ConflictError, match="has expired"):
        decide(standing, Command(action), LATER + timedelta(seconds=1))


def test_a_revoked_certificate_stays_revoked_when_it_expires() -> None:
    assert REVOKED.at(LATER + HOUR) is State.REVOKED


Side = tuple[HoldOwner, int | None]
SIDES: list[Side] = [(HOLDER, None), (AUTHORITY, None), (AUTHORITY, 4), (AUTHORITY, 5)]
COMMANDS = st.builds(
    lambda action, side, reason: Command(action, side[0], reason, decision=side[1]),
    st.sampled_from(Action),
    st.sampled_from(SIDES),
    st.sampled_from(CRLReason),
)
MOMENTS = st.integers(-400, 400).map(lambda days: NOW + timedelta(days=days))


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    """What the store may hold: suspended exactly while a hold is open."""
    sides = draw(st.lists(st.sampled_from(SIDES), unique=True))
    holds = tuple(Hold(owner, draw(MOMENTS), decision) for owner, decision in sides)
    if not holds:
        return Standing(draw(st.sampled_from([State.ACTIVE, State.REVOKED])), draw(MOMENTS))
    since = draw(st.none() | MOMENTS)
    return Standing(State.SUSPENDED, draw(MOMENTS), holds, since)


def side_of(hold: Hold) -> Side:
    return hold.owner, hold.decision


@settings(max_examples=300)
@given(standings(), COMMANDS, MOMENTS)
def test_every_state_with_every_command(standing: Standing, command: Command, now: datetime) -> None:
    """A change keeps what must hold, or nothing but `ConflictError` escapes."""
    try:
        change = decide(standing, command, now)
    except ConflictError:
        return
    assert standing.at(now) in (State.ACTIVE, State.SUSPENDED)
    held = {side_of(hold) for hold in standing.holds}
    closed = {side_of(hold) for hold in change.closes}
    opened = {side_of(change.opens)} if change.opens else set()
    assert closed <= held
    assert not opened & held
    after = held - closed | opened
    assert bool(after) is (change.to_state is State.SUSPENDED)
    good = change.to_state is State.ACTIVE
    assert ((change.reason is None), (change.revoked_at is None)) == (good, good)
    if change.to_state is State.SUSPENDED:
        assert change.reason is ON_HOLD
    if command.action is Action.REVOKE:
        assert (change.to_state, change.reason) == (State.REVOKED, command.reason)
    if command.action is Action.RESTORE:
        assert closed == {(command.owner, command.decision)}
    if change.revoked_at is not None:
        began = [standing.suspended_since] if standing.suspended_since else []
        assert change.revoked_at == min([now, *began, *(hold.opened_at for hold in standing.holds)])


@dataclass
class Model:
    """What should be: whose holds are open since when, and the date of a revocation."""

    holds: dict[Side, datetime] = field(default_factory=dict)
    since: datetime | None = None  # the beginning of the suspension, or the date of the revocation
    revoked: bool = False


class Life(RuleBasedStateMachine):
    """One certificate from issuance on; `standing` is kept as `status_changes` keeps it in the store."""

    @initialize()
    def issued(self) -> None:
        self.now = NOW
        self.not_after = NOW + 20 * HOUR
        self.standing = Standing(State.ACTIVE, self.not_after)
        self.told: datetime | None = None  # what CRL and OCSP say
        self.model = Model()

    @rule(hours=st.integers(1, 3))
    def time_passes(self, hours: int) -> None:
        self.now += hours * HOUR

    @rule(side=st.sampled_from(SIDES))
    def suspend(self, side: Side) -> None:
        command = Command(Action.SUSPEND, side[0], decision=side[1])
        if self._carry_out(command, self._alive() and side not in self.model.holds):
            self.model.holds[side] = self.now
            self.model.since = self.model.since or self.now

    @rule(side=st.sampled_from(SIDES))
    def restore(self, side: Side) -> None:
        command = Command(Action.RESTORE, side[0], decision=side[1])
        if self._carry_out(command, self._alive() and side in self.model.holds):
            del self.model.holds[side]
            self.model.since = self.model.since if self.model.holds else None

    @precondition(lambda self: len(self.model.holds) != 1)  # seldom, or most lives would be short
    @rule(reason=st.sampled_from(list(REVOCATION_REASONS.values())))
    def revoke(self, reason: CRLReason) -> None:
        if self._carry_out(Command(Action.REVOKE, reason=reason), self._alive()):
            self.model.since = self.model.since or self.now
            self.model.revoked = True
            self.model.holds.clear()

    @invariant()
    def suspended_exactly_while_a_hold_is_open(self) -> None:
        assert (self.standing.state is State.SUSPENDED) is bool(self.model.holds)
        assert {side_of(hold): hold.opened_at for hold in self.standing.holds} == self.model.holds

    @invariant()
    def revoked_is_final(self) -> None:
        assert (self.standing.state is State.REVOKED) is self.model.revoked

    @invariant()
    def the_date_told_is_that_of_the_first_hold(self) -> None:
        """Or of the revocation; the end of one of several holds moves it no more than a new one does."""
        assert self.told == self.model.since

    def _alive(self) -> bool:
        return not self.model.revoked and self.now <= self.not_after

    def _carry_out(self, command: Command, allowed: bool) -> bool:
        try:
            change = decide(self.standing, command, self.now)
        except ConflictError:
            assert not allowed
            return False
        assert allowed
        holds = [hold for hold in self.standing.holds if hold not in change.closes]
        if change.opens:
            holds.append(change.opens)
        self.standing = Standing(change.to_state, self.not_after, tuple(holds), change.revoked_at)
        self.told = change.revoked_at
        return True


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
