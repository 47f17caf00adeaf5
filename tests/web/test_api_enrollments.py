"""Enrolments that await approval, through the API: four eyes, and the same version seen."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pkiserver.core import Core
from protocols.x509.certificate import serial_text
from tests.web.api_harness import Client, Desk, desk
from tests.web.registration_world import LOCAL, World

if TYPE_CHECKING:
    from tests.conftest import FakeClock


@pytest.fixture
async def office(core: Core, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(core, tmp_path) as opened:
        yield opened


@pytest.fixture
async def registrar(office: Desk) -> Client:
    return await office.actor("bat", "registrar")


async def test_approved_by_somebody_else(office: Desk, registrar: Client) -> None:
    number = await office.enrollment("dorj")
    shown = await registrar.get(f"/enrollments/{number}")
    assert (shown.body["state"], shown.body["asked_by"]) == ("waiting", "test")
    approved = await registrar.post(f"/enrollments/{number}/approve", If_Match=shown.etag)
    assert (approved.status, approved.body["state"], approved.body["decided_by"]) == (
        200,
        "approved",
        "actor:bat",
    )
    again = await registrar.post(f"/enrollments/{number}/approve", If_Match=approved.etag)
    assert "cannot be approved" in again.refused(409, "conflict")
    [record] = await office.audited("enrollment.approve")
    assert record.actor == "actor:bat"


async def test_nobody_approves_the_own_enrolment(office: Desk, registrar: Client) -> None:
    number = await office.enrollment("dorj", by="actor:bat")
    etag = (await registrar.get(f"/enrollments/{number}")).etag
    reply = await registrar.post(f"/enrollments/{number}/approve", If_Match=etag)
    assert "is your own" in reply.refused(403, "not_authorized")


async def test_nor_the_one_asked_for_with_the_own_certificate_or_application(
    office: Desk, registrar: Client
) -> None:
    """Over EST nobody is an actor: whose a request is, its certificate or its application says."""
    assert registrar.certificate is not None
    world = await World(office).make()
    application = await world.verified()
    new = await office.core.registration.issuing.begin(LOCAL, application.id, application.version)
    assert application.person is not None
    await office.core.storage.write(
        lambda tx: tx.execute("UPDATE actors SET person = ? WHERE name = 'bat'", (application.person,))
    )
    for name, by in (
        ("dorj", f"certificate:{serial_text(registrar.certificate.serial)}"),
        ("bold", f"credential:{new.reference}"),
    ):
        number = await office.enrollment(name, by=by)
        etag = (await registrar.get(f"/enrollments/{number}")).etag
        reply = await registrar.post(f"/enrollments/{number}/approve", If_Match=etag)
        assert "your own" in reply.refused(403, "not_authorized")


async def test_refused_with_a_reason(office: Desk, registrar: Client) -> None:
    number = await office.enrollment("dorj")
    etag = (await registrar.get(f"/enrollments/{number}")).etag
    for reason, status in (("", 422), ("x" * 201, 422), ("two\nlines", 400), (" ", 400)):
        reply = await registrar.post(f"/enrollments/{number}/refuse", {"reason": reason}, If_Match=etag)
        assert reply.status == status
    refused = await registrar.post(f"/enrollments/{number}/refuse", {"reason": "unknown"}, If_Match=etag)
    assert (refused.body["state"], refused.body["reason"]) == ("refused", "unknown")


async def test_another_version_is_not_decided_on(office: Desk, registrar: Client, clock: "FakeClock") -> None:
    number = await office.enrollment("dorj")
    etag = (await registrar.get(f"/enrollments/{number}")).etag
    await office.command("enrollment.approve", enrollment=number)
    late = await registrar.post(f"/enrollments/{number}/refuse", {"reason": "no"}, If_Match=etag)
    late.refused(412, "precondition_failed")
    (await registrar.post(f"/enrollments/{number}/approve")).refused(428, "precondition_required")
    etag = (await registrar.get(f"/enrollments/{number}")).etag
    clock.advance(timedelta(days=8))
    assert (await registrar.get(f"/enrollments/{number}")).body["state"] == "expired"
    late = await registrar.post(f"/enrollments/{number}/refuse", {"reason": "no"}, If_Match=etag)
    late.refused(412, "precondition_failed")


async def test_pages_and_filters(office: Desk, registrar: Client) -> None:
    numbers = [await office.enrollment(f"dorj-{one}") for one in range(5)]
    gate = await office.enrollment("gate-1", "device")
    await office.command("enrollment.approve", enrollment=numbers[1])
    await office.command("enrollment.refuse", enrollment=numbers[2], reason="no")
    found: list[int] = []
    after = ""
    while True:
        page = (await registrar.get(f"/enrollments?limit=2{after}")).body
        found += [one["enrollment"] for one in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == numbers[::-1]
    for state, wanted in (
        ("waiting", [numbers[4], numbers[3], numbers[0]]),
        ("approved", [numbers[1]]),
        ("refused", [numbers[2]]),
        ("issued", []),
        ("expired", []),
    ):
        page = (await registrar.get(f"/enrollments?state={state}")).body
        assert [one["enrollment"] for one in page["items"]] == wanted
    administrator = await office.actor("ann", "administrator")
    page = (await administrator.get("/enrollments")).body
    assert [one["enrollment"] for one in page["items"]] == [gate]
    (await registrar.get(f"/enrollments/{gate}")).refused(403, "not_authorized")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/enrollments/999", 404),
        ("/enrollments/0", 422),
        ("/enrollments/9223372036854775808", 422),
        ("/enrollments/x", 422),
        ("/enrollments?after=x", 422),
        ("/enrollments?after=999999999999999999", 200),
    ],
)
async def test_numbers(registrar: Client, path: str, status: int) -> None:
    assert (await registrar.get(path)).status == status
