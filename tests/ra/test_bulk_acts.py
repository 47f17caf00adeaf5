"""Bulk acts on a real store: two people, frozen lists, batches that go on where they were cut off."""

from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from pkiserver.core import Core
from pkiserver.errors import (
    ChangedError,
    ConflictError,
    NotAuthorizedError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from pkiserver.ra.bulk import selection as selection_module
from pkiserver.ra.bulk.acts import MAX_WAITING, PROPOSAL_LIFETIME, NewAct
from pkiserver.ra.bulk.rules import BULK_GROUNDS, KINDS, TRANSITIONS, Event, State, decide, require_ground
from pkiserver.ra.bulk.selection import Selection
from pkiserver.ra.cases.rules import GROUNDS, Kind
from pkiserver.ra.lifecycle import Action, Command, HoldOwner
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from protocols.asn1.ocsp import CRLReason
from store import actors, audit, crl_entries, status_events
from store.bulk_acts import ActRecord
from store.database import Transaction
from store.records import serial_to_blob
from tests.ra.bulk_setting import FIRST_SERIAL, LEGAL, OTHER_LEGAL, Bulk
from tests.ra.test_registration_services import Story, story

__all__ = ["story"]

COUNT = 7
ALLOWED = {
    ("proposed", "confirm", "running"),
    ("proposed", "refuse", "refused"),
    ("running", "stop", "stopped"),
    ("running", "finish", "done"),
    ("stopped", "resume", "running"),
}
SENIOR = Actor("senior-1", (Assignment(Role.SENIOR_REGISTRAR, office=1),))
DECISION = {"body": "court", "number": "1", "date": "2026-07-08", "document": "scan-1"}


@pytest.fixture
async def bulk(core: Core, clock: Any, monkeypatch: pytest.MonkeyPatch) -> Bulk:
    monkeypatch.setattr(selection_module, "BATCH", 3)
    return await Bulk.of(core, clock, COUNT)


async def states(bulk: Bulk) -> list[str | None]:
    return [await bulk.state(number) for number in range(COUNT)]


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair_of_state_and_event_is_decided(state: State, event: Event) -> None:
    wanted = {to for of, by, to in ALLOWED if (of, by) == (state.value, event.value)}
    if wanted:
        assert {decide(state, event).value} == wanted
    else:
        assert TRANSITIONS[state, event] is None
        with pytest.raises(ConflictError, match=state.value):
            decide(state, event)


@pytest.mark.parametrize(("kind", "ground"), list(product(Kind, sorted(GROUNDS))))
def test_a_bulk_act_has_a_ground_that_many_share(kind: Kind, ground: str) -> None:
    if kind in KINDS and ground in BULK_GROUNDS and kind in GROUNDS[ground].kinds:
        require_ground(kind, ground)
    else:
        with pytest.raises(RefusedError):
            require_ground(kind, ground)


async def test_all_are_suspended_batch_after_batch(bulk: Bulk) -> None:
    act = await bulk.done(bulk.new())
    assert (act.state, act.certificates, act.batches, act.done) == ("done", COUNT, 3, 3)
    assert (act.changed, act.passed_over) == (COUNT, 0)
    assert await states(bulk) == ["suspended"] * COUNT
    assert [await bulk.told(number) for number in range(COUNT)] == [CRLReason.CERTIFICATE_HOLD.value] * COUNT


async def test_what_an_act_suspended_another_one_restores(bulk: Bulk) -> None:
    act = await bulk.done(bulk.new())
    lifted = await bulk.done(bulk.new(Kind.RESTORE, "cause_gone", lifts=act.id))
    assert (lifted.state, lifted.changed, lifted.passed_over) == ("done", COUNT, 0)
    assert await states(bulk) == ["active"] * COUNT
    assert [await bulk.told(number) for number in range(COUNT)] == [None] * COUNT


async def test_some_of_what_an_act_suspended_are_restored(bulk: Bulk) -> None:
    act = await bulk.done(bulk.new())
    named = ((bulk.authority, FIRST_SERIAL + 1), (bulk.authority, FIRST_SERIAL + 4))
    await bulk.done(bulk.new(Kind.RESTORE, "cause_gone", lifts=act.id, named=named))
    active = [number for number, state in enumerate(await states(bulk)) if state == "active"]
    assert active == [1, 4]
    with pytest.raises(RefusedError, match="1 of these certificates are not held"):
        await bulk.acts.propose(LEGAL, bulk.new(Kind.RESTORE, "cause_gone", lifts=act.id, named=named[:1]))


async def test_all_are_revoked_also_the_suspended_ones_whose_dates_stay(bulk: Bulk) -> None:
    await bulk.done(bulk.new(named=((bulk.authority, FIRST_SERIAL),)))
    began = bulk.clock.now()
    bulk.clock.moment += timedelta(hours=1)
    act = await bulk.done(bulk.new(Kind.REVOKE))
    assert (act.changed, act.passed_over) == (COUNT, 0)
    assert await states(bulk) == ["revoked"] * COUNT
    first, second = [
        await bulk.core.storage.read(lambda tx, one=one: crl_entries.current(tx, bulk.authority, one))  # type: ignore[misc]  # mypy infers no type for a lambda with defaults
        for one in (FIRST_SERIAL, FIRST_SERIAL + 1)
    ]
    assert first is not None
    assert second is not None
    assert (first.revoked_at, second.revoked_at) == (began, bulk.clock.now())
    assert first.reason == second.reason == CRLReason.KEY_COMPROMISE.value


async def test_what_ended_meanwhile_is_passed_over(bulk: Bulk) -> None:
    proposed = await bulk.acts.propose(LEGAL, bulk.new())
    revoke = Command(Action.REVOKE, HoldOwner.AUTHORITY)
    await bulk.core.status_changes.carry_out(bulk.authority, FIRST_SERIAL + 2, revoke, "test")
    await bulk.acts.confirm(OTHER_LEGAL, proposed.id, proposed.version)
    assert await bulk.core.registration.bulk_runner.work() == COUNT - 1
    act = await bulk.acts.show(LEGAL, proposed.id)
    assert (act.changed, act.passed_over) == (COUNT - 1, 1)
    assert await bulk.state(2) == "revoked"


async def test_a_hold_of_the_holder_stays_where_a_bulk_act_ends(bulk: Bulk) -> None:
    suspend = Command(Action.SUSPEND, HoldOwner.HOLDER)
    await bulk.core.status_changes.carry_out(bulk.authority, FIRST_SERIAL, suspend, "test")
    act = await bulk.done(bulk.new())
    assert act.changed == COUNT
    restore = Command(Action.RESTORE, HoldOwner.HOLDER)
    await bulk.core.status_changes.carry_out(bulk.authority, FIRST_SERIAL, restore, "test")
    assert await bulk.state(0) == "suspended"
    with pytest.raises(ConflictError, match="the authority"):
        await bulk.core.status_changes.carry_out(bulk.authority, FIRST_SERIAL + 1, restore, "test")
    await bulk.core.status_changes.carry_out(bulk.authority, FIRST_SERIAL + 1, suspend, "test")
    lifted = await bulk.done(bulk.new(Kind.RESTORE, "cause_gone", lifts=act.id))
    assert lifted.changed == COUNT
    assert [await bulk.state(0), await bulk.state(1)] == ["active", "suspended"]


async def test_what_is_issued_after_the_proposal_is_not_of_it(bulk: Bulk) -> None:
    proposed = await bulk.acts.propose(LEGAL, bulk.new())
    later = replace(bulk)
    await bulk.core.storage.write(lambda tx: _one_more(later, tx))
    await bulk.acts.confirm(OTHER_LEGAL, proposed.id, proposed.version)
    await bulk.core.registration.bulk_runner.work()
    assert await bulk.state(COUNT) == "active"


def _one_more(bulk: Bulk, tx: Transaction) -> None:
    from tests.ra import bulk_setting

    first = bulk_setting.FIRST_SERIAL
    bulk_setting.FIRST_SERIAL = first + COUNT
    try:
        bulk.fill(tx, 1)
    finally:
        bulk_setting.FIRST_SERIAL = first


async def test_two_people_begin_it(bulk: Bulk) -> None:
    proposed = await bulk.acts.propose(LEGAL, bulk.new())
    assert await bulk.core.registration.bulk_runner.work() == 0  # a proposal does nothing
    with pytest.raises(NotAuthorizedError):
        await bulk.acts.confirm(LEGAL, proposed.id, proposed.version)
    for role in (Role.REGISTRAR, Role.SPECIALIST, Role.ADMINISTRATOR, Role.AUDITOR):
        somebody = Actor("somebody", (Assignment(role, everywhere=True),))
        with pytest.raises(NotAuthorizedError):
            await bulk.acts.confirm(somebody, proposed.id, proposed.version)
    with pytest.raises(ChangedError):
        await bulk.acts.confirm(SENIOR, proposed.id, proposed.version + 1)
    begun = await bulk.acts.confirm(SENIOR, proposed.id, proposed.version)
    assert (begun.state, begun.decided_by) == ("running", SENIOR.name)


async def test_the_same_person_under_another_name_is_no_second_one(bulk: Bulk) -> None:
    one, other = replace(LEGAL, person=5), replace(OTHER_LEGAL, person=5)
    proposed = await bulk.acts.propose(one, bulk.new())
    with pytest.raises(NotAuthorizedError):
        await bulk.acts.confirm(other, proposed.id, proposed.version)


async def test_nobody_proposes_or_confirms_what_names_the_own_certificate(bulk: Bulk, story: Story) -> None:
    made = await story.issued()
    assert made.person is not None
    holder, renewed = replace(LEGAL, person=made.person), serial_to_blob(7)
    await story.core.storage.database.write(
        lambda tx: tx.execute(
            "INSERT INTO certificates SELECT authority, ?, profile, subject, spki_sha256, not_before,"
            " not_after, state, certificate, crl_shard FROM certificates WHERE serial = ?",
            (renewed, serial_to_blob(made.serial or 0)),
        )
    )
    for serial in (made.serial or 0, 7):
        own = bulk.new(named=((made.authority or 0, serial), (bulk.authority, FIRST_SERIAL)))
        with pytest.raises(NotAuthorizedError, match="the own"):
            await bulk.acts.propose(holder, own)
        proposed = await bulk.acts.propose(OTHER_LEGAL, own)
        with pytest.raises(NotAuthorizedError):
            await bulk.acts.confirm(holder, proposed.id, proposed.version)
        await bulk.acts.confirm(SENIOR, proposed.id, proposed.version)
    everybody = await bulk.acts.propose(OTHER_LEGAL, bulk.new())  # the own is as all others
    await bulk.acts.confirm(holder, everybody.id, everybody.version)


async def test_a_proposer_who_is_that_no_more_is_no_first_person(bulk: Bulk) -> None:
    first = replace(LEGAL, name="actor:saraa")

    def registered(tx: Transaction) -> int:
        found = actors.add(tx, name="saraa", now=bulk.clock.now(), by="test")
        given: dict[str, Any] = {"office": None, "organization": None, "everywhere": False}
        actors.add_role(tx, actor=found.id, role="legal", **given, now=bulk.clock.now(), by="test")
        return found.id

    number = await bulk.core.storage.write(registered)
    proposed = await bulk.acts.propose(first, bulk.new())
    role = (await bulk.core.storage.read(lambda tx: actors.roles(tx, number)))[0].id
    await bulk.core.storage.write(lambda tx: actors.end_role(tx, role, bulk.clock.now(), "test"))
    with pytest.raises(NotAuthorizedError):
        await bulk.acts.confirm(OTHER_LEGAL, proposed.id, proposed.version)
    records = await bulk.core.storage.read(lambda tx: audit.after(tx, 0, 10_000))
    assert (records[-1].actor, records[-1].outcome) == (OTHER_LEGAL.name, "refused")


async def test_an_old_proposal_is_not_confirmed(bulk: Bulk) -> None:
    proposed = await bulk.acts.propose(LEGAL, bulk.new())
    bulk.clock.moment += PROPOSAL_LIFETIME + timedelta(seconds=1)
    with pytest.raises(ConflictError, match="too old"):
        await bulk.acts.confirm(OTHER_LEGAL, proposed.id, proposed.version)


async def test_a_refused_proposal_is_not_carried_out(bulk: Bulk) -> None:
    proposed = await bulk.acts.propose(LEGAL, bulk.new())
    refused = await bulk.acts.refuse(LEGAL, proposed.id, proposed.version)
    assert refused.state == "refused"
    with pytest.raises(ConflictError):
        await bulk.acts.confirm(OTHER_LEGAL, proposed.id, refused.version)
    assert await states(bulk) == ["active"] * COUNT


async def test_a_stopped_act_goes_on_where_it_was(bulk: Bulk) -> None:
    begun = await bulk.confirmed(bulk.new())
    runner = bulk.core.registration.bulk_runner
    await bulk.core.storage.write(lambda tx: runner.next_batch(tx, begun.id))
    stopped = await bulk.acts.stop(LEGAL, begun.id, begun.version)
    assert await runner.work() == 0
    assert (await states(bulk)).count("suspended") == 3
    await bulk.acts.resume(LEGAL, begun.id, stopped.version)
    assert await runner.work() == COUNT - 3
    assert await states(bulk) == ["suspended"] * COUNT


async def test_a_batch_that_fails_leaves_nothing_and_is_done_again(
    bulk: Bulk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pkiserver.ra.bulk import carrying_out

    begun = await bulk.confirmed(bulk.new())
    real, left = carrying_out.bulk_acts.note_done, [1]

    def failing(*values: Any, **more: Any) -> None:
        if left[0] == 0:
            raise UnavailableError("the disk is full")
        left[0] -= 1
        real(*values, **more)

    monkeypatch.setattr(carrying_out.bulk_acts, "note_done", failing)
    with pytest.raises(UnavailableError):
        await bulk.core.registration.bulk_runner.work()
    assert (await bulk.acts.show(LEGAL, begun.id)).done == 1
    assert (await states(bulk)).count("suspended") == 3
    monkeypatch.setattr(carrying_out.bulk_acts, "note_done", real)
    assert await bulk.core.registration.bulk_runner.work() == COUNT - 3
    events = await bulk.core.storage.read(lambda tx: status_events.after(tx, 0, 1000))
    assert sum(one.to_state == "suspended" for one in events) == COUNT


WRONG_SELECTIONS: dict[str, tuple[Kind, dict[str, Any]]] = {
    "nothing said": (Kind.SUSPEND, {}),
    "two ways": (Kind.SUSPEND, {"issuer": (1,), "named": ((1, 1),)}),
    "a profile of nobody": (Kind.SUSPEND, {"named": ((1, 1),), "profile": "citizen-signature"}),
    "a profile of the infrastructure": (Kind.SUSPEND, {"issuer": (1,), "profile": "tls-server"}),
    "suspend what an act holds": (Kind.SUSPEND, {"lifts": 1}),
    "restore without an act": (Kind.RESTORE, {"named": ((1, 1),)}),
    "restore what an authority issued": (Kind.RESTORE, {"lifts": 1, "issuer": (1,)}),
}


@pytest.mark.parametrize("name", WRONG_SELECTIONS)
async def test_a_selection_is_of_one_way(bulk: Bulk, name: str) -> None:
    kind, values = WRONG_SELECTIONS[name]
    ground = "cause_gone" if kind is Kind.RESTORE else "key_compromised"
    with pytest.raises((RefusedError, NotFoundError)):
        await bulk.acts.propose(LEGAL, NewAct(kind, ground, Selection(**values)))


async def test_what_is_not_there_is_not_proposed(bulk: Bulk) -> None:
    with pytest.raises(NotFoundError, match="no certificate"):
        await bulk.acts.propose(LEGAL, bulk.new(named=((bulk.authority, 5),)))
    with pytest.raises(NotFoundError):
        await bulk.acts.propose(LEGAL, bulk.new(Kind.RESTORE, "cause_gone", lifts=99))
    with pytest.raises(NotFoundError):
        await bulk.acts.show(LEGAL, 99)
    until = bulk.clock.now() - timedelta(days=1)
    with pytest.raises(RefusedError, match="no such certificate"):
        await bulk.acts.propose(LEGAL, bulk.new(issued_until=until))


async def test_certificates_of_the_infrastructure_are_never_among_them(bulk: Bulk) -> None:
    core = bulk.core
    (record,) = [one for one in core.authorities if one.name == "infrastructure"]
    events = await core.storage.read(lambda tx: status_events.after(tx, 0, 1000))
    own = next(one for one in events if one.authority == record.id)
    with pytest.raises(RefusedError, match="infrastructure"):
        await bulk.acts.propose(LEGAL, bulk.new(named=((own.authority, own.serial),)))
    with pytest.raises(RefusedError, match="no such certificate"):
        await bulk.acts.propose(LEGAL, bulk.new(issuer=(record.id,)))


async def test_an_authoritys_decision_is_named_in_full(bulk: Bulk) -> None:
    new = replace(bulk.new(ground="authority_decision"), evidence=DECISION)
    assert (await bulk.acts.propose(LEGAL, new)).state == "proposed"
    with pytest.raises(RefusedError, match=r"3\.3"):
        await bulk.acts.propose(LEGAL, replace(new, evidence={"body": "court"}))


async def test_not_too_many_wait(bulk: Bulk) -> None:
    one = bulk.new(named=((bulk.authority, FIRST_SERIAL),))
    for _ in range(MAX_WAITING):
        await bulk.acts.propose(LEGAL, one)
    with pytest.raises(ConflictError, match="decide some"):
        await bulk.acts.propose(LEGAL, one)
    assert await bulk.acts.propose(OTHER_LEGAL, one)  # who floods the list keeps no others from it


async def test_the_act_is_on_record_and_so_is_each_batch(bulk: Bulk) -> None:
    act = await bulk.done(bulk.new())
    records = await bulk.core.storage.read(lambda tx: audit.after(tx, 0, 10_000))
    of_act = [one.action for one in records if one.action.startswith("bulk.")]
    assert of_act == ["bulk.propose", "bulk.confirm", *["bulk.suspend"] * 3, "bulk.finish"]
    assert act.sha256.hex() in next(one.detail for one in records if one.action == "bulk.confirm")


async def test_who_may_see_acts(bulk: Bulk) -> None:
    proposed = await bulk.acts.propose(LEGAL, bulk.new())

    async def seen(role: Role) -> list[ActRecord]:
        return await bulk.acts.newest(Actor("x", (Assignment(role, everywhere=True),)))

    for role in (Role.LEGAL, Role.SENIOR_REGISTRAR, Role.AUDITOR):
        assert [one.id for one in await seen(role)] == [proposed.id]
    assert await seen(Role.SPECIALIST) == []  # who sees what is of organisations
    with pytest.raises(NotAuthorizedError):
        await seen(Role.REGISTRAR)
    assert await bulk.acts.serials(LEGAL, proposed.id, 3) == (bulk.authority, (FIRST_SERIAL + 6,))
    with pytest.raises(NotFoundError):
        await bulk.acts.serials(LEGAL, proposed.id, 4)
