"""Clauses 3.1, 4.1, 4.2 as stories; those of 3.2 to 3.6 are in `test_cases`, of 2.5 to 2.7 in `tests/web`."""

from datetime import timedelta
from typing import Any

import pytest

from pkiserver.core import Core
from pkiserver.errors import RefusedError
from pkiserver.progress import silent
from pkiserver.ra.cases.rules import GROUNDS, Channel, Kind
from pkiserver.ra.cases.service import Decision
from pkiserver.ra.register.feed import BEGIN
from pkiserver.ra.registration.numbers import today
from pkiserver.status.register import Register
from protocols.x509.certificate import serial_text
from tests.ra.test_cases import Setup, setup_of


@pytest.fixture
async def setup(core: Core, clock: Any) -> Setup:
    return await setup_of(core, clock)


@pytest.mark.parametrize("kind", [Kind.SUSPEND, Kind.RESTORE, Kind.REVOKE], ids=lambda kind: kind.value)
async def test_regulation_3_1_no_change_without_a_ground_of_the_law(setup: Setup, kind: Kind) -> None:
    """No ground, one that the tables do not have, or one of another act: nothing is entered or changed."""
    others = [name for name, ground in GROUNDS.items() if kind not in ground.kinds]
    for ground in ("", "because", *others):
        with pytest.raises(RefusedError):
            await setup.cases.receive(setup.registrar, setup.new(kind, Channel.WRITTEN, ground))
    assert await setup.cases.of_person(setup.registrar, setup.person) == []
    assert await setup.state() == "active"


async def live(setup: Setup) -> None:
    """The holder suspends and restores online, and asks in writing for the end, an hour apart."""
    for kind, ground in ((Kind.SUSPEND, "carrier_missing"), (Kind.RESTORE, "carrier_found")):
        setup.clock.moment += timedelta(hours=1)
        await setup.self_service(kind, ground)
    case = await setup.written(Kind.REVOKE)
    setup.clock.moment += timedelta(hours=1)
    await setup.cases.decide(setup.registrar, case.id, Decision(case.version, True, "as asked"))


async def test_regulation_4_1_requests_and_changes_are_registered_as_they_happen(setup: Setup) -> None:
    await live(setup)
    register = setup.core.registration.register
    serial = serial_text(setup.serial)
    events = [one for one in await register.feed.behind(BEGIN, 1000) if one.serial == serial]
    assert [one.event for one in events] == ["issued", "suspended", "restored", "revoked"]
    assert [one.channel for one in events[1:]] == ["self_service", "self_service", "written"]
    cases = await setup.core.commands.run(
        "person.timeline", {"person": setup.person, "after": None, "limit": 1000}, "user:auditor", silent
    )
    asked = [one["case"] for one in cases["entries"] if one["event"] == "case.received"]
    assert asked == [one.case for one in events[1:]]  # each change is of the request that led to it


async def test_regulation_4_2_numbers_are_public_and_counted(setup: Setup) -> None:
    await live(setup)
    core, now = setup.core, today(setup.clock.moment)
    (found,) = await Register(core.storage, core.authorities).with_serial(setup.serial)
    assert [one.state for one in found.entries] == ["active", "suspended", "active", "revoked"]
    days = {"first": str(now - timedelta(days=1)), "last": str(now), "each": "whole"}
    report = await core.commands.run("report", {**days, "office": None, "csv": False}, "user:auditor", silent)
    counted = {name: sum(one[name] for one in report["lines"]) for name in ("issued", "suspended", "revoked")}
    assert counted == {"issued": 1, "suspended": 1, "revoked": 1}
