"""A clock that tests set, and an initialised home, made once a session and copied for each test."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pkiserver.clock import Clock
from pkiserver.core import Core, open_core
from pkiserver.home import Home
from pkiserver.initialise import initialise
from pkiserver.storage import Storage
from store import audit as audit_chain


class SetClock(Clock):
    """Stands still until it is set; starts at the present, as the initialised home did."""

    def __init__(self) -> None:
        self.moment = Clock().now()

    def now(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture(scope="session")
def initialised_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("initialised") / "home"
    asyncio.run(initialise(Home(path), None, offline_root=False, progress=lambda _: None))
    return path


@pytest.fixture
async def core(initialised_home: Path, tmp_path: Path, clock: SetClock) -> AsyncIterator[Core]:
    """The issuing side of a home of its own: real store, real software signer, a clock to set."""
    home = Home(tmp_path / "home")
    shutil.copytree(initialised_home, home.path)
    async with open_core(home, clock) as opened:
        yield opened


Recorded = Callable[[Storage], Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def recorded() -> Recorded:
    """Return the audit records of a store as values, the details among them."""

    async def read(storage: Storage) -> list[dict[str, Any]]:
        records = await storage.read(lambda tx: audit_chain.after(tx, 0, 1000))
        return [
            {"at": one.at, "actor": one.actor, "action": one.action, "outcome": one.outcome}
            | json.loads(one.detail)
            | ({"personal": json.loads(one.personal)} if one.personal else {})
            for one in records
        ]

    return read
