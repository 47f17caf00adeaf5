"""Writes that share a commit: run one after another on a connection, and answered together."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from store.errors import StorageFailedError
from store.sqlite import SQLiteTransaction, translated
from store.transaction import Transaction


@dataclass(slots=True)
class Job:
    """One write: its work, who waits for it, and what came of it."""

    work: Callable[[Transaction], Any]
    future: asyncio.Future[Any] | None  # None: nobody waits
    loop: asyncio.AbstractEventLoop
    brief: bool
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class Group:
    """Jobs that share a commit; `has_run`: their statements were made and only the commit is missing."""

    jobs: list[Job]
    has_run: bool = False
    failed: bool = False


def run_bare(jobs: Sequence[Job], connection: sqlite3.Connection) -> bool:
    """Run jobs without the savepoint that each may be undone to, which costs as much as its statements.

    False where one of them fails: then all are to be undone, and run with `run`.
    """
    transaction = SQLiteTransaction(connection)
    try:
        for job in jobs:
            job.result = job.work(transaction)
    except BaseException:  # noqa: BLE001 - it is raised again, where it can be told whose it is
        return False
    return True


def run(jobs: Sequence[Job], connection: sqlite3.Connection) -> None:
    """Run jobs in one transaction that was begun, each in a savepoint."""
    for job in jobs:
        _run_one(job, connection)


def _run_one(job: Job, connection: sqlite3.Connection) -> None:
    connection.execute("SAVEPOINT job")
    try:
        job.result = job.work(SQLiteTransaction(connection))
    except sqlite3.Error as error:
        if not connection.in_transaction or isinstance(translated(error), StorageFailedError):
            raise
        job.error = translated(error)
        job.error.__cause__ = error
    except StopIteration as error:  # no future takes it (PEP 479)
        job.error = RuntimeError("a transaction raised StopIteration")
        job.error.__cause__ = error
    except BaseException as error:  # noqa: BLE001 - carried to the caller that awaits this job
        job.error = error
    if job.error is not None:
        connection.execute("ROLLBACK TO job")
    connection.execute("RELEASE job")


def resolve(group: list[Job]) -> None:
    """Hand the results of a committed (or failed) group to the coroutines that wait."""

    def deliver(jobs: list[Job]) -> None:
        for job in jobs:
            if job.future is None or job.future.cancelled():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)

    for loop in {id(job.loop): job.loop for job in group}.values():
        jobs = [job for job in group if job.loop is loop]
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(deliver, jobs)
