"""A database for the tests of the row modules."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from store import authorities
from store.database import Database

Result = TypeVar("Result")


class Store:
    """Runs one function of a row module in a transaction of its own."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path)

    async def write(self, function: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        return await self.database.write(lambda tx: function(tx, *arguments, **named))

    async def read(self, function: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        return await self.database.read(lambda tx: function(tx, *arguments, **named))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Give a database with the authorities `root` (1) and `citizen` (2)."""
    opened = Store(tmp_path / "test.db")
    await opened.write(authorities.add_authority, "root", None, "ca-root")
    await opened.write(authorities.add_authority, "citizen", "root", None)
    yield opened
    opened.database.close()
