"""Transactions on the embedded engine: one writer that groups commits, and readers beside it.

A transaction is a function of a `Transaction`; the modules of `store` offer the statements it is
composed of. Writes run one after another, and those that wait share one commit with full durability.
Reads each see one snapshot. Both run on threads of their own, unless they are brief (ADR 0014).
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from store.errors import StorageError
from store.groups import Group, Job, resolve, run, run_bare
from store.sqlite import (
    SQLiteTransaction,
    begin_patiently,
    connect,
    connect_writer,
    group_failure,
    is_busy,
    snapshot,
    translated,
)
from store.transaction import Transaction, Value

__all__ = ["MAX_GROUP", "CommitStatistics", "Database", "Transaction", "Value", "read_only"]

Result = TypeVar("Result")

MAX_GROUP: Final = 64  # transactions that share a commit; more would only lengthen the wait of the first
# Between two commits, for each write but one that shared the last: a commit costs as much as ten writes, and
# those who wait for the same one go on together, which costs them half of what it does one by one (ADR 0015).
GATHER_S: Final = 0.004
LONGEST_GATHER_S: Final = 0.025
READERS: Final = 2
LONGEST_ALONG_S: Final = 1.0  # until a note that nobody waits for makes a commit of its own


@dataclass(slots=True)
class CommitStatistics:
    """Counts since the start, for metrics."""

    commits: int = 0
    transactions: int = 0
    failures: int = 0


def read_only(path: Path, work: Callable[[Transaction], Result]) -> Result | None:
    """Run `work` on one snapshot of a database and write nothing, whoever else has it open.

    None where no database was made there yet. Blocks; raises `StorageError`.
    """
    if not path.exists():
        return None
    try:
        with closing(connect(path, read_only=True)) as connection:
            connection.execute("BEGIN")
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                return None
            return work(SQLiteTransaction(connection))
    except sqlite3.Error as error:
        raise translated(error) from error


class Database:
    """The SQLite engine. Open it once; every coroutine of one process shares it."""

    def __init__(self, path: Path) -> None:
        """Open or create the database at `path`; raises `StorageError`."""
        self._path = path
        self._closed = False
        self.statistics = CommitStatistics()
        try:
            self._connection: sqlite3.Connection | None = connect_writer(path)
        except sqlite3.Error as error:
            raise translated(error) from error
        self._waiting: deque[Job] = deque()
        self._gather_until = 0.0  # of `time.monotonic`
        self._gathering: asyncio.AbstractEventLoop | None = None  # which will end the wait
        self._along: asyncio.AbstractEventLoop | None = None  # which will begin what was written along
        self._turn = threading.Lock()  # held from the beginning of a group to the end of its commit
        self._groups: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_all, name="store-writer", daemon=True)
        self._writer.start()
        self._local = threading.local()
        self._reader_connections: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")

    async def write(self, work: Callable[[Transaction], Result], *, brief: bool = False) -> Result:
        """Run `work` in a write transaction and return its result once it is on disk.

        What `work` raises undoes its statements and is raised here; `StorageFullError` and
        `StorageError` come from the engine. `work` must not block and must not keep the transaction.
        One that is `brief`, some statements that each find few rows by a key, runs on the event loop
        where no other waits beside it; the commit never does. It may be run twice, the first time undone.
        """
        self._refuse_closed()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append(Job(work, future, loop, brief))
        loop.call_soon(self._start)  # after all that is asked for in this turn of the loop: one group
        return await future  # who stops waiting cuts no transaction in two: it runs to its end

    def write_along(self, work: Callable[[Transaction], object]) -> None:
        """Have brief `work` run beside the next write, or within `LONGEST_ALONG_S`; nobody waits for it.

        For notes that may be lost: a crash before the next commit takes them, and so does a full disk.
        """
        self._refuse_closed()
        loop = asyncio.get_running_loop()
        self._waiting.append(Job(work, None, loop, brief=True))
        if self._along is not loop:
            self._along = loop
            loop.call_later(LONGEST_ALONG_S, self._waited_along)

    async def read(self, work: Callable[[Transaction], Result], *, brief: bool = False) -> Result:
        """Run `work` on one snapshot of the committed state and return its result.

        What is `brief` (see `write`) runs at once, on the event loop.
        """
        self._refuse_closed()
        if brief:
            return self._read_here(work)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def close(self) -> None:
        """Finish the waiting writes and close every connection; what is asked for later is refused."""
        self._closed = True
        with self._turn:
            while self._waiting:
                self._end(self._next_group())
        self._groups.put(None)
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
            keeper = connect(self._path, read_only=True)
            keeper.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            return None  # the next start needs some room, then
        return keeper

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StorageError("the database is closed")

    def _read_here(self, work: Callable[[Transaction], Result]) -> Result:
        """Read on the writer's connection while it rests: that alone keeps its pages over a commit."""
        if not self._turn.acquire(blocking=False):
            return self._read(work)
        try:
            return self._read(work) if self._connection is None else snapshot(self._connection, work)
        finally:
            self._turn.release()

    def _read(self, work: Callable[[Transaction], Result]) -> Result:
        try:
            connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = connect(self._path, read_only=True)
                self._reader_connections.append(connection)
        except sqlite3.Error as error:
            raise translated(error) from error
        return snapshot(connection, work)

    def _start(self) -> None:
        """Begin the next group if none is under way; the end of one begins the next (`_write_all`)."""
        if not self._waiting or self._gathers() or not self._turn.acquire(blocking=False):
            return
        if not self._waiting:  # the last ones were taken on another thread
            self._turn.release()
            return
        group = self._next_group()
        if all(job.brief for job in group.jobs):
            self._run_here(group)
        self._groups.put(group)

    def _gathers(self) -> bool:
        """Return whether it is better to wait for more; then see to it that the wait ends."""
        wait_s = self._gather_until - time.monotonic()
        if wait_s <= 0 or len(self._waiting) >= MAX_GROUP:
            return False
        loop = asyncio.get_running_loop()
        if self._gathering is not loop:
            self._gathering = loop
            loop.call_later(wait_s, self._gathered)
        return True

    def _waited_along(self) -> None:
        self._along = None
        self._start()

    def _gathered(self) -> None:
        self._gathering, self._gather_until = None, 0.0
        self._start()

    def _write_all(self) -> None:
        while (group := self._groups.get()) is not None:
            self._end(group)
            waited = sum(job.future is not None for job in group.jobs)
            if waited > 1:  # who writes alone does not wait
                self._gather_until = time.monotonic() + min((waited - 1) * GATHER_S, LONGEST_GATHER_S)
            self._turn.release()
            with suppress(IndexError, RuntimeError):  # nobody waits, or the loop of who does is closed
                self._waiting[0].loop.call_soon_threadsafe(self._start)

    def _run_here(self, group: Group) -> None:
        """Run a group on the event loop; what would have to wait for others is left to the thread."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            if not run_bare(group.jobs, connection):
                if connection.in_transaction:  # a full disk ends it by itself
                    connection.execute("ROLLBACK")
                connection.execute("BEGIN IMMEDIATE")
                run(group.jobs, connection)
            group.has_run = True
        except BaseException as error:  # noqa: BLE001 - the outermost handler of these jobs
            if not is_busy(error) or connection.in_transaction:
                self._fail(group, error)

    def _end(self, group: Group) -> None:
        """Give each job of a group its result or its error, whatever happens: who waits must not hang."""
        try:
            if not group.failed:
                self._commit(group)
        except BaseException as error:  # noqa: BLE001 - the outermost handler of the writer's thread
            self._fail(group, error)
        resolve(group.jobs)

    def _fail(self, group: Group, error: BaseException) -> None:
        """Fail a group and undo it; where that fails too, let the connection go: the next group opens one."""
        self.statistics.failures += 1
        group.failed = True
        failure = group_failure(error)
        for job in group.jobs:
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

    def _next_group(self) -> Group:
        """Return the jobs that wait, at least one and at most `MAX_GROUP`."""
        group = Group([])
        while self._waiting and len(group.jobs) < MAX_GROUP:
            group.jobs.append(self._waiting.popleft())
        return group

    def _commit(self, group: Group) -> None:
        """Run a group where that was not done yet, and commit it; what is raised here fails all of it."""
        if self._connection is None:
            self._connection = connect_writer(self._path)
        connection = self._connection
        if not group.has_run:
            begin_patiently(connection)
            run(group.jobs, connection)
        connection.execute("COMMIT")
        self.statistics.commits += 1
        self.statistics.transactions += len(group.jobs)
