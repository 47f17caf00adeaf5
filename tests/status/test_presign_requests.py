"""What is asked of the presigner, how far it is, and what readiness says of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from status_plane import StatusPlane, status_plane

from pkiserver.core import Core
from pkiserver.errors import UnavailableError
from pkiserver.signer.errors import SignerUnavailableError
from pkiserver.status import presigner as module
from store import audit as audit_chain

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue


@pytest.fixture
async def plane(core: Core) -> AsyncIterator[StatusPlane]:
    async with status_plane(core) as opened:
        assert await opened.presigner.attempt()
        yield opened


async def hang(*_: Any) -> Any:
    raise SignerUnavailableError("the signer process hangs")


def generation(plane: StatusPlane) -> str:
    return (plane.core.home.responses / "current").read_text().strip()


class Asked:
    """One request, served by one round of work."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def progress(self, _text: str, done: int = 0, total: int = 0) -> None:
        self.told.append((done, total))

    async def of(self, plane: StatusPlane, *, everything: bool, authority: int | None = None) -> int:
        asked = asyncio.ensure_future(
            plane.presigner.presign(everything=everything, authority=authority, progress=self.progress)
        )
        await asyncio.sleep(0)
        await plane.presigner.attempt()
        return await asked


class TestRequests:
    async def test_nothing_is_due_twice(self, plane: StatusPlane, clock: "FakeClock") -> None:
        assert await Asked().of(plane, everything=False) == 0
        clock.advance(timedelta(days=3))
        asked = Asked()
        count = plane.table.count()
        assert await asked.of(plane, everything=False) == count
        assert asked.told[-1] == (count, count)
        assert [done for done, _ in asked.told] == sorted(done for done, _ in asked.told)

    async def test_everything_is_a_new_table(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock"
    ) -> None:
        record = await issue(plane.core)
        await plane.change("revoke", record)
        await plane.presigner.attempt()
        clock.advance(timedelta(seconds=1))
        before, count = generation(plane), plane.table.count()
        assert await Asked().of(plane, everything=True) == count
        assert generation(plane) != before
        assert plane.status(record.serial) == "revoked (superseded)"
        assert {times.oldest_this_update for times, _ in plane.presigner.times()} == {clock.now().timestamp()}
        assert plane.table.position() == plane.presigner.position == await plane.head()
        signatures = plane.core.signer.signatures
        assert await plane.presigner.attempt()  # and the cycle goes on from there
        assert plane.core.signer.signatures == signatures

    async def test_everything_of_one_authority(self, plane: StatusPlane, issue: "Issue") -> None:
        record = await issue(plane.core)
        await plane.presigner.attempt()
        before = generation(plane)
        ours = sum(1 for _ in plane.table.keys(record.authority))
        assert await Asked().of(plane, everything=True, authority=record.authority) == ours
        assert generation(plane) == before

    async def test_an_event_meanwhile_wins(
        self, plane: StatusPlane, issue: "Issue", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also one on a certificate whose response has been added to the new table already."""
        monkeypatch.setattr(module, "BATCH", 1)
        records = [await issue(plane.core, f"host-{number}.example.mn") for number in range(4)]
        await plane.presigner.attempt()
        first = min(records, key=lambda record: record.serial)
        sign_many, calls = plane.core.signer.sign_many, 0

        async def changing(label: str, data: list[bytes]) -> list[bytes]:
            nonlocal calls
            signed = await sign_many(label, data)
            if label.startswith("ocsp-infrastructure"):
                calls += 1
                if calls == 3:
                    await plane.change("revoke", first)
            return signed

        monkeypatch.setattr(plane.core.signer, "sign_many", changing)
        before = generation(plane)
        await Asked().of(plane, everything=True)
        assert calls > 4
        assert generation(plane) != before
        assert plane.status(first.serial) == "revoked (superseded)"
        assert plane.table.position() == await plane.head()

    async def test_a_failure_is_told(self, plane: StatusPlane, monkeypatch: pytest.MonkeyPatch) -> None:
        before = generation(plane)
        monkeypatch.setattr(plane.core.signer, "sign_many", hang)
        with pytest.raises(UnavailableError, match="hangs"):
            await Asked().of(plane, everything=True)
        assert generation(plane) == before

    async def test_nothing_of_an_authority_without_a_responder_is_taken_away(
        self, plane: StatusPlane, issue: "Issue"
    ) -> None:
        record = await issue(plane.core)
        await plane.presigner.attempt()
        before = generation(plane)
        others = [one for one in plane.core.authorities._responders if one.authority != record.authority]
        plane.core.authorities._responders = others
        with pytest.raises(UnavailableError, match="infrastructure"):
            await Asked().of(plane, everything=True)
        assert generation(plane) == before
        assert plane.status(record.serial) == "good"

    async def test_who_waits_when_the_server_stops_is_told(self, plane: StatusPlane) -> None:
        running = asyncio.create_task(plane.presigner.run())
        await asyncio.sleep(0)
        asked = asyncio.ensure_future(
            plane.presigner.presign(everything=True, authority=None, progress=lambda *_: None)
        )
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait((running,))
        with pytest.raises(UnavailableError, match="stops"):
            await asked


class TestHealth:
    async def test_a_failing_signer_takes_no_answer_away(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert plane.health.cause().ok
        await issue(plane.core)
        monkeypatch.setattr(plane.core.signer, "sign_many", hang)
        await plane.presigner.attempt()
        (end,) = {times.newest_next_update for times, _ in plane.presigner.times()}
        assert end == (clock.now() + timedelta(hours=24)).timestamp()
        cause = plane.health.cause()
        text = f"{clock.now() + timedelta(hours=24):%Y-%m-%dT%H:%M:%SZ}"
        valid = f"responses are valid until {text}, the first to run out at {text}"
        assert (cause.ok, cause.detail) == (False, f"the signer process hangs; {valid}")
        clock.advance(timedelta(hours=24, seconds=-1))
        assert plane.health.has_answers()
        clock.advance(timedelta(seconds=1))
        assert not plane.health.has_answers()
        assert plane.health.cause().detail == f"the signer process hangs; the last response ran out at {text}"

    async def test_after_a_long_stop_it_says_what_is_left(
        self, plane: StatusPlane, clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock.advance(timedelta(days=3))
        details: list[str] = []
        sign_many, count = plane.core.signer.sign_many, plane.table.count()

        async def looking(label: str, data: list[bytes]) -> list[bytes]:
            cause = plane.health.cause()
            assert not cause.ok
            details.append(cause.detail)
            return await sign_many(label, data)

        monkeypatch.setattr(plane.core.signer, "sign_many", looking)
        assert not plane.health.has_answers()
        assert await plane.presigner.attempt()
        assert "responses ran out from" in details[0]
        assert "tryLater" in details[0]
        assert len(details) > 1
        assert plane.presigner.round.signed == count
        assert plane.presigner.round.left == 0
        assert plane.health.cause().ok
        assert plane.health.has_answers()

    async def test_a_new_table_is_no_answer_until_it_is_whole(self, core: Core, issue: "Issue") -> None:
        await issue(core)
        async with status_plane(core) as plane:
            await plane.presigner.prepare()
            assert not plane.health.has_answers()
            assert "made anew" in plane.health.cause().detail
            assert plane.health.oldest_next_update_s() is None
            await plane.presigner.work()
            assert plane.health.has_answers()
            assert plane.health.cause().ok


class TestSettling:
    async def test_returns_when_all_is_done(self, core: Core, issue: "Issue") -> None:
        record = await issue(core)
        async with status_plane(core) as plane:
            running = asyncio.create_task(plane.presigner.run())
            await plane.presigner.settle()
            assert plane.status(record.serial) == "good"
            running.cancel()
            await asyncio.wait((running,))

    async def test_events_first_then_the_doors_then_the_rest(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = await issue(plane.core)
        await plane.presigner.attempt()
        clock.advance(timedelta(days=3))
        await plane.change("revoke", record)
        plane.table.close()
        again = StatusPlane(plane.core, plane.core.home.responses)
        plane.table = again.table
        monkeypatch.setattr(module, "SETTLE_S", 0.01)
        go_on, refresh = asyncio.Event(), again.presigner._refresh

        async def slow() -> None:
            await go_on.wait()
            await refresh()

        monkeypatch.setattr(again.presigner, "_refresh", slow)
        running = asyncio.create_task(again.presigner.run())
        await again.presigner.settle()
        assert again.status(record.serial) == "revoked (superseded)"
        infrastructure = plane.core.authorities.get("infrastructure").certificate.serial_number
        assert again.status(infrastructure, "root") == "try_later"
        go_on.set()
        await again.presigner.presign(everything=False, authority=None, progress=lambda *_: None)
        assert again.status(infrastructure, "root") == "good"
        running.cancel()
        await asyncio.wait((running,))

    async def test_a_failure_does_not_keep_the_doors_shut(
        self, core: Core, issue: "Issue", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await issue(core)
        monkeypatch.setattr(core.signer, "sign_many", hang)
        async with status_plane(core) as plane:
            assert not await plane.presigner.attempt()
            await asyncio.wait_for(plane.presigner.settle(), 0.001 + module.CATCH_UP_S / 2)


class TestCommand:
    async def test_without_a_server(self, core: Core, issue: "Issue") -> None:
        record = await issue(core)
        told: list[str] = []
        done = await core.commands.run(
            "ocsp.presign",
            {"everything": True, "ca": None},
            "user:test",
            lambda text, *_: told.append(text),
        )
        assert done["signed"] > 0
        assert all("a second" in text for text in told)
        async with status_plane(core) as plane:
            assert plane.status(record.serial) == "good"
        head = await core.storage.read(audit_chain.head)
        assert head is not None
        assert (head.actor, head.action, head.outcome) == ("user:test", "ocsp.presign", "done")
        assert f'"signed": {done["signed"]}' in head.detail

    async def test_through_the_presigner_that_runs(self, plane: StatusPlane, core: Core) -> None:
        running = asyncio.create_task(plane.presigner.run())
        core.presigning.lend(plane.presigner)
        before = generation(plane)
        done = await core.commands.run(
            "ocsp.presign", {"everything": True, "ca": None}, "test", lambda *_: None
        )
        assert done["signed"] == plane.table.count()
        assert generation(plane) != before
        running.cancel()
        await asyncio.wait((running,))

    async def test_a_failed_run_is_audited_too(self, core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(core.signer, "sign_many", hang)
        with pytest.raises(UnavailableError, match="hangs"):
            await core.commands.run("ocsp.presign", {"everything": True, "ca": None}, "test", lambda *_: None)
        head = await core.storage.read(audit_chain.head)
        assert head is not None
        assert (head.action, head.outcome) == ("ocsp.presign", "failed")
