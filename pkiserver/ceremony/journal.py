"""What a ceremony has begun and done, on disk before and after each step: so that one is taken up again.

A file of JSON lines, each durable before the next thing is done. A key that was begun may be there. A
TBS that was begun may have been signed, and is signed again: no other certificate comes of it. Nothing
authenticates the journal: whoever can write it can have a key that was there before taken for one made
here. So its folder is closed to others, and the transcript tells when a ceremony was taken up again.
"""

import base64
import fcntl
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pkiserver.clock import utc_text
from pkiserver.errors import ConflictError
from pkiserver.home import PRIVATE_FILE_MODE, PRIVATE_FOLDER_MODE

MAX_JOURNAL_OCTETS: Final = 64 << 20
ALTERED: Final = "the journal of the ceremony was altered: nothing more is done by it"
_NAME: Final = "journal.jsonl"
_TAKEN_UP: Final = "taken up"
_Step = tuple[str, str]  # its kind and its name


class Journal:
    """The journal of one ceremony in its folder; held by one process at a time."""

    def __init__(self, folder: Path, file_sha256: str, now: datetime) -> None:
        """Begin the ceremony of a file in a new folder, or take up the one of the same file that is there.

        `ConflictError` for a folder of another ceremony, of anything else, or where another process works.
        """
        self._begun: dict[_Step, bytes] = {}
        self._done: dict[_Step, bytes] = {}
        path = folder / _NAME
        if folder.exists() and not path.exists() and any(folder.iterdir()):
            raise ConflictError(f"{folder} holds other things: a ceremony has a folder of its own")
        folder.mkdir(mode=PRIVATE_FOLDER_MODE, exist_ok=True)
        _require_own(folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self._descriptor = os.open(path, flags, PRIVATE_FILE_MODE)
        try:
            self._take(file_sha256, now)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _take(self, file_sha256: str, now: datetime) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError("another process is at this ceremony") from error
        lines = self._lines()
        if not lines:
            self._write({"file": file_sha256, "at": utc_text(now)})
            self.begun_at, self.is_taken_up = now, False
            return
        self.is_taken_up = True
        try:
            if lines[0]["file"] != file_sha256:
                raise ConflictError("this folder is of a ceremony by another file: name another folder")
            self.begun_at = datetime.strptime(lines[0]["at"], "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC)
            for line in lines[1:]:
                known = self._done if line["done"] else self._begun
                known[line["kind"], line["name"]] = base64.b64decode(line["value"], validate=True)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConflictError(ALTERED) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Return whether a ceremony was begun in a folder."""
        return (folder / _NAME).exists()

    def begun(self, kind: str, name: str) -> bytes | None:
        """Return what was noted when a step was begun, None where it was not."""
        return self._begun.get((kind, name))

    def done(self, kind: str, name: str) -> bytes | None:
        """Return what came of a step, None where it has not been done."""
        return self._done.get((kind, name))

    def take_up(self, now: datetime) -> None:
        """Note that a ceremony that was begun before goes on now; on disk when this returns."""
        if self.is_taken_up:
            self.finish(_TAKEN_UP, str(len(self.taken_up())), utc_text(now).encode())

    def taken_up(self) -> list[str]:
        """Return each time at which the ceremony was taken up again, as text."""
        return [
            value.decode(errors="replace") for (kind, _), value in self._done.items() if kind == _TAKEN_UP
        ]

    def begin(self, kind: str, name: str, value: bytes) -> None:
        """Note that a step is about to be done; on disk when this returns."""
        self._note(kind, name, value, done=False)
        self._begun[kind, name] = value

    def finish(self, kind: str, name: str, value: bytes) -> None:
        """Note what came of a step; on disk when this returns."""
        self._note(kind, name, value, done=True)
        self._done[kind, name] = value

    def _note(self, kind: str, name: str, value: bytes, *, done: bool) -> None:
        text = base64.b64encode(value).decode("ascii")
        self._write({"kind": kind, "name": name, "done": done, "value": text})

    def _write(self, line: dict[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]
        os.fsync(self._descriptor)

    def _lines(self) -> list[dict[str, Any]]:
        """Return what is noted; a last line without its end was being written when all ended."""
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            data = file.read(MAX_JOURNAL_OCTETS + 1)
        if len(data) > MAX_JOURNAL_OCTETS:
            raise ConflictError("the journal of the ceremony is too long")
        whole = data[: data.rfind(b"\n") + 1]
        os.ftruncate(self._descriptor, len(whole))
        try:
            lines = [json.loads(line) for line in whole.split(b"\n")[:-1]]
        except (ValueError, RecursionError) as error:
            raise ConflictError(ALTERED) from error
        if not all(isinstance(line, dict) for line in lines):
            raise ConflictError(ALTERED)
        return lines


def _require_own(folder: Path) -> None:
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConflictError(f"others may write in {folder}: a ceremony has a folder of its own")
