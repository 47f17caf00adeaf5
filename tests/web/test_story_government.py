"""Government organisations (part B of the domain): contract, officers, their tokens, over the REST API.

With mutual TLS and a clock of the test's own. Certificates are fetched over EST.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from pkiserver.core import Core
from tests.web.api_harness import BASE, Client, Desk, Reply, desk
from tests.web.registration_world import ALL_EXPLAINED, World, enrolled, moved

if TYPE_CHECKING:
    from tests.conftest import FakeClock

NUMBER = "1234567"
PATH = f"/organizations/{NUMBER}"
OWN = {"number": NUMBER, "name": "Үндэсний аудитын газар", "mail": "it@audit.gov.mn"}
HEADER = "parent_name,given_name,register_number,civil_id,work_mail,phone,position"
DORJ = "Бат,Дорж,УБ05231418,123456789012,dorj@audit.gov.mn,99112233"
SARAA = "Ган,Сараа,УА90051207,210987654321,saraa@audit.gov.mn,99112234"
OFFICER = {
    "parent_name": "Бат",
    "given_name": "Дорж",
    "mail": "dorj@audit.gov.mn",
    "title": "Мэргэжилтэн",
    "ground": "order 1",
}


@pytest.fixture
async def office(core: Core, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(core, tmp_path, rate=1000, burst=1000) as opened:
        await World(opened).make()  # a civil registry that knows both officers
        yield opened


@pytest.fixture
async def specialist(office: Desk) -> Client:
    return await office.actor("tuya", "specialist")


@pytest.fixture
async def officer(office: Desk) -> Client:
    """The registration officer of an organisation under contract."""
    return await office.actor("boss", "org_officer", organization=await office.organization(NUMBER))


async def contract_step(client: Client, seen: Reply, event: str) -> Reply:
    return await client.post(f"{PATH}/contract", {"event": event, "ground": "letter 7"}, If_Match=seen.etag)


async def sent(client: Client, *rows: str, query: str = "") -> Reply:
    headers = {"Content-Type": "text/csv"}
    octets = "\n".join([HEADER, *rows]).encode()
    return await client.ask("POST", f"{BASE}{PATH}/imports{query}", headers=headers, data=octets)


async def token(specialist: Client, application: int) -> x509.Certificate:
    """Verify an officer's application, and enrol the token."""
    draft = await specialist.get(f"/applications/{application}")
    proof = {"proof": "register_numbers", "text": "the list of letter 12"}
    verified = await moved(specialist, draft, "verify", proof)
    assert verified.body["state"] == "verified", verified.body
    return await enrolled(specialist, (await moved(specialist, verified, "issue", {})).body)


def value(certificate: x509.Certificate, attribute: x509.ObjectIdentifier) -> Any:
    (found,) = certificate.subject.get_attributes_for_oid(attribute)
    return found.value


async def test_part_b_an_organisation_comes_to_its_contract(
    office: Desk, specialist: Client, clock: "FakeClock"
) -> None:
    """It registers itself; a specialist sends the draft; complete and signed, the service begins."""
    assert (await office.nobody().post("/public/organizations", OWN)).body["state"] == "registered"
    registered = await specialist.get(PATH)
    (await contract_step(specialist, registered, "sign_contract")).refused(409, "conflict")
    await specialist.put(f"{PATH}/domains", {"domains": ["audit.gov.mn"]})
    (await specialist.post(f"{PATH}/officers", OFFICER)).refused(409, "conflict")
    clock.advance(timedelta(days=1))
    contract = await contract_step(specialist, registered, "send_contract")
    assert contract.body["state"] == "contract_sent"
    (await specialist.post(f"{PATH}/officers", OFFICER)).refused(409, "conflict")
    clock.advance(timedelta(days=9))
    contracted = await contract_step(specialist, contract, "sign_contract")
    assert contracted.body["state"] == "contracted"
    assert (await specialist.post(f"{PATH}/officers", OFFICER)).status == 200
    (await contract_step(specialist, contract, "sign_contract")).refused(412, "precondition_failed")
    events = contracted.body["events"]
    assert [one["to"] for one in events] == ["registered", "contract_sent", "contracted"]
    assert [one["actor"] for one in events[1:]] == ["actor:tuya"] * 2


async def test_part_b_every_officer_has_a_work_mail_of_an_allowed_domain(
    office: Desk, specialist: Client, officer: Client
) -> None:
    for mail in ("dorj@gmail.com", "dorj@tax.gov.mn", "dorj@evil-audit.gov.mn"):
        reply = await officer.post(f"{PATH}/officers", OFFICER | {"mail": mail})
        reply.refused(400, "bad_request")
    await specialist.put(f"{PATH}/domains", {"domains": ["audit.gov.mn", "audit.edu.mn"]})
    for mail in ("dorj@audit.gov.mn", "dorj@school.audit.edu.mn"):
        added = await officer.post(f"{PATH}/officers", OFFICER | {"mail": mail})
        assert added.body["mail"] == mail
    reply = await sent(officer, f"{DORJ.replace('audit.gov.mn', 'gmail.com')},Дарга", query="?partial=true")
    assert [one["outcome"] for one in reply.body["rows"]] == ["refused"]


async def test_part_b_the_registration_officer_keeps_users_and_positions(
    office: Desk, officer: Client
) -> None:
    """In the own organisation alone, each change on the ground of a paper."""
    added = await officer.post(f"{PATH}/officers", OFFICER)
    one = f"{PATH}/officers/{added.body['officer']}"
    unfounded = await officer.post(f"{one}/position", {"title": "Дарга", "ground": ""})
    unfounded.refused(422, "unprocessable")
    changed = await officer.post(f"{one}/position", {"title": "Дарга", "ground": "order 2"})
    assert changed.body["title"] == "Дарга"
    assert (await officer.post(f"{one}/leave")).body["left_at"] is not None
    await office.organization("7654321")
    for path, body in (
        ("/organizations/7654321/officers", OFFICER),
        (f"{PATH}/contract", {"event": "end", "ground": "x"}),
    ):
        reply = await officer.post(path, body, If_Match='"1"')
        reply.refused(403, "not_authorized")
    (await officer.get("/organizations/7654321/officers")).refused(403, "not_authorized")


async def test_part_b_from_the_list_to_the_token(office: Desk, specialist: Client, officer: Client) -> None:
    """The officer sends list and application; the specialist has it certified as the position says."""
    rows = (f"{DORJ},Мэргэжилтэн", f"{SARAA},Дарга")
    made = await sent(officer, *rows)
    assert (made.body["carried_out"], made.body["made"]) == (True, 2)
    assert (await sent(officer, *rows)).body == made.body
    first, second = (one["application"] for one in made.body["rows"])
    draft = await officer.get(f"/applications/{first}")
    proof = {"proof": "register_numbers", "text": "the list of letter 12"}
    (await moved(officer, draft, "verify", proof)).refused(403, "not_authorized")
    certificates = [await token(specialist, one) for one in (first, second)]
    names = (NameOID.ORGANIZATION_IDENTIFIER, NameOID.TITLE, NameOID.SURNAME, NameOID.GIVEN_NAME)
    assert [[value(one, name) for name in names] for one in certificates] == [
        [f"NTRMN-{NUMBER}", "Мэргэжилтэн", "Бат", "Дорж"],
        [f"NTRMN-{NUMBER}", "Дарга", "Ган", "Сараа"],
    ]
    application = (await specialist.get(f"/applications/{first}")).body
    assert (application["state"], application["profile"], application["carrier"]) == (
        *("issued", "government-token", "token"),
    )
    assert application["ca"].startswith("government")


async def test_part_b_a_new_position_has_a_new_certificate(
    office: Desk, specialist: Client, officer: Client
) -> None:
    made = await sent(officer, f"{DORJ},Мэргэжилтэн")
    old = await token(specialist, made.body["rows"][0]["application"])
    again = await sent(officer, f"{DORJ},Дарга")
    assert again.body["rows"][0]["outcome"] == "known"  # one application at a time
    application = await specialist.get(f"/applications/{made.body['rows'][0]['application']}")
    for step, body in (
        ("sign-off", {"ground": "letter 12"}),
        ("deliver", ALL_EXPLAINED),
        ("close", {"archive_unit": "2026/17/4"}),
    ):
        application = await moved(specialist, application, step, body)
    promoted = await sent(officer, f"{DORJ},Ахлах")
    new = await token(specialist, promoted.body["rows"][0]["application"])
    assert (value(old, NameOID.TITLE), value(new, NameOID.TITLE)) == ("Мэргэжилтэн", "Ахлах")


async def test_part_b_nothing_for_an_organisation_whose_contract_ended(
    office: Desk, specialist: Client, officer: Client
) -> None:
    made = await sent(officer, f"{DORJ},Мэргэжилтэн", f"{SARAA},Дарга")
    first = made.body["rows"][0]["application"]
    draft = await specialist.get(f"/applications/{first}")
    proof = {"proof": "register_numbers", "text": "the list of letter 12"}
    verified = await moved(specialist, draft, "verify", proof)
    ended = await contract_step(specialist, await specialist.get(PATH), "end")
    assert ended.body["state"] == "ended"
    withdrawn = await specialist.get(f"/applications/{first}")
    assert (verified.body["state"], withdrawn.body["state"]) == ("verified", "withdrawn")
    (await moved(specialist, withdrawn, "issue", {})).refused(409, "conflict")
    (await officer.post(f"{PATH}/officers", OFFICER)).refused(409, "conflict")
    (await sent(officer, f"{DORJ},Зөвлөх")).refused(409, "conflict")


async def test_part_b_a_lost_token_is_revoked(office: Desk, specialist: Client, officer: Client) -> None:
    made = await sent(officer, f"{DORJ},Мэргэжилтэн")
    certificate = await token(specialist, made.body["rows"][0]["application"])
    application = (await specialist.get(f"/applications/{made.body['rows'][0]['application']}")).body
    registrar = await office.actor("bat", "registrar")
    named = f"/certificates/{application['ca']}/{certificate.serial_number:032x}"
    seen = await registrar.get(named)
    assert seen.body["state"] == "active"
    reasons = {"reason": "keyCompromise"}
    (await officer.post(f"{named}/revoke", reasons, If_Match=seen.etag)).refused(403, "not_authorized")
    revoked = await registrar.post(f"{named}/revoke", reasons, If_Match=seen.etag)
    assert revoked.body["state"] == "revoked", revoked.octets
    back = await registrar.post(f"{named}/restore", {"ground": "holder_request"}, If_Match=revoked.etag)
    back.refused(409, "conflict")
