"""The row modules on a real database: what goes in comes out, in order, and guards hold."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import authorities, certificates, credentials, facts, issuances, status_events
from store.database import Transaction
from store.errors import StorageError
from store.records import (
    AuthorityRecord,
    CertificateRecord,
    CredentialRecord,
    HoldRecord,
    IssuanceRecord,
    ResponderRecord,
    StatusEventRecord,
    from_unix,
    serial_to_blob,
    to_unix,
)

if TYPE_CHECKING:
    from tests.store.conftest import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = bytes(range(32))
MAX_SERIAL = (1 << 127) - 1
SERIALS = st.integers(1, MAX_SERIAL)
CERTIFICATE = CertificateRecord(
    authority=1,
    serial=0x1234,
    profile="device",
    subject="CN=a",
    spki_sha256=KEY,
    not_before=NOW,
    not_after=NOW + 365 * DAY,
    state="active",
    certificate=b"certificate",
    crl_shard=3,
)


@pytest.mark.parametrize(
    ("serial", "blob"),
    [(1, bytes(15) + b"\1"), (MAX_SERIAL, b"\x7f" + b"\xff" * 15), (0x0102, bytes(14) + b"\1\2")],
)
def test_serials_as_octets(serial: int, blob: bytes) -> None:
    assert serial_to_blob(serial) == blob
    assert int.from_bytes(blob, "big") == serial


@given(SERIALS, SERIALS)
def test_serials_sort_as_numbers(one: int, other: int) -> None:
    assert (serial_to_blob(one) < serial_to_blob(other)) is (one < other)


@given(st.integers(0, 4_000_000_000))
def test_times_both_ways(seconds: int) -> None:
    assert to_unix(from_unix(seconds)) == seconds
    assert from_unix(seconds).utcoffset() == timedelta(0)


# facts


async def test_facts(store: "Store") -> None:
    assert await store.read(facts.get, "slot") is None
    await store.write(facts.put, "slot", "1")
    await store.write(facts.put, "slot", "2")
    assert await store.read(facts.get, "slot") == "2"


# authorities


async def test_authorities(store: "Store") -> None:
    await store.write(authorities.set_certificate, 2, b"certificate")
    assert await store.read(authorities.all_authorities) == [
        AuthorityRecord(1, "root", None, "ca-root", None),
        AuthorityRecord(2, "citizen", "root", None, b"certificate"),
    ]
    with pytest.raises(StorageError, match="UNIQUE"):
        await store.write(authorities.add_authority, "root", None, None)


async def test_generations_of_an_authority_follow_each_other(store: "Store") -> None:
    add = partial(store.write, authorities.add_authority, "root", None)
    await add("ca-root.2", generation=2, state="prepared")
    with pytest.raises(StorageError, match="UNIQUE"):  # one follows, not two
        await add("ca-root.3", generation=3, state="published")
    assert not await store.write(authorities.activate_at, 3, NOW)  # not published yet
    assert not await store.write(authorities.move, 3, "published", "active")
    assert await store.write(authorities.move, 3, "prepared", "published")
    assert await store.write(authorities.activate_at, 3, NOW)
    assert (await store.read(authorities.all_authorities))[2] == AuthorityRecord(
        3, "root", None, "ca-root.2", None, 2, "published", NOW
    )
    with pytest.raises(StorageError, match="UNIQUE"):  # one issues, not two
        await store.write(authorities.move, 3, "published", "active")
    assert await store.write(authorities.move, 1, "active", "retiring")
    assert await store.write(authorities.move, 3, "published", "active")
    records = await store.read(authorities.all_authorities)
    assert [(one.handle, one.state, one.activate_at) for one in records] == [
        ("root", "retiring", None),
        ("citizen", "active", None),
        ("root.2", "active", None),
    ]


@pytest.mark.parametrize(("state", "after"), [("retiring", "ended"), ("compromised", "compromised")])
async def test_the_end_of_a_generation(store: "Store", state: str, after: str) -> None:
    await store.write(authorities.move, 1, "active", state)
    await store.write(authorities.end, 1, NOW)
    await store.write(authorities.end, 1, NOW + DAY)
    assert await store.read(authorities.state_of, 1) == after
    assert (await store.read(authorities.all_authorities))[0].ended_at == NOW


async def test_the_other_certificate_of_a_holder_may_be_by_a_former_key(store: "Store") -> None:
    await store.write(authorities.add_authority, "root", None, "k", generation=2, state="prepared")
    await store.write(certificates.add, CERTIFICATE)
    assert await store.read(certificates.newest_of_subject, 3, "device", "CN=a") == CERTIFICATE
    assert await store.read(certificates.newest_of_subject, 2, "device", "CN=a") is None


async def test_responders(store: "Store") -> None:
    assert await store.read(authorities.all_responders) == []
    await store.write(authorities.add_responder, 2, "ocsp-1", b"first", NOW)
    await store.write(authorities.add_responder, 2, "ocsp-2", b"second", NOW + DAY)
    assert await store.read(authorities.all_responders) == [
        ResponderRecord(1, 2, "ocsp-1", b"first", NOW),
        ResponderRecord(2, 2, "ocsp-2", b"second", NOW + DAY),
    ]


# credentials


async def _credential(store: "Store", reference: str = "ref", uses: int = 1, attempts: int = 3) -> int:
    await store.write(
        credentials.add,
        reference=reference,
        secret_hash=b"hash",
        profile="device",
        subject="CN=Бат",
        san=("dns:a.mn", "email:б@a.mn"),
        limit_mnt=5_000_000,
        uses=uses,
        attempts=attempts,
        created_at=NOW,
        expires_at=NOW + DAY,
        audit_sequence=1,
    )
    record = await store.read(credentials.get, reference)
    assert record is not None
    return record.id


async def test_credentials_both_ways(store: "Store") -> None:
    assert await store.read(credentials.get, "ref") is None
    await _credential(store)
    await _credential(store, "other", uses=2)
    record = CredentialRecord(
        id=1,
        reference="ref",
        secret_hash=b"hash",
        sealed_secret=None,
        profile="device",
        subject="CN=Бат",
        san=("dns:a.mn", "email:б@a.mn"),
        limit_mnt=5_000_000,
        uses_left=1,
        attempts_left=3,
        created_at=NOW,
        expires_at=NOW + DAY,
        cancelled_at=None,
    )
    assert await store.read(credentials.get, "ref") == record
    other = replace(record, id=2, reference="other", uses_left=2)
    assert await store.read(credentials.newest, 10) == [other, record]
    assert await store.read(credentials.newest, 1) == [other]


async def test_exactly_as_many_takers_win_as_there_are_uses(store: "Store") -> None:
    number = await _credential(store, uses=7)
    taken = await asyncio.gather(*(store.write(credentials.take_use, number, NOW) for _ in range(40)))
    assert taken.count(True) == 7
    await store.write(credentials.give_back_use, number)
    assert await store.write(credentials.take_use, number, NOW)
    assert not await store.write(credentials.take_use, number, NOW)


async def test_a_use_is_taken_until_the_credential_expires(store: "Store") -> None:
    number = await _credential(store, uses=3)
    assert await store.write(credentials.take_use, number, NOW + DAY - timedelta(seconds=1))
    assert not await store.write(credentials.take_use, number, NOW + DAY)


async def test_no_use_of_a_cancelled_credential(store: "Store") -> None:
    number = await _credential(store)
    assert await store.write(credentials.cancel, "ref", NOW)
    assert not await store.write(credentials.cancel, "ref", NOW)
    assert not await store.write(credentials.cancel, "unknown", NOW)
    assert not await store.write(credentials.take_use, number, NOW)
    record = await store.read(credentials.get, "ref")
    assert record is not None
    assert (record.cancelled_at, record.uses_left) == (NOW, 1)


async def test_no_use_of_a_locked_credential(store: "Store") -> None:
    number = await _credential(store, attempts=2)
    for left in (1, 0, 0):
        await store.write(credentials.take_attempt, number)
        record = await store.read(credentials.get, "ref")
        assert record is not None
        assert record.attempts_left == left
    assert not await store.write(credentials.take_use, number, NOW)


# issuances


async def _reserve(
    store: "Store", serial: int = 1, *, subject: str = "CN=a", credential: int | None = None
) -> IssuanceRecord:
    return await store.write(
        issuances.reserve,
        authority=1,
        serial=serial,
        profile="device",
        subject=subject,
        spki_sha256=KEY,
        tbs=b"tbs",
        tbs_sha256=b"hash",
        requested_by="tests",
        credential=credential,
        enrollment=None,
        crl_shard=3,
        state="prepared",
        now=NOW,
    )


async def test_issuances_both_ways(store: "Store") -> None:
    number = await _credential(store)
    first = await _reserve(store, MAX_SERIAL, credential=number)
    assert first == IssuanceRecord(
        1, 1, MAX_SERIAL, "device", "CN=a", KEY, b"tbs", b"hash", "tests", number, None, 3, "prepared"
    )
    second = await _reserve(store, 2)
    assert await store.read(issuances.unfinished) == [first, second]
    with pytest.raises(StorageError, match="UNIQUE"):
        await _reserve(store, 2)


Step = Callable[[Transaction, int], bool]
STEPS: dict[str, Step] = {
    "signing": issuances.mark_signing,
    "issued": lambda tx, number: issuances.mark_issued(tx, number, NOW),
    "voided": lambda tx, number: issuances.mark_voided(tx, number, NOW),
}
WAYS: dict[str, tuple[str, ...]] = {
    "prepared": (),
    "signing": ("signing",),
    "issued": ("signing", "issued"),
    "voided": ("voided",),
}
ALLOWED = {("prepared", "signing"), ("prepared", "voided"), ("signing", "issued"), ("signing", "voided")}


@pytest.mark.parametrize(("state", "step"), list(itertools.product(WAYS, STEPS)))
async def test_states_of_an_issuance(store: "Store", state: str, step: str) -> None:
    intent = await _reserve(store)
    for name in WAYS[state]:
        assert await store.write(STEPS[name], intent.id)
    assert await store.write(STEPS[step], intent.id) is ((state, step) in ALLOWED)
    reached = step if (state, step) in ALLOWED else state
    query = "SELECT state, finished_at FROM issuances"
    finished = to_unix(NOW) if reached in ("issued", "voided") else None
    assert await store.database.read(lambda tx: tx.one(query)) == (reached, finished)
    unfinished = await store.read(issuances.unfinished)
    assert [one.state for one in unfinished] == ([reached] if finished is None else [])


async def test_an_issuance_is_undelivered_from_issued_to_delivered(store: "Store") -> None:
    intent = await _reserve(store, 7)
    asked = (intent.requested_by, intent.profile, KEY)
    for name in ("signing", "issued"):
        assert await store.read(issuances.undelivered, *asked) is None
        await store.write(STEPS[name], intent.id)
    assert await store.read(issuances.undelivered, *asked) == replace(intent, state="issued")
    for other in (("credential:z", *asked[1:]), (asked[0], "another", KEY), (*asked[:2], bytes(32))):
        assert await store.read(issuances.undelivered, *other) is None
    await store.write(issuances.mark_delivered, 2, 7, NOW)  # of another authority
    assert await store.read(issuances.undelivered, *asked) is not None
    await store.write(issuances.mark_delivered, 1, 7, NOW)
    assert await store.read(issuances.undelivered, *asked) is None


async def test_subjects_of_a_key_without_the_voided(store: "Store") -> None:
    for serial, subject in enumerate(["CN=a", "CN=b", "CN=b"], start=1):
        await _reserve(store, serial, subject=subject)
    assert await store.read(issuances.subjects_of_key, KEY) == {"CN=a", "CN=b"}
    await store.write(STEPS["voided"], 1)
    assert await store.read(issuances.subjects_of_key, KEY) == {"CN=b"}
    assert await store.read(issuances.subjects_of_key, bytes(32)) == set()


# certificates


async def test_certificates_both_ways(store: "Store") -> None:
    assert await store.read(certificates.get, 1, CERTIFICATE.serial) is None
    sibling = replace(CERTIFICATE, authority=2, not_before=NOW + DAY)
    for record in (CERTIFICATE, sibling):
        await store.write(certificates.add, record)
    assert await store.read(certificates.get, 1, CERTIFICATE.serial) == CERTIFICATE
    assert await store.read(certificates.get, 2, CERTIFICATE.serial) == sibling
    assert await store.read(certificates.with_serial, CERTIFICATE.serial) == [CERTIFICATE, sibling]
    assert await store.read(certificates.with_serial, 1) == []
    assert await store.read(certificates.with_key, KEY) == [sibling, CERTIFICATE]
    assert await store.read(certificates.with_key, bytes(32)) == []
    with pytest.raises(StorageError, match="UNIQUE"):
        await store.write(certificates.add, CERTIFICATE)


async def test_the_newest_certificate_of_a_subject(store: "Store") -> None:
    newer = replace(CERTIFICATE, serial=2, not_before=NOW + DAY)
    others = [
        replace(CERTIFICATE, serial=3, not_before=NOW + 2 * DAY, subject="CN=b"),
        replace(CERTIFICATE, serial=4, not_before=NOW + 2 * DAY, profile="tls-server"),
        replace(CERTIFICATE, serial=5, not_before=NOW + 2 * DAY, authority=2),
    ]
    for record in (newer, CERTIFICATE, *others):
        await store.write(certificates.add, record)
    assert await store.read(certificates.newest_of_subject, 1, "device", "CN=a") == newer
    assert await store.read(certificates.newest_of_subject, 1, "device", "CN=c") is None


async def test_lists_and_counts_by_state_at_a_moment(store: "Store") -> None:
    ended = {"not_after": NOW - timedelta(seconds=1)}
    records = {
        "active": CERTIFICATE,
        "last second": replace(CERTIFICATE, serial=2, not_after=NOW),
        "expired": replace(CERTIFICATE, serial=3, **ended),
        "suspended": replace(CERTIFICATE, serial=4, state="suspended"),
        "expired on hold": replace(CERTIFICATE, serial=5, state="suspended", **ended),
        "revoked": replace(CERTIFICATE, serial=6, state="revoked", **ended),
        "of another": replace(CERTIFICATE, serial=7, authority=2, not_before=NOW + DAY),
    }
    for record in records.values():
        await store.write(certificates.add, record)

    async def listed(state: str | None, *issuers: int) -> set[int]:
        wanted = {"authorities": issuers or None, "state": state, "now": NOW, "limit": 100}
        found = await store.read(certificates.newest, **wanted)
        return {one.serial for one in found}

    assert await listed("active", 1) == {CERTIFICATE.serial, 2}
    assert await listed("expired", 1) == {3, 5}
    assert await listed("suspended", 1) == {4}
    assert await listed("revoked", 1) == {6}
    assert await listed(None, 1) == {CERTIFICATE.serial, 2, 3, 4, 5, 6}
    assert await listed(None) == await listed(None, 1, 2) == {CERTIFICATE.serial, 2, 3, 4, 5, 6, 7}
    first = await store.read(certificates.newest, authorities=None, state=None, now=NOW, limit=1)
    assert [one.serial for one in first] == [7]
    counts = {"active": 2, "suspended": 1, "revoked": 1, "expired": 2}
    assert await store.read(certificates.count_by_state, 1, NOW) == counts
    assert await store.read(certificates.count_by_state, 9, NOW) == dict.fromkeys(counts, 0)


async def test_the_state_of_one_certificate_changes(store: "Store") -> None:
    for authority in (1, 2):
        await store.write(certificates.add, replace(CERTIFICATE, authority=authority))
    await store.write(certificates.set_state, 1, CERTIFICATE.serial, "suspended")
    found = await store.read(certificates.with_serial, CERTIFICATE.serial)
    assert [one.state for one in found] == ["suspended", "active"]
    with pytest.raises(StorageError, match="CHECK"):
        await store.write(certificates.set_state, 1, CERTIFICATE.serial, "expired")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    serials=st.sets(SERIALS, max_size=12), low=SERIALS, high=st.integers(1, MAX_SERIAL + 1), data=st.data()
)
async def test_serial_ranges(
    store: "Store", serials: set[int], low: int, high: int, data: st.DataObject
) -> None:
    limit = data.draw(st.integers(1, 12))
    edges = st.sampled_from(sorted(serials)) if serials else st.just(low)
    low = data.draw(st.one_of(st.just(low), edges))
    high = data.draw(st.one_of(st.just(high), edges))

    def add_and_ask(tx: Transaction) -> list[int]:
        tx.execute("DELETE FROM certificates")
        for serial in serials:
            certificates.add(tx, replace(CERTIFICATE, serial=serial))
            certificates.add(tx, replace(CERTIFICATE, serial=serial, authority=2))
        return [one.serial for one in certificates.statuses_in_range(tx, 1, low, high, limit)]

    found = await store.database.write(add_and_ask)
    assert found == sorted(serial for serial in serials if low <= serial < high)[:limit]


# status events


def _event(tx: Transaction, **changes: Any) -> int:
    values: dict[str, Any] = {
        "authority": 1,
        "serial": 5,
        "from_state": "active",
        "to_state": "revoked",
        "reason": 1,
        "effective_at": NOW,
        "actor": "tests",
    }
    return status_events.append(tx, **values | changes)


async def test_events_both_ways(store: "Store") -> None:
    assert await store.read(status_events.head) == 0
    issued: dict[str, Any] = {"from_state": None, "to_state": "active", "reason": None}
    assert await store.write(_event, **issued) == 1
    assert await store.write(_event) == 2
    assert await store.write(_event, authority=2, **issued) == 3
    events = [
        StatusEventRecord(1, 1, 5, None, "active", None, NOW, "tests"),
        StatusEventRecord(2, 1, 5, "active", "revoked", 1, NOW, "tests"),
        StatusEventRecord(3, 2, 5, None, "active", None, NOW, "tests"),
    ]
    assert await store.read(status_events.after, 0, 10) == events
    assert await store.read(status_events.after, 1, 1) == events[1:2]
    assert await store.read(status_events.after, 3, 10) == []
    assert await store.read(status_events.of_certificate, 1, 5) == events[:2]
    assert await store.read(status_events.head) == 3


async def test_sequence_numbers_have_no_gaps_and_follow_the_commits(store: "Store") -> None:
    """Failing transactions between the others leave no hole, and a follower never sees one."""

    def undone(tx: Transaction) -> int:
        _event(tx)
        raise LookupError

    async def follow(until: int) -> list[int]:
        seen: list[int] = []
        while len(seen) < until:
            last = seen[-1] if seen else 0
            seen += [event.sequence for event in await store.read(status_events.after, last, 7)]
        return seen

    follower = asyncio.create_task(follow(100))
    works = (store.write(undone if number % 3 == 1 else _event) for number in range(150))
    results = await asyncio.gather(*works, return_exceptions=True)
    given_numbers = [result for result in results if isinstance(result, int)]
    assert sum(isinstance(result, LookupError) for result in results) == 50
    assert given_numbers == list(range(1, 101))
    assert await asyncio.wait_for(follower, 30) == list(range(1, 101))


async def test_holds(store: "Store") -> None:
    await store.write(status_events.open_hold, 1, 5, "holder", NOW)
    await store.write(status_events.open_hold, 1, 5, "authority", NOW + DAY)
    await store.write(status_events.open_hold, 2, 5, "holder", NOW)
    holds = [HoldRecord("holder", NOW), HoldRecord("authority", NOW + DAY)]
    assert await store.read(status_events.open_holds, 1, 5) == holds
    with pytest.raises(StorageError, match="UNIQUE"):
        await store.write(status_events.open_hold, 1, 5, "holder", NOW + DAY)
    await store.write(status_events.close_hold, 1, 5, "holder", NOW + 2 * DAY)
    assert await store.read(status_events.open_holds, 1, 5) == holds[1:]
    assert await store.read(status_events.open_holds, 2, 5) == holds[:1]
    await store.write(status_events.open_hold, 1, 5, "holder", NOW + 3 * DAY)
    assert len(await store.read(status_events.open_holds, 1, 5)) == 2
