"""An authority whose key is compromised: nothing more is issued, everything is revoked, all are listed."""

import csv
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from pkiserver.core import Core
from pkiserver.errors import ConflictError, RefusedError, UnavailableError
from protocols.asn1.ocsp import CRLReason
from protocols.crl import NO_FURTHER_UPDATE
from store import authorities, certificates, crl_entries
from store.records import AuditRecord, CertificateRecord

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue, Request

CA = "infrastructure"


class Taker:
    """Takes the list of those who are to be enrolled anew."""

    def __init__(self, name: str = CA, generation: int = 1) -> None:
        self._name = f"reissue-{name}-{generation}.csv"
        self.content = b""

    async def take(self, name: str, piece: bytes) -> None:
        assert name == self._name
        self.content += piece

    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self.content.decode().splitlines()))


async def compromised(core: Core, name: str = CA, taker: Taker | None = None) -> dict[str, Any]:
    """Give the command, as the command line does."""
    taker = taker or Taker()
    arguments = {"name": name, "confirmed": True}
    answer: dict[str, Any] = await core.commands.run(
        "ca.compromise", arguments, "user:1", lambda *_: None, taker.take
    )
    return answer


async def reason_of(core: Core, authority: int, serial: int) -> int | None:
    entry = await core.storage.read(lambda tx: crl_entries.current(tx, authority, serial))
    return entry.reason if entry else None


async def test_everything_it_issued_is_revoked_and_listed(
    core: Core, issue: "Issue", audited: Callable[[Core], Awaitable[list[AuditRecord]]]
) -> None:
    authority = core.authorities.get(CA)
    issued = [await issue(core, f"{n}.example.mn") for n in range(3)]
    await core.commands.run(
        "certificate.revoke",
        {"serial": f"{issued[0].serial:x}", "ca": None, "reason": "superseded"},
        "user:1",
        lambda *_: None,
    )
    taker = Taker()
    answer = await compromised(core, taker=taker)
    # The server's and the administrator's certificate are of the same authority.
    assert (answer["revoked"], answer["to_reissue"]) == (4, 4)
    listed = {int(row["serial"], 16): row for row in taker.rows()}
    assert {one.serial for one in issued[1:]} < set(listed)
    assert issued[0].serial not in listed
    assert listed[issued[1].serial]["subject"] == issued[1].subject
    for one in issued[1:]:
        assert await reason_of(core, authority.id, one.serial) == CRLReason.CA_COMPROMISE
    assert await reason_of(core, authority.id, issued[0].serial) == CRLReason.SUPERSEDED
    root = core.authorities.get("root")
    serial = authority.certificate.serial_number
    assert await reason_of(core, root.id, serial) == CRLReason.CA_COMPROMISE
    assert int(answer["revoked_above"], 16) == serial
    actions = [one.action for one in await audited(core) if one.actor == "user:1"]
    assert actions[1] == "authority.compromise"
    assert actions[-1] == "crl.publish"


async def test_its_last_crl_has_no_successor(core: Core, issue: "Issue") -> None:
    record = await issue(core)
    await compromised(core)
    crl = x509.load_der_x509_crl((core.home.public / "crl" / f"{CA}.crl").read_bytes())
    assert crl.next_update_utc == NO_FURTHER_UPDATE
    assert crl.get_revoked_certificate_by_serial_number(record.serial) is not None
    assert core.authorities.get(CA).state == "compromised"
    assert core.authorities.get(CA).ended


async def test_it_issues_nothing_more(core: Core, make_request: "Request") -> None:
    begun = await core.issuance.prepare(make_request("begun.example.mn"))
    await core.commands._services.compromise.stop(CA, "user:1")
    with pytest.raises(ConflictError, match="is compromised: it issues no more"):
        await core.issuance.prepare(make_request("late.example.mn"))
    with pytest.raises(ConflictError, match="is compromised: it issues no more"):
        await core.issuance.issue(begun)
    found = await core.storage.read(
        lambda tx: certificates.get(tx, begun.intent.authority, begun.intent.serial)
    )
    assert found is None


async def test_it_makes_no_ocsp_signer_any_more(core: Core, clock: "FakeClock") -> None:
    await compromised(core)
    before = core.authorities.responder(core.authorities.get(CA).id)
    clock.moment = core.authorities.get(CA).certificate.not_valid_before_utc.replace(
        year=clock.now().year + 1
    )
    await core.hierarchy.maintain()
    assert core.authorities.responder(core.authorities.get(CA).id) == before


async def test_cut_short_it_is_repeated_with_the_same_list(
    core: Core, issue: "Issue", monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        await issue(core, f"{n}.example.mn")
    changes = core.commands._services.status_changes
    carry_out, left = changes.carry_out, 3

    async def failing(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise UnavailableError("the disk is full")
        return await carry_out(*arguments)

    first, second = Taker(), Taker()
    with monkeypatch.context() as patch:
        patch.setattr(type(changes), "carry_out", lambda _self, *arguments: failing(*arguments))
        with pytest.raises(UnavailableError):
            await compromised(core, taker=first)
    answer = await compromised(core, taker=second)
    assert second.content == first.content
    assert len(second.rows()) == answer["to_reissue"] == 5
    assert (await compromised(core))["revoked"] == 0


async def test_a_new_key_takes_its_place(core: Core, issue: "Issue", make_request: "Request") -> None:
    await compromised(core)
    await core.rollover.prepare(CA, "user:1")
    await core.rollover.publish(CA, "user:1")
    new = await core.rollover.activate(CA, None, "user:1")
    record: CertificateRecord = await issue(core, "again.example.mn")
    assert record.authority == new.id
    assert await core.server_certificates.maintain() is True  # the server's own was of the old key
    assert await core.server_certificates.maintain() is False


async def test_of_a_former_key_no_further_one_is_asked_for(core: Core) -> None:
    """Its follower is at work: who is told to prepare another in an emergency would lose time."""
    await core.rollover.prepare(CA, "user:1")
    await core.rollover.publish(CA, "user:1")
    await core.rollover.activate(CA, None, "user:1")
    assert (await compromised(core, f"{CA}.1"))["next"] == "enrol its holders anew"
    rows = await core.commands.run("ca.rollover.status", {"name": CA}, "user:1", lambda *_: None)
    assert [(row["state"], row["next"]) for row in rows] == [("compromised", ""), ("active", "")]
    assert "--prepare" in (await compromised(core, f"{CA}.2", Taker(generation=2)))["next"]


class TestRoot:
    async def test_all_authorities_below_are_revoked_and_issue_nothing(
        self, core: Core, make_request: "Request"
    ) -> None:
        taker = Taker("root")
        answer = await compromised(core, "root", taker)
        assert answer["revoked_above"] is None
        assert "remove this root" in answer["next"]
        assert {row["profile"] for row in taker.rows()} == {"issuing-ca"}
        with pytest.raises(ConflictError, match="the certificate of authority infrastructure is revoked"):
            await core.issuance.prepare(make_request("late.example.mn"))

    async def test_links_to_it_are_revoked(self, core: Core, clock: "FakeClock") -> None:
        clock.moment = clock.moment.replace(year=clock.moment.year + 1, day=1)
        await core.hierarchy.maintain()
        await core.rollover.prepare("root", "user:1")
        await core.rollover.publish("root", "user:1")
        await core.rollover.activate("root", None, "user:1")
        (update,) = core.authorities.root_updates
        assert update.old_with_new is not None
        assert update.new_with_old is not None
        await compromised(core, "root.1", Taker("root"))
        old, new = core.authorities.get("root.1"), core.authorities.get("root.2")
        for issuer, link in ((new, update.old_with_new), (old, update.new_with_old)):
            assert await reason_of(core, issuer.id, link.serial_number) == CRLReason.CA_COMPROMISE
        assert core.authorities.root_updates[0].links == []


async def test_without_a_confirmation_nothing_happens(core: Core) -> None:
    with pytest.raises(RefusedError, match="confirm"):
        await core.commands.run("ca.compromise", {"name": CA, "confirmed": False}, "user:1", lambda *_: None)
    state = await core.storage.read(lambda tx: authorities.state_of(tx, core.authorities.get(CA).id))
    assert state == "active"


async def test_by_policy_the_key_signs_no_crl_again(core: Core, issue: "Issue", clock: "FakeClock") -> None:
    """The CRL of before runs out; the authority above says by its own that the key is revoked."""
    record = await issue(core)
    await core.crl_publisher.work()
    file = core.home.public / "crl" / f"{CA}.crl"
    before = file.read_bytes()
    policies = {**core.crl_publisher._policies}
    policies[CA] = replace(policies[CA], last_after_compromise=False)
    core.crl_publisher._policies = policies
    answer = await compromised(core)
    assert answer["revoked"] == 3
    clock.moment += timedelta(days=2)
    await core.crl_publisher.work()
    assert file.read_bytes() == before
    with pytest.raises(ConflictError, match="compromise_crl has it sign no CRL"):
        await core.crl_publisher.publish(CA, "user:1")
    authority = core.authorities.get(CA)
    assert (authority.state, authority.ended) == ("compromised", False)
    assert await reason_of(core, authority.id, record.serial) == CRLReason.CA_COMPROMISE
    await compromised(core)  # again
    assert file.read_bytes() == before
