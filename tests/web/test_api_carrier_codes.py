"""Codes over the API: nothing of them is kept with a request or an answer, and refusals are on record."""

from pathlib import Path

from pkiserver.core import Core
from pkiserver.ra.letters.outbox import Medium
from tests.ra.officer_setting import LIST, NUMBER, SPECIALIST, Organization
from tests.web.api_harness import desk
from tests.web.registration_world import on_behalf_of

CODE = "so-pin-48151623"
PATH = f"/organizations/{NUMBER}/tokens/T-1"
CIVIL_ID = LIST.splitlines()[1].split(",")[3]


async def test_no_code_is_kept_with_an_idempotency_key(core: Core, tmp_path: Path) -> None:
    async with desk(core, tmp_path) as office:
        own = await Organization.of(core)
        await core.registration.tokens.receive(SPECIALIST, NUMBER, b"T-1", "act 12")
        made = await own.issued()
        await core.registration.tokens.assign(own.officer, NUMBER, "T-1", made.id)
        specialist, service = await office.actor("tuya", "specialist"), await office.actor("kiosk", "service")
        key = {"Idempotency-Key": "a-key-0001"}
        kept = await specialist.ask("POST", f"/api/v1{PATH}/unblock-code", {"code": CODE}, key)
        assert (kept.status, kept.body["number"], CODE.encode() in kept.octets) == (200, 1, False)
        holder = on_behalf_of(CIVIL_ID)
        assert (await service.ask("POST", f"/api/v1{PATH}/unblock", None, holder)).body["attempts"] == 5
        wrong = {"challenge": "AAAA-AAAA-AAAA"}
        (await service.ask("POST", f"/api/v1{PATH}/unblock/release", wrong, holder)).refused(
            403, "not_authorized"
        )
        now = core.clock.now()
        [letter] = await core.storage.read(lambda tx: core.registration.outbox.due(tx, Medium.MAIL, now, 10))
        answer = {"challenge": letter.values["challenge"]}
        released = await service.ask("POST", f"/api/v1{PATH}/unblock/release", answer, holder | key)
        assert (released.status, released.body) == (200, {"token": "T-1", "code": CODE})
        assert released.headers["Cache-Control"] == "no-store"
        again = await service.ask("POST", f"/api/v1{PATH}/unblock/release", answer, holder | key)
        again.refused(403, "not_authorized")
        assert await core.storage.read(lambda tx: tx.all("SELECT actor FROM api_requests", ())) == []
        bad = await specialist.ask("POST", f"/api/v1{PATH}/unblock-code", {"code": "with blanks " + CODE})
        assert CODE not in bad.refused(422, "unprocessable")
        outcomes = [one.outcome for one in await office.audited("token.unblock")]
        assert outcomes == ["refused", "done", "refused"]
