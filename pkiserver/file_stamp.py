"""By what a file is known to have changed since it was read."""

from pathlib import Path

FileStamp = tuple[int, int, int] | None  # inode, size and time of change; None where there is no file


def file_stamp(path: Path) -> FileStamp:
    """Return the stamp of a file as it is now."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
