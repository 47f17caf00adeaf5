"""The civil registry's feed: each kind has its rule, and neither order nor repetition matters."""

import asyncio
import shutil
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiserver.core import Core, open_core
from pkiserver.errors import NotAuthorizedError, RefusedError
from pkiserver.home import Home
from pkiserver.ra.cases.registry_feed import MAX_AHEAD, MAX_MESSAGES, RegistryFeed, Teller
from pkiserver.ra.cases.registry_rules import MESSAGE_RULES, Message, MessageKind, parse_message
from pkiserver.ra.cases.service import Decision
from pkiserver.ra.registration.offices import OfficeForm
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from protocols.asn1.ocsp import CRLReason
from store import audit as audit_chain
from store import cases as case_rows
from store import certificates, crl_entries, status_events
from store.applications import ApplicationRecord
from store.cases import Scope
from store.database import Transaction
from store.records import serial_to_blob
from tests.ra.conftest import SetClock
from tests.ra.test_registration_services import ADMINISTRATOR, CITIZEN, FINGERPRINT, Story

REGISTRY = Actor("registry-1", (Assignment(Role.CIVIL_REGISTRY),))
DAY = timedelta(days=1)
CIVIL_ID = CITIZEN["civil_id"]


class House:
    """A citizen with a certificate on the identity card and, a day later, one on a token."""

    def __init__(self, core: Core, clock: Any) -> None:
        self.core = core
        self.clock = clock
        self.begun: datetime = clock.moment

    async def make(self) -> "House":
        office = await self.core.registration.offices.add(ADMINISTRATOR, "ub-1", OfficeForm("ub-1"))
        self.registrar = Actor("registrar-1", (Assignment(Role.REGISTRAR, office=office.id),))
        story = Story(self.core, self.registrar, self.clock)
        story.registry_has(CITIZEN)
        self.card = await story.issued()
        self.clock.moment += 10 * DAY
        made = await story.draft()
        await self.core.storage.write(
            lambda tx: tx.execute("UPDATE applications SET carrier = 'token' WHERE id = ?", (made.id,))
        )
        await self._finish(story, made)
        return self

    async def _finish(self, story: Story, made: ApplicationRecord) -> None:
        verified = await story.services.applications.verify(
            self.registrar, made.id, made.version, FINGERPRINT
        )
        await story.enroll(await story.services.issuing.begin(self.registrar, made.id, verified.version))
        self.token = await story.record(made.id)
        self.clock.moment += 10 * DAY

    @property
    def feed(self) -> RegistryFeed:
        return self.core.registration.registry_feed

    def message(self, number: str, kind: MessageKind, days: int = 15, civil_id: str = CIVIL_ID) -> Message:
        return Message(number, 1, kind, civil_id, self.begun + days * DAY)

    async def tell(self, *messages: Message) -> list[str]:
        return [one.outcome for one in await self.feed.take(REGISTRY, messages)]

    async def states(self) -> tuple[str, str]:
        """Return the states of the certificates on the card and on the token."""
        states: tuple[str, str] = (await self.end_state())[0]
        return states

    async def end_state(self) -> Any:
        return await self.core.storage.read(self.look)

    def look(self, tx: Transaction) -> Any:
        """Return all that may not depend on the order: states, holds, what waits for a registrar."""
        states, told = [], []
        for one in (self.card, self.token):
            assert one.authority is not None
            assert one.serial is not None
            named = (one.authority, one.serial)
            found = certificates.get(tx, *named)
            assert found is not None
            states.append(found.state)
            entry = crl_entries.current(tx, *named)
            told.append((len(status_events.open_holds(tx, *named)), entry.revoked_at if entry else None))
        waiting = case_rows.open_by_due(tx, Scope(), limit=100)
        open_cases = sorted((one.kind, one.ground, one.serial == self.card.serial) for one in waiting)
        return tuple(states), told, open_cases


@pytest.fixture
async def house(core: Core, clock: Any) -> House:
    return await House(core, clock).make()


# What a message leads to: states of the certificates on the card and on the token, and cases that wait.
LEADS_TO = {
    MessageKind.DEATH: ("revoked", "revoked", 0),
    MessageKind.CITIZENSHIP_LOST: ("revoked", "revoked", 0),
    MessageKind.NAME_CHANGED: ("active", "active", 2),
    MessageKind.CARD_LOST: ("suspended", "active", 0),
    MessageKind.CARD_FOUND: ("active", "active", 0),
    MessageKind.CARD_EXCHANGED: ("revoked", "active", 0),
}


@pytest.mark.parametrize("kind", MessageKind)
async def test_each_kind_has_its_rule(house: House, kind: MessageKind) -> None:
    card, token, waiting = LEADS_TO[kind]
    (outcome,) = await house.tell(house.message("m-1", kind))
    assert outcome == ("nothing" if kind is MessageKind.CARD_FOUND else "done")
    states, _, open_cases = await house.end_state()
    assert (*states, len(open_cases)) == (card, token, waiting)
    assert await house.tell(house.message("m-1", kind)) == ["repeated"]
    assert await house.end_state() == (states, _, open_cases)


RENEWED_TOO = {
    MessageKind.DEATH: "revoked",
    MessageKind.CITIZENSHIP_LOST: "revoked",
    MessageKind.CARD_LOST: "suspended",
    MessageKind.CARD_EXCHANGED: "revoked",
}


@pytest.mark.parametrize("kind", RENEWED_TOO)
async def test_what_renewed_a_certificate_shares_its_fate(house: House, kind: MessageKind) -> None:
    """No application tells of it, and it outlives the one that it renewed by years."""
    await house.core.storage.database.write(
        lambda tx: tx.execute("UPDATE applications SET carrier = 'id_card' WHERE id = ?", (house.token.id,))
    )
    await house.core.storage.database.write(
        lambda tx: tx.execute(
            "INSERT INTO certificates SELECT authority, ?, profile, subject, spki_sha256,"
            " not_before, not_after + 86400, state, certificate, crl_shard FROM certificates"
            " WHERE serial = ?",
            (serial_to_blob(1), serial_to_blob(house.card.serial or 0)),
        )
    )
    assert await house.tell(house.message("m-1", kind)) == ["done"]
    found = await house.core.storage.read(lambda tx: certificates.get(tx, house.card.authority or 0, 1))
    assert found is not None
    assert found.state == RENEWED_TOO[kind]


def test_every_kind_has_a_rule() -> None:
    assert set(MESSAGE_RULES) == set(LEADS_TO) == set(MessageKind)


async def test_a_dead_persons_certificate_is_revoked_whenever_it_was_issued(house: House) -> None:
    await house.tell(house.message("m-1", MessageKind.DEATH, days=-30))
    assert await house.states() == ("revoked", "revoked")
    assert house.card.authority is not None
    assert house.card.serial is not None
    named = (house.card.authority, house.card.serial)
    told = await house.core.storage.read(lambda tx: crl_entries.current(tx, *named))
    assert told is not None
    assert (told.revoked_at, told.reason) == (house.clock.moment, CRLReason.CESSATION_OF_OPERATION)


@pytest.mark.parametrize(
    "kind", [MessageKind.NAME_CHANGED, MessageKind.CARD_LOST, MessageKind.CARD_EXCHANGED]
)
async def test_what_was_issued_after_is_not_concerned(house: House, kind: MessageKind) -> None:
    assert await house.tell(house.message("m-1", kind, days=-30)) == ["nothing"]
    assert (await house.end_state())[0] == ("active", "active")


async def test_what_took_effect_later_wins_though_it_came_first(house: House) -> None:
    assert await house.tell(house.message("m-2", MessageKind.CARD_FOUND, 16)) == ["nothing"]
    assert await house.tell(house.message("m-1", MessageKind.CARD_LOST, 15)) == ["outdated"]
    assert await house.states() == ("active", "active")
    assert await house.tell(house.message("m-3", MessageKind.CARD_LOST, 17)) == ["done"]
    assert await house.tell(house.message("m-4", MessageKind.CARD_FOUND, 16)) == ["outdated"]
    assert await house.states() == ("suspended", "active")
    assert await house.tell(house.message("m-5", MessageKind.CARD_FOUND, 18)) == ["done"]
    assert await house.states() == ("active", "active")


async def test_of_one_moment_the_sequence_decides(house: House) -> None:
    found = replace(house.message("m-a", MessageKind.CARD_FOUND), sequence=2)
    lost = replace(house.message("m-b", MessageKind.CARD_LOST), sequence=1)
    assert await house.tell(found, lost) == ["nothing", "outdated"]
    assert await house.states() == ("active", "active")


async def test_a_changed_name_waits_for_a_registrar_of_the_office(house: House) -> None:
    (result,) = await house.feed.take(REGISTRY, [house.message("m-1", MessageKind.NAME_CHANGED)])
    cases = house.core.registration.cases
    case = await cases.show(house.registrar, result.cases[0])
    assert (case.state, case.office) == ("received", house.card.office)
    await cases.decide(house.registrar, case.id, Decision(case.version, True, "has the new one"))
    assert sorted(await house.states()) == ["active", "revoked"]
    await house.tell(house.message("m-2", MessageKind.DEATH))
    assert (await house.end_state())[2] == []


async def test_unknown_people_do_no_harm(house: House) -> None:
    stranger = house.message("m-1", MessageKind.DEATH, civil_id="999999999999")
    assert await house.tell(stranger, stranger) == ["unknown", "repeated"]
    assert await house.states() == ("active", "active")


async def test_what_contradicts_or_lies_ahead_is_refused_and_not_kept(house: House) -> None:
    lost = house.message("m-1", MessageKind.CARD_LOST)
    ahead = replace(
        house.message("m-2", MessageKind.DEATH), effective_at=house.clock.moment + MAX_AHEAD + DAY
    )
    other = replace(lost, kind=MessageKind.DEATH)
    assert await house.tell(lost, other, ahead) == ["done", "refused", "refused"]
    assert await house.states() == ("suspended", "active")
    records = await house.core.storage.read(lambda tx: audit_chain.after(tx, 0, 10_000))
    told = [(one.outcome, CIVIL_ID in one.detail) for one in records if one.action == "registry.message"]
    assert told == [("done", False), ("refused", False), ("refused", False)]
    house.clock.moment += 2 * DAY
    assert await house.tell(ahead) == ["done"]
    assert await house.states() == ("revoked", "revoked")


async def test_only_the_registry_feeds(house: House) -> None:
    for actor in (ADMINISTRATOR, house.registrar):
        with pytest.raises(NotAuthorizedError):
            await house.feed.take(actor, [house.message("m-1", MessageKind.DEATH)])
    many = [house.message(f"m-{one}", MessageKind.DEATH) for one in range(MAX_MESSAGES + 1)]
    with pytest.raises(RefusedError, match="at most"):
        await house.feed.take(REGISTRY, many)
    assert await house.states() == ("active", "active")


GOOD: dict[str, Any] = {
    "id": "2026-1",
    "sequence": 1,
    "kind": "death",
    "civil_id": CIVIL_ID,
    "effective_at": "2026-07-08T09:00:00+08:00",
}


def test_a_message_is_read() -> None:
    read = parse_message(GOOD)
    assert (read.id, read.kind, read.effective_at.isoformat()) == (
        "2026-1",
        MessageKind.DEATH,
        "2026-07-08T01:00:00+00:00",
    )
    assert CIVIL_ID not in repr(read)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", "a" * 65),
        ("id", "a b"),
        ("id", 1),
        ("sequence", "1"),
        ("sequence", True),
        ("sequence", -1),
        ("sequence", 1 << 63),
        ("kind", "birth"),
        ("kind", []),
        ("civil_id", "12345"),
        ("civil_id", 123456789012),
        ("effective_at", "2026-07-08T09:00:00"),
        ("effective_at", "yesterday"),
        ("effective_at", None),
        ("name", "Бат"),
    ],
)
def test_what_is_no_message_is_refused(field: str, value: Any) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_message(GOOD | {field: value})
    assert str(value) not in str(refused.value) or value in ("", 1, True, -1)


MESSAGES = st.lists(
    st.tuples(st.sampled_from(MessageKind), st.integers(-5, 19), st.integers(1, 2)), min_size=1, max_size=6
)


class UndoneError(Exception):
    """Nothing of the transaction stays."""


def end_of(house: House, tx: Transaction, messages: list[Message]) -> Any:
    teller = Teller(REGISTRY, Role.CIVIL_REGISTRY, house.clock.moment)
    for message in messages:
        house.feed.carry_out(tx, message, teller)
    return house.look(tx)


async def end_state(house: House, messages: list[Message]) -> Any:
    """Return to what these messages lead, and forget it again."""
    found: list[Any] = []

    def transaction(tx: Transaction) -> None:
        found.append(end_of(house, tx, messages))
        raise UndoneError

    with pytest.raises(UndoneError):
        await house.core.storage.write(transaction)
    return found[0]


def test_any_order_and_repetition_lead_to_the_same(initialised_home: Path, tmp_path: Path) -> None:
    clock, seen = SetClock(), set[str]()
    home = Home(shutil.copytree(initialised_home, tmp_path / "home"))
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        core = runner.run(stack.enter_async_context(open_core(home, clock)))
        house = runner.run(House(core, clock).make())

        @given(MESSAGES, st.data())
        @settings(max_examples=150, deadline=None)
        def holds(told: list[tuple[MessageKind, int, int]], data: st.DataObject) -> None:
            messages = [
                replace(house.message(f"m-{number}", kind, days), sequence=sequence)
                for number, (kind, days, sequence) in enumerate(told)
            ]
            repeated = data.draw(st.lists(st.sampled_from(messages), max_size=4))
            shuffled = data.draw(st.permutations(messages + repeated))
            expected = runner.run(end_state(house, messages))
            seen.update(expected[0])
            assert runner.run(end_state(house, shuffled)) == expected

        try:
            holds()
        finally:
            runner.run(stack.aclose())
    assert seen == {"active", "suspended", "revoked"}
