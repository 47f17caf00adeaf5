"""ir, cr, p10cr, kur, their confirmation and what waits: from the first message to the last."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.core import Core, open_core
from pkiserver.home import Home
from pkiserver.progress import silent
from pkiserver.ra.credentials import NewCredential
from pkiserver.ra.role_grants import at_machine
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.certificates import CertRepMessage
from protocols.cmp.confirmation import CertStatus, build_cert_confirm
from protocols.cmp.crmf import (
    AttributeTypeAndValue,
    CertId,
    CertReqMsg,
    POPOSigningKey,
    POPOSigningKeyInput,
    RAVerified,
    build_cert_req_messages,
    build_cert_request,
)
from protocols.cmp.general_info import GeneralInfo, read_general_info
from protocols.cmp.message import parse_pki_message
from protocols.cmp.polling import parse_poll_rep
from protocols.cmp.possession import PKMACValue
from protocols.cmp.status import ErrorMsgContent, PKIStatus, PKIStatusInfo
from protocols.cmp.status import PKIFailureInfo as Failure
from protocols.x509.names import parse_subject
from store import certificates, cmp_transactions, credentials, enrollments
from store.actor_proposals import Change
from store.records import CertificateRecord
from tests.cmp_messages import (
    ECDSA_SHA256,
    Answer,
    ByMAC,
    BySignature,
    Client,
    Key,
    Unprotected,
    confirm_body,
    credential,
    hash_of,
    holder,
    new_key,
    pbm,
    rejection_body,
    request,
    request_body,
    spki_of,
    template,
)

if TYPE_CHECKING:
    from tests.ra.conftest import Recorded, SetClock

IMPLICIT = GeneralInfo(implicit_confirm=True)
REJECTED = PKIStatusInfo(PKIStatus.REJECTION)
WAIT = timedelta(minutes=5)
Command = tuple[str, dict[str, Any]]
NOT_ACTIVE: list[tuple[Command, Failure]] = [
    (("certificate.revoke", {"reason": "unspecified"}), Failure.CERT_REVOKED),
    (("certificate.suspend", {"by": "holder"}), Failure.NOT_AUTHORIZED),
]


def with_profile(core: Core, name: str, **changes: Any) -> None:
    """Change a profile of an open core: all parts share one mapping."""
    core.profiles[name] = core.profiles[name].model_copy(update=changes)


async def record_of(core: Core, certificate: bytes) -> CertificateRecord:
    serial = x509.load_der_x509_certificate(certificate).serial_number
    (record,) = await core.storage.read(lambda tx: certificates.with_serial(tx, serial))
    return record


async def state_of(core: Core, certificate: bytes) -> str:
    return (await record_of(core, certificate)).state


async def change(core: Core, certificate: bytes, command: Command) -> None:
    """Change the status of a certificate by an operator's command."""
    serial = (await record_of(core, certificate)).serial
    name, arguments = command
    await core.commands.run(name, {"serial": f"{serial:x}", "ca": None, **arguments}, "user:test", silent)


async def uses_left(core: Core, new: NewCredential) -> int:
    record = await core.storage.read(lambda tx: credentials.get(tx, new.reference))
    assert record is not None
    return record.uses_left


class Enrolled:
    """A client whose certificate was issued and is not confirmed."""

    def __init__(self, client: Client, new: NewCredential, answer: Answer) -> None:
        self.client, self.new, self.certificate = client, new, answer.certificate


async def enrolled(core: Core) -> Enrolled:
    new = await credential(core)
    client = Client(core, ByMAC(new))
    return Enrolled(client, new, await client.ir(new_key()))


class TestEnrolment:
    @pytest.mark.parametrize(("kind", "answered"), [(BodyType.IR, BodyType.IP), (BodyType.CR, BodyType.CP)])
    async def test_by_a_credential(self, core: Core, kind: BodyType, answered: BodyType) -> None:
        key = new_key()
        client = Client(core, ByMAC(await credential(core)))
        answer = await client.send(request_body(kind, key))
        assert answer.body is answered
        certificate = x509.load_der_x509_certificate(answer.certificate)
        assert certificate.public_key() == key.public_key()
        assert certificate.subject.rfc4514_string() == "CN=sensor-7"
        assert (await client.confirm(answer.certificate)).body is BodyType.PKICONF
        assert await state_of(core, answer.certificate) == "active"

    async def test_p10cr(self, core: Core) -> None:
        key = new_key()
        csr = x509.CertificateSigningRequestBuilder().subject_name(
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sensor-7")])
        )
        encoded = csr.sign(key, SHA256()).public_bytes(Encoding.DER)
        client = Client(core, ByMAC(await credential(core)))
        answer = await client.send(PKIBody(BodyType.P10CR, encoded))
        assert answer.body is BodyType.CP
        assert [one.cert_req_id for one in answer.responses] == [-1]
        refused = await client.send(confirm_body(answer.certificate, 0))
        assert refused.failure is Failure.BAD_REQUEST
        client.recip_nonce = answer.message.header.sender_nonce
        assert (await client.send(confirm_body(answer.certificate, -1))).body is BodyType.PKICONF

    async def test_the_chain_comes_along(self, core: Core) -> None:
        answer = await Client(core, ByMAC(await credential(core))).ir(new_key())
        issuing, root = [core.authorities.get(name).der for name in ("infrastructure", "root")]
        assert answer.message.extra_certs == (issuing, root)
        assert der.whole(answer.message.body.content_der, CertRepMessage.parse).ca_pubs == (root,)

    async def test_what_the_template_says_beyond_the_credential_is_told(self, core: Core) -> None:
        new = await credential(core, "CN=sensor-7,O=Example")
        answer = await Client(core, ByMAC(new)).ir(new_key(), "CN=sensor-7")
        assert answer.status.status is PKIStatus.GRANTED_WITH_MODS

    @pytest.mark.parametrize("template", ["CN=sensor-8", "CN=sensor-8,O=Example", "CN=sensor-7,O=Another"])
    async def test_a_template_of_somebody_else(self, core: Core, template: str) -> None:
        new, key = await credential(core, "CN=sensor-7,O=Example"), new_key()
        refused = await Client(core, ByMAC(new)).ir(key, template)
        assert refused.failure is Failure.BAD_CERT_TEMPLATE
        answer = await Client(core, ByMAC(new)).ir(key, "CN=sensor-7,O=Example")
        assert answer.status.status is PKIStatus.ACCEPTED

    async def test_a_request_that_was_seen_is_not_certified_for_who_saw_it(self, core: Core) -> None:
        key = new_key()
        seen = request_body(BodyType.IR, key, "CN=sensor-7")
        thief = Client(core, ByMAC(await credential(core, "CN=thief")))
        assert (await thief.send(seen)).failure is Failure.BAD_CERT_TEMPLATE
        holder = Client(core, ByMAC(await credential(core, "CN=sensor-7")))
        assert (await holder.send(seen)).status.status is PKIStatus.ACCEPTED

    async def test_a_credential_is_used_up(self, core: Core) -> None:
        new = await credential(core)
        await Client(core, ByMAC(new)).ir(new_key())
        answer = await Client(core, ByMAC(new)).ir(new_key())
        assert (answer.body, answer.failure) == (BodyType.IP, Failure.NOT_AUTHORIZED)

    async def test_a_credential_expires(self, core: Core, clock: "SetClock") -> None:
        new = await credential(core)
        clock.moment = new.expires_at
        assert (await Client(core, ByMAC(new)).ir(new_key())).failure is Failure.NOT_AUTHORIZED

    async def test_a_credential_is_for_its_profile(self, core: Core) -> None:
        client = Client(core, ByMAC(await credential(core)), profile="tls-server")
        assert (await client.ir(new_key())).failure is Failure.NOT_AUTHORIZED
        client = Client(core, ByMAC(await credential(core)))
        answer = await client.ir(new_key(), info=GeneralInfo(cert_profiles=("tls-server",)))
        assert answer.failure is Failure.NOT_AUTHORIZED

    async def test_a_subject_of_the_template_where_the_profile_leaves_it(self, core: Core) -> None:
        rules = tuple(
            one.model_copy(update={"source": "request"}) if one.attribute == "commonName" else one
            for one in core.profiles["device"].subject
        )
        with_profile(core, "device", subject=rules)
        new = await credential(core, "O=Laboratory", uses=2)
        for name in ("CN=sensor-1,O=Laboratory", "CN=sensor-2,O=Laboratory"):
            answer = await Client(core, ByMAC(new)).ir(new_key(), name)
            subject = x509.load_der_x509_certificate(answer.certificate).subject
            assert subject.rfc4514_string() == name

    async def test_a_key_that_is_in_use(self, core: Core) -> None:
        key = new_key()
        await Client(core, ByMAC(await credential(core))).ir(key)
        answer = await Client(core, ByMAC(await credential(core, "CN=other"))).ir(key)
        assert answer.failure is Failure.BAD_CERT_TEMPLATE

    async def test_refusals_are_on_record(self, core: Core, recorded: "Recorded") -> None:
        new = await credential(core)
        await Client(core, ByMAC(new)).kur(new_key())
        (refusal,) = [one for one in await recorded(core.storage) if one["outcome"] == "refused"]
        assert (refusal["actor"], refusal["action"]) == (f"credential:{new.reference}", "cmp.kur")


class TestPossession:
    async def ask(self, core: Core, message: CertReqMsg) -> Answer:
        client = Client(core, ByMAC(await credential(core)))
        return await client.send(PKIBody(BodyType.IR, build_cert_req_messages([message])))

    async def test_missing(self, core: Core) -> None:
        message = CertReqMsg(build_cert_request(0, template(new_key())))
        assert (await self.ask(core, message)).failure is Failure.BAD_POP

    async def test_by_another_key(self, core: Core) -> None:
        message = request(new_key(), template(new_key()))
        assert (await self.ask(core, message)).failure is Failure.BAD_POP

    async def test_ra_verified_from_somebody_else(self, core: Core) -> None:
        key = new_key()
        message = request(key, template(key), popo=RAVerified())
        assert (await self.ask(core, message)).failure is Failure.NOT_AUTHORIZED

    async def test_without_a_key(self, core: Core) -> None:
        message = request(new_key(), template(None))
        assert (await self.ask(core, message)).failure is Failure.BAD_CERT_TEMPLATE

    async def test_a_weak_key(self, core: Core) -> None:
        key = ec.generate_private_key(ec.SECP521R1())
        message = request(key, template(key))  # a good key, and of no kind that the profile has
        assert (await self.ask(core, message)).failure is Failure.BAD_CERT_TEMPLATE

    @pytest.mark.parametrize("whose", ["own", "another"])
    async def test_with_a_mac_of_the_key(self, core: Core, whose: str) -> None:
        key, new = new_key(), await credential(core)
        parameters = pbm()
        secret = new.secret if whose == "own" else "guessed"
        mac = parameters.key_of(secret.encode()).compute(spki_of(key))
        signed = POPOSigningKeyInput.of_mac(PKMACValue(parameters.algorithm(), mac), spki_of(key))
        proof = POPOSigningKey(ECDSA_SHA256, key.sign(signed.der, ec.ECDSA(SHA256())), signed)
        message = CertReqMsg(build_cert_request(0, template(key, None)), proof)
        body = PKIBody(BodyType.IR, build_cert_req_messages([message]))
        answer = await Client(core, ByMAC(new)).send(body)
        assert answer.failure is (None if whose == "own" else Failure.BAD_POP)

    @pytest.mark.parametrize("whose", ["own", "another"])
    async def test_with_the_name_of_the_sender(self, core: Core, whose: str) -> None:
        key, sender = new_key(), await holder(core)
        name = (
            sender.header()["sender"] if whose == "own" else (await holder(core, "CN=b")).header()["sender"]
        )
        signed = POPOSigningKeyInput.of_sender(name, spki_of(key))
        proof = POPOSigningKey(ECDSA_SHA256, key.sign(signed.der, ec.ECDSA(SHA256())), signed)
        message = CertReqMsg(build_cert_request(0, template(key, None)), proof)
        body = PKIBody(BodyType.KUR, build_cert_req_messages([message]))
        answer = await Client(core, sender).send(body)
        assert answer.failure is (None if whose == "own" else Failure.BAD_POP)


class TestUpdate:
    @pytest.mark.parametrize("subject", [None, "CN=sensor-7"])
    async def test_an_update(self, core: Core, subject: str | None) -> None:
        sender, key = await holder(core), new_key()
        client = Client(core, sender)
        answer = await client.send(request_body(BodyType.KUR, key, subject))
        assert answer.body is BodyType.KUP
        assert answer.status.status is PKIStatus.ACCEPTED
        assert (await client.confirm(answer.certificate)).body is BodyType.PKICONF
        assert await state_of(core, sender.certificate) == "active"

    async def test_the_old_certificate_is_the_senders(self, core: Core) -> None:
        one, other = await holder(core), await holder(core, "CN=sensor-8")
        for sender, failure in ((one, None), (other, Failure.BAD_CERT_ID)):
            answer = await Client(core, sender).send(update_of(one.certificate))
            assert answer.failure is failure

    async def test_another_subject(self, core: Core) -> None:
        client = Client(core, await holder(core))
        answer = await client.send(request_body(BodyType.KUR, new_key(), "CN=sensor-8"))
        assert answer.failure is Failure.BAD_CERT_TEMPLATE

    async def test_under_a_mac(self, core: Core) -> None:
        answer = await Client(core, ByMAC(await credential(core))).kur(new_key())
        assert answer.failure is Failure.WRONG_INTEGRITY

    @pytest.mark.parametrize(("command", "failure"), NOT_ACTIVE)
    async def test_by_a_certificate_that_is_not_active(
        self, core: Core, command: Command, failure: Failure
    ) -> None:
        sender = await holder(core)
        await change(core, sender.certificate, command)
        answer = await Client(core, sender).kur(new_key())
        assert (answer.body, answer.failure) == (BodyType.ERROR, failure)

    async def test_by_a_stranger(self, core: Core) -> None:
        key = new_key()
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stranger")])
        now = core.clock.now()
        stranger = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now)
            .not_valid_after(now + WAIT)
            .sign(key, SHA256())
        )
        answer = await Client(core, BySignature(key, stranger.public_bytes(Encoding.DER))).ir(new_key())
        assert answer.failure is Failure.SIGNER_NOT_TRUSTED


class TestConfirmation:
    async def test_implicitly(self, core: Core) -> None:
        client = Client(core, ByMAC(await credential(core)))
        answer = await client.ir(new_key(), info=IMPLICIT)
        assert read_general_info(answer.message.header.general_info).implicit_confirm
        refused = await client.confirm(answer.certificate)
        assert refused.failure is Failure.CERT_CONFIRMED
        assert await state_of(core, answer.certificate) == "active"

    async def test_not_implicitly_where_the_profile_wants_to_know(self, core: Core) -> None:
        with_profile(core, "device", implicit_confirm=False)
        client = Client(core, ByMAC(await credential(core)))
        answer = await client.ir(new_key(), info=IMPLICIT)
        info = read_general_info(answer.message.header.general_info)
        assert not info.implicit_confirm
        assert info.confirm_wait_time == core.clock.now() + WAIT

    async def test_a_shorter_time_is_granted_and_no_longer_one(self, core: Core) -> None:
        now = core.clock.now()
        for asked, granted in ((WAIT / 5, WAIT / 5), (2 * WAIT, WAIT)):
            client = Client(core, ByMAC(await credential(core)))
            answer = await client.ir(new_key(), info=GeneralInfo(confirm_wait_time=now + asked))
            info = read_general_info(answer.message.header.general_info)
            assert info.confirm_wait_time == now + granted

    async def test_a_refused_certificate_is_revoked_and_the_credential_good_again(self, core: Core) -> None:
        one = await enrolled(core)
        assert (await one.client.send(rejection_body(one.certificate))).body is BodyType.PKICONF
        assert await state_of(core, one.certificate) == "revoked"
        assert await uses_left(core, one.new) == 1
        again = await Client(core, ByMAC(one.new)).ir(new_key())
        assert again.status.status is PKIStatus.ACCEPTED

    async def test_silence_refuses_too(self, core: Core) -> None:
        one = await enrolled(core)
        answer = await one.client.send(PKIBody(BodyType.CERT_CONF, build_cert_confirm([])))
        assert answer.body is BodyType.PKICONF
        assert await state_of(core, one.certificate) == "revoked"

    async def test_a_certificate_that_is_not_confirmed_in_time(
        self, core: Core, clock: "SetClock", recorded: "Recorded"
    ) -> None:
        one = await enrolled(core)
        clock.moment += WAIT - timedelta(seconds=1)
        assert await core.cmp.expire() == 0
        clock.moment += timedelta(seconds=1)
        assert await core.cmp.expire() == 1
        assert await state_of(core, one.certificate) == "revoked"
        assert await uses_left(core, one.new) == 1
        (withdrawn,) = [x for x in await recorded(core.storage) if x["action"] == "cmp.withdraw"]
        assert (withdrawn["actor"], withdrawn["why"]) == ("system", "not confirmed in time")
        assert (await one.client.confirm(one.certificate)).failure is Failure.CERT_CONFIRMED
        assert await core.cmp.expire() == 0

    async def test_a_confirmation_comes_again(self, core: Core) -> None:
        one = await enrolled(core)
        nonce = one.client.recip_nonce
        for _ in range(2):
            one.client.recip_nonce = nonce
            assert (await one.client.confirm(one.certificate)).body is BodyType.PKICONF
        one.client.recip_nonce = nonce
        answer = await one.client.send(rejection_body(one.certificate))
        assert answer.failure is Failure.CERT_CONFIRMED
        assert await state_of(core, one.certificate) == "active"

    async def test_a_refusal_comes_again(self, core: Core) -> None:
        one = await enrolled(core)
        nonce = one.client.recip_nonce
        for _ in range(2):
            one.client.recip_nonce = nonce
            assert (await one.client.send(rejection_body(one.certificate))).body is BodyType.PKICONF
        assert await uses_left(core, one.new) == 1

    async def test_an_error_of_the_client_ends_it(self, core: Core) -> None:
        one = await enrolled(core)
        answer = await one.client.send(PKIBody(BodyType.ERROR, ErrorMsgContent(REJECTED).encode()))
        assert answer.body is BodyType.PKICONF
        assert await state_of(core, one.certificate) == "revoked"

    @pytest.mark.parametrize(
        ("statuses", "failure"),
        [
            ({"cert_hash": bytes(32)}, Failure.BAD_CERT_ID),
            ({"cert_req_id": 1}, Failure.BAD_REQUEST),
            ({"cert_req_id": -1}, Failure.BAD_REQUEST),
            (
                {"status_info": PKIStatusInfo(PKIStatus.ACCEPTED, (), frozenset({Failure.BAD_ALG}))},
                Failure.BAD_REQUEST,
            ),
            ({"status_info": PKIStatusInfo(PKIStatus.WAITING)}, Failure.BAD_REQUEST),
            ({"hash_alg": AlgorithmIdentifier(oid.SHA512)}, Failure.BAD_REQUEST),
        ],
        ids=["hash", "id", "negative", "failInfo", "waiting", "hashAlg"],
    )
    async def test_what_is_no_confirmation(
        self, core: Core, statuses: dict[str, Any], failure: Failure
    ) -> None:
        one = await enrolled(core)
        answer = await one.client.send(confirm_body(one.certificate, **statuses))
        assert (answer.body, answer.failure) == (BodyType.ERROR, failure)
        assert await state_of(core, one.certificate) == "active"

    async def test_two_statuses_of_one_certificate(self, core: Core) -> None:
        one = await enrolled(core)
        twice = [CertStatus(hash_of(one.certificate), 0)] * 2
        answer = await one.client.send(PKIBody(BodyType.CERT_CONF, build_cert_confirm(twice)))
        assert answer.failure is Failure.BAD_REQUEST

    async def test_another_hash_in_version_3(self, core: Core) -> None:
        one = await enrolled(core)
        body = confirm_body(
            one.certificate,
            cert_hash=hashlib.sha512(one.certificate).digest(),
            hash_alg=AlgorithmIdentifier(oid.SHA512),
        )
        answer = await one.client.send(body, pvno=3)
        assert answer.body is BodyType.PKICONF
        assert answer.message.header.pvno == 3

    async def test_a_wrong_nonce(self, core: Core) -> None:
        one = await enrolled(core)
        for nonce in (None, bytes(16)):
            answer = await one.client.confirm(one.certificate, recip_nonce=nonce)
            assert answer.failure is Failure.BAD_RECIPIENT_NONCE

    async def test_by_the_new_certificate(self, core: Core) -> None:
        sender, key = await holder(core), new_key()
        client = Client(core, sender)
        certificate = (await client.kur(key)).certificate
        client.protection = BySignature(key, certificate)
        assert (await client.confirm(certificate)).failure is Failure.BAD_REQUEST

    async def test_by_a_mac_after_a_signature(self, core: Core) -> None:
        client = Client(core, await holder(core))
        certificate = (await client.kur(new_key())).certificate
        client.protection = ByMAC(await credential(core))
        assert (await client.confirm(certificate)).failure is Failure.WRONG_INTEGRITY

    async def test_unprotected(self, core: Core) -> None:
        one = await enrolled(core)
        one.client.protection = Unprotected()
        assert (await one.client.confirm(one.certificate)).failure is Failure.BAD_MESSAGE_CHECK

    async def test_without_a_transaction(self, core: Core) -> None:
        one = await enrolled(core)
        stranger = Client(core, ByMAC(await credential(core)))
        assert (await stranger.confirm(one.certificate)).failure is Failure.BAD_REQUEST


class TestAgain:
    async def test_the_same_request_gets_the_same_certificate(self, core: Core) -> None:
        one = await enrolled(core)
        again = await one.client.post(one.client.sent)
        assert again.certificate == one.certificate
        assert (await one.client.confirm(one.certificate)).body is BodyType.PKICONF

    async def test_twice_at_once(self, core: Core) -> None:
        client = Client(core, ByMAC(await credential(core, uses=2)))
        message = client.build(request_body(BodyType.IR, new_key()))
        answers = await asyncio.gather(client.post(message), client.post(message))
        bodies = sorted(one.body for one in answers)
        assert bodies == [BodyType.IP, BodyType.ERROR]
        (refused,) = [one for one in answers if one.body is BodyType.ERROR]
        assert refused.failure is Failure.SYSTEM_UNAVAIL

    async def test_after_it_was_refused(self, core: Core) -> None:
        one = await enrolled(core)
        request_sent = one.client.sent
        await one.client.send(rejection_body(one.certificate))
        assert (await one.client.post(request_sent)).failure is Failure.CERT_REVOKED

    async def test_after_a_restart(self, initialised_home: Path, tmp_path: Path, clock: "SetClock") -> None:
        home = Home(shutil.copytree(initialised_home, tmp_path / "again"))
        async with open_core(home, clock) as core:
            one, other = await enrolled(core), await enrolled(core)
        async with open_core(home, clock) as core:
            one.client.core = other.client.core = core
            assert (await one.client.post(one.client.sent)).certificate == one.certificate
            assert (await one.client.confirm(one.certificate)).body is BodyType.PKICONF
            clock.moment += WAIT
            assert await core.cmp.expire() == 1
            assert await state_of(core, one.certificate) == "active"
            assert await state_of(core, other.certificate) == "revoked"

    async def test_a_crash_before_the_answer(self, core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
        client = Client(core, ByMAC(await credential(core)))
        message = client.build(request_body(BodyType.IR, new_key()))

        async def crash(*_: Any, **__: Any) -> bytes:
            raise RuntimeError("crash")

        with monkeypatch.context() as patch:
            patch.setattr(core.cmp._answers, "message", crash)
            with pytest.raises(RuntimeError):
                await client.post(message)
        answer = await client.post(message)
        assert (await client.confirm(answer.certificate)).body is BodyType.PKICONF


def several(key: Key, subjects: Sequence[str], ids: Sequence[int]) -> PKIBody:
    messages = [
        request(key, template(key, subject), cert_req_id=number)
        for number, subject in zip(ids, subjects, strict=True)
    ]
    return PKIBody(BodyType.IR, build_cert_req_messages(messages))


@pytest.fixture
async def of_two(initialised_home: Path, tmp_path: Path, clock: "SetClock") -> AsyncIterator[Core]:
    """A core whose configuration allows two requests in a message."""
    home = Home(shutil.copytree(initialised_home, tmp_path / "two"))
    text = home.configuration.read_text()
    home.configuration.write_text(text.replace("max_requests = 1\n", "max_requests = 2\n"))
    async with open_core(home, clock) as core:
        yield core


class TestSeveral:
    async def test_one_unless_policy_allows_more(self, core: Core) -> None:
        client = Client(core, ByMAC(await credential(core, uses=2)))
        answer = await client.send(several(new_key(), ["CN=sensor-7"] * 2, [0, 1]))
        assert (answer.body, answer.failure) == (BodyType.ERROR, Failure.BAD_REQUEST)

    @pytest.mark.parametrize("ids", [[5], [-1]])
    async def test_the_id_of_a_single_one(self, core: Core, ids: list[int]) -> None:
        client = Client(core, ByMAC(await credential(core)))
        answer = await client.send(several(new_key(), ["CN=sensor-7"], ids))
        assert answer.failure is Failure.BAD_REQUEST

    async def test_each_is_confirmed_for_itself(self, of_two: Core) -> None:
        core = of_two
        new = await credential(core, uses=2)
        client = Client(core, ByMAC(new))
        answer = await client.send(several(new_key(), ["CN=sensor-7"] * 2, [0, 1]))
        made = [one.certified_key_pair.certificate for one in answer.responses if one.certified_key_pair]
        assert len(made) == 2
        first, second = (one or b"" for one in made)
        statuses = [CertStatus(hash_of(first), 0), CertStatus(hash_of(second), 1, REJECTED)]
        confirmed = await client.send(PKIBody(BodyType.CERT_CONF, build_cert_confirm(statuses)))
        assert confirmed.body is BodyType.PKICONF
        assert [await state_of(core, one) for one in (first, second)] == ["active", "revoked"]
        assert await uses_left(core, new) == 1

    async def test_several_do_not_await_approval(self, of_two: Core) -> None:
        """One pollRep cannot speak for all (a divergence)."""
        with_profile(of_two, "device", approval=True)
        new = await credential(of_two, uses=2)
        answer = await Client(of_two, ByMAC(new)).send(several(new_key(), ["CN=sensor-7"] * 2, [0, 1]))
        assert (answer.body, answer.failure) == (BodyType.ERROR, Failure.BAD_REQUEST)
        assert "send one request in each message" in answer.status.status_string[0]
        now = of_two.clock.now()
        assert not await of_two.storage.read(lambda tx: enrollments.with_state(tx, "waiting", now, 9))
        assert await uses_left(of_two, new) == 2

    async def test_one_may_be_refused_alone(self, of_two: Core) -> None:
        client = Client(of_two, ByMAC(await credential(of_two)))
        answer = await client.send(several(new_key(), ["CN=sensor-7"] * 2, [0, 1]))
        statuses = [one.status.status for one in answer.responses]
        assert statuses == [PKIStatus.ACCEPTED, PKIStatus.REJECTION]


class TestApproval:
    async def wait(self, core: Core) -> tuple[Client, NewCredential, Answer]:
        with_profile(core, "device", approval=True)
        new = await credential(core)
        client = Client(core, ByMAC(new))
        return client, new, await client.ir(new_key())

    async def decide(self, core: Core, decision: Any) -> None:
        found = await core.storage.read(lambda tx: enrollments.with_state(tx, "waiting", core.clock.now(), 9))
        await core.approvals.decide(found[0].id, decision, "registrar:1", "no such device")

    async def test_polled_until_approved(self, core: Core) -> None:
        client, _, answer = await self.wait(core)
        assert (answer.body, answer.status.status) == (BodyType.IP, PKIStatus.WAITING)
        for _ in range(2):
            polled = await client.poll()
            assert polled.body is BodyType.POLL_REP
            (one,) = parse_poll_rep(polled.message.body.content_der)
            assert (one.cert_req_id, one.check_after_s) == (0, 30)
        await self.decide(core, "approved")
        issued = await client.poll()
        assert issued.body is BodyType.IP
        assert (await client.confirm(issued.certificate)).body is BodyType.PKICONF

    async def test_the_last_answer_got_lost(self, core: Core) -> None:
        client, _, _ = await self.wait(core)
        await self.decide(core, "approved")
        issued = await client.poll()
        assert (await client.poll(-1)).certificate == issued.certificate
        assert (await client.confirm(issued.certificate)).body is BodyType.PKICONF

    async def test_refused(self, core: Core) -> None:
        client, _, _ = await self.wait(core)
        await self.decide(core, "refused")
        answer = await client.poll()
        assert (answer.body, answer.failure) == (BodyType.IP, Failure.NOT_AUTHORIZED)
        assert "no such device" in answer.status.status_string[0]

    async def test_the_request_sent_again_still_waits(self, core: Core) -> None:
        client, _, answer = await self.wait(core)
        again = await client.post(client.sent)
        assert again.status.status is PKIStatus.WAITING
        client.recip_nonce = answer.message.header.sender_nonce  # that of the first answer does as well
        assert (await client.poll()).body is BodyType.POLL_REP

    async def test_another_id_is_not_polled_for(self, core: Core) -> None:
        client, _, _ = await self.wait(core)
        assert (await client.poll(7)).failure is Failure.BAD_REQUEST

    async def test_a_refused_certificate_needs_no_second_approval(self, core: Core) -> None:
        client, new, _ = await self.wait(core)
        first = client.sent
        await self.decide(core, "approved")
        issued = await client.poll()
        await client.send(rejection_body(issued.certificate))
        assert await uses_left(core, new) == 1
        body = parse_body(first)
        again = await Client(core, ByMAC(new)).send(body)
        assert again.certificate != issued.certificate

    async def test_nobody_polls_anothers(self, core: Core) -> None:
        client, _, _ = await self.wait(core)
        client.protection = ByMAC(await credential(core))
        assert (await client.poll()).failure is Failure.BAD_REQUEST

    async def test_a_client_gives_up(self, core: Core) -> None:
        client, _, _ = await self.wait(core)
        answer = await client.send(PKIBody(BodyType.ERROR, ErrorMsgContent(REJECTED).encode()))
        assert answer.body is BodyType.PKICONF
        assert (await client.poll()).failure is Failure.BAD_REQUEST


def parse_body(message: bytes) -> PKIBody:
    return parse_pki_message(message).body


async def test_keys_of_other_kinds(core: Core) -> None:
    key = Ed25519PrivateKey.generate()
    with_profile(core, "device", keys=("ed25519",))
    asked = build_cert_request(0, replace(template(None), public_key=spki_of(key)))
    proof = POPOSigningKey(AlgorithmIdentifier(oid.ED25519), key.sign(asked.der))
    body = PKIBody(BodyType.IR, build_cert_req_messages([CertReqMsg(asked, proof)]))
    assert (await Client(core, ByMAC(await credential(core))).send(body)).certificate
    assert await core.storage.read(cmp_transactions.count_unconfirmed) == 1


async def registered(core: Core, limit: Sequence[str] = ()) -> BySignature:
    """Return a registered RA."""
    ra = await holder(core, "CN=station", "registration-client")
    await core.actors.add("station", "ra", x509.load_der_x509_certificate(ra.certificate), "test", limit)
    return ra


async def approve_all(core: Core) -> list[tuple[str, str]]:
    """Approve what waits; return who asked, and for which subject."""
    found = await core.storage.read(lambda tx: enrollments.with_state(tx, "waiting", core.clock.now(), 9))
    for one in found:
        await core.approvals.decide(one.id, "approved", "registrar:1", None)
    return [(one.asked_by, one.subject) for one in found]


def old_cert_id(certificate: bytes) -> list[AttributeTypeAndValue]:
    parsed = x509.load_der_x509_certificate(certificate)
    old = CertId.of(parsed.issuer.public_bytes(), parsed.serial_number).encode()
    return [AttributeTypeAndValue(oid.REG_CTRL_OLD_CERT_ID, old)]


def update_of(certificate: bytes, subject: str | None = None, popo: RAVerified | None = None) -> PKIBody:
    """Return a kur that names a certificate by oldCertID."""
    return request_body(BodyType.KUR, new_key(), subject, controls=old_cert_id(certificate), popo=popo)


class TestRegistrationClient:
    """A registered RA asks for others, in its own name: for what awaits approval, and for nothing else."""

    @pytest.mark.parametrize("popo", [None, RAVerified()], ids=["signature", "raVerified"])
    async def test_it_enrols_once_somebody_approved(self, core: Core, popo: RAVerified | None) -> None:
        ra = await registered(core)
        with_profile(core, "device", approval=True)
        client = Client(core, ra, profile="device")
        answer = await client.send(request_body(BodyType.CR, new_key(), "CN=sensor-9", popo=popo))
        assert answer.status.status is PKIStatus.WAITING
        assert await approve_all(core) == [("actor:station", "CN=sensor-9")]
        certificate = (await client.poll()).certificate
        assert x509.load_der_x509_certificate(certificate).subject.rfc4514_string() == "CN=sensor-9"
        assert (await client.confirm(certificate)).body is BodyType.PKICONF

    async def test_not_what_awaits_no_approval(self, core: Core) -> None:
        client = Client(core, await registered(core), profile="device")
        answer = await client.send(request_body(BodyType.CR, new_key(), "CN=sensor-9"))
        assert answer.failure is Failure.NOT_AUTHORIZED

    async def test_not_beyond_the_profiles_that_it_is_limited_to(
        self, core: Core, recorded: "Recorded"
    ) -> None:
        ra = await registered(core, ["device"])
        for name in ("device", "tls-server"):
            with_profile(core, name, approval=True)
        body = request_body(BodyType.CR, new_key(), "CN=sensor-9")
        assert (await Client(core, ra, profile="tls-server").send(body)).failure is Failure.NOT_AUTHORIZED
        refused = [one for one in await recorded(core.storage) if one["outcome"] == "refused"]
        assert [one["action"] for one in refused] == ["cmp.cr"]
        assert (await Client(core, ra, profile="device").send(body)).status.status is PKIStatus.WAITING

    async def test_not_while_it_is_not_registered(self, core: Core) -> None:
        sender = await holder(core, "CN=station", "registration-client")
        with_profile(core, "device", approval=True)
        body = request_body(BodyType.CR, new_key(), "CN=sensor-9", popo=RAVerified())
        answer = await Client(core, sender, profile="device").send(body)
        assert answer.failure is Failure.NOT_AUTHORIZED


class TestUpdateForOthers:
    """A registered RA updates the certificate that oldCertID names, for its holder (RFC 9810 §5.3.5)."""

    async def of_sensor(self, core: Core, limit: Sequence[str] = ()) -> tuple[Client, bytes]:
        """Return a registered RA, and a certificate of a profile that awaits approval from now on."""
        ra = await registered(core, limit)
        new = await credential(core, "CN=sensor-9", san=["DNS:nine.example"])
        answer = await Client(core, ByMAC(new)).ir(new_key(), "CN=sensor-9", info=IMPLICIT)
        with_profile(core, "device", approval=True)
        return Client(core, ra), answer.certificate

    @pytest.mark.parametrize("subject", [None, "CN=sensor-9"])
    @pytest.mark.parametrize("popo", [None, RAVerified()], ids=["signature", "raVerified"])
    async def test_once_somebody_approved(
        self, core: Core, popo: RAVerified | None, subject: str | None
    ) -> None:
        client, old = await self.of_sensor(core)
        answer = await client.send(update_of(old, subject, popo))
        assert (answer.body, answer.status.status) == (BodyType.KUP, PKIStatus.WAITING)
        assert await approve_all(core) == [("actor:station", "CN=sensor-9")]
        issued = await client.poll()
        assert (issued.body, issued.status.status) == (BodyType.KUP, PKIStatus.ACCEPTED)
        before, after = [await record_of(core, one) for one in (old, issued.certificate)]
        assert (after.profile, after.subject) == (before.profile, before.subject)
        assert names_of(issued.certificate) == names_of(old) != ()
        assert (await client.confirm(issued.certificate)).body is BodyType.PKICONF
        assert await state_of(core, old) == "active"

    @pytest.mark.parametrize(
        ("subject", "profile", "failure"),
        [
            ("CN=sensor-8", None, Failure.BAD_CERT_TEMPLATE),
            (None, "tls-server", Failure.NOT_AUTHORIZED),
        ],
        ids=["another subject", "another profile"],
    )
    async def test_what_is_refused(
        self, core: Core, subject: str | None, profile: str | None, failure: Failure
    ) -> None:
        client, old = await self.of_sensor(core)
        with_profile(core, "tls-server", approval=True)
        client.profile = profile
        answer = await client.send(update_of(old, subject))
        assert (answer.body, answer.failure) == (BodyType.KUP, failure)
        assert await approve_all(core) == []

    async def test_possession_is_proved(self, core: Core) -> None:
        client, old = await self.of_sensor(core)
        wrong = request(new_key(), template(new_key(), None), controls=old_cert_id(old))
        answer = await client.send(PKIBody(BodyType.KUR, build_cert_req_messages([wrong])))
        assert answer.failure is Failure.BAD_POP

    async def test_not_in_a_profile_that_awaits_no_approval(self, core: Core) -> None:
        client, old = await self.of_sensor(core)
        with_profile(core, "device", approval=False)
        assert (await client.send(update_of(old))).failure is Failure.NOT_AUTHORIZED

    async def test_not_beyond_the_profiles_that_it_is_limited_to(self, core: Core) -> None:
        client, old = await self.of_sensor(core, ["tls-server"])
        assert (await client.send(update_of(old))).failure is Failure.NOT_AUTHORIZED
        assert await approve_all(core) == []

    async def test_without_the_old_certificate(self, core: Core) -> None:
        client, _ = await self.of_sensor(core)
        client.profile = "device"
        answer = await client.send(request_body(BodyType.KUR, new_key(), "CN=sensor-9"))
        assert answer.failure is Failure.BAD_CERT_ID

    async def test_an_old_certificate_that_is_not_of_this_ca(self, core: Core) -> None:
        client, _ = await self.of_sensor(core)
        old = CertId.of(parse_subject("CN=other CA").public_bytes(), 7).encode()
        controls = [AttributeTypeAndValue(oid.REG_CTRL_OLD_CERT_ID, old)]
        answer = await client.send(request_body(BodyType.KUR, new_key(), None, controls=controls))
        assert answer.failure is Failure.BAD_CERT_ID

    async def test_not_while_it_is_not_registered(self, core: Core) -> None:
        client, old = await self.of_sensor(core)
        await core.role_grants.propose(at_machine("test"), "station", Change("remove"))
        assert (await client.send(update_of(old))).failure is Failure.BAD_CERT_ID

    @pytest.mark.parametrize(("command", "failure"), NOT_ACTIVE)
    async def test_an_old_certificate_that_is_not_active(
        self, core: Core, command: Command, failure: Failure
    ) -> None:
        client, old = await self.of_sensor(core)
        await change(core, old, command)
        answer = await client.send(update_of(old))
        assert (answer.body, answer.failure) == (BodyType.KUP, failure)

    async def test_an_old_certificate_that_is_not_confirmed(self, core: Core) -> None:
        client, _ = await self.of_sensor(core)
        with_profile(core, "device", approval=False)
        unconfirmed = (await enrolled(core)).certificate
        with_profile(core, "device", approval=True)
        assert (await client.send(update_of(unconfirmed))).failure is Failure.NOT_AUTHORIZED

    async def test_the_old_certificate_is_revoked_meanwhile(self, core: Core) -> None:
        client, old = await self.of_sensor(core)
        await client.send(update_of(old))
        await approve_all(core)
        await change(core, old, NOT_ACTIVE[0][0])
        assert (await client.poll()).failure is Failure.CERT_REVOKED

    async def test_the_old_certificate_is_revoked_at_the_last_moment(
        self, core: Core, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client, old = await self.of_sensor(core)
        await client.send(update_of(old))
        await approve_all(core)
        obtain = core.approvals.obtain

        async def revoked_before(*arguments: Any, **named: Any) -> bytes:
            await change(core, old, NOT_ACTIVE[0][0])
            return await obtain(*arguments, **named)

        monkeypatch.setattr(core.approvals, "obtain", revoked_before)
        assert (await client.poll()).failure is Failure.NOT_AUTHORIZED

    async def test_its_own_as_any_holder(self, core: Core) -> None:
        ra = await registered(core)
        answer = await Client(core, ra).send(update_of(ra.certificate))
        assert (await record_of(core, answer.certificate)).subject == "CN=station,C=MN"


def names_of(certificate: bytes) -> tuple[x509.GeneralName, ...]:
    extensions = x509.load_der_x509_certificate(certificate).extensions
    return tuple(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
