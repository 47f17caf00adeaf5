"""The home folder: where everything of one installation lies, and the lock that its one writer holds."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Literal, Self

from pkiserver.errors import ConflictError

PRIVATE_FOLDER_MODE: Final = 0o700
PRIVATE_FILE_MODE: Final = 0o600
PUBLIC_FILE_MODE: Final = 0o644


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
    def public(self) -> Path:
        """What the status plane serves as files: `crl/` and `ca/`."""
        return self.path / "public"

    @property
    def tls(self) -> Path:
        return self.path / "tls"

    @property
    def administrator(self) -> Path:
        return self.path / "administrator"

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

    def make(self) -> None:
        """Make the folders that are missing, private to the owner where they hold secrets."""
        for folder in (self.path, self.keys, self.tls, self.administrator, self.run, self.profiles):
            folder.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        for folder in (self.public / "crl", self.public / "ca", self.responses):
            folder.mkdir(parents=True, exist_ok=True)


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Replace a file atomically and durably: readers see the old bytes or the new, never a part."""
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
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class HomeLock:
    """The exclusive lock of a home: who holds it is the one writer.

    With `role="status"` it is another lock, of the one server that serves status alone and writes nothing.
    """

    def __init__(self, home: Home, role: Literal["writer", "status"] = "writer") -> None:
        self._path = home.run / ("lock" if role == "writer" else "status.lock")
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock; `ConflictError` when another process holds it."""
        self._path.parent.mkdir(mode=PRIVATE_FOLDER_MODE, exist_ok=True)
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
