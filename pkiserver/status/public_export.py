"""Writes the public files (CRLs, CA certificates, the register) to a folder of another web server or CDN.

A file there is replaced at once or not at all, keeps the time of the one that is served, and is not touched
where it is the same. What is only there is left alone. The files that are served are replaced by renaming:
they are read whole whatever a running server does meanwhile, so that no lock is needed.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pkiserver.errors import ConflictError, NotFoundError
from pkiserver.home import PUBLIC_FILE_MODE, PUBLIC_FOLDER_MODE, PUBLIC_FOLDERS, Home, replaced_file
from pkiserver.progress import Progress
from pkiserver.served_files import MAX_FILE_OCTETS, ServedFile, open_served
from protocols.crl_reader import crl_times
from protocols.errors import ProtocolError

_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did; `stale` are the CRLs that are past their nextUpdate."""

    written: tuple[str, ...]
    unchanged: int
    octets: int
    stale: tuple[str, ...]


def export_public(home: Home, target: Path, now: datetime, tell: Progress, *, force: bool) -> Exported:
    """Write what is new or other to `target`; with `force` everything, and older CRLs over newer ones.

    `ConflictError` for a target in the home, or one that holds a later CRL than this home; then nothing was
    written. `NotFoundError` where this home has no public files.
    """
    _refuse_home(home, target)
    _refuse_links(target)
    with ExitStack() as stack:
        sources = open_served(home.public, stack)
        if not sources:
            raise NotFoundError(f"there are no public files in {home.public}: start the server once")
        if not force:
            _refuse_older(sources, target)
        stale = tuple(one.name for one in sources if _is_stale(one, now))
        _drop_other_forms(sources, target)
        written: list[str] = []
        for number, source in enumerate(sources):
            tell("public files", number, len(sources))
            if force or not _is_same(source, target / source.name):
                _write(source, target)
                written.append(source.name)
        octets = sum(one.status.st_size for one in sources if one.name in set(written))
    return Exported(tuple(written), len(sources) - len(written), octets, stale)


def _refuse_home(home: Home, target: Path) -> None:
    inside, outside = target.resolve(), home.path.resolve()
    if inside == outside or outside in inside.parents or inside in outside.parents:
        raise ConflictError(f"{target} is in the home, or the home in it: export to a folder of its own")


def _refuse_links(target: Path) -> None:
    """Refuse folders that lead elsewhere: who may write to the web server's would have us write anywhere."""
    for folder in PUBLIC_FOLDERS:
        if (target / folder).is_symlink():
            raise ConflictError(f"{target / folder} is a link: nothing is written through it")


def _refuse_older(sources: Sequence[ServedFile], target: Path) -> None:
    for source in sources:
        path = target / source.name
        if not source.name.endswith(".crl") or not path.is_file():
            continue
        there, here = _number(path.read_bytes()), _number(_content(source))
        if there is not None and here is not None and there > here:
            raise ConflictError(
                f"{path} is CRL number {there}, later than {here} of this home: an older one would take back"
                " what changed since; --force writes it all the same"
            )


def _number(crl: bytes) -> int | None:
    try:
        return crl_times(crl).number
    except ProtocolError:
        return None  # whatever it is, it is replaced


def _is_stale(source: ServedFile, now: datetime) -> bool:
    if not source.name.endswith(".crl"):
        return False
    next_update = crl_times(_content(source)).next_update
    return next_update is not None and next_update <= now


def _content(source: ServedFile) -> bytes:
    source.file.seek(0)
    return source.file.read(MAX_FILE_OCTETS)


def _drop_other_forms(sources: Sequence[ServedFile], target: Path) -> None:
    """Remove the compressed form of what is replaced: a server must not answer with the former one."""
    for source in sources:
        form = target / f"{source.name}.gz"
        if form.is_file() and not _is_same(source, target / source.name):
            form.unlink()


def _is_same(source: ServedFile, path: Path) -> bool:
    """Return whether a file has the same octets and time."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    same = stat.S_ISREG(there.st_mode) and there.st_size == source.status.st_size
    if not same or there.st_mtime_ns != source.status.st_mtime_ns:
        return False
    source.file.seek(0)
    with path.open("rb") as file:
        while piece := source.file.read(_PIECE):
            if file.read(_PIECE) != piece:
                return False
    return True


def _write(source: ServedFile, target: Path) -> None:
    path = target / source.name
    _make_folders(path.parent)
    source.file.seek(0)
    with replaced_file(path, PUBLIC_FILE_MODE) as file:
        while piece := source.file.read(_PIECE):
            file.write(piece)
        file.flush()
        os.utime(file.fileno(), ns=(source.status.st_mtime_ns, source.status.st_mtime_ns))


def _make_folders(path: Path) -> None:
    """Make a folder that is missing, and those above it, open to all whatever the umask."""
    if not path.exists():
        _make_folders(path.parent)
        path.mkdir()
        path.chmod(PUBLIC_FOLDER_MODE)
