"""The printing plant (regulation 2.8): batches, cards enrolled over EST, their results, and who may."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.ca.identity import certificate_identity
from pkiserver.core import Core
from pkiserver.errors import (
    ConflictError,
    NotAuthorizedError,
    NotFoundError,
    RefusedError,
)
from pkiserver.progress import silent
from pkiserver.ra.credentials import WrongCredentialError
from pkiserver.ra.registration.applications import NewApplication
from pkiserver.ra.registration.plant_results import CONSEQUENCES, Failure, failed, issued
from pkiserver.ra.registration.registry import IdentityProof
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from protocols.asn1.ocsp import CRLReason
from protocols.x509.names import subject_text
from store import carriers, crl_entries, plant
from tests.ra.plant_setting import FIELDS, APlant, Setting, citizen, csr_of, new_key

if TYPE_CHECKING:
    from tests.ra.conftest import Recorded, SetClock

REFUSED = failed("carrier_refused", "the chip answers 6A80")


@pytest.fixture
async def setting(core: Core) -> Setting:
    return await Setting.of(core)


@pytest.fixture
async def one(setting: Setting) -> APlant:
    return await setting.plant("plant-1")


async def test_regulation_2_8_the_plant_writes_the_signature_to_the_card(
    setting: Setting, one: APlant
) -> None:
    made = await setting.waiting()
    batch = await one.pull()
    assert (batch.cards, batch.open_cards, batch.closed_at) == (1, 1, None)
    [card] = await one.cards(batch.id)
    assert (card.record.application, card.profile, card.state) == (made.id, "citizen-signature", "waiting")
    assert card.form == {
        "parent_name": "Бат",
        "clan_name": "Боржигон",
        "given_name": "Дорж",
        "register_number": "УБ05231400",
        "civil_id": "123456789000",
        "birth_date": "2005-03-14",
    }
    certificate = await one.enroll(card.record.reference, csr_of(new_key()))
    assert subject_text(certificate.subject) == card.subject
    assert "PNOMN-123456789000" in card.subject
    assert certificate_identity(certificate).limit_mnt == card.limit_mnt == 5_000_000
    days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days
    assert days in (5 * 365, 5 * 365 + 1)  # regulation 2.9
    await one.report(batch.id, card.record.reference, issued("04a1b2c3d4e5f6"))
    assert (await one.batch(batch.id)).closed_at is not None
    assert await setting.events(made.id) == [
        ("apply", None, "draft"),
        ("verify", "draft", "verified"),
        ("begin_issuing", "verified", "issuing"),
        ("certificate_issued", "issuing", "issued"),
    ]
    application = await setting.application(made.id)
    carrier = await setting.core.storage.read(
        lambda tx: carriers.with_serial(tx, "id_card", "04A1B2C3D4E5F6")
    )
    assert carrier is not None
    assert (carrier.state, carrier.person) == ("issued", application.person)
    on_it = await setting.core.storage.read(lambda tx: carriers.certificates_on(tx, carrier.id))
    assert on_it == [(application.authority, certificate.serial_number)]
    signed_off = await setting.core.registration.application_ends.sign_off(
        setting.registrar, made.id, application.version, "stamp 12"
    )
    assert signed_off.state == "signed_off"


class TestPull:
    async def test_the_oldest_come_first_and_each_once(self, setting: Setting, one: APlant) -> None:
        made = [(await setting.waiting()).id for _ in range(5)]
        await setting.waiting(delivery="office")
        first = await one.pull(2, "pull-0001")
        second = await one.pull(10, "pull-0002")
        assert [card.record.application for card in await one.cards(first.id)] == made[:2]
        assert [card.record.application for card in await one.cards(second.id)] == made[2:]
        with pytest.raises(ConflictError, match="no application waits"):
            await one.pull(1, "pull-0003")

    async def test_repeated_with_its_key_it_gives_the_same(self, setting: Setting, one: APlant) -> None:
        await setting.waiting()
        batch = await one.pull(3)
        await setting.waiting()
        assert await one.pull(3) == batch
        with pytest.raises(ConflictError, match="another size"):
            await one.pull(4)
        other = await setting.plant("plant-2")
        assert (await other.pull(3)).id != batch.id  # the keys of another plant are its own

    async def test_its_bounds(self, setting: Setting, one: APlant) -> None:
        bounds = setting.core.settings.plant
        for size in (0, -1, bounds.max_batch + 1):
            with pytest.raises(RefusedError, match="cards"):
                await one.pull(size)
        for key in ("short", "x" * 65, "seven\nlines", "ключ-0001"):
            with pytest.raises(RefusedError, match="key"):
                await one.pull(1, key)
        for number in range(bounds.max_open_batches + 1):
            await setting.waiting()
            if number < bounds.max_open_batches:
                await one.pull(1, f"pull-000{number}")
        with pytest.raises(ConflictError, match="are open"):
            await one.pull(1, "pull-more")
        assert (await (await setting.plant("plant-2")).pull(1)).cards == 1

    async def test_what_cannot_be_certified_holds_up_nobody(self, setting: Setting, one: APlant) -> None:
        bad, good = await setting.waiting(profile="citizen-authentication"), await setting.waiting()
        profiles = dict(setting.core.profiles)
        del profiles["citizen-authentication"]
        setting.core.registration.plant._profiles = profiles
        [card] = await one.cards((await one.pull()).id)
        assert card.record.application == good.id
        assert (await setting.application(bad.id)).state == "verified"

    async def test_nobody_pulls_the_own_application(self, setting: Setting, one: APlant) -> None:
        own, other = await setting.waiting(), await setting.waiting()
        oneself = Actor(one.name, (Assignment(Role.PLANT),), person=own.person)
        batch = await setting.core.registration.plant.pull(oneself, one.name, 5, "pull-0001")
        [card] = await one.cards(batch.id)
        assert card.record.application == other.id

    async def test_reading_is_on_record_and_ends_with_the_result(
        self, setting: Setting, one: APlant, recorded: "Recorded"
    ) -> None:
        await setting.waiting()
        batch = await one.pull()
        [card] = await one.cards(batch.id)
        await one.report(batch.id, card.record.reference, REFUSED)
        [card] = await one.cards(batch.id)
        assert (card.form, card.state) == (None, "failed")
        records = [found for found in await recorded(setting.core.storage) if found["action"] == "plant.read"]
        assert [found["applications"] for found in records] == [[card.record.application], []]
        assert {found["actor"] for found in records} == {one.name}
        assert "Дорж" not in json.dumps(records, default=str, ensure_ascii=False)

    async def test_what_is_erased_is_not_shown(self, setting: Setting, one: APlant) -> None:
        made = await setting.waiting()
        batch = await one.pull()
        await setting.core.storage.write(
            lambda tx: tx.execute("DELETE FROM personal_data WHERE subject = 'applications'")
        )
        [card] = await one.cards(batch.id)
        assert (card.record.application, card.form) == (made.id, None)


class TestEnrol:
    async def test_the_same_key_gets_the_same_certificate(self, setting: Setting, one: APlant) -> None:
        await setting.waiting()
        [card] = await one.cards((await one.pull()).id)
        key = new_key()
        first = await one.enroll(card.record.reference, csr_of(key))
        await setting.core.enrollment.delivered(first.public_bytes(Encoding.DER))
        for subject in ("CN=Somebody Else", "CN=Другой"):
            assert await one.enroll(card.record.reference, csr_of(key, subject)) == first
        with pytest.raises(ConflictError, match="another key"):
            await one.enroll(card.record.reference, csr_of(new_key()))
        assert await live(setting) == 1

    async def test_only_cards_of_the_own_open_batches(
        self, setting: Setting, one: APlant, recorded: "Recorded"
    ) -> None:
        await setting.waiting()
        batch = await one.pull()
        [card] = await one.cards(batch.id)
        reference = card.record.reference
        other = await setting.plant("plant-2")
        for who, named in ((other, reference), (one, "card-0000000000000000"), (one, "citizen-signature")):
            with pytest.raises(NotAuthorizedError, match="no open card of yours"):
                await who.enroll(named, csr_of(new_key()))
        await one.report(batch.id, reference, REFUSED)
        with pytest.raises(NotAuthorizedError, match="has its result"):
            await one.enroll(reference, csr_of(new_key()))
        refusals = [found for found in await recorded(setting.core.storage) if found["outcome"] == "refused"]
        assert [found["action"] for found in refusals] == ["enroll"] * 4
        assert await live(setting) == 0

    async def test_another_role_or_certificate_does_not(self, setting: Setting, one: APlant) -> None:
        await setting.waiting()
        [card] = await one.cards((await one.pull()).id)
        for name, role, profile in (("ra-1", "ra", "registration-client"), ("plant-1", "plant", "device")):
            who = await setting.plant(name, role, profile)
            with pytest.raises((NotAuthorizedError, NotFoundError)):
                await who.enroll(card.record.reference, csr_of(new_key()))
        await setting.core.commands.run("actor.remove", {"name": "plant-1"}, "user:root", silent)
        with pytest.raises(NotFoundError, match="no profile"):
            await one.enroll(card.record.reference, csr_of(new_key()))
        assert await live(setting) == 0

    async def test_an_overdue_batch_enrols_nothing(
        self, setting: Setting, one: APlant, clock: "SetClock"
    ) -> None:
        made = await setting.waiting()
        batch = await one.pull()
        [card] = await one.cards(batch.id)
        clock.moment = batch.due_at
        with pytest.raises(NotAuthorizedError, match="overdue"):
            await one.enroll(card.record.reference, csr_of(new_key()))
        assert [found.id for found in await overdue(setting)] == [batch.id]
        await one.report(batch.id, card.record.reference, failed("not_delivered", "too late"))
        assert await overdue(setting) == []
        again = await one.pull(key="pull-0002")
        [card] = await one.cards(again.id)
        assert (card.record.application, card.record.attempt) == (made.id, 2)

    async def test_a_withdrawn_application_is_made_no_card(self, setting: Setting, one: APlant) -> None:
        made = await setting.waiting()
        batch = await one.pull()
        [card] = await one.cards(batch.id)
        version = (await setting.application(made.id)).version
        applications = setting.core.registration.applications
        await applications.withdraw(setting.registrar, made.id, version, "changed the mind")
        [card] = await one.cards(batch.id)
        assert card.state == "withdrawn"
        with pytest.raises(NotAuthorizedError, match="withdrawn"):
            await one.enroll(card.record.reference, csr_of(new_key()))
        with pytest.raises(ConflictError, match="no certificate"):
            await one.report(batch.id, card.record.reference, issued("04AA"))
        await one.report(batch.id, card.record.reference, failed("not_delivered", "withdrawn"))
        assert (await setting.application(made.id)).state == "withdrawn"
        assert (await one.batch(batch.id)).closed_at is not None

    async def test_a_credential_without_a_secret_is_nobody_s(self, setting: Setting, one: APlant) -> None:
        await setting.waiting()
        [card] = await one.cards((await one.pull()).id)
        credentials = setting.core.credentials
        for _ in range(3):
            with pytest.raises(WrongCredentialError) as caught:
                await credentials.authenticate(card.record.reference, "")
            assert caught.value.credential is None  # no attempt is taken by whoever guesses
        assert (await credentials.mac_secret(card.record.reference)).credential is None
        assert await one.enroll(card.record.reference, csr_of(new_key()))


class TestReport:
    async def test_a_failed_card_ends_its_certificate_and_comes_back(
        self, setting: Setting, one: APlant
    ) -> None:
        made = await setting.waiting()
        batch = await one.pull()
        [card] = await one.cards(batch.id)
        lost = await one.enroll(card.record.reference, csr_of(new_key()))
        await one.report(batch.id, card.record.reference, failed("damaged", "torn", "04AA"))
        assert await live(setting) == 0
        assert (await setting.events(made.id))[-2:] == [
            ("carrier_refused", "issued", "issuing"),
            ("fail", "issuing", "failed"),
        ]
        carrier = await setting.core.storage.read(lambda tx: carriers.with_serial(tx, "id_card", "04AA"))
        assert carrier is not None
        assert carrier.state == "damaged"
        again = await one.pull(key="pull-0002")
        [second] = await one.cards(again.id)
        assert (second.record.application, second.record.attempt, second.state) == (made.id, 2, "waiting")
        assert second.record.reference != card.record.reference
        assert second.certificate is None
        with pytest.raises(NotAuthorizedError, match="result"):
            await one.enroll(card.record.reference, csr_of(new_key()))
        kept = await one.enroll(second.record.reference, csr_of(new_key()))
        with pytest.raises(ConflictError, match="damaged"):
            await one.report(again.id, second.record.reference, issued("04AA"))
        await one.report(again.id, second.record.reference, issued("04BB"))
        assert await live(setting) == 1
        attempts = await setting.core.storage.read(lambda tx: plant.of_application(tx, made.id))
        assert [one.serial for one in attempts] == [lost.serial_number, kept.serial_number]

    @pytest.mark.parametrize("failure", Failure)
    async def test_each_failure_has_its_reason(self, setting: Setting, one: APlant, failure: Failure) -> None:
        await setting.waiting()
        batch = await one.pull()
        [card] = await one.cards(batch.id)
        serial = (await one.enroll(card.record.reference, csr_of(new_key()))).serial_number
        await one.report(batch.id, card.record.reference, failed(failure.value, "it happened"))
        authority = setting.core.authorities.record("citizen").id
        entry = await setting.core.storage.read(lambda tx: crl_entries.current(tx, authority, serial))
        assert entry is not None
        lost = failure is Failure.LOST
        assert CRLReason(entry.reason) is (CRLReason.KEY_COMPROMISE if lost else CRLReason.SUPERSEDED)

    def test_every_failure_has_its_consequence(self) -> None:
        assert set(CONSEQUENCES) == set(Failure)

    async def test_a_result_stays(self, setting: Setting, one: APlant) -> None:
        await setting.waiting()
        await setting.waiting()
        batch = await one.pull()
        first, second = await one.cards(batch.id)
        await one.enroll(first.record.reference, csr_of(new_key()))
        given = await one.report(batch.id, first.record.reference, issued("04AA"))
        before = await setting.events(first.record.application)
        assert await one.report(batch.id, first.record.reference, issued("04aa")) == given
        for other in (REFUSED, issued("04AB")):
            with pytest.raises(ConflictError, match="has its result already"):
                await one.report(batch.id, first.record.reference, other)
        assert await setting.events(first.record.application) == before
        assert (await one.batch(batch.id)).open_cards == 1
        assert await one.report(batch.id, second.record.reference, REFUSED) == await one.report(
            batch.id, second.record.reference, REFUSED
        )
        assert (await one.batch(batch.id)).open_cards == 0

    async def test_what_cannot_be(self, setting: Setting, one: APlant) -> None:
        for _ in range(3):
            await setting.waiting()
        batch = await one.pull()
        first, second, third = (card.record.reference for card in await one.cards(batch.id))
        with pytest.raises(ConflictError, match="no certificate"):
            await one.report(batch.id, first, issued("04AA"))
        await one.enroll(first, csr_of(new_key()))
        await one.report(batch.id, first, issued("04AA"))
        await one.enroll(second, csr_of(new_key()))
        with pytest.raises(ConflictError, match="somebody else"):
            await one.report(batch.id, second, issued("04AA"))
        with pytest.raises(ConflictError, match="not of this card"):
            await one.report(batch.id, second, failed("lost", "gone", "04AA"))
        serial = (await one.enroll(third, csr_of(key := new_key()))).serial_number
        await setting.core.commands.run(
            "certificate.revoke",
            {"serial": f"{serial:x}", "ca": None, "reason": "superseded"},
            "user:root",
            silent,
        )
        with pytest.raises(ConflictError, match="is revoked"):
            await one.report(batch.id, third, issued("04CC"))
        with pytest.raises(ConflictError, match="is revoked"):
            await one.enroll(third, csr_of(key))
        await one.report(batch.id, third, REFUSED)
        with pytest.raises(NotFoundError):
            await one.report(batch.id + 1, second, REFUSED)
        with pytest.raises(NotFoundError):
            await one.report(batch.id, "card-0000000000000000", REFUSED)

    async def test_a_card_of_two_certificates(self, setting: Setting, one: APlant) -> None:
        made = await setting.waiting()
        person = citizen(0)
        applications = setting.core.registration.applications
        new = NewApplication("ub-1", FIELDS | person, profile="citizen-authentication", delivery="plant")
        draft = await applications.draft(setting.registrar, new)
        proof = IdentityProof.of("fingerprint", "check-1")
        other = await applications.verify(setting.registrar, draft.id, draft.version, proof)
        assert other.person == made.person
        batch = await one.pull()
        for card in await one.cards(batch.id):
            await one.enroll(card.record.reference, csr_of(new_key()))
            await one.report(batch.id, card.record.reference, issued("04AA"))
        carrier = await setting.core.storage.read(lambda tx: carriers.with_serial(tx, "id_card", "04AA"))
        assert carrier is not None
        assert carrier.version == 1
        on_it = await setting.core.storage.read(lambda tx: carriers.certificates_on(tx, carrier.id))
        assert len(on_it) == 2

    @pytest.mark.parametrize(
        ("failure", "reason", "carrier"),
        [
            ("broken", "torn", None),
            ("damaged", " ", None),
            ("damaged", "x" * 201, None),
            ("damaged", "two\nlines", None),
            ("damaged", "torn", "04 AA"),
            ("damaged", "torn", "x" * 41),
            ("not_delivered", "none", "04AA"),
        ],
    )
    def test_no_result(self, failure: str, reason: str, carrier: str | None) -> None:
        with pytest.raises(RefusedError):
            failed(failure, reason, carrier)

    @pytest.mark.parametrize("serial", ["", " ", "-", "x" * 41, "04\nAA", "04АА"])
    def test_no_serial_of_a_carrier(self, serial: str) -> None:
        with pytest.raises(RefusedError):
            issued(serial)


class TestPermissions:
    async def test_another_plant_sees_and_reports_nothing(
        self, setting: Setting, one: APlant, recorded: "Recorded"
    ) -> None:
        await setting.waiting()
        batch = await one.pull()
        [card] = await one.cards(batch.id)
        other, services = await setting.plant("plant-2"), setting.core.registration
        for refused in (
            other.batch(batch.id),
            other.cards(batch.id),
            other.report(batch.id, card.record.reference, REFUSED),
            services.plant.pull(other.actor, one.name, 1, "pull-0009"),
            services.plant.batches(other.actor, plant=one.name, before=9, limit=9),
            services.plant.batches(other.actor, before=9, limit=9),
            services.plant.pull(setting.registrar, one.name, 1, "pull-0009"),
            services.plant_results.report(setting.registrar, batch.id, card.record.reference, REFUSED),
        ):
            with pytest.raises(NotAuthorizedError):
                await refused
        refusals = [found for found in await recorded(setting.core.storage) if found["outcome"] == "refused"]
        assert len(refusals) == 8

    async def test_who_serves_all_offices_reports_no_card(self, setting: Setting, one: APlant) -> None:
        await setting.waiting()
        batch = await one.pull()
        [card] = await one.cards(batch.id)
        everywhere = Actor("registrar-9", (Assignment(Role.REGISTRAR, everywhere=True),))
        with pytest.raises(NotAuthorizedError):
            await setting.core.registration.plant_results.report(
                everywhere, batch.id, card.record.reference, REFUSED
            )

    async def test_an_auditor_reads_and_changes_nothing(self, setting: Setting, one: APlant) -> None:
        await setting.waiting()
        batch = await one.pull()
        auditor, services = Actor("auditor", (Assignment(Role.AUDITOR),)), setting.core.registration
        [seen] = await services.plant.batches(auditor, before=9, limit=9)
        assert seen == batch
        [card] = await services.plant.cards(auditor, batch.id, limit=9)
        with pytest.raises(NotAuthorizedError):
            await services.plant_results.report(auditor, batch.id, card.record.reference, REFUSED)

    async def test_nobody_makes_the_own_card(self, setting: Setting, one: APlant) -> None:
        made = await setting.waiting()
        batch = await one.pull()
        [card] = await one.cards(batch.id)
        oneself = Actor(one.name, (Assignment(Role.PLANT),), person=made.person)
        with pytest.raises(NotAuthorizedError, match="own"):
            await setting.core.registration.plant_results.report(
                oneself, batch.id, card.record.reference, REFUSED
            )

    async def test_the_office_leaves_the_plant_s_cards_alone(self, setting: Setting, one: APlant) -> None:
        made = await setting.waiting()
        issuing, ends = setting.core.registration.issuing, setting.core.registration.application_ends
        with pytest.raises(ConflictError, match="printing plant"):
            await issuing.begin(setting.registrar, made.id, made.version)
        batch = await one.pull()
        [card] = await one.cards(batch.id)
        with pytest.raises(ConflictError, match="printing plant"):
            await issuing.fail(setting.registrar, made.id, made.version + 1, "lost")
        await one.enroll(card.record.reference, csr_of(new_key()))
        version = (await setting.application(made.id)).version
        with pytest.raises(ConflictError, match="has not said yet"):
            await ends.sign_off(setting.registrar, made.id, version, "stamp 12")

    async def test_the_plant_makes_identity_cards_alone(self, setting: Setting) -> None:
        for carrier in ("token", "mobile"):
            new = NewApplication("ub-1", FIELDS | citizen(0), carrier=carrier, delivery="plant")
            with pytest.raises(RefusedError, match="identity cards"):
                await setting.core.registration.applications.draft(setting.registrar, new)
        with pytest.raises(RefusedError, match="delivery"):
            await setting.core.registration.applications.draft(
                setting.registrar, NewApplication("ub-1", FIELDS | citizen(0), delivery="pigeon")
            )


async def live(setting: Setting) -> int:
    """Return how many citizens' certificates are good."""
    good = "SELECT count(*) FROM certificates WHERE profile LIKE 'citizen-%' AND state = 'active'"
    row = await setting.core.storage.read(lambda tx: tx.one(good))
    assert row is not None
    return int(row[0])


async def overdue(setting: Setting) -> Any:
    auditor = Actor("auditor", (Assignment(Role.AUDITOR),))
    plants = setting.core.registration.plant
    return await plants.batches(auditor, state="overdue", before=99, limit=99)
