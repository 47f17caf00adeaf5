"""The generations of a table: one is served, another may be made beside it and then takes its place at once.

The folder holds `current`, a file with the number of the generation that is served; a folder for each
generation, by its number; and `writer.lock`, held by the one process that may change any of it. A reader
holds a shared lock on the folder of the generation that it reads: one that is no longer served is removed
when nobody does. What lies in a generation's folder is not looked at here.
"""

import fcntl
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from store.errors import StorageError, TableLockedError, TableMissingError

FOLDER_MODE: Final = 0o750
FILE_MODE: Final = 0o640
_POINTER: Final = "current"
_LOCK: Final = "writer.lock"
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,9}")  # of a generation; one a second makes 300 years
_MAX_POINTER_OCTETS: Final = 16
_OPEN_ATTEMPTS: Final = 100  # each fails only where a generation was swapped in at that very moment
# A table from before there were generations lies in the folder itself; it is taken over as the first.
_UNNUMBERED: Final = ("data.mdb", "lock.mdb")


class Lease(NamedTuple):
    """A generation that is not removed until `descriptor` is closed."""

    number: int
    path: Path
    descriptor: int


def current_number(folder: Path) -> int:
    """Return the number of the generation that is served; `TableMissingError` where there is none."""
    try:
        with open(folder / _POINTER, "rb") as file:
            text = file.read(_MAX_POINTER_OCTETS).decode("ascii", "replace").strip()
    except FileNotFoundError as error:
        raise TableMissingError(
            f"there is no response table at {folder}; the presigner makes it, or `pkiserver responses import`"
        ) from error
    except OSError as error:
        raise StorageError(f"the response table {folder} cannot be read: {error.strerror}") from error
    if not _NUMBER.fullmatch(text):
        raise StorageError(f"{folder / _POINTER} is damaged: it names no generation of the table")
    return int(text)


def lease_current(folder: Path) -> Lease:
    """Return the generation that is served, kept from being removed."""
    for _ in range(_OPEN_ATTEMPTS):
        number = current_number(folder)
        path = folder / str(number)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(f"the response table {path} cannot be opened: {error.strerror}") from error
        # The lock comes first and the second look after it: who removes looks in the other order.
        if _flock(descriptor, fcntl.LOCK_SH) and current_number(folder) == number:
            return Lease(number, path, descriptor)
        os.close(descriptor)
    raise TableMissingError(f"generation {number} of the response table {folder} is missing")


class Generations:
    """The folder, held by the process that may change it."""

    def __init__(self, folder: Path) -> None:
        """Make the folder where it is missing and hold it; `TableLockedError` where another process does."""
        self.folder = folder
        self._building: int | None = None
        try:
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise StorageError(f"the response table {folder} cannot be opened: {error.strerror}") from error
        if not _flock(self._lock, fcntl.LOCK_EX):
            os.close(self._lock)
            raise TableLockedError(f"another process writes the response table {folder} already")
        try:
            self._adopt()
            self.sweep()
        except StorageError:
            self.close()
            raise

    def current(self) -> int | None:
        """Return the number of the generation that is served, None where there is none yet."""
        try:
            return current_number(self.folder)
        except TableMissingError:
            return None

    def path(self, number: int) -> Path:
        """Return the folder of a generation."""
        return self.folder / str(number)

    def begin(self) -> Path:
        """Return the new folder of a generation to be made; a former unfinished one is dropped."""
        self.abandon()
        number = max([self.current() or 0, *self._numbers()]) + 1
        try:
            self.path(number).mkdir(mode=FOLDER_MODE)
        except OSError as error:
            raise StorageError(f"no generation can be made in {self.folder}: {error.strerror}") from error
        self._building = number
        return self.path(number)

    def swap(self) -> int:
        """Have the generation that was made served from now on, durably; return its number."""
        if self._building is None:
            raise RuntimeError("no generation was begun")
        number, self._building = self._building, None
        self._point_to(number)
        self.sweep()
        return number

    def abandon(self) -> None:
        """Drop the generation that is being made, if any."""
        self._building = None
        self.sweep()

    def sweep(self) -> bool:
        """Remove the generations that are not served and that nobody reads; True when none is left."""
        current = self.current()
        former = [number for number in self._numbers() if number not in (current, self._building)]
        left = [number for number in former if not _remove(self.path(number))]
        return not left

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._lock)

    def _numbers(self) -> list[int]:
        with suppress(FileNotFoundError):
            return [int(name) for name in os.listdir(self.folder) if _NUMBER.fullmatch(name)]
        return []

    def _adopt(self) -> None:
        if self.current() is not None or not (self.folder / _UNNUMBERED[0]).is_file():
            return
        path = self.begin()
        for name in _UNNUMBERED:
            with suppress(FileNotFoundError):
                (self.folder / name).rename(path / name)
        self.swap()

    def _point_to(self, number: int) -> None:
        new = self.folder / f"{_POINTER}.new"
        try:
            _sync_folder(self.path(number))
            with open(new, "wb", opener=lambda path, flags: os.open(path, flags, FILE_MODE)) as file:
                file.write(b"%d\n" % number)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.folder / _POINTER)
            _sync_folder(self.folder)
        except OSError as error:
            raise StorageError(f"{self.folder / _POINTER} cannot be written: {error.strerror}") from error


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(path: Path) -> bool:
    """Remove a generation unless somebody reads it; True when it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return not path.exists()
    try:
        if not _flock(descriptor, fcntl.LOCK_EX):
            return False
        shutil.rmtree(path, ignore_errors=True)
        return not path.exists()
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
