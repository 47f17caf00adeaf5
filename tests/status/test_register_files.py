"""The daily files of the public register: when they are written, what is in them, and that they stay so."""

import csv
import gzip
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pkiserver.core import Core
from pkiserver.progress import silent
from pkiserver.status import register_files
from pkiserver.status.register import Register
from pkiserver.status.register_files import MARGIN, RegisterFiles
from store import register, status_events

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue

DAY = timedelta(days=1)
Write = Callable[[], Awaitable[None]]


@pytest.fixture
def folder(core: Core) -> Path:
    return core.home.public / "register"


@pytest.fixture
def write(core: Core, folder: Path) -> Write:
    """Does what a server that has just started does."""

    async def work() -> None:
        source = Register(core.storage, core.authorities)
        files = RegisterFiles(storage=core.storage, clock=core.clock, source=source, folder=folder)
        await files.work()

    return work


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(gzip.decompress(path.read_bytes()).decode("ascii").splitlines()))


def midnight_after(moment: datetime) -> datetime:
    return datetime(moment.year, moment.month, moment.day, tzinfo=UTC) + DAY


def day_file(folder: Path, moment: datetime) -> Path:
    return folder / f"{moment:%Y-%m-%d}.csv.gz"


async def test_a_day_is_written_when_it_is_over(
    core: Core, folder: Path, write: Write, issue: "Issue", clock: "FakeClock"
) -> None:
    clock.moment = midnight_after(clock.now()) + timedelta(hours=8)
    record = await issue(core)
    path = day_file(folder, clock.now())
    clock.moment = midnight_after(clock.now()) + MARGIN - timedelta(seconds=1)
    await write()
    assert not path.exists()
    clock.advance(timedelta(seconds=1))
    await write()
    (row,) = rows(path)
    head = await core.storage.read(status_events.head)
    assert row == {
        "sequence": str(head),
        "ca": "infrastructure",
        "serial": f"{record.serial:032x}",
        "state": "active",
        "reason": "",
        "at": f"{record_time(row):%Y-%m-%dT08:00:00Z}",
    }
    assert path.stat().st_mode & 0o777 == 0o644


async def test_the_page_is_there_before_the_first_day_is_over(core: Core, folder: Path, write: Write) -> None:
    await write()
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    assert "The first file comes after midnight" in (folder / "index.html").read_text()


def record_time(row: dict[str, str]) -> datetime:
    return datetime.fromisoformat(row["at"])


async def test_days_that_a_stopped_server_missed_are_written_empty_ones_too(
    core: Core, folder: Path, write: Write, issue: "Issue", clock: "FakeClock"
) -> None:
    first = await core.storage.read(register.first_time)
    assert first is not None
    clock.advance(3 * DAY)
    await issue(core)
    issued = clock.now()
    clock.advance(4 * DAY)
    await write()
    last = (clock.now() - MARGIN).date() - DAY
    want = [first.date() + number * DAY for number in range((last - first.date()).days + 1)]
    assert [path.name for path in sorted(folder.glob("*.csv.gz"))] == [f"{day}.csv.gz" for day in want]
    assert len(rows(day_file(folder, issued))) == 1
    assert rows(day_file(folder, issued + DAY)) == []


async def test_the_same_day_gives_the_same_octets(
    core: Core,
    folder: Path,
    write: Write,
    issue: "Issue",
    clock: "FakeClock",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock.advance(DAY)
    for _ in range(5):
        await issue(core)
    path = day_file(folder, clock.now())
    clock.advance(2 * DAY)
    await write()
    before = path.read_bytes()
    assert len(rows(path)) == 5
    path.unlink()
    clock.advance(timedelta(hours=3))
    monkeypatch.setattr(register_files, "PAGE", 2)
    await write()
    assert rows(path) == rows_of(before)
    path.unlink()
    monkeypatch.undo()
    await write()
    assert path.read_bytes() == before


def rows_of(packed: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(gzip.decompress(packed).decode("ascii").splitlines()))


async def test_a_late_event_has_the_file_of_its_day_made_anew(
    core: Core, folder: Path, write: Write, issue: "Issue", clock: "FakeClock"
) -> None:
    record = await issue(core)
    issued = clock.now()
    clock.advance(2 * DAY)
    await write()
    before = rows(day_file(folder, issued))
    await core.storage.write(
        lambda tx: status_events.append(
            tx,
            authority=record.authority,
            serial=record.serial,
            from_state="active",
            to_state="revoked",
            reason=1,
            effective_at=issued,
            actor="test",
        )
    )
    clock.advance(DAY)
    await write()
    added = [row for row in rows(day_file(folder, issued)) if row not in before]
    assert [(row["serial"], row["state"], row["reason"]) for row in added] == [
        (f"{record.serial:032x}", "revoked", "keyCompromise")
    ]


async def test_what_is_written_is_not_written_again(
    core: Core, folder: Path, write: Write, issue: "Issue", clock: "FakeClock"
) -> None:
    await issue(core)
    path = day_file(folder, clock.now())
    clock.advance(2 * DAY)
    await write()
    inode = path.stat().st_ino
    clock.advance(DAY)
    await write()
    assert path.stat().st_ino == inode


async def test_the_page_lists_them_newest_first(
    core: Core, folder: Path, write: Write, clock: "FakeClock"
) -> None:
    clock.advance(3 * DAY)
    await write()
    listed = re.findall(r'href="([^"]+)"', (folder / "index.html").read_text())
    assert listed == sorted((path.name for path in folder.glob("*.csv.gz")), reverse=True)
    assert len(listed) == 3


async def test_they_agree_with_the_feed_and_do_not_tell_of_a_second_hold(
    core: Core, folder: Path, write: Write, issue: "Issue", clock: "FakeClock"
) -> None:
    serial = f"{(await issue(core)).serial:x}"
    for owner in ("holder", "authority"):
        arguments = {"serial": serial, "ca": None, "by": owner}
        await core.commands.run("certificate.suspend", arguments, "user:operator", silent)
    entries = await Register(core.storage, core.authorities).after(0, 1000)
    clock.advance(2 * DAY)
    await write()
    written = [row for path in sorted(folder.glob("*.csv.gz")) for row in rows(path)]
    assert [(int(row["sequence"]), row["state"]) for row in written] == [
        (entry.sequence, entry.state) for entry in entries
    ]
    assert entries[-1].state == "suspended"
    assert entries[-2].state == "active"


async def test_a_folder_that_cannot_be_written_is_tried_again(
    core: Core, folder: Path, clock: "FakeClock"
) -> None:
    clock.advance(2 * DAY)
    folder.rmdir()
    source = Register(core.storage, core.authorities)
    files = RegisterFiles(storage=core.storage, clock=core.clock, source=source, folder=folder)
    await files.attempt()
    assert not folder.exists()
    folder.mkdir()
    await files.attempt()
    assert (folder / "index.html").exists()
