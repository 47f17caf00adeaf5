"""A new key of an authority: prepared, published, activated; the former one goes on for what it issued."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pkiserver.ca.authorities import Authority
from pkiserver.ca.ca_certificates import ca_certificates, root_update, sent_chain
from pkiserver.ca.rollover import NOTICE
from pkiserver.core import Core, load_configuration
from pkiserver.errors import ConflictError, NotFoundError, RefusedError
from pkiserver.home import Home
from pkiserver.progress import silent
from protocols.asn1.der import integer_content
from store import certificates, status_events
from store.records import AuditRecord
from store.response_entries import response_key

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue, Request

DAY = timedelta(days=1)
YEAR = 366 * DAY


async def rolled(core: Core, name: str) -> tuple[Authority, Authority]:
    """Walk an authority to its next key; return the former generation and the new one."""
    former = core.authorities.get(name)
    await core.rollover.prepare(name, "test")
    await core.rollover.publish(name, "test")
    new = await core.rollover.activate(name, None, "test")
    return core.authorities.with_id(former.id), new


async def test_the_walk_of_an_issuing_authority(
    core: Core, issue: "Issue", audited: Callable[[Core], Awaitable[list[AuditRecord]]]
) -> None:
    before = core.authorities.get("infrastructure")
    first = await issue(core, "one.example.mn")
    await core.rollover.prepare("infrastructure", "test")
    assert core.authorities.get("infrastructure") == before
    assert [one.handle for one in core.authorities] == ["root", "citizen", "government", "infrastructure"]
    published = await core.rollover.publish("infrastructure", "test")
    assert (published.handle, published.state) == ("infrastructure.2", "published")
    assert core.authorities.responder(published.id) is not None
    assert core.authorities.get("infrastructure") == before
    second = await issue(core, "two.example.mn")
    await core.rollover.activate("infrastructure", None, "test")
    third = await issue(core, "three.example.mn")
    assert [first.authority, second.authority, third.authority] == [before.id, before.id, published.id]
    certificate = x509.load_der_x509_certificate(third.certificate)
    certificate.verify_directly_issued_by(published.certificate)
    assert certificate.issuer == before.certificate.subject
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert [one.access_location.value for one in access][1].endswith("/ca/infrastructure.2.cer")
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert points[0].full_name[0].value.endswith("/crl/infrastructure.2.crl")  # type: ignore[index]  # it has one
    steps = [one.action for one in await audited(core) if one.actor == "test" and "authority." in one.action]
    assert steps == ["authority.prepare", "authority.publish", "authority.activate"]


async def test_names_mean_the_generation_at_work(core: Core) -> None:
    former, new = await rolled(core, "citizen")
    assert core.authorities.get("citizen") == new
    assert core.authorities.get("citizen.2") == new
    assert core.authorities.get("citizen.1") == former
    assert (former.state, former.handle, former.exact) == ("retiring", "citizen", "citizen.1")
    assert [core.authorities.shown_name(one) for one in (former, new)] == ["citizen.1", "citizen.2"]
    assert core.authorities.shown_name(core.authorities.get("root")) == "root"
    assert core.authorities.ids("citizen") == [former.id, new.id]
    assert core.authorities.ids("citizen.1") == [former.id]
    for name in ("citizen.3", "citizen.x", "nobody", "nobody.1"):
        with pytest.raises(NotFoundError):
            core.authorities.get(name)


async def test_the_former_key_certifies_its_ocsp_signers_and_nothing_else(
    core: Core, clock: "FakeClock", make_request: "Request"
) -> None:
    former, _ = await rolled(core, "infrastructure")
    clock.advance(61 * DAY)
    assert await core.hierarchy.maintain()
    responder = core.authorities.responder(former.id)
    assert responder is not None
    assert responder.key_label == "ocsp-infrastructure-2"
    responder.certificate.verify_directly_issued_by(former.certificate)
    request = make_request("late.example.mn")
    object.__setattr__(request, "authority", former.exact)
    with pytest.raises(ConflictError, match="infrastructure issues no more"):
        await core.issuance.prepare(request)


@pytest.mark.parametrize("state", ["prepared", "published"])
async def test_a_key_does_not_issue_before_it_is_activated(
    core: Core, make_request: "Request", state: str
) -> None:
    await core.rollover.prepare("infrastructure", "test")
    if state == "published":
        await core.rollover.publish("infrastructure", "test")
    request = make_request("early.example.mn")
    object.__setattr__(request, "authority", "infrastructure.2")
    with pytest.raises(ConflictError, match="does not issue yet"):
        await core.issuance.prepare(request)


async def test_steps_are_taken_in_order_and_once(core: Core) -> None:
    with pytest.raises(ConflictError, match="has no next key"):
        await core.rollover.publish("citizen", "test")
    await core.rollover.prepare("citizen", "test")
    await core.rollover.prepare("citizen", "test")  # again: nothing more is made
    assert [one.handle for one in core.authorities.generations("citizen")] == ["citizen", "citizen.2"]
    with pytest.raises(ConflictError, match="is prepared, not published"):
        await core.rollover.activate("citizen", None, "test")
    await core.rollover.publish("citizen", "test")
    with pytest.raises(ConflictError, match="published already"):
        await core.rollover.prepare("citizen", "test")
    await core.rollover.activate("citizen", None, "test")
    with pytest.raises(ConflictError, match="has no next key"):
        await core.rollover.activate("citizen", None, "test")


async def test_activation_at_a_time(core: Core, clock: "FakeClock", home: Home) -> None:
    await core.rollover.prepare("citizen", "test")
    await core.rollover.publish("citizen", "test")
    at = clock.now() + DAY
    assert (await core.rollover.activate("citizen", at, "test")).activate_at == at
    clock.advance(DAY - timedelta(seconds=1))
    assert await core.rollover.activate_due() is False
    clock.advance(timedelta(seconds=1))
    assert await core.rollover.activate_due() is True
    assert core.authorities.get("citizen").handle == "citizen.2"
    assert await core.rollover.activate_due() is False


async def test_activation_after_the_present_key_ends_is_refused(core: Core) -> None:
    await core.rollover.prepare("citizen", "test")
    await core.rollover.publish("citizen", "test")
    end = core.authorities.get("citizen").certificate.not_valid_after_utc
    with pytest.raises(RefusedError, match="activate the next one before"):
        await core.rollover.activate("citizen", end, "test")


async def test_a_roll_over_cut_short_is_finished_by_the_same_steps(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CutError(Exception):
        pass

    async def cut(*_: object) -> None:
        raise CutError

    for owner, name in ((core.signer, "generate"), (core.signer, "sign"), (core.storage, "write")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, cut)
            with pytest.raises(CutError):
                await core.rollover.prepare("root", "test")
        await core.issuance.recover()
    await core.rollover.prepare("root", "test")
    with monkeypatch.context() as patch:
        patch.setattr(core.signer, "generate", cut)  # of its OCSP signer
        with pytest.raises(CutError):
            await core.rollover.publish("root", "test")
    await core.rollover.publish("root", "test")
    assert len(core.authorities.generations("root")) == 2
    assert len(core.authorities.root_updates[0].links) == 2
    keys = {one for one in await core.signer.labels() if "root" in one}
    assert keys == {"ca-root", "ca-root.2", "ocsp-root-1", "ocsp-root.2-1"}


class TestRoot:
    async def test_links_are_as_rfc9810_4_4_1_has_them(self, core: Core, clock: "FakeClock") -> None:
        clock.advance(YEAR)
        old, new = await rolled(core, "root")
        update = root_update(core.authorities)
        assert update is not None
        assert (update.old, update.new) == (old.certificate, new.certificate)
        new_with_old, old_with_new = update.new_with_old, update.old_with_new
        assert new_with_old is not None
        assert old_with_new is not None
        new.certificate.verify_directly_issued_by(new.certificate)
        new_with_old.verify_directly_issued_by(old.certificate)
        old_with_new.verify_directly_issued_by(new.certificate)
        assert new_with_old.public_key() == new.certificate.public_key()
        assert old_with_new.public_key() == old.certificate.public_key()
        assert new_with_old.not_valid_before_utc == new.certificate.not_valid_before_utc
        assert new_with_old.not_valid_after_utc == old.certificate.not_valid_after_utc
        assert old_with_new.not_valid_before_utc == old.certificate.not_valid_before_utc
        assert old_with_new.not_valid_after_utc == old.certificate.not_valid_after_utc
        for link, issuer in ((new_with_old, old), (old_with_new, new)):
            record = await core.storage.read(
                lambda tx, by=issuer, one=link: certificates.get(tx, by.id, one.serial_number)  # type: ignore[misc]  # mypy infers no type for a lambda with defaults
            )
            assert record is not None
            assert record.profile == "root-link"

    async def test_a_new_root_ends_after_the_present_one(
        self, core: Core, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Made at once it would have the same end."""
        authorities = core.settings.authorities  # of the file: the next core may be given the same ones
        shorter = authorities["root"].model_copy(update={"lifetime": authorities["citizen"].lifetime})
        monkeypatch.setitem(authorities, "root", shorter)
        with pytest.raises(RefusedError, match="would end before the present one"):
            await core.rollover.prepare("root", "test")
        assert len(core.authorities.generations("root")) == 1

    async def test_a_link_is_found_whichever_generation_follows(self, core: Core, clock: "FakeClock") -> None:
        roots = [core.authorities.get("root")]
        for _ in range(2):
            clock.advance(YEAR)
            roots.append((await rolled(core, "root"))[1])
        first, second = core.authorities.root_updates
        assert (first.old, first.new) == (roots[0].certificate, roots[1].certificate)
        assert (second.old, second.new) == (roots[1].certificate, roots[2].certificate)
        links = [*first.links, *second.links]
        assert len(set(links)) == 4
        assert root_update(core.authorities, first.old) == first
        assert root_update(core.authorities, second.old) == second
        assert root_update(core.authorities, second.new) is None
        assert root_update(core.authorities) == second

    async def test_cacerts_at_roll_over(self, core: Core, clock: "FakeClock") -> None:
        clock.advance(YEAR)
        before = ca_certificates(core.authorities, clock.now(), "citizen")
        await core.rollover.prepare("root", "test")
        assert ca_certificates(core.authorities, clock.now(), "citizen") == before
        assert root_update(core.authorities) is None
        new = await core.rollover.publish("root", "test")
        old = core.authorities.get("root")
        update = root_update(core.authorities)
        assert update is not None
        given = ca_certificates(core.authorities, clock.now(), "citizen")
        assert given == [core.authorities.get("citizen").der, old.der, new.der, *update.links]
        clock.moment = old.certificate.not_valid_after_utc + timedelta(seconds=1)
        assert ca_certificates(core.authorities, clock.now(), "root") == [new.der]

    async def test_who_trusts_the_former_root_is_sent_the_link(self, core: Core, clock: "FakeClock") -> None:
        clock.advance(YEAR)
        assert sent_chain(core.authorities, "infrastructure") == [
            core.authorities.get("infrastructure").certificate
        ]
        await rolled(core, "root")
        _, infrastructure = await rolled(core, "infrastructure")
        update = root_update(core.authorities)
        assert update is not None
        assert sent_chain(core.authorities, "infrastructure") == [
            infrastructure.certificate,
            update.new_with_old,
        ]
        chain = core.authorities.chain("infrastructure")
        assert [one.handle for one in chain] == ["infrastructure.2", "root.2"]
        chain = core.authorities.chain("infrastructure.1")
        assert [one.handle for one in chain] == ["infrastructure", "root"]


async def test_leaves_end_within_the_key_that_issued_them(
    core: Core, clock: "FakeClock", make_request: "Request"
) -> None:
    former = core.authorities.get("infrastructure")
    end = former.certificate.not_valid_after_utc
    clock.moment = end - 300 * DAY  # a server's certificate lasts 398 days
    await core.hierarchy.maintain()
    with pytest.raises(RefusedError, match="would outlive its issuer"):
        await core.issuance.prepare(make_request("www.example.mn"))
    _, new = await rolled(core, "infrastructure")
    record = await core.issuance.issue(await core.issuance.prepare(make_request("www.example.mn")))
    assert record.authority == new.id
    assert record.not_after <= new.certificate.not_valid_after_utc


async def test_until_when_the_next_key_is_to_be_active(core: Core, clock: "FakeClock") -> None:
    end = core.authorities.get("citizen").certificate.not_valid_after_utc
    _, profiles = load_configuration(core.home)
    longest = profiles["citizen-signature"].lifetime
    assert longest is not None
    latest = core.rollover.times()["citizen"]
    assert latest == end - (longest.after(end) - end)
    clock.moment = latest - NOTICE
    assert "citizen" not in core.rollover.near()
    clock.advance(timedelta(seconds=1))
    assert core.rollover.near()["citizen"] == latest
    await core.hierarchy.maintain()
    await core.rollover.prepare("citizen", "test")
    await core.rollover.publish("citizen", "test")
    assert "citizen" in core.rollover.near()
    await core.rollover.activate("citizen", latest, "test")
    assert "citizen" not in core.rollover.near()


async def test_a_key_in_use_is_refused_to_others_after_a_roll_over(
    core: Core, issue: "Issue", make_request: "Request"
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    first = await issue(core, "one.example.mn", key=key)
    await rolled(core, "infrastructure")
    again = await core.issuance.issue_once(make_request("one.example.mn", key=key))
    assert again != first.certificate  # renewed under the new key


async def test_everything_is_there_after_a_restart(core: Core, home: Home, clock: "FakeClock") -> None:
    clock.advance(YEAR)
    await rolled(core, "root")
    await core.rollover.prepare("citizen", "test")
    before = core.authorities.records, core.authorities.root_updates
    await core.authorities.reload(core.storage)
    assert (core.authorities.records, core.authorities.root_updates) == before


async def test_when_the_former_key_is_over_ocsp_goes_on(
    core: Core, clock: "FakeClock", issue: "Issue"
) -> None:
    """Nobody speaks for it any more, and nobody has to."""
    former = core.authorities.get("infrastructure")
    await issue(core, "old.example.mn")
    clock.moment = former.certificate.not_valid_after_utc - 800 * DAY
    await core.hierarchy.maintain()
    await rolled(core, "infrastructure")
    clock.moment = former.certificate.not_valid_after_utc + timedelta(seconds=1)
    await core.rollover.prepare("citizen", "test")
    await core.rollover.prepare("government", "test")
    for name in ("citizen", "government"):
        await core.rollover.publish(name, "test")
        await core.rollover.activate(name, None, "test")
    await core.hierarchy.maintain()
    record = await issue(core, "new.example.mn")
    async with core.presigning.opened() as (presigner, _):
        assert await presigner.presign(everything=True, authority=None, progress=silent) > 0
        assert presigner.failure is None
    key = response_key(record.authority, integer_content(record.serial))
    assert core.served_responses.get(key) is not None


async def test_events_of_a_key_that_nobody_knows_yet_do_not_hold_up_others(core: Core) -> None:
    async with core.presigning.opened() as (presigner, _):
        await presigner.settle()
        await core.rollover.prepare("citizen", "test")
        await presigner.presign(everything=False, authority=None, progress=silent)
        assert presigner.failure is None
        assert presigner.position == await core.storage.read(status_events.head)
