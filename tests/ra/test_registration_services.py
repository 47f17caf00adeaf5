"""From the form to the certificate: offices, people and applications on a real store, signer and clock."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.audit import ChainVerifier
from pkiserver.ca.identity import certificate_identity
from pkiserver.core import Core
from pkiserver.errors import (
    ConflictError,
    NotAuthenticatedError,
    NotAuthorizedError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from pkiserver.ra.credentials import NewCredential, Use
from pkiserver.ra.letters.outbox import LETTERS, Letter, Medium
from pkiserver.ra.lifecycle import Action as CertificateAction
from pkiserver.ra.lifecycle import Command
from pkiserver.ra.registration.application_ends import Explanation
from pkiserver.ra.registration.applications import NewApplication
from pkiserver.ra.registration.erasure import WAITS
from pkiserver.ra.registration.form import FormError
from pkiserver.ra.registration.offices import OfficeForm
from pkiserver.ra.registration.registry import IdentityProof
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from pkiserver.ra.registration.services import Registration
from pkiserver.ra.registration.states import State
from pkiserver.ra.requester import Channel, Password, Requester
from pkiserver.ra.status_changes import StatusChanges
from protocols.x509.names import parse_subject, subject_text
from store import applications as rows
from store import audit as audit_chain
from store import certificates, issuances, letters
from store.applications import ApplicationRecord
from store.database import Transaction
from store.errors import StorageError
from tests.citizens import FORM as FIELDS

CITIZEN: dict[str, Any] = {
    "register_number": "УБ05231418",
    "civil_id": "123456789012",
    "birth_date": "2005-03-14",
    "parent_name": "БАТ",
    "clan_name": None,
    "given_name": "ДОРЖ",
    "entitled": True,
    "fingerprints": ["check-1"],
}
SUBJECT = "CN=Бат Дорж,givenName=Дорж,SN=Бат,serialNumber=PNOMN-123456789012,C=MN"
FINGERPRINT = IdentityProof.of("fingerprint", "check-1")
NUMBERS = IdentityProof.of("register_numbers", "the reader is broken")
ADMINISTRATOR = Actor("administrator", (Assignment(Role.ADMINISTRATOR),))
ALL = frozenset(Explanation)


@dataclass
class Story:
    core: Core
    registrar: Actor
    clock: Any

    @property
    def services(self) -> Registration:
        return self.core.registration

    def registry_has(self, *citizens: Mapping[str, Any]) -> None:
        self.core.home.civil_registry.write_text("".join(json.dumps(one) + "\n" for one in citizens))

    async def draft(self, **changes: Any) -> ApplicationRecord:
        return await self.services.applications.draft(
            self.registrar, NewApplication("ub-1", FIELDS | changes)
        )

    async def verified(self, **changes: Any) -> ApplicationRecord:
        made = await self.draft(**changes)
        return await self.services.applications.verify(self.registrar, made.id, made.version, FINGERPRINT)

    async def issuing(self) -> tuple[ApplicationRecord, NewCredential]:
        made = await self.verified()
        credential = await self.services.issuing.begin(self.registrar, made.id, made.version)
        return await self.record(made.id), credential

    async def issued(self) -> ApplicationRecord:
        made, credential = await self.issuing()
        await self.enroll(credential)
        return await self.record(made.id)

    async def enroll(self, credential: NewCredential, subject: str = "CN=Somebody Else") -> x509.Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(parse_subject(subject))
        requester = Requester(
            "192.0.2.7", Channel("TLS 1.3"), Password(credential.reference, credential.secret), None
        )
        octets = request.sign(key, SHA256()).public_bytes(Encoding.DER)
        return x509.load_der_x509_certificate(await self.core.enrollment.enroll(octets, requester, None))

    async def record(self, application: int) -> ApplicationRecord:
        found = await self.core.storage.read(lambda tx: rows.get(tx, application))
        assert found is not None
        return found

    async def events(self, application: int) -> list[tuple[str, str | None, str]]:
        found = await self.core.storage.read(lambda tx: rows.events(tx, application))
        assert all(one.actor and one.ground for one in found)
        assert [one.version for one in found] == list(range(1, len(found) + 1))
        return [(one.event, one.from_state, one.to_state) for one in found]


@pytest.fixture
async def story(core: Core, clock: Any) -> Story:
    office = await core.registration.offices.add(ADMINISTRATOR, "ub-1", OfficeForm("Сүхбаатар дүүрэг"))
    made = Story(core, Actor("registrar-1", (Assignment(Role.REGISTRAR, office=office.id),)), clock)
    made.registry_has(CITIZEN)
    return made


async def test_the_whole_way(story: Story) -> None:
    ends, registrar = story.services.application_ends, story.registrar
    made, credential = await story.issuing()
    certificate = await story.enroll(credential)
    assert subject_text(certificate.subject) == SUBJECT
    assert certificate_identity(certificate).limit_mnt == 5_000_000
    issued = await story.record(made.id)
    assert (issued.state, issued.serial) == ("issued", certificate.serial_number)
    assert issued.person is not None
    signed_off = await ends.sign_off(registrar, made.id, issued.version, "stamp 12")
    delivered = await ends.deliver(registrar, made.id, signed_off.version, ALL, "2026-1")
    closed = await ends.close(registrar, made.id, delivered.version, "unit 7")
    assert closed.state == "closed"
    assert await story.events(made.id) == [
        ("apply", None, "draft"),
        ("verify", "draft", "verified"),
        ("begin_issuing", "verified", "issuing"),
        ("certificate_issued", "issuing", "issued"),
        ("sign_off", "issued", "signed_off"),
        ("deliver", "signed_off", "delivered"),
        ("close", "delivered", "closed"),
    ]


async def test_regulation_2_4_by_numbers_with_a_reason(story: Story) -> None:
    made = await story.draft()
    verified = await story.services.applications.verify(story.registrar, made.id, made.version, NUMBERS)
    assert (verified.state, verified.proof) == ("verified", "register_numbers")


@pytest.mark.parametrize(("kind", "text"), [("fingerprint", " "), ("register_numbers", ""), ("photo", "a")])
def test_a_proof_needs_its_text(kind: str, text: str) -> None:
    with pytest.raises(RefusedError):
        IdentityProof.of(kind, text)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"given_name": "Болд"}, ["given_name"]),
        ({"clan_name": "Боржигон", "parent_name": "Батаа"}, ["parent_name", "clan_name"]),
        ({"civil_id": "123456789013"}, ["civil_id"]),
        ({"entitled": False}, ["citizenship"]),
        ({"fingerprints": []}, ["register_number", "civil_id"]),
    ],
)
async def test_regulation_2_10_returned_at_once_with_the_differing_fields(
    story: Story, changes: dict[str, Any], fields: list[str]
) -> None:
    story.registry_has(CITIZEN | changes)
    made = await story.verified()
    assert (made.state, made.person) == ("returned", None)
    shown = await story.services.applications.show(story.registrar, made.id)
    assert json.loads(shown.events[-1].detail) == {"fields": fields}


async def test_a_silent_registry_changes_nothing(story: Story) -> None:
    made = await story.draft()
    for content in ("{", json.dumps(CITIZEN | {"civil_id": 7}), json.dumps(CITIZEN | {"more": 1}), None):
        if content is None:
            story.core.home.civil_registry.unlink()
        else:
            story.core.home.civil_registry.write_text(content)
        with pytest.raises(UnavailableError):
            await story.services.applications.verify(story.registrar, made.id, made.version, FINGERPRINT)
    assert (await story.record(made.id)).state == "draft"


async def test_repeated_requests_count_once(story: Story) -> None:
    applications, issuing = story.services.applications, story.services.issuing
    made = await story.draft()
    await applications.verify(story.registrar, made.id, made.version, FINGERPRINT)
    with pytest.raises(ConflictError):
        await applications.verify(story.registrar, made.id, made.version, FINGERPRINT)
    await issuing.begin(story.registrar, made.id, made.version + 1)
    with pytest.raises(ConflictError):
        await issuing.begin(story.registrar, made.id, made.version + 1)
    usable = await story.core.storage.read(
        lambda tx: tx.all("SELECT 1 FROM credentials WHERE cancelled_at IS NULL")
    )
    assert len(usable) == 1
    assert len(await story.events(made.id)) == 3


async def test_a_form_that_is_wrong_makes_nothing(story: Story) -> None:
    with pytest.raises(FormError) as caught:
        await story.draft(phone="1", mail="1")
    assert [fault.field for fault in caught.value.faults] == ["phone", "mail"]
    assert await story.services.application_search.newest(story.registrar, office="ub-1") == []


@pytest.mark.parametrize("change", [{"channel": "online"}, {"carrier": "usb"}, {"profile": "device"}])
async def test_what_a_first_application_cannot_be(story: Story, change: dict[str, str]) -> None:
    with pytest.raises(RefusedError, match="is one of"):
        await story.services.applications.draft(
            story.registrar, replace(NewApplication("ub-1", FIELDS), **change)
        )


async def test_another_office_may_not(story: Story, recorded: Any) -> None:
    made = await story.draft()
    other = await story.services.offices.add(ADMINISTRATOR, "ub-2", OfficeForm("Баянзүрх"))
    stranger = Actor("registrar-2", (Assignment(Role.REGISTRAR, office=other.id),))
    applications = story.services.applications
    for refused in (
        applications.verify(stranger, made.id, made.version, FINGERPRINT),
        applications.withdraw(stranger, made.id, made.version, "mine"),
        applications.show(stranger, made.id),
        applications.draft(stranger, NewApplication("ub-1", FIELDS)),
        story.services.application_search.newest(stranger, office="ub-1"),
        story.services.offices.add(stranger, "ub-3", OfficeForm("Чингэлтэй")),
    ):
        with pytest.raises(NotAuthorizedError):
            await refused
    refusals = [one for one in await recorded(story.core.storage) if one["outcome"] == "refused"]
    assert [one["action"] for one in refusals] == [
        "registration.verify_application",
        "registration.withdraw_application",
        "registration.read_application",
        "registration.apply",
        "registration.read_application",
        "registration.manage_offices",
    ]
    assert {one["actor"] for one in refusals} == {"registrar-2"}


async def test_nobody_handles_the_own_application(story: Story) -> None:
    known = await story.verified()
    made = await story.draft()
    oneself = replace(story.registrar, person=known.person)
    for refused in (
        story.services.applications.verify(oneself, made.id, made.version, FINGERPRINT),
        story.services.issuing.begin(oneself, known.id, known.version),
        story.services.applications.draft(oneself, NewApplication("ub-1", FIELDS)),
    ):
        with pytest.raises(NotAuthorizedError, match="own"):
            await refused


async def test_a_withdrawn_application_enrols_nothing(story: Story) -> None:
    made, credential = await story.issuing()
    await story.services.applications.withdraw(story.registrar, made.id, made.version, "changed the mind")
    with pytest.raises(NotAuthenticatedError):
        await story.enroll(credential)
    assert (await story.record(made.id)).state == "withdrawn"


async def test_what_is_being_issued_cannot_be_withdrawn_nor_failed(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, credential = await story.issuing()
    asked, signed, sign = asyncio.Event(), asyncio.Event(), story.core.signer.sign

    async def waits(*arguments: Any) -> bytes:
        asked.set()
        await signed.wait()
        return await sign(*arguments)

    monkeypatch.setattr(story.core.signer, "sign", waits)
    under_way = asyncio.create_task(story.enroll(credential))
    await asked.wait()
    for refused in (
        story.services.applications.withdraw(story.registrar, made.id, made.version, "changed the mind"),
        story.services.issuing.fail(story.registrar, made.id, made.version, "lost"),
    ):
        with pytest.raises(ConflictError, match="being made"):
            await refused
    signed.set()
    certificate = await under_way
    found = await story.record(made.id)
    assert (found.state, found.version, found.serial) == (
        "issued",
        made.version + 1,
        certificate.serial_number,
    )


def _breaks(*_: object) -> None:
    raise StorageError("the disk is full")


async def test_certificate_and_application_are_recorded_together_or_not_at_all(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, credential = await story.issuing()
    monkeypatch.setattr(rows, "set_certificate", _breaks)
    with pytest.raises(UnavailableError):
        await story.enroll(credential)
    assert (await story.record(made.id)).state == "issuing"
    [intent] = await story.core.storage.read(issuances.unfinished)
    assert await story.core.storage.read(lambda tx: certificates.with_serial(tx, intent.serial)) == []
    monkeypatch.undo()
    assert await story.core.issuance.recover() == 1
    assert (await story.record(made.id)).serial == intent.serial


@pytest.mark.parametrize(("use", "is_sealed"), [("est", 0), ("cmp", 1)])
async def test_a_credential_is_for_est_or_for_cmp(story: Story, use: Use, is_sealed: int) -> None:
    made = await story.verified()
    new = await story.services.issuing.begin(story.registrar, made.id, made.version, use)
    found = await story.core.storage.read(
        lambda tx: tx.all("SELECT reference, sealed_secret IS NOT NULL, limit_mnt FROM credentials")
    )
    assert found == [(new.reference, is_sealed, 5_000_000)]


async def test_failed_and_again(story: Story) -> None:
    made, credential = await story.issuing()
    failed = await story.services.issuing.fail(story.registrar, made.id, made.version, "the station broke")
    with pytest.raises(NotAuthenticatedError):
        await story.enroll(credential)
    again = await story.services.issuing.begin(story.registrar, made.id, failed.version)
    await story.enroll(again)
    assert (await story.record(made.id)).state == "issued"


async def test_a_carrier_that_refused_its_certificate(story: Story) -> None:
    made = await story.issued()
    issuing = story.services.issuing
    with pytest.raises(ConflictError, match="revoked first"):
        await issuing.carrier_refused(story.registrar, made.id, made.version, "the chip is full")
    assert made.authority is not None
    assert made.serial is not None
    authority, serial = made.authority, made.serial

    async def nobody(_sequence: int) -> None:
        return None

    changes = StatusChanges(story.core.storage, story.clock, nobody)
    await changes.carry_out(authority, serial, Command(CertificateAction.REVOKE), "registrar-1")
    new = await issuing.carrier_refused(story.registrar, made.id, made.version, "the chip is full")
    certificate = await story.enroll(new)
    again = await story.record(made.id)
    assert (again.state, again.serial) == ("issued", certificate.serial_number)
    assert again.serial != serial


async def test_delivery_needs_every_explanation(story: Story) -> None:
    made = await story.issued()
    ends = story.services.application_ends
    signed_off = await ends.sign_off(story.registrar, made.id, made.version, "stamp 12")
    for one in Explanation:
        with pytest.raises(RefusedError, match=one.value):
            await ends.deliver(story.registrar, made.id, signed_off.version, ALL - {one}, "2026-1")


async def test_reading_is_recorded_and_nothing_personal_is(story: Story, recorded: Any) -> None:
    made = await story.verified()
    assert made.person is not None
    people = story.services.people
    person = await people.show(story.registrar, made.person)
    assert (person.record.given_name, person.data["phone"]) == ("Дорж", "+97699112233")
    assert [one.id for one in await people.find(story.registrar, civil_id="123456789012")] == [made.person]
    assert [one.id for one in await people.find(story.registrar, register_number="уб05231418")] == [
        made.person
    ]
    for prefix in ("дО", "дорж б", "БАТ", "бат д"):
        assert [one.id for one in await people.find(story.registrar, name=prefix)] == [made.person]
    for prefix in ("орж", "батд", "%", "дорж  бата"):
        assert await people.find(story.registrar, name=prefix) == []
    shown = await story.services.applications.show(story.registrar, made.id)
    assert shown.form is not None
    assert shown.form["address"] == "1-р хороо 5-12"
    log = await recorded(story.core.storage)
    read = [one for one in log if one["action"] in ("person.read", "person.find", "application.read")]
    assert len(read) >= 8
    assert {one["actor"] for one in read} == {"registrar-1"}
    text = json.dumps(log, default=str, ensure_ascii=False)
    for value in ("УБ05231418", "123456789012", "99112233", "dorj@", "5-12", "Дорж"):
        assert value not in text


async def test_nothing_personal_is_in_the_files_in_clear(story: Story) -> None:
    await story.verified()
    written = b"".join(path.read_bytes() for path in story.core.home.path.glob("pkiserver.db*"))
    assert "Дорж".encode() in written
    for value in ("УБ05231418", "99112233", "dorj@example.mn", "1-р хороо"):
        assert value.encode() not in written


async def test_changed_data_have_a_history(story: Story) -> None:
    first = await story.verified()
    assert first.person is not None
    second = await story.verified(phone="88112233", address="2-р хороо 1")
    assert second.person == first.person
    history = await story.services.people.history(story.registrar, first.person)
    assert {(one.record.field, one.before) for one in history} == {
        ("phone", "+97699112233"),
        ("address", "1-р хороо 5-12"),
    }
    assert {one.record.ground for one in history} == {f"application {second.id}"}
    third = await story.verified(phone="88112233", address="2-р хороо 1")
    assert third.person == first.person
    assert len(await story.services.people.history(story.registrar, first.person)) == 2


async def test_a_correction(story: Story) -> None:
    made = await story.verified()
    assert made.person is not None
    people = story.services.people
    senior = Actor("senior-1", (Assignment(Role.SENIOR_REGISTRAR, everywhere=True),))
    with pytest.raises(NotAuthorizedError):
        await people.correct(story.registrar, made.person, 1, {"phone": "88112233"}, "a slip")
    with pytest.raises(RefusedError, match="may be corrected"):
        await people.correct(senior, made.person, 1, {"civil_id": "999999999999"}, "a slip")
    with pytest.raises(FormError):
        await people.correct(senior, made.person, 1, {"phone": "1"}, "a slip")
    changed = await people.correct(senior, made.person, 1, {"given_name": "Доржоо"}, "a slip")
    assert (changed.given_name, changed.version) == ("Доржоо", 2)
    with pytest.raises(ConflictError, match="changed since"):
        await people.correct(senior, made.person, 1, {"phone": "88112233"}, "a slip")
    assert [one.id for one in await people.find(senior, name="доржоо")] == [made.person]


SENIOR = Actor("senior-1", (Assignment(Role.SENIOR_REGISTRAR, everywhere=True),))


async def finished(story: Story) -> ApplicationRecord:
    """Return an application that is closed, with its certificate."""
    made = await story.issued()
    ends = story.services.application_ends
    signed_off = await ends.sign_off(story.registrar, made.id, made.version, "stamp 12")
    delivered = await ends.deliver(story.registrar, made.id, signed_off.version, ALL, "2026-1")
    return await ends.close(story.registrar, made.id, delivered.version, "unit 7")


async def end_of(story: Story, made: ApplicationRecord) -> datetime:
    """Return when what an application holds may be erased at the earliest."""
    authority, serial = made.authority, made.serial
    assert authority is not None
    assert serial is not None
    certificate = await story.core.storage.read(lambda tx: certificates.get(tx, authority, serial))
    assert certificate is not None
    return certificate.not_after + story.core.settings.registration.retention


async def test_erased_by_rule_and_the_audit_chain_stays(story: Story) -> None:
    withdrawn, _ = await story.issuing()
    draft = await story.draft()
    people, applications, erasures = (
        story.services.people,
        story.services.applications,
        story.services.erasures,
    )
    made = await finished(story)
    assert made.person is not None
    person = made.person
    with pytest.raises(ConflictError, match=f"application {withdrawn.id} of this person is open"):
        await erasures.ask(SENIOR, person, "retention is over")
    await applications.withdraw(story.registrar, withdrawn.id, withdrawn.version, "changed the mind")
    with pytest.raises(ConflictError, match=f"application {draft.id} of this person is open"):
        await erasures.ask(SENIOR, person, "retention is over")
    await applications.send_back(story.registrar, draft.id, draft.version, "twice")
    until = await end_of(story, made)
    story.clock.moment = until - timedelta(seconds=1)
    with pytest.raises(ConflictError, match="is kept until"):
        await erasures.ask(SENIOR, person, "retention is over")
    story.clock.moment = until
    await erasures.ask(SENIOR, person, "retention is over")
    erased = await erasures.confirm(ADMINISTRATOR, person)
    assert erased.applications == (withdrawn.id, draft.id, made.id)
    assert erased.values > 8
    shown = await people.show(SENIOR, person)
    assert (shown.record.given_name, shown.data) == (None, {})
    assert await people.find(SENIOR, civil_id="123456789012") == []
    assert await people.find(SENIOR, name="дорж") == []
    assert (await applications.show(story.registrar, made.id)).form is None
    left = await story.core.storage.read(lambda tx: tx.all("SELECT * FROM personal_data"))
    assert left == []
    verifier = ChainVerifier()
    verifier.check(await story.core.storage.read(lambda tx: audit_chain.after(tx, 0, 1000)))
    assert verifier.finish().sequence > 10
    with pytest.raises(ConflictError, match="erased already"):
        await erasures.ask(SENIOR, person, "retention is over")


async def test_an_erased_application_without_certificate_leaves_no_name(story: Story, recorded: Any) -> None:
    made, _ = await story.issuing()
    assert made.person is not None
    await story.services.applications.withdraw(story.registrar, made.id, made.version, "changed the mind")
    story.clock.moment += story.core.settings.registration.retention
    await story.services.erasures.ask(SENIOR, made.person, "retention is over")
    await story.services.erasures.confirm(ADMINISTRATOR, made.person)
    for table in ("people", "applications", "credentials", "personal_data", "audit", "application_events"):
        rows_left = await story.core.storage.read(lambda tx, name=table: tx.all(f"SELECT * FROM {name}"))  # noqa: S608 - of above
        for value in ("Дорж", "дорж", "123456789012"):
            assert value not in json.dumps(rows_left, ensure_ascii=False, default=str)
    actions = [one["action"] for one in await recorded(story.core.storage)]
    assert actions[-2:] == ["person.erase.ask", "person.erase"]


async def test_a_renewed_certificate_keeps_the_person_on_record(story: Story) -> None:
    made = await finished(story)
    assert made.person is not None
    assert made.authority is not None
    until = await end_of(story, made)
    await story.core.storage.database.write(  # as a renewal leaves it: the same subject, a later end
        lambda tx: tx.execute(
            "INSERT INTO certificates SELECT authority, randomblob(16), profile, subject, spki_sha256,"
            " not_before, not_after + 86400, state, certificate, crl_shard FROM certificates"
            " WHERE subject = ?",
            (SUBJECT,),
        )
    )
    story.clock.moment = until + timedelta(days=1) - timedelta(seconds=1)
    with pytest.raises(ConflictError, match="is kept until"):
        await story.services.erasures.ask(SENIOR, made.person, "retention is over")
    story.clock.moment += timedelta(seconds=1)
    await story.services.erasures.ask(SENIOR, made.person, "retention is over")


async def test_what_waits_in_the_outbox_is_erased_too(story: Story) -> None:
    """A postman who is away, or was never there, keeps nothing of somebody who is erased."""
    made = await finished(story)
    outbox, storage = story.services.outbox, story.core.storage
    assert made.person is not None
    story.clock.moment = await end_of(story, made)

    def write(tx: Transaction) -> list[int | None]:
        mail = Letter("event/1", "certificate-revoked", Medium.MAIL, "dorj@example.mn", person=made.person)
        sms = replace(mail, medium=Medium.SMS, to="+97699112233", lives=timedelta(hours=1))
        others = replace(mail, about="event/2", to="bold@example.mn", person=None)
        return [outbox.write(tx, one, story.clock.moment) for one in (mail, sms, others)]

    mail, sms, others = await storage.write(write)
    await story.services.erasures.ask(SENIOR, made.person, "retention is over")
    await story.services.erasures.confirm(ADMINISTRATOR, made.person)
    due = await storage.read(lambda tx: outbox.due(tx, Medium.MAIL, story.clock.moment, 10))
    assert [(one.record.id, one.to) for one in due] == [(others, "bold@example.mn")]
    left = await storage.read(lambda tx: tx.all("SELECT DISTINCT subject, row FROM personal_data"))
    assert left == [(LETTERS, others)]
    given_up = await storage.read(lambda tx: letters.in_state(tx, "given_up", None, 10))
    assert [(one.id, one.failure) for one in given_up] == [
        (sms, "the person is erased"),
        (mail, "the person is erased"),
    ]


async def test_two_persons_erase(story: Story, recorded: Any) -> None:
    made = await story.verified()
    assert made.person is not None
    person = made.person
    await story.services.applications.withdraw(story.registrar, made.id, made.version, "changed the mind")
    story.clock.moment += story.core.settings.registration.retention
    erasures = story.services.erasures
    with pytest.raises(NotFoundError, match="nobody asked"):
        await erasures.confirm(ADMINISTRATOR, person)
    with pytest.raises(NotAuthorizedError):
        await erasures.ask(story.registrar, person, "retention is over")
    await erasures.ask(SENIOR, person, "retention is over")
    other_senior = replace(SENIOR, name="senior-2")
    for actor in (SENIOR, replace(ADMINISTRATOR, name="senior-1"), other_senior, story.registrar):
        with pytest.raises(NotAuthorizedError):
            await erasures.confirm(actor, person)
    await story.services.people.correct(SENIOR, person, 1, {"phone": "88112233"}, "a slip")
    with pytest.raises(ConflictError, match="ask again"):
        await erasures.confirm(ADMINISTRATOR, person)
    await erasures.ask(ADMINISTRATOR, person, "retention is over")
    story.clock.moment += WAITS
    with pytest.raises(NotFoundError, match="within a day"):
        await erasures.confirm(SENIOR, person)
    await erasures.ask(ADMINISTRATOR, person, "retention is over")
    with pytest.raises(NotAuthorizedError, match="second person"):
        await erasures.confirm(ADMINISTRATOR, person)
    await erasures.confirm(replace(ADMINISTRATOR, name="administrator-2"), person)
    refused = [one["action"] for one in await recorded(story.core.storage) if one["outcome"] == "refused"]
    assert refused == ["registration.erase_person"] * 6


@pytest.mark.parametrize(
    "statement", ["UPDATE application_events SET actor = 'x'", "DELETE FROM application_events"]
)
async def test_events_are_only_added(story: Story, statement: str) -> None:
    await story.draft()
    with pytest.raises(StorageError, match="append-only"):
        await story.core.storage.database.write(lambda tx: tx.execute(statement))


async def test_lists(story: Story) -> None:
    made = [await story.draft() for _ in range(3)]
    await story.services.applications.withdraw(story.registrar, made[0].id, 1, "changed the mind")
    newest = story.services.application_search.newest
    found = await newest(story.registrar, office="ub-1", limit=2)
    assert [one.id for one in found] == [made[2].id, made[1].id]
    rest = await newest(story.registrar, office="ub-1", before=found[-1].id)
    assert [one.id for one in rest] == [made[0].id]
    drafts = await newest(story.registrar, office="ub-1", state=State.DRAFT)
    assert [one.id for one in drafts] == [made[2].id, made[1].id]
    with pytest.raises(NotFoundError):
        await newest(story.registrar, office="nowhere")


class TestOffices:
    async def test_hours_and_days(self, story: Story) -> None:
        offices = story.services.offices
        found = await offices.get("ub-1")
        assert (found.opens_at, found.closes_at, found.break_from, found.break_to) == (540, 1080, 780, 840)
        changed = await offices.change(
            ADMINISTRATOR, "ub-1", found.version, OfficeForm("Сүхбаатар", opens_at="08:30")
        )
        assert (changed.opens_at, changed.version) == (510, 2)
        with pytest.raises(ConflictError, match="changed since"):
            await offices.change(ADMINISTRATOR, "ub-1", found.version, OfficeForm("Другой"))
        await offices.set_day(ADMINISTRATOR, "ub-1", date(2026, 7, 10), works=False)
        await offices.set_day(ADMINISTRATOR, "ub-1", date(2026, 7, 18), works=True)
        days = await offices.days("ub-1", date(2026, 7, 10), date(2026, 7, 17))
        assert days == {date(2026, 7, 10): False}

    @pytest.mark.parametrize(
        "changes",
        [
            {"kind": "kiosk"},
            {"weekdays": ""},
            {"weekdays": "21"},
            {"weekdays": "8"},
            {"opens_at": "9:00"},
            {"opens_at": "24:00"},
            {"closes_at": "08:00"},
            {"break_from": "12:00", "break_to": "11:00"},
            {"opens_at": "13:00", "closes_at": "14:00"},
            {"name": "a\nb\0"},
        ],
    )
    async def test_what_is_no_office(self, story: Story, changes: dict[str, str]) -> None:
        with pytest.raises(RefusedError):
            await story.services.offices.add(ADMINISTRATOR, "ub-9", replace(OfficeForm("Офис"), **changes))

    async def test_a_code_is_of_one_office(self, story: Story) -> None:
        with pytest.raises(ConflictError):
            await story.services.offices.add(ADMINISTRATOR, "ub-1", OfficeForm("Офис"))
        with pytest.raises(RefusedError):
            await story.services.offices.add(ADMINISTRATOR, "УБ", OfficeForm("Офис"))
