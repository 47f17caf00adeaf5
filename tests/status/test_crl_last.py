"""The last CRL of an authority (EN 319 411-1 §6.3.9): when it may be issued, and that nothing comes after."""

from typing import TYPE_CHECKING, Any

import pytest
from served_crls import HOUR, configure, entries, number, published, served
from status_plane import change

from pkiserver.core import Core, open_core
from pkiserver.errors import ConflictError
from pkiserver.home import Home
from pkiserver.signer.errors import SignerUnavailableError
from protocols.crl import NO_FURTHER_UPDATE

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue


async def revoke_all(core: Core) -> None:
    """Revoke what `init` made of `infrastructure` besides the OCSP responder."""
    listed = await core.commands.run(
        "certificate.list", {"ca": "infrastructure", "state": None, "limit": 100}, "test", lambda *_: None
    )
    for found in listed:
        if found["profile"] != "ocsp-responder" and found["status"] == "active":
            arguments = {"serial": found["serial"], "ca": "infrastructure", "reason": "cessationOfOperation"}
            await core.commands.run("certificate.revoke", arguments, "test", lambda *_: None)


async def test_refused_while_a_certificate_is_in_use(core: Core, issue: "Issue") -> None:
    await revoke_all(core)
    record = await issue(core)
    await change(core, "suspend", record)
    with pytest.raises(ConflictError, match="has certificates in use"):
        await core.crl_publisher.publish_last("infrastructure", "test")
    assert not core.authorities.get("infrastructure").ended
    assert served(core).next_update_utc != NO_FURTHER_UPDATE


async def test_refused_while_one_is_about_to_be_issued(core: Core, make_request: Any) -> None:
    await revoke_all(core)
    await core.issuance.prepare(make_request())
    with pytest.raises(ConflictError, match="about to issue"):
        await core.crl_publisher.publish_last("infrastructure", "test")


async def test_after_the_last_crl_nothing_comes(
    core: Core, home: Home, clock: "FakeClock", issue: "Issue", audited: Any
) -> None:
    record = await issue(core)
    await revoke_all(core)
    (last,) = await core.crl_publisher.publish_last("infrastructure", "user:operator")
    assert served(core).next_update_utc == NO_FURTHER_UPDATE == last.next_update
    assert record.serial in entries(served(core))
    actions = [entry.action for entry in await audited(core)]
    assert actions[-3:] == ["authority.end", "crl.sign", "crl.publish"]
    assert await core.crl_publisher.publish_last("infrastructure", "test") == []  # once is enough
    with pytest.raises(ConflictError, match="issued its last CRL"):
        await core.crl_publisher.publish("infrastructure", "test")
    with pytest.raises(ConflictError, match="issued its last CRL"):
        await issue(core, "other.example.mn")
    clock.advance(100 * HOUR)
    await core.crl_publisher.work()
    assert number(served(core)) == last.number
    assert number(served(core, "citizen")) == 2
    async with open_core(home, clock) as again:
        assert again.authorities.get("infrastructure").ended
        await again.crl_publisher.work()
        assert number(served(again)) == last.number
        clock.advance(80 * 24 * HOUR)  # its responder ends, and is not made anew
        await again.hierarchy.maintain()


async def test_what_was_cut_short_is_done_later(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> bytes:
        raise SignerUnavailableError("the signer process hangs")

    await revoke_all(core)
    with monkeypatch.context() as patch:
        patch.setattr(core.signer, "sign_digest", fail)
        with pytest.raises(SignerUnavailableError):
            await core.crl_publisher.publish_last("infrastructure", "test")
    await core.crl_publisher.work()
    assert served(core).next_update_utc == NO_FURTHER_UPDATE


async def test_a_crl_that_was_due_before_does_not_come_after_it(
    core: Core, clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schedule finds one due, and waits while an operator ends the authority."""
    await revoke_all(core)
    clock.advance(20 * HOUR)
    published_before = core.crl_publisher._publish
    ended = False

    async def late(authority: Any, *arguments: Any) -> Any:
        nonlocal ended
        if authority.name == "infrastructure" and not ended:
            ended = True
            await core.crl_publisher.publish_last("infrastructure", "test")
        return await published_before(authority, *arguments)

    monkeypatch.setattr(core.crl_publisher, "_publish", late)
    await core.crl_publisher.work()
    assert ended
    assert served(core).next_update_utc == NO_FURTHER_UPDATE
    last = number(served(core))
    monkeypatch.undo()
    await core.crl_publisher.work()
    assert number(served(core)) == last


async def test_it_takes_the_delta_away(home: Home, clock: "FakeClock") -> None:
    configure(home, crl_delta_period='"1h"')
    async with open_core(home, clock) as core:
        await core.crl_publisher.work()
        await revoke_all(core)
        await core.crl_publisher.publish_last("infrastructure", "test")
        assert "infrastructure.delta" not in published(core)
        assert not (home.public / "crl" / "infrastructure.delta.crl").exists()
        await core.crl_publisher.work()
        assert number(served(core)) == 3
