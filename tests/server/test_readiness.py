"""Issuing stands still while the clock is behind or the disk is full, and goes on by itself."""

import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pkiserver import audit, readiness
from pkiserver.clock import Clock
from pkiserver.errors import UnavailableError
from pkiserver.health import Cause
from pkiserver.readiness import ClockGuard, Readiness, StorageGuard, accept_clock, latest_record_time
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import facts
from store.database import Database

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
MIN_FREE = 64 << 20
BIG = "x" * 1_000_000


class SetClock(Clock):
    def __init__(self, moment: datetime = NOW) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


def gate_of(cause: Callable[[], Cause]) -> Readiness:
    made = Readiness()
    made.needs(cause)
    return made


# The clock


def test_a_clock_set_back_stops_issuing_until_it_has_caught_up() -> None:
    clock = SetClock()
    ready = gate_of(ClockGuard(clock, MINUTE, NOW).cause)
    ready.gate()
    clock.moment = NOW - 2 * MINUTE
    message = r"nothing is issued now: the clock is 0:02:00 behind the last record \(2026-03-01T12:00:00Z\)"
    with pytest.raises(UnavailableError, match=message):
        ready.gate()
    assert [(cause.name, cause.ok) for cause in ready.causes()] == [("clock", False)]
    clock.moment = NOW - MINUTE
    ready.gate()
    assert ready.causes() == [Cause("clock", ok=True)]


@pytest.mark.parametrize(("behind", "ok"), [(MINUTE, True), (MINUTE + SECOND, False)])
def test_the_tolerance(behind: timedelta, ok: bool) -> None:
    assert ClockGuard(SetClock(NOW - behind), MINUTE, NOW).cause().ok is ok


def test_the_clock_is_measured_by_the_latest_moment_that_was_seen() -> None:
    clock = SetClock()
    guard = ClockGuard(clock, MINUTE, NOW)
    clock.moment = NOW + 10 * MINUTE
    assert guard.cause().ok
    clock.moment = NOW + 8 * MINUTE
    assert not guard.cause().ok
    clock.moment = NOW + 9 * MINUTE
    assert guard.cause().ok


def test_small_steps_back_do_not_add_up_unseen() -> None:
    clock = SetClock()
    guard = ClockGuard(clock, MINUTE, NOW)
    clock.moment = NOW - MINUTE
    assert guard.cause().ok
    clock.moment = NOW - 2 * MINUTE
    assert not guard.cause().ok


def test_a_new_installation_starts_at_the_present() -> None:
    clock = SetClock()
    guard = ClockGuard(clock, MINUTE, None)
    assert guard.cause().ok
    clock.moment = NOW - 2 * MINUTE
    assert not guard.cause().ok


# The disk


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    database = Database(tmp_path / "test.db")
    yield Storage(database)
    database.close()


async def fill(storage: Storage) -> None:
    """Leave the database no room to grow, and have a write meet that."""
    await storage.write(lambda tx: tx.one("PRAGMA max_page_count=1"))  # holds it at the present size
    with pytest.raises(UnavailableError, match="nothing can be stored now; try again later"):
        await storage.write(lambda tx: facts.put(tx, "big", BIG))


async def make_room(storage: Storage) -> None:
    await storage.database.write(lambda tx: tx.one("PRAGMA max_page_count=1000000"))


def free(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    """Say that this much is free, for who is not root."""

    def statvfs(_: Path) -> os.statvfs_result:
        blocks = free_bytes // 4096
        return os.statvfs_result((4096, 4096, blocks * 2, blocks + 5, blocks, 0, 0, 0, 0, 255))

    monkeypatch.setattr(readiness.os, "statvfs", statvfs)


async def test_little_room_stops_issuing_until_there_is_more(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = gate_of(StorageGuard(storage, tmp_path, MIN_FREE).cause)
    free(monkeypatch, MIN_FREE)
    ready.gate()
    free(monkeypatch, MIN_FREE - 4096)
    with pytest.raises(
        UnavailableError, match="63 MiB free on the disk of the home, 64 MiB are needed; make room"
    ):
        ready.gate()
    assert [(cause.name, cause.ok) for cause in ready.causes()] == [("storage", False)]
    free(monkeypatch, MIN_FREE)
    ready.gate()


async def test_a_failed_write_stops_issuing_until_a_probe_succeeds(storage: Storage, tmp_path: Path) -> None:
    guard = StorageGuard(storage, tmp_path, 0)
    ready = gate_of(guard.cause)
    ready.gate()
    await fill(storage)
    with pytest.raises(UnavailableError, match=r"nothing is issued now: the last write failed: .* is full"):
        ready.gate()
    assert not guard.cause().ok
    await make_room(storage)
    assert not guard.cause().ok  # nobody has tried yet
    await guard.probe()
    ready.gate()
    assert guard.cause() == Cause("storage", ok=True)
    await storage.write(lambda tx: facts.put(tx, "big", BIG))


async def test_a_probe_that_fails_changes_nothing(storage: Storage, tmp_path: Path) -> None:
    guard = StorageGuard(storage, tmp_path, 0)
    await storage.write(lambda tx: tx.one("PRAGMA query_only=ON"))  # as a disk that went read-only
    await fill_failure(storage)
    await guard.probe()
    assert not guard.cause().ok
    connection = storage.database._connection
    assert connection is not None
    connection.execute("PRAGMA query_only=OFF")
    await guard.probe()
    assert guard.cause().ok


async def fill_failure(storage: Storage) -> None:
    with pytest.raises(UnavailableError):
        await storage.write(lambda tx: facts.put(tx, "any", ""))
    assert storage.failure is not None


async def test_no_probe_without_a_failure(storage: Storage, tmp_path: Path) -> None:
    before = storage.database.statistics.commits
    await StorageGuard(storage, tmp_path, 0).probe()
    assert storage.database.statistics.commits == before


async def test_any_write_that_succeeds_is_a_proof_too(storage: Storage, tmp_path: Path) -> None:
    guard = StorageGuard(storage, tmp_path, 0)
    await fill(storage)
    await make_room(storage)
    await storage.write(lambda tx: facts.put(tx, "small", ""))
    assert guard.cause().ok


async def test_an_error_of_the_work_itself_is_no_failure_of_the_disk(
    storage: Storage, tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError):
        await storage.write(lambda _: 1 // 0)
    with pytest.raises(UnavailableError):
        await storage.write(lambda tx: tx.execute("INSERT INTO facts (name) VALUES ('value is missing')"))
    assert StorageGuard(storage, tmp_path, 0).cause().ok


async def test_reads_go_on_while_writes_fail(storage: Storage) -> None:
    await storage.write(lambda tx: facts.put(tx, "kept", "yes"))
    await fill(storage)
    assert await storage.read(lambda tx: facts.get(tx, "kept")) == "yes"
    with pytest.raises(UnavailableError, match="cannot be read now") as refusal:
        await storage.read(lambda tx: tx.one("SELECT 1 FROM nowhere"))
    assert isinstance(refusal.value.__cause__ and refusal.value.__cause__.__cause__, sqlite3.Error)


# All together


def test_only_what_issuing_needs_stops_it() -> None:
    ready = Readiness()
    signer_ok = True
    ready.shows(lambda: Cause("crl", ok=False, detail="old"))
    ready.needs(lambda: Cause("signer", ok=signer_ok, detail="dead"))
    ready.gate()
    assert [(cause.name, cause.ok) for cause in ready.causes()] == [("signer", True), ("crl", False)]
    signer_ok = False
    with pytest.raises(UnavailableError, match="nothing is issued now: dead"):
        ready.gate()


async def test_the_time_of_the_last_record(storage: Storage) -> None:
    assert await latest_record_time(storage) is None
    for moment in (NOW, NOW + MINUTE):
        entry = audit.entry(moment, "tests", "something")
        await storage.write(lambda tx, entry=entry: audit_chain.append(tx, entry))
    assert await latest_record_time(storage) == NOW + MINUTE


async def test_a_clock_that_was_ahead_can_be_accepted(tmp_path: Path) -> None:
    """After `clock accept` issuing goes on, also after a restart, and a later step back is noticed again."""
    storage = Storage(Database(tmp_path / "pkiserver.db"))
    ahead = NOW + timedelta(days=400)
    await storage.write(lambda tx: audit_chain.append(tx, audit.entry(ahead, "tests", "wrong")))
    clock = SetClock(NOW)
    guard = ClockGuard(clock, MINUTE, await latest_record_time(storage))
    assert not guard.cause().ok
    assert "pkiserver clock accept" in guard.cause().detail
    await storage.write(lambda tx: accept_clock(tx, NOW))
    guard.accept()
    assert guard.cause().ok
    # The chain's own times do not go back: the next record still bears the wrong one.
    await storage.write(lambda tx: audit_chain.append(tx, audit.entry(NOW, "tests", "right")))
    assert await latest_record_time(storage) == NOW
    after_restart = ClockGuard(clock, MINUTE, await latest_record_time(storage))
    assert after_restart.cause().ok
    clock.moment = NOW - timedelta(hours=1)
    assert not after_restart.cause().ok
    storage.database.close()
