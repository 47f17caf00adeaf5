"""Sharded CRLs (RFC 5280 §5.2.5): each certificate names one, which says so critically; nothing moves it."""

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from served_crls import NAMES, configure, entries, number, published, served
from status_plane import change

from pkiserver.core import Core, open_core
from pkiserver.home import Home
from protocols.asn1 import der
from protocols.crl_reader import parse_crl
from store import crls
from store.records import CertificateRecord

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue

URL = "http://127.0.0.1:8080"


@pytest.fixture(autouse=True)
def with_shards(home: Home) -> None:
    configure(home, crl_shards="3")


def distribution_point(record: CertificateRecord) -> str:
    certificate = x509.load_der_x509_certificate(record.certificate)
    (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    (name,) = point.full_name or ()
    return str(name.value)


async def issue_in_all_shards(core: Core, issue: "Issue", shards: set[int]) -> dict[int, CertificateRecord]:
    """Issue until every one of these shards has a certificate; 100 that miss one of 3 are a defect."""
    found: dict[int, CertificateRecord] = {}
    for index in range(100):
        if found.keys() >= shards:
            return found
        record = await issue(core, f"host-{index}.example.mn")
        assert record.crl_shard in shards
        found[record.crl_shard] = record
    raise AssertionError(f"no certificate in {shards - found.keys()}")


async def test_a_certificate_names_its_shard_and_only_its_crls_tell_of_it(core: Core, issue: "Issue") -> None:
    records = await issue_in_all_shards(core, issue, {1, 2, 3})
    for record in records.values():
        await change(core, "revoke", record)
    await core.crl_publisher.work()
    for shard, record in records.items():
        assert distribution_point(record) == f"{URL}/crl/infrastructure-{shard}.crl"
        crl = served(core, f"infrastructure-{shard}")
        assert set(entries(crl)) == {record.serial}
        point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
        assert point.critical
        # The name is, octet for octet, that of the certificate.
        name = der.encode(der.context(6, constructed=False), distribution_point(record).encode())
        assert name in point.value.public_bytes()
        assert name in record.certificate
    assert set(entries(served(core))) == {record.serial for record in records.values()}
    with pytest.raises(x509.ExtensionNotFound):
        served(core).extensions.get_extension_for_class(x509.IssuingDistributionPoint)


async def test_only_the_shard_that_changed_publishes(core: Core, issue: "Issue") -> None:
    records = await issue_in_all_shards(core, issue, {1, 2, 3})
    await core.crl_publisher.work()
    await change(core, "revoke", records[2])
    await core.crl_publisher.work()
    assert [number(served(core, f"infrastructure-{shard}")) for shard in (1, 2, 3)] == [1, 2, 1]
    assert number(served(core)) == 2


async def test_shards_outlive_their_configuration(
    core: Core, home: Home, clock: "FakeClock", issue: "Issue"
) -> None:
    """With another public_url there are new ones, with fewer the first; the old are published for ever."""
    first = await issue_in_all_shards(core, issue, {1, 2, 3})
    home.configuration.write_text(home.configuration.read_text().replace(f'"{URL}"', '"http://pki.mn"'))
    async with open_core(home, clock) as moved:
        second = await issue_in_all_shards(moved, issue, {4, 5, 6})
        assert distribution_point(second[5]) == "http://pki.mn/crl/infrastructure-5.crl"
        await change(moved, "revoke", first[3])
        await moved.crl_publisher.work()
        assert set(entries(served(moved, "infrastructure-3"))) == {first[3].serial}
        assert parse_crl((home.public / "crl" / "infrastructure-3.crl").read_bytes())
        point = served(moved, "infrastructure-3").extensions.get_extension_for_class(
            x509.IssuingDistributionPoint
        )
        assert [name.value for name in point.value.full_name or ()] == [distribution_point(first[3])]
    configure(home, crl_shards="2")
    async with open_core(home, clock) as fewer:
        await issue_in_all_shards(fewer, issue, {4, 5})
    configure(home, crl_shards="1")
    async with open_core(home, clock) as one:
        record = await issue(one)
        assert (record.crl_shard, distribution_point(record)) == (0, "http://pki.mn/crl/infrastructure.crl")
        await change(one, "revoke", record)
        await change(one, "revoke", second[6])
        await one.crl_publisher.work()
        assert record.serial in entries(served(one))
        assert set(entries(served(one, "infrastructure-6"))) == {second[6].serial}


async def test_one_shard_is_none(home: Home, clock: "FakeClock", issue: "Issue") -> None:
    configure(home, crl_shards="1")
    async with open_core(home, clock) as core:
        record = await issue(core)
        assert (record.crl_shard, distribution_point(record)) == (0, f"{URL}/crl/infrastructure.crl")
        assert set(published(core)) == set(NAMES)
        authority = core.authorities.get("infrastructure").id
        assert await core.storage.read(lambda tx: crls.shards(tx, authority)) == []
