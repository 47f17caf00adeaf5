"""Makes a generation of a response table from the records of another machine's, and has it served.

Nothing changes until `commit`: the generation is made beside the one that is served.
"""

import os
from pathlib import Path
from typing import Final

import lmdb

from store.errors import DamagedExportError, StorageError, StorageFullError
from store.generations import FOLDER_MODE, Generations
from store.response_entries import FORMAT_RECORD, check_record, exported_record
from store.response_environments import MAP_SIZE, MAX_READERS

BATCH: Final = 10_000  # records a transaction
ROOM: Final = 2  # LMDB's pages are half full at worst


class TableImport:
    """One import into the table in a folder."""

    def __init__(self, folder: Path, *, octets: int) -> None:
        """Begin a generation that `octets` of keys and values are to go into.

        `TableLockedError` where another process writes the table, `StorageFullError` where the disk has not
        the room.
        """
        self._generations = Generations(folder)
        self._batch: list[tuple[bytes, bytes]] = []
        try:
            status = os.statvfs(folder)
            if status.f_bavail * status.f_frsize < ROOM * octets:
                raise StorageFullError(f"the disk of {folder} has no room for the table: {octets >> 20} MiB")
            self._path = self._generations.begin()
            self._environment = _opened(self._path)
        except StorageError:
            self._generations.close()
            raise

    def add(self, key: bytes, value: bytes) -> None:
        """Take a record; its key is behind all before. `DamagedExportError` for one that no table holds."""
        check_record(key, value)
        self._batch.append((key, value))
        if len(self._batch) >= BATCH:
            self._store()

    def prepare(self, exported_at: int) -> None:
        """Have all of it on disk; `exported_at` in Unix seconds is kept with it."""
        self._store()
        try:
            with self._environment.begin(write=True) as tx:
                if tx.get(FORMAT_RECORD[0]) is None:
                    raise DamagedExportError("the export does not say of what version its table is")
                tx.put(*exported_record(exported_at))
            self._environment.sync(True)
        except lmdb.Error as error:
            raise _translated(error, self._path) from error

    def commit(self) -> None:
        """Have what was prepared served from now on, in place of the generation that was."""
        self._environment.close()
        self._generations.swap()

    def sweep(self) -> bool:
        """Remove former generations that nobody reads any more; True when none is left."""
        return self._generations.sweep()

    def close(self) -> None:
        """Drop what was not committed and let another process write."""
        self._environment.close()
        self._generations.abandon()
        self._generations.close()

    def _store(self) -> None:
        try:
            with self._environment.begin(write=True) as tx, tx.cursor() as cursor:
                cursor.putmulti(self._batch, append=True)
        except lmdb.Error as error:
            raise _translated(error, self._path) from error
        self._batch.clear()


def _opened(path: Path) -> lmdb.Environment:
    """Open a new generation, not synchronised before `commit`: until then nothing would be lost."""
    try:
        return lmdb.open(str(path), map_size=MAP_SIZE, max_readers=MAX_READERS, mode=FOLDER_MODE, sync=False)
    except lmdb.Error as error:
        raise _translated(error, path) from error


def _translated(error: lmdb.Error, path: Path) -> StorageError:
    if isinstance(error, lmdb.DiskError | lmdb.MapFullError):
        return StorageFullError(f"the disk of the response table {path} is full")
    return StorageError(f"the response table {path} cannot be written: {error}")
