"""Moves what the status plane serves to another machine: the response table and the public files.

An export is one snapshot of the table, and then the files as they are a moment later. An import makes a
generation of the table beside the one that is served, holds the files apart, and puts both in place when all
of it has been found whole: the files one after another, each at once, and the table last.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from pkiserver.errors import ConflictError, UnavailableError
from pkiserver.home import PUBLIC_FILE_MODE, PUBLIC_FOLDERS, Home
from pkiserver.progress import Progress
from pkiserver.served_files import MAX_FILE_OCTETS, SERVED_NAME, ServedFile, open_served
from store.errors import DamagedExportError, TableMissingError
from store.response_entries import is_response
from store.response_import import TableImport
from store.response_stream import (
    FILE,
    MAX_FILES,
    PIECE_OCTETS,
    TABLE,
    StreamHeader,
    StreamReader,
    StreamWriter,
)
from store.responses import ResponseTableReader

CLOCK_TOLERANCE: Final = timedelta(hours=1)  # how far the exporting machine's clock may be ahead
FOLLOW_S: Final = 10.0  # for workers to leave a former generation; an idle one looks once a second
_STAGING: Final = ".import"  # in the public folder; nothing in it is served
_TELL_EVERY: Final = 10_000  # records


@dataclass(frozen=True, slots=True)
class Moved:
    """What an export or import held; `sha256` is the digest at its end, in hexadecimal."""

    exported_at: datetime
    responses: int
    files: int
    sha256: str


# ---- Export


def export_responses(home: Home, out: BinaryIO, now: datetime, tell: Progress, *, public: bool) -> Moved:
    """Write the table that is served and, where `public`, the files; whoever writes the table goes on.

    `TableMissingError` where there is no table, `UnavailableError` while it is being filled.
    """
    with ExitStack() as stack:
        table = stack.enter_context(closing(ResponseTableReader(home.responses)))
        if table.position() == 0:
            raise UnavailableError("the response table is not filled yet: try again when the server is ready")
        snapshot = stack.enter_context(table.snapshot())
        files = _served(home.public, stack) if public else []
        header = StreamHeader(
            exported_at=snapshot.exported_at or int(now.timestamp()),
            records=snapshot.records,
            octets=snapshot.octets,
            files=len(files),
            file_octets=sum(one.status.st_size for one in files),
        )
        stream = StreamWriter(out, header)
        for number, (key, value) in enumerate(snapshot.pairs):
            if number % _TELL_EVERY == 0:
                tell("responses", number, snapshot.records)
            stream.write(TABLE, key, value)
        for one in files:
            for piece in _pieces(one.file, one.status.st_size):
                stream.write(FILE, one.name.encode("ascii"), piece)
        digest = stream.finish()
        responses = table.count()
    return Moved(datetime.fromtimestamp(header.exported_at, UTC), responses, len(files), digest.hex())


def _served(public: Path, stack: ExitStack) -> list[ServedFile]:
    found = open_served(public, stack)
    if len(found) > MAX_FILES:
        raise ConflictError(f"there are over {MAX_FILES} files in {public}")
    return found


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield `size` octets; one empty piece of an empty file."""
    left = size
    while True:
        piece = file.read(min(left, PIECE_OCTETS))
        if left and not piece:
            raise UnavailableError("a public file was cut short while it was exported; try again")
        yield piece
        left -= len(piece)
        if not left:
            return


# ---- Import


def import_responses(
    home: Home, source: BinaryIO, now: datetime, tell: Progress, *, allow_older: bool
) -> Moved:
    """Read an export to its end and have it served in place of what is; status servers go on meanwhile.

    `DamagedExportError` where it is not whole, `ConflictError` where this home has a presigner of its own, or
    serves a later export and `allow_older` is not given: an older one would take revocations back. Whatever
    is raised, nothing has changed, unless a file could not be put in place at the very end.
    """
    if not home.only_serves_status():
        raise ConflictError(f"{home.path} issues: its presigner makes its table; import on another machine")
    stream = StreamReader(source)
    with ExitStack() as stack:
        table = stack.enter_context(closing(TableImport(home.responses, octets=stream.header.octets)))
        exported_at = _checked_time(home, stream.header.exported_at, now, allow_older)
        files = stack.enter_context(closing(_StagedFiles(home, stream.header.file_octets)))
        responses = 0
        for number, (kind, key, value) in enumerate(stream.records()):
            if number % _TELL_EVERY == 0:
                tell("responses", number, stream.header.records)
            if kind == FILE:
                files.add(key, value)
            else:
                table.add(key, value)
                responses += is_response(key)
        files.finish()
        table.prepare(stream.header.exported_at)
        files.commit()
        table.commit()
        _wait_for_followers(table)
    return Moved(exported_at, responses, stream.header.files, stream.digest.hex())


def _checked_time(home: Home, exported_s: int, now: datetime, allow_older: bool) -> datetime:
    """Return when the export was made; an error where that cannot be, or is before that of the present."""
    latest = int((now + CLOCK_TOLERANCE).timestamp())
    if exported_s > latest:
        raise DamagedExportError("the export is of the future: look at the clocks of both machines")
    exported_at = datetime.fromtimestamp(exported_s, UTC)
    try:
        with closing(ResponseTableReader(home.responses)) as table:
            present_s = table.exported_at()
    except TableMissingError:
        return exported_at
    if exported_s < present_s and not allow_older:
        raise ConflictError(
            f"this export of {exported_at:%Y-%m-%d %H:%M:%S} UTC is older than the one that is served: it"
            " would take back what changed since; --allow-older has it imported all the same"
        )
    return exported_at


def _wait_for_followers(table: TableImport) -> None:
    """Remove the former generation once the workers have left it; else the next import does."""
    end = time.monotonic() + FOLLOW_S
    while not table.sweep() and time.monotonic() < end:
        time.sleep(0.05)


class _StagedFiles:
    """The files of an import, held apart until they are put in place."""

    def __init__(self, home: Home, octets: int) -> None:
        home.make_public()
        self._public = public = home.public
        self._folder = public / _STAGING
        self._names: list[str] = []
        self._file: BinaryIO | None = None
        self._size = 0
        shutil.rmtree(self._folder, ignore_errors=True)  # of an import that was killed
        if shutil.disk_usage(public).free < octets:
            raise UnavailableError(f"the disk of {public} has no room for the files: {octets >> 20} MiB")
        for folder in PUBLIC_FOLDERS:
            (self._folder / folder).mkdir(parents=True)

    def add(self, key: bytes, piece: bytes) -> None:
        """Take a piece of a file; `DamagedExportError` for a name or size that is not served."""
        name = key.decode("ascii", "replace")
        if not self._names or name != self._names[-1]:
            if not SERVED_NAME.fullmatch(name):
                raise DamagedExportError("the export holds a file that is not served")
            self._close_file()
            self._file = os.fdopen(_create_public(self._folder / name), "wb")
            self._names.append(name)
            self._size = 0
        self._size += len(piece)
        if self._file is None or self._size > MAX_FILE_OCTETS:
            raise DamagedExportError("the export holds a file that is too large to be served")
        self._file.write(piece)

    def finish(self) -> None:
        """Have the files on disk."""
        self._close_file()

    def commit(self) -> None:
        """Put every file in place of the one of its name.

        All have the same time: by that a compressed form is known to be of the file beside it.
        """
        together_ns = self._folder.stat().st_mtime_ns
        for name in self._names:
            os.utime(self._folder / name, ns=(together_ns, together_ns))
            (self._folder / name).replace(self._public / name)
        for folder in PUBLIC_FOLDERS:
            _sync_folder(self._public / folder)

    def close(self) -> None:
        """Drop what was not put in place."""
        if self._file is not None:
            self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


def _create_public(path: Path) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PUBLIC_FILE_MODE)
    os.fchmod(descriptor, PUBLIC_FILE_MODE)  # whatever the umask
    return descriptor


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
