"""Organisations register themselves without a certificate; a specialist declines what is none."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from api_harness import Desk
from api_harness import desk as open_desk

from pkiserver.core import Core

PATH = "/public/organizations"
BODY = {"number": "1234567", "name": "Татвар", "mail": "info@tax.gov.mn"}


@pytest.fixture
async def desk(core: Core, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(core, tmp_path) as opened:
        yield opened


async def test_anybody_registers_and_nothing_else(desk: Desk) -> None:
    nobody = desk.nobody()
    for _ in range(2):
        reply = await nobody.post(PATH, BODY)
        assert (reply.status, reply.body) == (200, {"number": "1234567", "state": "registered"})
    (await nobody.post(PATH, BODY | {"mail": "evil@example.mn"})).refused(409, "conflict")
    for path in ("/organizations/1234567", "/organizations"):
        (await nobody.get(path)).refused(403, "not_authorized")
    (await nobody.post("/organizations/decline", {"numbers": ["1234567"], "ground": "a"})).refused(
        403, "not_authorized"
    )


async def test_values_are_bounded_before_anything_is_counted(desk: Desk) -> None:
    nobody = desk.nobody()
    for changes in ({"number": "12"}, {"name": ""}, {"name": "А" * 65}, {"mail": "a" * 300}, {"more": 1}):
        (await nobody.post(PATH, BODY | changes)).refused(422, "unprocessable")
    for octets in (b"{", b"[" * 30_000):
        headers = {"Content-Type": "application/json"}
        reply = await nobody.ask("POST", "/api/v1" + PATH, headers=headers, data=octets)
        reply.refused(400, "malformed")
    (await nobody.ask("POST", "/api/v1" + PATH, data=b"x" * 40_000)).refused(413, "too_large")
    assert (await nobody.post(PATH, BODY)).status == 200


async def test_an_address_has_its_share(desk: Desk) -> None:
    nobody = desk.nobody()
    for number in range(1_000_001, 1_000_006):
        assert (await nobody.post(PATH, BODY | {"number": str(number)})).status == 200
    reply = await nobody.post(PATH, BODY)
    reply.refused(429, "too_many_requests")
    assert 0 < int(reply.headers["Retry-After"]) <= 3600


async def test_a_specialist_declines_many_at_a_time(desk: Desk) -> None:
    nobody, specialist = desk.nobody(), await desk.actor("specialist-1", "specialist")
    numbers = ["1000001", "1000002"]
    for number in numbers:
        await nobody.post(PATH, BODY | {"number": number})
    reply = await specialist.post(
        "/organizations/decline", {"numbers": [*numbers, "9999999"], "ground": "spam"}
    )
    assert reply.body == {"declined": numbers}
    shown = await specialist.get("/organizations/1000001")
    assert shown.body["state"] == "declined"
    assert (await nobody.post(PATH, BODY | {"number": "1000001"})).status == 200  # its owner may come again


async def test_the_document_says_that_it_is_public(desk: Desk) -> None:
    document = (await desk.nobody().ask("GET", "/api/openapi.json")).body
    described = document["paths"]["/api/v1" + PATH]["post"]
    assert described["security"] == []
    assert "Idempotency-Key" not in [one["name"] for one in described["parameters"]]
