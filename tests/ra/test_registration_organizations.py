"""Organisations on a real store: contract states, domains, officers and their positions."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from config.schema_registration import Registration
from pkiserver.errors import (
    ConflictError,
    NotAuthorizedError,
    NotFoundError,
    RefusedError,
    TooManyRequestsError,
    UnavailableError,
)
from pkiserver.ra.registration import organizations as module
from pkiserver.ra.registration import public_share
from pkiserver.ra.registration.consequences import Consequences
from pkiserver.ra.registration.contracts import TRANSITIONS, Event, State, decide
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.officers import NewOfficer, Officers
from pkiserver.ra.registration.organizations import Organizations
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from pkiserver.storage import Storage
from store.database import Database
from store.errors import StorageError
from store.organizations import OrganizationRecord

NUMBER = "1234567"
SETTINGS = Registration(public_per_hour=3, public_waiting=2)
ADDRESS = "192.0.2.7"
SPECIALIST = Actor("specialist-1", (Assignment(Role.SPECIALIST),))
OFFICER = NewOfficer("Бат", "Дорж", "dorj@tax.gov.mn", "Мэргэжилтэн", "Аудитын газар")
ALLOWED = {
    ("registered", "send_contract", "contract_sent"),
    ("registered", "decline", "declined"),
    ("contract_sent", "sign_contract", "contracted"),
    ("contract_sent", "decline", "declined"),
    ("contracted", "end", "ended"),
    ("declined", "register", "registered"),
    ("ended", "register", "registered"),
}


class NothingFollows(Consequences):
    """What follows for certificates has tests of its own."""

    def __init__(self) -> None:
        pass

    def contract_ended(self, *_: object) -> None:
        pass

    def officer_left(self, *_: object) -> list[int]:
        return []


@dataclass
class Setup:
    storage: Storage
    organizations: Organizations
    officers: Officers

    async def registered(
        self, number: str = NUMBER, name: str = "Татварын ерөнхий газар"
    ) -> OrganizationRecord:
        return await self.organizations.register("public", number, name, "info@tax.gov.mn")

    async def contracted(self) -> OrganizationRecord:
        record = await self.registered()
        for event in (Event.SEND_CONTRACT, Event.SIGN_CONTRACT):
            record = await self.organizations.move(SPECIALIST, NUMBER, event, record.version, "letter 12")
        await self.organizations.set_domains(SPECIALIST, NUMBER, ("Gov.MN", "gov.mn"))
        return record

    def officer_of(self, organization: int) -> Actor:
        return Actor("org-1", (Assignment(Role.ORG_OFFICER, organization=organization),))


@pytest.fixture
async def setup(tmp_path: Path, clock: Any) -> AsyncIterator[Setup]:
    storage = Storage(Database(tmp_path / "test.db"))
    gate = Gate(storage, clock)
    organizations = Organizations(storage, clock, gate, SETTINGS, NothingFollows())
    yield Setup(storage, organizations, Officers(storage, clock, gate, NothingFollows()))
    storage.database.close()


def test_the_table_is_total() -> None:
    assert set(TRANSITIONS) == set(product(State, Event))
    assert {(a.value, e.value, to.value) for (a, e), to in TRANSITIONS.items() if to} == ALLOWED
    for (state, event), to_state in TRANSITIONS.items():
        if to_state is None:
            with pytest.raises(ConflictError, match=f"is {state.value}"):
                decide(state, event)
        else:
            assert decide(state, event) is to_state


async def test_from_registration_to_the_contract(setup: Setup, recorded: Any) -> None:
    record = await setup.contracted()
    assert (record.state, record.version) == ("contracted", 3)
    shown = await setup.organizations.show(SPECIALIST, NUMBER)
    assert [(one.event, one.from_state, one.to_state, one.actor) for one in shown.events] == [
        ("register", None, "registered", "public"),
        ("send_contract", "registered", "contract_sent", "specialist-1"),
        ("sign_contract", "contract_sent", "contracted", "specialist-1"),
    ]
    assert shown.domains == ["gov.mn"]
    assert [one["action"] for one in await recorded(setup.storage)] == [
        "organization.register",
        "organization.send_contract",
        "organization.sign_contract",
        "organization.domains",
    ]


async def test_repeated_requests_count_once(setup: Setup) -> None:
    record = await setup.registered()
    with pytest.raises(ConflictError, match="registered already"):
        await setup.registered()
    moved = await setup.organizations.move(
        SPECIALIST, NUMBER, Event.SEND_CONTRACT, record.version, "letter 12"
    )
    for version in (record.version, moved.version):
        with pytest.raises(ConflictError):
            await setup.organizations.move(SPECIALIST, NUMBER, Event.SEND_CONTRACT, version, "letter 12")


async def test_organisations_register_themselves(setup: Setup, recorded: Any) -> None:
    publicly = setup.organizations.register_publicly
    record = await publicly(ADDRESS, NUMBER, "Татвар", "info@tax.gov.mn")
    assert (record.state, record.version) == ("registered", 1)
    assert await publicly(ADDRESS, NUMBER, "Татвар", "info@tax.gov.mn") == record  # asked twice
    with pytest.raises(ConflictError, match="registered already"):
        await publicly("192.0.2.8", NUMBER, "Татвар", "evil@example.mn")
    with pytest.raises(ConflictError, match="come with the contract"):
        await setup.officers.add(SPECIALIST, NUMBER, OFFICER, "order 1")
    [entry] = await recorded(setup.storage)
    assert (entry["actor"], entry["action"], entry["peer"]) == ("public", "organization.register", ADDRESS)


async def test_each_address_has_its_share(setup: Setup, clock: Any) -> None:
    publicly = setup.organizations.register_publicly
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::1"):
        await publicly(address, NUMBER, "Татвар", "info@tax.gov.mn")
    with pytest.raises(TooManyRequestsError) as raised:
        await publicly("2001:db8::3", NUMBER, "Татвар", "info@tax.gov.mn")
    assert raised.value.retry_after == timedelta(hours=1)
    await publicly(ADDRESS, NUMBER, "Татвар", "info@tax.gov.mn")
    clock.moment += timedelta(hours=1)
    await publicly("2001:db8::3", NUMBER, "Татвар", "info@tax.gov.mn")


async def test_what_waits_is_bounded_and_declined_many_at_a_time(setup: Setup) -> None:
    publicly = setup.organizations.register_publicly
    for number in ("1000001", "1000002"):
        await publicly(ADDRESS, number, "Хог", "spam@example.mn")
    with pytest.raises(UnavailableError, match="wait for a specialist"):
        await publicly(ADDRESS, "1000003", "Татвар", "info@tax.gov.mn")
    assert (await setup.registered("1000004")).state == "registered"  # a specialist is not held to it
    decline = setup.organizations.decline_all
    for numbers in ((), ("1000001",) * (module.MAX_DECLINED + 1)):
        with pytest.raises(RefusedError, match="at a time"):
            await decline(SPECIALIST, numbers, "spam")
    with pytest.raises(NotAuthorizedError):
        await decline(setup.officer_of(1), ("1000001",), "spam")
    asked = ("1000002", "1000001", "1000001", "9999999")
    assert await decline(SPECIALIST, asked, "spam") == ("1000002", "1000001")
    assert await decline(SPECIALIST, asked, "spam") == ()
    again = await publicly("192.0.2.8", "1000001", "Татвар", "info@tax.gov.mn")  # whose number it is
    assert (again.state, again.version, again.name, again.mail) == (
        *("registered", 3),
        *("Татвар", "info@tax.gov.mn"),
    )


async def test_the_operator_need_not_offer_it(setup: Setup, clock: Any) -> None:
    settings = Registration(public_organizations=False)
    closed = Organizations(setup.storage, clock, Gate(setup.storage, clock), settings, NothingFollows())
    with pytest.raises(NotAuthorizedError, match="do not register themselves"):
        await closed.register_publicly(ADDRESS, NUMBER, "Татвар", "info@tax.gov.mn")


def test_what_is_remembered_of_addresses_is_bounded(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_share, "MAX_ADDRESSES", 2)
    share = public_share.PublicShare(1)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"):
        share.take(address, clock.now())
    with pytest.raises(TooManyRequestsError):
        share.take("192.0.2.1", clock.now())


@pytest.mark.parametrize(
    ("number", "name", "mail"),
    [
        ("123", "A", "a@gov.mn"),
        (NUMBER, "", "a@gov.mn"),
        (NUMBER, "А" * 65, "a@gov.mn"),
        (NUMBER, "A", "gov.mn"),
    ],
)
async def test_what_is_no_organisation(setup: Setup, number: str, name: str, mail: str) -> None:
    with pytest.raises(RefusedError):
        await setup.organizations.register("public", number, name, mail)


async def test_an_officer_and_their_positions(setup: Setup) -> None:
    organization = await setup.contracted()
    actor = setup.officer_of(organization.id)
    added = await setup.officers.add(actor, NUMBER, OFFICER, "order 1")
    assert (added.mail, added.title, added.unit) == ("dorj@tax.gov.mn", "Мэргэжилтэн", "Аудитын газар")
    change = setup.officers.change_position
    changed = await change(actor, NUMBER, added.id, "Дарга", None, "order 2")
    assert (changed.title, changed.unit) == ("Дарга", None)
    assert await change(actor, NUMBER, added.id, "Дарга", None, "order 2") == changed
    kept = await setup.storage.read(
        lambda tx: tx.all("SELECT title, until IS NULL, ground FROM officer_positions ORDER BY id")
    )
    assert kept == [("Мэргэжилтэн", 0, "order 1"), ("Дарга", 1, "order 2")]
    left = await setup.officers.remove(actor, NUMBER, added.id)
    assert left.title is None
    assert await setup.officers.current(actor, NUMBER) == []
    for refused in (
        change(actor, NUMBER, added.id, "Нарийн бичиг", None, "order 3"),
        setup.officers.remove(actor, NUMBER, added.id),
    ):
        with pytest.raises(ConflictError, match="has left"):
            await refused


async def test_only_of_an_allowed_domain_only_once_and_only_with_a_contract(setup: Setup) -> None:
    record = await setup.registered()
    add = setup.officers.add
    with pytest.raises(ConflictError, match="come with the contract"):
        await add(SPECIALIST, NUMBER, OFFICER, "order 1")
    for event in (Event.SEND_CONTRACT, Event.SIGN_CONTRACT):
        record = await setup.organizations.move(SPECIALIST, NUMBER, event, record.version, "letter 12")
    await setup.organizations.set_domains(SPECIALIST, NUMBER, ("gov.mn",))
    for mail in ("dorj@gmail.com", "dorj@evilgov.mn"):
        with pytest.raises(RefusedError, match="none of the organisation's domains"):
            await add(SPECIALIST, NUMBER, replace(OFFICER, mail=mail), "order 1")
    await add(SPECIALIST, NUMBER, OFFICER, "order 1")
    with pytest.raises(ConflictError, match="has this work mail"):
        await add(SPECIALIST, NUMBER, OFFICER, "order 1")


async def test_another_organisation_may_not(setup: Setup) -> None:
    organization = await setup.contracted()
    other = await setup.registered("7654321", "Гаалийн газар")
    added = await setup.officers.add(SPECIALIST, NUMBER, OFFICER, "order 1")
    stranger = setup.officer_of(other.id)
    for refused in (
        setup.organizations.show(stranger, NUMBER),
        setup.officers.add(stranger, NUMBER, OFFICER, "order 1"),
        setup.organizations.newest(stranger),
        setup.organizations.move(
            setup.officer_of(organization.id), NUMBER, Event.END, organization.version, "mine"
        ),
    ):
        with pytest.raises(NotAuthorizedError):
            await refused
    with pytest.raises(NotFoundError, match="of this organisation"):
        await setup.officers.remove(SPECIALIST, "7654321", added.id)


async def test_lists_and_names(setup: Setup) -> None:
    first = await setup.registered("1000001", "ТАТВАРЫН газар")
    second = await setup.registered("1000002", "Гаалийн газар")
    newest = setup.organizations.newest
    assert [one.id for one in await newest(SPECIALIST)] == [second.id, first.id]
    assert [one.id for one in await newest(SPECIALIST, before=second.id)] == [first.id]
    assert await newest(SPECIALIST, state=State.CONTRACTED) == []
    assert [one.id for one in await setup.organizations.find(SPECIALIST, "татвар")] == [first.id]


@pytest.mark.parametrize(
    "statement", ["UPDATE organization_events SET actor = 'x'", "DELETE FROM organization_events"]
)
async def test_events_are_only_added(setup: Setup, statement: str) -> None:
    await setup.registered()
    with pytest.raises(StorageError, match="append-only"):
        await setup.storage.database.write(lambda tx: tx.execute(statement))
