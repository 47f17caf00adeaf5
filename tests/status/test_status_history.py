"""What a status was: the replay of any history equals a model that was asked at each moment."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pkiserver.errors import ConflictError
from pkiserver.ra.lifecycle import Action, Command, Hold, HoldOwner, Standing, State, decide
from pkiserver.status.history import HistoricState, status_at
from protocols.asn1.ocsp import CRLReason
from store.records import HoldSpanRecord, StatusEventRecord

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NOT_AFTER = START + 40 * SECOND
LENGTH = 60  # seconds that are looked at, so that some certificates run out within

COMMANDS = st.builds(
    Command,
    st.sampled_from(Action),
    st.sampled_from(HoldOwner),
    st.sampled_from([CRLReason.UNSPECIFIED, CRLReason.KEY_COMPROMISE]),
)
STEPS = st.lists(st.tuples(st.integers(0, 9), COMMANDS), max_size=12)


@dataclass
class Story:
    """A certificate that lives by the rules of `lifecycle`, and what it wrote into the store."""

    issued_at: datetime
    state: State = State.ACTIVE
    told: tuple[datetime, CRLReason] | None = None
    open_holds: list[Hold] = field(default_factory=list)
    events: list[StatusEventRecord] = field(default_factory=list)
    holds: list[HoldSpanRecord] = field(default_factory=list)
    # What was so at the end of each second, as anybody who asked then would have been told.
    seen: dict[datetime, tuple[State, tuple[datetime, CRLReason] | None, set[str]]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        self._event(None, "active", None, self.issued_at)

    def _event(self, from_state: str | None, to_state: str, reason: int | None, now: datetime) -> None:
        number = len(self.events) + 1
        self.events.append(StatusEventRecord(number, 1, 7, from_state, to_state, reason, now, "test"))

    def standing(self) -> Standing:
        since = self.told[0] if self.told else None
        return Standing(self.state, NOT_AFTER, tuple(self.open_holds), since)

    def carry_out(self, command: Command, now: datetime) -> None:
        try:
            change = decide(self.standing(), command, now)
        except ConflictError:
            return
        for closed in change.closes:
            self.open_holds.remove(closed)
            self.holds = [
                HoldSpanRecord(one.holder, one.opened_at, now)
                if one.holder == closed.owner.value and one.closed_at is None
                else one
                for one in self.holds
            ]
        if change.opens is not None:
            self.open_holds.append(change.opens)
            self.holds.append(HoldSpanRecord(change.opens.owner.value, now, None))
        reason = change.reason.value if change.reason is not None else None
        self._event(self.state.value, change.to_state.value, reason, now)
        self.state = change.to_state
        self.told = (
            (change.revoked_at, change.reason)
            if change.revoked_at is not None and change.reason is not None
            else None
        )

    def look(self, now: datetime) -> None:
        self.seen[now] = (
            self.standing().at(now),
            self.told,
            {hold.owner.value for hold in self.open_holds},
        )


def lived(steps: list[tuple[int, Command]]) -> Story:
    """Return the story of a certificate issued five seconds in, on which these commands were tried."""
    story = Story(START + 5 * SECOND)
    due: dict[int, list[Command]] = {}
    at = 5
    for wait, command in steps:
        at += wait
        due.setdefault(at, []).append(command)
    for second in range(5, LENGTH):
        now = START + second * SECOND
        for command in due.get(second, []):
            story.carry_out(command, now)
        story.look(now)
    return story


@given(STEPS)
def test_the_replay_of_any_history_is_what_was_seen(steps: list[tuple[int, Command]]) -> None:
    story = lived(steps)
    for second in range(LENGTH):
        moment = START + second * SECOND
        found = status_at(story.events, story.holds, NOT_AFTER, moment)
        if moment < story.issued_at:
            assert found.state is HistoricState.NOT_ISSUED
            assert found.event is None
            continue
        state, told, owners = story.seen[moment]
        assert found.state.value == state.value
        assert (found.revoked_at, found.reason) == (told or (None, None))
        assert {hold.holder for hold in found.holds} == owners


def story_of(*steps: tuple[int, Command]) -> Story:
    return lived(list(steps))


def test_in_the_second_of_an_event_it_counts() -> None:
    story = story_of((10, Command(Action.SUSPEND)))
    moment = START + 15 * SECOND
    assert status_at(story.events, story.holds, NOT_AFTER, moment - SECOND).state is HistoricState.ACTIVE
    assert status_at(story.events, story.holds, NOT_AFTER, moment).state is HistoricState.SUSPENDED


def test_of_two_events_in_a_second_the_last_one_stands() -> None:
    story = story_of((10, Command(Action.SUSPEND)), (0, Command(Action.RESTORE)))
    found = status_at(story.events, story.holds, NOT_AFTER, START + 15 * SECOND)
    assert (found.state, found.revoked_at, found.holds) == (HistoricState.ACTIVE, None, ())
    assert found.event == story.events[-1]


def test_a_revocation_keeps_the_date_of_the_hold() -> None:
    story = story_of(
        (3, Command(Action.SUSPEND)), (4, Command(Action.REVOKE, reason=CRLReason.KEY_COMPROMISE))
    )
    found = status_at(story.events, story.holds, NOT_AFTER, START + 20 * SECOND)
    assert found.revoked_at == START + 8 * SECOND
    assert found.reason == CRLReason.KEY_COMPROMISE


def test_the_last_second_of_a_certificate_is_good() -> None:
    story = story_of()
    assert status_at(story.events, (), NOT_AFTER, NOT_AFTER).state is HistoricState.ACTIVE
    assert status_at(story.events, (), NOT_AFTER, NOT_AFTER + SECOND).state is HistoricState.EXPIRED


def test_a_revoked_certificate_stays_so_when_it_is_over() -> None:
    story = story_of((3, Command(Action.REVOKE)))
    assert status_at(story.events, (), NOT_AFTER, NOT_AFTER + SECOND).state is HistoricState.REVOKED
