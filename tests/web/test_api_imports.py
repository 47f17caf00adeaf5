"""Lists of officers over the API: by whom, how long, of which type; answers hold no personal data."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pkiserver.core import Core
from tests.web.api_harness import BASE, Client, Desk, Reply, desk

NUMBER = "1234567"
PATH = f"/organizations/{NUMBER}/imports"
HEADER = "parent_name,given_name,register_number,civil_id,work_mail,phone,position"
DORJ = "Бат,Дорж,УБ05231418,123456789012,dorj@tax.gov.mn,99112233,Мэргэжилтэн"
STRANGER = "Дорж,Болд,УК91061225,123456789014,bold@gmail.com,88112234,Дарга"


def listed(*rows: str) -> bytes:
    return "\n".join([HEADER, *rows]).encode()


@dataclass
class House:
    desk: Desk
    specialist: Client

    async def send(
        self, octets: bytes, query: str = "", content_type: str = "text/csv", client: Client | None = None
    ) -> Reply:
        headers = {"Content-Type": content_type}
        return await (client or self.specialist).ask(
            "POST", BASE + PATH + query, headers=headers, data=octets
        )


@pytest.fixture
async def house(core: Core, tmp_path: Path) -> AsyncIterator[House]:
    async with desk(core, tmp_path) as opened:
        await opened.command("organization.register", number=NUMBER, name="Татвар", mail="info@tax.gov.mn")
        for event in ("send_contract", "sign_contract"):
            await opened.command(
                "organization.move", number=NUMBER, event=event, ground="letter 12", version=None
            )
        await opened.command("organization.domains", number=NUMBER, domains=["tax.gov.mn"])
        yield House(opened, await opened.actor("anna", "specialist"))


async def test_a_list_over_the_api(house: House) -> None:
    refused = await house.send(listed(DORJ, STRANGER))
    assert refused.status == 200
    assert (refused.body["carried_out"], refused.body["made"], refused.body["refused"]) == (False, 1, 1)
    dry = await house.send(listed(DORJ, STRANGER), "?dry_run=true")
    assert dry.body["rows"] == refused.body["rows"]
    made = await house.send(listed(DORJ, STRANGER), "?partial=true")
    assert [one["outcome"] for one in made.body["rows"]] == ["made", "refused"]
    assert made.body["rows"][1]["faults"] == [
        {"field": "work_mail", "problem": "it is of none of the organisation's domains"}
    ]
    again = await house.send(listed(DORJ, STRANGER), "?partial=true")
    assert again.body == made.body
    said = (made.octets + refused.octets).decode()
    assert not any(value in said for value in (*DORJ.split(","), *STRANGER.split(",")))
    shown = await house.desk.command("application.show", application=made.body["rows"][0]["application"])
    assert (shown["created_by"], shown["profile"]) == ("actor:anna", "government-token")


async def test_long_lists_come_in_only_with_a_certificate(house: House) -> None:
    rows = [
        f"Бат,Дорж,УБ0523{1418 + at:04d},{123456780000 + at},dorj{at}@tax.gov.mn,99112233,Мэргэжилтэн"
        for at in range(600)
    ]
    octets = listed(*rows)
    assert len(octets) > 32 << 10
    reply = await house.send(octets, "?dry_run=true")
    assert (reply.status, reply.body["made"]) == (200, 600)
    stranger = await house.send(octets, client=house.desk.nobody())
    stranger.refused(413, "too_large")
    (await house.send(bytes((512 << 10) + 1))).refused(413, "too_large")
    (await house.specialist.ask("POST", f"{BASE}/organizations", data=octets)).refused(413, "too_large")


async def test_what_is_refused(house: House) -> None:
    (await house.send(b"{}", content_type="application/json")).refused(415, "unsupported_media_type")
    (await house.send(b"")).refused(400, "bad_request")
    (await house.send(listed(DORJ), "?partial=maybe")).refused(422, "unprocessable")
    registrar = await house.desk.actor("bold", "registrar")
    (await house.send(listed(DORJ), client=registrar)).refused(403, "not_authorized")
    found = await house.desk.audited("api.importOfficers")
    assert {one.outcome for one in found} == {"refused"}
