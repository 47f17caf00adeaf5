"""The store as the server uses it: its errors translated, and its failures remembered for readiness."""

from collections.abc import Callable
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

    async def write(self, work: Callable[[Transaction], Result]) -> Result:
        """Run a write transaction, see `store.database.Database.write`."""
        try:
            result = await self.database.write(work)
        except StorageError as error:
            if isinstance(error, StorageFailedError):
                self.failure = str(error)
            raise UnavailableError("nothing can be stored now; try again later") from error
        self.failure = None
        return result

    async def read(self, work: Callable[[Transaction], Result]) -> Result:
        """Run a read transaction, see `store.database.Database.read`."""
        try:
            return await self.database.read(work)
        except StorageError as error:
            raise UnavailableError("the store cannot be read now; try again later") from error
