"""The presigner: what it follows, where it resumes, what it signs anew and when."""

import asyncio
import subprocess
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from status_plane import POLICY, SHA1, StatusPlane, change, status_plane, verify

from config.status_policy import StatusPolicy
from pkiserver.ca.serials import SERIAL_BITS
from pkiserver.core import Core
from pkiserver.errors import UnavailableError
from pkiserver.signer.algorithms import KeySpec
from pkiserver.signer.errors import KeyNotFoundError, SignerUnavailableError, TokenSignatureError
from pkiserver.status import presigner as module
from pkiserver.status.refresh_cycle import SLOTS, RefreshCycle, slot_ranges
from protocols.asn1.der import integer_content
from store import certificates, status_events
from store.response_entries import ResponseEntry, response_key

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue

SERIALS = st.integers(0, (1 << SERIAL_BITS) - 1)


@pytest.fixture
async def plane(core: Core) -> AsyncIterator[StatusPlane]:
    async with status_plane(core) as opened:
        await begin(opened)
        yield opened


def every(core: Core, **changes: Any) -> dict[str, StatusPolicy]:
    """The policy of every authority, changed in one way."""
    return {authority.name: replace(POLICY, **changes) for authority in core.authorities}


def entry(plane: StatusPlane, serial: int, authority: str = "infrastructure") -> ResponseEntry:
    found = plane.table.get(response_key(plane.core.authorities.get(authority).id, integer_content(serial)))
    assert found is not None
    return found


class TestSlots:
    @given(SERIALS, st.integers(0, 10**10))
    def test_a_period_covers_every_serial_once(self, serial: int, first: int) -> None:
        ranges = [one for slot in range(first, first + SLOTS) for one in slot_ranges(slot, slot)]
        assert sum(low <= serial < high for low, high in ranges) == 1

    @given(SERIALS, st.integers(0, 10**10), st.integers(1, SLOTS), st.data())
    def test_however_it_is_cut(self, serial: int, first: int, length: int, data: st.DataObject) -> None:
        """The slots of a span, taken in one go or in any two parts, hold the same serials once."""
        cut = data.draw(st.integers(0, length))
        last = first + length - 1
        parts = [(first, first + cut - 1), (first + cut, last)]
        ranges = [one for low, high in parts if low <= high for one in slot_ranges(low, high)]
        whole = slot_ranges(first, last)
        assert sum(low <= serial < high for low, high in whole) <= 1
        assert sum(low <= serial < high for low, high in whole) == sum(
            low <= serial < high for low, high in ranges
        )

    @given(st.integers(0, 10**10), st.integers(0, 10**6))
    def test_more_than_a_period_is_everything_once(self, first: int, more: int) -> None:
        assert slot_ranges(first, first + SLOTS - 1 + more) == [(0, 1 << SERIAL_BITS)]

    @given(st.integers(0, 10**10), st.timedeltas(timedelta(minutes=1), timedelta(days=10)))
    def test_a_mark_is_of_its_cycle_and_hashes_only(self, slot: int, period: timedelta) -> None:
        cycle, names = RefreshCycle(period), ("sha1", "sha256")
        mark = cycle.mark(slot, names)
        assert cycle.slot_of(mark, names) == slot
        assert cycle.slot_of(mark, ("sha1",)) == 0
        assert RefreshCycle(period * 2).slot_of(mark, names) == 0
        assert cycle.slot_of(None, names) == 0

    def test_all_slots_are_of_like_size(self) -> None:
        sizes = [high - low for slot in range(SLOTS) for low, high in slot_ranges(slot, slot)]
        assert len(sizes) == SLOTS
        assert max(sizes) - min(sizes) <= 1


class TestFollowing:
    async def test_issued_suspended_restored_revoked(self, plane: StatusPlane, issue: "Issue") -> None:
        record = await issue(plane.core)
        assert plane.status(record.serial) == "unauthorized"
        for action, status in (
            (None, "good"),
            ("suspend", "revoked (certificateHold)"),
            ("restore", "good"),
            ("suspend", "revoked (certificateHold)"),
            ("revoke", "revoked (superseded)"),
        ):
            if action is not None:
                await plane.change(action, record)
            await plane.presigner.work()
            assert plane.status(record.serial) == status
            assert plane.presigner.position == plane.table.position() == await plane.head()

    async def test_a_serial_that_was_not_issued_is_never_good(
        self, plane: StatusPlane, issue: "Issue", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = await issue(plane.core)

        async def fail(*_: Any) -> Any:
            raise SignerUnavailableError("hangs")

        with monkeypatch.context() as patch:
            patch.setattr(plane.core.signer, "sign", fail)
            with pytest.raises(UnavailableError):
                await issue(plane.core, "voided.example.mn")
        await plane.presigner.work()
        rows = await plane.core.storage.read(
            lambda tx: tx.all("SELECT serial FROM issuances WHERE state = 'voided'")
        )
        voided = int.from_bytes(rows[0][0], "big")
        for serial in (voided, record.serial + 1, 1, (1 << SERIAL_BITS) - 1):
            assert plane.status(serial) == "unauthorized"
        assert plane.status(record.serial) == "good"
        assert plane.status(record.serial, "citizen") == "unauthorized"

    async def test_resumes_where_the_table_stands(
        self, plane: StatusPlane, issue: "Issue", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = await issue(plane.core)
        plane.table.close()
        signed: list[int] = []
        sign_many = plane.core.signer.sign_many

        async def counting(label: str, data: list[bytes]) -> list[bytes]:
            signed.append(len(data))
            return await sign_many(label, data)

        monkeypatch.setattr(plane.core.signer, "sign_many", counting)
        again = StatusPlane(plane.core, plane.core.home.responses)
        await again.presigner.prepare()
        await again.presigner.work()
        assert signed == [1]
        assert again.status(record.serial) == "good"
        plane.table = again.table

    async def test_many_events_of_several_authorities(self, plane: StatusPlane, issue: "Issue") -> None:
        records = [await issue(plane.core, f"host-{number}.example.mn") for number in range(12)]
        for record in records[::3]:
            await plane.change("suspend", record)
        for record in records[::6]:
            await plane.change("revoke", record)
        await plane.presigner.work()
        statuses = [plane.status(record.serial) for record in records]
        assert (
            statuses
            == ["revoked (superseded)", "good", "good", "revoked (certificateHold)", "good", "good"] * 2
        )

    async def test_a_responder_that_is_renewed_speaks_at_once(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock"
    ) -> None:
        """A new responder is taken up with its own name, key and certificate together."""
        record = await issue(plane.core)
        await plane.presigner.work()
        old = plane.ask(record.serial)
        clock.advance(timedelta(days=61))
        await plane.core.hierarchy.maintain()
        await plane.change("suspend", record)
        await plane.presigner.work()
        new = plane.ask(record.serial)
        verify(plane.core, new)
        assert new.responder_key_hash != old.responder_key_hash


async def begin(plane: StatusPlane) -> None:
    await plane.presigner.prepare()
    await plane.presigner.work()


class TestTable:
    async def test_a_new_table_is_filled_from_the_store(
        self, core: Core, issue: "Issue", tmp_path: Path
    ) -> None:
        record = await issue(core)
        async with status_plane(core, tmp_path / "new") as plane:
            await begin(plane)
            assert plane.status(record.serial) == "good"
            for authority in core.authorities:
                if authority.parent:
                    assert plane.status(authority.certificate.serial_number, authority.parent) == "good"
            assert plane.table.position() == await plane.head()

    async def test_a_table_newer_than_the_store_is_built_anew(
        self, plane: StatusPlane, issue: "Issue"
    ) -> None:
        """The store was restored from a backup: what it does not know must not be answered."""
        record = await issue(plane.core)
        stray = response_key(plane.core.authorities.get("infrastructure").id, integer_content(12345))
        plane.table.put([(stray, entry_of_anything(plane).pack())], position=10**6)
        assert plane.table.get(stray) is not None
        await begin(plane)
        assert plane.table.get(stray) is None
        assert plane.status(12345) == "unauthorized"
        assert plane.status(record.serial) == "good"
        assert plane.presigner.position == plane.table.position() == await plane.head()

    async def test_what_is_served_is_served_until_the_new_table_is_whole(
        self, plane: StatusPlane, issue: "Issue", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And hears of every change meanwhile; what the store does not know goes with the old one."""
        monkeypatch.setattr(module, "BATCH", 2)
        records = [await issue(plane.core, f"host-{number}.example.mn") for number in range(8)]
        await plane.presigner.work()
        stray = response_key(plane.core.authorities.get("infrastructure").id, integer_content(12345))
        plane.table.put([(stray, entry_of_anything(plane).pack())], position=10**6)
        heard: list[tuple[set[str], str, bool]] = []
        sign_many = plane.core.signer.sign_many

        async def looking(label: str, data: list[bytes]) -> list[bytes]:
            if len(heard) == 2:
                await plane.change("revoke", records[0])
            statuses = {plane.status(record.serial) for record in records[1:]}
            heard.append((statuses, plane.status(records[0].serial), plane.table.get(stray) is not None))
            return await sign_many(label, data)

        with monkeypatch.context() as patch:
            patch.setattr(plane.core.signer, "sign_many", looking)
            await begin(plane)
        assert len(heard) > 6
        assert {(*statuses, there) for statuses, _, there in heard} == {("good", True)}
        first = [status for _, status, _ in heard]
        assert first == sorted(first)  # good, then revoked, and never good again
        assert set(first) == {"good", "revoked (superseded)"}
        assert plane.table.get(stray) is None
        assert {plane.status(record.serial) for record in records[1:]} == {"good"}
        assert plane.status(records[0].serial) == "revoked (superseded)"
        assert plane.table.position() == await plane.head()

    @pytest.mark.parametrize("error", [SignerUnavailableError("hangs"), asyncio.CancelledError()])
    async def test_a_rebuild_that_fails_takes_nothing_away(
        self, plane: StatusPlane, issue: "Issue", monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        monkeypatch.setattr(module, "BATCH", 2)
        records = [await issue(plane.core, f"host-{number}.example.mn") for number in range(4)]
        await plane.presigner.work()
        plane.table.put([], position=10**6)
        sign_many, calls = plane.core.signer.sign_many, 0

        async def failing(label: str, data: list[bytes]) -> list[bytes]:
            nonlocal calls
            calls += 1
            if calls == 4:
                raise error
            return await sign_many(label, data)

        with monkeypatch.context() as patch:
            patch.setattr(plane.core.signer, "sign_many", failing)
            with pytest.raises(type(error)):
                await begin(plane)
        assert {plane.status(record.serial) for record in records} == {"good"}
        folders = [path.name for path in plane.core.home.responses.iterdir() if path.is_dir()]
        assert len(folders) == 1
        await begin(plane)
        assert plane.table.position() == await plane.head()
        assert {plane.status(record.serial) for record in records} == {"good"}

    async def test_a_fill_that_was_cut_begins_again(
        self, core: Core, issue: "Issue", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also when events arrived meanwhile, which are followed during the filling."""
        monkeypatch.setattr(module, "BATCH", 2)
        records = [await issue(core, f"host-{number}.example.mn") for number in range(8)]
        sign_many = core.signer.sign_many
        calls = 0

        async def failing(label: str, data: list[bytes]) -> list[bytes]:
            nonlocal calls
            calls += 1
            if calls == 2:
                records.append(await issue(core, "meanwhile.example.mn"))
            if calls == 6:
                raise SignerUnavailableError("hangs")
            return await sign_many(label, data)

        async with status_plane(core, tmp_path / "new") as plane:
            with monkeypatch.context() as patch:
                patch.setattr(core.signer, "sign_many", failing)
                with pytest.raises(SignerUnavailableError):
                    await begin(plane)
            assert plane.table.position() == 0
        async with status_plane(core, tmp_path / "new") as plane:
            await begin(plane)
            assert {plane.status(record.serial) for record in records} == {"good"}
            assert plane.table.position() == await plane.head()

    async def test_with_other_hashes_all_is_signed_anew(self, core: Core, issue: "Issue") -> None:
        """One more answers CertIDs by it; one less is answered no more."""
        record = await issue(core)

        async def answered_by(*names: str) -> list[str]:
            async with status_plane(core, hash_names=names) as plane:
                await plane.presigner.prepare()
                await plane.presigner.work()
                every = [SHA1, hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
                answers = {one.name: plane.ask(record.serial, algorithm=one) for one in every}
            found = [name for name, one in answers.items() if one.response_status.name == "SUCCESSFUL"]
            for name in found:
                assert [one.hash_algorithm.name for one in answers[name].responses] == list(names)
            return found

        assert await answered_by("sha1", "sha256") == ["sha1", "sha256"]
        assert await answered_by("sha1", "sha512", "sha384") == ["sha1", "sha384", "sha512"]
        assert await answered_by("sha1", "sha256") == ["sha1", "sha256"]


def entry_of_anything(plane: StatusPlane) -> ResponseEntry:
    authority = plane.core.authorities.get("infrastructure")
    return entry(plane, authority.certificate.serial_number, "root")


class TestRefreshing:
    async def test_each_response_once_a_period(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        serials = {(await issue(plane.core, f"host-{number}.example.mn")).serial for number in range(6)}
        await plane.presigner.work()
        signed: list[int] = []
        original = plane.presigner._sign

        async def noting(statuses: Any, store: Any) -> None:
            signed.extend(status.serial for status in statuses)
            await original(statuses, store)

        monkeypatch.setattr(plane.presigner, "_sign", noting)
        for _ in range(48):
            clock.advance(timedelta(minutes=15))
            await plane.presigner.work()
        count = {serial: signed.count(serial) for serial in signed}
        assert serials <= set(count)
        assert set(count.values()) == {1}
        for serial in serials:
            age = clock.now().timestamp() - entry(plane, serial).this_update
            assert 0 <= age <= 12 * 3600
            assert plane.status(serial) == "good"

    async def test_nothing_is_signed_twice_within_a_slot(self, plane: StatusPlane) -> None:
        before = plane.core.signer.signatures
        await plane.presigner.work()
        assert plane.core.signer.signatures == before

    async def test_after_a_long_stop_all_is_signed_anew(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock"
    ) -> None:
        record = await issue(plane.core)
        await plane.presigner.work()
        clock.advance(timedelta(days=3))
        assert plane.status(record.serial) == "try_later"
        await plane.presigner.work()
        assert plane.status(record.serial) == "good"
        assert entry(plane, record.serial).this_update == int(clock.now().timestamp())

    @pytest.mark.parametrize("hours", [6, 24])
    async def test_another_period_begins_with_all(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock", hours: int
    ) -> None:
        """The operator changed `ocsp_refresh`: slots of another length count otherwise."""
        record = await issue(plane.core)
        await plane.presigner.work()
        plane.table.close()
        clock.advance(timedelta(hours=1))
        changed = StatusPlane(
            plane.core, plane.core.home.responses, every(plane.core, refresh=timedelta(hours=hours))
        )
        plane.table = changed.table
        await changed.presigner.prepare()
        await changed.presigner.work()
        assert entry(changed, record.serial).this_update == int(clock.now().timestamp())

    async def test_an_event_during_the_refresh_wins(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = await issue(plane.core)
        await plane.presigner.work()
        sign_many = plane.core.signer.sign_many
        changed = False

        async def changing(label: str, data: list[bytes]) -> list[bytes]:
            nonlocal changed
            if not changed and label.startswith("ocsp-infrastructure"):
                changed = True
                await plane.change("revoke", record)
            return await sign_many(label, data)

        monkeypatch.setattr(plane.core.signer, "sign_many", changing)
        clock.advance(timedelta(days=1))
        await plane.presigner.work()
        assert changed
        assert plane.status(record.serial) == "revoked (superseded)"

    async def test_the_age_of_the_oldest_response(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock"
    ) -> None:
        assert plane.health.oldest_response_age_s() == 0
        clock.advance(timedelta(hours=2))
        await issue(plane.core)
        await plane.presigner._follow()
        assert plane.health.oldest_response_age_s() == 2 * 3600
        for _ in range(48):
            clock.advance(timedelta(minutes=15))
            await plane.presigner.work()
        assert plane.health.oldest_response_age_s() <= 12 * 3600

    async def test_of_an_empty_table_there_is_no_age(self, core: Core, tmp_path: Path) -> None:
        async with status_plane(core, tmp_path / "new") as plane:
            assert plane.health.oldest_response_age_s() == 0

    @pytest.mark.parametrize("ahead", [timedelta(minutes=5), timedelta(days=400)])
    @pytest.mark.parametrize("restarted", [False, True])
    async def test_a_clock_that_was_ahead_is_made_good(
        self,
        plane: StatusPlane,
        issue: "Issue",
        clock: "FakeClock",
        monkeypatch: pytest.MonkeyPatch,
        ahead: timedelta,
        restarted: bool,
    ) -> None:
        """All is signed anew, until that is done it shows, and the cycle goes on as ever."""
        record = await issue(plane.core)
        responder = plane.core.authorities.responder(record.authority)
        clock.advance(ahead)
        if ahead > timedelta(days=90):
            await plane.core.hierarchy.maintain()
        assert await plane.presigner.attempt()
        assert entry(plane, record.serial).this_update == int(clock.now().timestamp())
        clock.advance(-ahead)
        if ahead > timedelta(days=90):  # the responder of then speaks for nobody yet
            plane.core.authorities._responders[record.authority] = responder
        if restarted:
            plane.table.close()
            again = StatusPlane(plane.core, plane.core.home.responses)
            plane.table, plane.presigner, plane.health = again.table, again.presigner, again.health

        async def fail(*_: Any) -> Any:
            raise SignerUnavailableError("hangs")

        with monkeypatch.context() as patch:
            patch.setattr(plane.core.signer, "sign_many", fail)
            assert not await plane.presigner.attempt()
        assert plane.health.oldest_response_age_s() > 14 * 3600  # as the alert OCSPResponsesOld has it
        assert await plane.presigner.attempt()
        assert entry(plane, record.serial).this_update == int(clock.now().timestamp())
        assert plane.health.oldest_response_age_s() == 0
        signatures = plane.core.signer.signatures
        assert await plane.presigner.attempt()
        assert plane.core.signer.signatures == signatures
        for _ in range(26):
            clock.advance(timedelta(minutes=30))
            assert await plane.presigner.attempt()
        assert plane.health.oldest_response_age_s() <= 12 * 3600
        assert plane.status(record.serial) == "good"

    async def test_a_second_back_is_no_reason_to_sign_all_anew(
        self, plane: StatusPlane, clock: "FakeClock"
    ) -> None:
        before = plane.core.signer.signatures
        clock.advance(timedelta(seconds=-1))
        await plane.presigner.work()
        assert plane.core.signer.signatures == before


class TestResponses:
    @pytest.mark.parametrize("algorithm", [SHA1, hashes.SHA256()])
    async def test_verify(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock", algorithm: hashes.HashAlgorithm
    ) -> None:
        record = await issue(plane.core)
        await plane.presigner.work()
        response = plane.ask(record.serial, algorithm=algorithm)
        verify(plane.core, response)
        singles = {type(single.hash_algorithm): single for single in response.responses}
        assert set(singles) == {hashes.SHA1, hashes.SHA256}
        for single in singles.values():
            assert single.serial_number == record.serial
            assert single.this_update_utc == clock.now()
            assert single.next_update_utc == clock.now() + POLICY.validity
        assert response.produced_at_utc == clock.now()

    @pytest.mark.interop
    @pytest.mark.parametrize("algorithm", ["-sha1", "-sha256"])
    async def test_openssl_agrees(
        self, plane: StatusPlane, issue: "Issue", tmp_path: Path, algorithm: str
    ) -> None:
        record = await issue(plane.core)
        for action, expected in (
            (None, "good"),
            ("suspend", "revoked"),
            ("restore", "good"),
            ("revoke", "revoked"),
        ):
            if action is not None:
                await plane.change(action, record)
            await plane.presigner.work()
            output = await asyncio.to_thread(openssl_ocsp, plane, record, tmp_path, algorithm)
            assert "Response verify OK" in output
            assert f"certificate.pem: {expected}" in output

    async def test_do_not_outlive_the_responder(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock"
    ) -> None:
        record = await issue(plane.core)
        responder = plane.core.authorities.responder(record.authority)
        assert responder is not None
        end = responder.certificate.not_valid_after_utc
        clock.moment = end - timedelta(hours=1)
        await plane.presigner.work()
        single = next(iter(plane.ask(record.serial).responses))
        assert single.next_update_utc == end

    async def test_of_an_expired_responder_are_not_made(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock"
    ) -> None:
        """It says so and goes on by itself once there is a new one; other authorities are answered for."""
        record = await issue(plane.core)
        clock.advance(timedelta(days=91))
        renewed = plane.core.authorities.get("root")
        await plane.core.hierarchy._make_responder(renewed)
        await plane.change("suspend", record)
        assert await plane.presigner.attempt() is False
        assert plane.presigner.failure is not None
        assert "infrastructure" in plane.presigner.failure
        assert "root" not in plane.presigner.failure
        assert plane.status(record.serial) != "good"
        assert plane.status(plane.core.authorities.get("citizen").certificate.serial_number, "root") == "good"
        await plane.core.hierarchy.maintain()
        assert await plane.presigner.attempt() is True
        assert plane.presigner.failure is None
        assert plane.status(record.serial) == "revoked (certificateHold)"

    async def test_a_responder_that_expires_while_it_signs_ends_nothing(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = await issue(plane.core)
        responder = plane.core.authorities.responder(record.authority)
        assert responder is not None
        clock.moment = responder.certificate.not_valid_after_utc - timedelta(seconds=1)
        stand, looks = clock.now, 0

        def running() -> datetime:
            nonlocal looks
            looks += 1
            return stand() + timedelta(seconds=looks // 2)

        monkeypatch.setattr(clock, "now", running)
        for _ in range(4):
            await plane.presigner.attempt()
        assert plane.presigner.failure is not None

    async def test_of_an_authority_that_has_no_responder_yet_follow_it(
        self, plane: StatusPlane, issue: "Issue"
    ) -> None:
        """As when an authority is imported into a running server, and enrols before its responder is made."""
        plane.core.authorities._responders = {}
        record = await issue(plane.core)
        assert await plane.presigner.attempt() is False
        assert plane.status(record.serial) == "unauthorized"
        await plane.core.authorities.reload(plane.core.storage)
        assert await plane.presigner.attempt() is True
        assert plane.status(record.serial) == "good"


def openssl_ocsp(plane: StatusPlane, record: Any, folder: Path, algorithm: str) -> str:
    """Have openssl make a request, answer it from the table and have openssl verify the answer."""
    authority = plane.core.authorities.get("infrastructure")
    (folder / "certificate.pem").write_bytes(
        x509.load_der_x509_certificate(record.certificate).public_bytes(Encoding.PEM)
    )
    (folder / "issuer.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    chain = plane.core.authorities.chain("infrastructure")
    (folder / "chain.pem").write_bytes(b"".join(one.certificate.public_bytes(Encoding.PEM) for one in chain))
    named = [algorithm, "-issuer", "issuer.pem", "-cert", "certificate.pem"]
    make = ["openssl", "ocsp", *named, "-no_nonce", "-reqout", "request.der"]
    subprocess.run(make, cwd=folder, check=True, capture_output=True, timeout=60)
    (folder / "response.der").write_bytes(plane.answer((folder / "request.der").read_bytes()))
    check = ["openssl", "ocsp", *named, "-no_nonce", "-respin", "response.der", "-CAfile", "chain.pem"]
    done = subprocess.run(check, cwd=folder, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


class TestFailures:
    async def test_the_signer_is_tried_again(
        self, plane: StatusPlane, issue: "Issue", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = await issue(plane.core)
        position = plane.presigner.position

        async def fail(*_: Any) -> Any:
            raise SignerUnavailableError("the signer process hangs")

        with monkeypatch.context() as patch:
            patch.setattr(plane.core.signer, "sign_many", fail)
            assert await plane.presigner.attempt() is False
        assert plane.presigner.failure == "the signer process hangs"
        assert plane.presigner.position == plane.table.position() == position
        assert await plane.presigner.attempt() is True
        assert plane.presigner.failure is None
        assert plane.status(record.serial) == "good"

    async def test_running_it_follows_by_itself(
        self, plane: StatusPlane, issue: "Issue", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "POLL_S", 0.05)
        plane.core.followers.changed.append(plane.presigner.wait_for)
        plane.core.followers.issued.append(plane.presigner.wait_for_new)
        task = asyncio.create_task(plane.presigner.run())
        try:
            record = await issue(plane.core)
            async with asyncio.timeout(30):
                while plane.status(record.serial) != "good":  # noqa: ASYNC110 - a state of the table
                    await asyncio.sleep(0.01)
                await plane.change("revoke", record, reason="keyCompromise")
                while plane.status(record.serial) != "revoked (keyCompromise)":  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.01)
        finally:
            task.cancel()
            await asyncio.wait((task,))
        assert task.cancelled()

    async def test_new_certificates_gather_and_a_change_does_not_wait_for_them(
        self, plane: StatusPlane, issue: "Issue", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "GATHER_S", 3600.0)
        monkeypatch.setattr(module, "FEW", 2)
        monkeypatch.setattr(module, "PATIENCE_S", 3600.0)
        plane.core.followers.changed.append(plane.presigner.wait_for)
        first, second = await issue(plane.core), await issue(plane.core)
        head = await plane.core.storage.read(status_events.head)
        task = asyncio.create_task(plane.presigner.run())
        try:
            async with asyncio.timeout(30):
                await plane.presigner.wait_for_new(head)  # two came at once: the next ones are waited for
                plane.core.followers.issued.append(plane.presigner.wait_for_new)
                third = asyncio.create_task(issue(plane.core))
                while await plane.core.storage.read(status_events.head) == head:  # noqa: ASYNC110 - a state
                    await asyncio.sleep(0)
                await asyncio.sleep(0.05)
                assert not third.done()
                await plane.change("revoke", second, reason="keyCompromise")
                assert plane.status(second.serial) == "revoked (keyCompromise)"
                assert plane.status((await third).serial) == plane.status(first.serial) == "good"
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def test_who_waits_for_a_presigner_that_fails_is_let_go(
        self, plane: StatusPlane, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PATIENCE_S", 0.01)
        async with asyncio.timeout(30):
            await asyncio.gather(
                *(plane.presigner.wait_for_new(plane.presigner.position + 1) for _ in range(3))
            )

    async def test_cancelled_in_a_write_it_leaves_the_table_at_rest(
        self, plane: StatusPlane, issue: "Issue", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The table is closed right after: no thread may be writing it then."""
        begun, go_on = threading.Event(), threading.Event()
        put, done = plane.table.put, []

        def slow(entries: Any, *, position: int | None = None) -> int:
            begun.set()
            go_on.wait(30)
            count = put(entries, position=position)
            done.append(count)
            return count

        monkeypatch.setattr(plane.table, "put", slow)
        await issue(plane.core)
        task = asyncio.create_task(plane.presigner.work())
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        go_on.set()
        await asyncio.wait((task,))
        assert task.cancelled()
        assert done == [1]


async def test_an_authority_whose_key_is_away_does_not_hold_up_the_others(
    core: Core, issue: "Issue", clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
) -> None:
    async with status_plane(core) as plane:
        record = await issue(core)
        assert await plane.presigner.attempt()
        away = core.authorities.responder_at(core.authorities.get("citizen").id, clock.now())
        assert away is not None
        sign_many = core.signer.sign_many

        async def sign(label: str, data: Any) -> Any:
            if label == away.key_label:
                raise SignerUnavailableError("the token is away")
            return await sign_many(label, data)

        monkeypatch.setattr(core.signer, "sign_many", sign)
        clock.advance(timedelta(hours=13))
        assert not await plane.presigner.attempt()
        assert plane.presigner.failure == "the token is away"
        single = next(iter(plane.ask(record.serial).responses))
        assert single.this_update_utc == clock.now()


async def test_events_of_an_authority_whose_key_is_lost_wait_for_it_alone(
    core: Core, issue: "Issue", clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others' events are shown meanwhile; those of this authority once the key is back, after a start too."""
    sign_many = core.signer.sign_many
    async with status_plane(core) as plane:
        lost, root = await issue(core), core.authorities.get("root").id
        assert await plane.presigner.attempt()
        gone = core.authorities.responder_at(lost.authority, clock.now())
        assert gone is not None

        async def sign(label: str, data: Any) -> Any:
            if label == gone.key_label:
                raise KeyNotFoundError("no key bears this label")
            return await sign_many(label, data)

        monkeypatch.setattr(core.signer, "sign_many", sign)
        [other] = await core.storage.read(lambda tx: certificates.statuses_in_range(tx, root, 0, 1 << 127, 1))
        await plane.change("suspend", lost)
        await change(core, "revoke", other)  # type: ignore[arg-type]  # it has what is asked of it
        assert not await plane.presigner.attempt()
        assert plane.presigner.failure == "the OCSP signer of infrastructure is missing or has expired"
        assert plane.presigner.position == await plane.head()
        assert plane.status(other.serial, "root") == "revoked (superseded)"
        assert plane.status(lost.serial) == "good"  # until it can be signed
    monkeypatch.setattr(core.signer, "sign_many", sign_many)
    async with status_plane(core) as plane:
        assert await plane.presigner.attempt()
        assert plane.status(lost.serial) == "revoked (certificateHold)"


async def test_no_response_is_signed_by_the_keys_of_another_token(
    core: Core, issue: "Issue", clock: "FakeClock"
) -> None:
    """One of the same label and passphrase or PIN took the place of the known one, with other keys."""
    async with status_plane(core) as plane:
        record = await issue(core)
        assert await plane.presigner.attempt()
        responder = core.authorities.responder_at(record.authority, clock.now())
        assert responder is not None
        await core.signer.close()
        (core.home.keys / f"{responder.key_label}.pem").unlink()
        await core.signer.start()
        await core.signer.generate(responder.key_label, KeySpec.parse("ec:P-256"))
        await plane.change("suspend", record)
        assert not await plane.presigner.attempt()
        assert plane.presigner.failure is not None
        assert "another key" in plane.presigner.failure
        assert plane.status(record.serial) == "good"
        verify(core, plane.ask(record.serial))
        with pytest.raises(TokenSignatureError):
            await core.signer.sign(responder.key_label, b"a response with a nonce")
