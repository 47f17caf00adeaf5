"""Reads the passphrase or PIN, in the worker only."""

import os
import stat
from pathlib import Path
from typing import Final

from pkiserver.signer.errors import SignerSecretError

MAX_SECRET_BYTES: Final = 4096  # a passphrase or PIN with its line end, not some other file


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
