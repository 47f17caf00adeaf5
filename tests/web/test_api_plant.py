"""The printing plant over real mutual TLS: the API for batches and results, EST and CMP for certificates."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from pkiserver.cli.plant import _FAILURES
from pkiserver.core import Core
from pkiserver.errors import RefusedError
from pkiserver.ra.registration.plant_results import Failure
from protocols.x509.names import subject_text
from tests.ra.plant_setting import Setting, csr_of, new_key
from tests.web.api_harness import Client, Desk, Reply, desk

EST = "/.well-known/est"


@pytest.fixture
async def office(core: Core, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(core, tmp_path) as opened:
        yield opened


@pytest.fixture
async def setting(core: Core) -> Setting:
    return await Setting.of(core)


@pytest.fixture
async def plant(office: Desk) -> Client:
    return await office.actor("plant-1", "plant", "registration-client")


async def pulled(plant: Client, size: int = 10, key: str = "pull-0001") -> dict[str, Any]:
    reply = await plant.post("/plant/batches", {"size": size}, Idempotency_Key=key)
    assert reply.status == 200, reply.octets
    return reply.body


async def cards_of(plant: Client, batch: int) -> list[dict[str, Any]]:
    found = (await plant.get(f"/plant/batches/{batch}/cards")).body["items"]
    assert isinstance(found, list)
    return found


async def enrolled(plant: Client, card: str, csr: bytes) -> Reply:
    headers = {"Content-Type": "application/pkcs10"}
    return await plant.ask("POST", f"{EST}/{card}/simpleenroll", None, headers, base64.b64encode(csr))


def certificate_in(reply: Reply) -> x509.Certificate:
    assert reply.status == 200, reply.octets
    [certificate] = pkcs7.load_der_pkcs7_certificates(base64.b64decode(reply.octets))
    return certificate


async def reported(plant: Client, batch: int, card: str, **result: Any) -> Reply:
    return await plant.post(f"/plant/batches/{batch}/cards/{card}/result", result)


async def test_regulation_2_8_over_the_api_and_est(setting: Setting, plant: Client) -> None:
    made = [await setting.waiting() for _ in range(2)]
    batch = await pulled(plant)
    assert (batch["state"], batch["cards"], batch["open_cards"]) == ("open", 2, 2)
    assert batch["plant"] == "actor:plant-1"
    first, second = await cards_of(plant, batch["batch"])
    assert first["application"] == made[0].id
    assert first["form"] == {
        "parent_name": "Бат",
        "clan_name": "Боржигон",
        "given_name": "Дорж",
        "register_number": "УБ05231400",
        "civil_id": "123456789000",
        "birth_date": "2005-03-14",
    }
    certificate = certificate_in(await enrolled(plant, first["card"], csr_of(new_key())))
    assert subject_text(certificate.subject) == first["subject"]
    reply = await reported(plant, batch["batch"], first["card"], result="issued", carrier="04A1B2C3")
    assert (reply.body["state"], reply.body["carrier"], reply.body["form"]) == ("issued", "04A1B2C3", None)
    assert int(reply.body["serial"], 16) == certificate.serial_number

    spoilt = certificate_in(await enrolled(plant, second["card"], csr_of(new_key())))
    torn = {"result": "failed", "failure": "damaged", "reason": "torn", "carrier": "04A1B2C4"}
    reply = await reported(plant, batch["batch"], second["card"], **torn)
    assert (reply.body["state"], reply.body["certificate_state"]) == ("failed", "revoked")
    assert int(reply.body["serial"], 16) == spoilt.serial_number
    assert (await plant.get(f"/plant/batches/{batch['batch']}")).body["state"] == "closed"

    batch = await pulled(plant, key="pull-0002")
    [card] = await cards_of(plant, batch["batch"])
    assert (card["application"], card["attempt"], card["state"]) == (made[1].id, 2, "waiting")
    assert certificate_in(await enrolled(plant, card["card"], csr_of(new_key()))) != spoilt
    await reported(plant, batch["batch"], card["card"], result="issued", carrier="04A1B2C5")
    assert [(await setting.application(one.id)).state for one in made] == ["issued", "issued"]
    assert (await plant.get("/plant/batches?state=open")).body == {"items": [], "next": None}


async def test_whatever_is_repeated_is_done_once(setting: Setting, plant: Client, core: Core) -> None:
    await setting.waiting()
    batch = await pulled(plant)
    await core.storage.write(lambda tx: tx.execute("DELETE FROM api_requests"))  # as after a day
    await setting.waiting()
    assert await pulled(plant) == batch
    other_size = await plant.post("/plant/batches", {"size": 3}, Idempotency_Key="pull-0001")
    assert "another size" in other_size.refused(409, "conflict")
    [card] = await cards_of(plant, batch["batch"])
    key = new_key()
    certificate = certificate_in(await enrolled(plant, card["card"], csr_of(key)))
    assert certificate_in(await enrolled(plant, card["card"], csr_of(key))) == certificate
    assert (await enrolled(plant, card["card"], csr_of(new_key()))).status == 409
    made = {"result": "issued", "carrier": "04AA"}
    reply = await reported(plant, batch["batch"], card["card"], **made)
    again = await reported(plant, batch["batch"], card["card"], **made)
    assert again.body == reply.body
    late = {"result": "failed", "failure": "damaged", "reason": "torn"}
    refused = await reported(plant, batch["batch"], card["card"], **late)
    assert "has its result already" in refused.refused(409, "conflict")


async def test_pages(setting: Setting, plant: Client) -> None:
    made = [(await setting.waiting()).id for _ in range(5)]
    batch = await pulled(plant)
    found, after = [], ""
    while True:
        page = (await plant.get(f"/plant/batches/{batch['batch']}/cards?limit=2{after}")).body
        found += [one["application"] for one in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == made
    for number in range(3):
        await setting.waiting()
        await pulled(plant, 1, f"pull-001{number}")
    numbers, after = [], ""
    while True:
        page = (await plant.get(f"/plant/batches?limit=3{after}")).body
        numbers += [one["batch"] for one in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 4


async def test_who_may(setting: Setting, office: Desk, plant: Client) -> None:
    await setting.waiting()
    batch = await pulled(plant)
    path = f"/plant/batches/{batch['batch']}"
    [card] = await cards_of(plant, batch["batch"])
    failed = {"result": "failed", "failure": "lost", "reason": "gone"}
    result = f"{path}/cards/{card['card']}/result"
    other = await office.actor("plant-2", "plant", "registration-client")
    registrar = await office.actor("bat", "registrar")
    auditor = await office.actor("aud", "auditor")
    for client in (other, registrar):
        for ask in (client.get(path), client.get(f"{path}/cards"), client.post(result, failed)):
            (await ask).refused(403, "not_authorized")
    (await registrar.post("/plant/batches", {"size": 1})).refused(403, "not_authorized")
    assert (await other.get("/plant/batches")).body["items"] == []
    assert (await auditor.get("/plant/batches")).body["items"] == [batch]
    assert (await auditor.get(path)).body == batch
    (await auditor.post(result, failed)).refused(403, "not_authorized")
    assert (await enrolled(other, card["card"], csr_of(new_key()))).status == 403
    assert (await enrolled(registrar, card["card"], csr_of(new_key()))).status in (403, 404)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"result": "issued"}, 400),
        ({"result": "issued", "carrier": "04AA", "reason": "x"}, 400),
        ({"result": "failed", "failure": "lost"}, 400),
        ({"result": "failed", "reason": "x"}, 400),
        ({"result": "failed", "failure": "lost", "reason": ""}, 422),
        ({"result": "failed", "failure": "lost", "reason": "x" * 201}, 422),
        ({"result": "failed", "failure": "burnt", "reason": "x"}, 422),
        ({"result": "issued", "carrier": "04 AA"}, 422),
        ({"result": "made", "carrier": "04AA"}, 422),
        ({"result": "issued", "carrier": "04AA", "more": 1}, 422),
        ({"result": "issued", "carrier": "04AA"}, 409),
    ],
)
async def test_wrong_results(setting: Setting, plant: Client, body: dict[str, Any], status: int) -> None:
    await setting.waiting()
    batch = await pulled(plant)
    [card] = await cards_of(plant, batch["batch"])
    assert (await reported(plant, batch["batch"], card["card"], **body)).status == status
    assert (await plant.get(f"/plant/batches/{batch['batch']}")).body["open_cards"] == 1


async def test_wrong_pulls(plant: Client) -> None:
    (await plant.post("/plant/batches", {"size": 0})).refused(422, "unprocessable")
    (await plant.post("/plant/batches", {"size": 1001})).refused(422, "unprocessable")
    (await plant.post("/plant/batches", {"size": 201})).refused(400, "bad_request")
    (await plant.post("/plant/batches", {"size": 1}, Idempotency_Key="short")).refused(400, "malformed")
    assert "no application waits" in (await plant.post("/plant/batches", {"size": 1})).refused(
        409, "conflict"
    )
    (await plant.get("/plant/batches/9")).refused(404, "not_found")
    (await plant.get("/plant/batches/9/cards")).refused(404, "not_found")


async def test_the_commands(setting: Setting, office: Desk, plant: Client) -> None:
    made = await setting.waiting()
    batch = await office.command("plant.pull", plant="plant-1", size=5, key=None)
    assert (batch["plant"], batch["state"], batch["size"]) == ("actor:plant-1", "open", 1)
    [listed] = await office.command("plant.list", state="open", limit=10)
    assert listed == batch
    shown = await office.command("plant.show", batch=batch["batch"])
    [card] = shown["cards"]
    assert (card["application"], card["form"]["given_name"]) == (made.id, "Дорж")
    assert (await enrolled(plant, card["card"], csr_of(new_key()))).status == 200
    given = {"batch": batch["batch"], "card": card["card"], "failure": None, "reason": None}
    report = await office.command("plant.report", **given, carrier="04AA")
    assert (report["result"], report["carrier"], report["reported_by"]) == ("issued", "04AA", "user:root")
    for wrong in (
        office.command("plant.pull", plant="nobody", size=5, key=None),
        office.command("plant.list", state="late", limit=10),
        office.command("plant.report", **given, carrier=None),
        office.command("plant.report", **given | {"failure": "lost"}, carrier=None),
    ):
        with pytest.raises(RefusedError):
            await wrong


def test_the_command_line_names_every_failure() -> None:
    assert set(_FAILURES) == {one.value for one in Failure}
