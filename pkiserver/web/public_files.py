"""The public files in memory: read when they change, together with the compressed form beside them.

Files are replaced by renaming others over them. What is being sent stays whole meanwhile: who holds a
`PublicFile` holds its octets. A large file is read and hashed a slice at a time, and between two slices
others are answered; what was there before goes on being served meanwhile. Not in a thread: one that waits
for a processor with the interpreter's lock in its hands would have every answer wait with it.
"""

import asyncio
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

from pkiserver.served_files import MAX_FILE_OCTETS, open_plain
from protocols.crl_reader import crl_times
from protocols.errors import ProtocolError

CHECK_S: Final = 0.25  # how long a file is served before it is looked at again
SLICE_BYTES: Final = 1 << 18  # read and hashed at a time: some 0.3 ms, in which no other request is answered
_GZIP_TRAILER: Final = 8  # CRC-32 and length of what was compressed (RFC 1952 §2.3.1)


class Mark(NamedTuple):
    """What tells one state of a file from another: a renamed file has another inode."""

    inode: int
    modified_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class Representation:
    """The octets of one form, and the strong validator of just these (RFC 9110 §8.8.3.3)."""

    body: memoryview
    entity_tag: bytes


@dataclass(frozen=True, slots=True)
class PublicFile:
    """A file as it was read; `gzip` is None where no compressed form of these octets lies beside it.

    `next_update` is that of a CRL; None for other files, and for what cannot be read as one.
    """

    marks: tuple[Mark, Mark | None]
    last_modified: datetime
    plain: Representation
    gzip: Representation | None
    next_update: datetime | None


@dataclass(slots=True)
class _Kept:
    file: PublicFile
    check_at: float


class _Opened(NamedTuple):
    """A file and its compressed form, both held open: what is read is of these, whatever is renamed."""

    plain: BinaryIO
    gzip: BinaryIO | None
    marks: tuple[Mark, Mark | None]
    is_crl: bool


class PublicFiles:
    """Keeps the files of one folder by name."""

    def __init__(self, folder: Path, monotonic: Callable[[], float]) -> None:
        """Take the folder, and a clock in seconds that never goes back."""
        self._folder = os.fspath(folder)
        self._monotonic = monotonic
        self._kept: dict[bytes, _Kept] = {}  # bounded by the files there are
        self._loading: dict[bytes, asyncio.Future[PublicFile | None]] = {}

    def current(self, name: bytes) -> PublicFile | asyncio.Future[PublicFile | None] | None:
        """Return a file as it is now, or was at most `CHECK_S` and a reading ago; None where there is none.

        A future for a large file that is not known yet; it is shared, so not to be cancelled.
        """
        kept = self._kept.get(name)
        elapsed = self._monotonic()
        if kept is not None:
            if elapsed < kept.check_at:
                return kept.file
            kept.check_at = elapsed + CHECK_S
        loading = self._loading.get(name)
        if loading is not None:
            return kept.file if kept is not None else loading
        return self._looked_at(name, kept)

    def _looked_at(
        self, name: bytes, kept: _Kept | None
    ) -> PublicFile | asyncio.Future[PublicFile | None] | None:
        with ExitStack() as closing:
            opened = _opened(os.path.join(self._folder, name.decode("ascii")), closing)
            if opened is None:
                self._kept.pop(name, None)
                return None
            if kept is not None and kept.file.marks == opened.marks:
                return kept.file
            if sum(mark.size for mark in opened.marks if mark is not None) <= SLICE_BYTES:
                return self._keep(name, _at_once(_read(opened)))
            loading = asyncio.ensure_future(self._load(name, opened, closing.pop_all()))
            self._loading[name] = loading
            return kept.file if kept is not None else loading

    async def _load(self, name: bytes, opened: _Opened, closing: ExitStack) -> PublicFile | None:
        try:
            with closing:
                return self._keep(name, await _by_and_by(_read(opened)))
        finally:
            del self._loading[name]

    def _keep(self, name: bytes, file: PublicFile | None) -> PublicFile | None:
        if file is not None:
            self._kept[name] = _Kept(file, self._monotonic() + CHECK_S)
        return file


def _opened(path: str, closing: ExitStack) -> _Opened | None:
    """Open a file and what belongs to it; None where there is none to be served."""
    plain = _open_file(path, closing)
    if plain is None:
        return None
    mark = _mark(plain)
    if mark is None or path.endswith(".gz"):
        return None if mark is None else _Opened(plain, None, (mark, None), False)
    gzip = _open_file(path + ".gz", closing)
    gzip_mark = None if gzip is None else _mark(gzip)
    # Who writes both gives the compressed one the time of the other: that is how they belong together.
    if gzip_mark is None or gzip_mark.modified_ns != mark.modified_ns or gzip_mark.size >= mark.size:
        gzip, gzip_mark = None, None
    return _Opened(plain, gzip, (mark, gzip_mark), path.endswith(".crl"))


def _open_file(path: str, closing: ExitStack) -> BinaryIO | None:
    try:
        return closing.enter_context(open(path, "rb", buffering=0, opener=open_plain))
    except OSError:
        return None


def _mark(file: BinaryIO) -> Mark | None:
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_OCTETS:
        return None
    return Mark(found.st_ino, found.st_mtime_ns, found.st_size)


_Steps = Generator[None, None, PublicFile | None]


def _at_once(steps: _Steps) -> PublicFile | None:
    """Take all steps, and return what they come to."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # as a generator returns it


async def _by_and_by(steps: _Steps) -> PublicFile | None:
    """Take all steps, with other work between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # as a generator returns it
        await asyncio.sleep(0)


def _read(opened: _Opened) -> _Steps:
    """Read and hash, a slice a step; None where a file cannot be read, or is not as long as it was."""
    mark, gzip_mark = opened.marks
    checksum = _Checksum()
    try:
        plain = yield from _representation(opened.plain, mark.size, checksum)
        gzip = None
        if opened.gzip is not None and gzip_mark is not None:
            gzip = yield from _representation(opened.gzip, gzip_mark.size, _Checksum())
    except OSError:
        return None
    if gzip is not None and not checksum.is_compressed_in(gzip.body):
        gzip = None
    next_update = _next_update(plain.body) if opened.is_crl else None
    modified_s = mark.modified_ns // 1_000_000_000
    return PublicFile(opened.marks, datetime.fromtimestamp(modified_s, UTC), plain, gzip, next_update)


def _representation(
    file: BinaryIO, size: int, checksum: "_Checksum"
) -> Generator[None, None, Representation]:
    body = memoryview(bytearray(size))
    digest = hashlib.sha256()
    for start in range(0, size, SLICE_BYTES):
        piece = body[start : start + SLICE_BYTES]
        if file.readinto(piece) != len(piece):  # type: ignore[attr-defined]  # it is a FileIO
            raise OSError("the file was cut short while it was read")
        digest.update(piece)
        checksum.update(piece)
        yield
    return Representation(body.toreadonly(), b'"%b"' % digest.hexdigest().encode("ascii"))


class _Checksum:
    """The CRC-32 and the length of octets, as they stand at the end of their compressed form."""

    def __init__(self) -> None:
        self._crc = 0
        self._size = 0

    def update(self, piece: memoryview) -> None:
        self._crc = zlib.crc32(piece, self._crc)
        self._size += len(piece)

    def is_compressed_in(self, gzip: memoryview) -> bool:
        """Tell whether these octets were compressed to those: times may be equal by chance."""
        trailer = self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        return bytes(gzip[:3]) == b"\x1f\x8b\x08" and bytes(gzip[-_GZIP_TRAILER:]) == trailer


def _next_update(crl: memoryview) -> datetime | None:
    try:
        # A bytearray is read just as bytes are; to copy 40 MB would hold every other answer up.
        return crl_times(cast(bytes, crl.obj)).next_update
    except ProtocolError:
        return None
