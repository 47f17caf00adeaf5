"""A folder that a command fills: it is there whole, or not at all."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from pkiserver.errors import ConflictError, RefusedError
from pkiserver.home import PRIVATE_FOLDER_MODE

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,40}\.[a-z]{2,5}|SHA256SUMS", re.ASCII)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder that becomes `path`, whole, when the block ends well."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConflictError(f"{path} is there already: what is written goes into a folder of its own")
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    try:
        folder.chmod(PRIVATE_FOLDER_MODE)
        yield folder
        folder.replace(path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class FolderWriter:
    """Writes the files of a command, one after another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = ""
        self._file: BinaryIO | None = None

    async def take(self, name: str, piece: bytes) -> None:
        if _NAME.fullmatch(name) is None:
            raise RefusedError("the server sent a file of an unknown name")
        if name != self._name or self._file is None:
            self.close()
            self._file = (self._folder / name).open("xb")
            self._name = name
        self._file.write(piece)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
