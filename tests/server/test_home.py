"""The home folder: files replaced whole or not at all, and one lock for one writer."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pkiserver import home as module
from pkiserver.errors import ConflictError
from pkiserver.home import (
    PRIVATE_FILE_MODE,
    PRIVATE_FOLDER_MODE,
    PUBLIC_FILE_MODE,
    PUBLIC_FOLDER_MODE,
    Home,
    HomeLock,
    is_at_work,
    write_file,
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "new" / "home")
    made.make()
    return made


def assert_modes(home: Home) -> None:
    private = (home.keys, home.tls, home.administrator, home.run, home.profiles, home.responses)
    for folder in (home.path, *private):
        assert mode_of(folder) == PRIVATE_FOLDER_MODE
    for folder in (home.public, home.public / "crl", home.public / "ca"):
        assert mode_of(folder) == PUBLIC_FOLDER_MODE


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Sets the umask until the end of the test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: Callable[[int], int], mask: int) -> None:
    umask(mask)
    home = Home(tmp_path / "home")
    home.make()
    assert_modes(home)
    for mode in (PRIVATE_FILE_MODE, PUBLIC_FILE_MODE):
        write_file(home.path / "file", b"", mode)
        assert mode_of(home.path / "file") == mode


def test_folders_that_are_there_are_closed(tmp_path: Path, umask: Callable[[int], int]) -> None:
    umask(0o000)
    home = Home(tmp_path / "home")
    for folder in (home.path, home.keys, home.public):
        folder.mkdir(mode=0o777)
    home.path.chmod(0o755)
    home.make()
    assert_modes(home)


def test_making_a_home_twice(home: Home) -> None:
    (home.keys / "kept").touch()
    home.make()
    assert (home.keys / "kept").exists()
    assert_modes(home)
    assert not home.exists()
    home.configuration.touch()
    assert home.exists()


@pytest.mark.parametrize("mode", [PRIVATE_FILE_MODE, PUBLIC_FILE_MODE])
def test_writing_and_replacing_a_file(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    for content in (b"a long first content", b"second", b""):
        write_file(path, content, mode)
        assert path.read_bytes() == content
        assert mode_of(path) == mode
    assert os.listdir(tmp_path) == ["file"]


def test_replacing_a_file_makes_a_public_one_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_file(path, b"secret", PRIVATE_FILE_MODE)
    assert mode_of(path) == PRIVATE_FILE_MODE


def test_who_has_the_old_file_open_keeps_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"old content", PUBLIC_FILE_MODE)
    with path.open("rb") as reader:
        assert reader.read(3) == b"old"
        write_file(path, b"NEW CONTENT", PUBLIC_FILE_MODE)
        assert reader.read() == b" content"
    assert path.read_bytes() == b"NEW CONTENT"


def test_a_reader_sees_the_old_or_the_new_and_never_a_part(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = (b"a" * 200_000, b"b" * 100_000)
    write_file(path, contents[0], PUBLIC_FILE_MODE)

    def replace() -> None:
        for number in range(40):
            write_file(path, contents[number % 2], PUBLIC_FILE_MODE)

    writer = threading.Thread(target=replace)
    writer.start()
    seen = set()
    while writer.is_alive():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= set(contents)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file"
    write_file(path, b"old", PUBLIC_FILE_MODE)

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        if step == "fsync":
            patched.setattr(module.os, "fsync", fails)
        else:
            patched.setattr(Path, "replace", fails)
        with pytest.raises(OSError, match="No space"):
            write_file(path, b"new", PUBLIC_FILE_MODE)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_content_and_folder_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content before the file takes its name, the folder after."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content")
        fsync(descriptor)

    def watched_replace(path: Path, target: Path) -> Path:
        steps.append("replace")
        return replace(path, target)

    monkeypatch.setattr(module.os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    write_file(tmp_path / "file", b"content", PUBLIC_FILE_MODE)
    assert steps == ["content", "replace", "folder"]


def test_what_a_crash_left_is_no_obstacle(tmp_path: Path) -> None:
    leftover = tmp_path / f".key.{os.getpid()}.new"
    leftover.write_bytes(b"a longer content of a crashed run")
    leftover.chmod(0o644)
    write_file(tmp_path / "key", b"secret", PRIVATE_FILE_MODE)
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert mode_of(tmp_path / "key") == PRIVATE_FILE_MODE
    assert os.listdir(tmp_path) == ["key"]


def lock_in_another_process(home: Home) -> str:
    program = (
        "import sys\nfrom pathlib import Path\nfrom pkiserver.errors import ConflictError\n"
        "from pkiserver.home import Home, HomeLock\n"
        "try:\n    with HomeLock(Home(Path(sys.argv[1]))): print('locked')\n"
        "except ConflictError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(home.path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_one_process_holds_the_lock(home: Home) -> None:
    with HomeLock(home):
        assert lock_in_another_process(home) == (
            "another pkiserver process works on this home; wait for it, or stop it first"
        )
    assert lock_in_another_process(home) == "locked"


def test_looking_whether_somebody_is_at_work(home: Home) -> None:
    assert not is_at_work(home)
    with HomeLock(home):
        assert is_at_work(home)
    assert not is_at_work(home)
    assert lock_in_another_process(home) == "locked"


def test_the_lock_is_exclusive_in_one_process_too(home: Home) -> None:
    with HomeLock(home) as held:
        with pytest.raises(ConflictError, match="another pkiserver process"), HomeLock(home):
            pass
        assert mode_of(home.run / "lock") == PRIVATE_FILE_MODE
        assert held is not None
    with HomeLock(home):
        pass


def test_an_error_under_the_lock_releases_it(home: Home) -> None:
    with pytest.raises(LookupError), HomeLock(home):
        raise LookupError
    with HomeLock(home):
        pass


def test_children_do_not_inherit_the_lock(home: Home) -> None:
    """A signer or worker that outlives a killed server must not keep the home locked."""
    with HomeLock(home):
        program = "print('runs', flush=True); input()"
        child = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            close_fds=False,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "runs\n"
    try:
        with HomeLock(home):
            pass
    finally:
        child.communicate("\n")


def test_two_homes_have_two_locks(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.make()
    with HomeLock(home), HomeLock(other):
        pass
