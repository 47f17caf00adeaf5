"""The CRL publisher: numbers, entries, times, and what is served when something fails."""

import asyncio
import gzip
import shutil
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7
from served_crls import HOUR, NAMES, configure, entries, number, published, served
from status_plane import change

from pkiserver.core import Core, open_core
from pkiserver.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from pkiserver.home import Home
from pkiserver.signer.errors import BadSignatureError, SignerUnavailableError
from pkiserver.status import crl_files
from pkiserver.status import crl_publisher as module
from pkiserver.status.crl_schedule import MAX_RETRY_S
from protocols.crl_reader import parse_crl
from store import crls

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue


@pytest.fixture
def drops_expired(home: Home) -> None:
    configure(home, status_policy='"web-pki"')


async def fail(*_: Any) -> Any:
    raise SignerUnavailableError("the signer process hangs")


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


async def test_the_first_crls(core: Core, clock: "FakeClock") -> None:
    for name in NAMES:
        crl, authority = served(core, name), core.authorities.get(name)
        assert number(crl) == 1
        assert crl.is_signature_valid(authority.certificate.public_key())  # type: ignore[arg-type]
        assert crl.issuer == authority.certificate.subject
        key_identifier = crl.extensions.get_extension_for_class(
            x509.AuthorityKeyIdentifier
        ).value.key_identifier
        ski = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        assert key_identifier == ski
        assert entries(crl) == {}
    await core.crl_publisher.work()
    assert number(served(core)) == 1


async def test_hold_restore_and_revocation(core: Core, clock: "FakeClock", issue: "Issue") -> None:
    one, two = await issue(core, "one.example.mn"), await issue(core, "two.example.mn")
    expected: list[tuple[tuple[Any, ...], dict[int, str | None]]] = [
        (("suspend", one), {one.serial: "certificateHold"}),
        (("revoke", two), {one.serial: "certificateHold", two.serial: "superseded"}),
        (("restore", one), {two.serial: "superseded"}),
        (("suspend", one), {one.serial: "certificateHold", two.serial: "superseded"}),
    ]
    for step, (command, held) in enumerate(expected, start=2):
        clock.advance(timedelta(seconds=10))
        await change(core, *command)
        await core.crl_publisher.work()
        crl = served(core)
        assert (number(crl), entries(crl)) == (step, held)
        assert crl.is_signature_valid(core.authorities.get("infrastructure").certificate.public_key())  # type: ignore[arg-type]
        assert crl.last_update_utc == clock.now()
    assert [entry.serial_number for entry in crl] == sorted([one.serial, two.serial])
    clock.advance(timedelta(seconds=10))
    await change(core, "revoke", one, reason="unspecified")
    await core.crl_publisher.work()
    assert entries(served(core)) == {one.serial: None, two.serial: "superseded"}
    first = next(entry for entry in served(core) if entry.serial_number == one.serial)
    assert first.revocation_date_utc == clock.now() - timedelta(seconds=10)  # of the hold


async def test_only_the_authority_that_changed_publishes(core: Core, issue: "Issue") -> None:
    record = await issue(core)
    await core.crl_publisher.work()
    assert number(served(core)) == 1  # an issued certificate changes no CRL
    await change(core, "revoke", record)
    await core.crl_publisher.work()
    assert [number(served(core, name)) for name in NAMES] == [1, 1, 1, 2]


async def test_an_entry_stays_until_one_crl_after_expiry_had_it(
    drops_expired: None, core: Core, clock: "FakeClock", issue: "Issue"
) -> None:
    """RFC 5280 §3.3."""
    record = await issue(core)
    await change(core, "revoke", record)
    await core.crl_publisher.work()
    clock.moment = record.not_after
    await core.crl_publisher.work()
    assert record.serial in entries(served(core))
    clock.advance(13 * HOUR)
    await core.crl_publisher.work()
    last = served(core)
    assert last.last_update_utc > record.not_after
    assert record.serial in entries(last)
    clock.advance(13 * HOUR)
    await core.crl_publisher.work()
    assert record.serial not in entries(served(core))


async def test_revoked_in_the_last_second_it_appears_once(
    drops_expired: None, core: Core, clock: "FakeClock", issue: "Issue"
) -> None:
    record = await issue(core)
    clock.moment = record.not_after
    await core.crl_publisher.work()
    await change(core, "revoke", record)
    clock.advance(timedelta(seconds=2))
    await core.crl_publisher.work()
    assert record.serial in entries(served(core))
    clock.advance(13 * HOUR)
    await core.crl_publisher.work()
    assert record.serial not in entries(served(core))


async def test_the_schedule(core: Core, clock: "FakeClock") -> None:
    start = served(core).last_update_utc
    assert served(core).next_update_utc == start + 24 * HOUR
    clock.moment = start + 12 * HOUR * 9 / 10 - timedelta(seconds=1)
    await core.crl_publisher.work()
    assert {number(served(core, name)) for name in NAMES} == {1}
    clock.moment = start + 12 * HOUR
    await core.crl_publisher.work()
    assert {number(served(core, name)) for name in NAMES} == {2}
    clock.advance(100 * HOUR)
    await core.crl_publisher.work()
    assert number(served(core)) == 3


async def test_changes_close_together_share_a_crl(
    core: Core, issue: "Issue", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.2)
    monkeypatch.setattr(module, "COALESCE_S", 0.1)
    records = [await issue(core, f"host-{n}.example.mn") for n in range(6)]
    core.followers.changed.append(AsyncMock(side_effect=lambda _: core.crl_publisher.notify()))
    await change(core, "revoke", records[0])
    task = asyncio.create_task(core.crl_publisher.run())
    try:
        async with asyncio.timeout(30):
            while len(entries(served(core))) < 1:  # noqa: ASYNC110 - what is waited for is a file
                await asyncio.sleep(0.005)
            for record in records[1:]:
                await change(core, "revoke", record)
            while len(entries(served(core))) < len(records):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.005)
    finally:
        task.cancel()
        await asyncio.wait((task,))
    assert number(served(core)) < 1 + len(records)


async def test_numbers_increase_whoever_publishes(core: Core, clock: "FakeClock") -> None:
    records = await asyncio.gather(
        *(core.crl_publisher.publish("citizen", "test") for _ in range(5)), core.crl_publisher.work()
    )
    assert sorted(record.number for made in records if made for record in made) == [2, 3, 4, 5, 6]
    assert number(served(core, "citizen")) == published(core)["citizen"].number == 6


async def test_next_update_does_not_outlive_the_issuer(core: Core, clock: "FakeClock") -> None:
    end = core.authorities.get("citizen").certificate.not_valid_after_utc
    clock.moment = end - 5 * HOUR
    await core.crl_publisher.publish("citizen", "test")
    assert served(core, "citizen").next_update_utc == end


async def test_an_expired_authority_publishes_nothing_and_hinders_nobody(
    core: Core, clock: "FakeClock"
) -> None:
    clock.moment = core.authorities.get("citizen").certificate.not_valid_after_utc + HOUR
    await core.crl_publisher.attempt()
    assert core.crl_publisher.failure is None
    assert number(served(core, "citizen")) == 1
    assert number(served(core, "root")) == 2
    with pytest.raises(ConflictError, match="has expired"):
        await core.crl_publisher.publish("citizen", "test")


async def test_a_failure_keeps_the_last_crl_and_is_tried_again(
    core: Core, clock: "FakeClock", issue: "Issue", monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await issue(core)
    await change(core, "revoke", record)
    before = (core.home.public / "crl" / "infrastructure.crl").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(core.signer, "sign_digest", fail)
        await core.crl_publisher.attempt()
        assert core.crl_publisher.failure == "infrastructure: the signer process hangs"
        assert (core.home.public / "crl" / "infrastructure.crl").read_bytes() == before
        with pytest.raises(UnavailableError):
            await core.crl_publisher.publish("infrastructure", "test")
    await core.crl_publisher.attempt()
    assert core.crl_publisher.failure is None
    assert entries(served(core)) == {record.serial: "superseded"}


async def test_one_that_fails_does_not_hold_up_the_others(
    core: Core, clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = core.signer.sign_digest

    async def failing_for_root(label: str, data: bytes) -> bytes:
        return await (fail() if label == "ca-root" else sign(label, data))

    monkeypatch.setattr(core.signer, "sign_digest", failing_for_root)
    clock.advance(13 * HOUR)
    await core.crl_publisher.attempt()
    assert core.crl_publisher.failure == "root: the signer process hangs"
    assert [number(served(core, name)) for name in NAMES] == [1, 2, 2, 2]


async def test_a_file_that_cannot_be_written_is_tried_again_under_the_same_number(
    core: Core, clock: "FakeClock", issue: "Issue", monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await issue(core)
    await change(core, "revoke", record)

    with monkeypatch.context() as patch:
        patch.setattr(crl_files, "replaced_file", full)
        for _ in range(3):
            await core.crl_publisher.attempt()
            assert core.crl_publisher.failure is not None
    assert number(served(core)) == 1
    await core.crl_publisher.attempt()
    assert core.crl_publisher.failure is None
    assert number(served(core)) == 2
    assert entries(served(core)) == {record.serial: "superseded"}


async def test_a_bad_signature_is_not_published(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    sign = core.signer.sign_digest

    async def with_another_key(_label: str, data: bytes) -> bytes:
        return await sign("ca-government", data)

    monkeypatch.setattr(core.signer, "sign_digest", with_another_key)
    with pytest.raises(BadSignatureError):
        await core.crl_publisher.publish("citizen", "test")
    assert number(served(core, "citizen")) == 1
    latest = await core.storage.read(
        lambda tx: crls.latest(tx, core.authorities.get("citizen").id, 0, crls.FULL)
    )
    assert latest is not None
    assert latest.number == 1


async def test_files_are_put_back_at_the_start(core: Core, clock: "FakeClock", issue: "Issue") -> None:
    """As after a crash between the record of a CRL and its file, or on a disk that was restored."""
    await change(core, "revoke", await issue(core))
    await core.crl_publisher.work()
    before = served(core)
    copy = Home(shutil.copytree(core.home.path, core.home.path.with_name("copy")))
    (copy.public / "crl" / "infrastructure.crl").write_bytes(b"stale")
    (copy.public / "crl" / "root.crl").unlink()
    (copy.public / "ca" / "citizen.cer").unlink()
    async with open_core(copy, clock) as again:
        assert served(again) == before
        assert number(served(again, "root")) == 1
        citizen = x509.load_der_x509_certificate((copy.public / "ca" / "citizen.cer").read_bytes())
        assert citizen == again.authorities.get("citizen").certificate
        assert published(again)["infrastructure"].number == number(before)
        await again.crl_publisher.work()
        assert served(again) == before


async def test_audited_before_and_after(core: Core, audited: Any) -> None:
    (record,) = await core.crl_publisher.publish("citizen", "user:operator")
    last = (await audited(core))[-2:]
    assert [(one.action, one.actor) for one in last] == [
        ("crl.sign", "user:operator"),
        ("crl.publish", "user:operator"),
    ]
    assert record.sha256.hex() in last[1].detail


async def test_an_unknown_authority(core: Core) -> None:
    with pytest.raises(NotFoundError, match="no authority nobody"):
        await core.crl_publisher.publish("nobody", "test")


def test_times_are_whole_seconds(core: Core) -> None:
    moments: list[datetime] = [served(core).last_update_utc, served(core).next_update_utc]  # type: ignore[list-item]
    assert [moment.microsecond for moment in moments] == [0, 0]


async def test_a_clock_that_was_ahead_loses_no_entry(
    drops_expired: None, core: Core, clock: "FakeClock", issue: "Issue"
) -> None:
    """CRLs dated past a certificate's end drop its entry; once the clock is right, the next has it again."""
    record = await issue(core)
    await change(core, "revoke", record)
    await core.crl_publisher.work()
    right = clock.now()
    clock.moment = record.not_after + HOUR
    for _ in range(2):
        clock.advance(13 * HOUR)
        await core.crl_publisher.work()
    assert record.serial not in entries(served(core))
    clock.moment = right + HOUR
    await core.crl_publisher.work()
    corrected = served(core)
    assert corrected.last_update_utc == clock.now()
    assert number(corrected) == 5
    assert entries(corrected) == {record.serial: "superseded"}
    await core.crl_publisher.work()
    assert number(served(core)) == 5


async def test_a_full_disk_does_not_stop_the_start(
    core: Core, clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is served already stays, and what is missing is written when there is room."""
    (core.home.public / "crl" / "root.crl").unlink()
    (core.home.public / "ca" / "citizen.cer").unlink()
    (core.home.public / "crl" / "citizen.crl").write_bytes(b"damaged")
    with monkeypatch.context() as patch:
        patch.setattr(crl_files, "replaced_file", full)
        await core.crl_publisher.restore_files()
        assert set(published(core)) == set(NAMES)
        await core.crl_publisher.attempt()
        assert core.crl_publisher.failure is not None
    await core.crl_publisher.attempt()
    assert core.crl_publisher.failure is None
    assert {number(served(core, name)) for name in NAMES} == {1}
    assert (core.home.public / "ca" / "citizen.cer").read_bytes() == core.authorities.get("citizen").der


async def test_an_invalidity_date_is_in_the_entry(core: Core, clock: "FakeClock", issue: "Issue") -> None:
    """RFC 5280 §5.3.2; with another zone, and one that nobody may give."""
    record = await issue(core)
    for wrong, message in [("soon", "is no time"), ("9999-12-31T23:59:59Z", "in the future")]:
        with pytest.raises((RefusedError, ConflictError), match=message):
            await change(core, "revoke", record, invalidity_date=wrong)
    await change(core, "revoke", record, reason="keyCompromise", invalidity_date="2026-01-31T20:00:00+08:00")
    await core.crl_publisher.work()
    (entry,) = served(core)
    found = entry.extensions.get_extension_for_class(x509.InvalidityDate)
    assert found.value.invalidity_date_utc == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert not found.critical
    assert entries(served(core)) == {record.serial: "keyCompromise"}


async def test_a_crl_on_which_all_expired_certificates_stay_says_so(core: Core) -> None:
    """X.509 ExpiredCertsOnCRL, under the policy etsi."""
    crl = parse_crl((core.home.public / "crl" / "citizen.crl").read_bytes())
    began = core.authorities.get("citizen").certificate.not_valid_before_utc
    assert crl.extensions.expired_certs_on_crl == began


async def test_a_crl_from_which_the_expired_are_dropped_does_not(drops_expired: None, core: Core) -> None:
    await core.crl_publisher.publish("citizen", "test")
    crl = parse_crl((core.home.public / "crl" / "citizen.crl").read_bytes())
    assert crl.extensions.expired_certs_on_crl is None


async def test_ca_certificates_as_certs_only_messages(core: Core) -> None:
    """RFC 5280 §4.2.2.1."""
    for name in NAMES:
        (found,) = pkcs7.load_der_pkcs7_certificates((core.home.public / "ca" / f"{name}.p7c").read_bytes())
        assert found == core.authorities.get(name).certificate


async def test_a_large_crl_has_a_compressed_form_beside_it(core: Core, issue: "Issue") -> None:
    path = core.home.public / "crl" / "infrastructure.crl"
    beside = path.with_name("infrastructure.crl.gz")
    assert not beside.exists()
    for index in range(40):
        await change(core, "revoke", await issue(core, f"host-{index}.example.mn"))
    await core.crl_publisher.work()
    assert gzip.decompress(beside.read_bytes()) == path.read_bytes()
    assert beside.stat().st_mtime_ns == path.stat().st_mtime_ns


async def test_what_cannot_be_made_again_is_published_anew(core: Core, clock: "FakeClock") -> None:
    """Such as when the store lost entries: no other octets are served under a number."""
    await core.storage.write(lambda tx: tx.execute("UPDATE crls SET signature = zeroblob(70)"))
    (core.home.public / "crl" / "citizen.crl").unlink()
    async with open_core(core.home, clock) as again:
        assert not (core.home.public / "crl" / "citizen.crl").exists()
        await again.crl_publisher.work()
        assert number(served(again, "citizen")) == 2
        assert number(served(again, "root")) == 1


async def test_a_signer_that_fails_is_not_asked_every_second(
    core: Core, clock: "FakeClock", audited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt reads all entries and leaves an audit record; a token may be away for days."""
    moment = 0.0
    fake = SimpleNamespace(monotonic=lambda: moment, process_time=time.process_time)
    monkeypatch.setattr(module, "time", fake)
    before = len(await audited(core))
    clock.advance(13 * HOUR)
    with monkeypatch.context() as failing:
        failing.setattr(core.signer, "sign_digest", fail)
        for second in range(600):
            moment = float(second)
            with pytest.raises(UnavailableError, match="hangs"):
                await core.crl_publisher.work()
    attempts = len(await audited(core)) - before
    assert len(NAMES) < attempts < 30 * len(NAMES)
    moment += MAX_RETRY_S
    await core.crl_publisher.work()
    assert number(served(core)) == 2
