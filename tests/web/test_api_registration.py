"""Applications over the API: the whole way to a delivered carrier, and what turns it back."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pkiserver.core import Core
from pkiserver.errors import NotAuthorizedError, UnavailableError
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from protocols.x509.certificate import serial_text
from store import api_requests
from tests.web.api_harness import Client, Desk, desk, path_of
from tests.web.registration_world import (
    ALL_EXPLAINED,
    DRAFT,
    FORM,
    OTHER_FORM,
    PROOF,
    World,
    enrolled,
    moved,
    on_behalf_of,
)

if TYPE_CHECKING:
    from tests.conftest import FakeClock

KEY = "5f0d7d0e-9d7c-4b1e-8f4c-1f3f6b7c9a10"


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


async def test_regulation_2_8_the_plant_makes_the_card(registrar: Client, office: Desk) -> None:
    draft = await registrar.post("/applications", DRAFT | {"delivery": "plant"})
    assert draft.body["delivery"] == "plant"
    await moved(registrar, draft, "verify", PROOF)
    listed = (await registrar.get("/applications")).body["items"]
    assert [(one["state"], one["delivery"]) for one in listed] == [("verified", "plant")]
    plant = await office.actor("plant-1", "plant", "registration-client")
    assert (await plant.post("/plant/batches", {"size": 1})).body["cards"] == 1
    token = DRAFT | {"delivery": "plant", "carrier": "token"}
    assert "makes identity cards alone" in (await registrar.post("/applications", token)).refused(
        400, "bad_request"
    )


async def test_regulation_2_1_to_2_7_one_whole_application(
    world: World, registrar: Client, office: Desk
) -> None:
    draft = await registrar.post("/applications", DRAFT)
    assert (draft.body["state"], draft.body["office"], draft.etag) == ("draft", "ub-1", '"1"')
    assert draft.body["delivery"] == "office"
    verified = await moved(registrar, draft, "verify", PROOF)
    assert (verified.body["state"], verified.body["proof"]) == ("verified", "fingerprint")
    credential = await moved(registrar, verified, "issue", {})
    certificate = await enrolled(office.nobody(), credential.body)
    assert "PNOMN-123456789012" in certificate.subject.rfc4514_string()
    path = f"/applications/{draft.body['application']}"
    issued = await registrar.get(path)
    assert (issued.body["state"], issued.body["serial"]) == (
        "issued",
        serial_text(certificate.serial_number),
    )
    assert issued.body["form"] == FORM | {"clan_name": None, "phone": "+97699112233"}
    signed_off = await moved(registrar, issued, "sign-off", {"ground": "stamp 12"})
    delivered = await moved(registrar, signed_off, "deliver", ALL_EXPLAINED)
    closed = await moved(registrar, delivered, "close", {"archive_unit": "2026/17/4"})
    assert closed.body["state"] == "closed"
    shown = await registrar.get(path)
    assert [one["to"] for one in shown.body["events"]] == [
        *("draft", "verified", "issuing", "issued", "signed_off", "delivered", "closed"),
    ]
    assert all(one["actor"] and one["ground"] and one["at"] for one in shown.body["events"])
    assert (await registrar.get(path, If_None_Match=shown.etag)).status == 304
    assert len(await office.audited("application.read")) == 3


async def test_regulation_2_10_other_data_in_the_registry(world: World, registrar: Client) -> None:
    draft = await registrar.post("/applications", DRAFT | {"form": FORM | {"given_name": "Дорждэрэм"}})
    returned = await moved(registrar, draft, "verify", PROOF)
    assert returned.body["state"] == "returned"
    shown = await registrar.get(f"/applications/{draft.body['application']}")
    assert json.loads(shown.body["events"][-1]["detail"]) == {"fields": ["given_name"]}


async def test_regulation_2_7_all_four_explanations(world: World, registrar: Client, office: Desk) -> None:
    verified = await moved(registrar, await registrar.post("/applications", DRAFT), "verify", PROOF)
    await enrolled(office.nobody(), (await moved(registrar, verified, "issue", {})).body)
    issued = await registrar.get(f"/applications/{verified.body['application']}")
    signed_off = await moved(registrar, issued, "sign-off", {"ground": "stamp 12"})
    three = ALL_EXPLAINED | {"acknowledged": ALL_EXPLAINED["acknowledged"][:3]}
    reason = (await moved(registrar, signed_off, "deliver", three)).refused(400, "bad_request")
    assert reason == "not acknowledged: liability (regulation 2.7)"


async def test_what_fails_is_issued_again_or_returned(world: World, registrar: Client, office: Desk) -> None:
    verified = await moved(registrar, await registrar.post("/applications", DRAFT), "verify", PROOF)
    first = await moved(registrar, verified, "issue", {"use": "cmp"})
    failed = await moved(registrar, first, "fail", {"ground": "no card"})
    assert failed.body["state"] == "failed"
    second = await moved(registrar, failed, "issue", {})
    assert second.body["reference"] != first.body["reference"]
    again = await moved(
        registrar, await moved(registrar, second, "fail", {"ground": "x"}), "return", {"ground": "x"}
    )
    assert again.body["state"] == "returned"


async def test_a_carrier_that_does_not_take_its_certificate(
    world: World, registrar: Client, office: Desk
) -> None:
    verified = await moved(registrar, await registrar.post("/applications", DRAFT), "verify", PROOF)
    await enrolled(office.nobody(), (await moved(registrar, verified, "issue", {})).body)
    issued = await registrar.get(f"/applications/{verified.body['application']}")
    broken = {"ground": "the chip is broken"}
    assert "must be revoked first" in (await moved(registrar, issued, "replace", broken)).refused(
        409, "conflict"
    )
    named = f"/certificates/{issued.body['ca']}/{issued.body['serial']}"
    seen = (await registrar.get(named)).etag
    await registrar.post(f"{named}/revoke", {"reason": "superseded"}, If_Match=seen)
    await enrolled(office.nobody(), (await moved(registrar, issued, "replace", broken)).body)
    assert (await registrar.get(f"/applications/{verified.body['application']}")).body["state"] == "issued"


class TestForms:
    async def test_every_fault_is_named_at_once_in_the_reader_s_language(self, registrar: Client) -> None:
        """Clauses 2.1 and 2.2: age, numbers against each other, the limit that 14 requires."""
        wrong = FORM | {"birth_date": "2015-03-14", "phone": "1", "limit_mnt": None}
        english = await registrar.post("/applications", {"office": "ub-1", "form": wrong})
        english.refused(422, "unprocessable")
        assert {one["field"]: one["problem"] for one in english.body["fields"]} == {
            "form.birth_date": "an applicant is 16 or older (regulation 2.1)",
            "form.phone": "a phone number is +976 and eight digits",
            "form.limit_mnt": "it is required where the value is limited",
        }
        mongolian = await registrar.post(
            "/applications", {"office": "ub-1", "form": wrong}, Accept_Language="mn"
        )
        assert mongolian.body["fields"][1]["problem"] == "ашиглагдаж байгаа дугаар байна: +976, найман цифр"
        assert "2015-03-14" not in english.octets.decode() + mongolian.octets.decode()

    async def test_an_office_that_is_none(self, registrar: Client) -> None:
        (await registrar.post("/applications", DRAFT | {"office": "ub-9"})).refused(404, "not_found")


class TestLists:
    async def test_filters_and_pages(
        self, world: World, registrar: Client, office: Desk, clock: "FakeClock"
    ) -> None:
        auditor = await office.actor("saikhan", "auditor")
        made = [(await world.draft()).id for _ in range(3)]
        clock.advance(timedelta(hours=1))
        since = clock.now().isoformat().replace("+00:00", "Z")
        known = await world.verified()
        elsewhere = await world.draft("ub-2", OTHER_FORM)

        async def found(client: Client, query: str = "") -> list[int]:
            reply = await client.get(f"/applications{query}")
            return [one["application"] for one in reply.body["items"]]

        assert await found(registrar) == [known.id, *reversed(made)]
        assert await found(registrar, "?state=verified") == [known.id]
        assert await found(registrar, f"?created_from={since}") == [known.id]
        assert await found(registrar, f"?created_until={since}&office=ub-1") == made[::-1]
        assert await found(registrar, f"?person={known.person}") == [known.id]
        first = await registrar.get("/applications?limit=2")
        assert await found(registrar, f"?limit=2&after={first.body['next']}") == made[1::-1]
        assert (await found(auditor))[0] == elsewhere.id
        assert await found(auditor, "?office=ub-2") == [elsewhere.id]
        (await registrar.get("/applications?office=ub-2")).refused(403, "not_authorized")

    async def test_names_are_found_by_prefix_without_regard_to_capitals(
        self, world: World, registrar: Client, office: Desk
    ) -> None:
        known = await world.verified()
        await world.draft("ub-2", OTHER_FORM)
        for prefix in ("ДОР", "дорж б"):
            people = await registrar.post("/people/search", {"name": prefix})
            assert [one["person"] for one in people.body["items"]] == [known.person]
            reply = await registrar.post("/applications/search", {"name": prefix})
            assert [one["application"] for one in reply.body["items"]] == [known.id]
        assert (await registrar.post("/people/search", {"name": "бат дорж"})).body["items"] != []
        for number in ({"civil_id": FORM["civil_id"]}, {"register_number": "уб05231418"}):
            assert len((await registrar.post("/people/search", number)).body["items"]) == 1
        for neither in ({}, {"name": "д", "civil_id": FORM["civil_id"]}):
            (await registrar.post("/people/search", neither)).refused(400, "bad_request")
        assert [json.loads(one.detail)["by"] for one in await office.audited("person.find")] == [
            *("name", "name", "name", "civil_id", "register_number"),
        ]


class TestPeople:
    async def test_reading_and_correcting(self, world: World, office: Desk) -> None:
        person = (await world.verified()).person
        senior = await world.registrar("oyun", role="senior_registrar")
        shown = await senior.get(f"/people/{person}")
        assert {name: shown.body[name] for name in ("civil_id", "mail", "given_name")} == {
            name: FORM[name] for name in ("civil_id", "mail", "given_name")
        }
        changes = {"ground": "moved", "address": "2-р хороо 7-1"}
        corrected = await senior.post(f"/people/{person}/correct", changes, If_Match=shown.etag)
        assert corrected.body["address"] == "2-р хороо 7-1"
        stale = await senior.post(f"/people/{person}/correct", changes, If_Match=shown.etag)
        stale.refused(412, "precondition_failed")
        (change,) = (await senior.get(f"/people/{person}/history")).body["items"]
        assert (change["field"], change["before"], change["actor"], change["ground"]) == (
            *("address", FORM["address"], "actor:oyun", "moved"),
        )
        assert {one.actor for one in await office.audited("person.read")} == {"actor:oyun"}
        assert len(await office.audited("person.history")) == 1

    async def test_nobody_corrects_themselves(self, world: World, office: Desk) -> None:
        person = (await world.verified()).person
        senior = await office.actor("oyun", "senior_registrar", office="ub-1", civil_id=FORM["civil_id"])
        seen = (await senior.get(f"/people/{person}")).etag
        changes = {"ground": "moved", "address": "2-р хороо 7-1"}
        reply = await senior.post(f"/people/{person}/correct", changes, If_Match=seen)
        assert "own certificate or application" in reply.refused(403, "not_authorized")


async def test_who_is_not_on_record_yet_does_not_act_on_the_own_application(
    world: World, office: Desk
) -> None:
    oneself = await office.actor("dorj", "registrar", office="ub-1", civil_id=FORM["civil_id"])
    own = "own certificate or application"
    assert own in (await oneself.post("/applications", DRAFT)).refused(403, "not_authorized")
    registrar = await world.registrar()
    draft = await registrar.post("/applications", DRAFT)
    for step, body in (("verify", PROOF), ("return", {"ground": "mine"}), ("withdraw", {"ground": "mine"})):
        assert own in (await moved(oneself, draft, step, body)).refused(403, "not_authorized")
    assert len(await office.audited("registration.verify_application")) == 2
    other = await moved(
        oneself, await oneself.post("/applications", DRAFT | {"form": OTHER_FORM}), "verify", PROOF
    )
    assert other.status == 200
    # Verified by somebody else, it is a person's on record: the actor is that person from then on.
    verified = await moved(registrar, draft, "verify", PROOF)
    assert (await office.command("actor.show", name="dorj"))["person"] == verified.body["person"]
    assert own in (await moved(oneself, verified, "issue", {})).refused(403, "not_authorized")


async def test_nobody_acts_on_the_own_application_or_certificate(world: World, office: Desk) -> None:
    known = await world.verified()
    oneself = await office.actor("dorj", "registrar", office="ub-1", civil_id=FORM["civil_id"])
    for step, body in (("issue", {}), ("withdraw", {"ground": "mine"})):
        reply = await oneself.post(f"/applications/{known.id}/{step}", body, If_Match=f'"{known.version}"')
        assert "own certificate or application" in reply.refused(403, "not_authorized")
    reply = await oneself.post("/applications", DRAFT)
    reply.refused(403, "not_authorized")
    registrar = await world.registrar()
    started = await registrar.post(f"/applications/{known.id}/issue", {}, If_Match=f'"{known.version}"')
    await enrolled(office.nobody(), started.body)
    issued = (await registrar.get(f"/applications/{known.id}")).body
    named = f"/certificates/{issued['ca']}/{issued['serial']}"
    seen = (await oneself.get(named)).etag
    reply = await oneself.post(f"{named}/suspend", {"ground": "holder_request"}, If_Match=seen)
    assert "own certificate or application" in reply.refused(403, "not_authorized")
    reply = await registrar.post(f"{named}/suspend", {"ground": "holder_request"}, If_Match=seen)
    assert reply.status == 200
    # A renewed one came of no application: it is known by the subject.
    first = (await registrar.get(named)).body
    renewed = path_of(world.core, await office.issue("renewed", subject=first["subject"]))
    seen = (await oneself.get(renewed)).etag
    reply = await oneself.post(f"{renewed}/revoke", {"reason": "superseded"}, If_Match=seen)
    assert "own certificate or application" in reply.refused(403, "not_authorized")


@pytest.mark.usefixtures("world")
class TestServices:
    """A connected system asks for the holder whom it identified, and says how."""

    async def test_of_the_holder_alone(self, office: Desk) -> None:
        kiosk = await office.actor("kiosk", "service")
        mine = on_behalf_of(FORM["civil_id"], "fingerprint", "check-77")
        made = await kiosk.ask("POST", "/api/v1/applications", DRAFT | {"channel": "kiosk"}, mine)
        assert made.status == 200
        path = f"/api/v1/applications/{made.body['application']}"
        assert (await kiosk.ask("GET", path, headers=mine)).body["form"]["given_name"] == "Дорж"
        theirs = on_behalf_of(OTHER_FORM["civil_id"])
        for asked in (
            kiosk.ask("GET", path, headers=theirs),
            kiosk.ask("GET", path),
            kiosk.ask("POST", "/api/v1/applications", DRAFT, theirs),
            kiosk.ask("POST", f"{path}/withdraw", {"ground": "x"}, theirs | {"If-Match": made.etag}),
        ):
            (await asked).refused(403, "not_authorized")
        gone = await kiosk.ask("POST", f"{path}/withdraw", {"ground": "x"}, mine | {"If-Match": made.etag})
        assert gone.body["state"] == "withdrawn"
        told = [json.loads(one.detail) for one in await office.audited("api.on_behalf")]
        assert {(one["identified_by"], one["reference"]) for one in told} == {
            ("fingerprint", "check-77"),
            ("fingerprint", "check-1"),
        }
        assert not any(FORM["civil_id"] in json.dumps(one) for one in told)

    async def test_lists_are_of_the_holder(self, world: World, office: Desk) -> None:
        known = await world.verified()
        await world.verified("ub-2", OTHER_FORM)
        kiosk = await office.actor("kiosk", "service")
        path = "/api/v1/applications"
        mine = await kiosk.ask("GET", path, headers=on_behalf_of(FORM["civil_id"]))
        assert [one["application"] for one in mine.body["items"]] == [known.id]
        assert (await kiosk.ask("GET", path, headers=on_behalf_of("1" * 12))).body["items"] == []
        assert (await kiosk.ask("GET", path)).body["items"] == []

    async def test_a_kept_answer_is_of_one_holder_alone(self, world: World, office: Desk) -> None:
        """A key that comes again for another holder gets them nothing of the first one's."""
        kiosk = await office.actor("kiosk", "service")
        made = await world.verified()
        path, body = f"/api/v1/applications/{made.id}/withdraw", {"ground": "x"}
        more = {"If-Match": f'"{made.version}"', "Idempotency-Key": KEY}
        first = await kiosk.ask("POST", path, body, on_behalf_of(FORM["civil_id"]) | more)
        assert first.status == 200
        theirs = await kiosk.ask("POST", path, body, on_behalf_of(OTHER_FORM["civil_id"]) | more)
        theirs.refused(422, "unprocessable")
        (await kiosk.ask("POST", path, body, more)).refused(422, "unprocessable")
        again = on_behalf_of(FORM["civil_id"], "fingerprint", "check-2")  # identified once more
        assert (await kiosk.ask("POST", path, body, again | more)).octets == first.octets

    async def test_both_roles_together_reach_no_further(self, world: World) -> None:
        """A holder whom a service identified opens no other office to a registrar."""
        theirs, _ = await world.verified("ub-2"), await world.verified("ub-2", OTHER_FORM)
        ours = await world.draft("ub-1")
        roles = (Assignment(Role.REGISTRAR, office=ours.office), Assignment(Role.SERVICE))
        both = Actor("both", roles, on_behalf_of=theirs.person)
        search = world.core.registration.application_search
        with pytest.raises(NotAuthorizedError):
            await search.newest(both, office="ub-2")
        assert [one.id for one in await search.newest(both, office="ub-1")] == [ours.id]

    async def test_nobody_else_asks_on_behalf(self, registrar: Client) -> None:
        reply = await registrar.ask("GET", "/api/v1/offices", headers=on_behalf_of(FORM["civil_id"]))
        assert "only a service" in reply.refused(403, "not_authorized")

    @pytest.mark.parametrize(
        "header",
        [
            "123456789012",
            'civil-id="12345678901", by=fingerprint, reference="a"',
            'civil-id="123456789012", by=hearsay, reference="a"',
            'civil-id="123456789012", by=fingerprint, reference=""',
            'civil-id="123456789012", by=fingerprint, reference="' + "a" * 101 + '"',
        ],
    )
    async def test_what_is_no_such_header(self, office: Desk, header: str) -> None:
        kiosk = await office.actor("kiosk", "service")
        reply = await kiosk.ask("GET", "/api/v1/offices", headers={"On-Behalf-Of": header})
        assert "123456789012" not in reply.refused(400, "malformed")


class TestOrganizations:
    async def test_from_registration_to_officers(self, office: Desk) -> None:
        specialist = await office.actor("tuya", "specialist")
        new = {"number": "1234567", "name": "Үндэсний аудитын газар", "mail": "it@audit.gov.mn"}
        made = await specialist.post("/organizations", new, Idempotency_Key=KEY)
        assert (await specialist.post("/organizations", new, Idempotency_Key=KEY)).octets == made.octets
        (await specialist.post("/organizations", new)).refused(409, "conflict")
        path, seen = "/organizations/1234567", made.etag
        for event, state in (("send_contract", "contract_sent"), ("sign_contract", "contracted")):
            step = {"event": event, "ground": "letter 7"}
            reply = await specialist.post(f"{path}/contract", step, If_Match=seen)
            assert reply.body["state"] == state
            (await specialist.post(f"{path}/contract", step, If_Match=seen)).refused(
                412, "precondition_failed"
            )
            seen = reply.etag
        assert (await specialist.put(f"{path}/domains", {"domains": ["Audit.gov.mn"]})).body["domains"] == [
            "audit.gov.mn"
        ]
        boss = await office.actor("boss", "org_officer", organization="1234567")
        officer = {
            "parent_name": "Бат",
            "given_name": "Дорж",
            "mail": "dorj@audit.gov.mn",
            "title": "Дарга",
            "ground": "order 1",
        }
        added = await boss.post(f"{path}/officers", officer, Idempotency_Key=KEY)
        assert (await boss.post(f"{path}/officers", officer, Idempotency_Key=KEY)).octets == added.octets
        outsider = await boss.post(f"{path}/officers", officer | {"mail": "dorj@example.mn"})
        outsider.refused(400, "bad_request")
        one = f"{path}/officers/{added.body['officer']}"
        moved = await boss.post(f"{one}/position", {"title": "Зөвлөх", "ground": "order 2"})
        assert moved.body["title"] == "Зөвлөх"
        assert len((await boss.get(f"{path}/officers")).body["items"]) == 1
        assert (await boss.post(f"{one}/leave")).body["left_at"] is not None
        assert (await boss.get(f"{path}/officers")).body["items"] == []

    async def test_search(self, office: Desk) -> None:
        for number in ("1111111", "2222222", "3333333"):
            await office.organization(number, contracted=number != "2222222")
        specialist = await office.actor("tuya", "specialist")

        async def found(query: str) -> list[str]:
            return [one["number"] for one in (await specialist.get(f"/organizations{query}")).body["items"]]

        assert await found("?state=registered") == ["2222222"]
        assert await found("?name=АУД&state=contracted") == ["1111111", "3333333"]
        first = await specialist.get("/organizations?limit=2")
        assert await found(f"?limit=2&after={first.body['next']}") == ["1111111"]


class TestOffices:
    async def test_calendar(self, world: World, office: Desk, clock: "FakeClock") -> None:
        ann = await office.actor("ann", "administrator")
        new = {"code": "dkh-1", "name": "Дархан", "opens_at": "08:30"}
        made = await ann.post("/offices", new, Idempotency_Key=KEY)
        assert (made.body["opens_at"], made.body["closes_at"], made.etag) == ("08:30", "18:00", '"1"')
        (await ann.post("/offices", new)).refused(409, "conflict")
        changed = await ann.put("/offices/dkh-1", {"name": "Дархан-Уул"}, If_Match=made.etag)
        assert (changed.body["name"], changed.body["opens_at"]) == ("Дархан-Уул", "09:00")
        (await ann.put("/offices/dkh-1", {"name": "x"}, If_Match=made.etag)).refused(
            412, "precondition_failed"
        )
        (await ann.put("/offices/dkh-1", {"name": "x"})).refused(428, "precondition_required")
        day = (clock.now() + timedelta(days=30)).date().isoformat()
        assert (await ann.put(f"/offices/dkh-1/days/{day}", {"works": False})).body["days"] == {day: False}
        registrar = await world.registrar()
        assert (await registrar.get("/offices/dkh-1")).body["days"] == {day: False}
        codes = [one["code"] for one in (await registrar.get("/offices")).body["items"]]
        assert codes == ["dkh-1", "ub-1", "ub-2"]


class TestOnce:
    """A deed and its kept answer."""

    async def test_a_draft_is_made_once_and_answered_alike(self, registrar: Client) -> None:
        first = await registrar.post("/applications", DRAFT, Idempotency_Key=KEY)
        again = await registrar.post("/applications", DRAFT, Idempotency_Key=KEY)
        assert (first.status, first.octets, first.etag) == (200, again.octets, again.etag)
        assert len((await registrar.get("/applications")).body["items"]) == 1

    async def test_a_server_that_broke_after_the_deed_has_the_answer(
        self, world: World, registrar: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Deed and answer are one transaction: whoever has the one on disk has the other."""
        draft = type(world.core.registration.applications).draft

        async def breaks(self: Any, *given: Any) -> Any:
            await draft(self, *given)
            raise RuntimeError("the power went")

        monkeypatch.setattr(type(world.core.registration.applications), "draft", breaks)
        (await registrar.post("/applications", DRAFT, Idempotency_Key=KEY)).refused(500, "internal")
        monkeypatch.undo()
        again = await registrar.post("/applications", DRAFT, Idempotency_Key=KEY)
        (only,) = (await registrar.get("/applications")).body["items"]
        assert (again.status, again.body["application"]) == (200, only["application"])

    async def test_a_server_that_broke_before_the_deed_left_nothing(
        self, world: World, registrar: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def breaks(*_given: object) -> None:
            raise RuntimeError("the power went")

        monkeypatch.setattr(type(world.core.registration.applications), "draft", breaks)
        (await registrar.post("/applications", DRAFT, Idempotency_Key=KEY)).refused(500, "internal")
        monkeypatch.undo()
        assert (await registrar.post("/applications", DRAFT, Idempotency_Key=KEY)).status == 200

    async def test_the_deed_is_undone_where_its_answer_cannot_be_kept(
        self, registrar: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_given: object) -> None:
            raise RuntimeError("the disk is full")

        monkeypatch.setattr(api_requests, "answer", full)
        (await registrar.post("/applications", DRAFT, Idempotency_Key=KEY)).refused(500, "internal")
        assert (await registrar.get("/applications")).body["items"] == []

    async def test_what_failed_after_the_deed_is_not_done_again(
        self, world: World, registrar: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where the answer is not of the same transaction, the repeat finds the deed done."""
        known = await world.verified()
        path, seen = f"/applications/{known.id}/withdraw", f'"{known.version}"'
        offices = type(world.core.registration.offices)

        async def silent(*_given: object) -> None:
            raise UnavailableError("the store cannot be read now")

        monkeypatch.setattr(offices, "codes", silent)
        asked = {"If_Match": seen, "Idempotency_Key": KEY}
        (await registrar.post(path, {"ground": "x"}, **asked)).refused(503, "unavailable")
        monkeypatch.undo()
        again = await registrar.post(path, {"ground": "x"}, **asked)
        assert "was carried out" in again.refused(409, "conflict")

    async def test_a_lost_secret_is_given_again_and_kept_encrypted(
        self, world: World, registrar: Client, office: Desk
    ) -> None:
        known = await world.verified()
        path, seen = f"/applications/{known.id}/issue", f'"{known.version}"'
        first = await registrar.post(path, {}, If_Match=seen, Idempotency_Key=KEY)
        again = await registrar.post(path, {}, If_Match=seen, Idempotency_Key=KEY)
        assert (again.status, again.octets) == (200, first.octets)
        rows = await office.core.storage.read(lambda tx: tx.all("SELECT body FROM api_requests"))
        assert len(rows) == 1
        assert first.body["secret"].encode() not in rows[0][0]
        (await registrar.post(path, {}, If_Match=seen)).refused(412, "precondition_failed")
        await enrolled(office.nobody(), again.body)
