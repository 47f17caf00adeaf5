"""The printing plant over CMP: a card has one certificate, whatever is repeated, refused or not confirmed."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from pkiserver.core import Core
from pkiserver.errors import ConflictError
from pkiserver.ra.registration.plant import PlantCard
from pkiserver.ra.registration.plant_results import failed, issued
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.crmf import CertReqMsg, RAVerified, build_cert_req_messages, build_cert_request
from protocols.cmp.general_info import GeneralInfo
from protocols.cmp.status import PKIFailureInfo as Failure
from protocols.x509.names import subject_text
from tests.cmp_messages import Answer, BySignature, Client, new_key, rejection_body, request_body, template
from tests.ra.plant_setting import APlant, Setting, csr_of

if TYPE_CHECKING:
    from tests.ra.conftest import SetClock

IMPLICIT = GeneralInfo(implicit_confirm=True)


@pytest.fixture
async def setting(core: Core) -> Setting:
    return await Setting.of(core)


@pytest.fixture
async def one(setting: Setting) -> APlant:
    return await setting.plant("plant-1")


def client(plant: APlant, reference: str | None) -> Client:
    """Return who sends the plant's messages, to the path that names a card."""
    return Client(plant.core, BySignature(plant.key, plant.record.certificate), profile=reference)


def parsed(answer: Answer) -> x509.Certificate:
    return x509.load_der_x509_certificate(answer.certificate)


async def waiting_card(setting: Setting, one: APlant) -> tuple[int, PlantCard]:
    await setting.waiting()
    batch = await one.pull()
    [card] = await one.cards(batch.id)
    return batch.id, card


async def live(setting: Setting) -> list[int]:
    good = "SELECT serial FROM certificates WHERE profile LIKE 'citizen-%' AND state = 'active'"
    rows = await setting.core.storage.read(lambda tx: tx.all(good))
    return [int.from_bytes(row[0], "big") for row in rows]


async def serial_of(setting: Setting, application: int) -> int | None:
    return (await setting.application(application)).serial


@pytest.mark.parametrize("kind", [BodyType.IR, BodyType.CR])
async def test_regulation_2_8_over_cmp(setting: Setting, one: APlant, kind: BodyType) -> None:
    batch, card = await waiting_card(setting, one)
    sender, key = client(one, card.record.reference), new_key()
    answer = await sender.send(request_body(kind, key, None))
    made = parsed(answer)
    assert subject_text(made.subject) == card.subject
    with pytest.raises(ConflictError, match="not confirmed"):
        await one.report(batch, card.record.reference, issued("04AA"))
    assert (await sender.confirm(answer.certificate)).body is BodyType.PKICONF
    await one.report(batch, card.record.reference, issued("04AA"))
    assert await live(setting) == [made.serial_number]


async def test_the_card_may_be_named_by_cert_profile(setting: Setting, one: APlant) -> None:
    _, card = await waiting_card(setting, one)
    info = GeneralInfo(cert_profiles=(card.record.reference,))
    answer = await client(one, None).ir(new_key(), None, info=info)
    assert subject_text(parsed(answer).subject) == card.subject
    refused = await client(one, None).ir(new_key(), None)
    assert refused.failure is Failure.NOT_AUTHORIZED


async def test_the_ra_vouches_for_the_key_of_a_card(setting: Setting, one: APlant) -> None:
    """RFC 4211 §4: raVerified, of who is an RA (id-kp-cmcRA)."""
    _, card = await waiting_card(setting, one)
    key = new_key()
    asked = CertReqMsg(build_cert_request(0, template(key, None), ()), RAVerified())
    body = PKIBody(BodyType.IR, build_cert_req_messages([asked]))
    answer = await client(one, card.record.reference).send(body)
    assert parsed(answer).public_key() == key.public_key()


async def test_an_unconfirmed_certificate_asked_for_anew_is_the_same(
    setting: Setting, one: APlant, clock: "SetClock"
) -> None:
    """The answer was lost, and the transaction with it: another one ends what that one began."""
    batch, card = await waiting_card(setting, one)
    key = new_key()
    lost, sender = client(one, card.record.reference), client(one, card.record.reference)
    first = await lost.ir(key, None)
    again = await sender.ir(key, None)
    assert again.certificate == first.certificate
    refused = await client(one, card.record.reference).ir(new_key(), None)
    assert "another key" in (refused.status.status_string or ("",))[0]
    await sender.confirm(again.certificate)
    clock.moment += timedelta(days=1)
    await setting.core.cmp.expire()
    assert await live(setting) == [parsed(first).serial_number]
    await one.report(batch, card.record.reference, issued("04AA"))


async def test_one_that_nobody_confirms_ends_and_another_is_made(
    setting: Setting, one: APlant, clock: "SetClock"
) -> None:
    _, card = await waiting_card(setting, one)
    key, sender = new_key(), client(one, card.record.reference)
    first = await client(one, card.record.reference).ir(key, None)
    assert (await sender.ir(key, None)).certificate == first.certificate
    clock.moment += setting.core.settings.cmp.confirm_wait + timedelta(seconds=1)
    await setting.core.cmp.expire()
    assert await live(setting) == []
    second = await client(one, card.record.reference).ir(key, None, info=IMPLICIT)
    assert await live(setting) == [parsed(second).serial_number]
    assert await serial_of(setting, card.record.application) == parsed(second).serial_number
    assert (await setting.events(card.record.application))[-2:] == [
        ("carrier_refused", "issued", "issuing"),
        ("certificate_issued", "issuing", "issued"),
    ]


async def test_a_confirmed_certificate_asked_for_anew_stays(
    setting: Setting, one: APlant, clock: "SetClock"
) -> None:
    _, card = await waiting_card(setting, one)
    key, sender = new_key(), client(one, card.record.reference)
    first = await sender.ir(key, None)
    await sender.confirm(first.certificate)
    late = client(one, card.record.reference)
    assert (await late.ir(key, None)).certificate == first.certificate
    clock.moment += timedelta(days=1)
    await setting.core.cmp.expire()
    assert await live(setting) == [parsed(first).serial_number]
    assert (await late.confirm(first.certificate)).body is BodyType.PKICONF


async def test_what_est_made_cmp_gives_again(setting: Setting, one: APlant, clock: "SetClock") -> None:
    _, card = await waiting_card(setting, one)
    key = new_key()
    made = await one.enroll(card.record.reference, csr_of(key))
    answer = await client(one, card.record.reference).ir(key, None)
    assert parsed(answer) == made
    clock.moment += timedelta(days=1)
    await setting.core.cmp.expire()
    assert await live(setting) == [made.serial_number]


async def test_a_refused_certificate_lets_the_card_have_another(setting: Setting, one: APlant) -> None:
    batch, card = await waiting_card(setting, one)
    sender = client(one, card.record.reference)
    answer = await sender.ir(new_key(), None)
    await sender.send(rejection_body(answer.certificate))
    assert await live(setting) == []
    with pytest.raises(ConflictError, match="is revoked"):
        await one.report(batch, card.record.reference, issued("04AA"))
    second = await client(one, card.record.reference).ir(new_key(), None, info=IMPLICIT)
    assert await live(setting) == [parsed(second).serial_number]
    assert await serial_of(setting, card.record.application) == parsed(second).serial_number


async def test_a_card_that_failed_before_it_was_confirmed(
    setting: Setting, one: APlant, clock: "SetClock"
) -> None:
    batch, card = await waiting_card(setting, one)
    sender = client(one, card.record.reference)
    await sender.ir(new_key(), None)
    await one.report(batch, card.record.reference, failed("carrier_refused", "6A80"))
    assert await live(setting) == []
    clock.moment += timedelta(days=1)
    await setting.core.cmp.expire()  # its use is given back, and serves nobody
    refused = await client(one, card.record.reference).ir(new_key(), None)
    assert refused.failure is Failure.NOT_AUTHORIZED
    [again] = await one.cards((await one.pull(key="pull-0002")).id)
    assert again.record.attempt == 2


async def test_another_plant_s_card_is_refused(setting: Setting, one: APlant) -> None:
    _, card = await waiting_card(setting, one)
    other = await setting.plant("plant-2")
    refused = await client(other, card.record.reference).ir(new_key(), None)
    assert refused.failure is Failure.NOT_AUTHORIZED
    assert await live(setting) == []
