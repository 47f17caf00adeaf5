"""The states of carriers: every pair of state and event is decided, each event has actor, ground and time."""

from datetime import UTC, datetime
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiserver.core import Core
from pkiserver.errors import ConflictError, RefusedError
from pkiserver.ra.registration import carriers
from pkiserver.ra.registration.carriers import TRANSITIONS, Event, State, decide, parse_carrier_serial
from store import carriers as rows
from store.carriers import CarrierRecord

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
# DOMAIN, "States", read anew: a column for each event in the order of `Event`, - where it is refused.
EXPECTED = {
    State.BLANK: ("issued", "-", "-", "lost", "damaged", "retired", "-"),
    State.ISSUED: ("-", "blocked", "-", "lost", "damaged", "retired", "blank"),
    State.BLOCKED: ("-", "-", "issued", "lost", "damaged", "retired", "blank"),
    State.LOST: ("-",) * 7,
    State.DAMAGED: ("-",) * 7,
    State.RETIRED: ("-",) * 7,
}


def carrier(state: State) -> CarrierRecord:
    return CarrierRecord(1, "id_card", "04AA", state.value, 1, None)


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair(state: State, event: Event) -> None:
    wanted = EXPECTED[state][list(Event).index(event)]
    assert (state, event) in TRANSITIONS
    if wanted == "-":
        with pytest.raises(ConflictError, match=state.value):
            decide(carrier(state), event)
    else:
        assert decide(carrier(state), event).value == wanted


@given(st.text(max_size=50))
def test_a_serial_is_plain_and_kept_in_one_way(text: str) -> None:
    try:
        kept = parse_carrier_serial(text)
    except RefusedError:
        return
    assert kept == parse_carrier_serial(kept)
    assert kept.isascii()
    assert 1 <= len(kept) <= 40


async def test_a_repeated_event_reaches_no_state_twice(core: Core) -> None:
    storage = core.storage
    made = await storage.write(lambda tx: carriers.known_or_new(tx, "token", "T-1"))
    assert await storage.write(lambda tx: carriers.known_or_new(tx, "token", "T-1")) == made

    async def happens(event: Event) -> None:
        """Have an event be recorded by somebody who saw the carrier blank."""
        await storage.write(
            lambda tx: carriers.record(tx, made, event, actor="actor:plant-1", ground="made", now=NOW)
        )

    await happens(Event.ISSUE)
    for late in (Event.ISSUE, Event.LOSE):
        with pytest.raises(ConflictError, match="changed since"):
            await happens(late)
    now = await storage.read(lambda tx: rows.with_serial(tx, "token", "T-1"))
    assert now is not None
    assert (now.state, now.version) == ("issued", 1)
    [event] = await storage.read(lambda tx: rows.events(tx, made.id))
    assert (event.from_state, event.to_state, event.actor, event.ground, event.at) == (
        "blank",
        "issued",
        "actor:plant-1",
        "made",
        NOW,
    )
