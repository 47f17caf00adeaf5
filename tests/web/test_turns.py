"""Requests that take turns: a few go on at once, who comes beside more goes on with others that do."""

import asyncio

import pytest

from pkiserver.web.turns import Turns

NEVER_S = 3600.0


async def test_a_few_do_not_wait() -> None:
    turns = Turns(NEVER_S, few=3)
    async with asyncio.timeout(30):
        for _ in range(3):
            async with turns.turn(), turns.turn(), turns.turn():
                pass


async def test_those_who_come_meanwhile_go_on_together() -> None:
    turns, inside = Turns(0.01, few=1), 0
    seen: list[int] = []

    async def come() -> None:
        nonlocal inside
        async with turns.turn():
            inside += 1
            await asyncio.sleep(0)
            seen.append(inside)

    async with turns.turn():
        tasks = [asyncio.create_task(come()) for _ in range(5)]
        await asyncio.sleep(0)
        assert not seen
        async with asyncio.timeout(30):
            await asyncio.gather(*tasks)  # they wait for their turn, not for who is in
    assert seen == [5] * 5


async def test_nobody_waits_once_few_are_in() -> None:
    turns = Turns(NEVER_S, few=1)

    async def come() -> bool:
        async with turns.turn():
            return True

    async with asyncio.timeout(30):
        async with turns.turn():
            tasks = [asyncio.create_task(come()) for _ in range(2)]
            await asyncio.sleep(0)
        assert await asyncio.gather(*tasks) == [True, True]


async def test_who_stops_waiting_ends_nobody_elses_wait() -> None:
    turns = Turns(0.01, few=1)

    async def come() -> bool:
        async with turns.turn():
            return True

    async with turns.turn():
        gone, stays = asyncio.create_task(come()), asyncio.create_task(come())
        await asyncio.sleep(0)
        gone.cancel()
        assert await asyncio.wait_for(stays, 30)
    assert gone.cancelled()


async def test_what_fails_leaves_its_turn() -> None:
    turns = Turns(NEVER_S, few=1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(30), turns.turn():
                1 / 0  # noqa: B018 - to fail
