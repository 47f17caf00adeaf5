"""Status policies at work: each authority in its own cycle, and what is told of expired certificates."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.x509 import ocsp
from status_plane import POLICY, SHA1, StatusPlane, status_plane, verify

from config.status_policy import PRESETS, StatusPolicy
from pkiserver.core import Core
from protocols.asn1.der import integer_content
from protocols.asn1.ocsp import OCSPResponse, archive_cutoff, whole
from store.records import CertificateRecord
from store.response_entries import response_key

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
DROPPED = PRESETS["web-pki"]
FOR_30_DAYS = replace(POLICY, retention=30 * DAY)
Opened = Callable[[StatusPolicy], AbstractAsyncContextManager[StatusPlane]]


@pytest.fixture
def opened(core: Core) -> Opened:
    """Opens a plane with a policy for the authority that the tests issue from."""
    return lambda policy: status_plane(core, policies={"infrastructure": policy})


async def work_for(plane: StatusPlane, clock: "FakeClock", span: timedelta) -> None:
    """Let time pass in steps of fifteen minutes; what is due is done after each."""
    for _ in range(int(span / timedelta(minutes=15))):
        clock.advance(timedelta(minutes=15))
        assert await plane.presigner.attempt()


async def expire(plane: StatusPlane, clock: "FakeClock", record: CertificateRecord) -> None:
    """Pass from a day in which the certificate is valid to two hours after its end, and a whole cycle."""
    clock.moment = record.not_after - HOUR
    await plane.core.hierarchy.maintain()
    assert await plane.presigner.attempt()
    assert plane.status(record.serial) != "unauthorized"
    assert cutoffs(plane, record) == {None}
    await work_for(plane, clock, 3 * HOUR + plane.policies["infrastructure"].refresh)


def cutoffs(plane: StatusPlane, record: CertificateRecord) -> set[datetime | None]:
    """The archiveCutoff of each SingleResponse of what is served about a certificate."""
    response = whole(plane.answer(plane.request("infrastructure", record.serial, SHA1)), OCSPResponse.parse)
    assert response.response is not None
    return {archive_cutoff(one) for one in response.response.response_data().responses}


async def signed(plane: StatusPlane, record: CertificateRecord, **policy: Any) -> OCSPResponse:
    """What is signed on request about a certificate, as with a nonce."""
    answer = await plane.fresh(**policy).respond(plane.request("infrastructure", record.serial, SHA1))
    assert answer is not None
    return whole(answer, OCSPResponse.parse)


def has_entry(plane: StatusPlane, record: CertificateRecord) -> bool:
    return plane.table.get(response_key(record.authority, integer_content(record.serial))) is not None


class TestCycles:
    async def test_each_authority_is_refreshed_in_its_own(
        self, core: Core, issue: "Issue", clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        policy = StatusPolicy(12 * HOUR, 3 * HOUR, "unauthorized", None)
        async with status_plane(core, policies={"infrastructure": policy}) as plane:
            records = [await issue(core, f"host-{number}.example.mn") for number in range(4)]
            await plane.presigner.attempt()
            times: list[tuple[int, int]] = []
            original = plane.presigner._sign

            async def noting(statuses: Any, store: Any) -> None:
                times.extend((status.authority, status.serial) for status in statuses)
                await original(statuses, store)

            monkeypatch.setattr(plane.presigner, "_sign", noting)
            await work_for(plane, clock, 24 * HOUR)
            counts = {name: times.count(name) for name in times}
            ours, root = records[0].authority, core.authorities.get("root").id
            assert {counts[ours, record.serial] for record in records} == {8}
            assert {count for (authority, _), count in counts.items() if authority == root} == {2}
            for authority, serial, validity in (
                ("infrastructure", records[0].serial, 12 * HOUR),
                ("root", core.authorities.get("citizen").certificate.serial_number, 24 * HOUR),
            ):
                (first, _) = plane.ask(serial, authority).responses
                assert first.next_update_utc is not None
                assert first.next_update_utc - first.this_update_utc == validity

    async def test_age_and_end_with_different_policies(
        self, core: Core, issue: "Issue", clock: "FakeClock"
    ) -> None:
        """The oldest response is not of the authority whose responses end first."""
        slow, quick = (replace(POLICY, validity=2 * one, refresh=one) for one in (30 * DAY, 6 * HOUR))
        policies = dict.fromkeys(("root", "citizen", "government"), slow) | {"infrastructure": quick}
        async with status_plane(core, policies=policies) as plane:
            await issue(core)
            assert await plane.presigner.attempt()
            assert plane.health.oldest_response_age_s() == 0
            assert plane.health.oldest_next_update_s() == (clock.now() + 12 * HOUR).timestamp()
            await work_for(plane, clock, 24 * HOUR)
            assert plane.health.oldest_response_age_s() == 24 * 3600
            left_s = plane.health.oldest_next_update_s() - clock.now().timestamp()
            assert 5.5 * 3600 <= left_s <= 12 * 3600
            clock.advance(13 * HOUR)
            assert plane.health.oldest_response_age_s() == 37 * 3600
            assert plane.health.oldest_next_update_s() < clock.now().timestamp()

    async def test_another_refresh_of_one_authority_leaves_the_others(
        self, core: Core, issue: "Issue", clock: "FakeClock"
    ) -> None:
        record = await issue(core)
        async with status_plane(core) as plane:
            assert await plane.presigner.attempt()
        before = clock.now()
        clock.advance(timedelta(seconds=1))  # no slot has ended, so nothing is due
        policies = {"infrastructure": replace(POLICY, refresh=6 * HOUR)}
        async with status_plane(core, policies=policies) as plane:
            assert await plane.presigner.attempt()
            citizen = core.authorities.get("citizen").certificate.serial_number
            times = [
                next(iter(plane.ask(serial, authority).responses)).this_update_utc
                for serial, authority in ((record.serial, "infrastructure"), (citizen, "root"))
            ]
        assert times == [clock.now(), before]


class TestRetention:
    @pytest.mark.parametrize(
        ("actions", "status"),
        [
            ([], "good"),
            (["suspend"], "revoked (certificateHold)"),
            (["suspend", "revoke"], "revoked (superseded)"),
        ],
        ids=["good", "suspended", "revoked"],
    )
    async def test_kept_for_ever_or_dropped(
        self, opened: Opened, issue: "Issue", clock: "FakeClock", actions: list[str], status: str
    ) -> None:
        async with opened(POLICY) as plane:
            record = await issue(plane.core)
            for action in actions:
                await plane.change(action, record)
            await expire(plane, clock, record)
            assert plane.status(record.serial) == status
            began = plane.core.authorities.get("infrastructure").certificate.not_valid_before_utc
            assert cutoffs(plane, record) == {began}
            verify(plane.core, plane.ask(record.serial))
        async with opened(DROPPED) as plane:
            await work_for(plane, clock, 13 * HOUR)
            assert not has_entry(plane, record)
            assert plane.status(record.serial) == "unauthorized"

    async def test_it_goes_within_a_cycle_while_time_passes(
        self, opened: Opened, issue: "Issue", clock: "FakeClock"
    ) -> None:
        async with opened(DROPPED) as plane:
            record = await issue(plane.core)
            other = await issue(plane.core, "other.example.mn")
            await plane.change("revoke", record)
            await expire(plane, clock, record)
            assert not has_entry(plane, record)
            assert plane.status(record.serial) == "unauthorized"
            assert not has_entry(plane, other)

    async def test_a_time_of_retention(self, opened: Opened, issue: "Issue", clock: "FakeClock") -> None:
        async with opened(FOR_30_DAYS) as plane:
            record = await issue(plane.core)
            await expire(plane, clock, record)
            clock.moment = record.not_after + 30 * DAY
            assert await plane.presigner.attempt()
            assert plane.status(record.serial) == "good"
            assert cutoffs(plane, record) == {clock.now() - 30 * DAY}
            clock.advance(timedelta(seconds=1))
            await work_for(plane, clock, 13 * HOUR)
            assert not has_entry(plane, record)

    async def test_the_cutoff_is_not_before_there_was_a_ca(
        self, opened: Opened, issue: "Issue", clock: "FakeClock"
    ) -> None:
        async with opened(replace(POLICY, retention=36600 * DAY)) as plane:
            record = await issue(plane.core)
            await expire(plane, clock, record)
            began = plane.core.authorities.get("infrastructure").certificate.not_valid_before_utc
            assert cutoffs(plane, record) == {began}

    async def test_a_table_that_is_filled_anew_has_none_of_them(
        self, core: Core, issue: "Issue", clock: "FakeClock", tmp_path: Path
    ) -> None:
        record = await issue(core)
        clock.moment = record.not_after + HOUR
        await core.hierarchy.maintain()
        current = await issue(core, "current.example.mn")
        async with status_plane(core, tmp_path / "new", {"infrastructure": DROPPED}) as plane:
            assert await plane.presigner.attempt()
            assert not has_entry(plane, record)
            assert has_entry(plane, current)
            assert plane.presigner.round.planned == plane.presigner.round.signed == plane.table.count()

    async def test_a_longer_retention_brings_them_back(
        self, opened: Opened, issue: "Issue", clock: "FakeClock"
    ) -> None:
        async with opened(DROPPED) as plane:
            record = await issue(plane.core)
            await expire(plane, clock, record)
            assert not has_entry(plane, record)
        async with opened(POLICY) as plane:
            await work_for(plane, clock, 13 * HOUR)
            assert plane.status(record.serial) == "good"

    async def test_what_is_signed_on_request_says_the_same(
        self, opened: Opened, issue: "Issue", clock: "FakeClock"
    ) -> None:
        async with opened(FOR_30_DAYS) as plane:
            record = await issue(plane.core)
            clock.moment = record.not_after
            await plane.core.hierarchy.maintain()
            for moment, want in (
                (record.not_after, {None}),
                (
                    record.not_after + timedelta(seconds=1),
                    {record.not_after + timedelta(seconds=1) - 30 * DAY},
                ),
                (record.not_after + 30 * DAY, {record.not_after}),
            ):
                clock.moment = moment
                response = (await signed(plane, record)).response
                assert response is not None
                assert {archive_cutoff(one) for one in response.response_data().responses} == want
            clock.advance(timedelta(seconds=1))
            assert (await signed(plane, record)).response_status.name == "UNAUTHORIZED"

    async def test_afterwards_it_is_as_if_it_had_not_been_issued(
        self, opened: Opened, issue: "Issue", clock: "FakeClock"
    ) -> None:
        async with opened(DROPPED) as plane:
            record = await issue(plane.core)
            await expire(plane, clock, record)
            responder = plane.signing_responder(unknown="unknown")
            reply = await plane.post(responder, plane.request("infrastructure", record.serial, SHA1))
            (single,) = ocsp.load_der_ocsp_response(reply.body).responses
            assert single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN

    async def test_afterwards_it_is_not_said_to_be_revoked(
        self, opened: Opened, issue: "Issue", clock: "FakeClock"
    ) -> None:
        """RFC 6960 §2.2 has `revoked` for what was never issued; this was, and never revoked."""
        async with opened(DROPPED) as plane:
            record = await issue(plane.core)
            await expire(plane, clock, record)
            responder = plane.signing_responder(unknown="revoked")
            reply = await plane.post(responder, plane.request("infrastructure", record.serial, SHA1))
            response = ocsp.load_der_ocsp_response(reply.body)
            assert response.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED
