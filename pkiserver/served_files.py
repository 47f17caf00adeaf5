"""The files of the public folder as they are served, for who takes them to another machine or web server.

They are replaced by renaming others over them: what is open stays as it is.
"""

import os
import re
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pkiserver.errors import ConflictError
from pkiserver.home import PUBLIC_FOLDERS

MAX_FILE_OCTETS: Final = 256 << 20  # a CRL of 5 million entries; a larger one must be sharded
SERVED_NAME: Final = re.compile(  # within the public folder
    r"(?:crl|ca|register)/[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(?:crl|cer|p7c|pem|csv|gz|html)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A file that is served, open, by its name within the public folder."""

    name: str
    file: BinaryIO
    status: os.stat_result


def open_served(public: Path, stack: ExitStack) -> list[ServedFile]:
    """Open all files that are served, in the order of their names; `stack` closes them.

    A compressed form that is not of the file beside it is left out. `ConflictError` for what has such a name
    and cannot be served.
    """
    found: dict[str, ServedFile] = {}
    paths = (path for folder in PUBLIC_FOLDERS for path in (public / folder).glob("*"))
    for name in sorted(path.relative_to(public).as_posix() for path in paths):
        if SERVED_NAME.fullmatch(name):
            file = stack.enter_context(os.fdopen(open_plain(public / name, os.O_RDONLY), "rb"))
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_OCTETS:
                raise ConflictError(f"{public / name} is no file that can be served")
            found[name] = ServedFile(name, file, status)
    return [one for one in found.values() if not _is_left_behind(one, found)]


def open_plain(path: str | Path, flags: int) -> int:
    """Open neither links nor, waiting, pipes: nothing but files is published."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _is_left_behind(one: ServedFile, found: Mapping[str, ServedFile]) -> bool:
    """Return whether a compressed form is of a former file: its time is that of the file it was made of."""
    plain = found.get(one.name.removesuffix(".gz"))
    if plain is None or plain is one:
        return False
    return plain.status.st_mtime_ns != one.status.st_mtime_ns
