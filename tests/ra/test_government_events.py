"""What happens in a government organisation, and what follows for certificates: DOMAIN, part B."""

import asyncio
import json
from typing import Any

import pytest

from pkiserver.core import Core
from pkiserver.errors import ConflictError, NotAuthorizedError, RefusedError
from pkiserver.ra.cases.entry import NewCase
from pkiserver.ra.cases.registry_rules import Message, MessageKind
from pkiserver.ra.cases.rules import Channel, Kind
from pkiserver.ra.credentials import Credentials
from pkiserver.ra.registration.contracts import Event
from pkiserver.ra.registration.imports import ImportOptions
from pkiserver.ra.registration.issuing import Issuing
from pkiserver.ra.registration.organizations import Organizations
from pkiserver.ra.registration.registry import IdentityProof
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from protocols.asn1.ocsp import CRLReason
from store import letters
from store.applications import ApplicationRecord
from store.records import serial_to_blob
from tests.ra.officer_setting import LIST, NUMBER, SARAA, SPECIALIST, Organization

OTHER_SPECIALIST = Actor("specialist-2", (Assignment(Role.SPECIALIST),))
REGISTRY = Actor("registry-1", (Assignment(Role.CIVIL_REGISTRY),))
PROMOTED = LIST.replace("Дарга,", "Ерөнхий дарга,")
NAMESAKE = (
    LIST.replace("УК90061224", "УК90061225")
    .replace("123456789013", "123456789014")
    .replace("saraa@", "saraa2@")
)
NAMESAKE_ON_RECORD = {**SARAA, "register_number": "УК90061225", "civil_id": "123456789014"}
GOOD = ("active", None)


def revoked(reason: CRLReason) -> tuple[str, int]:
    return ("revoked", reason.value)


@pytest.fixture
async def own(core: Core) -> Organization:
    return await Organization.of(core)


async def test_domain_b_a_new_position_a_new_certificate_and_the_old_one_superseded_once_that_is_delivered(
    own: Organization,
) -> None:
    old = await own.delivered(await own.issued())
    await own.core.registration.application_ends.close(SPECIALIST, old.id, old.version, "unit 7")
    new = await own.issued(PROMOTED)
    assert new.officer == old.officer
    assert [await own.state(old), await own.state(new)] == [GOOD, GOOD]  # nobody is left without one
    await own.delivered(new)
    assert [await own.state(old), await own.state(new)] == [revoked(CRLReason.SUPERSEDED), GOOD]


async def test_another_token_for_the_same_position_supersedes_nothing(own: Organization) -> None:
    first = await own.delivered(await own.issued())
    await own.core.registration.application_ends.close(SPECIALIST, first.id, first.version, "unit 7")
    second = await own.delivered(await own.issued(LIST + "\n"))
    assert second.id != first.id
    assert [await own.state(first), await own.state(second)] == [GOOD, GOOD]


async def test_domain_b_the_certificates_of_an_officer_who_left_are_revoked_for_cessation(
    own: Organization,
) -> None:
    issued = await own.issued()
    await own.core.registration.officers.remove(own.officer, NUMBER, issued.officer or 0)
    assert await own.state(issued) == revoked(CRLReason.CESSATION_OF_OPERATION)
    waiting = await own.core.storage.read(lambda tx: letters.in_state(tx, "waiting", None, 10))
    assert [one.template for one in waiting] == ["certificate-revoked"]


async def renewed(own: Organization, of: ApplicationRecord, count: int = 1) -> None:
    """Leave what renewals do: certificates of the same names, which no application tells of."""
    copied = (
        "INSERT INTO certificates SELECT authority, randomblob(16), profile, subject, spki_sha256,"
        " not_before + 1, not_after, state, certificate, crl_shard FROM certificates WHERE serial = ?"
    )
    named = (serial_to_blob(of.serial or 0),)
    await own.core.storage.database.write(lambda tx: [tx.execute(copied, named) for _ in range(count)])


async def in_use(own: Organization) -> int:
    """Return how many certificates of officers are active."""
    counted = "SELECT count(*) FROM certificates WHERE profile = 'government-token' AND state = 'active'"
    row = await own.core.storage.read(lambda tx: tx.one(counted))
    assert row is not None
    return int(row[0])


async def test_however_many_times_it_was_renewed_nothing_of_who_left_is_in_use(own: Organization) -> None:
    issued = await own.issued()
    await renewed(own, issued, 120)
    await own.core.registration.officers.remove(own.officer, NUMBER, issued.officer or 0)
    assert await in_use(own) == 0


async def test_who_left_takes_nothing_from_another_of_the_same_name_and_position(own: Organization) -> None:
    leaves, stays = await own.issued(), await own.issued(NAMESAKE, NAMESAKE_ON_RECORD)
    await renewed(own, stays)
    assert leaves.officer != stays.officer
    await own.core.registration.officers.remove(own.officer, NUMBER, leaves.officer or 0)
    assert await own.state(leaves) == revoked(CRLReason.CESSATION_OF_OPERATION)
    assert await own.state(stays) == GOOD
    assert await in_use(own) == 2


async def test_what_is_being_made_when_its_officer_leaves_is_revoked_as_it_comes(
    own: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = own.core.signer
    asked, signed, sign = asyncio.Event(), asyncio.Event(), signer.sign

    async def waits(*arguments: Any) -> bytes:
        asked.set()
        await signed.wait()
        return await sign(*arguments)

    monkeypatch.setattr(signer, "sign", waits)
    under_way = asyncio.create_task(own.issued())
    await asked.wait()
    services = own.core.registration
    (officer,) = await services.officers.current(own.officer, NUMBER)
    await services.officers.remove(own.officer, NUMBER, officer.id)
    signed.set()
    issued = await under_way
    assert await own.state(issued) == revoked(CRLReason.CESSATION_OF_OPERATION)


async def test_a_credential_is_bound_to_nobody_who_left_meanwhile(
    own: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = own.core.registration
    made = await TestDeath().verified(own)
    create = Credentials.create

    async def left_first(self: Credentials, **arguments: Any) -> Any:
        await services.officers.remove(own.officer, NUMBER, made.officer or 0)
        return await create(self, **arguments)

    monkeypatch.setattr(Credentials, "create", left_first)
    with pytest.raises(ConflictError, match="has left"):
        await services.issuing.begin(SPECIALIST, made.id, made.version)


async def given_back(own: Organization) -> None:
    """Leave what a client does that refuses its certificate (RFC 9810 §5.3.18)."""
    await own.core.storage.database.write(lambda tx: tx.execute("UPDATE credentials SET uses_left = 1"))


async def usable(own: Organization) -> int:
    counted = "SELECT count(*) FROM credentials WHERE uses_left > 0 AND cancelled_at IS NULL"
    row = await own.core.storage.read(lambda tx: tx.one(counted))
    assert row is not None
    return int(row[0])


class TestContractEnded:
    """The end of a contract revokes all certificates of an organisation in one act of two people."""

    @staticmethod
    async def end(organizations: Organizations) -> None:
        version = (await organizations.show(SPECIALIST, NUMBER)).record.version
        await organizations.move(SPECIALIST, NUMBER, Event.END, version, "letter 20")

    async def test_domain_b_all_of_its_certificates_in_one_bulk_act(self, own: Organization) -> None:
        issued = await own.issued()
        await self.end(own.core.registration.organizations)
        acts = own.core.registration.bulk_acts
        (act,) = await acts.newest(OTHER_SPECIALIST)
        assert (act.kind, act.ground, act.certificates, act.state) == (
            "revoke",
            "contract_ended",
            1,
            "proposed",
        )
        assert await own.state(issued) == GOOD
        with pytest.raises(NotAuthorizedError):
            await acts.confirm(SPECIALIST, act.id, act.version)
        await acts.confirm(OTHER_SPECIALIST, act.id, act.version)
        await own.core.registration.bulk_runner.work()
        assert await own.state(issued) == revoked(CRLReason.CESSATION_OF_OPERATION)
        waiting = await own.core.storage.read(lambda tx: letters.in_state(tx, "waiting", None, 10))
        assert [one.template for one in waiting] == ["certificate-revoked"]
        assert (await acts.show(SPECIALIST, act.id)).told == act.batches

    async def test_a_use_that_was_given_back_enrols_nothing_any_more(self, own: Organization) -> None:
        await own.issued()
        await given_back(own)
        await self.end(own.core.registration.organizations)
        assert await usable(own) == 0

    async def test_what_is_being_made_anew_is_revoked_as_it_comes(
        self, own: Organization, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        signer = own.core.signer
        sign = signer.sign

        async def ends_first(*arguments: Any) -> bytes:
            await own.core.storage.database.write(
                lambda tx: tx.execute("UPDATE organizations SET state = 'ended'")
            )
            return await sign(*arguments)

        monkeypatch.setattr(signer, "sign", ends_first)
        assert await own.state(await own.issued()) == revoked(CRLReason.CESSATION_OF_OPERATION)

    async def test_what_it_applied_for_is_withdrawn(self, own: Organization) -> None:
        services = own.core.registration
        report = await services.imports.run(SPECIALIST, NUMBER, LIST.encode(), ImportOptions())
        await self.end(services.organizations)
        assert (await own.record(report.rows[0].application or 0)).state == "withdrawn"
        assert await services.bulk_acts.newest(SPECIALIST) == []  # there is nothing to revoke


async def test_domain_b_the_certificate_of_a_lost_token_is_revoked_and_never_suspended(
    own: Organization,
) -> None:
    issued = await own.issued()
    cases = own.core.registration.cases

    def asked(kind: Kind) -> NewCase:
        named = (issued.authority or 0, issued.serial or 0)
        return NewCase(*named, kind, Channel.ORGANIZATION, "carrier_missing")

    with pytest.raises(RefusedError, match="revoked, never suspended"):
        await cases.receive(own.officer, asked(Kind.SUSPEND))
    assert (await cases.receive(own.officer, asked(Kind.REVOKE))).state == "received"


class TestDeath:
    """Who died gets nothing any more: what is open is withdrawn, and enrols nothing."""

    @staticmethod
    def told(clock: Any, kind: MessageKind = MessageKind.DEATH) -> Message:
        return Message("m-1", 1, kind, SARAA["civil_id"], clock.now())

    async def verified(self, own: Organization) -> ApplicationRecord:
        with own.core.home.civil_registry.open("a") as registry:
            registry.write(json.dumps(SARAA) + "\n")
        services = own.core.registration
        report = await services.imports.run(SPECIALIST, NUMBER, LIST.encode(), ImportOptions())
        proof = IdentityProof.of("register_numbers", "appointment paper 4")
        made = report.rows[0].application or 0
        return await services.applications.verify(SPECIALIST, made, 1, proof)

    @pytest.mark.parametrize("kind", [MessageKind.DEATH, MessageKind.CITIZENSHIP_LOST])
    async def test_verified_applications_and_their_credentials_end(
        self, own: Organization, clock: Any, kind: MessageKind
    ) -> None:
        made = await self.verified(own)
        issuing: Issuing = own.core.registration.issuing
        new = await issuing.begin(SPECIALIST, made.id, made.version)
        results = await own.core.registration.registry_feed.take(REGISTRY, [self.told(clock, kind)])
        assert [one.outcome for one in results] == ["done"]
        assert (await own.record(made.id)).state == "withdrawn"
        ended = await own.core.storage.read(
            lambda tx: tx.one("SELECT cancelled_at FROM credentials WHERE reference = ?", (new.reference,))
        )
        assert ended is not None
        assert ended[0] is not None

    async def test_a_use_that_was_given_back_ends_too(self, own: Organization, clock: Any) -> None:
        issued = await own.issued()
        await given_back(own)
        await own.core.registration.registry_feed.take(REGISTRY, [self.told(clock)])
        assert await own.state(issued) == revoked(CRLReason.CESSATION_OF_OPERATION)
        assert await usable(own) == 0

    async def test_drafts_that_nobody_verified_end_too(self, own: Organization, clock: Any) -> None:
        services = own.core.registration
        report = await services.imports.run(SPECIALIST, NUMBER, LIST.encode(), ImportOptions())
        await services.registry_feed.take(REGISTRY, [self.told(clock)])
        assert (await own.record(report.rows[0].application or 0)).state == "withdrawn"

    async def test_a_changed_name_withdraws_nothing(self, own: Organization, clock: Any) -> None:
        made = await self.verified(own)
        await own.core.registration.registry_feed.take(REGISTRY, [self.told(clock, MessageKind.NAME_CHANGED)])
        assert (await own.record(made.id)).state == "verified"


async def test_a_contract_does_not_end_while_a_certificate_is_being_made(
    own: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be left out of what is revoked."""
    from pkiserver.ra.registration import applications

    services = own.core.registration
    await TestDeath().verified(own)
    (made,) = [one for one in await services.application_search.newest(SPECIALIST) if one.state == "verified"]
    await services.issuing.begin(SPECIALIST, made.id, made.version)
    monkeypatch.setattr(applications.rows, "is_being_issued", lambda *_: True)
    with pytest.raises(ConflictError, match="is being made"):
        await TestContractEnded.end(services.organizations)
    assert (await services.organizations.show(SPECIALIST, NUMBER)).record.state == "contracted"
