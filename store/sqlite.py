"""The SQLite engine underneath `store.database`: connections, schema, snapshots, and what its errors mean."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar

from store.errors import NewerSchemaError, StorageError, StorageFailedError, StorageFullError
from store.transaction import Value

Result = TypeVar("Result")

CHECKPOINT_PAGES: Final = 4_000  # 16 MiB of log: pages that change again and again are copied once
BUSY_TIMEOUT_MS: Final = 5_000
_CODE_MASK: Final = 0xFF  # the rest of an extended result code says more than is told apart here
_BUSY: Final = 5  # SQLITE_BUSY: another program holds the lock for writing
# SQLITE_FULL, SQLITE_IOERR, SQLITE_READONLY, SQLITE_CANTOPEN: the disk, not the statement
_DISK_CODES: Final = frozenset({13, 10, 8, 14})
# SQLITE_INTERNAL, SQLITE_BUSY, SQLITE_LOCKED, SQLITE_NOMEM, SQLITE_CORRUPT, SQLITE_NOTADB: nor the statement
_ENGINE_CODES: Final = frozenset({2, 5, 6, 7, 11, 26})


class SQLiteTransaction:
    """A `store.transaction.Transaction` on a connection where one was begun."""

    __slots__ = ("_connection", "memo")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.memo: dict[str, Any] = {}

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        return self._connection.execute(sql, parameters).rowcount

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        self._connection.executemany(sql, rows)

    def one(self, sql: str, parameters: Sequence[Value] = ()) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def all(self, sql: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters).fetchall()


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Return a connection that any thread may use, one at a time."""
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


def connect_writer(path: Path) -> sqlite3.Connection:
    """Return a durable connection to a database of this schema; it waits for no other that writes."""
    connection = connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=FAST")  # what is erased leaves no octets in its page
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        _migrate(connection)
        connection.execute("PRAGMA busy_timeout=0")  # `begin_patiently` waits where it may
    except BaseException:
        connection.close()
        raise
    return connection


def _text(value: bytes) -> str:
    """Read text that somebody may have damaged: the audit must come as far as naming the record."""
    return value.decode("utf-8", "surrogateescape")


def translated(error: sqlite3.Error) -> StorageError:
    """Return the error of ours that says the same."""
    code = getattr(error, "sqlite_errorcode", 0) & _CODE_MASK
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


def is_busy(error: BaseException) -> bool:
    """Return whether another program was writing."""
    return getattr(error, "sqlite_errorcode", 0) & _CODE_MASK == _BUSY


def group_failure(error: BaseException) -> StorageFailedError:
    """Return what the callers of a whole group are told."""
    failure = translated(error) if isinstance(error, sqlite3.Error) else None
    if not isinstance(failure, StorageFailedError):
        failure = StorageFailedError(f"the database failed: {type(error).__name__}")
    failure.__cause__ = error
    return failure


def snapshot(connection: sqlite3.Connection, work: Callable[[SQLiteTransaction], Result]) -> Result:
    """Run `work` on the committed state as it is now; what it writes all the same is undone."""
    try:
        connection.execute("BEGIN")
        try:
            return work(SQLiteTransaction(connection))
        finally:
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise translated(error) from error


def begin_patiently(connection: sqlite3.Connection) -> None:
    """Begin a transaction once whoever else writes has ended, within `BUSY_TIMEOUT_MS`."""
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("PRAGMA busy_timeout=0")
