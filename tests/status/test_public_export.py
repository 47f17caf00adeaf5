"""The export of public files: the same octets and times, only what changed, never an older CRL unasked."""

import gzip
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pkiserver.core import Core
from pkiserver.errors import ConflictError, NotFoundError
from pkiserver.home import PUBLIC_FOLDERS, Home
from pkiserver.progress import silent
from pkiserver.status.public_export import Exported, export_public

if TYPE_CHECKING:
    from tests.conftest import FakeClock

CRL = "crl/infrastructure.crl"


@pytest.fixture
async def published(core: Core) -> Core:
    """A core with CRLs, a compressed one among them, and a daily file of the register."""
    await core.crl_publisher.work()
    public = core.home.public
    (public / f"{CRL}.gz").write_bytes(gzip.compress((public / CRL).read_bytes()))
    time_ns = (public / CRL).stat().st_mtime_ns
    os.utime(public / f"{CRL}.gz", ns=(time_ns, time_ns))
    (public / "register" / "2026-03-01.csv.gz").write_bytes(gzip.compress(b"sequence\n"))
    (public / "crl" / ".infrastructure.crl.7.new").write_bytes(b"half of a CRL")
    return core


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    found = (path for name in PUBLIC_FOLDERS for path in (folder / name).glob("[!.]*"))
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in found
    }


def export(core: Core, target: Path, *, force: bool = False) -> Exported:
    return export_public(core.home, target, core.clock.now(), silent, force=force)


async def test_the_same_files_open_to_all(published: Core, tmp_path: Path) -> None:
    target = tmp_path / "www" / "pki"
    exported = export(published, target)
    assert files(target) == files(published.home.public)
    assert set(exported.written) == set(files(target))
    assert exported.octets == sum(len(content) for content, _ in files(target).values())
    assert (exported.unchanged, exported.stale) == (0, ())
    assert not (target / "crl" / ".infrastructure.crl.7.new").exists()
    for path in target.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)


async def test_only_what_changed(published: Core, tmp_path: Path, clock: "FakeClock") -> None:
    export(published, tmp_path / "www")
    (tmp_path / "www" / "robots.txt").write_text("of another")
    inodes = {path: path.stat().st_ino for path in (tmp_path / "www").rglob("*") if path.is_file()}
    assert export(published, tmp_path / "www").written == ()
    clock.advance(timedelta(minutes=1))
    await published.crl_publisher.publish("infrastructure", "test")
    exported = export(published, tmp_path / "www")
    assert CRL in exported.written
    assert not any(name.startswith("ca/") for name in exported.written)
    assert files(tmp_path / "www").keys() == files(published.home.public).keys() - {f"{CRL}.gz"}
    for path, inode in inodes.items():
        if path.exists() and path.relative_to(tmp_path / "www").as_posix() not in exported.written:
            assert path.stat().st_ino == inode
    assert (tmp_path / "www" / "robots.txt").read_text() == "of another"


async def test_a_compressed_form_of_a_former_crl_is_not_left(
    published: Core, tmp_path: Path, clock: "FakeClock"
) -> None:
    export(published, tmp_path / "www")
    assert (tmp_path / "www" / f"{CRL}.gz").exists()
    clock.advance(timedelta(minutes=1))
    await published.crl_publisher.publish("infrastructure", "test")
    (published.home.public / f"{CRL}.gz").touch()  # that of before is still there, and not of this one
    export(published, tmp_path / "www")
    assert not (tmp_path / "www" / f"{CRL}.gz").exists()


async def test_force_writes_all_again(published: Core, tmp_path: Path) -> None:
    export(published, tmp_path / "www")
    exported = export(published, tmp_path / "www", force=True)
    assert set(exported.written) == set(files(published.home.public))


async def test_what_was_damaged_there_is_mended(published: Core, tmp_path: Path) -> None:
    export(published, tmp_path / "www")
    path = tmp_path / "www" / CRL
    found = path.stat()
    path.write_bytes(bytes(found.st_size))
    os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))
    assert export(published, tmp_path / "www").written == (CRL, f"{CRL}.gz")
    assert files(tmp_path / "www")[CRL] == files(published.home.public)[CRL]


async def test_a_later_crl_is_not_replaced_unasked(
    published: Core, tmp_path: Path, clock: "FakeClock"
) -> None:
    older = (published.home.public / CRL).read_bytes()
    clock.advance(timedelta(minutes=1))
    await published.crl_publisher.publish("infrastructure", "test")
    export(published, tmp_path / "www")
    later = files(tmp_path / "www")
    (published.home.public / CRL).write_bytes(older)  # as a home restored from a backup has it
    (published.home.public / "ca" / "new.cer").write_bytes(b"a certificate")
    with pytest.raises(ConflictError, match="later than"):
        export(published, tmp_path / "www")
    assert files(tmp_path / "www") == later
    export(published, tmp_path / "www", force=True)
    assert (tmp_path / "www" / CRL).read_bytes() == older


@pytest.mark.parametrize("place", [".", "public", "public/crl", "elsewhere/..", ".."])
async def test_never_into_the_home(published: Core, place: str) -> None:
    before = files(published.home.public)
    with pytest.raises(ConflictError, match="home"):
        export(published, published.home.path / place, force=True)
    assert files(published.home.public) == before


async def test_never_into_the_home_by_a_link(published: Core, tmp_path: Path) -> None:
    (tmp_path / "www").symlink_to(published.home.public)
    with pytest.raises(ConflictError, match="home"):
        export(published, tmp_path / "www")


async def test_crls_past_their_time_are_told(published: Core, tmp_path: Path, clock: "FakeClock") -> None:
    clock.advance(timedelta(days=4000))
    assert CRL in export(published, tmp_path / "www").stale


def test_a_home_without_public_files(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    with pytest.raises(NotFoundError, match="no public files"):
        export_public(home, tmp_path / "www", datetime(2026, 3, 1, tzinfo=UTC), silent, force=False)
    assert not (tmp_path / "www").exists()


async def test_a_link_among_the_files_is_not_followed(published: Core, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the server")
    (published.home.public / "ca" / "secret.pem").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match=r"secret\.pem"):
        export(published, tmp_path / "www")


async def test_nothing_is_written_through_a_link(published: Core, tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "www", tmp_path / "elsewhere"
    target.mkdir()
    elsewhere.mkdir()
    (target / "crl").symlink_to(elsewhere)
    for force in (False, True):
        with pytest.raises(ConflictError, match="is a link"):
            export(published, target, force=force)
    assert not list(elsewhere.iterdir())
    assert [path.name for path in target.iterdir()] == ["crl"]
