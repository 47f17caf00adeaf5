"""What stands first in a backup: what it is of, and each file with its length and SHA-256."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Final, Self

from pkiserver.audit import Head
from pkiserver.backup.sealed import DamagedBackupError
from pkiserver.clock import utc_text
from pkiserver.errors import RefusedError

DATABASE: Final = "pkiserver.db"
MAX_FILES: Final = 10_000  # keys, profiles and small files of the operator
MAX_FILE_OCTETS: Final = 256 << 20  # of any file but the database: a CRL of an outside root
MAX_DATABASE_OCTETS: Final = 1 << 40
MAX_MANIFEST_OCTETS: Final = 8 << 20

_PART: Final = re.compile(r"[^/\x00-\x1f\x7f]{1,255}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class BackupFile:
    """One file of a backup, by its path within the home."""

    path: str
    octets: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds; the database comes first. `outside` are files that the home needs and has not."""

    made_at: str  # RFC 3339
    made_by: str
    program: str
    head: Head  # the last audit record in the copy of the database
    events: int  # the last status event
    files: tuple[BackupFile, ...]
    outside: tuple[str, ...]

    def encode(self) -> bytes:
        """Return the manifest as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True).encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the manifest in some octets; `DamagedBackupError` where it is none or over a bound."""
        try:
            values = json.loads(data)
            found = cls(
                made_at=utc_text(datetime.strptime(values["made_at"], "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC)),
                made_by=str(values["made_by"]),
                program=str(values["program"]),
                head=Head.parse(json.dumps(values["head"])),
                events=_whole(values["events"], MAX_DATABASE_OCTETS),
                files=tuple(_file(one) for one in values["files"]),
                outside=tuple(str(one) for one in values["outside"]),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError, RefusedError) as error:
            raise DamagedBackupError("the backup's list of files cannot be read") from error
        found._check()
        return found

    def _check(self) -> None:
        paths = [one.path for one in self.files]
        if paths[:1] != [DATABASE] or len(set(paths)) != len(paths) or len(paths) > MAX_FILES:
            raise DamagedBackupError("the backup's list of files is not as it should be")


def _whole(value: Any, limit: int) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError("a number is out of range")
    return value


def _file(values: Mapping[str, Any]) -> BackupFile:
    path, digest = values["path"], values["sha256"]
    parts = PurePosixPath(path).parts
    if "/".join(parts) != path or not all(
        _PART.fullmatch(part) and part not in ("..", ".") for part in parts
    ):
        raise ValueError("a path leads out of the home")
    if _SHA256.fullmatch(digest) is None:
        raise ValueError("no SHA-256")
    limit = MAX_DATABASE_OCTETS if path == DATABASE else MAX_FILE_OCTETS
    return BackupFile(path, _whole(values["octets"], limit), digest)
