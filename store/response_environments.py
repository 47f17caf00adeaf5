"""Opens the generations of the response table, which are LMDB environments, and translates LMDB's errors.

LMDB forbids to open one of them twice in a process (its locks belong to process and file): a process that
writes also reads through its writer. Open a table after a fork, never before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import lmdb

from store.errors import StorageError, StorageFullError, TableMissingError
from store.generations import FOLDER_MODE
from store.response_entries import FORMAT_KEY, FORMAT_RECORD

MAP_SIZE: Final = 1 << 38  # 256 GiB of address space, sparse: 400 million entries; costs nothing until used
MAX_READERS: Final = 1024  # slots of reading processes; one worker takes one, and one left by a killed worker


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn LMDB's errors into those of the store."""
    try:
        yield
    except (lmdb.DiskError, lmdb.MapFullError) as error:
        raise StorageFullError(f"the disk of the response table {path} is full") from error
    except lmdb.Error as error:
        raise StorageError(f"the response table {path} cannot be used: {error}") from error


def open_to_read(path: Path) -> lmdb.Environment:
    """Open a generation; `TableMissingError` where there is none, or one of another format."""
    if not (path / "data.mdb").is_file():
        raise TableMissingError(f"there is no response table at {path}")
    with translated(path):
        environment = lmdb.open(
            str(path),
            map_size=MAP_SIZE,
            max_readers=MAX_READERS,
            readonly=True,
            create=False,
            readahead=False,  # look-ups come in random order
            max_spare_txns=1,  # keeps the reader's slot, not a snapshot, from one look-up to the next
        )
        environment.reader_check()  # where nobody writes, nobody else frees the slots of killed readers
    return _of_this_format(path, environment)


def open_to_write(path: Path, *, durable: bool = True) -> lmdb.Environment:
    """Open or make a generation; what is not `durable` must be synchronised in the end."""
    with translated(path):
        environment = lmdb.open(
            str(path), map_size=MAP_SIZE, max_readers=MAX_READERS, mode=FOLDER_MODE, sync=durable
        )
        environment.reader_check()
        with environment.begin(write=True) as tx:
            tx.put(*FORMAT_RECORD, overwrite=False)
    return _of_this_format(path, environment)


def _of_this_format(path: Path, environment: lmdb.Environment) -> lmdb.Environment:
    with translated(path), environment.begin() as tx:
        found = tx.get(FORMAT_KEY)
    if found != FORMAT_RECORD[1]:
        environment.close()
        raise TableMissingError(f"the response table at {path} is empty or of another version of the program")
    return environment
