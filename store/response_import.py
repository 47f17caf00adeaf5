"""Makes a generation of a response table from the records of another machine's, and has it served.

Nothing changes until `commit`: the generation is made beside the one that is served.
"""

import os
from pathlib import Path
from typing import Final

from store.errors import DamagedExportError, StorageError, StorageFullError
from store.generations import Generations
from store.response_build import TableBuild
from store.response_entries import FORMAT_RECORD, check_record, exported_record

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
        self._has_format = False
        try:
            status = os.statvfs(folder)
            if status.f_bavail * status.f_frsize < ROOM * octets:
                raise StorageFullError(f"the disk of {folder} has no room for the table: {octets >> 20} MiB")
            self._build = TableBuild(self._generations.begin())
        except StorageError:
            self._generations.close()
            raise

    def add(self, key: bytes, value: bytes) -> None:
        """Take a record; its key is behind all before. `DamagedExportError` for one that no table holds."""
        check_record(key, value)
        self._has_format |= key == FORMAT_RECORD[0]
        self._batch.append((key, value))
        if len(self._batch) >= BATCH:
            self._store()

    def prepare(self, exported_at: int) -> None:
        """Have all of it on disk; `exported_at` in Unix seconds is kept with it."""
        if not self._has_format:
            raise DamagedExportError("the export does not say of what version its table is")
        self._store()
        self._build.add([exported_record(exported_at)])
        self._build.finish()

    def commit(self) -> None:
        """Have what was prepared served from now on, in place of the generation that was."""
        self._generations.swap()

    def sweep(self) -> bool:
        """Remove former generations that nobody reads any more; True when none is left."""
        return self._generations.sweep()

    def close(self) -> None:
        """Drop what was not committed and let another process write."""
        self._build.close()
        self._generations.abandon()
        self._generations.close()

    def _store(self) -> None:
        self._build.add(self._batch)
        self._batch.clear()
