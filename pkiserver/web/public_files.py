"""The public files in memory: read when they change, together with the compressed form beside them.

Files are replaced by renaming others over them. What is being sent stays whole meanwhile: who holds a
`PublicFile` holds its octets. Large files are read in a thread, one after the other, while what was there
before goes on being served: no other request waits for a disk or a hash.
"""

import asyncio
import hashlib
import os
import stat
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from protocols.crl_reader import crl_times
from protocols.errors import ProtocolError

CHECK_S: Final = 0.25  # how long a file is served before it is looked at again
MAX_FILE_BYTES: Final = 256 << 20  # a CRL of 5 million entries; a larger one must be sharded
INLINE_BYTES: Final = 1 << 20  # so much is read and hashed in a millisecond; more is done in a thread
_GZIP_TRAILER: Final = 8  # CRC-32 and length of what was compressed (RFC 1952 §2.3.1)


class Mark(NamedTuple):
    """What tells one state of a file from another: a renamed file has another inode."""

    inode: int
    modified_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class Representation:
    """The octets of one form, and the strong validator of just these (RFC 9110 §8.8.3.3)."""

    body: bytes
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
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="public-files")

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
            if sum(mark.size for mark in opened.marks if mark is not None) <= INLINE_BYTES:
                return self._keep(name, _read(opened))
            loading = asyncio.ensure_future(self._load(name, opened, closing.pop_all()))
            self._loading[name] = loading
            return kept.file if kept is not None else loading

    async def _load(self, name: bytes, opened: _Opened, closing: ExitStack) -> PublicFile | None:
        try:
            with closing:
                loop = asyncio.get_running_loop()
                return self._keep(name, await loop.run_in_executor(self._thread, _read, opened))
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
        return closing.enter_context(open(path, "rb", buffering=0, opener=_open))
    except OSError:
        return None


def _open(path: str, flags: int) -> int:
    """Open neither links nor, waiting, pipes: nothing but files is published."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _mark(file: BinaryIO) -> Mark | None:
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
        return None
    return Mark(found.st_ino, found.st_mtime_ns, found.st_size)


def _read(opened: _Opened) -> PublicFile | None:
    """Read and hash; None where that cannot be done now. Most of it runs without the interpreter's lock."""
    try:
        plain = _representation(opened.plain)
        gzip = None if opened.gzip is None else _representation(opened.gzip)
    except OSError:
        return None
    if gzip is not None and not _is_gzip_of(gzip.body, plain.body):
        gzip = None
    modified_s = opened.marks[0].modified_ns // 1_000_000_000
    next_update = _next_update(plain.body) if opened.is_crl else None
    return PublicFile(opened.marks, datetime.fromtimestamp(modified_s, UTC), plain, gzip, next_update)


def _representation(file: BinaryIO) -> Representation:
    body = file.read()
    return Representation(body, b'"%b"' % hashlib.sha256(body).hexdigest().encode("ascii"))


def _is_gzip_of(compressed: bytes, plain: bytes) -> bool:
    """Tell, by CRC-32 and length, whether these octets were compressed: times may be equal by chance."""
    trailer = zlib.crc32(plain).to_bytes(4, "little") + (len(plain) & 0xFFFFFFFF).to_bytes(4, "little")
    return compressed.startswith(b"\x1f\x8b\x08") and compressed[-_GZIP_TRAILER:] == trailer


def _next_update(crl: bytes) -> datetime | None:
    try:
        return crl_times(crl).next_update
    except ProtocolError:
        return None
