"""Documents of applications and cases: made in their time, kept encrypted, proved by the audit log."""

import hashlib
from typing import Any

import pytest

from pkiserver.errors import ConflictError, DeniedError, NotFoundError, RefusedError
from pkiserver.ra.cases.entry import NewCase
from pkiserver.ra.cases.rules import Channel, Kind
from pkiserver.ra.documents import Documents
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from store import documents as rows
from store import personal_data
from store.applications import ApplicationRecord
from tests.documents.test_documents import text_of
from tests.ra.test_registration_services import ADMINISTRATOR, ALL, Story, story

__all__ = ["story"]
AUDITOR = Actor("auditor-1", (Assignment(Role.AUDITOR),))
ELSEWHERE = Actor("registrar-2", (Assignment(Role.REGISTRAR, office=99),))


def documents(story: Story) -> Documents:
    return story.services.documents


async def delivered(story: Story) -> ApplicationRecord:
    made = await story.issued()
    signed_off = await story.services.application_ends.sign_off(
        story.registrar, made.id, made.version, "stamp 12"
    )
    return await story.services.application_ends.deliver(
        story.registrar, made.id, signed_off.version, ALL, "2026-1"
    )


async def decided(story: Story) -> int:
    return await suspended(story, await story.issued())


async def suspended(story: Story, made: ApplicationRecord) -> int:
    """Have the holder suspend the certificate of an application; return the case."""
    assert made.authority is not None
    assert made.serial is not None
    new = NewCase(
        made.authority,
        made.serial,
        Kind.SUSPEND,
        Channel.SELF_SERVICE,
        "holder_request",
    )
    kiosk = Actor("kiosk-1", (Assignment(Role.SERVICE),), on_behalf_of=made.person)
    return (await story.services.cases.receive(kiosk, new)).id


@pytest.mark.interop
async def test_2_6_the_form_is_made_of_what_is_on_record(story: Story, recorded: Any) -> None:
    made = await story.issued()
    form = await documents(story).make_of_application(story.registrar, made.id, "application_form", "mn")
    read = await documents(story).read_of_application(AUDITOR, made.id, form.id)
    assert hashlib.sha256(read.pdf).digest() == form.sha256
    text = text_of(read.pdf)
    assert made.serial is not None
    for told in ("УБ05231418", "123456789012", "Бат", "Дорж", f"{made.serial:x}", "Сүхбаатар дүүрэг"):
        assert told in text
    log = await recorded(story.core.storage)
    [entry] = [one for one in log if one["action"] == "document.make"]
    assert (entry["sha256"], entry["application"]) == (form.sha256.hex(), made.id)
    assert [one["actor"] for one in log if one["action"] == "document.read"] == ["auditor-1"]


@pytest.mark.interop
async def test_2_7_the_acknowledgement_says_which_text_was_acknowledged_and_when(story: Story) -> None:
    made = await delivered(story)
    kept = await documents(story).make_of_application(story.registrar, made.id, "acknowledgement", "en")
    text = text_of((await documents(story).read_of_application(AUDITOR, made.id, kept.id)).pdf)
    assert "2026-1" in text
    assert "Legal effect of the digital signature" in text


@pytest.mark.interop
async def test_3_2_the_decision_of_a_case(story: Story) -> None:
    case = await decided(story)
    senior = Actor("senior-1", (Assignment(Role.SENIOR_REGISTRAR, everywhere=True),))
    made = await documents(story).make_of_case(senior, case, "en")
    text = text_of((await documents(story).read_of_case(AUDITOR, case, made.id)).pdf)
    assert "Decision on the suspension" in text
    assert "GRANTED" in text


async def test_made_again_it_is_the_one_that_there_is(story: Story) -> None:
    made = await story.issued()
    first, again, other = [
        await documents(story).make_of_application(story.registrar, made.id, "application_form", language)
        for language in ("mn", "mn", "en")
    ]
    assert (first.id, first.sha256) == (again.id, again.sha256)
    assert other.sha256 != first.sha256
    assert await documents(story).of_application(AUDITOR, made.id) == [first, other]


async def test_nothing_is_made_before_its_time(story: Story) -> None:
    made = await story.verified()
    for kind, message in (("application_form", "no certificate"), ("acknowledgement", "not handed over")):
        with pytest.raises(ConflictError, match=message):
            await documents(story).make_of_application(story.registrar, made.id, kind, "mn")
    for kind, language in (("decision", "mn"), ("application_form", "ru"), ("", "mn")):
        with pytest.raises(RefusedError):
            await documents(story).make_of_application(story.registrar, made.id, kind, language)
    with pytest.raises(NotFoundError):
        await documents(story).make_of_application(story.registrar, 99, "application_form", "mn")


async def test_an_unknown_text_was_not_acknowledged(story: Story) -> None:
    made = await story.issued()
    ends = story.services.application_ends
    signed = await ends.sign_off(story.registrar, made.id, made.version, "stamp")
    await ends.deliver(story.registrar, made.id, signed.version, ALL, "1999-9")
    with pytest.raises(NotFoundError, match="1999-9"):
        await documents(story).make_of_application(story.registrar, made.id, "acknowledgement", "mn")


@pytest.mark.parametrize("who", [ELSEWHERE, AUDITOR, ADMINISTRATOR], ids=lambda one: one.name)
async def test_others_make_none(story: Story, who: Actor) -> None:
    made = await story.issued()
    with pytest.raises(DeniedError):
        await documents(story).make_of_application(who, made.id, "application_form", "mn")


async def test_a_document_is_read_where_it_belongs_alone(story: Story) -> None:
    made = await story.issued()
    form = await documents(story).make_of_application(story.registrar, made.id, "application_form", "mn")
    other = await story.draft()
    with pytest.raises(NotFoundError):
        await documents(story).read_of_application(AUDITOR, other.id, form.id)
    with pytest.raises(DeniedError):
        await documents(story).read_of_application(ELSEWHERE, made.id, form.id)


async def test_it_is_encrypted_and_its_hash_stays_when_it_is_erased(story: Story) -> None:
    made = await story.issued()
    form = await documents(story).make_of_application(story.registrar, made.id, "application_form", "mn")
    storage = story.core.storage
    sealed = await storage.read(lambda tx: personal_data.of_row(tx, "documents", form.id))
    assert b"%PDF" not in sealed["pdf"]
    assert b"JVBERi" not in sealed["pdf"]  # nor in Base64
    assert made.person is not None
    person = made.person
    assert await storage.read(lambda tx: rows.of_person(tx, person)) == [form.id]
    erased_at = story.clock.now()
    erasures = story.services.erasures
    await storage.write(lambda tx: erasures._erase(tx, person, erased_at))
    [found] = await documents(story).of_application(AUDITOR, made.id)
    assert (found.sha256, found.erased_at) == (form.sha256, erased_at)
    with pytest.raises(ConflictError, match="erased"):
        await documents(story).read_of_application(AUDITOR, made.id, form.id)


async def test_other_octets_are_not_given_out(story: Story) -> None:
    made = await story.issued()
    form = await documents(story).make_of_application(story.registrar, made.id, "application_form", "mn")
    data = documents(story)._data
    await story.core.storage.write(lambda tx: data.put(tx, "documents", form.id, {"pdf": "JVBERi0x"}))
    with pytest.raises(ConflictError, match="its hash is another"):
        await documents(story).read_of_application(AUDITOR, made.id, form.id)
