"""Makes a home of a backup: all of it is verified first, then it appears under its name at once."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from pkiserver import audit
from pkiserver.audit import ChainVerifier
from pkiserver.backup.manifest import DATABASE, MAX_MANIFEST_OCTETS, BackupFile, Manifest
from pkiserver.backup.sealed import DamagedBackupError, SealedReader
from pkiserver.errors import ConflictError
from pkiserver.home import PRIVATE_FILE_MODE, PRIVATE_FOLDER_MODE, PUBLIC_FILE_MODE, Home, sync_folder
from pkiserver.progress import Progress
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import crls, status_events
from store.database import Database, Transaction, read_only
from store.snapshot import check_copy

_PAGE: Final = 2000  # audit records
_BLOCK: Final = 1 << 20
Keep = Callable[[BackupFile, bytes], None]  # a file and the next octets of it


def verify_backup(source: BinaryIO, passphrase: str, tell: Progress) -> Manifest:
    """Read a backup to its end and return what it holds; writes nothing. `DamagedBackupError`."""
    return _read(SealedReader(source, passphrase), tell, lambda _file, _block: None)


async def restore_backup(
    source: BinaryIO, passphrase: str, home: Home, by: str, now: datetime, tell: Progress
) -> Manifest:
    """Make the home `home`, which must not be there or be empty, of a backup; return what it held.

    Everything is verified before anything is written, and again as it is: the seals, the files, the database,
    the audit chain. The home appears whole under its name, or not at all. The audit log tells of it. Raises
    `DamagedBackupError`, `ConflictError`, `StorageError`, `ChainError`, `OSError`.
    """
    _require_empty(home.path)
    reader = SealedReader(source, passphrase)
    manifest = _read(reader, tell, lambda _file, _block: None)
    staging = home.path.with_name(f".{home.path.name}.restore-{secrets.token_hex(4)}")
    staging.mkdir(mode=PRIVATE_FOLDER_MODE)
    try:
        reader.rewind()
        writer = _FileWriter(staging)
        if _read(reader, tell, writer.keep) != manifest:
            raise DamagedBackupError("the backup was changed while it was read")
        writer.close()
        staged = Home(staging)
        _check_database(staged.database, manifest, tell)
        staged.make()
        await _record(staged, manifest, by, now)
        _sync(staging)
        _require_empty(home.path)
        staging.rename(home.path)
        sync_folder(home.path.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def _require_empty(path: Path) -> None:
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise ConflictError(f"{path} is there already and not empty: a backup is restored into a new home")


def _read(reader: SealedReader, tell: Progress, keep: Keep) -> Manifest:
    length = int.from_bytes(reader.exactly(4), "big")
    if length > MAX_MANIFEST_OCTETS:
        raise DamagedBackupError("the backup's list of files is too long")
    manifest = Manifest.parse(reader.exactly(length))
    for number, one in enumerate(manifest.files):
        tell("files", number, len(manifest.files))
        _read_file(reader, one, keep)
    reader.finish()
    return manifest


def _read_file(reader: SealedReader, one: BackupFile, keep: Keep) -> None:
    digest, left = hashlib.sha256(), one.octets
    keep(one, b"")  # an empty file too
    while left:
        block = reader.read(min(left, _BLOCK))
        if not block:
            raise DamagedBackupError("the backup ends early")
        digest.update(block)
        keep(one, block)
        left -= len(block)
    if digest.hexdigest() != one.sha256:
        raise DamagedBackupError(f"{one.path} in the backup is not what its list of files says")


class _FileWriter:
    """Writes files one after another, durably, each closed to others but those that are served."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = ""
        self._file: BinaryIO | None = None

    def keep(self, one: BackupFile, block: bytes) -> None:
        if one.path != self._path:
            self.close()
            self._file, self._path = self._made(one.path), one.path
        if self._file is not None:
            self._file.write(block)

    def close(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _made(self, name: str) -> BinaryIO:
        path = self._folder / name
        path.parent.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        mode = PUBLIC_FILE_MODE if name.startswith("public/") else PRIVATE_FILE_MODE
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")
        os.fchmod(file.fileno(), mode)
        return file


def _check_database(path: Path, manifest: Manifest, tell: Progress) -> None:
    """Hold the database to itself and to the manifest: pages, events, the whole audit chain to its head."""
    check_copy(path)
    verifier = ChainVerifier(manifest.head)

    def check(tx: Transaction) -> int:
        while page := audit_chain.after(tx, verifier.records, _PAGE):
            verifier.check(page)
            tell("audit records", verifier.records, manifest.head.sequence)
        return status_events.head(tx)

    events = read_only(path, check)
    if verifier.finish() != manifest.head or events != manifest.events:
        raise DamagedBackupError("the database in the backup is not the one that its list of files speaks of")


async def _record(staged: Home, manifest: Manifest, by: str, now: datetime) -> None:
    """Note the restoring, and have CRLs numbered above all that the lost home published since.

    RFC 5280 §5.2.3: a number stands for one CRL and only grows. The seconds since 1970 are more than the CRLs
    that a scope ever had: it gets one a second at most, also after a restoring before this one.
    """

    def record(tx: Transaction) -> None:
        audit_chain.append(tx, entry)
        crls.use_numbers_after(tx, int(now.timestamp()))

    database = Database(staged.path / DATABASE)
    try:
        entry = audit.entry(
            now,
            by,
            "home.restore",
            made_at=manifest.made_at,
            head=manifest.head.sequence,
            events=manifest.events,
            program=manifest.program,
        )
        await Storage(database).write(record)
    finally:
        database.close()


def _sync(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        sync_folder(Path(path))
