"""Cases, letters and the civil registry's feed over the API."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pkiserver.core import Core
from tests.ra.test_registration_services import Story
from tests.web.api_harness import Client, Desk, desk
from tests.web.registration_world import FORM, LOCAL, World, on_behalf_of


@dataclass
class House:
    """A citizen with a certificate, applied for at ub-1."""

    desk: Desk
    world: World
    path: str
    person: int

    async def state(self) -> str:
        admin = await self.desk.holder("viewer")
        await self.desk.register(admin, "auditor")
        return str((await admin.get(self.path)).body["state"])


@pytest.fixture
async def house(core: Core, tmp_path: Path) -> AsyncIterator[House]:
    async with desk(core, tmp_path, rate=10_000, burst=100_000) as opened:
        world = await World(opened).make()
        story = Story(core, LOCAL, core.clock)
        verified = await world.verified()
        await story.enroll(await core.registration.issuing.begin(LOCAL, verified.id, verified.version))
        made = await story.record(verified.id)
        assert made.person is not None
        assert made.authority is not None
        handle = core.authorities.record_with_id(made.authority).handle
        yield House(opened, world, f"/certificates/{handle}/{made.serial:032x}", made.person)


async def test_a_written_request_is_decided(house: House) -> None:
    bat = await house.world.registrar()
    asked = {"kind": "suspend", "ground": "carrier_missing", "office": "ub-1", "letter": "2026/17"}
    made = await bat.post(f"{house.path}/cases", asked)
    assert (made.status, made.body["channel"], made.body["office"]) == (200, "written", "ub-1")
    assert (made.body["evidence"]["letter"], made.etag) == ("2026/17", '"1"')
    assert (await bat.post(f"{house.path}/cases", asked)).body == made.body
    place = f"/cases/{made.body['case']}"
    yes = {"granted": True, "ground": "signature compared"}
    (await bat.post(f"{place}/decide", yes)).refused(428, "precondition_required")
    (await bat.post(f"{place}/decide", yes, If_Match='"7"')).refused(412, "precondition_failed")
    decided = await bat.post(f"{place}/decide", yes, If_Match='"1"')
    assert (decided.body["state"], decided.etag) == ("granted", '"2"')
    assert (await bat.get(place)).body == decided.body
    (await bat.post(f"{place}/decide", yes, If_Match='"2"')).refused(409, "conflict")
    assert await house.state() == "suspended"
    for listed in (f"{house.path}/cases", f"/people/{house.person}/cases"):
        assert (await bat.get(listed)).body["items"] == [decided.body]
    letters = await house.desk.actor("anna", "auditor")
    (letter,) = (await letters.get("/letters")).body["items"]
    assert (letter["template"], letter["person"]) == ("certificate-suspended", house.person)
    assert FORM["mail"] not in str(letter)


async def test_a_service_suspends_for_its_holder(house: House) -> None:
    kiosk = await house.desk.actor("kiosk", "service", "registration-client")
    asked = {"kind": "suspend", "ground": "holder_request"}
    (await kiosk.post(f"{house.path}/cases", asked)).refused(403, "not_authorized")
    headers = on_behalf_of(FORM["civil_id"])
    made = await kiosk.post(f"{house.path}/cases", asked, **headers)
    assert (made.body["channel"], made.body["state"]) == ("self_service", "granted")
    written = asked | {"channel": "written", "office": "ub-1"}
    (await kiosk.post(f"{house.path}/cases", written, **headers)).refused(403, "not_authorized")
    assert await house.state() == "suspended"


async def test_two_of_the_legal_department(house: House) -> None:
    first = await house.desk.actor("saraa", "legal")
    second = await house.desk.actor("tuya", "legal")
    decision = {"kind": "suspend", "ground": "authority_decision", "body": "court", "number": "17"}
    incomplete = await first.post(f"{house.path}/cases/decisions", decision)
    assert incomplete.status == 422
    decision |= {"date": "2026-07-08", "document": "scan-88"}
    made = await first.post(f"{house.path}/cases/decisions", decision)
    assert made.body["state"] == "received"
    place, yes = f"/cases/{made.body['case']}/confirm", {"granted": True, "ground": "seen"}
    (await first.post(place, yes, If_Match='"1"')).refused(403, "not_authorized")
    assert (await second.post(place, yes, If_Match='"1"')).body["state"] == "granted"
    assert await house.state() == "suspended"


async def test_open_cases_are_paged_by_urgency(house: House) -> None:
    bat = await house.world.registrar()
    for kind in ("suspend", "revoke", "unblock"):
        asked = {"kind": kind, "ground": "holder_request", "office": "ub-1"}
        assert (await bat.post(f"{house.path}/cases", asked)).status == 200
    items: list[Any] = []
    query = "?limit=1"
    while True:
        page = (await bat.get(f"/cases{query}")).body
        items += page["items"]
        if page["next"] is None:
            break
        query = f"?limit=1&office=ub-1&after={page['next']}"
    assert len(items) == 3
    assert [one["due_at"] for one in items] == sorted(one["due_at"] for one in items)
    assert (await bat.get("/cases?overdue=true")).body["items"] == []
    other = await house.world.registrar("oyun", "ub-2")
    assert (await other.get("/cases")).body["items"] == []
    (await other.get("/cases?office=ub-1")).refused(403, "not_authorized")
    (await other.get(f"/cases/{items[0]['case']}")).refused(403, "not_authorized")


def message(number: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "sequence": 1,
        "kind": kind,
        "civil_id": FORM["civil_id"],
        "effective_at": "2026-01-01T00:00:00+08:00",
    } | more


async def told(client: Client, *messages: dict[str, Any]) -> list[str]:
    reply = await client.post("/registry/messages", {"messages": list(messages)})
    return [one["outcome"] for one in reply.body["results"]]


async def test_the_civil_registrys_feed(house: House) -> None:
    registry = await house.desk.actor("registry", "civil_registry", "registration-client")
    death, stranger = message("m-1", "death"), message("m-2", "death", civil_id="999999999999")
    assert await told(registry, death, stranger, death) == ["done", "unknown", "repeated"]
    assert await told(registry, death, message("m-1", "card_lost")) == ["repeated", "refused"]
    assert await house.state() == "revoked"
    for wrong in ([], [message("m", "birth")], [death] * 101):
        assert (await registry.post("/registry/messages", {"messages": wrong})).status == 422


async def test_a_report_as_json_and_as_csv(house: House) -> None:
    anna = await house.desk.actor("anna", "auditor")
    now = house.world.core.clock.now() + timedelta(hours=8)
    days = f"first={now:%Y-%m-%d}&last={now:%Y-%m-%d}"
    (line,) = (await anna.get(f"/reports/register?{days}&office=ub-1")).body["lines"]
    assert (line["office"], line["channel"], line["issued"]) == ("ub-1", "branch", 1)
    reply = await anna.get(f"/reports/register.csv?{days}&office=ub-1")
    assert reply.headers["Content-Type"] == "text/csv"
    header, row = reply.octets.decode().splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True))["issued"] == "1"
    (await anna.get("/reports/register?first=2026-07-09&last=2026-07-08")).refused(400, "bad_request")


async def test_the_fund_follows_the_register(house: House) -> None:
    fund = await house.desk.actor("fund", "national_fund", "registration-client")
    first = (await fund.get("/register/events?limit=200")).body
    assert {one["event"] for one in first["items"]} == {"issued"}
    await (await house.desk.actor("kiosk", "service", "registration-client")).post(
        f"{house.path}/cases",
        {"kind": "suspend", "ground": "holder_request"},
        **on_behalf_of(FORM["civil_id"]),
    )
    then = (await fund.get(f"/register/events?after={first['next']}")).body["items"]
    assert [one["event"] for one in then if one["person"] == house.person] == ["suspended"]
    (await fund.get("/register/events?after=999999-0")).refused(400, "bad_request")
    (await fund.get("/certificates")).refused(403, "not_authorized")
