"""The transition table of applications: every pair decided, no state reached twice by a repeated request."""

from datetime import UTC, datetime
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiserver.errors import ConflictError, RefusedError
from pkiserver.ra.registration.states import (
    MAX_GROUND_CHARACTERS,
    OPEN,
    TRANSITIONS,
    Change,
    Command,
    Event,
    Standing,
    State,
    decide,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
# DOMAIN, "States", read anew.
ALLOWED = {
    ("draft", "verify", "verified"),
    ("draft", "return", "returned"),
    ("verified", "begin_issuing", "issuing"),
    ("issuing", "certificate_issued", "issued"),
    ("issuing", "fail", "failed"),
    ("failed", "begin_issuing", "issuing"),
    ("failed", "return", "returned"),
    ("issued", "carrier_refused", "issuing"),
    ("issued", "sign_off", "signed_off"),
    ("signed_off", "deliver", "delivered"),
    ("delivered", "close", "closed"),
    ("issued", "settle", "closed"),  # ours: what a holder signed and enrolled (2.9)
    *((state, "withdraw", "withdrawn") for state in ("draft", "verified", "issuing", "failed")),
}


def command(event: Event, version: int = 0, actor: str = "registrar:7", ground: str = "asked") -> Command:
    return Command(event, version, actor, ground)


def test_the_table_is_total_and_as_the_domain_has_it() -> None:
    assert set(TRANSITIONS) == set(product(State, Event))
    assert {(a.value, e.value, to.value) for (a, e), to in TRANSITIONS.items() if to} == ALLOWED


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_state_with_every_event(state: State, event: Event) -> None:
    to_state = TRANSITIONS[state, event]
    if to_state is None:
        with pytest.raises(ConflictError, match=f"is {state.value}"):
            decide(Standing(state, 0), command(event), NOW)
    else:
        changed = decide(Standing(state, 0), command(event), NOW)
        assert changed == Change(1, event, state, to_state, "registrar:7", "asked", NOW)


@given(st.lists(st.tuples(st.sampled_from(Event), st.integers(0, 3)), max_size=25))
def test_a_repeated_request_reaches_no_state_twice(asked: list[tuple[Event, int]]) -> None:
    """Whatever is asked, in any order and again: each command counts once, and ends stay ends."""
    standing, taken = Standing(State.DRAFT, 0), set[Command]()
    for event, behind in asked:
        order = command(event, max(standing.version - behind, 0))
        try:
            changed = decide(standing, order, NOW)
        except ConflictError:
            continue
        assert order not in taken
        assert standing.state in OPEN
        assert changed.actor
        assert changed.ground
        assert changed.at == NOW
        assert changed.version == standing.version + 1
        taken.add(order)
        standing = Standing(changed.to_state, changed.version)
        with pytest.raises(ConflictError, match="has changed since"):
            decide(standing, order, NOW)


@pytest.mark.parametrize("state", sorted(set(State) - OPEN, key=str))
def test_ends_have_no_way_on(state: State) -> None:
    assert {TRANSITIONS[state, event] for event in Event} == {None}


@pytest.mark.parametrize("ground", ["", "  ", "a\nb", "a" * (MAX_GROUND_CHARACTERS + 1)])
def test_an_event_needs_a_ground(ground: str) -> None:
    with pytest.raises(RefusedError, match="ground"):
        decide(Standing(State.DRAFT, 0), command(Event.VERIFY, ground=ground), NOW)


def test_an_event_needs_an_actor() -> None:
    with pytest.raises(RefusedError):
        decide(Standing(State.DRAFT, 0), command(Event.VERIFY, actor=""), NOW)
