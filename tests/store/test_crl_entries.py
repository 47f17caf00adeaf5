"""Rows of CRLs: entries from one event till another, in chunks, their changes; published CRLs; shards."""

import asyncio
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import certificates, crl_entries, crls
from store.crl_entries import EntryChange
from store.database import Database, Transaction
from store.errors import StorageError
from store.records import CertificateRecord, CRLEntryRecord, CRLRecord, CRLShardRecord, StatusRecord, to_unix

if TYPE_CHECKING:
    from tests.store.conftest import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
MAX_SERIAL = (1 << 127) - 1
HOLD = CRLEntryRecord(1, 5, 10, None, 2, NOW, 6, NOW + 9 * DAY, b"entry of the hold")
FULL = CRLRecord(
    1, 0, crls.FULL, 1, None, NOW, NOW + DAY, 4, None, 0, 300, b"hash 1", b"head", b"tail", b"signature"
)


async def test_an_entry_from_one_event_till_another(store: "Store") -> None:
    assert await store.read(crl_entries.current, 1, 5) is None
    await store.write(crl_entries.begin, HOLD)
    assert await store.read(crl_entries.current, 1, 5) == HOLD
    revoked = replace(HOLD, since=12, reason=1, entry=b"entry of the revocation")
    await store.write(crl_entries.begin, revoked)
    ended = replace(HOLD, until=12)
    assert await store.read(crl_entries.current, 1, 5) == revoked
    assert await store.read(crl_entries.current, 2, 5) is None
    assert await store.read(crl_entries.of_certificate, 1, 5) == [ended, revoked]
    found = [await store.read(crl_entries.at, 1, 5, position) for position in (9, 10, 11, 12, 99)]
    assert found == [None, ended, ended, revoked, revoked]
    await store.write(crl_entries.end, 2, 5, 13)
    assert await store.read(crl_entries.current, 1, 5) == revoked
    await store.write(crl_entries.end, 1, 5, 14)
    assert await store.read(crl_entries.current, 1, 5) is None
    assert await store.read(crl_entries.at, 1, 5, 13) == replace(revoked, until=14)
    assert await store.read(crl_entries.at, 1, 5, 14) is None


async def test_the_same_again_changes_nothing(store: "Store") -> None:
    await store.write(crl_entries.begin, HOLD)
    await store.write(crl_entries.begin, replace(HOLD, since=12))
    assert await store.read(crl_entries.of_certificate, 1, 5) == [HOLD]


async def test_one_certificate_has_one_current_entry(store: "Store") -> None:
    await store.write(crl_entries.begin, HOLD)

    def second(tx: Transaction) -> None:
        tx.execute(
            "INSERT INTO crl_entries SELECT authority, serial, 11, until, shard, revoked_at, reason,"
            " not_after, entry FROM crl_entries"
        )

    with pytest.raises(StorageError, match="UNIQUE"):
        await store.write(second)


async def entries(
    store: "Store", scope: int, position: int, floor: datetime | None, limit: int
) -> list[bytes]:
    """Return what all chunks hold; entries in these tests are of one octet each."""
    joined, after = b"", 0
    while (found := await store.read(crl_entries.chunk, 1, scope, position, floor, after, limit)) is not None:
        assert 0 < found.count <= limit
        assert len(found.joined) == found.count
        joined, after = joined + found.joined, found.last
    return [joined[at : at + 1] for at in range(len(joined))]


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_chunks_in_serial_order_without_the_expired(store: "Store", limit: int) -> None:
    for authority, serial, days, shard, entry in [
        (1, 300, 9, 1, b"c"),
        (1, 2, 0, 2, b"a"),
        (1, MAX_SERIAL, 9, 2, b"d"),
        (1, 17, 9, 1, b"b"),
        (2, 18, 9, 1, b"x"),
    ]:
        record = CRLEntryRecord(authority, serial, 10, None, shard, NOW, 1, NOW + days * DAY, entry)
        await store.write(crl_entries.begin, record)
    assert await entries(store, 0, 10, None, limit) == [b"a", b"b", b"c", b"d"]
    assert await entries(store, 0, 9, None, limit) == []
    assert await entries(store, 0, 10, NOW, limit) == [b"a", b"b", b"c", b"d"]
    assert await entries(store, 0, 10, NOW + SECOND, limit) == [b"b", b"c", b"d"]
    assert await entries(store, 1, 10, None, limit) == [b"b", b"c"]
    assert await entries(store, 2, 10, NOW + SECOND, limit) == [b"d"]
    assert await entries(store, 3, 10, None, limit) == []


async def test_changes_between_two_events(store: "Store") -> None:
    for serial, since, until, not_after in [
        (1, 3, None, DAY),  # in both
        (2, 3, 7, DAY),  # restored
        (3, 3, 7, DAY),  # a hold that turned into a revocation
        (4, 6, None, DAY),  # new
        (5, 6, 8, DAY),  # came and went
        (6, 3, 7, -DAY),  # restored, but the base had left it out
        (7, 2, 4, DAY),  # gone before the base
    ]:
        entry = f"entry of {serial}".encode()
        await store.write(
            crl_entries.begin, CRLEntryRecord(1, serial, since, None, 1, NOW, 6, NOW + not_after, entry)
        )
        if until is not None:
            await store.write(crl_entries.end, 1, serial, until)
    await store.write(crl_entries.begin, CRLEntryRecord(1, 3, 7, None, 1, NOW, 1, NOW + DAY, b"revoked"))
    expected = [
        EntryChange(2, NOW, None),
        EntryChange(3, NOW, b"revoked"),
        EntryChange(4, NOW, b"entry of 4"),
        EntryChange(5, NOW, None),  # the base had it not, but a delta after it (RFC 5280 §5.2.4)
    ]
    assert await store.read(crl_entries.changes, 1, 0, 5, NOW, 9, 100) == expected
    assert await store.read(crl_entries.changes, 1, 1, 5, NOW, 9, 100) == expected
    assert await store.read(crl_entries.changes, 1, 0, 5, NOW, 9, 2) == expected[:2]
    assert await store.read(crl_entries.changes, 1, 2, 5, NOW, 9, 100) == []
    assert await store.read(crl_entries.changes, 2, 0, 5, NOW, 9, 100) == []
    as_of_6 = [EntryChange(4, NOW, b"entry of 4"), EntryChange(5, NOW, b"entry of 5")]
    assert await store.read(crl_entries.changes, 1, 0, 5, NOW, 6, 100) == as_of_6
    assert await store.read(crl_entries.last_changes, 1, 5) == {0: 8, 1: 8}
    assert await store.read(crl_entries.last_changes, 1, 8) == {}


HISTORIES = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from([None, b"1", b"2"])), max_size=12
)  # at each event, counted from 1, one serial gets this entry, or none


@settings(deadline=None, max_examples=50)
@given(HISTORIES, st.integers(0, 12), st.integers(0, 12))
def test_a_full_crl_or_a_delta_after_it_and_the_changes_make_the_later_one(
    history: list[tuple[int, bytes | None]], one: int, other: int
) -> None:
    """Also who applied a delta in between comes to the state that this one tells of (RFC 5280 §5.2.4)."""
    base, position = sorted((one, other))

    def states(tx: Transaction) -> tuple[list[dict[int, bytes]], list[EntryChange]]:
        for event, (serial, entry) in enumerate(history, start=1):
            if entry is None:
                crl_entries.end(tx, 1, serial, event)
            else:
                record = CRLEntryRecord(1, serial, event, None, 0, NOW, 1, NOW, entry)
                crl_entries.begin(tx, record)
        state = [
            {serial: found.entry for serial in range(1, 5) if (found := crl_entries.at(tx, 1, serial, at))}
            for at in range(base, position + 1)
        ]
        return state, crl_entries.changes(tx, 1, 0, base, None, position, 100)

    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "test.db")
        known, changed = asyncio.run(database.write(states))
        database.close()
    assert len({change.serial for change in changed}) == len(changed)
    for state in known:
        updated = dict(state)
        for change in changed:
            if change.entry is None:
                updated.pop(change.serial, None)
            else:
                updated[change.serial] = change.entry
        assert updated == known[-1]


async def test_published_crls(store: "Store") -> None:
    assert await store.read(crls.latest, 1, 0, crls.FULL) is None
    second = replace(
        FULL, number=2, this_update=NOW + DAY, next_update=NOW + 2 * DAY, not_expired_at=NOW, sha256=b"hash 2"
    )
    delta = replace(second, kind=crls.DELTA, base_number=1, not_expired_at=None)
    other, shard = replace(FULL, authority=2), replace(FULL, scope=1)
    for record in (FULL, other, second, delta, shard):
        await store.write(crls.add, record)
    assert await store.read(crls.latest, 1, 0, crls.FULL) == second
    assert await store.read(crls.latest, 1, 0, crls.DELTA) == delta
    assert await store.read(crls.latest, 2, 0, crls.FULL) == other
    assert await store.read(crls.latest, 1, 1, crls.FULL) == shard
    assert await store.read(crls.get, 1, 0, crls.FULL, 1) == FULL
    assert await store.read(crls.get, 1, 0, crls.DELTA, 1) is None
    moments = [NOW - SECOND, NOW, NOW + DAY - SECOND, NOW + DAY]
    found = [await store.read(crls.in_force_at, 1, 0, crls.FULL, moment) for moment in moments]
    assert found == [None, FULL, FULL, second]
    with pytest.raises(StorageError, match="UNIQUE"):
        await store.write(crls.add, second)


@pytest.mark.parametrize(
    "wrong", [replace(FULL, base_number=1), replace(FULL, kind=crls.DELTA), replace(FULL, kind="other")]
)
async def test_a_delta_has_a_base_and_a_full_crl_has_none(store: "Store", wrong: CRLRecord) -> None:
    with pytest.raises(StorageError, match="CHECK"):
        await store.write(crls.add, wrong)


async def test_shards(store: "Store") -> None:
    records = [CRLShardRecord(1, number, f"http://a/crl/root-{number}.crl") for number in (1, 2)]
    for record in reversed(records):
        await store.write(crls.add_shard, record)
    assert await store.read(crls.shards, 1) == records
    assert await store.read(crls.shards, 2) == []
    for again in (records[0], replace(records[0], shard=3)):
        with pytest.raises(StorageError, match="UNIQUE"):
            await store.write(crls.add_shard, again)


async def test_ocsp_is_told_of_the_current_entry(store: "Store") -> None:
    certificate = CertificateRecord(
        1, 5, "device", "CN=a", bytes(32), NOW, NOW + DAY, "active", b"certificate", 2
    )
    await store.write(certificates.add, certificate)
    not_after_s = to_unix(certificate.not_after)
    good = StatusRecord(1, 5, None, None, not_after_s)
    assert await store.read(certificates.status, 1, 5) == good
    await store.write(crl_entries.begin, HOLD)
    await store.write(crl_entries.begin, replace(HOLD, since=11, reason=1, entry=b"revoked"))
    told = StatusRecord(1, 5, NOW, 1, not_after_s)
    assert await store.read(certificates.status, 1, 5) == told
    assert await store.read(certificates.statuses_in_range, 1, 0, MAX_SERIAL, 10) == [told]
    await store.write(crl_entries.end, 1, 5, 12)
    assert await store.read(certificates.status, 1, 5) == good
