"""Kills the program amid a bulk act: begun again it goes on with the next batch, nothing is done twice."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest
from consistency import database_rows
from server_harness import FAULTY, copied, done, run_program

from pkiserver.clock import Clock
from pkiserver.core import open_core
from pkiserver.home import Home
from pkiserver.ra.bulk import selection
from tests.ra.bulk_setting import Bulk

COUNT, BATCH = 10, 4
# The step at which the program dies, and how many certificates it left suspended.
KILLS = [("after:next_batch", 0), ("before:_follow", BATCH)]


async def begin(home: Path) -> None:
    """Put certificates into a home, and an act that two people agreed on."""
    async with open_core(Home(home), Clock()) as core:
        bulk = await Bulk.of(core, Clock(), COUNT)
        await bulk.confirmed(bulk.new())


def suspended(home: Path) -> int:
    return len(database_rows(home, "SELECT 1 FROM certificates WHERE state = 'suspended'"))


@pytest.mark.parametrize(("step", "left"), KILLS)
def test_killed_amid_a_bulk_act(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, left: int
) -> None:
    monkeypatch.setattr(selection, "BATCH", BATCH)
    home = copied(pristine, tmp_path / "home")
    asyncio.run(begin(home))
    killed = subprocess.run(
        [*FAULTY, "--home", str(home), "bulk", "resume"],
        env={**os.environ, "PKISERVER_TEST_KILL": step},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert suspended(home) == left
    done(run_program(home, "bulk", "resume"))
    assert suspended(home) == COUNT
    events = database_rows(home, "SELECT serial FROM status_events WHERE to_state = 'suspended'")
    assert len(events) == len({serial for (serial,) in events}) == COUNT
    ((state, changed, batches),) = database_rows(home, "SELECT state, changed, done FROM bulk_acts")
    assert (state, changed, batches) == ("done", COUNT, 3)
    done(run_program(home, "audit", "verify"))
