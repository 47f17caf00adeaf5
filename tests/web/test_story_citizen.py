"""The regulation on citizens' certificates, clause by clause, as registrars, kiosks and holders live it.

Over the REST API with mutual TLS and a clock of the test's own. Certificates are fetched over EST.
"""

import json
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from config.units import Lifetime
from pkiserver.ca.identity import certificate_identity
from pkiserver.core import Core
from pkiserver.ra.registration.numbers import today
from protocols import oid
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cms.content_info import IssuerAndSerialNumber
from protocols.cms.signing import assemble, signed_attributes
from protocols.x509.certificate import TBSCertificate, serial_text
from tests.ra.plant_setting import csr_of, new_key
from tests.web.api_harness import BASE, Client, Desk, Reply, desk
from tests.web.registration_world import (
    ALL_EXPLAINED,
    DRAFT,
    FORM,
    OTHER_FORM,
    PROOF,
    World,
    citizen,
    enrolled,
    moved,
    on_behalf_of,
)
from tests.web.test_api_plant import certificate_in, pulled
from tests.web.test_api_plant import enrolled as enrolled_by_plant

if TYPE_CHECKING:
    from tests.conftest import FakeClock

WINDOW = timedelta(days=60)  # of the shipped profile: renewal begins that long before the end


@pytest.fixture
async def office(core: Core, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(core, tmp_path, rate=1000, burst=1000) as opened:
        yield opened


@pytest.fixture
async def world(office: Desk) -> World:
    return await World(office).make()


@pytest.fixture
async def registrar(world: World) -> Client:
    return await world.registrar()


async def shown(client: Client, reply: Reply) -> Reply:
    return await client.get(f"/applications/{reply.body['application']}")


async def last_detail(client: Client, reply: Reply) -> Any:
    return json.loads((await shown(client, reply)).body["events"][-1]["detail"])


async def issued(
    registrar: Client,
    draft: dict[str, Any] = DRAFT,
    proof: dict[str, str] = PROOF,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> tuple[Reply, x509.Certificate]:
    """Have a citizen apply and enrol; return the application and its certificate."""
    verified = await moved(registrar, await registrar.post("/applications", draft), "verify", proof)
    credential = await moved(registrar, verified, "issue", {})
    certificate = await enrolled(registrar, credential.body, key)
    return await shown(registrar, verified), certificate


def born(day: date) -> dict[str, Any]:
    """Return a form of somebody who was born on a day of this century."""
    number = f"УБ{day:%y}{day.month + 20:02d}{day:%d}19"
    return FORM | {"birth_date": day.isoformat(), "register_number": number, "civil_id": "123456789099"}


# ---- 1: whom it is for


async def test_regulation_1_1_whoever_is_no_citizen_gets_none(world: World, registrar: Client) -> None:
    stranger = citizen(FORM, "check-1") | {"entitled": False}
    world.core.home.civil_registry.write_text(json.dumps(stranger) + "\n")
    draft = await registrar.post("/applications", DRAFT)
    returned = await moved(registrar, draft, "verify", PROOF)
    assert returned.body["state"] == "returned"
    assert await last_detail(registrar, draft) == {"fields": ["citizenship"]}


async def test_regulation_1_2_certificates_of_other_purpose_are_of_another_scheme(
    registrar: Client,
) -> None:
    for profile in ("government-token", "tls-server"):
        (await registrar.post("/applications", DRAFT | {"profile": profile})).refused(422, "unprocessable")
    application, certificate = await issued(registrar)
    assert application.body["ca"].startswith("citizen")
    assert certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME) == []


# ---- 2: the application and its certificate


async def test_regulation_2_1_from_sixteen_on(world: World, registrar: Client, clock: "FakeClock") -> None:
    day = today(clock.now())
    sixteen = day.replace(year=day.year - 16)
    reply = await registrar.post("/applications", DRAFT | {"form": born(sixteen)})
    assert reply.body["state"] == "draft"
    reply = await registrar.post("/applications", DRAFT | {"form": born(sixteen + timedelta(days=1))})
    reply.refused(422, "unprocessable")
    assert [one["field"] for one in reply.body["fields"]] == ["form.birth_date"]


async def test_regulation_2_1_in_person_anywhere_and_never_remote(world: World, office: Desk) -> None:
    """Whatever the address in the form, every office takes it: branch, service centre, kiosk and mission."""
    elsewhere = await world.registrar("ganaa", "ub-2")
    far = FORM | {"aimag": "Ховд", "district": "Жаргалант"}
    for channel in ("branch", "service_centre", "mission"):
        draft = {"office": "ub-2", "channel": channel, "form": far}
        made = await elsewhere.post("/applications", draft)
        assert (made.body["office"], made.body["channel"]) == ("ub-2", channel)
        assert (await moved(elsewhere, made, "verify", PROOF)).body["state"] == "verified"
    kiosk = await office.actor("kiosk", "service")
    headers = on_behalf_of(FORM["civil_id"])
    made = await kiosk.ask("POST", f"{BASE}/applications", DRAFT | {"channel": "kiosk"}, headers)
    assert made.body["channel"] == "kiosk"
    step = f"{BASE}/applications/{made.body['application']}/verify"
    refused = await kiosk.ask("POST", step, PROOF, headers | {"If-Match": made.etag})
    refused.refused(403, "not_authorized")
    (await elsewhere.post("/applications", DRAFT | {"channel": "online"})).refused(422, "unprocessable")


async def test_regulation_2_1_the_first_signature_certificate_is_not_signed_for(
    world: World, registrar: Client, office: Desk, clock: "FakeClock"
) -> None:
    key = new_key()
    _, other = await issued(registrar, DRAFT | {"profile": "citizen-authentication"}, key=key)
    reply = await renewal(office.nobody(), other, key, clock)
    assert "no citizen-signature certificate" in reply.refused(403, "not_authorized")


async def test_regulation_2_2_what_the_application_holds(world: World, registrar: Client) -> None:
    """Names, numbers, phone and mail, restriction, and a limit, which goes into the certificate."""
    limited, certificate = await issued(registrar)
    assert limited.body["form"] == FORM | {"clan_name": None, "phone": "+97699112233"}
    assert certificate_identity(certificate).limit_mnt == FORM["limit_mnt"]
    unlimited = FORM | {"value_limited": False, "limit_mnt": None, "use_restricted": True}
    application, certificate = await issued(registrar, DRAFT | {"form": unlimited})
    assert application.body["form"]["use_restricted"] is True
    assert certificate_identity(certificate).limit_mnt is None
    for field in ("parent_name", "given_name", "civil_id", "phone", "mail", "use_restricted"):
        form = {name: value for name, value in FORM.items() if name != field}
        reply = await registrar.post("/applications", DRAFT | {"form": form})
        reply.refused(422, "unprocessable")
        assert f"form.{field}" in [one["field"] for one in reply.body["fields"]]


async def test_regulation_2_3_by_fingerprint(world: World, registrar: Client) -> None:
    verified = await moved(registrar, await registrar.post("/applications", DRAFT), "verify", PROOF)
    assert (verified.body["state"], verified.body["proof"]) == ("verified", "fingerprint")
    differing = [*("register_number", "civil_id", "birth_date", "parent_name", "given_name")]
    for reference, fields in (("check-2", differing), ("check-9", ["register_number", "civil_id"])):
        draft = await registrar.post("/applications", DRAFT)
        proof = {"proof": "fingerprint", "text": reference}
        assert (await moved(registrar, draft, "verify", proof)).body["state"] == "returned"
        assert await last_detail(registrar, draft) == {"fields": fields}


async def test_regulation_2_4_by_numbers_with_a_reason(world: World, registrar: Client) -> None:
    draft = await registrar.post("/applications", DRAFT)
    without = await moved(registrar, draft, "verify", {"proof": "register_numbers", "text": ""})
    without.refused(422, "unprocessable")
    numbers = {"proof": "register_numbers", "text": "the reader is broken"}
    verified = await moved(registrar, draft, "verify", numbers)
    assert (verified.body["state"], verified.body["proof"]) == ("verified", "register_numbers")
    unknown = FORM | {"civil_id": "123456789013"}
    draft = await registrar.post("/applications", DRAFT | {"form": unknown})
    assert (await moved(registrar, draft, "verify", numbers)).body["state"] == "returned"


async def test_regulation_2_5_data_that_agree_lead_to_the_certificate(
    world: World, registrar: Client, office: Desk
) -> None:
    """Phone and mail are on record, then the request goes to the system, which makes the certificate once."""
    draft = await registrar.post("/applications", DRAFT)
    (await moved(registrar, draft, "issue", {})).refused(409, "conflict")
    verified = await moved(registrar, draft, "verify", PROOF)
    person = (await registrar.get(f"/people/{verified.body['person']}")).body
    assert (person["phone"], person["mail"]) == ("+97699112233", FORM["mail"])
    credential = await moved(registrar, verified, "issue", {})
    assert (await shown(registrar, draft)).body["state"] == "issuing"
    certificate = await enrolled(office.nobody(), credential.body)
    application = await shown(registrar, draft)
    assert application.body["state"] == "issued"
    assert application.body["serial"] == serial_text(certificate.serial_number)
    (await moved(registrar, application, "issue", {})).refused(409, "conflict")


async def test_regulation_2_6_the_form_is_confirmed_and_archived(world: World, registrar: Client) -> None:
    verified = await moved(registrar, await registrar.post("/applications", DRAFT), "verify", PROOF)
    (await moved(registrar, verified, "sign-off", {"ground": "stamp 12"})).refused(409, "conflict")
    application, _ = await issued(registrar)
    signed_off = await moved(registrar, application, "sign-off", {"ground": "stamp 12"})
    (await moved(registrar, signed_off, "close", {"archive_unit": "2026/17/4"})).refused(409, "conflict")
    delivered = await moved(registrar, signed_off, "deliver", ALL_EXPLAINED)
    (await moved(registrar, delivered, "close", {})).refused(422, "unprocessable")
    closed = await moved(registrar, delivered, "close", {"archive_unit": "2026/17/4"})
    assert closed.body["state"] == "closed"
    confirmed, *_, archived = (await shown(registrar, closed)).body["events"][-3:]
    assert (confirmed["to"], confirmed["actor"], confirmed["ground"]) == (
        *("signed_off", "actor:bat", "stamp 12"),
    )
    assert "2026/17/4" in archived["ground"] + archived["detail"]


async def test_regulation_2_7_handed_over_with_four_explanations(world: World, registrar: Client) -> None:
    application, _ = await issued(registrar)
    (await moved(registrar, application, "deliver", ALL_EXPLAINED)).refused(409, "conflict")
    signed_off = await moved(registrar, application, "sign-off", {"ground": "stamp 12"})
    for missing in ALL_EXPLAINED["acknowledged"]:
        others = [one for one in ALL_EXPLAINED["acknowledged"] if one != missing]
        reply = await moved(registrar, signed_off, "deliver", ALL_EXPLAINED | {"acknowledged": others})
        assert f"not acknowledged: {missing}" in reply.refused(400, "bad_request")
    delivered = await moved(registrar, signed_off, "deliver", ALL_EXPLAINED)
    assert delivered.body["state"] == "delivered"
    event = (await shown(registrar, delivered)).body["events"][-1]
    assert event["at"]
    assert ALL_EXPLAINED["text_version"] in event["detail"]


async def test_regulation_2_8_the_plant_writes_the_card(
    world: World, registrar: Client, office: Desk
) -> None:
    draft = await registrar.post("/applications", DRAFT | {"delivery": "plant"})
    verified = await moved(registrar, draft, "verify", PROOF)
    (await moved(registrar, verified, "issue", {})).refused(409, "conflict")
    plant = await office.actor("plant-1", "plant", "registration-client")
    batch = (await pulled(plant))["batch"]
    [card] = (await plant.get(f"/plant/batches/{batch}/cards")).body["items"]
    assert card["application"] == draft.body["application"]
    certificate = certificate_in(await enrolled_by_plant(plant, card["card"], csr_of(new_key())))
    result = {"result": "issued", "carrier": "04A1B2C3"}
    await plant.post(f"/plant/batches/{batch}/cards/{card['card']}/result", result)
    application = (await shown(registrar, verified)).body
    assert (application["state"], application["serial"]) == (
        "issued",
        serial_text(certificate.serial_number),
    )


async def test_regulation_2_9_five_years_and_renewed_with_the_own_signature(
    world: World, registrar: Client, office: Desk, clock: "FakeClock"
) -> None:
    key, new = new_key(), new_key()
    _, certificate = await issued(registrar, key=key)
    lasts = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert timedelta(days=5 * 365) <= lasts <= timedelta(days=5 * 365 + 3)
    early = await renewal(office.nobody(), certificate, key, clock)
    assert "may be renewed from" in early.refused(403, "not_authorized")
    clock.moment = certificate.not_valid_after_utc - WINDOW
    given = await renewal(office.nobody(), certificate, key, clock)
    assert given.status == 200, given.octets
    renewed = await enrolled(office.nobody(), given.body, new)
    assert renewed.subject == certificate.subject
    assert renewed.not_valid_after_utc > certificate.not_valid_after_utc
    application = await office.command("application.show", application=given.body["application"])
    assert (application["state"], application["channel"], application["proof"]) == (
        *("issued", "online", "own_signature"),
    )


async def test_regulation_2_9_afterwards_with_another_certificate_of_the_same_person(
    world: World, registrar: Client, office: Desk, clock: "FakeClock"
) -> None:
    profiles = world.core.profiles
    assert isinstance(profiles, dict)  # the authority lives for ten years: two lives of five do not fit in
    short = profiles["citizen-signature"].model_copy(update={"lifetime": Lifetime.parse("1y")})
    profiles["citizen-signature"] = short
    key, other_key = new_key(), new_key()
    _, certificate = await issued(registrar, key=key)
    clock.moment = certificate.not_valid_after_utc - timedelta(days=200)
    proof = {"fingerprint": None, "reason": "the reader is broken", "version": None}
    given = {"office": "ub-1", "channel": "branch", "carrier": "token", "profile": "citizen-authentication"}
    made = await office.command("application.create", fields=FORM, **given)
    await office.command("application.verify", application=made["id"], **proof)
    credential = await office.command("application.issue", application=made["id"], use="est", version=None)
    other = await enrolled(office.nobody(), credential, other_key)
    clock.moment = certificate.not_valid_after_utc + timedelta(days=30)
    expired = await renewal(office.nobody(), certificate, key, clock)
    assert "expired" in expired.refused(403, "not_authorized")
    somebody_else = await renewal(office.nobody(), other, other_key, clock, OTHER_FORM)
    somebody_else.refused(403, "not_authorized")
    accepted = await renewal(office.nobody(), other, other_key, clock)
    assert accepted.status == 200, accepted.octets
    renewed = await enrolled(office.nobody(), accepted.body)
    assert renewed.subject == certificate.subject


async def test_regulation_2_10_data_that_differ_are_returned_at_once(
    world: World, registrar: Client, clock: "FakeClock"
) -> None:
    wrong = FORM | {"given_name": "Дорждэрэм", "parent_name": "Болд"}
    draft = await registrar.post("/applications", DRAFT | {"form": wrong})
    returned = await moved(registrar, draft, "verify", PROOF)
    assert returned.body["state"] == "returned"
    application = await shown(registrar, draft)
    event = application.body["events"][-1]
    assert json.loads(event["detail"]) == {"fields": ["parent_name", "given_name"]}
    assert event["at"] == clock.now().isoformat().replace("+00:00", "Z")
    for step, body in (("verify", PROOF), ("issue", {}), ("withdraw", {"ground": "x"})):
        (await moved(registrar, application, step, body)).refused(409, "conflict")
    again = await registrar.post("/applications", DRAFT)
    assert (await moved(registrar, again, "verify", PROOF)).body["state"] == "verified"


async def test_regulation_2_11_another_carrier_than_the_card(world: World, registrar: Client) -> None:
    """Several a person: each is an application, with a certificate of its own."""
    found = [await issued(registrar, DRAFT | {"carrier": one}) for one in ("id_card", "token", "mobile")]
    assert [one.body["carrier"] for one, _ in found] == ["id_card", "token", "mobile"]
    assert len({one.body["person"] for one, _ in found}) == 1
    assert len({certificate.serial_number for _, certificate in found}) == 3
    (await registrar.post("/applications", DRAFT | {"carrier": "paper"})).refused(422, "unprocessable")


async def renewal(
    client: Client,
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    clock: "FakeClock",
    form: dict[str, Any] = FORM,
) -> Reply:
    """Send an application for renewal, signed by a certificate's holder (RFC 5652)."""
    challenge = (await client.post("/renewals/challenge")).body["challenge"]
    values = {"type": "renewal", "challenge": challenge, "profile": "citizen-signature"}
    content = json.dumps(values | {"carrier": "id_card", "use": "est", "form": form}).encode()
    der = certificate.public_bytes(Encoding.DER)
    tbs = TBSCertificate.of_certificate(der)
    attributes = signed_attributes(
        oid.PKCS7_DATA, content, digest_algorithm=oid.SHA256, signing_time=clock.now()
    )
    message = assemble(
        oid.PKCS7_DATA,
        content,
        attributes,
        signer=IssuerAndSerialNumber(tbs.issuer_der, tbs.serial_number),
        digest_algorithm=oid.SHA256,
        signature_algorithm=AlgorithmIdentifier(oid.ECDSA_WITH_SHA256).encode(),
        signature=key.sign(attributes, ec.ECDSA(SHA256())),
        certificates=(der,),
    )
    headers = {"Content-Type": "application/cms"}
    return await client.ask("POST", f"{BASE}/renewals", headers=headers, data=message)
