"""Lists of officers on a real store: to applications and certificates; all, none or by rows; none twice."""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.core import Core
from pkiserver.errors import ConflictError, NotAuthorizedError, NotFoundError, RefusedError
from pkiserver.ra.credentials import WrongCredentialError
from pkiserver.ra.registration import imports as module
from pkiserver.ra.registration.contracts import Event
from pkiserver.ra.registration.imports import ImportOptions, ImportReport
from pkiserver.ra.registration.officer_list import ListError
from pkiserver.ra.registration.officers import NewOfficer
from pkiserver.ra.registration.registry import IdentityProof
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from pkiserver.ra.requester import Channel, Password, Requester
from protocols.x509.names import parse_subject
from store import applications, credentials, organizations
from store.applications import ApplicationRecord
from store.database import Transaction

NUMBER = "1234567"
HEADER = "parent_name,given_name,register_number,civil_id,work_mail,phone,position,unit"
DORJ = "Бат,Дорж,УБ05231418,123456789012,dorj@tax.gov.mn,99112233,Мэргэжилтэн,Аудит"
SARAA = "Дорж,Сараа,УК90061224,123456789013,saraa@tax.gov.mn,88112233,Дарга,"
STRANGER = "Дорж,Болд,УК91061225,123456789014,bold@gmail.com,88112234,Дарга,"
CITIZENS: list[dict[str, Any]] = [
    {
        "register_number": "УБ05231418",
        "civil_id": "123456789012",
        "birth_date": "2005-03-14",
        "parent_name": "Бат",
        "clan_name": "Боржигон",
        "given_name": "Дорж",
        "entitled": True,
        "fingerprints": ["check-1"],
    }
]
SPECIALIST = Actor("specialist-1", (Assignment(Role.SPECIALIST),))
WHOLE = ImportOptions()
PARTIAL = ImportOptions(whole=False)
DRY = ImportOptions(dry_run=True)


def listed(*rows: str) -> bytes:
    return "\r\n".join([HEADER, *rows]).encode()


def outcomes(report: ImportReport) -> list[tuple[int, str]]:
    return [(one.line, one.outcome) for one in report.rows]


@dataclass
class Desk:
    core: Core
    organization: int

    async def load(
        self, octets: bytes, options: ImportOptions = WHOLE, actor: Actor = SPECIALIST
    ) -> ImportReport:
        return await self.core.registration.imports.run(actor, NUMBER, octets, options)

    async def count(self, table: str) -> int:
        found = await self.core.storage.read(lambda tx: tx.all(f"SELECT 1 FROM {table}"))  # noqa: S608 - tables of ours
        return len(found)

    async def record(self, application: int | None) -> ApplicationRecord:
        found = await self.core.storage.read(lambda tx: applications.get(tx, application or 0))
        assert found is not None
        return found

    @property
    def officer(self) -> Actor:
        return Actor("org-1", (Assignment(Role.ORG_OFFICER, organization=self.organization),))


@pytest.fixture
async def desk(core: Core) -> Desk:
    services = core.registration.organizations
    record = await services.register("public", NUMBER, "Татварын ерөнхий газар", "info@tax.gov.mn")
    for event in (Event.SEND_CONTRACT, Event.SIGN_CONTRACT):
        record = await services.move(SPECIALIST, NUMBER, event, record.version, "letter 12")
    await services.set_domains(SPECIALIST, NUMBER, ("gov.mn",))
    core.home.civil_registry.write_text("".join(json.dumps(one) + "\n" for one in CITIZENS))
    return Desk(core, record.id)


async def test_a_list_becomes_applications(desk: Desk, recorded: Any) -> None:
    report = await desk.load(listed(DORJ, SARAA), actor=desk.officer)
    assert outcomes(report) == [(2, "made"), (3, "made")]
    assert report.carried_out
    first = await desk.record(report.rows[0].application)
    assert (first.state, first.profile, first.channel, first.office) == (
        "draft",
        "government-token",
        "list",
        None,
    )
    assert first.organization == desk.organization
    officers = await desk.core.storage.read(lambda tx: organizations.officers(tx, desk.organization, 10))
    assert [(one.mail, one.title, one.unit) for one in officers] == [
        ("dorj@tax.gov.mn", "Мэргэжилтэн", "Аудит"),
        ("saraa@tax.gov.mn", "Дарга", None),
    ]
    actions = [one["action"] for one in await recorded(desk.core.storage)][-5:]
    assert actions == [
        "officer.add",
        "application.apply",
        "officer.add",
        "application.apply",
        "organization.import",
    ]


async def test_each_lists_what_is_of_the_own_organisation(desk: Desk) -> None:
    report = await desk.load(listed(DORJ, SARAA))
    made = [one.application for one in reversed(report.rows)]
    stranger = Actor("org-2", (Assignment(Role.ORG_OFFICER, organization=desk.organization + 1),))
    registrar = Actor("registrar-1", (Assignment(Role.REGISTRAR, office=1),))
    everybody = Actor("auditor-1", (Assignment(Role.AUDITOR),))
    newest = desk.core.registration.application_search.newest
    for actor, seen in (
        (desk.officer, made),
        (SPECIALIST, made),
        (everybody, made),
        (stranger, []),
        (registrar, []),
    ):
        assert [one.id for one in await newest(actor)] == seen


async def test_an_officers_way_to_the_certificate(desk: Desk) -> None:
    (row,) = (await desk.load(listed(DORJ))).rows
    made = await desk.record(row.application)
    services = desk.core.registration
    verified = await services.applications.verify(
        SPECIALIST, made.id, made.version, IdentityProof.of("register_numbers", "appointment paper 4")
    )
    assert (verified.state, verified.proof) == ("verified", "register_numbers")
    credential = await services.issuing.begin(SPECIALIST, made.id, verified.version)
    request = x509.CertificateSigningRequestBuilder().subject_name(parse_subject("CN=x"))
    octets = request.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.DER)
    who = Requester("192.0.2.7", Channel("TLS 1.3"), Password(credential.reference, credential.secret), None)
    certificate = x509.load_der_x509_certificate(await desk.core.enrollment.enroll(octets, who, None))
    assert certificate.subject.rfc4514_string(
        {x509.ObjectIdentifier("2.5.4.97"): "organizationIdentifier"}
    ) == (
        "CN=Бат Дорж,2.5.4.42=Дорж,2.5.4.4=Бат,2.5.4.12=Мэргэжилтэн,OU=Аудит,"
        "organizationIdentifier=NTRMN-1234567,O=Татварын ерөнхий газар,C=MN"
    )
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.RFC822Name) == ["dorj@tax.gov.mn"]
    issued = await desk.record(made.id)
    assert (issued.state, issued.serial) == ("issued", certificate.serial_number)
    # On record are names and numbers, with the clan that the registry knows, and no address of the office.
    auditor = Actor("auditor-1", (Assignment(Role.AUDITOR),))
    assert issued.person is not None
    person = await services.people.show(auditor, issued.person)
    assert (person.record.given_name, person.record.clan_name) == ("Дорж", "Боржигон")
    assert set(person.data) == {"register_number", "civil_id", "birth_date"}
    assert issued.officer is not None
    officer = await desk.core.storage.read(lambda tx: organizations.officer(tx, issued.officer or 0))
    assert officer is not None
    assert officer.person == issued.person


async def test_an_officer_whom_the_registry_knows_otherwise(desk: Desk) -> None:
    (row,) = (await desk.load(listed(DORJ.replace("Дорж", "Болд")))).rows
    made = await desk.record(row.application)
    returned = await desk.core.registration.applications.verify(
        SPECIALIST, made.id, made.version, IdentityProof.of("fingerprint", "check-1")
    )
    assert returned.state == "returned"


async def test_all_or_none(desk: Desk, recorded: Any) -> None:
    report = await desk.load(listed(DORJ, STRANGER, SARAA.replace("Дарга", "=1")))
    assert not report.carried_out
    assert outcomes(report) == [(2, "made"), (3, "refused"), (4, "refused")]
    assert [one.faults[0][0] for one in report.rows if one.faults] == ["work_mail", "position"]
    assert [one.application for one in report.rows] == [None, None, None]
    for table in ("applications", "officers", "imports", "import_rows"):
        assert await desk.count(table) == 0
    last = (await recorded(desk.core.storage))[-1]
    assert (last["action"], last["outcome"], last["refused"]) == ("organization.import", "refused", 2)


async def test_a_refusal_that_shows_only_in_the_transaction_undoes_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = module.Imports._look  # between it and the transaction somebody else acts

    async def then_the_domain_is_taken_away(self: Any, work: Any) -> Any:
        found = await looked(self, work)
        await desk.core.registration.organizations.set_domains(SPECIALIST, NUMBER, ("edu.mn",))
        return found

    monkeypatch.setattr(module.Imports, "_look", then_the_domain_is_taken_away)
    report = await desk.load(listed(DORJ, SARAA))
    assert (report.carried_out, report.count("refused")) == (False, 2)
    assert await desk.count("imports") == await desk.count("applications") == 0


async def test_by_rows(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    told: list[tuple[int, int]] = []
    report = await desk.core.registration.imports.run(
        SPECIALIST,
        NUMBER,
        listed(DORJ, STRANGER, SARAA),
        PARTIAL,
        lambda _text, done=0, total=0: told.append((done, total)),
    )
    assert outcomes(report) == [(2, "made"), (3, "refused"), (4, "made")]
    assert told == [(2, 3), (3, 3)]
    assert await desk.count("applications") == 2


@pytest.mark.parametrize("options", [ImportOptions(), PARTIAL])
async def test_a_repeated_list_makes_nothing_twice(desk: Desk, options: ImportOptions) -> None:
    first = await desk.load(listed(DORJ, SARAA), options)
    assert await desk.load(listed(DORJ, SARAA), options) == first
    assert await desk.load(listed(DORJ, SARAA), DRY) == replace(first, carried_out=False)
    # Even where the application has ended meanwhile; another list makes another one.
    made = await desk.record(first.rows[0].application)
    await desk.core.registration.applications.withdraw(SPECIALIST, made.id, made.version, "left")
    assert await desk.load(listed(DORJ, SARAA), options) == first
    assert await desk.count("applications") == 2
    other = await desk.load(listed(SARAA, DORJ), options)
    assert outcomes(other) == [(2, "known"), (3, "made")]
    assert other.rows[0].application == first.rows[1].application


async def test_what_was_refused_is_tried_again(desk: Desk) -> None:
    octets = listed(DORJ, STRANGER)
    assert outcomes(await desk.load(octets, PARTIAL)) == [(2, "made"), (3, "refused")]
    await desk.core.registration.organizations.set_domains(SPECIALIST, NUMBER, ("gov.mn", "gmail.com"))
    assert outcomes(await desk.load(octets, PARTIAL)) == [(2, "made"), (3, "made")]


async def test_cut_off_between_two_batches_it_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 1)
    write, calls = desk.core.storage.write, 0

    async def write_once(work: Any, *, brief: bool = False) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConnectionError
        return await write(work, brief=brief)

    monkeypatch.setattr(desk.core.storage, "write", write_once)
    with pytest.raises(ConnectionError):
        await desk.load(listed(DORJ, SARAA), PARTIAL)
    assert await desk.count("applications") == 1
    report = await desk.load(listed(DORJ, SARAA), PARTIAL)
    assert outcomes(report) == [(2, "made"), (3, "made")]
    assert await desk.count("applications") == 2


async def test_a_dry_run_does_nothing(desk: Desk) -> None:
    report = await desk.load(listed(DORJ, STRANGER), DRY)
    assert (outcomes(report), report.carried_out) == ([(2, "made"), (3, "refused")], False)
    for table in ("applications", "officers", "imports"):
        assert await desk.count(table) == 0


async def test_an_officer_on_record_gets_the_position_of_the_list(desk: Desk) -> None:
    (row,) = (await desk.load(listed(DORJ))).rows
    moved = DORJ.replace("Мэргэжилтэн", "Дарга")
    assert outcomes(await desk.load(listed(moved))) == [(2, "known")]  # an application is open: nothing moves
    made = await desk.record(row.application)
    await desk.core.registration.applications.withdraw(SPECIALIST, made.id, made.version, "another position")
    assert outcomes(await desk.load(listed(moved, SARAA))) == [(2, "made"), (3, "made")]
    officers = await desk.core.storage.read(lambda tx: organizations.officers(tx, desk.organization, 10))
    assert [(one.mail, one.title) for one in officers] == [
        ("dorj@tax.gov.mn", "Дарга"),
        ("saraa@tax.gov.mn", "Дарга"),
    ]


async def test_a_mail_that_is_another_officers(desk: Desk) -> None:
    await desk.load(listed(DORJ))
    report = await desk.load(listed(SARAA.replace("saraa@", "dorj@")))
    assert report.rows[0].faults == (("work_mail", "another officer of the organisation has it"),)


async def test_a_mail_of_another_organisation_s_domain(desk: Desk) -> None:
    """Whoever has gov.mn has not what another one has below it; the nearest domain says whose a mail is."""
    services = desk.core.registration.organizations
    await services.register("public", "7654321", "Аудитын газар", "info@audit.gov.mn")
    await services.set_domains(SPECIALIST, "7654321", ("audit.gov.mn", "gov.mn"))
    theirs = DORJ.replace("@tax.gov.mn", "@it.audit.gov.mn")
    report = await desk.load(listed(theirs, SARAA), PARTIAL)
    assert outcomes(report) == [(2, "refused"), (3, "made")]
    assert report.rows[0].faults == (("work_mail", "it is of another organisation's domain"),)
    new = NewOfficer("Бат", "Дорж", "dorj@audit.gov.mn", "Дарга")
    with pytest.raises(RefusedError, match="another organisation's domain"):
        await desk.core.registration.officers.add(SPECIALIST, NUMBER, new, "order 1")


async def test_a_namesake_does_not_become_the_officer(desk: Desk) -> None:
    """Two persons of one name: the certificate of the one is not on record for the other."""
    services = desk.core.registration
    (row,) = (await desk.load(listed(DORJ))).rows
    first = await desk.record(row.application)
    proof = IdentityProof.of("register_numbers", "paper 4")
    verified = await services.applications.verify(SPECIALIST, first.id, first.version, proof)
    namesake = CITIZENS[0] | {
        "register_number": "УК90061224",
        "civil_id": "123456789013",
        "birth_date": "1990-06-12",
    }
    desk.core.home.civil_registry.write_text("".join(json.dumps(one) + "\n" for one in (*CITIZENS, namesake)))
    (row,) = (
        await desk.load(listed(DORJ.replace("УБ05231418,123456789012", "УК90061224,123456789013")))
    ).rows
    second = await desk.record(row.application)
    with pytest.raises(ConflictError, match="somebody else"):
        await services.applications.verify(SPECIALIST, second.id, second.version, proof)
    officer = await desk.core.storage.read(lambda tx: organizations.officer(tx, first.officer or 0))
    assert officer is not None
    assert officer.person == verified.person


@pytest.mark.parametrize("change", ["left", "position"])
async def test_who_left_or_has_another_position_gets_nothing(desk: Desk, change: str) -> None:
    (row,) = (await desk.load(listed(DORJ))).rows
    made = await desk.record(row.application)
    services = desk.core.registration
    proof = IdentityProof.of("register_numbers", "appointment paper 4")
    verified = await services.applications.verify(SPECIALIST, made.id, made.version, proof)
    if change == "left":
        await services.officers.remove(SPECIALIST, NUMBER, made.officer or 0)
    else:
        await services.officers.change_position(
            SPECIALIST, NUMBER, made.officer or 0, "Нярав", None, "order 2"
        )
    with pytest.raises(ConflictError, match=change):
        await services.issuing.begin(SPECIALIST, made.id, verified.version)
    assert (await desk.record(made.id)).state == "verified"


async def given(desk: Desk) -> tuple[ApplicationRecord, Requester]:
    """Return an application for which a credential was given, and who would enrol with it."""
    (row,) = (await desk.load(listed(DORJ))).rows
    services, made = desk.core.registration, await desk.record(row.application)
    proof = IdentityProof.of("register_numbers", "appointment paper 4")
    verified = await services.applications.verify(SPECIALIST, made.id, made.version, proof)
    new = await services.issuing.begin(SPECIALIST, made.id, verified.version)
    who = Requester("192.0.2.7", Channel("TLS 1.3"), Password(new.reference, new.secret), None)
    return await desk.record(made.id), who


async def enroll(desk: Desk, who: Requester) -> None:
    request = x509.CertificateSigningRequestBuilder().subject_name(parse_subject("CN=x"))
    octets = request.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.DER)
    await desk.core.enrollment.enroll(octets, who, None)


@pytest.mark.parametrize("change", ["left", "position", "list"])
async def test_the_credential_dies_with_the_position(desk: Desk, recorded: Any, change: str) -> None:
    made, who = await given(desk)
    officers, officer = desk.core.registration.officers, made.officer or 0
    if change == "left":
        await officers.remove(SPECIALIST, NUMBER, officer)
    elif change == "position":
        await officers.change_position(SPECIALIST, NUMBER, officer, "Нярав", None, "order 2")
    else:
        other = "УК90061224,123456789013"
        text = DORJ.replace("УБ05231418,123456789012", other).replace("Мэргэжилтэн", "Нярав")
        assert outcomes(await desk.load(listed(text))) == [(2, "made")]
    failed = await desk.record(made.id)
    assert failed.state == "failed"
    with pytest.raises(WrongCredentialError, match="cancelled"):
        await enroll(desk, who)
    with pytest.raises(ConflictError, match="has left" if change == "left" else "another position"):
        await desk.core.registration.issuing.begin(SPECIALIST, made.id, failed.version)
    action = "officer.remove" if change == "left" else "officer.position"
    (record,) = [one for one in await recorded(desk.core.storage) if one["action"] == action]
    assert record["cancelled"] == [made.credential]


async def test_a_credential_whose_certificate_was_refused_dies_with_the_position_too(desk: Desk) -> None:
    made, who = await given(desk)
    await enroll(desk, who)

    def refused(tx: Transaction) -> None:
        found = credentials.get(tx, made.credential or "")
        assert found is not None
        assert credentials.give_back_refused_use(tx, found.id)

    await desk.core.storage.write(refused)
    await desk.core.registration.officers.remove(SPECIALIST, NUMBER, made.officer or 0)
    assert (await desk.record(made.id)).state == "issued"
    with pytest.raises(WrongCredentialError, match="cancelled"):
        await enroll(desk, who)


async def test_officers_are_erased_with_the_person(desk: Desk, clock: Any) -> None:
    made, _ = await given(desk)
    services, officer = desk.core.registration, made.officer or 0
    first = Actor("administrator-1", (Assignment(Role.ADMINISTRATOR),))
    await services.applications.withdraw(SPECIALIST, made.id, made.version, "a new list")
    clock.moment += desk.core.settings.registration.retention
    assert made.person is not None
    with pytest.raises(ConflictError, match=f"this person is officer {officer}"):
        await services.erasures.ask(first, made.person, "the retention is over")
    await services.officers.remove(SPECIALIST, NUMBER, officer)
    left = await desk.core.storage.read(lambda tx: organizations.officer(tx, officer))
    assert left is not None
    assert left.given_name == "Дорж"  # applied for: kept as long as the application is
    await services.erasures.ask(first, made.person, "the retention is over")
    await services.erasures.confirm(replace(first, name="administrator-2"), made.person)
    erased = await desk.core.storage.read(lambda tx: organizations.officer(tx, officer))
    assert erased is not None
    assert (erased.parent_name, erased.given_name, erased.mail) == (None, None, None)


async def test_an_officer_for_whom_nobody_applied_leaves_no_name(desk: Desk) -> None:
    services = desk.core.registration.officers
    new = NewOfficer("Бат", "Дорж", "dorj@tax.gov.mn", "Дарга")
    added = await services.add(SPECIALIST, NUMBER, new, "order 1")
    assert (await services.remove(SPECIALIST, NUMBER, added.id)).given_name == "Дорж"
    left = await desk.core.storage.read(lambda tx: organizations.officer(tx, added.id))
    assert left is not None
    assert (left.parent_name, left.given_name, left.mail) == (None, None, None)
    assert await services.add(SPECIALIST, NUMBER, new, "order 2")


async def test_nobody_applies_for_oneself(desk: Desk) -> None:
    (row,) = (await desk.load(listed(DORJ))).rows
    made = await desk.record(row.application)
    services = desk.core.registration.applications
    verified = await services.verify(
        SPECIALIST, made.id, made.version, IdentityProof.of("fingerprint", "check-1")
    )
    await services.withdraw(SPECIALIST, made.id, verified.version, "a new list")
    oneself = replace(desk.officer, person=verified.person)
    report = await desk.load(listed(SARAA, DORJ), PARTIAL, oneself)
    assert outcomes(report) == [(2, "made"), (3, "refused")]


async def test_only_with_a_contract_and_only_the_own_organisation(desk: Desk, recorded: Any) -> None:
    stranger = Actor("org-2", (Assignment(Role.ORG_OFFICER, organization=desk.organization + 1),))
    for actor in (stranger, Actor("registrar-1", (Assignment(Role.REGISTRAR, office=1),))):
        with pytest.raises(NotAuthorizedError):
            await desk.load(listed(DORJ), actor=actor)
    assert (await recorded(desk.core.storage))[-1]["outcome"] == "refused"
    with pytest.raises(NotFoundError):
        await desk.core.registration.imports.run(SPECIALIST, "7654321", listed(DORJ), DRY)
    with pytest.raises(ListError):
        await desk.load(b"")
    await desk.core.registration.organizations.move(SPECIALIST, NUMBER, Event.END, 3, "letter 13")
    for options in (ImportOptions(), PARTIAL, DRY):
        with pytest.raises(ConflictError, match="no contract"):
            await desk.load(listed(DORJ), options)


async def test_officers_are_counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OFFICERS", 1)
    with pytest.raises(ConflictError, match="at most 1 officers"):
        await desk.load(listed(DORJ, SARAA))


async def test_the_report_and_the_log_hold_no_personal_data(desk: Desk, recorded: Any) -> None:
    report = await desk.load(listed(DORJ, STRANGER, SARAA.replace("88112233", "1")), PARTIAL)
    said = json.dumps(report.values(), ensure_ascii=False) + str(await recorded(desk.core.storage))
    for value in (*DORJ.split(",")[:6], *STRANGER.split(",")[1:6], "saraa@tax.gov.mn"):
        assert value not in said
