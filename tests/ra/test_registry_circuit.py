"""The circuit breaker of the civil registry: a total table, one probe at a time, pauses that grow."""

from itertools import product

import pytest

from pkiserver.ra.registration.circuit import TRANSITIONS, Circuit, Event, Pass, State


def opened(circuit: Circuit, now_s: float = 0.0) -> None:
    for _ in range(2):
        held = circuit.enter(now_s)
        assert held is not None
        circuit.leave(held, now_s, succeeded=False)


@pytest.fixture
def circuit() -> Circuit:
    return Circuit(open_after=2, pause_s=5)


def test_the_table_is_total_and_only_a_probe_closes_it() -> None:
    assert set(TRANSITIONS) == set(product(State, Event))
    closing = {pair for pair, to in TRANSITIONS.items() if to is State.CLOSED and pair[0] is not State.CLOSED}
    assert closing == {(State.HALF_OPEN, Event.SUCCEEDED)}


def test_failures_in_a_row_open_it(circuit: Circuit) -> None:
    for succeeded in (False, True, False, None, True, False):
        held = circuit.enter(0)
        assert held == Pass(probe=False)
        circuit.leave(held, 0, succeeded=succeeded)
        assert circuit.state is State.CLOSED
    held = circuit.enter(0)
    assert held is not None
    circuit.leave(held, 0, succeeded=False)
    assert circuit.state is State.OPEN
    assert circuit.enter(4.9) is None


def test_one_probe_at_a_time_tells(circuit: Circuit) -> None:
    late = circuit.enter(0)
    assert late is not None
    opened(circuit)
    probe = circuit.enter(5)
    assert probe == Pass(probe=True)
    assert circuit.enter(5) is None
    circuit.leave(late, 5, succeeded=True)  # begun before: it tells nothing of now
    assert circuit.state.value == "half_open"
    circuit.leave(probe, 5, succeeded=True)
    assert circuit.state.value == "closed"
    opened(circuit, 10)
    assert circuit.enter(14.9) is None  # the first pause again
    assert circuit.enter(15) is not None


def test_pauses_grow_up_to_a_bound(circuit: Circuit) -> None:
    opened(circuit)
    now_s, pauses = 0.0, []
    for _ in range(7):
        pause_s = next(one for one in range(5, 200, 5) if circuit.enter(now_s + one) is not None)
        pauses.append(pause_s)
        now_s += pause_s
        circuit.leave(Pass(probe=True), now_s, succeeded=False)
    assert pauses == [5, 10, 20, 40, 80, 80, 80]


def test_an_abandoned_probe_lets_the_next_one_probe(circuit: Circuit) -> None:
    opened(circuit)
    probe = circuit.enter(5)
    assert probe is not None
    circuit.leave(probe, 6, succeeded=None)
    assert circuit.state is State.OPEN
    assert circuit.enter(6) == Pass(probe=True)
