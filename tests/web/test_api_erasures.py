"""Erasing over the API: by rule, by two persons, and once."""

from pathlib import Path

from pkiserver.core import Core
from store.records import to_unix
from tests.web.api_harness import desk
from tests.web.registration_world import LOCAL, World

GROUND = {"ground": "retention is over"}


async def test_one_asks_and_another_confirms(core: Core, tmp_path: Path) -> None:
    async with desk(core, tmp_path) as office:
        world = await World(office).make()
        made = await world.verified()
        ask, confirm = f"/people/{made.person}/erasure", f"/people/{made.person}/erasure/confirm"
        senior = await office.actor("saran", "senior_registrar")
        assert "is open" in (await senior.post(ask, GROUND)).refused(409, "conflict")
        await core.registration.applications.withdraw(LOCAL, made.id, made.version, "changed the mind")
        assert "is kept until" in (await senior.post(ask, GROUND)).refused(409, "conflict")
        over = to_unix(core.clock.now() - core.settings.registration.retention)
        await core.storage.write(lambda tx: tx.execute("UPDATE applications SET updated_at = ?", (over,)))
        administrator = await office.actor("ann", "administrator")
        (await administrator.post(confirm)).refused(404, "not_found")
        asked = (await senior.post(ask, GROUND)).body
        assert (asked["person"], asked["asked_by"]) == (made.person, "actor:saran")
        (await senior.post(confirm)).refused(403, "not_authorized")
        erased = (await administrator.post(confirm)).body
        assert (erased["person"], erased["applications"]) == (made.person, [made.id])
        assert (await senior.get(f"/people/{made.person}")).body["given_name"] is None
        (await administrator.post(confirm)).refused(404, "not_found")
