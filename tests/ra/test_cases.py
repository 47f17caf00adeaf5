"""Cases on a real store, signer and clock: clauses 3.1 to 3.6 of the regulation."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from pkiserver.core import Core
from pkiserver.errors import ChangedError, ConflictError, NotAuthorizedError, NotFoundError, RefusedError
from pkiserver.ra.cases.entry import NewCase
from pkiserver.ra.cases.rules import GROUNDS, RULES, Channel, Kind, rule_for
from pkiserver.ra.cases.service import Cases, Decision
from pkiserver.ra.letters.outbox import Medium
from pkiserver.ra.registration.numbers import ULAANBAATAR
from pkiserver.ra.registration.offices import OfficeForm
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from protocols.asn1.ocsp import CRLReason
from store import audit as audit_chain
from store import certificates, crl_entries, status_events
from store import letters as letter_rows
from store.cases import CaseRecord
from tests.ra.officer_setting import Organization
from tests.ra.test_registration_services import ADMINISTRATOR, CITIZEN, Story

LEGAL = Actor("legal-1", (Assignment(Role.LEGAL),))
OTHER_LEGAL = Actor("legal-2", (Assignment(Role.LEGAL),))
DECISION = {"body": "Prosecutor's office", "number": "17", "date": "2026-07-08", "document": "scan-88"}
HOUR = timedelta(hours=1)


@dataclass
class Setup:
    """A citizen with a certificate, and those who act on it."""

    core: Core
    clock: Any
    authority: int
    serial: int
    person: int
    registrar: Actor
    senior: Actor
    kiosk: Actor

    @property
    def cases(self) -> Cases:
        return self.core.registration.cases

    def new(self, kind: Kind, channel: Channel, ground: str, **more: Any) -> NewCase:
        if channel is Channel.WRITTEN:
            more.setdefault("office", "ub-1")
        return NewCase(self.authority, self.serial, kind, channel, ground, **more)

    async def written(self, kind: Kind, ground: str = "holder_request") -> CaseRecord:
        return await self.cases.receive(self.registrar, self.new(kind, Channel.WRITTEN, ground))

    async def self_service(self, kind: Kind, ground: str = "holder_request") -> CaseRecord:
        return await self.cases.receive(self.kiosk, self.new(kind, Channel.SELF_SERVICE, ground))

    async def decided_by_authority(self, kind: Kind, lifts: int | None = None) -> CaseRecord:
        ground = "cause_gone" if kind is Kind.RESTORE else "authority_decision"
        new = self.new(kind, Channel.AUTHORITY, ground, evidence=DECISION, lifts=lifts)
        made = await self.cases.receive(LEGAL, new)
        return await self.cases.decide(OTHER_LEGAL, made.id, Decision(made.version, True, "seen"))

    async def state(self) -> str:
        found = await self.core.storage.read(lambda tx: certificates.get(tx, self.authority, self.serial))
        assert found is not None
        return found.state

    async def told(self) -> tuple[datetime, int] | None:
        found = await self.core.storage.read(lambda tx: crl_entries.current(tx, self.authority, self.serial))
        return (found.revoked_at, found.reason) if found else None

    async def holds(self) -> list[tuple[str, int | None]]:
        found = await self.core.storage.read(
            lambda tx: status_events.open_holds(tx, self.authority, self.serial)
        )
        return [(one.holder, one.decision) for one in found]


@pytest.fixture
async def setup(core: Core, clock: Any) -> Setup:
    return await setup_of(core, clock)


async def setup_of(core: Core, clock: Any) -> Setup:
    """Issue a certificate to a citizen, applied for at ub-1."""
    office = await core.registration.offices.add(ADMINISTRATOR, "ub-1", OfficeForm("Сүхбаатар дүүрэг"))
    registrar = Actor("registrar-1", (Assignment(Role.REGISTRAR, office=office.id),))
    story = Story(core, registrar, clock)
    story.registry_has(CITIZEN)
    issued = await story.issued()
    assert issued.person is not None
    assert issued.authority is not None
    assert issued.serial is not None
    return Setup(
        core,
        clock,
        issued.authority,
        issued.serial,
        issued.person,
        registrar,
        Actor("senior-1", (Assignment(Role.SENIOR_REGISTRAR, office=office.id),)),
        Actor("kiosk-1", (Assignment(Role.SERVICE),), on_behalf_of=issued.person),
    )


def at(clock: Any, text: str) -> datetime:
    """Set the clock to a moment of Mongolia."""
    clock.moment = datetime.fromisoformat(text).replace(tzinfo=ULAANBAATAR).astimezone(UTC)
    assert isinstance(clock.moment, datetime)
    return clock.moment


async def test_regulation_3_2_a_written_request_is_decided_within_eight_working_hours(setup: Setup) -> None:
    """Naadam lies between; the example of the domain itself is among the tests of working hours."""
    at(setup.clock, "2027-07-09T15:00")
    case = await setup.written(Kind.SUSPEND)
    assert case.due_at.astimezone(ULAANBAATAR).isoformat() == "2027-07-16T15:00:00+08:00"
    assert (case.state, await setup.state()) == ("received", "active")
    decided_at = at(setup.clock, "2027-07-16T14:00")
    decided = await setup.cases.decide(setup.registrar, case.id, Decision(case.version, True, "as asked"))
    assert (decided.state, decided.decided_by, decided.decided_at) == ("granted", "registrar-1", decided_at)
    assert await setup.state() == "suspended"
    assert await setup.told() == (decided_at, CRLReason.CERTIFICATE_HOLD.value)


async def test_regulation_3_2_online_is_at_once(setup: Setup) -> None:
    case = await setup.self_service(Kind.SUSPEND)
    assert (case.state, case.due_at, await setup.state()) == ("granted", case.received_at, "suspended")


async def test_regulation_3_3_an_authoritys_decision_needs_a_second_person(setup: Setup) -> None:
    new = setup.new(Kind.SUSPEND, Channel.AUTHORITY, "authority_decision", evidence=DECISION)
    case = await setup.cases.receive(LEGAL, new)
    assert (case.due_at - case.received_at, await setup.state()) == (24 * HOUR, "active")
    yes = Decision(case.version, True, "the decision was seen")
    for refused in (LEGAL, setup.registrar, ADMINISTRATOR, setup.kiosk):
        with pytest.raises(NotAuthorizedError):
            await setup.cases.decide(refused, case.id, yes)
    with pytest.raises(ChangedError):
        await setup.cases.decide(OTHER_LEGAL, case.id, Decision(case.version + 1, True, "another version"))
    assert await setup.state() == "active"
    await setup.cases.decide(OTHER_LEGAL, case.id, yes)
    assert (await setup.state(), await setup.holds()) == ("suspended", [("authority", case.id)])


@pytest.mark.parametrize("missing", sorted(DECISION))
async def test_regulation_3_3_a_decision_is_named_in_full(setup: Setup, missing: str) -> None:
    evidence = {name: text for name, text in DECISION.items() if name != missing}
    new = setup.new(Kind.SUSPEND, Channel.AUTHORITY, "authority_decision", evidence=evidence)
    with pytest.raises(RefusedError, match="body, number, date and document"):
        await setup.cases.receive(LEGAL, new)


async def test_regulation_3_4_the_holder_restores_what_the_holder_suspended(setup: Setup) -> None:
    await setup.self_service(Kind.SUSPEND)
    await setup.self_service(Kind.RESTORE)
    assert (await setup.state(), await setup.holds(), await setup.told()) == ("active", [], None)


async def test_regulation_3_4_the_holder_never_lifts_an_authoritys_hold(setup: Setup) -> None:
    begun = setup.clock.moment
    held = await setup.decided_by_authority(Kind.SUSPEND)
    with pytest.raises(ConflictError, match="who alone can restore"):
        await setup.self_service(Kind.RESTORE)
    setup.clock.moment += HOUR
    await setup.self_service(Kind.SUSPEND)
    await setup.self_service(Kind.RESTORE)
    assert (await setup.state(), await setup.holds()) == ("suspended", [("authority", held.id)])
    assert await setup.told() == (begun, CRLReason.CERTIFICATE_HOLD.value)


async def test_regulation_3_5_the_cause_is_gone(setup: Setup) -> None:
    """Each authority lifts its own hold alone; the certificate is active when the last one is gone."""
    first = await setup.decided_by_authority(Kind.SUSPEND)
    second = await setup.decided_by_authority(Kind.SUSPEND)
    at(setup.clock, "2027-07-09T15:00")
    new = setup.new(
        Kind.RESTORE, Channel.AUTHORITY, "cause_gone", evidence=DECISION, lifts=first.id, office="ub-1"
    )
    release = await setup.cases.receive(LEGAL, new)
    assert release.due_at.astimezone(ULAANBAATAR).isoformat() == "2027-07-16T15:00:00+08:00"
    await setup.cases.decide(setup.senior, release.id, Decision(release.version, True, "seen"))
    assert (await setup.state(), await setup.holds()) == ("suspended", [("authority", second.id)])
    await setup.decided_by_authority(Kind.RESTORE, lifts=second.id)
    assert await setup.state() == "active"


async def test_a_release_names_a_hold_that_was_placed_on_this_certificate(setup: Setup) -> None:
    restore = await setup.self_service(Kind.SUSPEND)
    for lifts in (999, None):
        new = setup.new(Kind.RESTORE, Channel.AUTHORITY, "cause_gone", evidence=DECISION, lifts=lifts)
        with pytest.raises(RefusedError):
            await setup.cases.receive(LEGAL, new)
    new = setup.new(Kind.RESTORE, Channel.AUTHORITY, "cause_gone", evidence=DECISION, lifts=restore.id)
    with pytest.raises(RefusedError, match="did not suspend"):
        await setup.cases.receive(LEGAL, new)


async def test_regulation_3_6_revoked_and_the_date_is_that_of_the_hold(setup: Setup) -> None:
    begun = setup.clock.moment
    await setup.self_service(Kind.SUSPEND, "carrier_missing")
    setup.clock.moment += HOUR
    case = await setup.written(Kind.REVOKE, "carrier_missing")
    assert case.due_at - case.received_at == 24 * HOUR
    await setup.cases.decide(setup.registrar, case.id, Decision(case.version, True, "as asked"))
    assert (await setup.state(), await setup.holds()) == ("revoked", [])
    assert await setup.told() == (begun, CRLReason.KEY_COMPROMISE.value)


@pytest.mark.parametrize("ground", ["forged_documents", "duties_breached"])
async def test_against_the_holders_will_two_decide(setup: Setup, ground: str) -> None:
    case = await setup.written(Kind.REVOKE, ground)
    yes = Decision(case.version, True, "the papers were looked at")
    with pytest.raises(NotAuthorizedError):
        await setup.cases.decide(setup.registrar, case.id, yes)
    await setup.cases.decide(setup.senior, case.id, yes)
    assert await setup.state() == "revoked"


@pytest.mark.parametrize("channel", [Channel.SELF_SERVICE, Channel.CIVIL_REGISTRY])
async def test_no_channel_that_carries_itself_out_spares_the_second_person(
    setup: Setup, channel: Channel
) -> None:
    for ground in sorted(name for name, one in GROUNDS.items() if one.against_will):
        with pytest.raises(RefusedError, match="two"):
            await setup.cases.receive(setup.registrar, setup.new(Kind.REVOKE, channel, ground, office="ub-1"))
    assert await setup.state() == "active"


async def test_self_service_is_of_services_alone(setup: Setup) -> None:
    """What carries itself out has nobody who decides: at an office it is a written request."""
    new = setup.new(Kind.REVOKE, Channel.SELF_SERVICE, "holder_request", office="ub-1")
    with pytest.raises(NotAuthorizedError):
        await setup.cases.receive(setup.registrar, new)
    assert await setup.state() == "active"


async def test_an_organisation_s_letter_does_not_lift_an_authoritys_hold(setup: Setup) -> None:
    held = await setup.decided_by_authority(Kind.SUSPEND)
    letter = setup.new(
        Kind.RESTORE,
        Channel.ORGANIZATION,
        "cause_gone",
        office="ub-1",
        lifts=held.id,
        evidence={"letter": "7"},
    )
    with pytest.raises(NotAuthorizedError):
        await setup.cases.receive(setup.registrar, letter)
    assert await setup.state() == "suspended"


async def test_nobody_decides_of_the_own_certificate(setup: Setup) -> None:
    case = await setup.written(Kind.SUSPEND)
    own = Actor("registrar-2", setup.registrar.assignments, person=setup.person)
    for act in (
        setup.cases.decide(own, case.id, Decision(case.version, True, "mine")),
        setup.cases.receive(own, setup.new(Kind.RESTORE, Channel.WRITTEN, "holder_request")),
    ):
        with pytest.raises(NotAuthorizedError, match="own certificate"):
            await act


async def test_a_service_acts_for_the_holder_whom_it_identified_alone(setup: Setup) -> None:
    stranger = Actor("kiosk-2", (Assignment(Role.SERVICE),), on_behalf_of=setup.person + 1)
    with pytest.raises(NotAuthorizedError):
        await setup.cases.receive(stranger, setup.new(Kind.SUSPEND, Channel.SELF_SERVICE, "holder_request"))
    assert await setup.state() == "active"


async def test_a_channel_is_open_to_its_roles_alone(setup: Setup) -> None:
    """A registrar has no request carry itself out, and a service signs no letter of an organisation."""
    for actor, channel in (
        (setup.registrar, Channel.SELF_SERVICE),
        (setup.registrar, Channel.CIVIL_REGISTRY),
        (setup.kiosk, Channel.WRITTEN),
        (setup.kiosk, Channel.ORGANIZATION),
        (LEGAL, Channel.WRITTEN),
    ):
        ground = "carrier_missing" if channel is Channel.CIVIL_REGISTRY else "holder_request"
        with pytest.raises(NotAuthorizedError):
            await setup.cases.receive(actor, setup.new(Kind.SUSPEND, channel, ground, office="ub-1"))
    assert await setup.cases.urgent(setup.registrar) == []


async def test_the_same_asked_again_is_one_case(setup: Setup) -> None:
    first, again = await setup.written(Kind.SUSPEND), await setup.written(Kind.SUSPEND)
    assert again == first
    refused = await setup.cases.decide(setup.registrar, first.id, Decision(1, False, "not the holder"))
    assert (refused.state, await setup.state()) == ("refused", "active")
    with pytest.raises(ConflictError, match="refused"):
        await setup.cases.decide(setup.registrar, first.id, Decision(2, True, "after all"))
    assert (await setup.written(Kind.SUSPEND)).id != first.id


async def test_what_the_state_forbids_leaves_the_case_open(setup: Setup) -> None:
    """The decision and the change are one commit: neither is there without the other."""
    case = await setup.written(Kind.RESTORE)
    with pytest.raises(ConflictError, match="nothing to restore"):
        await setup.cases.decide(setup.registrar, case.id, Decision(case.version, True, "as asked"))
    assert await setup.cases.show(setup.registrar, case.id) == case
    with pytest.raises(ConflictError, match="nothing to restore"):
        await setup.self_service(Kind.RESTORE)
    assert len(await setup.cases.urgent(setup.registrar, office="ub-1")) == 1


async def test_the_most_urgent_comes_first(setup: Setup) -> None:
    at(setup.clock, "2027-07-09T15:00")
    suspend = await setup.written(Kind.SUSPEND)
    revoke = await setup.written(Kind.REVOKE)
    restore = await setup.written(Kind.RESTORE)
    urgent = await setup.cases.urgent(setup.registrar, office="ub-1")
    assert [one.id for one in urgent] == [restore.id, revoke.id, suspend.id]
    after = await setup.cases.urgent(setup.registrar, office="ub-1", after=(restore.due_at, restore.id))
    assert [one.id for one in after] == [revoke.id, suspend.id]
    soon = await setup.cases.urgent(setup.registrar, office="ub-1", until=restore.due_at)
    assert [one.id for one in soon] == [restore.id]
    assert await setup.cases.urgent(setup.registrar) == urgent  # of the own office
    for of_another in (Actor("r", (Assignment(Role.REGISTRAR, office=99),)), setup.kiosk):
        shown = await setup.cases.urgent(of_another)
        assert shown == (urgent if of_another is setup.kiosk else [])
    with pytest.raises(NotAuthorizedError):
        await setup.cases.urgent(ADMINISTRATOR)
    with pytest.raises(NotFoundError):
        await setup.cases.urgent(setup.registrar, office="nowhere")


async def test_regulation_3_3_and_3_5_the_holder_is_told_by_mail(setup: Setup) -> None:
    """In the same commit as the change; a change that is refused tells nobody."""
    held = await setup.decided_by_authority(Kind.SUSPEND)
    with pytest.raises(ConflictError):
        await setup.self_service(Kind.RESTORE)
    await setup.decided_by_authority(Kind.RESTORE, lifts=held.id)
    await setup.self_service(Kind.REVOKE, "carrier_missing")
    letters = await setup.core.storage.read(lambda tx: letter_rows.of_person(tx, setup.person, 10))
    assert [one.template for one in reversed(letters)] == [
        "certificate-suspended",
        "certificate-restored",
        "certificate-revoked",
    ]
    waiting = await setup.core.storage.read(
        lambda tx: setup.core.registration.outbox.due(tx, Medium.MAIL, setup.clock.now(), 10)
    )
    assert {one.to for one in waiting} == {"dorj@example.mn"}
    assert [one.values["ground"] for one in waiting] == [
        "эрх бүхий байгууллагын шийдвэр",
        "түдгэлзүүлэх үндэслэл арилсан",
        "тээгч алга болсон",
    ]


class TestOfficers:
    """An organisation asks for its own officers, by its letter; an office decides."""

    @pytest.fixture
    async def own(self, setup: Setup) -> Organization:
        return await Organization.of(setup.core)

    @pytest.fixture
    async def officers(self, setup: Setup, own: Organization) -> Setup:
        issued = await own.issued()
        assert issued.authority is not None
        assert issued.serial is not None
        assert issued.person is not None
        return replace(setup, authority=issued.authority, serial=issued.serial, person=issued.person)

    def asked(self, officers: Setup, kind: Kind, ground: str, **more: Any) -> NewCase:
        return officers.new(kind, Channel.ORGANIZATION, ground, **more)

    async def test_the_own_organisation_asks_and_the_office_decides(
        self, officers: Setup, own: Organization
    ) -> None:
        new = self.asked(officers, Kind.REVOKE, "officer_left", office="ub-1")
        case = await officers.cases.receive(own.officer, new)
        assert (case.organization, case.person, case.state) == (own.id, officers.person, "received")
        assert await officers.cases.show(own.officer, case.id) == case
        yes = Decision(case.version, True, "letter 14 was seen")
        with pytest.raises(NotAuthorizedError):
            await officers.cases.decide(own.officer, case.id, yes)
        await officers.cases.decide(officers.registrar, case.id, yes)
        assert await officers.state() == "revoked"

    async def test_another_organisation_neither_asks_nor_sees(
        self, officers: Setup, own: Organization
    ) -> None:
        stranger = Actor("org-2", (Assignment(Role.ORG_OFFICER, organization=own.id + 1),))
        new = self.asked(officers, Kind.REVOKE, "officer_left")
        with pytest.raises(NotAuthorizedError):
            await officers.cases.receive(stranger, new)
        case = await officers.cases.receive(own.officer, new)
        with pytest.raises(NotAuthorizedError):
            await officers.cases.show(stranger, case.id)

    async def test_nobody_asks_for_the_own_certificate(self, officers: Setup, own: Organization) -> None:
        oneself = replace(own.officer, person=officers.person)
        with pytest.raises(NotAuthorizedError, match="own certificate"):
            await officers.cases.receive(oneself, self.asked(officers, Kind.REVOKE, "officer_left"))

    async def test_an_organisation_is_not_the_holder(self, officers: Setup, own: Organization) -> None:
        """What a holder asks by self-service carries itself out; an organisation's letter never does."""
        for channel in (Channel.SELF_SERVICE, Channel.WRITTEN, Channel.AUTHORITY, Channel.CIVIL_REGISTRY):
            new = officers.new(Kind.REVOKE, channel, "holder_request", evidence=DECISION)
            with pytest.raises(NotAuthorizedError):
                await officers.cases.receive(own.officer, new)
        assert await officers.state() == "active"

    async def test_an_organisation_asks_nothing_of_a_citizen(self, setup: Setup, own: Organization) -> None:
        for actor in (own.officer, setup.registrar):
            new = setup.new(Kind.SUSPEND, Channel.ORGANIZATION, "carrier_missing", office="ub-1")
            with pytest.raises(NotAuthorizedError):
                await setup.cases.receive(actor, new)

    async def test_regulation_3_5_an_organisation_restores_what_it_suspended_alone(
        self, officers: Setup, own: Organization
    ) -> None:
        held = await officers.decided_by_authority(Kind.SUSPEND)
        restore = self.asked(officers, Kind.RESTORE, "cause_gone", lifts=held.id, office="ub-1")
        with pytest.raises(RefusedError, match="for somebody else"):
            await officers.cases.receive(own.officer, restore)
        with pytest.raises(NotAuthorizedError):
            await officers.cases.receive(officers.registrar, restore)
        await officers.decided_by_authority(Kind.RESTORE, lifts=held.id)
        new = self.asked(officers, Kind.SUSPEND, "key_compromised", office="ub-1")
        asked = await officers.cases.receive(own.officer, new)
        await officers.cases.decide(officers.registrar, asked.id, Decision(asked.version, True, "letter 15"))
        assert await officers.holds() == [("authority", asked.id)]
        back = await officers.cases.receive(own.officer, replace(restore, lifts=asked.id))
        await officers.cases.decide(officers.registrar, back.id, Decision(back.version, True, "letter 16"))
        assert (await officers.state(), await officers.holds()) == ("active", [])


@pytest.mark.parametrize("ground", ["forged_documents", "duties_breached", "holder_request"])
@pytest.mark.parametrize("channel", [Channel.SELF_SERVICE, Channel.CIVIL_REGISTRY])
async def test_what_carries_itself_out_is_not_entered_by_an_office(
    setup: Setup, channel: Channel, ground: str
) -> None:
    """Else one person alone would revoke against the holder's will, by naming another channel."""
    new = setup.new(Kind.REVOKE, channel, ground, office="ub-1")
    several = Actor("registrar-3", (*setup.registrar.assignments, *setup.senior.assignments))
    for actor in (setup.registrar, setup.senior, several, setup.kiosk):
        if actor is setup.kiosk and (channel, ground) == (Channel.SELF_SERVICE, "holder_request"):
            continue
        with pytest.raises(NotAuthorizedError if ground == "holder_request" else RefusedError):
            await setup.cases.receive(actor, new)
    assert await setup.state() == "active"


async def test_every_act_and_refusal_is_on_record(setup: Setup) -> None:
    case = await setup.written(Kind.SUSPEND)
    with pytest.raises(NotAuthorizedError):
        await setup.cases.decide(LEGAL, case.id, Decision(case.version, True, "in haste"))
    await setup.cases.decide(setup.registrar, case.id, Decision(case.version, True, "as asked"))
    records = await setup.core.storage.read(lambda tx: audit_chain.after(tx, 0, 10_000))
    told = [(one.action, one.outcome) for one in records][-4:]
    assert told == [
        ("case.receive", "done"),
        ("registration.decide_case", "refused"),
        ("case.granted", "done"),
        ("certificate.suspend", "done"),
    ]


@pytest.mark.parametrize(("kind", "channel"), sorted(product(Kind, Channel), key=str))
def test_every_kind_by_every_channel_is_decided(kind: Kind, channel: Channel) -> None:
    allowed = [ground for ground in GROUNDS if kind in GROUNDS[ground].kinds]
    assert allowed
    if (kind, channel) in RULES:
        deadline = rule_for(kind, channel, allowed[0]).deadline
        assert [bool(deadline.working), bool(deadline.elapsed), deadline.at_once].count(True) == 1
    else:
        with pytest.raises(RefusedError, match="nobody may ask"):
            rule_for(kind, channel, allowed[0])
    for ground in ["no_such_ground", *(set(GROUNDS) - set(allowed))]:
        with pytest.raises(RefusedError):
            rule_for(kind, channel, ground)
