"""Actors over the API and the command line: registered, granted roles, and what two administrators decide."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest

from pkiserver.core import Core
from pkiserver.errors import ChangedError, ConflictError, NotAuthorizedError, PKIServerError, RefusedError
from pkiserver.progress import silent
from pkiserver.ra.actor_identity import ROLES_OF_PEOPLE
from pkiserver.ra.role_grants import PROPOSAL_LIFETIME
from store import actor_profiles
from tests.web.api_harness import Client, Desk, Reply, desk, path_of
from tests.web.registration_world import FORM, LOCAL, OTHER_FORM, World

if TYPE_CHECKING:
    from tests.conftest import FakeClock


@pytest.fixture
async def office(core: Core, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(core, tmp_path, rate=1000, burst=1000) as opened:
        await World(opened).make()
        yield opened


async def registered(office: Desk, by: Client, name: str) -> Reply:
    """Register a certificate for a name over the API."""
    holder = await office.holder(name)
    assert holder.files is not None
    given = {"name": name, "certificate": holder.files[0].read_text(), "civil_id": number_of(name)}
    return await by.post("/actors", given)


def number_of(name: str) -> str:
    return f"8{crc32(name.encode()):011d}"


async def granted(by: Client, name: str, role: str, verb: str = "grant", **place: object) -> Reply:
    seen = (await by.get(f"/actors/{name}")).etag
    return await by.post(f"/actors/{name}/{verb}", {"role": role, **place}, If_Match=seen)


async def decided(by: Client, proposal: Reply, verb: str = "confirm") -> Reply:
    path = f"/actor-proposals/{proposal.body['proposal']}"
    return await by.post(f"{path}/{verb}", If_Match=(await by.get(path)).etag)


async def roles(office: Desk, name: str) -> list[str]:
    found: list[str] = (await office.command("actor.show", name=name))["roles"]
    return found


async def run(office: Desk, name: str, by: str = "user:root", /, **given: object) -> Any:
    return await office.core.commands.run(name, given, by, silent)


async def test_init_makes_the_first_administrator(office: Desk) -> None:
    assert await roles(office, "administrator") == ["administrator"]
    (first,) = await office.audited("actor.grant")
    assert (first.actor, json.loads(first.detail)["role"]) == ("system", "administrator")


async def test_one_administrator_grants_alone(office: Desk) -> None:
    """The second one is the last whom one person makes."""
    await office.holder("station")
    made = await office.actor("ann", "administrator")
    assert await office.command("actor.proposals", state="waiting") == []
    assert await roles(office, "ann") == ["administrator"]
    assert (await registered(office, made, "bat")).status == 200
    proposed = await granted(made, "bat", "auditor")
    assert (proposed.body["state"], await roles(office, "bat")) == ("waiting", [])


class TestTwoAdministrators:
    @pytest.fixture
    async def ann(self, office: Desk) -> Client:
        return await office.actor("ann", "administrator")

    @pytest.fixture
    async def bold(self, office: Desk, ann: Client) -> Client:
        assert ann.name == "ann"  # the first of the two
        return await office.actor("bold", "administrator")

    async def test_the_second_confirms(self, office: Desk, ann: Client, bold: Client) -> None:
        await registered(office, ann, "bat")
        proposed = await granted(ann, "bat", "registrar", office="ub-1")
        assert (proposed.body["state"], proposed.body["office"]) == ("waiting", "ub-1")
        assert [
            one["proposal"] for one in (await bold.get("/actor-proposals?state=waiting")).body["items"]
        ] == [proposed.body["proposal"]]
        assert (await decided(bold, proposed)).body["state"] == "done"
        assert await roles(office, "bat") == ["registrar of ub-1"]
        shown = (await ann.get("/actors/bat")).body["roles"][0]
        assert (shown["role"], shown["office"], shown["granted_by"]) == ("registrar", "ub-1", "actor:bold")
        again = await decided(bold, proposed)
        assert "is done already" in again.refused(409, "conflict")

    @pytest.mark.usefixtures("bold")
    async def test_who_proposed_does_not_confirm(self, office: Desk, ann: Client) -> None:
        await registered(office, ann, "bat")
        proposed = await granted(ann, "bat", "auditor")
        assert "needs a second person" in (await decided(ann, proposed)).refused(403, "not_authorized")
        assert await roles(office, "bat") == []
        (refused,) = await office.audited("api.confirmProposal")
        assert (refused.actor, refused.outcome) == ("actor:ann", "refused")

    async def test_nobody_grants_or_confirms_for_themselves(
        self, office: Desk, ann: Client, bold: Client
    ) -> None:
        reply = await granted(ann, "ann", "auditor")
        assert "to themselves" in reply.refused(403, "not_authorized")
        proposed = await granted(ann, "bold", "auditor")
        assert "about themselves" in (await decided(bold, proposed)).refused(403, "not_authorized")
        assert await roles(office, "bold") == ["administrator"]

    async def test_the_second_saw_the_same_actor(self, office: Desk, ann: Client, bold: Client) -> None:
        """A certificate that is added meanwhile makes it another one."""
        await registered(office, ann, "bat")
        proposed = await granted(ann, "bat", "auditor")
        path = f"/actor-proposals/{proposed.body['proposal']}"
        seen = (await bold.get(path)).etag
        second = await office.holder("second")
        assert second.files is not None
        await ann.post("/actors", {"name": "bat", "certificate": second.files[0].read_text()})
        (await bold.post(f"{path}/confirm", If_Match=seen)).refused(412, "precondition_failed")
        (await bold.post(f"{path}/confirm")).refused(428, "precondition_required")
        now = await decided(bold, proposed)
        assert "propose it again" in now.refused(412, "precondition_failed")
        assert await roles(office, "bat") == []

    @pytest.mark.usefixtures("bold")
    async def test_a_certificate_more_of_who_has_roles(self, office: Desk, ann: Client) -> None:
        """It would be a grant of all of these."""
        await office.actor("bat", "auditor")
        renewed = await office.holder("renewed")
        assert renewed.files is not None
        await ann.post("/actors", {"name": "bat", "certificate": renewed.files[0].read_text()})
        (await renewed.get("/actors")).refused(403, "not_authorized")
        (waiting,) = await office.command("actor.proposals", state="waiting")
        assert (waiting["kind"], waiting["name"]) == ("certificate", "bat")
        await office.confirmed(waiting["proposal"])
        assert (await renewed.get("/actors")).status == 200

    async def test_every_certificate_of_an_actor_is_the_own(self, office: Desk, ann: Client) -> None:
        renewed = await office.holder("renewed")
        await office.register(renewed, "administrator", "ann")
        assert renewed.certificate is not None
        path = path_of(office.core, renewed.certificate)
        seen = (await ann.get(path)).etag
        reply = await ann.post(f"{path}/revoke", {"reason": "superseded"}, If_Match=seen)
        assert "your own certificate" in reply.refused(403, "not_authorized")

    async def test_a_certificate_more_of_the_own(self, office: Desk, ann: Client, bold: Client) -> None:
        """It is proposed, and not confirmed, by oneself."""
        own = await office.holder("own")
        assert own.files is not None
        await ann.post("/actors", {"name": "ann", "certificate": own.files[0].read_text()})
        (waiting,) = await office.command("actor.proposals", state="waiting")
        path = f"/actor-proposals/{waiting['proposal']}"
        reply = await ann.post(f"{path}/confirm", If_Match=(await ann.get(path)).etag)
        reply.refused(403, "not_authorized")
        assert (await bold.post(f"{path}/confirm", If_Match=(await bold.get(path)).etag)).status == 200

    async def test_withdrawing(self, office: Desk, ann: Client, bold: Client) -> None:
        """That of an administrator takes two; any other is at once, since it may be urgent."""
        auditor = await office.actor("saikhan", "auditor")
        assert (await granted(ann, "saikhan", "auditor", "withdraw")).body["state"] == "done"
        (await auditor.get("/actors")).refused(403, "not_authorized")
        again = await granted(ann, "saikhan", "auditor", "withdraw")
        assert "does not have this role" in again.refused(409, "conflict")
        proposed = await granted(ann, "bold", "administrator", "withdraw")
        assert (proposed.body["state"], await roles(office, "bold")) == ("waiting", ["administrator"])
        third = await office.actor("chimeg", "administrator")
        assert (await decided(third, proposed)).body["state"] == "done"
        (await bold.get("/actors")).refused(403, "not_authorized")

    async def test_removing(self, office: Desk, ann: Client, bold: Client) -> None:
        auditor = await office.actor("saikhan", "auditor")
        seen = (await ann.get("/actors/saikhan")).etag
        assert (await ann.post("/actors/saikhan/remove", If_Match=seen)).body["state"] == "done"
        assert "for no actor" in (await auditor.get("/actors")).refused(403, "not_authorized")
        seen = (await ann.get("/actors/bold")).etag
        assert (await ann.post("/actors/bold/remove", If_Match=seen)).body["state"] == "waiting"
        assert (await bold.get("/actors")).status == 200

    async def test_refusing(self, office: Desk, ann: Client, bold: Client) -> None:
        await registered(office, ann, "bat")
        for by, outcome in ((bold, "refused"), (ann, "refused")):
            proposed = await granted(ann, "bat", "auditor")
            assert (await decided(by, proposed, "refuse")).body["state"] == outcome
            (await decided(bold, proposed)).refused(409, "conflict")
        assert len(await office.audited("actor.grant.refuse")) == 2

    async def test_who_proposed_is_an_administrator_still(
        self, office: Desk, ann: Client, bold: Client
    ) -> None:
        await registered(office, bold, "bat")
        proposed = await granted(bold, "bat", "auditor")
        taken = await granted(ann, "bold", "administrator", "withdraw")
        third = await office.actor("chimeg", "administrator")
        await decided(third, taken)
        (await decided(ann, proposed)).refused(403, "not_authorized")

    @pytest.mark.usefixtures("bold")
    async def test_nothing_waits_for_ever(self, office: Desk, ann: Client, clock: "FakeClock") -> None:
        await registered(office, ann, "bat")
        proposed = await granted(ann, "bat", "auditor")
        clock.advance(PROPOSAL_LIFETIME + timedelta(seconds=1))
        given = {"proposal": proposed.body["proposal"], "version": 1}
        with pytest.raises(ConflictError, match="too old"):
            await run(office, "actor.confirm", "user:second", **given)

    @pytest.mark.usefixtures("bold")
    async def test_pages(self, ann: Client) -> None:
        first = (await ann.get("/actors?limit=2")).body
        assert [one["name"] for one in first["items"]] == ["bold", "ann"]
        rest = (await ann.get(f"/actors?limit=2&after={first['next']}")).body
        assert [one["name"] for one in rest["items"]] == ["administrator"]
        assert rest["next"] is None
        proposals = (await ann.get("/actor-proposals?limit=1")).body
        more = (await ann.get(f"/actor-proposals?limit=200&after={proposals['next']}")).body
        assert proposals["items"][0]["proposal"] == more["items"][0]["proposal"] + 1


class TestAtTheMachine:
    """The same on the command line, where a user counts as an administrator."""

    async def test_another_user_confirms(self, office: Desk) -> None:
        await office.actor("ann", "administrator")
        holder = await office.holder("bat")
        assert holder.files is not None
        pem = holder.files[0].read_text()
        given = {"role": "registrar", "office": "ub-2", "pem": pem, "civil_id": number_of("bat")}
        added = await run(office, "actor.add", name="bat", **given)
        (proposal,) = added["waiting"]
        assert added["roles"] == []
        with pytest.raises(NotAuthorizedError, match="second person"):
            await run(office, "actor.confirm", proposal=proposal, version=2)
        with pytest.raises(ChangedError, match="since you saw it"):
            await run(office, "actor.confirm", "user:second", proposal=proposal, version=0)
        done = await run(office, "actor.confirm", "user:second", proposal=proposal, version=2)
        assert (done["state"], done["decided_by"]) == ("done", "user:second")
        assert await roles(office, "bat") == ["registrar of ub-2"]
        withdrawn = await run(
            office, "actor.role", kind="withdraw", name="bat", role="registrar", office="ub-2"
        )
        assert withdrawn["state"] == "done"
        other = await run(office, "actor.role", kind="grant", name="bat", role="auditor")
        assert (await run(office, "actor.refuse", proposal=other["proposal"]))["state"] == "refused"

    async def test_the_last_administrator_stays(self, office: Desk) -> None:
        for command, given in (
            ("actor.role", {"kind": "withdraw", "role": "administrator"}),
            ("actor.remove", {}),
        ):
            with pytest.raises(ConflictError, match="last administrator"):
                await run(office, command, name="administrator", **given)

    @pytest.mark.parametrize(
        ("given", "error", "reason"),
        [
            ({"role": "registrar"}, RefusedError, "needs the office"),
            ({"role": "registrar", "organization": "1234567"}, RefusedError, "needs the office"),
            ({"role": "org_officer", "everywhere": True}, RefusedError, "not granted for all offices"),
            ({"role": "org_officer"}, RefusedError, "needs the organization"),
            ({"role": "auditor", "office": "ub-1"}, RefusedError, "is not of one office"),
            ({"role": "registrar", "everywhere": True, "office": "ub-1"}, RefusedError, "needs the office"),
            ({"role": "janitor"}, RefusedError, "no role janitor"),
            ({"role": "registrar", "office": "ub-9"}, PKIServerError, "no office ub-9"),
        ],
    )
    async def test_a_role_is_granted_in_its_place(
        self, office: Desk, given: dict[str, Any], error: type[PKIServerError], reason: str
    ) -> None:
        await office.organization()
        await office.actor("bat", "auditor")
        with pytest.raises(error, match=reason):
            await run(office, "actor.role", kind="grant", name="bat", **given)
        assert await roles(office, "bat") == ["auditor"]

    async def test_who_an_actor_is_is_said_once(self, office: Desk) -> None:
        known = (await World(office).verified()).person
        await office.actor("dorj", "auditor", civil_id=FORM["civil_id"])
        shown = await office.command("actor.show", name="dorj")
        assert (shown["person"], shown["identified"]) == (known, True)
        again = await run(office, "actor.identify", name="dorj", civil_id=FORM["civil_id"])
        assert again["version"] == shown["version"]
        assert len(await office.audited("actor.identify")) == 1
        for name, number, reason in (
            ("dorj", OTHER_FORM["civil_id"], "dorj is somebody else on record"),
            ("administrator", FORM["civil_id"], "this person is actor dorj: nobody is two"),
            ("administrator", "12", "12 digits"),
        ):
            with pytest.raises(PKIServerError, match=reason):
                await run(office, "actor.identify", name=name, civil_id=number)
        assert not (await office.command("actor.show", name="administrator"))["identified"]

    @pytest.mark.parametrize("role", sorted(ROLES_OF_PEOPLE))
    async def test_a_role_of_people_needs_to_know_who_it_is(self, office: Desk, role: str) -> None:
        holder = await office.holder("bat")
        assert holder.files is not None
        await run(office, "actor.add", name="bat", pem=holder.files[0].read_text())
        place = {"office": "ub-1"} if "registrar" in role else {}
        place |= {"organization": await office.organization()} if role == "org_officer" else {}
        grant = {"kind": "grant", "name": "bat", "role": role, **place}
        with pytest.raises(RefusedError, match="nobody said who bat is"):
            await run(office, "actor.role", **grant)
        await run(office, "actor.identify", name="bat", civil_id=number_of("bat"))
        assert (await run(office, "actor.role", **grant))["state"] == "done"

    async def test_who_acts_here_is_not_erased(self, office: Desk, clock: "FakeClock") -> None:
        made = await World(office).verified()
        await office.core.registration.applications.withdraw(LOCAL, made.id, made.version, "no")
        await office.actor("dorj", "auditor", civil_id=FORM["civil_id"])
        clock.advance(timedelta(days=8 * 366))
        erasures, second = office.core.registration.erasures, replace(LOCAL, name="user:second")
        assert made.person is not None
        with pytest.raises(ConflictError, match="acts here, as dorj"):
            await erasures.ask(LOCAL, made.person, "the retention is over")
        await run(office, "actor.remove", name="dorj")
        await erasures.ask(LOCAL, made.person, "the retention is over")
        await erasures.confirm(second, made.person)
        assert not (await office.command("actor.show", name="dorj"))["identified"]


async def test_the_limit_of_a_registration_client_is_shown(office: Desk) -> None:
    ann = await office.actor("ann", "administrator")
    holder = await office.holder("station", "registration-client")
    await office.register(holder, "ra")
    await office.core.storage.write(lambda tx: actor_profiles.replace(tx, "station", ["tls-server"]))
    assert (await ann.get("/actors/station")).body["profiles"] == ["tls-server"]
    limits = {one["name"]: one["profiles"] for one in (await ann.get("/actors")).body["items"]}
    assert (limits["station"], limits["ann"]) == (["tls-server"], [])
