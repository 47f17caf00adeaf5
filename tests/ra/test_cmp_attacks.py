"""What a malicious client of CMP tries, with a right of its own or with none, and what it gets."""

from dataclasses import replace

import pytest

from pkiserver.core import Core
from pkiserver.ra.attempts import MAX_FAILURES
from pkiserver.ra.cmp import senders
from protocols.asn1.ocsp import CRLReason
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.challenges import build_challenge_responses
from protocols.cmp.confirmation import CertStatus, build_cert_confirm
from protocols.cmp.crmf import KeyAgreement, Subsequent, SubsequentMessage, build_cert_req_messages
from protocols.cmp.general_info import GeneralInfo
from protocols.cmp.header import Version
from protocols.cmp.status import PKIFailureInfo as Failure
from protocols.cmp.status import PKIStatus
from store.credentials import MAX_GIVEN_BACK
from tests.cmp_messages import (
    ByMAC,
    BySignature,
    Client,
    credential,
    hash_of,
    holder,
    new_key,
    pbm,
    rejection_body,
    request,
    request_body,
    revocation_body,
    template,
)
from tests.ra.test_cmp_certification import of_two, several, state_of, uses_left, with_profile
from tests.ra.test_cmp_revocation import failures_of, registered_ra, status_of, told_of

__all__ = ["of_two"]  # a fixture
CMP2021 = Version.CMP2021
IMPLICIT = GeneralInfo(implicit_confirm=True)


class TestACertificateThatIsNotConfirmed:
    async def test_renews_nothing(self, core: Core) -> None:
        """Else one use made many: renew the certificate, confirm that, refuse the first, begin again."""
        new, key = await credential(core), new_key()
        client = Client(core, ByMAC(new))
        first = await client.ir(key)
        renewal = Client(core, BySignature(key, first.certificate))
        assert (await renewal.kur(new_key())).failure is Failure.BAD_REQUEST
        await client.confirm(first.certificate)
        renewal = Client(core, BySignature(key, first.certificate))
        assert (await renewal.kur(new_key())).status.status is PKIStatus.ACCEPTED

    async def test_changes_no_status(self, core: Core) -> None:
        key = new_key()
        first = await Client(core, ByMAC(await credential(core))).ir(key)
        signed = Client(core, BySignature(key, first.certificate))
        refused = await signed.send(revocation_body(first.certificate, CRLReason.SUPERSEDED))
        assert refused.failure is Failure.BAD_REQUEST
        assert await state_of(core, first.certificate) == "active"

    async def test_gives_its_use_back_only_so_often(self, core: Core) -> None:
        """Each one that is refused stays in the CRL."""
        new = await credential(core)
        for _ in range(MAX_GIVEN_BACK):
            client = Client(core, ByMAC(new))
            await client.send(rejection_body((await client.ir(new_key())).certificate))
            assert await uses_left(core, new) == 1
        client = Client(core, ByMAC(new))
        await client.send(rejection_body((await client.ir(new_key())).certificate))
        assert await uses_left(core, new) == 0


class TestARequestThatWasRefused:
    """One of two was refused; the message is sent again when it would not be."""

    async def sent(self, core: Core, body: PKIBody) -> tuple[Client, bytes, Client, bytes]:
        """Have the other transaction take a use, and this one be left with one for two requests."""
        new = await credential(core, uses=2)
        other = Client(core, ByMAC(new))
        held = (await other.ir(new_key())).certificate
        client = Client(core, ByMAC(new))
        answer = await client.send(body)
        assert [one.status.status for one in answer.responses] == [PKIStatus.ACCEPTED, PKIStatus.REJECTION]
        (pair,) = (one.certified_key_pair for one in answer.responses if one.certified_key_pair)
        return client, pair.certificate or b"", other, held

    async def test_is_not_answered_once_the_transaction_is_confirmed(self, of_two: Core) -> None:
        body = several(new_key(), ["CN=sensor-7"] * 2, [0, 1])
        client, first, other, held = await self.sent(of_two, body)
        message = client.sent
        confirmed = PKIBody(BodyType.CERT_CONF, build_cert_confirm([CertStatus(hash_of(first), 0)]))
        assert (await client.send(confirmed)).body is BodyType.PKICONF
        await other.send(rejection_body(held))
        again = await client.post(message)
        assert [one.status.status for one in again.responses] == [PKIStatus.ACCEPTED, PKIStatus.REJECTION]

    async def test_gets_nothing_that_would_be_confirmed_implicitly(self, of_two: Core) -> None:
        """A key that never proved itself, refused when that was decided: its certificate would stay good."""
        key, foreign = new_key(), new_key()
        later = KeyAgreement(Subsequent(SubsequentMessage.ENCR_CERT))
        messages = [
            request(key, template(key)),
            request(foreign, template(foreign), cert_req_id=1, popo=later),
        ]
        client = Client(of_two, ByMAC(await credential(of_two, uses=2)))
        body = PKIBody(BodyType.IR, build_cert_req_messages(messages))
        answer = await client.send(body, info=IMPLICIT, pvno=CMP2021)
        encrypting = [*of_two.profiles["device"].key_usage, "keyAgreement"]
        with_profile(of_two, "device", key_usage=encrypting)
        again = await client.post(client.sent)
        for one in (answer, again):
            statuses = [response.status.status for response in one.responses]
            assert statuses == [PKIStatus.ACCEPTED, PKIStatus.REJECTION]


class TestARevocationThatWasRefused:
    async def test_is_not_carried_out_when_it_is_played_back(self, core: Core) -> None:
        ra = await registered_ra(core)
        held = await holder(core)
        with_profile(core, "device", approval=True)  # RAs speak of what they enrol
        lift = Client(core, ra)
        assert failures_of(await lift.send(revocation_body(held.certificate, CRLReason.REMOVE_FROM_CRL)))
        played_back = lift.sent
        suspended = await Client(core, ra).send(revocation_body(held.certificate, CRLReason.CERTIFICATE_HOLD))
        assert status_of(suspended).status is PKIStatus.ACCEPTED
        lift.recip_nonce = None
        answer = await lift.post(played_back)
        assert failures_of(answer) == {Failure.TRANSACTION_ID_IN_USE}
        assert (await told_of(core, held.certificate))[0] == "suspended"


class TestNonces:
    async def test_each_answer_has_a_fresh_one(self, core: Core) -> None:
        """RFC 9483 §3.1: senderNonce is fresh in each message."""
        client = Client(core, ByMAC(await credential(core)))
        answer = await client.ir(new_key())
        again = await client.post(client.sent)
        confirmed = await client.confirm(answer.certificate)
        nonces = [one.message.header.sender_nonce or b"" for one in (answer, again, confirmed)]
        assert len(set(nonces)) == len(nonces)
        assert {len(one) for one in nonces} == {16}

    async def test_those_of_another_transaction_are_not_taken(self, core: Core) -> None:
        new = await credential(core, uses=2)
        other, client = Client(core, ByMAC(new)), Client(core, ByMAC(new))
        await other.ir(new_key())
        answer = await client.ir(new_key())
        client.recip_nonce = other.recip_nonce
        assert (await client.confirm(answer.certificate)).failure is Failure.BAD_RECIPIENT_NONCE


class TestCostlyMACs:
    async def test_who_guesses_from_an_address_gets_none_computed(
        self, core: Core, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A reference that nobody knows costs as much as one that is right: the address has to bear it."""
        new = await credential(core, uses=2)
        for number in range(MAX_FAILURES):
            guess = replace(new, reference=f"nobody-{number}")
            await Client(core, ByMAC(guess)).ir(new_key())
        costly = Client(core, ByMAC(new, parameters=lambda: pbm(5_000)))
        with monkeypatch.context() as patched:
            patched.setattr(senders, "verify_mac_of", None)
            assert (await costly.ir(new_key())).failure is Failure.SYSTEM_UNAVAIL
        assert (await Client(core, ByMAC(new)).ir(new_key())).status.status is PKIStatus.ACCEPTED


class TestWhatIsKept:
    async def test_of_a_request_whose_challenge_was_failed_nothing_but_its_row(self, core: Core) -> None:
        with_profile(core, "device", key_usage=[*core.profiles["device"].key_usage, "keyAgreement"])
        client = Client(core, ByMAC(await credential(core)))
        later = KeyAgreement(Subsequent(SubsequentMessage.CHALLENGE_RESP))
        asked = await client.send(request_body(BodyType.IR, new_key(), popo=later), pvno=CMP2021)
        assert asked.body is BodyType.POPDECC
        wrong = PKIBody(BodyType.POPDECR, build_challenge_responses([1]))
        assert (await client.send(wrong, pvno=CMP2021)).failure is Failure.BAD_POP
        row = await core.storage.read(lambda tx: tx.one("SELECT state, request FROM cmp_transactions"))
        assert row == ("ended", None)


class TestPaths:
    """Nothing protects the path: whoever is between client and server writes another."""

    async def test_does_not_name_another_profile_than_the_header(self, core: Core) -> None:
        client = Client(core, ByMAC(await credential(core)), profile="tls-server")
        answer = await client.ir(new_key(), info=GeneralInfo(cert_profiles=("device",)))
        assert (answer.body, answer.failure) == (BodyType.ERROR, Failure.BAD_REQUEST)

    async def test_of_a_poll_changes_nothing(self, core: Core) -> None:
        with_profile(core, "device", approval=True)
        client = Client(core, ByMAC(await credential(core)), profile="device")
        assert (await client.ir(new_key())).status.status is PKIStatus.WAITING
        for profile in ("tls-server", "unknown", None):
            client.profile = profile
            assert (await client.poll()).body is BodyType.POLL_REP
