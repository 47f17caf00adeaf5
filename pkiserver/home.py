"""The home folder: where everything of one installation lies, and the lock that its one writer holds."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Literal, Self

from pkiserver.errors import ConflictError

PRIVATE_FOLDER_MODE: Final = 0o700
PUBLIC_FOLDER_MODE: Final = 0o755
PRIVATE_FILE_MODE: Final = 0o600
PUBLIC_FILE_MODE: Final = 0o644
PUBLIC_FOLDERS: Final = ("ca", "crl", "register")  # within `public`


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one installation."""

    path: Path

    @property
    def configuration(self) -> Path:
        return self.path / "pkiserver.toml"

    @property
    def profiles(self) -> Path:
        """The operator's own certificate profiles, beside the shipped ones."""
        return self.path / "profiles"

    @property
    def database(self) -> Path:
        return self.path / "pkiserver.db"

    @property
    def responses(self) -> Path:
        return self.path / "responses"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def credential_key(self) -> Path:
        """The key under which the database keeps the secrets of CMP's credentials."""
        return self.keys / "credentials.key"

    @property
    def public(self) -> Path:
        """What the status plane serves as files: `crl/`, `ca/` and `register/`."""
        return self.path / "public"

    @property
    def tls(self) -> Path:
        return self.path / "tls"

    @property
    def administrator(self) -> Path:
        return self.path / "administrator"

    @property
    def decrypt_keys(self) -> Path:
        """Keys that clients share with the operator, by which serverkeygen encrypts for them."""
        return self.path / "decrypt-keys"

    @property
    def personal_data_key(self) -> Path:
        """What personal data of people are encrypted with, and found by; made with the first of them."""
        return self.keys / "personal-data.key"

    @property
    def civil_registry(self) -> Path:
        """The civil registry's file, where no other registry is connected: JSON lines."""
        return self.path / "civil-registry.jsonl"

    @property
    def letters(self) -> Path:
        """What would be sent, where no way of sending is configured: JSON lines."""
        return self.path / "letters.jsonl"

    @property
    def letter_templates(self) -> Path:
        """Templates that go before those that are shipped."""
        return self.path / "letters"

    @property
    def explanations(self) -> Path:
        """The operator's own texts of what is explained to holders, a file a version."""
        return self.path / "explanations"

    @property
    def run(self) -> Path:
        """Lock and control socket; nothing in it outlives a start."""
        return self.path / "run"

    @property
    def endpoints(self) -> Path:
        """Where the running server listens, as JSON."""
        return self.run / "endpoints.json"

    @property
    def status_endpoints(self) -> Path:
        """The same of a server of the status role, which may run beside another."""
        return self.run / "status-endpoints.json"

    def exists(self) -> bool:
        """True when `init` was here."""
        return self.configuration.exists()

    def only_serves_status(self) -> bool:
        """True for the home of a status machine: `init` was never here, it would have made these first."""
        return not self.database.exists() and not self.keys.exists()

    def make(self) -> None:
        """Make the folders that are missing, and close all to others but those of `public`.

        Whatever the umask, and for folders that are there already: a home may have been made by hand. The
        mode of a folder that is not ours is its owner's affair.
        """
        private = (self.keys, self.tls, self.administrator, self.run, self.profiles, self.responses)
        for folder in (self.path, *private):
            _make_folder(folder, PRIVATE_FOLDER_MODE)
        self.make_public()

    def make_public(self) -> None:
        """Make the folders of `public` where they are missing, open to all."""
        for folder in (self.public, *(self.public / name for name in PUBLIC_FOLDERS)):
            _make_folder(folder, PUBLIC_FOLDER_MODE)


def _make_folder(path: Path, mode: int) -> None:
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    found = path.stat()
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != mode:
        path.chmod(mode)


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Replace a file atomically and durably: readers see the old bytes or the new, never a part.

    It has `mode` whatever the umask: that of the process closes files to others, and some are public.
    """
    with replaced_file(path, mode) as file:
        file.write(content)


@contextmanager
def replaced_file(path: Path, mode: int) -> Iterator[BinaryIO]:
    """Give a file to write; it takes the place of `path`, as in `write_file`, where the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)  # left by a crash, perhaps with another mode
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


Role = Literal["writer", "status", "backup"]


def is_at_work(home: Home, role: Role = "writer") -> bool:
    """Return whether some process holds this lock of a home; needs no write access."""
    try:
        descriptor = os.open(_lock_path(home, role), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock_path(home: Home, role: Role) -> Path:
    return home.run / ("lock" if role == "writer" else f"{role}.lock")


class HomeLock:
    """The exclusive lock of a home: who holds it is the one writer.

    With `role="status"` it is another lock, of the one server that serves status alone and writes nothing;
    with "backup" that of the one backup that is being made.
    """

    def __init__(self, home: Home, role: Role = "writer") -> None:
        self._path = _lock_path(home, role)
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock; `ConflictError` when another process holds it."""
        self._path.parent.mkdir(mode=PRIVATE_FOLDER_MODE, exist_ok=True)  # a backup has no `run/`
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ConflictError(
                "another pkiserver process works on this home; wait for it, or stop it first"
            ) from error
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
