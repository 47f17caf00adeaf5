"""The circuit: which log-ins are tried, and that a refused PIN ends the trying until an operator acts."""

import asyncio
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiserver.signer.circuit import (
    REFUSE_AFTER,
    TRANSITIONS,
    Circuit,
    CircuitEvent,
    CircuitState,
)
from pkiserver.signer.errors import SignerSecretError, SignerUnavailableError


def test_the_table_is_total() -> None:
    assert set(TRANSITIONS) == set(product(CircuitState, CircuitEvent))


def test_only_an_operator_closes_it() -> None:
    left = {event for event in CircuitEvent if TRANSITIONS[CircuitState.OPEN, event] is not CircuitState.OPEN}
    assert left == {CircuitEvent.RESET}
    assert {TRANSITIONS[state, CircuitEvent.REFUSED] for state in CircuitState} == {CircuitState.OPEN}


async def attempt(circuit: Circuit, error: Exception | None) -> None:
    async with circuit.turn():
        if error:
            raise error


async def test_nobody_takes_a_turn_while_it_is_open() -> None:
    circuit = Circuit()
    refused = SignerSecretError("the token refuses the PIN")
    with pytest.raises(SignerSecretError):
        await attempt(circuit, refused)
    waiting = [asyncio.create_task(attempt(circuit, None)) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert (circuit.state, circuit.reason, circuit.hopeless) == (CircuitState.OPEN, refused, True)
    assert not any(task.done() for task in waiting)
    circuit.reset()
    await asyncio.gather(*waiting)
    assert (circuit.state, circuit.reason, circuit.hopeless) == (CircuitState.CLOSED, None, False)


async def test_the_first_refusal_is_the_reason() -> None:
    circuit = Circuit()
    circuit.refuse(SignerSecretError("first"))
    circuit.refuse(SignerSecretError("second"))
    circuit.fail(SignerUnavailableError("third"))
    assert (circuit.state, str(circuit.reason)) == (CircuitState.OPEN, "first")


async def test_turns_are_taken_one_after_the_other() -> None:
    circuit, inside, most = Circuit(), 0, 0

    async def log_in() -> None:
        nonlocal inside, most
        async with circuit.turn():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(log_in() for _ in range(20)))
    assert most == 1


@given(st.lists(st.sampled_from(["fail", "reset"]), max_size=8))
def test_hope_is_lost_after_failures_in_a_row(story: list[str]) -> None:
    async def tell() -> None:
        circuit, in_a_row = Circuit(), 0
        for event in story:
            if event == "fail":
                circuit.fail(SignerUnavailableError("no token"))
                in_a_row += 1
            else:
                circuit.reset()
                in_a_row = 0
            assert circuit.hopeless == (in_a_row >= REFUSE_AFTER)
            assert circuit.state is (CircuitState.RETRYING if in_a_row else CircuitState.CLOSED)

    asyncio.run(tell())
