"""PIN and PUK: handed over once by who made the carrier, sent by two ways, and nowhere else to be found."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pkiserver.core import Core
from pkiserver.errors import ConflictError, DeniedError, RefusedError
from pkiserver.ra.carrier_codes import LIVES, Codes
from pkiserver.ra.letters.media import FileSink, Message, Outcome
from pkiserver.ra.letters.outbox import LETTERS, Medium
from pkiserver.ra.letters.postman import Postman
from pkiserver.ra.letters.templates import Templates
from pkiserver.ra.registration.plant_results import failed
from pkiserver.ra.registration.roles import Actor
from pkiserver.ra.requester import Channel, Password, Requester
from store import letters, personal_data
from store.applications import ApplicationRecord
from store.letters import LetterRecord
from store.records import AuditRecord
from tests.ra.officer_setting import SPECIALIST, Organization
from tests.ra.plant_setting import Setting, csr_of, new_key

PIN, PUK = "pin-271828", "puk-31415926"
CODES = Codes(PIN, PUK)
Audited = Callable[[Core], Awaitable[list[AuditRecord]]]


@pytest.fixture
async def setting(core: Core) -> Setting:
    return await Setting.of(core)


async def made_at_office(setting: Setting) -> ApplicationRecord:
    """Have a registrar get a citizen's certificate."""
    waiting = await setting.waiting("office")
    new = await setting.core.registration.issuing.begin(setting.registrar, waiting.id, waiting.version)
    who = Requester("192.0.2.7", Channel("TLS 1.3"), Password(new.reference, new.secret), None)
    await setting.core.enrollment.enroll(csr_of(new_key()), who, None)
    return await setting.application(waiting.id)


async def hand_over(setting: Setting, actor: Actor, application: int, codes: Codes = CODES) -> Any:
    return await setting.core.registration.carrier_codes.hand_over(actor, application, codes)


async def letter(core: Core, number: int) -> LetterRecord:
    found = await core.storage.read(lambda tx: letters.get(tx, number))
    assert found is not None
    return found


def postman(core: Core, way: Any = None) -> Postman:
    way = way or FileSink(core.home.letters)
    return Postman(
        storage=core.storage,
        clock=core.clock,
        outbox=core.registration.outbox,
        templates=Templates(core.home.letter_templates),
        ways={Medium.MAIL: way, Medium.SMS: way},
        patience=timedelta(days=30),
    )


async def test_regulation_2_5_pin_by_sms_and_puk_with_guidance_by_mail(setting: Setting) -> None:
    made = await made_at_office(setting)
    taken = await hand_over(setting, setting.registrar, made.id)
    await postman(setting.core).deliver_due()
    sent = {one["letter"]: one for one in map(json.loads, setting.core.home.letters.open())}
    sms, mail = sent[taken.sms], sent[taken.mail]
    assert (sms["to"], mail["to"]) == ("+97699112233", "dorj@example.mn")
    assert (PIN in sms["text"], PUK in sms["text"]) == (True, False)
    assert (PUK in mail["text"], PIN in mail["text"]) == (True, False)
    assert [(await letter(setting.core, one)).state for one in (taken.sms, taken.mail)] == ["sent", "sent"]


async def test_nothing_of_them_stays_in_database_logs_and_audit(
    setting: Setting, audited: Audited, caplog: pytest.LogCaptureFixture
) -> None:
    made = await made_at_office(setting)
    taken = await hand_over(setting, setting.registrar, made.id)
    core = setting.core
    for is_delivered in (False, True):
        if is_delivered:
            await postman(core).deliver_due()
        files = b"".join(path.read_bytes() for path in core.home.path.glob("pkiserver.db*"))
        told = repr(await audited(core)) + caplog.text + repr(CODES)
        for secret in (PIN, PUK):
            assert secret.encode() not in files
            assert secret not in told
        for number in (taken.sms, taken.mail):
            kept = await core.storage.read(lambda tx, row=number: personal_data.of_row(tx, LETTERS, row))  # type: ignore[misc]
            assert bool(kept) is not is_delivered
    [entry] = [one for one in await audited(core) if one.action == "carrier.codes"]
    assert json.loads(entry.detail) == {"application": made.id, "mail": taken.mail, "sms": taken.sms}


async def test_they_are_handed_over_once(setting: Setting) -> None:
    made = await made_at_office(setting)
    taken = await hand_over(setting, setting.registrar, made.id)
    with pytest.raises(ConflictError, match="before"):
        await hand_over(setting, setting.registrar, made.id, Codes("another", "another"))
    await postman(setting.core).deliver_due()
    with pytest.raises(ConflictError, match="before"):
        await hand_over(setting, setting.registrar, made.id)
    assert PIN in setting.core.home.letters.read_text()
    assert "another" not in setting.core.home.letters.read_text()
    assert (await letter(setting.core, taken.sms)).attempts == 1


class Silent:
    """A way that delivers nothing."""

    async def deliver(self, messages: list[Message]) -> list[Outcome]:
        return [Outcome.failed("no answer")] * len(messages)

    async def close(self) -> None:
        """There is nothing to let go of."""


async def test_what_is_not_delivered_in_time_is_purged(setting: Setting, clock: Any) -> None:
    made = await made_at_office(setting)
    taken = await hand_over(setting, setting.registrar, made.id)
    await postman(setting.core, Silent()).deliver_due()
    assert (await letter(setting.core, taken.sms)).state == "waiting"
    clock.moment += LIVES
    await postman(setting.core, Silent()).deliver_due()
    found = await letter(setting.core, taken.sms)
    assert (found.state, found.failure) == ("given_up", "too late to be told")
    assert await setting.core.storage.read(lambda tx: personal_data.of_row(tx, LETTERS, taken.sms)) == {}


async def test_the_plant_hands_over_the_codes_of_its_own_cards_alone(setting: Setting) -> None:
    plant, other = await setting.plant("plant-1"), await setting.plant("plant-2")
    waiting = await setting.waiting()
    batch = await plant.pull()
    [card] = await plant.cards(batch.id)
    with pytest.raises(ConflictError, match="no carrier"):
        await hand_over(setting, plant.actor, waiting.id)
    await plant.enroll(card.record.reference, csr_of(new_key()))
    for actor in (other.actor, setting.registrar, SPECIALIST):
        with pytest.raises(DeniedError):
            await hand_over(setting, actor, waiting.id)
    await hand_over(setting, plant.actor, waiting.id)
    await plant.report(batch.id, card.record.reference, failed("damaged", "torn"))
    with pytest.raises(ConflictError, match="no carrier"):
        await hand_over(setting, plant.actor, waiting.id)
    again = await plant.pull(key="pull-0002")
    [card] = await plant.cards(again.id)
    await plant.enroll(card.record.reference, csr_of(new_key()))
    await hand_over(setting, plant.actor, waiting.id)  # of another card


async def test_nobody_hands_over_the_own_codes(setting: Setting) -> None:
    made = await made_at_office(setting)
    with pytest.raises(DeniedError, match="own"):
        await hand_over(setting, replace(setting.registrar, person=made.person), made.id)


@pytest.mark.parametrize(
    "codes",
    [Codes("12", PUK), Codes("1" * 65, PUK), Codes(PIN, "a b c d"), Codes(PIN, "\n1234"), Codes(PIN)],
    ids=["short", "long", "blanks", "line", "no PUK"],
)
async def test_what_are_no_codes(setting: Setting, codes: Codes) -> None:
    made = await made_at_office(setting)
    with pytest.raises(RefusedError) as caught:
        await hand_over(setting, setting.registrar, made.id, codes)
    assert codes.pin not in str(caught.value)


async def test_an_officers_token_has_no_puk_by_mail(core: Core) -> None:
    made = await (await Organization.of(core)).issued()
    codes = core.registration.carrier_codes
    with pytest.raises(RefusedError, match="unblock code kept"):
        await codes.hand_over(SPECIALIST, made.id, CODES)
    await codes.hand_over(SPECIALIST, made.id, Codes(PIN))
    await postman(core).deliver_due()
    sms, mail = sorted(map(json.loads, core.home.letters.open()), key=lambda one: bool(one["subject"]))
    assert PIN in sms["text"]
    assert mail["to"] == "saraa@tax.gov.mn"
    assert "PUK код:" not in mail["text"]
