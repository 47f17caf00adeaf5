"""Who may ask the API: registered actors, by certificates that are good now, in what their roles allow."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from pkiserver.core import Core
from tests.web.api_harness import BASE, Client, Desk, desk, path_of

if TYPE_CHECKING:
    from tests.conftest import FakeClock

READ = "/certificates"


@pytest.fixture
async def office(core: Core, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(core, tmp_path) as opened:
        yield opened


async def test_a_registered_actor_is_answered(office: Desk) -> None:
    registrar = await office.actor("bat", "registrar")
    reply = await registrar.get(READ)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.headers["Cache-Control"] == "no-store"


async def test_without_a_client_certificate(office: Desk) -> None:
    reply = await office.nobody().get(READ)
    assert "connect with a client certificate" in reply.refused(403, "not_authorized")
    assert "WWW-Authenticate" not in reply.headers
    [record] = await office.audited("api.listCertificates")
    assert (record.actor, record.outcome) == ("anonymous", "refused")


async def test_a_certificate_alone_opens_nothing(office: Desk) -> None:
    holder = await office.holder("bat")
    assert "registered for no actor" in (await holder.get(READ)).refused(403, "not_authorized")


async def test_a_registration_client_does_not_use_the_api(office: Desk) -> None:
    station = await office.actor("station-1", "ra", "registration-client")
    assert "has no role that uses the API" in (await station.get(READ)).refused(403, "not_authorized")


async def test_a_role_of_the_api_says_nothing_of_enrolments(office: Desk) -> None:
    """An RA's certificate that is registered for another role does not ask on behalf of others."""
    station = await office.actor("station-1", "auditor", "registration-client")
    assert (await station.get(READ)).status == 200
    headers = {"Content-Type": "application/pkcs10"}
    path = "/.well-known/est/device/simpleenroll"
    reply = await station.ask("POST", path, headers=headers, data=b"MIIB")
    assert reply.status in (400, 401, 403)
    waiting = await office.command("enrollment.list", state=None, limit=10)
    assert waiting == []


@pytest.mark.parametrize("change", ["suspend", "revoke", "expire", "remove"])
async def test_the_status_is_looked_at_on_a_kept_connection(
    office: Desk, clock: "FakeClock", change: str
) -> None:
    registrar = await office.actor("bat", "registrar")
    assert registrar.certificate is not None
    serial = f"{registrar.certificate.serial:x}"
    connector = aiohttp.TCPConnector(ssl=registrar.tls, limit=1)
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get(registrar.url + BASE + READ) as response:
            assert response.status == 200
        if change == "suspend":
            await office.command("certificate.suspend", serial=serial, ca=None, by="holder")
        elif change == "revoke":
            await office.command("certificate.revoke", serial=serial, ca=None, reason="superseded")
        elif change == "remove":
            await office.command("actor.remove", name="bat")
        else:
            clock.moment = registrar.certificate.not_after + timedelta(seconds=1)
        async with session.get(registrar.url + BASE + READ) as response:
            assert response.status == 403


async def test_denials_are_audited(office: Desk) -> None:
    registrar = await office.actor("bat", "registrar")
    gate = await office.issue("gate-1", "device")
    reply = await registrar.post(
        f"{path_of(office.core, gate)}/revoke", {"reason": "superseded"}, If_Match='"1-active"'
    )
    reply.refused(403, "not_authorized")
    [record] = await office.audited("api.revokeCertificate")
    assert (record.actor, record.outcome) == ("actor:bat", "refused")
    assert "may not change certificate" in (record.personal or "")


async def test_a_flood_of_strangers_is_not_written_down(office: Desk) -> None:
    """Each refusal is a durable write: an address gets 30 a minute."""
    stranger = office.nobody()
    statuses = [(await stranger.get(READ)).status for _ in range(33)]
    assert statuses == [403] * 30 + [503] * 3
    assert len(await office.audited("api.listCertificates")) == 30


async def test_nobody_acts_on_the_own_certificate(office: Desk) -> None:
    administrator = await office.actor("ann", "administrator")
    assert administrator.certificate is not None
    own = path_of(office.core, administrator.certificate)
    etag = (await administrator.get(own)).etag
    reply = await administrator.post(f"{own}/suspend", {"ground": "holder_request"}, If_Match=etag)
    assert "somebody else has to do this" in reply.refused(403, "not_authorized")


async def test_certificates_of_the_authority_itself_are_not_changed_here(office: Desk) -> None:
    administrator = await office.actor("ann", "administrator")
    found = (await administrator.get("/certificates?profile=issuing-ca")).body["items"]
    assert len(found) == 3
    for one in found:
        path = f"/certificates/{one['ca']}/{one['serial']}"
        etag = (await administrator.get(path)).etag
        reply = await administrator.post(f"{path}/revoke", {"reason": "superseded"}, If_Match=etag)
        assert "of the authority itself" in reply.refused(403, "not_authorized")


async def test_rate_limits_are_each_actor_s_own(core: Core, tmp_path: Path, clock: "FakeClock") -> None:
    async with desk(core, tmp_path, rate=2, burst=3) as office:
        bat, oyun = await office.actor("bat", "registrar"), await office.actor("oyun", "registrar")
        assert [(await bat.get(READ)).status for _ in range(4)] == [200, 200, 200, 429]
        refused = await bat.get(READ)
        refused.refused(429, "too_many_requests")
        assert refused.headers["Retry-After"] == "1"
        assert (await oyun.get(READ)).status == 200
        second = await office.holder("second")
        await office.register(second, "registrar", "bat")
        assert (await second.get(READ)).status == 429  # however many certificates it has
        clock.advance(timedelta(seconds=1))
        assert [(await bat.get(READ)).status for _ in range(3)] == [200, 200, 429]
        clock.advance(timedelta(hours=-1))
        assert (await bat.get(READ)).status == 429


async def test_many_at_once(office: Desk) -> None:
    registrar: Client = await office.actor("bat", "registrar")
    assert isinstance(registrar.tls, ssl.SSLContext)
    replies = await asyncio.gather(*(registrar.get(READ) for _ in range(20)))
    assert {reply.status for reply in replies} == {200}
