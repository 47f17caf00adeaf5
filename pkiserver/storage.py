"""The store as the server uses it: its errors translated, and its failures remembered for readiness."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from pkiserver.errors import UnavailableError
from store.database import Database, Transaction
from store.errors import StorageError, StorageFailedError

Result = TypeVar("Result")

Note = Callable[[Transaction, Any], None]  # takes what the transaction's work has returned
_NOTE: Final[ContextVar[Note | None]] = ContextVar("note", default=None)


@contextmanager
def noting(note: Note) -> Iterator[None]:
    """Have `note` run at the end of each write transaction that is begun in this context, as a part of it."""
    token = _NOTE.set(note)
    try:
        yield
    finally:
        _NOTE.reset(token)


def _with_note(work: Callable[[Transaction], Result], note: Note) -> Callable[[Transaction], Result]:
    def noted(tx: Transaction) -> Result:
        result = work(tx)
        note(tx, result)
        return result

    return noted


class Storage:
    """Transactions on the database; what the disk refuses comes out as `UnavailableError`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.failure: str | None = None  # why disk or engine failed; None after a write that succeeded

    async def write(self, work: Callable[[Transaction], Result], *, brief: bool = False) -> Result:
        """Run a write transaction, see `store.database.Database.write`."""
        note = _NOTE.get()
        if note is not None:
            work = _with_note(work, note)
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
