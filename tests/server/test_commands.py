"""Each command of the table: what it returns, changes and refuses."""

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from pkiserver.bounds import MAX_LIST
from pkiserver.commands.services import parse_serial
from pkiserver.core import Core
from pkiserver.errors import ConflictError, NotFoundError, PKIServerError, RefusedError
from pkiserver.progress import silent
from pkiserver.ra.lifecycle import REVOCATION_REASONS
from protocols.errors import ProtocolError
from store import certificates as certificate_rows

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue

CREDENTIAL: dict[str, Any] = {
    "profile": "tls-server",
    "subject": "CN=www.example.mn",
    "san": ["dns:www.example.mn"],
    "limit_mnt": None,
    "uses": 1,
    "lifetime_s": None,
}


async def run(core: Core, command: str, /, **arguments: Any) -> Any:
    result = await core.commands.run(command, arguments, "user:operator", silent)
    assert json.loads(json.dumps(result)) == result
    return result


async def serial_of(core: Core, issue: "Issue", name: str = "www.example.mn") -> str:
    return f"{(await issue(core, name)).serial:032x}"


class TestTable:
    async def test_an_unknown_command(self, core: Core) -> None:
        with pytest.raises(NotFoundError, match="different versions"):
            await run(core, "certificate.praise")

    @pytest.mark.parametrize(
        ("command", "arguments"),
        [
            ("ca.show", {}),
            ("ca.show", {"name": 1}),
            ("ca.show", {"name": None}),
            ("ca.show", {"name": "root", "more": 1}),
            ("ca.show", {"caller": {}, "name": "root"}),
            ("ca.show", {"services": {}, "name": "root"}),
            ("ca.list", {"_caller": {}}),
            ("certificate.list", {"ca": None, "state": None, "limit": "7"}),
            ("certificate.list", {"ca": None, "state": None, "limit": True}),
            ("credential.create", CREDENTIAL | {"san": "dns:www.example.mn"}),
            ("credential.create", CREDENTIAL | {"uses": 1.5}),
            ("crl.publish", {"ca": ["root"]}),
        ],
    )
    async def test_wrong_arguments(self, core: Core, command: str, arguments: dict[str, Any]) -> None:
        with pytest.raises(RefusedError, match=f"wrong arguments for {command}"):
            await core.commands.run(command, arguments, "test", silent)

    @pytest.mark.parametrize(
        ("command", "arguments"),
        [
            ("credential.cancel", {"reference": "\udcff"}),
            ("credential.create", CREDENTIAL | {"subject": "CN=\udcff"}),
            ("certificate.list", {"ca": None, "state": "\udcff", "limit": 1}),
            ("certificate.show", {"serial": "\udcff", "ca": None}),
            ("ca.import", {"name": "root", "pem": "\udcff"}),
            ("audit.verify", {"head": "\udcff"}),
        ],
    )
    async def test_text_that_is_none(self, core: Core, command: str, arguments: dict[str, Any]) -> None:
        """A byte of the command line that is not UTF-8 arrives as a lone surrogate."""
        with pytest.raises((PKIServerError, ProtocolError)):
            await core.commands.run(command, arguments, "test", silent)


class TestCredentials:
    async def test_create_list_cancel(self, core: Core, clock: "FakeClock") -> None:
        new = await run(core, "credential.create", **CREDENTIAL)
        assert set(new) == {"reference", "secret", "expires_at"}
        assert datetime.fromisoformat(new["expires_at"]) == clock.now() + timedelta(days=7)
        (row,) = await run(core, "credential.list")
        assert row == {
            "reference": new["reference"],
            "profile": "tls-server",
            "subject": "CN=www.example.mn",
            "use": "est",
            "state": "usable",
            "uses_left": 1,
            "expires_at": new["expires_at"],
        }
        cancelled = await run(core, "credential.cancel", reference=new["reference"])
        assert cancelled == {"reference": new["reference"], "state": "cancelled"}
        assert (await run(core, "credential.list"))[0]["state"] == "cancelled"
        with pytest.raises(NotFoundError):
            await run(core, "credential.cancel", reference=new["reference"])

    async def test_secrets_are_not_kept(self, core: Core) -> None:
        new = await run(core, "credential.create", **CREDENTIAL)
        assert new["secret"] not in json.dumps(await run(core, "credential.list"))
        for suffix in ("", "-wal"):
            path = core.home.database.with_name(core.home.database.name + suffix)
            assert new["secret"].encode() not in path.read_bytes()

    async def test_it_expires(self, core: Core, clock: "FakeClock") -> None:
        await run(core, "credential.create", **CREDENTIAL | {"lifetime_s": 60})
        clock.advance(timedelta(seconds=60))
        assert (await run(core, "credential.list"))[0]["state"] == "expired"

    @pytest.mark.parametrize(
        "change",
        [
            {"profile": "nonesuch"},
            {"profile": "root-ca"},
            {"subject": "no name"},
            {"san": ["dns:*.example.mn"]},
            {"san": ["what:ever"]},
            {"limit_mnt": 5},
            {"uses": 0},
            {"uses": 10**30},
            {"lifetime_s": 0},
            {"lifetime_s": -1},
            {"lifetime_s": 10**30},
            {"lifetime_s": 10**12},
        ],
        ids=str,
    )
    async def test_refused(self, core: Core, change: dict[str, Any]) -> None:
        with pytest.raises((PKIServerError, ProtocolError)):
            await run(core, "credential.create", **CREDENTIAL | change)
        assert await run(core, "credential.list") == []


class TestCertificates:
    async def test_list(self, core: Core, clock: "FakeClock", issue: "Issue") -> None:
        first = await serial_of(core, issue, "one.example.mn")
        clock.advance(timedelta(seconds=1))
        second = await serial_of(core, issue, "two.example.mn")
        await run(core, "certificate.revoke", serial=first, ca=None, reason="superseded")
        rows = await run(core, "certificate.list", ca=None, state=None, limit=2)
        assert [int(row["serial"], 16) for row in rows] == [int(second, 16), int(first, 16)]
        assert rows[0] | {"serial": ""} == {
            "ca": "infrastructure",
            "serial": "",
            "subject": "CN=two.example.mn",
            "profile": "tls-server",
            "status": "active",
            "not_before": clock.now().isoformat(),
            "not_after": (clock.now() + timedelta(days=397, seconds=-1)).isoformat(),
        }
        (revoked,) = await run(core, "certificate.list", ca="infrastructure", state="revoked", limit=100)
        assert int(revoked["serial"], 16) == int(first, 16)
        assert await run(core, "certificate.list", ca="citizen", state="revoked", limit=100) == []
        assert len(await run(core, "certificate.list", ca=None, state=None, limit=-5)) == 1
        everything = await run(core, "certificate.list", ca=None, state=None, limit=10**30)
        assert 2 < len(everything) <= MAX_LIST
        with pytest.raises(NotFoundError):
            await run(core, "certificate.list", ca="nobody", state=None, limit=1)

    async def test_expired(self, core: Core, clock: "FakeClock", issue: "Issue") -> None:
        serial = await serial_of(core, issue)
        clock.advance(timedelta(days=398))
        shown = await run(core, "certificate.show", serial=serial, ca=None)
        assert shown["status"] == "expired"
        with pytest.raises(ConflictError, match="expired"):
            await run(core, "certificate.revoke", serial=serial, ca=None, reason="superseded")

    async def test_the_life_of_one(self, core: Core, clock: "FakeClock", issue: "Issue") -> None:
        serial = await serial_of(core, issue)
        suspended = await run(core, "certificate.suspend", serial=serial, ca=None, by="holder")
        assert suspended["status"] == "suspended"
        with pytest.raises(ConflictError, match="already"):
            await run(core, "certificate.suspend", serial=serial, ca=None, by="holder")
        with pytest.raises(ConflictError, match="who alone can restore it"):
            await run(core, "certificate.restore", serial=serial, ca=None, by="authority")
        restored = await run(core, "certificate.restore", serial=serial, ca=None, by="holder")
        assert restored["status"] == "active"
        clock.advance(timedelta(hours=1))
        revoked = await run(core, "certificate.revoke", serial=serial, ca=None, reason="keyCompromise")
        assert revoked["status"] == "revoked"
        assert suspended["sequence"] < restored["sequence"] < revoked["sequence"]
        for command, more in (
            ("suspend", {"by": "holder"}),
            ("restore", {"by": "holder"}),
            ("revoke", {"reason": "superseded"}),
        ):
            with pytest.raises(ConflictError, match="final"):
                await run(core, f"certificate.{command}", serial=serial, ca=None, **more)
        shown = await run(core, "certificate.show", serial=serial, ca="infrastructure")
        assert shown["reason"] == "KEY_COMPROMISE"
        assert shown["revoked_at"] == clock.now().isoformat()
        assert [event["to"] for event in shown["events"]] == ["active", "suspended", "active", "revoked"]
        assert {event["actor"] for event in shown["events"][1:]} == {"user:operator"}
        parsed = x509.load_pem_x509_certificate(shown["pem"].encode())
        assert parsed.serial_number == int(serial, 16)

    async def test_refusals_are_audited(self, core: Core, issue: "Issue", audited: Any) -> None:
        serial = await serial_of(core, issue)
        with pytest.raises(ConflictError):
            await run(core, "certificate.restore", serial=serial, ca=None, by="holder")
        last = (await audited(core))[-1]
        assert (last.action, last.outcome, last.actor) == ("certificate.restore", "refused", "user:operator")

    @pytest.mark.parametrize(
        ("command", "arguments"),
        [
            ("certificate.revoke", {"serial": "1f", "ca": None, "reason": "unspecified"}),
            ("credential.cancel", {"reference": "nobody"}),
            ("crl.publish", {"ca": "nope"}),
            ("ca.csr", {"name": "nope"}),
            ("ca.import", {"name": "root", "pem": "nothing"}),
            ("credential.create", {"profile": "nope"}),
        ],
    )
    async def test_every_command_that_was_refused_is_audited(
        self, core: Core, audited: Any, command: str, arguments: dict[str, Any]
    ) -> None:
        before = len(await audited(core))
        with pytest.raises(PKIServerError):
            await run(core, command, **arguments)
        (record,) = (await audited(core))[before:]
        assert (record.action, record.outcome, record.actor) == (command, "refused", "user:operator")

    async def test_reading_is_not_a_refusal(self, core: Core, audited: Any) -> None:
        before = len(await audited(core))
        with pytest.raises(NotFoundError):
            await run(core, "certificate.show", serial="1f", ca=None)
        assert len(await audited(core)) == before

    @pytest.mark.parametrize("reason", [*REVOCATION_REASONS])
    async def test_every_reason(self, core: Core, issue: "Issue", reason: str) -> None:
        serial = await serial_of(core, issue)
        await run(core, "certificate.revoke", serial=serial, ca=None, reason=reason)
        shown = await run(core, "certificate.show", serial=serial, ca=None)
        assert shown["reason"] == REVOCATION_REASONS[reason].name

    @pytest.mark.parametrize("reason", ["certificateHold", "removeFromCRL", "", "KEYCOMPROMISE"])
    async def test_no_reason(self, core: Core, issue: "Issue", reason: str) -> None:
        serial = await serial_of(core, issue)
        with pytest.raises(RefusedError, match="no reason"):
            await run(core, "certificate.revoke", serial=serial, ca=None, reason=reason)

    async def test_no_such_holder(self, core: Core, issue: "Issue") -> None:
        serial = await serial_of(core, issue)
        with pytest.raises(RefusedError, match="a hold is"):
            await run(core, "certificate.suspend", serial=serial, ca=None, by="police")

    async def test_concurrent_commands_on_one_certificate(self, core: Core, issue: "Issue") -> None:
        serial = await serial_of(core, issue)
        results = await asyncio.gather(
            *(run(core, "certificate.revoke", serial=serial, ca=None, reason="superseded") for _ in range(6)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, ConflictError) for result in results) == 5
        shown = await run(core, "certificate.show", serial=serial, ca=None)
        assert [event["to"] for event in shown["events"]] == ["active", "revoked"]

    async def test_a_serial_of_two_authorities_needs_one_named(self, core: Core, issue: "Issue") -> None:
        record = await issue(core)
        twin = replace(record, authority=core.authorities.get("citizen").id)
        await core.storage.write(lambda tx: certificate_rows.add(tx, twin))
        serial = f"{record.serial:x}"
        with pytest.raises(ConflictError, match="--ca"):
            await run(core, "certificate.suspend", serial=serial, ca=None, by="holder")
        await run(core, "certificate.suspend", serial=serial, ca="citizen", by="holder")
        assert (await run(core, "certificate.show", serial=serial, ca="citizen"))["status"] == "suspended"
        assert (await run(core, "certificate.show", serial=serial, ca="infrastructure"))["status"] == "active"
        with pytest.raises(NotFoundError, match="no certificate with serial"):
            await run(core, "certificate.show", serial=serial, ca="government")


class TestSerials:
    @pytest.mark.parametrize(
        ("text", "serial"),
        [("1f", 31), ("1F", 31), ("00:1f", 31), ("7" + "f" * 31, (1 << 127) - 1)],
    )
    def test_read(self, text: str, serial: int) -> None:
        assert parse_serial(text) == serial

    @pytest.mark.parametrize(
        "text", ["", "xyz", "1g", "CN=x", "1.5", "\n", "—", "0x1f", "-1", "1_2", "\n1f\n", "f" * 10_000]
    )
    def test_no_number(self, text: str) -> None:
        with pytest.raises(RefusedError, match="no serial number"):
            parse_serial(text)

    @pytest.mark.parametrize("text", ["0", "8" + "0" * 31, "f" * 64])
    def test_out_of_range(self, text: str) -> None:
        with pytest.raises(NotFoundError) as caught:
            parse_serial(text)
        assert len(str(caught.value)) < 200

    async def test_a_message_is_one_line(self, core: Core) -> None:
        with pytest.raises(RefusedError) as caught:
            await run(core, "certificate.show", serial="\n1f\n", ca=None)
        assert "\n" not in str(caught.value)


class TestAuthorities:
    async def test_list_show_export(self, core: Core) -> None:
        rows = await run(core, "ca.list")
        assert [(row["name"], row["state"], row["parent"]) for row in rows] == [
            ("root", "ready", None),
            ("citizen", "ready", "root"),
            ("government", "ready", "root"),
            ("infrastructure", "ready", "root"),
        ]
        shown = await run(core, "ca.show", name="citizen")
        assert shown["crl_number"] == 1
        assert shown["responder_not_after"] is not None
        exported = await run(core, "ca.export", name="citizen", chain=False)
        assert exported == {"certificates": [shown["pem"]]}
        chain = (await run(core, "ca.export", name="citizen", chain=True))["certificates"]
        names = [x509.load_pem_x509_certificate(pem.encode()).subject for pem in chain]
        assert names == [core.authorities.get(name).certificate.subject for name in ("citizen", "root")]

    @pytest.mark.parametrize("command", ["ca.show", "ca.csr"])
    async def test_unknown(self, core: Core, command: str) -> None:
        with pytest.raises(NotFoundError, match="no authority nobody: there are root, citizen"):
            await run(core, command, name="nobody")

    async def test_a_request_is_signed_by_its_key(self, core: Core) -> None:
        pem = (await run(core, "ca.csr", name="citizen"))["pem"]
        request = x509.load_pem_x509_csr(pem.encode())
        assert request.is_signature_valid
        assert request.public_key() == core.authorities.get("citizen").certificate.public_key()


class TestCRLs:
    async def test_all_and_one(self, core: Core, clock: "FakeClock") -> None:
        told: list[str] = []
        rows = await core.commands.run(
            "crl.publish", {"ca": None}, "test", lambda text, *_: told.append(text)
        )
        assert [(row["ca"], row["number"]) for row in rows] == [
            (name, 2) for name in ("root", "citizen", "government", "infrastructure")
        ]
        assert "CRL of citizen" in told
        (row,) = await run(core, "crl.publish", ca="citizen")
        assert row["number"] == 3
        assert row["this_update"] == clock.now().isoformat()
        with pytest.raises(NotFoundError):
            await run(core, "crl.publish", ca="nobody")


class TestAudit:
    async def test_verify_and_head(self, core: Core) -> None:
        head = await run(core, "audit.head")
        verified = await run(core, "audit.verify", head=None)
        assert verified == {"records": head["sequence"], "heads": 0} | head
        await run(core, "crl.publish", ca="citizen")
        again = await run(core, "audit.verify", head=json.dumps(head))
        assert again["records"] == head["sequence"] + 2

    async def test_an_altered_record_and_a_cut_tail(self, core: Core) -> None:
        head = json.dumps(await run(core, "audit.head"))
        await core.storage.write(
            lambda tx: tx.execute("DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)")
        )
        await run(core, "audit.verify", head=None)
        with pytest.raises(ConflictError, match="tail was cut"):
            await run(core, "audit.verify", head=head)
        await core.storage.write(lambda tx: tx.execute("UPDATE audit SET actor = 'x' WHERE sequence = 5"))
        with pytest.raises(ConflictError, match="record 5 was altered"):
            await run(core, "audit.verify", head=None)

    @pytest.mark.parametrize(
        "head", ["", "{}", "[]", "garbage", '{"sequence": 1, "hash": "00"}', "[" * 10**5]
    )
    async def test_no_head(self, core: Core, head: str) -> None:
        with pytest.raises(RefusedError, match="head file"):
            await run(core, "audit.verify", head=head)

    async def test_every_command_that_changes_something_is_audited(
        self, core: Core, issue: "Issue", audited: Any
    ) -> None:
        serial = await serial_of(core, issue)
        before = len(await audited(core))
        new = await run(core, "credential.create", **CREDENTIAL)
        await run(core, "credential.cancel", reference=new["reference"])
        await run(core, "certificate.suspend", serial=serial, ca=None, by="holder")
        await run(core, "certificate.restore", serial=serial, ca=None, by="holder")
        await run(core, "certificate.revoke", serial=serial, ca=None, reason="superseded")
        records = (await audited(core))[before:]
        assert [(one.action, one.actor, one.outcome) for one in records] == [
            (action, "user:operator", "done")
            for action in (
                "credential.create",
                "credential.cancel",
                "certificate.suspend",
                "certificate.restore",
                "certificate.revoke",
            )
        ]
