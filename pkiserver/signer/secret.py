"""Reads the passphrase or PIN: in the worker, but for a PIN that is typed where the server is started."""

import ctypes
import getpass
import os
import resource
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from pkiserver.signer.errors import SignerSecretError
from pkiserver.signer.settings import SignerSettings

MAX_SECRET_BYTES: Final = 4096  # a passphrase or PIN with its line end, not some other file
_PR_SET_DUMPABLE: Final = 4  # <linux/prctl.h>


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a worker has its secret from. A file is read anew at each log-in, for the PIN may change."""

    what: str
    file: str | None
    remembered: str | None = field(repr=False)

    @classmethod
    def of(cls, settings: SignerSettings, typed: bytes | None = None) -> Self:
        """Return the source that the settings name; `typed` is the PIN where a person was asked for it."""
        software = settings.store == "software"
        what = "passphrase" if software else "PIN"
        file = settings.passphrase_file if software else settings.pin_file
        if file is not None:
            return cls(what, file, None)
        if settings.pin_prompt:
            return cls(what, None, (typed or b"").decode(errors="replace"))
        return cls(what, None, read_secret(what, None, settings.secret_env))

    def read(self) -> str:
        """Return the secret; `SignerSecretError` as for `read_secret`."""
        if self.file is not None:
            return read_secret(self.what, self.file, None)
        if not self.remembered:
            raise SignerSecretError(f"the {self.what} is empty")
        return self.remembered


def forbid_dumps() -> None:
    """Keep what this process knows out of core files, and out of debuggers of the same user, for good."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise SystemExit("core dumps cannot be forbidden")


def ask_secret(what: str) -> bytes:
    """Return what a person types unseen; `SignerSecretError` where nobody sits at a terminal.

    This process then holds a secret: from now on it dumps no core (`forbid_dumps`).
    """
    if not sys.stdin.isatty():
        raise SignerSecretError(f"the {what} is to be typed, and there is no terminal: name its pin-source")
    forbid_dumps()
    return getpass.getpass(f"{what}: ").encode()[:MAX_SECRET_BYTES]


def read_secret(what: str, file: str | None, variable: str | None) -> str:
    """Return the secret from a file (without its line end) or an environment variable.

    A variable is removed from this process's environment when read. `SignerSecretError` where the
    secret is missing, empty, too long or not UTF-8, or where users outside owner and group may open it.
    """
    secret = _from_file(what, Path(file)) if file else _from_variable(what, variable or "")
    if not secret:
        raise SignerSecretError(f"the {what} is empty")
    return secret


def _from_variable(what: str, variable: str) -> str:
    secret = os.environ.pop(variable, None)
    if secret is None:
        raise SignerSecretError(f"the environment variable of the {what} is not set")
    return secret


def _from_file(what: str, path: Path) -> str:
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            content = stream.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SignerSecretError(f"the {what} file cannot be read: {error.strerror}") from error
    if mode & stat.S_IRWXO:
        raise SignerSecretError(f"the {what} file is open to others: chmod 600 it")
    if len(content) > MAX_SECRET_BYTES:
        raise SignerSecretError(f"the {what} file is too long")
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise SignerSecretError(f"the {what} file is not UTF-8") from error
