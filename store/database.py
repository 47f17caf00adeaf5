"""Transactions on the embedded engine: one writer that groups commits, and readers beside it.

A transaction is a function of a `Transaction`; the modules of `store` offer the statements it is
composed of. Writes run one after another on one thread, and those that wait share one commit with
full durability. Reads run on threads of their own, each on one snapshot.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from store.errors import NewerSchemaError, StorageError, StorageFailedError, StorageFullError

Result = TypeVar("Result")
Value = int | str | bytes | None

MAX_GROUP: Final = 64  # transactions that share a commit; more would only lengthen the wait of the first
READERS: Final = 2
BUSY_TIMEOUT_MS: Final = 5_000
# SQLITE_FULL, SQLITE_IOERR, SQLITE_READONLY, SQLITE_CANTOPEN: the disk, not the statement
_DISK_CODES: Final = frozenset({13, 10, 8, 14})
# SQLITE_INTERNAL, SQLITE_BUSY, SQLITE_LOCKED, SQLITE_NOMEM, SQLITE_CORRUPT, SQLITE_NOTADB: nor the statement
_ENGINE_CODES: Final = frozenset({2, 5, 6, 7, 11, 26})


class Transaction(Protocol):
    """What a store function may do inside a transaction, on any engine."""

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Run a statement; return the number of rows it changed."""

    def one(self, sql: str, parameters: Sequence[Value] = ()) -> tuple[Any, ...] | None:
        """Return the first row, or None."""

    def all(self, sql: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """Return all rows."""


class _SQLiteTransaction:
    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        return self._connection.execute(sql, parameters).rowcount

    def one(self, sql: str, parameters: Sequence[Value] = ()) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def all(self, sql: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters).fetchall()


@dataclass(slots=True)
class _Job:
    work: Callable[[Transaction], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class CommitStatistics:
    """Counts since the start, for metrics."""

    commits: int = 0
    transactions: int = 0
    failures: int = 0


def _connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.text_factory = _text
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _connect_writer(path: Path) -> sqlite3.Connection:
    connection = _connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _text(value: bytes) -> str:
    """Read text that somebody may have damaged: the audit must come as far as naming the record."""
    return value.decode("utf-8", "surrogateescape")


def _translated(error: sqlite3.Error) -> StorageError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DISK_CODES:
        return StorageFullError(f"the database cannot be written: {error}")
    if code in _ENGINE_CODES:
        return StorageFailedError(f"the database failed: {error}")
    return StorageError(f"the database refused: {error}")


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema to this version, each numbered migration in one transaction."""
    folder = files("store") / "migrations"
    scripts = sorted((item.name, item.read_text()) for item in folder.iterdir() if item.name.endswith(".sql"))
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(scripts):
        raise NewerSchemaError(
            f"the database has schema {version}, this program knows {len(scripts)}: install the newer program"
        )
    for number, (_, script) in enumerate(scripts[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version={number}; COMMIT;")


def read_only(path: Path, work: Callable[[Transaction], Result]) -> Result | None:
    """Run `work` on one snapshot of a database and write nothing, whoever else has it open.

    None where no database was made there yet. Blocks; raises `StorageError`.
    """
    if not path.exists():
        return None
    try:
        with closing(_connect(path, read_only=True)) as connection:
            connection.execute("BEGIN")
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                return None
            return work(_SQLiteTransaction(connection))
    except sqlite3.Error as error:
        raise _translated(error) from error


class Database:
    """The SQLite engine. Open it once; every coroutine of one process shares it."""

    def __init__(self, path: Path) -> None:
        """Open or create the database at `path`; raises `StorageError`."""
        self._path = path
        self._closed = False
        self.statistics = CommitStatistics()
        try:
            self._connection: sqlite3.Connection | None = _connect_writer(path)
        except sqlite3.Error as error:
            raise _translated(error) from error
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_all, name="store-writer", daemon=True)
        self._writer.start()
        self._local = threading.local()
        self._reader_connections: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")

    async def write(self, work: Callable[[Transaction], Result]) -> Result:
        """Run `work` in a write transaction and return its result once it is on disk.

        What `work` raises undoes its statements and is raised here; `StorageFullError` and
        `StorageError` come from the engine. `work` must not block and must not keep the transaction.
        """
        self._refuse_closed()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._jobs.put(_Job(work, future, loop))
        # An acknowledged or abandoned wait must not cut the transaction in two: it runs to its end.
        return await asyncio.shield(future)

    async def read(self, work: Callable[[Transaction], Result]) -> Result:
        """Run `work` on one snapshot of the committed state and return its result."""
        self._refuse_closed()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def close(self) -> None:
        """Finish the waiting writes and close every connection; what is asked for later is refused."""
        self._closed = True
        self._jobs.put(None)
        self._writer.join()
        self._readers.shutdown()
        keeper = self._keeper()
        for connection in (*self._reader_connections, self._connection, keeper):
            if connection is not None:
                connection.close()

    def _keeper(self) -> sqlite3.Connection | None:
        """Return a connection to be closed last: it may not write, so it leaves `-wal` and `-shm` in place.

        SQLite cannot make them anew on a full disk, and without them not even read.
        """
        try:
            if self._connection is not None:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            keeper = _connect(self._path, read_only=True)
            keeper.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            return None  # the next start needs some room, then
        return keeper

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StorageError("the database is closed")

    def _read(self, work: Callable[[Transaction], Result]) -> Result:
        try:
            connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = _connect(self._path, read_only=True)
                self._reader_connections.append(connection)
            connection.execute("BEGIN")
            try:
                return work(_SQLiteTransaction(connection))
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise _translated(error) from error

    def _write_all(self) -> None:
        ended = False
        while not ended:
            group, ended = self._next_group()
            if group:
                self._settle(group)
                _resolve(group)

    def _settle(self, group: list[_Job]) -> None:
        """Give each job of a group its result or its error, whatever happens: who waits must not hang."""
        try:
            if self._connection is None:
                self._connection = _connect_writer(self._path)
            self._commit(group, self._connection)
        except BaseException as error:  # noqa: BLE001 - the outermost handler of the writer's thread
            self._fail(group, error)

    def _fail(self, group: list[_Job], error: BaseException) -> None:
        """Fail a group and undo it; where that fails too, let the connection go: the next group opens one."""
        self.statistics.failures += 1
        failure = _failure(error)
        for job in group:
            job.error = failure
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except BaseException:  # noqa: BLE001 - of the outermost handler; `error` is what is told
            self._connection = None
            with suppress(Exception):
                connection.close()

    def _next_group(self) -> tuple[list[_Job], bool]:
        """Return the jobs that wait (at least one unless the end was asked for), and whether to end."""
        group: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            group.append(job)
            if len(group) >= MAX_GROUP:
                return group, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, group: list[_Job], connection: sqlite3.Connection) -> None:
        """Run a group in one transaction, each job in a savepoint; what is raised here fails all of it."""
        connection.execute("BEGIN IMMEDIATE")
        for job in group:
            _run(job, connection)
        connection.execute("COMMIT")
        self.statistics.commits += 1
        self.statistics.transactions += len(group)


def _failure(error: BaseException) -> StorageFailedError:
    """Return what the callers of a whole group are told."""
    failure = _translated(error) if isinstance(error, sqlite3.Error) else None
    if not isinstance(failure, StorageFailedError):
        failure = StorageFailedError(f"the database failed: {type(error).__name__}")
    failure.__cause__ = error
    return failure


def _run(job: _Job, connection: sqlite3.Connection) -> None:
    connection.execute("SAVEPOINT job")
    try:
        job.result = job.work(_SQLiteTransaction(connection))
    except sqlite3.Error as error:
        if not connection.in_transaction or isinstance(_translated(error), StorageFailedError):
            raise
        job.error = _translated(error)
        job.error.__cause__ = error
    except StopIteration as error:  # no future takes it (PEP 479)
        job.error = RuntimeError("a transaction raised StopIteration")
        job.error.__cause__ = error
    except BaseException as error:  # noqa: BLE001 - carried to the caller that awaits this job
        job.error = error
    if job.error is not None:
        connection.execute("ROLLBACK TO job")
    connection.execute("RELEASE job")


def _resolve(group: list[_Job]) -> None:
    """Hand the results of a committed (or failed) group to the coroutines that wait."""

    def deliver(jobs: list[_Job]) -> None:
        for job in jobs:
            if job.future.cancelled():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)

    for loop in {id(job.loop): job.loop for job in group}.values():
        jobs = [job for job in group if job.loop is loop]
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(deliver, jobs)
