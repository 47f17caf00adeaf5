"""The store as the server uses it: its errors translated, and its failures remembered for readiness."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from pkiserver.errors import UnavailableError
from store.database import Database, Transaction
from store.errors import StorageError, StorageFailedError

Result = TypeVar("Result")


class Storage:
    """Transactions on the database; what the disk refuses comes out as `UnavailableError`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.failure: str | None = None  # why disk or engine failed; None after a write that succeeded

    async def write(self, work: Callable[[Transaction], Result], *, brief: bool = False) -> Result:
        """Run a write transaction, see `store.database.Database.write`."""
        try:
            result = await self.database.write(work, brief=brief)
        except StorageError as error:
            if isinstance(error, StorageFailedError):
                self.failure = str(error)
            raise UnavailableError("nothing can be stored now; try again later") from error
        self.failure = None
        return result

    def write_along(self, work: Callable[[Transaction], object]) -> None:
        """Write what may be lost, see `store.database.Database.write_along`; what fails is not told."""
        with suppress(StorageError):
            self.database.write_along(work)

    async def read(self, work: Callable[[Transaction], Result], *, brief: bool = False) -> Result:
        """Run a read transaction, see `store.database.Database.read`."""
        try:
            return await self.database.read(work, brief=brief)
        except StorageError as error:
            raise UnavailableError("the store cannot be read now; try again later") from error
