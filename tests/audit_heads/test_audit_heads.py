"""Signed heads on a real home: when they are made, what they prove, and whatever is altered is found."""

import sqlite3
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from audit_head_steps import add_records, heads_of, kept, outside, tamper, verify, verify_head
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

from pkiserver.app import Server
from pkiserver.audit import ChainError, Head
from pkiserver.audit_heads.signed_head import SignedHead, head_content
from pkiserver.ca.message_signer import AUDIT_LOG, MESSAGES, MessageSigner
from pkiserver.core import Core, open_core
from pkiserver.errors import RefusedError, UnavailableError
from pkiserver.home import Home
from pkiserver.ra.lifecycle import Action, Command
from protocols import oid
from protocols.asn1.ocsp import CRLReason
from store import audit as chain
from store import certificates

HOUR = timedelta(hours=1)


def rewritten(tx: Any, sequence: int) -> None:
    """Alter a record and write the chain after it anew, so that it holds together again."""
    tx.execute("UPDATE audit SET actor = 'nobody' WHERE sequence = ?", (sequence,))
    before = chain.get(tx, sequence - 1)
    previous = before.hash if before else chain.GENESIS
    for record in chain.after(tx, sequence - 1, 100_000):
        previous = chain.record_hash(previous, record)
        tx.execute("UPDATE audit SET hash = ? WHERE sequence = ?", (previous, record.sequence))
    tx.memo.clear()


class TestMaking:
    async def test_first_at_once_then_after_the_interval(self, core: Core, clock: Any) -> None:
        heads = heads_of(core, head_interval="1h")
        await heads.maintain()
        await heads.maintain()
        assert [one.id for one in await kept(core)] == [1]
        clock.advance(HOUR - timedelta(seconds=1))
        await heads.maintain()
        assert len(await kept(core)) == 1
        clock.advance(timedelta(seconds=1))
        await heads.maintain()
        first, second = await kept(core)
        assert (second.id, second.at - first.at) == (2, HOUR)
        assert await verify(core, outside(core)) == 2

    async def test_after_so_many_records(self, core: Core) -> None:
        heads = heads_of(core, head_records=5)
        await heads.maintain()
        start = (await kept(core))[-1].sequence
        await add_records(core, 4)
        await heads.maintain()
        assert len(await kept(core)) == 1
        await add_records(core, 1)
        await heads.maintain()
        assert (await kept(core))[-1].sequence == start + 5

    async def test_at_a_stop_and_not_again_at_the_start(self, core: Core) -> None:
        heads = heads_of(core)
        await heads.maintain()
        await add_records(core, 1)
        await heads.finish()
        assert len(await kept(core)) == 2
        assert len(outside(core)) == 2
        again = heads_of(core)
        await again.maintain()
        await again.finish()
        assert len(await kept(core)) == 2
        assert len(outside(core)) == 2

    async def test_the_clock_set_back(self, core: Core, clock: Any) -> None:
        heads = heads_of(core)
        await heads.maintain()
        clock.advance(timedelta(seconds=-30))
        await heads.maintain()
        await heads.maintain()
        first, second = await kept(core)
        assert first.at - second.at == timedelta(seconds=30)
        assert await verify(core, outside(core)) == 2

    async def test_a_key_and_a_certificate_of_its_own(self, core: Core) -> None:
        await heads_of(core).maintain()
        certificate = core.audit_signer.certificate
        assert certificate is not None
        assert certificate.subject.rfc4514_string() == "CN=Audit log 1"
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
        assert "audit-1" in await core.signer.labels()
        assert [label for label in await core.signer.labels() if label.startswith("cmc-")] == []

    async def test_it_is_renewed_and_old_heads_still_verify(self, core: Core, clock: Any) -> None:
        heads = heads_of(core)
        await heads.maintain()
        clock.advance(timedelta(days=300))
        await heads.maintain()
        signers = {SignedHead.parse(one.cms).signed_data.signer_infos[0].sid for one in await kept(core)}
        assert len(signers) == 2
        assert await verify(core, outside(core)) == 2

    async def test_one_installation_has_one_name(self, core: Core) -> None:
        heads = heads_of(core, head_records=1)
        await heads.maintain()
        await add_records(core, 1)
        await heads_of(core, head_records=1).maintain()
        assert len({SignedHead.parse(one.cms).installation for one in await kept(core)}) == 1

    async def test_a_signer_that_fails_is_told_and_tried_again(
        self, core: Core, clock: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        heads = heads_of(core)
        works = core.audit_signer.sign

        async def fails(*_: Any) -> bytes:
            raise UnavailableError("the HSM is away")

        monkeypatch.setattr(core.audit_signer, "sign", fails)
        await heads.maintain()
        assert (heads.cause().ok, heads.cause().detail) == (True, "signing: the HSM is away")
        monkeypatch.setattr(core.audit_signer, "sign", works)
        await heads.maintain()
        assert await kept(core) == []
        clock.advance(timedelta(seconds=15))
        await heads.maintain()
        assert len(await kept(core)) == 1
        assert heads.cause().detail == ""


class TestServer:
    async def test_it_signs_at_the_start_and_at_the_stop(self, home: Home, clock: Any) -> None:
        settings = home.configuration.read_text()
        for door in ("8080", "8443", "9180"):
            settings = settings.replace(f"127.0.0.1:{door}", "127.0.0.1:0")
        home.configuration.write_text(settings)
        async with open_core(home, clock) as core:
            server = Server(core)
            await server.start()
            try:
                await core.audit_heads.maintain()  # the one of the start is over, or this is it
                assert len(await kept(core)) == 1
                await add_records(core, 1)
                shown = server.metrics.render().decode()
                assert 'pkiserver_audit_head_sent_timestamp_seconds{way="file"}' in shown
                assert 'role="audit"' in shown
                assert [cause.name for cause in server.causes()].count("audit-heads") == 1
            finally:
                await server.stop()
            last = await core.storage.read(chain.head)
            assert last is not None
            assert (await kept(core))[-1].sequence == last.sequence
            assert await verify(core, outside(core, "audit-heads.pem")) == 2


@pytest.fixture
async def three_heads(core: Core) -> Core:
    """A log of three heads with ten records between them; the heads are in the file as well."""
    heads = heads_of(core, head_records=1)
    for _ in range(3):
        await heads.maintain()
        await add_records(core, 10)
    assert await verify(core, outside(core)) == 3
    return core


class TestTampering:
    async def test_any_single_record(self, three_heads: Core) -> None:
        last = await three_heads.storage.read(chain.head)
        assert last is not None
        for sequence in range(1, last.sequence + 1):
            before = await three_heads.storage.read(lambda tx, at=sequence: chain.get(tx, at))  # type: ignore[misc]
            await tamper(
                three_heads, ("UPDATE audit SET actor = actor || 'x' WHERE sequence = ?", (sequence,))
            )
            with pytest.raises(ChainError, match=f"^audit record {sequence} was altered"):
                await verify(three_heads)
            undo = ("UPDATE audit SET actor = ? WHERE sequence = ?", (before.actor, sequence))
            await tamper(three_heads, undo)
        assert await verify(three_heads) == 3

    async def test_a_tail_that_was_cut(self, three_heads: Core) -> None:
        last = (await kept(three_heads))[-1]
        await tamper(three_heads, ("DELETE FROM audit WHERE sequence >= ?", (last.sequence,)))
        with pytest.raises(ChainError, match=f"ends at record {last.sequence - 1}; kept head 3"):
            await verify(three_heads)

    async def test_a_tail_that_was_cut_with_the_kept_heads(self, three_heads: Core) -> None:
        given, last = outside(three_heads), (await kept(three_heads))[-1]
        await tamper(
            three_heads,
            ("DELETE FROM audit WHERE sequence >= ?", (last.sequence,)),
            "DELETE FROM audit_heads WHERE id = 3",
        )
        assert await verify(three_heads) == 2
        with pytest.raises(ChainError, match=f"given head 3 is of record {last.sequence}: its tail was cut"):
            await verify(three_heads, given)

    async def test_a_log_that_was_written_anew(self, three_heads: Core) -> None:
        given, second = outside(three_heads), (await kept(three_heads))[1]
        await three_heads.storage.write(lambda tx: rewritten(tx, second.sequence - 3))
        with pytest.raises(ChainError, match=f"record {second.sequence} is not the one of kept head 2"):
            await verify(three_heads)
        await tamper(three_heads, "DELETE FROM audit_heads WHERE id > 1")
        assert await verify(three_heads) == 1
        with pytest.raises(ChainError, match=f"record {second.sequence} is not the one of given head 2"):
            await verify(three_heads, given)

    async def test_a_head_that_was_removed(self, three_heads: Core) -> None:
        await tamper(three_heads, "DELETE FROM audit_heads WHERE id = 2")
        with pytest.raises(ChainError, match="kept head 2 is missing"):
            await verify(three_heads)

    async def test_heads_that_were_exchanged(self, three_heads: Core) -> None:
        first, second, _ = await kept(three_heads)
        await tamper(three_heads, ("UPDATE audit_heads SET cms = ? WHERE id = 2", (first.cms,)))
        with pytest.raises(ChainError, match=f"kept head 2 was replaced: .* {second.sequence}"):
            await verify(three_heads)
        await tamper(three_heads, ("UPDATE audit_heads SET sequence = ? WHERE id = 2", (first.sequence - 1,)))
        with pytest.raises(ChainError, match="kept head 2 was replaced"):
            await verify(three_heads)

    async def test_heads_stay(self, three_heads: Core) -> None:
        for statement in ("UPDATE audit_heads SET at = 0", "DELETE FROM audit_heads"):
            with (
                pytest.raises(sqlite3.IntegrityError, match="append-only"),
                sqlite3.connect(three_heads.home.database) as database,
            ):
                database.execute(statement)

    async def test_any_octet_of_a_head(self, three_heads: Core) -> None:
        """It is refused; or it says the same: the lists around what is signed are nobody's word."""
        head = SignedHead.parse(outside(three_heads)[0])
        whole = head.encode()
        refused = 0
        for place in range(len(whole)):
            altered = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
            try:
                await verify_head(three_heads, altered)
            except (ChainError, RefusedError):
                refused += 1
            else:
                assert replace(SignedHead.parse(altered), signed_data=head.signed_data) == head
        assert refused > len(whole) - 20


class TestForeignHeads:
    async def test_signed_by_another_key_of_the_server(self, three_heads: Core) -> None:
        services = three_heads.hierarchy._services
        other = MessageSigner(services, MESSAGES)
        content = SignedHead.parse(outside(three_heads)[0]).signed_data.content
        assert content is not None
        forged = await other.sign(oid.PKCS7_DATA, content)
        with pytest.raises(ChainError, match="given head 1 is signed by a certificate that is none for it"):
            await verify(three_heads, [forged])

    async def test_signed_by_a_stranger(self, three_heads: Core) -> None:
        """Also where he writes his certificate into the database."""
        signed = SignedHead.parse(outside(three_heads)[0])
        key = ec.generate_private_key(ec.SECP256R1())
        real = x509.load_der_x509_certificate((await three_heads.audit_heads.checker.certificates(signed))[0])
        builder = x509.CertificateBuilder(
            real.issuer,
            real.subject,
            key.public_key(),
            77,
            real.not_valid_before_utc,
            real.not_valid_after_utc,
        )
        own = builder.sign(key, hashes.SHA256())
        content = signed.signed_data.content
        assert content is not None
        forged = (
            pkcs7.PKCS7SignatureBuilder()
            .set_data(content)
            .add_signer(own, key, hashes.SHA256())
            .sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])
        )
        with pytest.raises(ChainError, match="none for it: serial 4d"):
            await verify(three_heads, [forged])
        serial = real.serial_number
        row = (await three_heads.storage.read(lambda tx: certificates.with_serial(tx, serial)))[0]
        planted = replace(row, serial=77, certificate=own.public_bytes(serialization.Encoding.DER))
        await three_heads.storage.write(lambda tx: certificates.add(tx, planted))
        with pytest.raises(ChainError, match="none for it: serial 4d"):
            await verify(three_heads, [forged])

    async def test_of_another_installation(self, three_heads: Core) -> None:
        head, at = (await kept(three_heads))[0], three_heads.clock.now()
        record = await three_heads.storage.read(lambda tx: chain.get(tx, head.sequence))
        content = head_content(Head.of(record), at, "elsewhere")
        foreign = await three_heads.audit_signer.sign(oid.PKCS7_DATA, content)
        with pytest.raises(ChainError, match="given head 1 is of another installation, elsewhere"):
            await verify(three_heads, [foreign])

    async def test_after_the_revocation_of_its_certificate(self, three_heads: Core, clock: Any) -> None:
        signer = three_heads.audit_signer.certificate
        assert signer is not None
        clock.advance(HOUR)
        authority = three_heads.authorities.get("infrastructure").id
        await three_heads.status_changes.carry_out(
            authority, signer.serial_number, Command(Action.REVOKE, reason=CRLReason.KEY_COMPROMISE), "tests"
        )
        record = await three_heads.storage.read(chain.head)
        services = three_heads.hierarchy._services
        stolen = MessageSigner(services, AUDIT_LOG)
        stolen._held = three_heads.audit_signer._held

        async def is_good(_: object) -> bool:
            return True

        stolen._is_good = is_good  # type: ignore[method-assign]  # who has the key asks nobody
        name = SignedHead.parse(outside(three_heads)[0]).installation
        late = await stolen.sign(oid.PKCS7_DATA, head_content(Head.of(record), clock.now(), name))
        with pytest.raises(ChainError, match="given head 1 was signed after its certificate was revoked"):
            await verify(three_heads, [late])
        assert await verify(three_heads, outside(three_heads)) == 3
        await heads_of(three_heads, head_records=1).maintain()
        assert await verify(three_heads, outside(three_heads)) == 4  # with a new key
