"""Makes a backup of a home, while a server runs on it or not.

First the database, in one snapshot; then the other files. A key is durable before the database speaks of it,
so every key that the snapshot needs is there when the files are read.
"""

import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Final

from config.loader import load_settings
from config.schema import Settings
from pkiserver.audit import Head
from pkiserver.backup.manifest import DATABASE, MAX_FILE_OCTETS, MAX_FILES, BackupFile, Manifest
from pkiserver.backup.outside import files_outside
from pkiserver.backup.sealed import COST, SealedWriter
from pkiserver.clock import utc_text
from pkiserver.errors import ConflictError, UnavailableError
from pkiserver.home import PRIVATE_FILE_MODE, Home, HomeLock, sync_folder
from pkiserver.progress import Progress
from store import audit as audit_chain
from store import status_events
from store.authorities import all_authorities
from store.database import Transaction, read_only
from store.records import AuditRecord
from store.snapshot import check_copy, copy_database, key_labels

# Made anew by a start, or, the database, copied in a way of its own.
_LEFT_OUT: Final = frozenset({"run", "responses", "public", DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"})
_COPY: Final = "backup-"  # in `run`: nothing there outlives a start
_BLOCK: Final = 1 << 20
_UNFINISHED: Final = re.compile(r"\..+\.(?:[0-9]+\.new|[0-9a-f]{16})")  # `replaced_file`, key stores


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made, and the SHA-256 of its file."""

    file: Path
    octets: int
    sha256: str
    manifest: Manifest


def make_backup(
    home: Home,
    destination: Path,
    passphrase: str,
    by: str,
    now: datetime,
    tell: Progress,
    *,
    cost: int = COST,
) -> Backup:
    """Write a backup of a home to the new file `destination`, or to one in the folder of that name.

    Nothing is overwritten. The file is whole and on disk when this returns, or it is not there. Raises
    `ConflictError`, `UnavailableError`, `RefusedError` (passphrase), `StorageError`, `OSError`.
    """
    target = _target(home, destination, now)
    settings = load_settings(home.configuration)
    with HomeLock(home, "backup"), _database_copy(home, settings, tell) as copy:
        names = _names(home, copy)
        files = [_described(DATABASE, copy), *(_described(name, home.path / name) for name in names)]
        _require_keys(home, settings, copy)
        head, events = read_only(copy, _ends) or (None, 0)
        manifest = Manifest(
            utc_text(now),
            by,
            version("pkiserver"),
            Head.of(head),
            events,
            tuple(files),
            files_outside(home, settings, names),
        )
        with _new_file(target) as out:
            _write(home, copy, manifest, SealedWriter(out, passphrase, cost=cost), tell)
            octets = out.tell()
            out.seek(0)
            digest = hashlib.file_digest(out, "sha256").hexdigest()
    return Backup(target, octets, digest, manifest)


def _target(home: Home, destination: Path, now: datetime) -> Path:
    if destination.is_dir():
        destination /= f"pkiserver-{now:%Y%m%dT%H%M%SZ}.backup"
    if destination.resolve().is_relative_to(home.path.resolve()):
        raise ConflictError("a backup within the home is lost with it: name a place outside")
    if destination.exists():
        raise ConflictError(f"{destination} is there already; a backup overwrites nothing")
    return destination


@contextmanager
def _database_copy(home: Home, settings: Settings, tell: Progress) -> Iterator[Path]:
    """Give a copy of the database for the length of a block; it is in the home, for it is not encrypted."""
    for left in home.run.glob(f"{_COPY}*.db"):  # of a backup that was killed: this one holds the lock
        left.unlink(missing_ok=True)
    needed = home.database.stat().st_size + settings.storage.min_free
    if shutil.disk_usage(home.path).free < needed:
        raise UnavailableError(
            f"the disk of the home has no room for a copy of the database: {needed >> 20} MiB"
        )
    copy = home.run / f"{_COPY}{secrets.token_hex(8)}.db"
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE_MODE))
    try:
        tell("database")
        copy_database(home.database, copy)
        check_copy(copy)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def _ends(tx: Transaction) -> tuple[AuditRecord | None, int]:
    return audit_chain.head(tx), status_events.head(tx)


def _names(home: Home, copy: Path) -> list[str]:
    """Return the files of a home, without what is made anew and the database, in order."""
    found: list[str] = []
    for folder, folders, files in os.walk(home.path, onerror=_raise):
        base = Path(folder)
        top = base == home.path
        folders[:] = sorted(name for name in folders if not (top and name in _LEFT_OUT))
        for name in folders:
            if (base / name).is_symlink():
                raise ConflictError(f"{base / name} is a link to a folder: a backup cannot follow it")
        paths = (base / name for name in files if not (top and name in _LEFT_OUT))
        found += [path.relative_to(home.path).as_posix() for path in paths if not _is_unfinished(path)]
        if len(found) > MAX_FILES:
            raise ConflictError(f"there are over {MAX_FILES} files in {home.path}")
    return sorted(found + _crls_of_others(home, copy))


def _is_unfinished(path: Path) -> bool:
    """Return whether a file is one that is being written, and will be renamed or linked.

    By its form alone: another that is hidden is an operator's, perhaps a passphrase.
    """
    return _UNFINISHED.fullmatch(path.name) is not None


def _crls_of_others(home: Home, copy: Path) -> list[str]:
    """Return the CRLs that were put into `public` by hand, for their keys are outside: none else has them."""
    records = read_only(copy, all_authorities) or []
    names = [f"public/crl/{record.handle}.crl" for record in records if record.key_label is None]
    return [name for name in names if (home.path / name).exists()]


def _raise(error: OSError) -> None:
    raise error


def _require_keys(home: Home, settings: Settings, copy: Path) -> None:
    if settings.keys.store == "software":
        for label in read_only(copy, key_labels) or []:
            if not (home.keys / f"{label}.pem").exists():
                raise ConflictError(f"the key {label} is not in {home.keys}: the home is not whole")


def _open(path: Path) -> BufferedReader:
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ConflictError(f"{path} is no file: a backup cannot hold it")
    return file


def _described(name: str, path: Path) -> BackupFile:
    with _open(path) as file:
        octets = os.fstat(file.fileno()).st_size
        if octets > MAX_FILE_OCTETS and name != DATABASE:
            raise ConflictError(f"{path} is too large for a backup")
        return BackupFile(name, octets, hashlib.file_digest(file, "sha256").hexdigest())


def _write(home: Home, copy: Path, manifest: Manifest, sealed: SealedWriter, tell: Progress) -> None:
    encoded = manifest.encode()
    sealed.write(len(encoded).to_bytes(4, "big") + encoded)
    for number, one in enumerate(manifest.files):
        tell("files", number, len(manifest.files))
        digest = hashlib.sha256()
        with _open(copy if one.path == DATABASE else home.path / one.path) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                sealed.write(block)
        if digest.hexdigest() != one.sha256:
            raise UnavailableError(f"{one.path} was changed while it was read: make the backup again")
    sealed.finish()


@contextmanager
def _new_file(path: Path) -> Iterator[BufferedRandom]:
    """Give a file to write; it gets its name where the block ends well, and never in place of another."""
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE_MODE)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            os.fsync(file.fileno())
        try:
            os.link(hidden, path)
        except FileExistsError as error:
            raise ConflictError(f"{path} is there already; a backup overwrites nothing") from error
    finally:
        hidden.unlink(missing_ok=True)
    sync_folder(path.parent)
