"""Searching certificates, page by page, against the same search done plainly."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from store import certificates
from store.certificates import Search
from store.owners import Owners
from store.records import CertificateRecord

if TYPE_CHECKING:
    from tests.store.conftest import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
STATES = ("active", "suspended", "revoked")


def records() -> list[CertificateRecord]:
    """Return certificates of both authorities, several of one second, and some of one serial number.

    They live up to three months; some end before they begin, as none of ours does.
    """
    return [
        CertificateRecord(
            authority=1 + number % 2,
            serial=1 + number // 2 * 7919 % 101,
            profile=("device", "citizen-signature", "tls-server")[number % 3],
            subject="CN=a",
            spki_sha256=bytes(32),
            not_before=NOW - number // 5 * 8 * DAY,
            not_after=NOW + (number % 7 - 3) * DAY,
            state=STATES[number % 4 % 3],
            certificate=b"",
            crl_shard=0,
        )
        for number in range(60)
    ]


CASES = [
    Search([1, 2]),
    Search([2]),
    Search([]),
    *(Search([1, 2], state=state) for state in (*STATES, "expired")),
    Search([1, 2], profile="device"),
    Search([1], state="revoked", profile="device"),
    Search([1, 2], state="expired", profile="citizen-signature"),
    Search([1, 2], issued_from=NOW - 30 * DAY, issued_until=NOW - DAY),
    Search([1, 2], state="active", issued_until=NOW - DAY, expires_until=NOW + 2 * DAY),
    Search([1, 2], serial=1),
    Search([2], serial=1),
    Search([1, 2], serial=1, state="expired"),
    Search([1, 2], serial=1, profile="device", issued_from=NOW),
    *(
        Search(
            [1, 2], owners=Owners(frozenset({1}), frozenset({"device", "tls-server"}), sought), serial=serial
        )
        for sought in map(frozenset, ({True}, {False}, {True, False}))
        for serial in (None, 1)
    ),
]


def plainly(wanted: Search) -> list[CertificateRecord]:
    """Return what is looked for, in order."""
    found = [
        one
        for one in records()
        if one.authority in wanted.authorities
        and wanted.state in (None, "expired" if one.state != "revoked" and one.not_after < NOW else one.state)
        and wanted.profile in (None, one.profile)
        and wanted.serial in (None, one.serial)
        and (
            wanted.owners is None
            or (one.authority == 1 and one.profile != "citizen-signature") in wanted.owners.sought
        )
        and (wanted.issued_from is None or one.not_before >= wanted.issued_from)
        and (wanted.issued_until is None or one.not_before < wanted.issued_until)
        and (wanted.expires_until is None or one.not_after <= wanted.expires_until)
    ]
    return sorted(found, key=lambda one: (-one.not_before.timestamp(), one.serial, one.authority))


def in_words(value: object) -> str:
    """Return what is looked for as a test's name, the same in every process: sets in order."""
    match value:
        case Search():
            given = {field.name: getattr(value, field.name) for field in fields(value)}
            return ", ".join(f"{name} {in_words(one)}" for name, one in given.items() if one is not None)
        case Owners():
            return " of ".join(map(in_words, (value.sought, value.authorities, value.profiles)))
        case frozenset():
            return "/".join(sorted(map(str, value)))
    return str(value)


@pytest.mark.parametrize("wanted", CASES, ids=in_words)
async def test_pages_are_the_whole_in_order(store: "Store", wanted: Search) -> None:
    for record in records():
        await store.write(certificates.add, record)
    for limit in (1, 7, 200):
        found: list[CertificateRecord] = []
        while page := await store.read(
            certificates.search, wanted, NOW, certificates.place(found[-1]) if found else None, limit
        ):
            found += page
        assert found == plainly(wanted)


async def test_each_case_but_the_empty_ones_finds_something() -> None:
    assert sum(not plainly(wanted) for wanted in CASES) <= 2
