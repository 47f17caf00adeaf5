"""The way of a certificate: its steps, what each leaves on record, and what becomes of one that was cut."""

import asyncio
import hashlib
import json
import shutil
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pkiserver.ca import issuance
from pkiserver.core import Core, open_core
from pkiserver.errors import ConflictError, KeyRefusedError, RefusedError, UnavailableError
from pkiserver.home import Home
from pkiserver.signer.errors import SignerBusyError, SignerUnavailableError
from store import certificates, credentials, issuances, status_events
from store.records import CertificateRecord

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue, Request

INFRASTRUCTURE = "infrastructure"


async def states(core: Core) -> list[str]:
    rows = await core.storage.read(lambda tx: tx.all("SELECT state FROM issuances ORDER BY id"))
    return [row[0] for row in rows]


async def actions(core: Core, audited: Any, serial: int | None = None) -> list[str]:
    """The audited actions on certificates, those of one serial where given."""
    records = [record for record in await audited(core) if record.action.startswith("certificate.")]
    if serial is not None:
        records = [one for one in records if int(json.loads(one.detail)["serial"], 16) == serial]
    return [record.action for record in records]


async def stored(core: Core, serial: int) -> CertificateRecord | None:
    authority = core.authorities.record(INFRASTRUCTURE).id
    return await core.storage.read(lambda tx: certificates.get(tx, authority, serial))


async def credential_with(core: Core, uses: int) -> tuple[str, int]:
    new = await core.credentials.create(
        profile="tls-server",
        subject="CN=www.example.mn",
        san=("dns:www.example.mn",),
        limit_mnt=None,
        uses=uses,
        lifetime=None,
        actor="test",
    )
    record = await core.storage.read(lambda tx: credentials.get(tx, new.reference))
    assert record is not None
    return new.reference, record.id


async def uses_left(core: Core, reference: str) -> int:
    record = await core.storage.read(lambda tx: credentials.get(tx, reference))
    assert record is not None
    return record.uses_left


async def fail(*_: Any, **__: Any) -> Any:
    raise SignerUnavailableError("the signer process hangs")


async def test_prepare_stores_the_intent_and_signs_nothing(
    core: Core, make_request: "Request", audited: Any
) -> None:
    signatures = core.signer.signatures
    prepared = await core.issuance.prepare(make_request())
    intent = prepared.intent
    assert core.signer.signatures == signatures
    assert await core.storage.read(issuances.unfinished) == [intent]
    assert (intent.state, intent.subject) == ("prepared", "CN=www.example.mn")
    assert intent.tbs_sha256 == hashlib.sha256(intent.tbs).digest()
    assert 0 < intent.serial < 1 << 127
    assert await actions(core, audited, intent.serial) == ["certificate.prepare"]
    assert await stored(core, intent.serial) is None


async def test_issue_records_certificate_event_and_audit(
    core: Core, make_request: "Request", audited: Any
) -> None:
    told: list[bool] = []
    core.followers.issued.append(AsyncMock(side_effect=lambda _: told.append(True)))
    request = make_request()
    prepared = await core.issuance.prepare(request)
    record = await core.issuance.issue(prepared)
    certificate = x509.load_der_x509_certificate(record.certificate)
    certificate.verify_directly_issued_by(core.authorities.get(INFRASTRUCTURE).certificate)
    assert certificate.tbs_certificate_bytes == prepared.intent.tbs
    assert certificate.public_key() == request.public_key
    assert await stored(core, record.serial) == record
    assert record.state == "active"
    events = await core.storage.read(
        lambda tx: status_events.of_certificate(tx, record.authority, record.serial)
    )
    assert [(event.from_state, event.to_state) for event in events] == [(None, "active")]
    assert told == [True]
    assert await actions(core, audited, record.serial) == [
        "certificate.prepare",
        "certificate.sign",
        "certificate.issue",
    ]
    assert await core.storage.read(issuances.unfinished) == []


async def test_the_signing_is_audited_before_it_happens(
    core: Core, make_request: "Request", audited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    sign = core.signer.sign

    async def looking(label: str, data: bytes) -> bytes:
        seen.append((await actions(core, audited))[-2:])
        seen.append([(await states(core))[-1]])
        return await sign(label, data)

    monkeypatch.setattr(core.signer, "sign", looking)
    await core.issuance.issue(await core.issuance.prepare(make_request()))
    assert seen == [["certificate.prepare", "certificate.sign"], ["signing"]]
    seen.clear()
    before = (await actions(core, audited))[-1]
    record = await core.issuance.certify(make_request())
    assert seen == [[before, "certificate.sign"], ["signing"]]
    assert await stored(core, record.serial) == record


async def test_a_token_is_good_for_one_certificate(core: Core, make_request: "Request") -> None:
    prepared = await core.issuance.prepare(make_request())
    results = await asyncio.gather(
        core.issuance.issue(prepared), core.issuance.issue(prepared), return_exceptions=True
    )
    assert [type(result) for result in results] == [CertificateRecord, ConflictError]
    with pytest.raises(ConflictError, match="already"):
        await core.issuance.issue(prepared)


async def test_a_copied_token_signs_nothing_twice(core: Core, make_request: "Request") -> None:
    prepared = await core.issuance.prepare(make_request())
    copy = replace(prepared)
    await core.issuance.issue(prepared)
    signatures = core.signer.signatures
    with pytest.raises(ConflictError):
        await core.issuance.issue(copy)
    assert core.signer.signatures == signatures


async def test_nothing_is_prepared_while_the_gate_is_shut(
    core: Core, clock: "FakeClock", make_request: "Request"
) -> None:
    before = await states(core)
    clock.advance(timedelta(days=-1))
    with pytest.raises(UnavailableError, match="the clock is"):
        await core.issuance.prepare(make_request())
    assert await states(core) == before
    clock.advance(timedelta(days=1))
    await core.issuance.prepare(make_request())


class TestKeys:
    async def test_of_another_subject(self, core: Core, make_request: "Request", issue: "Issue") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        await issue(core, "one.example.mn", key=key)
        with pytest.raises(KeyRefusedError, match="another subject"):
            await core.issuance.prepare(make_request("two.example.mn", key=key))

    async def test_of_another_subject_at_the_same_time(self, core: Core, make_request: "Request") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        names = [f"host-{number}.example.mn" for number in range(8)]
        results = await asyncio.gather(
            *(core.issuance.prepare(make_request(name, key=key)) for name in names), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, KeyRefusedError)]
        assert len(refused) == len(names) - 1

    async def test_of_the_same_subject(self, core: Core, issue: "Issue") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        first, second = await issue(core, key=key), await issue(core, key=key)
        assert first.serial != second.serial
        assert first.spki_sha256 == second.spki_sha256

    async def test_free_again_when_the_intent_was_voided(
        self, core: Core, issue: "Issue", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        with monkeypatch.context() as patch:
            patch.setattr(core.signer, "sign", fail)
            with pytest.raises(UnavailableError):
                await issue(core, "one.example.mn", key=key)
        await issue(core, "two.example.mn", key=key)

    @pytest.mark.parametrize(
        ("reason", "refused"), [("keyCompromise", True), ("cACompromise", True), ("superseded", False)]
    )
    async def test_of_a_revoked_certificate(
        self, core: Core, make_request: "Request", issue: "Issue", reason: str, refused: bool
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        record = await issue(core, key=key)
        arguments = {"serial": f"{record.serial:x}", "ca": None, "reason": reason}
        await core.commands.run("certificate.revoke", arguments, "test", lambda *_: None)
        if refused:
            with pytest.raises(KeyRefusedError, match="compromised"):
                await core.issuance.prepare(make_request(key=key))
        else:
            await core.issuance.prepare(make_request(key=key))

    async def test_too_small(self, core: Core, make_request: "Request") -> None:
        before = await states(core)
        with pytest.raises(KeyRefusedError):
            await core.issuance.prepare(make_request(key=ec.generate_private_key(ec.SECP192R1())))
        assert await states(core) == before


class TestCredentials:
    async def test_a_use_is_taken_with_the_intent(self, core: Core, make_request: "Request") -> None:
        reference, number = await credential_with(core, uses=1)
        prepared = await core.issuance.prepare(make_request(credential=number))
        assert await uses_left(core, reference) == 0
        with pytest.raises(ConflictError, match="no use left"):
            await core.issuance.prepare(make_request(credential=number))
        await core.issuance.issue(prepared)
        assert await uses_left(core, reference) == 0

    async def test_many_at_once_take_no_more_than_there_are(
        self, core: Core, make_request: "Request"
    ) -> None:
        reference, number = await credential_with(core, uses=3)
        results = await asyncio.gather(
            *(core.issuance.prepare(make_request(credential=number)) for _ in range(8)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, ConflictError) for result in results) == 5
        assert await uses_left(core, reference) == 0

    async def test_a_refused_key_takes_no_use(
        self, core: Core, make_request: "Request", issue: "Issue"
    ) -> None:
        reference, number = await credential_with(core, uses=1)
        key = ec.generate_private_key(ec.SECP256R1())
        await issue(core, "other.example.mn", key=key)
        with pytest.raises(KeyRefusedError):
            await core.issuance.prepare(make_request(key=key, credential=number))
        assert await uses_left(core, reference) == 1

    async def test_voiding_gives_the_use_back_once(
        self, core: Core, make_request: "Request", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reference, number = await credential_with(core, uses=1)
        prepared = await core.issuance.prepare(make_request(credential=number))
        monkeypatch.setattr(core.signer, "sign", fail)
        with pytest.raises(UnavailableError):
            await core.issuance.issue(prepared)
        assert await core.issuance.recover() == 0
        assert await uses_left(core, reference) == 1
        with pytest.raises(UnavailableError):
            await core.issuance.certify(make_request(credential=number))
        assert await core.issuance.recover() == 0
        assert await uses_left(core, reference) == 1


@pytest.mark.parametrize("error", [SignerUnavailableError("hangs"), SignerBusyError("too many")])
async def test_what_cannot_be_signed_is_voided_and_audited(
    core: Core, make_request: "Request", audited: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def failing(_label: str, _data: bytes) -> bytes:
        raise error

    prepared = await core.issuance.prepare(make_request())
    monkeypatch.setattr(core.signer, "sign", failing)
    with pytest.raises(UnavailableError, match="could not be signed"):
        await core.issuance.issue(prepared)
    assert (await states(core))[-1] == "voided"
    last = (await audited(core))[-1]
    assert last.action == "certificate.void"
    assert json.loads(last.detail)["reason"] == str(error)
    assert await stored(core, prepared.intent.serial) is None


async def test_a_signature_of_another_key_is_not_released(
    core: Core, make_request: "Request", monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = await core.issuance.prepare(make_request())
    sign = core.signer.sign

    async def signing_with_another_key(_label: str, data: bytes) -> bytes:
        return await sign("ca-citizen", data)

    monkeypatch.setattr(core.signer, "sign", signing_with_another_key)
    with pytest.raises(UnavailableError):
        await core.issuance.issue(prepared)
    assert (await states(core))[-1] == "voided"


async def test_a_certificate_of_another_tbs_is_not_released(
    core: Core, make_request: "Request", monkeypatch: pytest.MonkeyPatch
) -> None:
    other = (await core.issuance.prepare(make_request())).intent.tbs
    assemble = issuance.assemble_certificate
    monkeypatch.setattr(
        issuance,
        "assemble_certificate",
        lambda _tbs, algorithm, signature: assemble(other, algorithm, signature),
    )
    prepared = await core.issuance.prepare(make_request())
    with pytest.raises(UnavailableError):
        await core.issuance.issue(prepared)
    assert await stored(core, prepared.intent.serial) is None


async def test_a_tampered_tbs_is_not_signed_and_holds_nothing_else_up(
    core: Core, make_request: "Request", audited: Any
) -> None:
    bad = (await core.issuance.prepare(make_request())).intent
    good = (await core.issuance.prepare(make_request())).intent
    await core.storage.write(
        lambda tx: tx.execute("UPDATE issuances SET state = 'signing'  WHERE id >= ?", (bad.id,))
    )
    await core.storage.write(
        lambda tx: tx.execute("UPDATE issuances SET tbs = ? WHERE id = ?", (good.tbs, bad.id))
    )
    signatures = core.signer.signatures
    async with reopened(core) as again:
        await again.issuance.recover()
        assert again.signer.signatures == 1
        assert (await states(again))[-2:] == ["voided", "issued"]
        assert await stored(again, bad.serial) is None
        assert await stored(again, good.serial) is not None
        assert "certificate.void" in await actions(again, audited, bad.serial)
    assert core.signer.signatures == signatures


def reopened(core: Core) -> Any:
    """The same home as a new process would find it."""
    copy = core.home.path.with_name("reopened")
    shutil.copytree(core.home.path, copy)
    return open_core(Home(copy), core.clock)


class TestRecovery:
    async def test_what_was_prepared_is_voided(
        self, core: Core, make_request: "Request", audited: Any
    ) -> None:
        reference, number = await credential_with(core, uses=1)
        intent = (await core.issuance.prepare(make_request(credential=number))).intent
        async with reopened(core) as again:
            assert await again.issuance.recover() == 1
            assert (await states(again))[-1] == "voided"
            assert await uses_left(again, reference) == 1
            assert await actions(again, audited, intent.serial) == [
                "certificate.prepare",
                "certificate.void",
            ]
            assert await again.issuance.recover() == 0

    async def test_what_was_being_signed_is_finished(
        self, core: Core, make_request: "Request", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The process ended after the signature and before the record of it."""
        reference, number = await credential_with(core, uses=1)
        prepared = await core.issuance.prepare(make_request(credential=number))

        async def ended(*_: Any) -> Any:
            raise asyncio.CancelledError

        monkeypatch.setattr(core.issuance, "_record", ended)
        with pytest.raises(asyncio.CancelledError):
            await core.issuance.issue(prepared)
        async with reopened(core) as again:
            assert await again.issuance.recover() == 1
            record = await stored(again, prepared.intent.serial)
            assert record is not None
            parsed = x509.load_der_x509_certificate(record.certificate)
            assert parsed.tbs_certificate_bytes == prepared.intent.tbs
            assert await uses_left(again, reference) == 0
            assert await again.issuance.recover() == 0

    async def test_waits_for_the_signer(
        self, core: Core, make_request: "Request", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepared = await core.issuance.prepare(make_request())
        await core.storage.write(lambda tx: issuances.mark_signing(tx, prepared.intent.id))
        async with reopened(core) as again:
            with monkeypatch.context() as patch:
                patch.setattr(again.signer, "sign", fail)
                with pytest.raises(UnavailableError):
                    await again.issuance.recover()
            assert (await states(again))[-1] == "signing"
            assert await again.issuance.recover() == 1
            assert (await states(again))[-1] == "issued"

    async def test_leaves_alone_what_is_under_way(
        self, core: Core, make_request: "Request", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The running server recovers every second, also between the two steps of a live issuance."""
        prepared = await core.issuance.prepare(make_request())
        assert await core.issuance.recover() == 0
        sign = core.signer.sign

        async def recovering(label: str, data: bytes) -> bytes:
            assert await core.issuance.recover() == 0
            return await sign(label, data)

        monkeypatch.setattr(core.signer, "sign", recovering)
        await core.issuance.issue(prepared)
        assert (await states(core))[-1] == "issued"

    async def test_takes_up_what_a_cancelled_request_left(self, core: Core, make_request: "Request") -> None:
        """A request may be cancelled while its intent is being stored; the storing goes on."""
        task = asyncio.create_task(core.issuance.prepare(make_request()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await core.storage.write(lambda *_: None)
        assert (await states(core))[-1] == "prepared"
        assert await core.issuance.recover() == 1
        assert (await states(core))[-1] == "voided"

    async def test_takes_up_what_could_not_be_stored(
        self, core: Core, make_request: "Request", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The disk was full after the signature: the same process finishes it when there is room."""
        prepared = await core.issuance.prepare(make_request())
        write = core.storage.write
        calls = 0

        async def full(work: Any, *, brief: bool = False) -> Any:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise UnavailableError("nothing can be stored now; try again later")
            return await write(work, brief=brief)

        with monkeypatch.context() as patch:
            patch.setattr(core.storage, "write", full)
            with pytest.raises(UnavailableError, match="stored"):
                await core.issuance.issue(prepared)
        assert (await states(core))[-1] == "signing"
        assert await core.issuance.recover() == 1
        assert await stored(core, prepared.intent.serial) is not None


async def test_issue_once_gives_the_same_certificate_again(
    core: Core, make_request: "Request", issue: "Issue"
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    first = await core.issuance.issue_once(make_request(key=key))
    assert await core.issuance.issue_once(make_request(key=key)) == first
    serial = x509.load_der_x509_certificate(first).serial_number
    arguments = {"serial": f"{serial:x}", "ca": None, "reason": "superseded"}
    await core.commands.run("certificate.revoke", arguments, "test", lambda *_: None)
    assert await core.issuance.issue_once(make_request(key=key)) != first


async def test_serials_are_random_and_no_certificate_outlives_its_issuer(
    core: Core, clock: "FakeClock", make_request: "Request"
) -> None:
    serials = {(await core.issuance.prepare(make_request())).intent.serial for _ in range(20)}
    assert len(serials) == 20
    assert max(serials).bit_length() > 100
    clock.moment = core.authorities.get(INFRASTRUCTURE).certificate.not_valid_after_utc - timedelta(days=300)
    with pytest.raises(RefusedError, match="outlive"):
        await core.issuance.prepare(make_request())
