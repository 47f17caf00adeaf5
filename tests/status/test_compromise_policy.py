"""What OCSP says of an authority whose key is compromised, and of one that was dropped."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from status_plane import POLICY, SHA1, status_plane

from config.status_policy import CompromisePolicy
from pkiserver.core import Core
from protocols.asn1.ocsp import OCSPResponseStatus
from protocols.ocsp.response import error_response

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue

CA = "infrastructure"
UNAUTHORIZED = error_response(OCSPResponseStatus.UNAUTHORIZED)


async def command(core: Core, which: str, /, **arguments: Any) -> None:
    async def take(_name: str, _piece: bytes) -> None:
        """Nobody is to be enrolled anew."""

    await core.commands.run(which, arguments, "user:1", lambda *_: None, take)


@pytest.mark.parametrize(
    ("policy", "told"), [("revoked", "revoked (cACompromise)"), ("unauthorized", "unauthorized")]
)
async def test_ocsp_after_a_compromise(
    core: Core, issue: "Issue", tmp_path: Path, policy: CompromisePolicy, told: str
) -> None:
    record = await issue(core)
    policies = {CA: replace(POLICY, compromised=policy)}
    async with status_plane(core, tmp_path, policies) as plane:
        await plane.presigner.attempt()
        assert plane.status(record.serial) == "good"
        await command(core, "ca.compromise", name=CA, confirmed=True)
        await plane.presigner.attempt()
        assert plane.status(record.serial) == told
        serial = core.authorities.get(CA).certificate.serial_number
        assert plane.status(serial, "root") == "revoked (cACompromise)"
        signed = await plane.fresh().respond(plane.request(CA, record.serial, SHA1))
        assert (signed == UNAUTHORIZED) == (policy == "unauthorized")
        assert plane.presigner.failure is None
    async with status_plane(core, tmp_path, policies) as plane:  # after a restart
        await plane.presigner.attempt()
        assert plane.status(record.serial) == told


async def test_ocsp_of_a_key_that_was_dropped(core: Core, tmp_path: Path) -> None:
    """Its own OCSP signer is all that it issued."""
    await command(core, "ca.rollover.prepare", name=CA)
    await command(core, "ca.rollover.publish", name=CA)
    coming = core.authorities.get(f"{CA}.2")
    responder = core.authorities.responder(coming.id)
    assert responder is not None
    serial = responder.certificate.serial_number
    async with status_plane(core, tmp_path) as plane:
        await plane.presigner.attempt()
        assert plane.status(serial, coming.exact) == "good"
        request = plane.request(coming.exact, serial, SHA1)
        await command(core, "ca.rollover.drop", name=CA)
        await plane.presigner.attempt()
        assert plane.answer(request) == UNAUTHORIZED
        assert await plane.fresh().respond(request) == UNAUTHORIZED
        assert plane.status(coming.certificate.serial_number, "root") == "revoked (cessationOfOperation)"


async def test_a_root_that_is_just_certifying_itself(core: Core, clock: "FakeClock", tmp_path: Path) -> None:
    """Its certificate is recorded, and an event, before it is the authority's: nobody speaks for it yet."""
    clock.advance(timedelta(days=366))
    await core.hierarchy.maintain()
    async with status_plane(core, tmp_path) as plane:
        await plane.presigner.attempt()
        present = dict(core.authorities._by_id)
        await core.rollover.prepare("root", "test")
        core.authorities._by_id = present  # as it was in the middle of that
        assert await plane.presigner.attempt()
