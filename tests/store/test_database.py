"""Transactions of the embedded engine: group commit, isolation, full disks, migrations and the end."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from store import facts, issuances
from store.database import MAX_GROUP, Database, Transaction
from store.errors import NewerSchemaError, StorageError, StorageFailedError, StorageFullError

PATIENCE_S = 30  # for threads that run at once unless the machine is very busy
BIG = "x" * 1_000_000  # more than a full disk has room for
Work = Callable[[Transaction], Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    opened = Database(path)
    yield opened
    opened.close()


class Gate:
    """A job that stops the writer where it stands until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait(self, _tx: Transaction) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE_S)

    async def until_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, PATIENCE_S)


@asynccontextmanager
async def busy_writer(database: Database) -> AsyncIterator[None]:
    """Keep the writer busy inside the block, so that what is asked for there forms one group."""
    gate = Gate()
    blocker = asyncio.create_task(database.write(gate.wait))
    await gate.until_reached()
    try:
        yield
    finally:
        gate.opened.set()
        await blocker


async def waiting(database: Database, *works: Work) -> list[asyncio.Task[Any]]:
    """Ask for writes and return once all of them stand in the queue."""
    tasks = [asyncio.create_task(database.write(work)) for work in works]
    await asyncio.sleep(0)
    return tasks


async def as_one_group(database: Database, *works: Work) -> list[Any]:
    """Return the results, or the errors, of writes that share a commit."""
    async with busy_writer(database):
        tasks = await waiting(database, *works)
    return await asyncio.gather(*tasks, return_exceptions=True)


def put(name: str, value: str = "") -> Work:
    def work(tx: Transaction) -> str:
        facts.put(tx, name, value)
        return name

    return work


def names(tx: Transaction) -> set[str]:
    return {row[0] for row in tx.all("SELECT name FROM facts")}


def committed(path: Path) -> set[str]:
    """Return the facts that another process would see."""
    connection = sqlite3.connect(path)
    try:
        return {row[0] for row in connection.execute("SELECT name FROM facts")}
    finally:
        connection.close()


async def test_concurrent_writes_share_commits(database: Database) -> None:
    before = (database.statistics.commits, database.statistics.transactions)
    count = MAX_GROUP + 10
    results = await as_one_group(database, *(put(f"fact-{number}") for number in range(count)))
    assert results == [f"fact-{number}" for number in range(count)]
    assert database.statistics.commits - before[0] == 3  # the busy one, a full group, the rest
    assert database.statistics.transactions - before[1] == count + 1
    assert database.statistics.failures == 0
    assert len(await database.read(names)) == count


async def test_who_shared_a_commit_has_the_next_wait_for_more(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.database.GATHER_S", 3600.0)
    monkeypatch.setattr("store.database.LONGEST_GATHER_S", 3600.0)
    for number in range(3):  # who writes alone never waits
        await asyncio.wait_for(database.write(put(f"alone-{number}")), PATIENCE_S)
    await asyncio.gather(database.write(put("one")), database.write(put("other")))
    before = database.statistics.commits
    first = await waiting(database, put("first"))
    await asyncio.sleep(0.05)
    assert not first[0].done()
    rest = [put(f"fact-{number}") for number in range(MAX_GROUP - 1)]
    tasks = [*first, *await waiting(database, *rest)]  # a full group waits for nobody
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)
    assert database.statistics.commits - before == 1


async def test_a_failing_job_is_undone_and_its_neighbours_commit(database: Database) -> None:
    def fails(tx: Transaction) -> None:
        facts.put(tx, "undone", "")
        raise LookupError("of the job itself")

    first, failure, last = await as_one_group(database, put("first"), fails, put("last"))
    assert (first, last) == ("first", "last")
    assert isinstance(failure, LookupError)
    assert str(failure) == "of the job itself"
    assert await database.read(names) == {"first", "last"}


async def test_stop_iteration_in_a_job_reaches_its_caller_alone(database: Database) -> None:
    empty: Iterator[None] = iter(())
    tasks = as_one_group(database, lambda _: next(empty), put("neighbour"))
    failure, neighbour = await asyncio.wait_for(tasks, PATIENCE_S)
    assert isinstance(failure, RuntimeError)
    assert isinstance(failure.__cause__, StopIteration)
    assert neighbour == "neighbour"


def _duplicate(tx: Transaction) -> None:
    tx.execute("INSERT INTO facts (name, value) VALUES ('undone', '')")
    tx.execute("INSERT INTO facts (name, value) VALUES ('undone', '')")


def _foreign_key(tx: Transaction) -> None:
    tx.execute("INSERT INTO facts (name, value) VALUES ('undone', '')")
    tx.execute(
        "INSERT INTO responders (authority, key_label, certificate, not_after) VALUES (99, 'k', '', 0)"
    )


def _check(tx: Transaction) -> None:
    tx.execute("INSERT INTO facts (name, value) VALUES ('undone', '')")
    tx.execute(
        "INSERT INTO credentials (reference, secret_hash, profile, subject, san, uses_left, attempts_left,"
        " created_at, expires_at) VALUES ('r', '', '', '', '', -1, 0, 0, 0)"
    )


def _no_sql(tx: Transaction) -> None:
    tx.execute("INSERT INTO facts (name, value) VALUES ('undone', '')")
    tx.execute("this is not SQL")


@pytest.mark.parametrize("work", [_duplicate, _foreign_key, _check, _no_sql])
async def test_what_the_engine_refuses_is_a_storage_error_of_that_job(database: Database, work: Work) -> None:
    first, failure, last = await as_one_group(database, put("first"), work, put("last"))
    assert (first, last) == ("first", "last")
    assert type(failure) is StorageError
    assert isinstance(failure.__cause__, sqlite3.Error)
    assert await database.read(names) == {"first", "last"}
    assert database.statistics.failures == 0


async def test_a_result_comes_after_the_commit_only(database: Database, path: Path) -> None:
    gate = Gate()
    async with busy_writer(database):
        early, late = await waiting(database, put("early"), gate.wait)
    await gate.until_reached()  # the first job has run, its commit is still to come
    await asyncio.sleep(0.05)
    assert not early.done()
    assert committed(path) == set()
    gate.opened.set()
    assert await early == "early"
    assert committed(path) == {"early"}
    await late


async def test_what_was_acknowledged_is_there_after_reopening(path: Path) -> None:
    first = Database(path)
    await asyncio.gather(*(first.write(put(f"fact-{number}")) for number in range(20)))
    first.close()
    second = Database(path)
    assert await second.read(names) == {f"fact-{number}" for number in range(20)}
    second.close()


def test_what_was_acknowledged_is_there_after_a_kill(path: Path) -> None:
    program = (
        "import asyncio, os, signal, sys\nfrom pathlib import Path\n"
        "from store import facts\nfrom store.database import Database\n"
        "async def main():\n"
        "    database = Database(Path(sys.argv[1]))\n"
        "    await database.write(lambda tx: facts.put(tx, 'kept', 'yes'))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert committed(path) == {"kept"}


async def test_a_full_disk_fails_its_group_and_the_next_write_works_when_there_is_room(
    database: Database,
) -> None:
    await database.write(put("before"))
    await database.write(lambda tx: tx.one("PRAGMA max_page_count=1"))  # holds it at the present size
    results = await as_one_group(database, put("small-1"), put("big", BIG), put("small-2"))
    assert [type(result) for result in results] == [StorageFullError] * 3
    assert all("cannot be written" in str(result) for result in results)
    assert database.statistics.failures == 1
    assert await database.read(names) == {"before"}
    await database.write(lambda tx: tx.one("PRAGMA max_page_count=1000000"))
    assert await database.write(put("big", BIG)) == "big"
    assert await database.read(names) == {"before", "big"}


async def test_cancelling_who_waits_does_not_cut_the_transaction(database: Database) -> None:
    gate = Gate()

    def both(tx: Transaction) -> None:
        facts.put(tx, "one half", "")
        gate.wait(tx)
        facts.put(tx, "other half", "")

    running = asyncio.create_task(database.write(both))
    await gate.until_reached()
    (queued,) = await waiting(database, put("queued"))
    running.cancel()
    queued.cancel()
    gate.opened.set()
    for task in (running, queued):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await database.write(put("next")) == "next"
    assert await database.read(names) == {"one half", "other half", "queued", "next"}


async def test_a_cancelled_wait_for_a_failing_job_harms_nobody(database: Database) -> None:
    async with busy_writer(database):
        doomed, neighbour = await waiting(database, _duplicate, put("neighbour"))
        doomed.cancel()
    assert await neighbour == "neighbour"
    assert await database.read(names) == {"neighbour"}


class FailingConnection:
    """A connection of which statements fail in a way that nobody foresaw."""

    def __init__(self, connection: sqlite3.Connection, failures: dict[str, BaseException]) -> None:
        self._connection = connection
        self._failures = failures
        self.closed = False

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if sql in self._failures:
            raise self._failures[sql]
        return self._connection.execute(sql, parameters)

    def close(self) -> None:
        self._connection.close()
        self.closed = True


def failing(database: Database, **failures: BaseException) -> FailingConnection:
    """Have the named statements of the writer fail, spaces written as underscores."""
    named = {sql.replace("_", " "): error for sql, error in failures.items()}
    connection = FailingConnection(database._connection, named)  # type: ignore[arg-type]
    database._connection = connection  # type: ignore[assignment]
    return connection


@pytest.mark.parametrize(
    "failures",
    [
        {"COMMIT": sqlite3.OperationalError("disk I/O error"), "ROLLBACK": sqlite3.OperationalError("again")},
        {"COMMIT": MemoryError(), "ROLLBACK": MemoryError()},
        {"BEGIN_IMMEDIATE": RuntimeError("unforeseen")},
        {"ROLLBACK_TO_job": sqlite3.DatabaseError("malformed"), "ROLLBACK": SystemError()},
        {"RELEASE_job": KeyboardInterrupt()},
    ],
    ids=["COMMIT", "no memory", "BEGIN", "ROLLBACK TO", "RELEASE"],
)
async def test_an_unforeseen_failure_fails_its_group_and_nobody_hangs(
    database: Database, failures: dict[str, BaseException]
) -> None:
    await database.write(put("before"))
    async with busy_writer(database):
        connection = failing(database, **failures)
        tasks = await waiting(database, put("one"), _duplicate)
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE_S)
    assert [type(result) for result in results] == [StorageFailedError] * 2
    assert await asyncio.wait_for(database.read(names), PATIENCE_S) == {"before"}
    if not connection.closed:
        database._connection = connection._connection  # it works again
    assert await asyncio.wait_for(database.write(put("after")), PATIENCE_S) == "after"
    assert await database.read(names) == {"before", "after"}


async def test_while_no_connection_can_be_opened_writes_are_refused(database: Database, path: Path) -> None:
    connection = failing(database, BEGIN_IMMEDIATE=RuntimeError(), ROLLBACK=RuntimeError())
    connection._connection.execute("BEGIN")
    elsewhere = path.rename(path.with_name("elsewhere"))
    path.mkdir()
    for _ in range(2):
        with pytest.raises(StorageFailedError):
            await asyncio.wait_for(database.write(put("refused")), PATIENCE_S)
    assert connection.closed
    path.rmdir()
    elsewhere.rename(path)
    assert await asyncio.wait_for(database.write(put("after")), PATIENCE_S) == "after"
    assert await database.read(names) == {"after"}


async def briefly(database: Database, *works: Work) -> list[Any]:
    """Return the results, or the errors, of brief writes that share a commit."""
    writes = (database.write(work, brief=True) for work in works)
    return await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), PATIENCE_S)


async def test_brief_writes_run_on_the_event_loop_and_share_a_commit(database: Database) -> None:
    before = database.statistics.commits
    here = threading.get_ident()
    assert await briefly(database, *[lambda _: threading.get_ident()] * 5) == [here] * 5
    assert database.statistics.commits - before == 1
    works = (database.write(lambda _: threading.get_ident(), brief=brief) for brief in (True, False))
    assert here not in await asyncio.gather(*works)  # one that may take long has its neighbours beside it


@pytest.mark.parametrize("work", [_duplicate, _foreign_key, _check, _no_sql])
async def test_a_brief_write_that_is_refused_is_undone_alone(database: Database, work: Work) -> None:
    first, failure, last = await briefly(database, put("first"), work, put("last"))
    assert (first, last) == ("first", "last")
    assert type(failure) is StorageError
    assert await database.read(names) == {"first", "last"}
    assert database.statistics.failures == 0


async def test_what_a_brief_write_raises_is_its_callers(database: Database) -> None:
    def fails(tx: Transaction) -> None:
        facts.put(tx, "undone", "")
        raise LookupError("of the job itself")

    assert [type(one) for one in await briefly(database, fails, put("kept"))] == [LookupError, str]
    assert await database.read(names) == {"kept"}


async def test_a_full_disk_fails_the_group_of_a_brief_write(database: Database) -> None:
    await database.write(put("before"))
    await database.write(lambda tx: tx.one("PRAGMA max_page_count=1"))
    results = await briefly(database, put("small-1"), put("big", BIG), put("small-2"))
    assert [type(result) for result in results] == [StorageFullError] * 3
    assert database.statistics.failures == 1
    await database.write(lambda tx: tx.one("PRAGMA max_page_count=1000000"))
    assert await briefly(database, put("big", BIG)) == ["big"]
    assert await database.read(names) == {"before", "big"}


@pytest.mark.parametrize(
    "failures",
    [
        {"COMMIT": sqlite3.OperationalError("disk I/O error"), "ROLLBACK": sqlite3.OperationalError("again")},
        {"BEGIN_IMMEDIATE": RuntimeError("unforeseen")},
        {"ROLLBACK": SystemError()},
        {"SAVEPOINT_job": MemoryError()},
    ],
    ids=["COMMIT", "BEGIN", "ROLLBACK", "SAVEPOINT"],
)
async def test_an_unforeseen_failure_fails_a_brief_group_and_nobody_hangs(
    database: Database, failures: dict[str, BaseException]
) -> None:
    await database.write(put("before"))
    connection = failing(database, **failures)
    results = await briefly(database, put("one"), _duplicate)
    assert [type(result) for result in results] == [StorageFailedError] * 2
    assert await database.read(names) == {"before"}
    if not connection.closed:
        database._connection = connection._connection  # it works again
    assert await briefly(database, put("after")) == ["after"]
    assert await database.read(names) == {"before", "after"}


async def test_while_another_program_writes_the_event_loop_goes_on(database: Database, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(database.write(put("late"), brief=True))
    await asyncio.sleep(0.05)  # it would not end if the loop itself waited for the lock
    assert not writing.done()
    other.execute("COMMIT")
    other.close()
    assert await asyncio.wait_for(writing, PATIENCE_S) == "late"
    assert committed(path) == {"late"}


async def test_a_brief_read_sees_what_is_committed_and_changes_nothing(database: Database) -> None:
    await database.write(put("kept"))
    assert await database.read(names, brief=True) == {"kept"}
    with suppress(StorageError):  # the writer's connection undoes it, a reader's refuses it
        await database.read(put("undone"), brief=True)
    assert await database.read(names, brief=True) == {"kept"}
    with pytest.raises(StorageError, match="no such table"):
        await database.read(lambda tx: tx.one("SELECT 1 FROM nowhere"), brief=True)
    async with busy_writer(database):
        assert await database.read(names, brief=True) == {"kept"}  # beside a transaction under way
    assert await briefly(database, put("next")) == ["next"]


async def test_a_note_goes_with_the_next_write(database: Database, path: Path) -> None:
    before = database.statistics.commits
    database.write_along(put("note"))
    database.write_along(_duplicate)  # nobody is told
    await asyncio.sleep(0.01)
    assert committed(path) == set()
    assert await database.write(put("next"), brief=True) == "next"
    assert committed(path) == {"note", "next"}
    assert database.statistics.commits - before == 1


async def test_a_note_alone_gets_a_commit_of_its_own(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.database.LONGEST_ALONG_S", 0.01)
    database.write_along(put("note"))
    for _ in range(PATIENCE_S * 100):
        if committed(path) == {"note"}:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the note was not written")


async def test_close_keeps_notes(database: Database, path: Path) -> None:
    database.write_along(put("note"))
    database.close()
    assert committed(path) == {"note"}
    with pytest.raises(StorageError, match="closed"):
        database.write_along(put("late"))


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    Database(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(NewerSchemaError, match="has schema 99, this program knows 1: install the newer"):
        Database(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (99,)
    connection.close()


async def test_migrations_run_once(path: Path) -> None:
    scripts = [item for item in (files("store") / "migrations").iterdir() if item.name.endswith(".sql")]
    first = Database(path)
    await first.write(put("kept"))
    first.close()
    second = Database(path)
    assert await second.read(lambda tx: tx.one("PRAGMA user_version")) == (len(scripts),)
    assert await second.read(names) == {"kept"}
    second.close()


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at by the engine" * 100)
    with pytest.raises(StorageError, match="not a database"):
        Database(path)


def test_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="unable to open"):
        Database(tmp_path / "missing" / "test.db")


async def test_a_reader_stays_on_its_snapshot(database: Database) -> None:
    await database.write(put("before"))
    gate = Gate()

    def twice(tx: Transaction) -> tuple[set[str], set[str]]:
        first = names(tx)
        gate.wait(tx)
        return first, names(tx)

    reading = asyncio.create_task(database.read(twice))
    await gate.until_reached()
    await database.write(put("after"))
    gate.opened.set()
    assert await reading == ({"before"}, {"before"})
    assert await database.read(names) == {"before", "after"}


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StorageError, match="readonly"):
        await database.read(put("never"))
    assert await database.read(names) == set()
    assert await database.write(put("writer")) == "writer"


async def test_an_error_of_a_read_is_its_callers(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        await database.read(lambda _: 1 // 0)
    with pytest.raises(StorageError, match="no such table"):
        await database.read(lambda tx: tx.one("SELECT 1 FROM nowhere"))
    assert await database.read(issuances.unfinished) == []


async def test_close_finishes_what_waits(path: Path) -> None:
    database = Database(path)
    gate = Gate()
    blocker = asyncio.create_task(database.write(gate.wait))
    await gate.until_reached()
    tasks = await waiting(database, *(put(f"fact-{number}") for number in range(MAX_GROUP + 5)))
    closing = asyncio.create_task(asyncio.to_thread(database.close))
    gate.opened.set()
    await closing
    await blocker
    assert await asyncio.gather(*tasks) == [f"fact-{number}" for number in range(MAX_GROUP + 5)]
    assert len(committed(path)) == MAX_GROUP + 5


async def test_closed_it_is_whole_and_keeps_what_a_full_disk_could_not_give_again(path: Path) -> None:
    database = Database(path)
    await database.write(put("kept", BIG))
    database.close()
    assert path.with_name("test.db-shm").exists()
    assert path.with_name("test.db-wal").stat().st_size == 0
    alone = path.rename(path.with_name("alone.db"))
    assert committed(alone) == {"kept"}


async def test_a_closed_database_says_so(path: Path) -> None:
    database = Database(path)
    await database.read(names)
    database.close()
    with pytest.raises(StorageError, match="closed"):
        await asyncio.wait_for(database.write(put("late")), PATIENCE_S)
    with pytest.raises(StorageError, match="closed"):
        await asyncio.wait_for(database.read(names), PATIENCE_S)
    assert committed(path) == set()


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)],
    ids=["WAL", "FULL", "foreign keys"],
)
async def test_the_writer_is_durable(database: Database, pragma: str, value: Any) -> None:
    assert await database.write(lambda tx: tx.one(f"PRAGMA {pragma}")) == (value,)


async def test_a_path_with_characters_of_urls_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "100% #1?mode=memory"
    path.mkdir()
    database = Database(path / "test.db")
    await database.write(put("kept"))
    assert await database.read(names) == {"kept"}
    database.close()
    assert "test.db" in os.listdir(path)
