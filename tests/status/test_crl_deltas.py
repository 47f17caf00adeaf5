"""Delta CRLs (RFC 5280 §5.2.4): bases, numbers, what they remove, when they come."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from served_crls import HOUR, NAMES, configure, entries, number, published, served, told
from status_plane import change

from pkiserver.core import Core, open_core
from pkiserver.home import Home
from pkiserver.status import crl_publisher
from protocols.crl_reader import parse_crl

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue

FILE = "http://127.0.0.1:8080/crl/infrastructure"


@pytest.fixture(autouse=True)
def with_deltas(home: Home) -> None:
    configure(home, crl_delta_period='"1h"')


def delta(core: Core) -> x509.CertificateRevocationList:
    return served(core, "infrastructure.delta")


def base(crl: x509.CertificateRevocationList) -> int:
    found = crl.extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert found.critical
    return found.value.crl_number


async def test_the_first_delta_follows_the_first_full_crl(core: Core) -> None:
    await core.crl_publisher.work()  # the full one of `init` was there
    assert (number(served(core)), number(delta(core)), base(delta(core))) == (1, 2, 1)
    assert entries(delta(core)) == {}
    assert set(published(core)) == {*NAMES, *(f"{name}.delta" for name in NAMES)}


async def test_a_change_leads_to_a_delta_only(core: Core, clock: "FakeClock", issue: "Issue") -> None:
    one, two = await issue(core, "one.example.mn"), await issue(core, "two.example.mn")
    await core.crl_publisher.work()
    await change(core, "suspend", one)
    await core.crl_publisher.work()
    assert (number(served(core)), number(delta(core)), base(delta(core))) == (1, 3, 1)
    assert entries(delta(core)) == {one.serial: "certificateHold"}
    await change(core, "revoke", two, reason="keyCompromise")
    await core.crl_publisher.work()
    assert number(delta(core)) == 4
    assert entries(delta(core)) == {one.serial: "certificateHold", two.serial: "keyCompromise"}  # cumulative
    await change(core, "restore", one)
    await core.crl_publisher.work()
    assert entries(delta(core)) == {two.serial: "keyCompromise"}  # the base never had it
    await core.crl_publisher.work()
    assert number(delta(core)) == 5
    public_key = core.authorities.get("infrastructure").certificate.public_key()
    assert delta(core).is_signature_valid(public_key)  # type: ignore[arg-type]
    assert number(served(core, "root")) == 1
    assert number(served(core, "root.delta")) == 2


async def test_a_restored_certificate_is_removed_and_absent_from_the_next_full_crl(
    core: Core, clock: "FakeClock", issue: "Issue"
) -> None:
    record, held_on = await issue(core), clock.now()
    await change(core, "suspend", record)
    await core.crl_publisher.publish("infrastructure", "test")
    assert entries(served(core)) == {record.serial: "certificateHold"}
    clock.advance(HOUR / 2)
    await change(core, "restore", record)
    await core.crl_publisher.work()
    assert entries(delta(core)) == {record.serial: "removeFromCRL"}
    assert next(iter(delta(core))).revocation_date_utc == held_on
    assert told(served(core), delta(core)) == {}
    clock.advance(HOUR / 2)
    await core.crl_publisher.publish("infrastructure", "test")
    assert entries(served(core)) == {}


async def test_a_hold_that_turns_into_a_revocation_keeps_its_date(
    core: Core, clock: "FakeClock", issue: "Issue"
) -> None:
    record, held_on = await issue(core), clock.now()
    await change(core, "suspend", record)
    await core.crl_publisher.publish("infrastructure", "test")
    clock.advance(HOUR / 2)
    await change(core, "revoke", record, reason="keyCompromise")
    await core.crl_publisher.work()
    assert told(served(core), delta(core)) == {record.serial: (held_on, "keyCompromise")}
    await core.crl_publisher.publish("infrastructure", "test")
    assert told(served(core)) == {record.serial: (held_on, "keyCompromise")}


async def test_issued_together_they_share_the_number_and_tell_the_same(
    core: Core, clock: "FakeClock", issue: "Issue"
) -> None:
    record = await issue(core)
    await core.crl_publisher.work()
    before = served(core)
    await change(core, "revoke", record)
    clock.advance(12 * HOUR)
    await core.crl_publisher.work()
    full, update = served(core), delta(core)
    assert (number(full), number(update), base(update)) == (3, 3, 1)
    assert full.last_update_utc == update.last_update_utc
    assert told(full) == told(before, update)
    await core.crl_publisher.work()
    assert (number(served(core)), number(delta(core))) == (3, 3)
    clock.advance(HOUR)
    await core.crl_publisher.work()
    assert (number(served(core)), number(delta(core)), base(delta(core))) == (3, 4, 3)
    assert entries(delta(core)) == {}


async def test_full_crls_and_certificates_name_the_delta_and_deltas_do_not(
    core: Core, issue: "Issue"
) -> None:
    record = await issue(core)
    await core.crl_publisher.publish("infrastructure", "test")
    certificate = x509.load_der_x509_certificate(record.certificate)
    for found in (certificate, served(core)):
        freshest = found.extensions.get_extension_for_class(x509.FreshestCRL)
        names = [name.value for point in freshest.value for name in point.full_name or ()]
        assert (names, freshest.critical) == ([f"{FILE}.delta.crl"], False)
    with pytest.raises(x509.ExtensionNotFound):
        delta(core).extensions.get_extension_for_class(x509.FreshestCRL)
    assert "infrastructure.delta.crl" in (core.home.public / "crl" / "index.html").read_text()


async def test_times_of_a_delta(core: Core, clock: "FakeClock") -> None:
    await core.crl_publisher.work()
    first = delta(core)
    assert first.next_update_utc == clock.now() + 2 * HOUR  # its period, and as much to mend what hinders it
    clock.advance(HOUR * 9 / 10 - timedelta(seconds=1))
    await core.crl_publisher.work()
    assert number(delta(core)) == 2
    clock.moment = first.last_update_utc + HOUR
    await core.crl_publisher.work()
    assert number(delta(core)) == 3


async def test_a_delta_that_would_be_too_large_is_a_full_crl(
    core: Core, issue: "Issue", monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [await issue(core, f"host-{index}.example.mn") for index in range(3)]
    await core.crl_publisher.work()
    monkeypatch.setattr(crl_publisher, "MAX_DELTA_ENTRIES", 2)
    for record in records:
        await change(core, "revoke", record)
    await core.crl_publisher.work()
    assert number(served(core)) == 3
    assert set(entries(served(core))) == {record.serial for record in records}
    await core.crl_publisher.work()
    assert (base(delta(core)), entries(delta(core))) == (3, {})


async def test_without_deltas_none_is_left_where_it_was_served(
    core: Core, home: Home, clock: "FakeClock", issue: "Issue"
) -> None:
    await core.crl_publisher.work()
    path = home.public / "crl" / "infrastructure.delta.crl"
    assert path.exists()
    configure(home, crl_delta_period='"0s"')
    async with open_core(home, clock) as again:
        assert not path.exists()
        await change(again, "revoke", await issue(again))
        await again.crl_publisher.work()
        assert number(served(again)) == 3  # the sequence goes on after the delta's
        with pytest.raises(x509.ExtensionNotFound):
            served(again).extensions.get_extension_for_class(x509.FreshestCRL)


async def test_a_damaged_delta_is_made_again(
    core: Core, home: Home, clock: "FakeClock", issue: "Issue"
) -> None:
    held, restored = await issue(core, "one.example.mn"), await issue(core, "two.example.mn")
    await change(core, "suspend", restored)
    await core.crl_publisher.publish("infrastructure", "test")
    await change(core, "restore", restored)
    await change(core, "suspend", held)
    await core.crl_publisher.work()
    paths = [home.public / "crl" / f"infrastructure{suffix}" for suffix in (".crl", ".delta.crl")]
    before = [path.read_bytes() for path in paths]
    await change(core, "restore", held)  # what came afterwards is not in them
    paths[0].unlink()
    paths[1].write_bytes(b"damaged")
    async with open_core(home, clock):
        assert [path.read_bytes() for path in paths] == before
    assert sorted(entry.reason or 0 for entry in parse_crl(before[1]).entries()) == [6, 8]
