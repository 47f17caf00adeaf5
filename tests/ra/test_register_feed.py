"""The register's feed: every event once in an order that never changes, whoever writes meanwhile."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from pkiserver.core import Core
from pkiserver.errors import DeniedError, RefusedError
from pkiserver.ra.cases.entry import NewCase
from pkiserver.ra.cases.rules import Channel, Kind
from pkiserver.ra.lifecycle import Action, Command, HoldOwner
from pkiserver.ra.register.feed import FollowedEvent
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from protocols.x509.certificate import serial_text
from store import status_events
from store.records import CertificateRecord
from tests.conftest import Issue
from tests.ra.test_registration_services import Story, story  # noqa: F401 - a fixture

FUND = Actor("fund", (Assignment(Role.NATIONAL_FUND),))


async def events_of(core: Core, after: str | None = None, page: int = 1000) -> list[FollowedEvent]:
    """Follow to the end, a page at a time."""
    found: list[FollowedEvent] = []
    while part := await core.registration.register.feed.follow(FUND, after, page):
        found += part
        after = part[-1].cursor
    return found


async def changed(core: Core, record: CertificateRecord, *actions: Action) -> None:
    for action in actions:
        await core.status_changes.carry_out(record.authority, record.serial, Command(action), "test")


def told(events: list[FollowedEvent]) -> list[tuple[str, str]]:
    return [(one.event, one.serial) for one in events]


async def test_every_kind_of_event_is_told(core: Core, issue: Issue, clock: Any) -> None:
    before = (await events_of(core))[-1].cursor
    first, second = await issue(core, "a.mn"), await issue(core, "b.mn")
    await changed(core, first, Action.SUSPEND, Action.RESTORE, Action.REVOKE)
    clock.moment = second.not_after + timedelta(seconds=1)
    assert await core.registration.register.expiries.note() >= 1
    found = await events_of(core, before)
    a, b = serial_text(first.serial), serial_text(second.serial)
    own = [one for one in told(found) if one[1] in (a, b)]
    assert own == [
        ("issued", a),
        ("issued", b),
        ("suspended", a),
        ("restored", a),
        ("revoked", a),
        ("expired", b),
    ]
    by_event = {one.event: one for one in found if one.serial in (a, b)}
    assert by_event["expired"].at == second.not_after
    assert (by_event["suspended"].reason, by_event["restored"].reason) == ("certificateHold", None)
    assert {one.profile for one in by_event.values()} == {"tls-server"}


async def test_an_end_is_noted_once(core: Core, issue: Issue, clock: Any) -> None:
    record = await issue(core)
    clock.moment = record.not_after
    expiries = core.registration.register.expiries
    await expiries.note()
    assert serial_text(record.serial) not in {
        one.serial for one in await events_of(core) if one.event == "expired"
    }
    clock.moment += timedelta(seconds=1)
    assert await expiries.note() >= 1
    clock.moment += timedelta(days=1)
    await expiries.note()
    ends = [
        one
        for one in await events_of(core)
        if (one.event, one.serial) == ("expired", serial_text(record.serial))
    ]
    assert len(ends) == 1


async def test_a_second_hold_is_no_event(core: Core, issue: Issue) -> None:
    record = await issue(core)
    for owner in HoldOwner:
        command = Command(Action.SUSPEND, owner, decision=1 if owner is HoldOwner.AUTHORITY else None)
        await core.status_changes.carry_out(record.authority, record.serial, command, "test")
    assert [one.event for one in await events_of(core) if one.serial == serial_text(record.serial)] == [
        "issued",
        "suspended",
    ]


async def test_what_led_to_an_event_is_told_without_personal_data(story: Story) -> None:  # noqa: F811
    made = await story.issued()
    assert made.authority is not None
    assert made.serial is not None
    service = Actor("e-mongolia", (Assignment(Role.SERVICE),), on_behalf_of=made.person)
    new = NewCase(made.authority, made.serial, Kind.SUSPEND, Channel.SELF_SERVICE, "carrier_missing")
    case = await story.services.cases.receive(service, new)
    found = [one for one in await events_of(story.core) if one.serial == serial_text(made.serial or 0)]
    issued, suspended = found
    assert (issued.event, issued.channel, issued.office) == ("issued", made.channel, "ub-1")
    assert (issued.application, issued.person) == (made.id, made.person)
    assert (suspended.case, suspended.channel, suspended.ground) == (
        case.id,
        "self_service",
        "carrier_missing",
    )
    assert suspended.person == made.person
    assert not {"Дорж", "123456789012", "УБ05231418"} & {
        str(value) for one in found for value in _values(one)
    }


def _values(event: FollowedEvent) -> list[object]:
    return [getattr(event, name) for name in event.__slots__]


async def test_pages_of_any_size_give_the_same(core: Core, issue: Issue, clock: Any) -> None:
    records = [await issue(core, f"{number}.mn") for number in range(4)]
    await changed(core, records[0], Action.SUSPEND)
    clock.moment = records[-1].not_after + timedelta(seconds=1)
    await core.registration.register.expiries.note()
    whole = await events_of(core)
    for page in (1, 2, 3, 7):
        assert await events_of(core, page=page) == whole
    for place, event in enumerate(whole):
        assert await events_of(core, event.cursor) == whole[place + 1 :]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_who_follows_while_others_write_misses_nothing(
    core: Core, issue: Issue, clock: Any, seed: int
) -> None:
    """Eight write at once, certificates end in between, and a reader asks again and again from its cursor."""
    chance = random.Random(seed)
    short = [await issue(core, f"short-{number}.mn") for number in range(3)]
    writing = True
    found: list[FollowedEvent] = []

    async def write(number: int) -> None:
        for turn in range(4):
            record = await issue(core, f"{number}-{turn}.mn")
            await changed(core, record, Action.SUSPEND)
            await asyncio.sleep(chance.random() / 200)
            await changed(core, record, chance.choice([Action.RESTORE, Action.REVOKE]))

    async def follow() -> None:
        after = None
        while True:
            was_writing = writing
            part = await core.registration.register.feed.follow(FUND, after, chance.randint(1, 9))
            found.extend(part)
            after = part[-1].cursor if part else after
            if not part and not was_writing:
                return
            await asyncio.sleep(0)

    reader = asyncio.create_task(follow())
    writers = [asyncio.create_task(write(number)) for number in range(8)]
    await asyncio.sleep(0.02)
    end = short[-1].not_after
    noted = await core.storage.write(lambda tx: _end_of(tx, short))
    await asyncio.gather(*writers)
    writing = False
    await reader
    assert noted == len(short)
    assert end > clock.moment
    whole = await events_of(core)
    assert found == whole
    sequences = [one.cursor for one in whole if one.event != "expired"]
    head = await core.storage.read(status_events.head)
    assert len(sequences) == head  # none is left out: sequence numbers have no gaps


def _end_of(tx: Any, records: list[CertificateRecord]) -> int:
    from store import expiries

    for one in records:
        expiries.add(tx, expiries.EndedRecord(one.authority, one.serial, "active", one.not_after))
    return len(records)


@pytest.mark.parametrize(
    "cursor", ["", "1", "1-", "-1", "1-2-3", "１-0", "1" * 19 + "-0", "999999-0", "0-999999"]
)
async def test_a_cursor_of_another_register_is_refused(core: Core, cursor: str) -> None:
    with pytest.raises(RefusedError):
        await core.registration.register.feed.follow(FUND, cursor, 10)


@pytest.mark.parametrize("role", [Role.REGISTRAR, Role.ADMINISTRATOR, Role.SERVICE, Role.CIVIL_REGISTRY])
async def test_only_who_is_connected_for_it_follows(core: Core, role: Role) -> None:
    with pytest.raises(DeniedError):
        await core.registration.register.feed.follow(
            Actor("x", (Assignment(role, everywhere=True),)), None, 10
        )
