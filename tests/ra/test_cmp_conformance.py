"""What RFC 9483 asks of messages, a rule a case: each breach has the failInfo that the RFC names."""

import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.core import Core
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier, Extension
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.confirmation import build_cert_confirm
from protocols.cmp.crmf import (
    AttributeTypeAndValue,
    CertId,
    CertReqMsg,
    RAVerified,
    build_cert_req_messages,
    build_cert_request,
)
from protocols.cmp.general import build_general_message
from protocols.cmp.general_info import GeneralInfo
from protocols.cmp.general_name import general_name
from protocols.cmp.header import PKIHeader
from protocols.cmp.info_type import InfoTypeAndValue
from protocols.cmp.message import build_pki_message, finish_message, protected_part_of
from protocols.cmp.revocation import RevDetails, RevRepContent, build_rev_req
from protocols.cmp.status import PKIFailureInfo as Failure
from protocols.cmp.status import PKIStatus, PKIStatusInfo
from protocols.x509.names import parse_subject
from tests.cmp_messages import (
    Answer,
    ByMAC,
    BySignature,
    Client,
    Unprotected,
    confirm_body,
    credential,
    holder,
    new_key,
    pbm,
    request,
    request_body,
    revocation_body,
    template,
)

if TYPE_CHECKING:
    from tests.ra.conftest import SetClock

Send = Callable[[Core], Awaitable[Answer]]
TOO_FAR = timedelta(minutes=6)
STRANGER = general_name(parse_subject("CN=stranger").public_bytes())
MAIL = der.encode(der.context(1, constructed=False), b"sensor@example.mn")
ECDSA_SHA1 = AlgorithmIdentifier("1.2.840.10045.4.1")


@dataclass(frozen=True)
class Rule:
    """How a message that breaks it is sent, what it is answered by, and with which failInfo."""

    send: Send
    failure: Failure
    body: BodyType = BodyType.ERROR


async def by_mac(core: Core) -> Client:
    return Client(core, ByMAC(await credential(core)))


async def by_signature(core: Core) -> Client:
    return Client(core, await holder(core))


def headed(client_of: Callable[[Core], Awaitable[Client]] = by_mac, **changes: Any) -> Send:
    """Send an ir with another header; a callable is given the core."""

    async def send(core: Core) -> Answer:
        client = await client_of(core)
        values = {name: value(core) if callable(value) else value for name, value in changes.items()}
        return await client.ir(new_key(), **values)

    return send


def with_info(*infos: InfoTypeAndValue) -> Send:
    return headed(general_info=infos)


async def both_ways_to_confirm(core: Core) -> Answer:
    info = GeneralInfo(implicit_confirm=True, confirm_wait_time=core.clock.now())
    return await (await by_mac(core)).ir(new_key(), info=info)


# ---- Protection


async def not_at_all(core: Core) -> Answer:
    return await Client(core, Unprotected()).ir(new_key())


@dataclass(frozen=True)
class Claimed:
    """Protection that says more, or less, than there is."""

    inner: ByMAC | BySignature
    named: bool
    given: bool

    def header(self) -> dict[str, Any]:
        return self.inner.header()

    def protect(self, header: PKIHeader, body: PKIBody) -> bytes:
        values = {name: getattr(header, name) for name in PKIHeader.__slots__}
        algorithm = (header.protection_alg or pbm().algorithm()) if self.named else None
        return build_pki_message(
            PKIHeader(**values | {"protection_alg": algorithm}), body, bytes(32) if self.given else None
        )


def claimed(*, named: bool, given: bool, signed: bool = False) -> Send:
    async def send(core: Core) -> Answer:
        inner = await holder(core) if signed else ByMAC(await credential(core))
        return await Client(core, Claimed(inner, named, given)).ir(new_key())

    return send


async def a_wrong_secret(core: Core) -> Answer:
    return await Client(core, ByMAC(replace(await credential(core), secret="wrong"))).ir(new_key())


async def a_secret_of_nobody(core: Core) -> Answer:
    return await Client(core, ByMAC(replace(await credential(core), reference="nobody"))).ir(new_key())


async def anothers_signature(core: Core) -> Answer:
    return await Client(core, replace(await holder(core), key=new_key())).kur(new_key())


async def no_certificates(core: Core) -> Answer:
    return await Client(core, replace(await holder(core), extra_certs=())).kur(new_key())


async def the_signer_second(core: Core) -> Answer:
    own, other = await holder(core), await holder(core, "CN=sensor-8")
    moved = replace(own, extra_certs=(other.certificate, own.certificate))
    return await Client(core, moved).kur(new_key())


def stranger(core: Core, **named: Any) -> BySignature:
    """Return who made the own certificate; with `usage`, a KeyUsage."""
    key, name = new_key(), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stranger")])
    now = core.clock.now()
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + TOO_FAR)
    for extension in named.values():
        builder = builder.add_extension(extension, critical=True)
    return BySignature(key, builder.sign(key, SHA256()).public_bytes(Encoding.DER))


async def an_untrusted_signer(core: Core) -> Answer:
    return await Client(core, stranger(core)).ir(new_key(), sender_kid=b"of no certificate")


async def a_signer_not_for_signatures(core: Core) -> Answer:
    others = dict.fromkeys(
        (
            *("content_commitment", "key_encipherment", "data_encipherment", "key_cert_sign"),
            *("crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    usage = x509.KeyUsage(digital_signature=False, key_agreement=True, **others)
    return await Client(core, stranger(core, usage=usage)).ir(new_key())


@dataclass(frozen=True)
class BySHA1(BySignature):
    """By a signature over a hash that is no longer one."""

    def header(self) -> dict[str, Any]:
        return super().header() | {"protection_alg": ECDSA_SHA1}

    def protect(self, header: PKIHeader, body: PKIBody) -> bytes:
        part = protected_part_of(header, body)
        signature = self.key.sign(part, ec.ECDSA(SHA1()))  # noqa: S303 - it is to be refused
        return finish_message(part, signature, (self.certificate,))


async def a_weak_signature(core: Core) -> Answer:
    held = await holder(core)
    return await Client(core, BySHA1(held.key, held.certificate)).kur(new_key())


def by_a_mac(algorithm: AlgorithmIdentifier) -> Send:
    """Send an ir that claims to be protected by an algorithm."""

    async def send(core: Core) -> Answer:
        client = Client(core, Claimed(ByMAC(await credential(core)), named=True, given=True))
        return await client.ir(new_key(), protection_alg=algorithm)

    return send


def mac(**changes: Any) -> Send:
    return by_a_mac(replace(pbm(), **changes).algorithm())


# ---- Transactions


async def an_id_in_use(core: Core) -> Answer:
    client = Client(core, ByMAC(await credential(core, uses=2)))
    await client.ir(new_key())
    client.recip_nonce = None
    return await client.ir(new_key())


def confirming(**changes: Any) -> Send:
    """Confirm with another header."""

    async def send(core: Core) -> Answer:
        client = await by_mac(core)
        return await client.confirm((await client.ir(new_key())).certificate, **changes)

    return send


def confirming_with(**status: Any) -> Send:
    async def send(core: Core) -> Answer:
        client = await by_mac(core)
        certificate = (await client.ir(new_key())).certificate
        return await client.send(confirm_body(certificate, **status))

    return send


def confirming_by(protection: Callable[[Core, Any, bytes], Awaitable[Any]]) -> Send:
    """Confirm a kur by another protection, made of its new key and certificate."""

    async def send(core: Core) -> Answer:
        client, key = await by_signature(core), new_key()
        certificate = (await client.kur(key)).certificate
        client.protection = await protection(core, key, certificate)
        return await client.confirm(certificate)

    return send


async def the_new_certificate(_: Core, key: Any, certificate: bytes) -> BySignature:
    return BySignature(key, certificate)


async def a_secret(core: Core, _key: Any, _certificate: bytes) -> ByMAC:
    return ByMAC(await credential(core))


async def nothing(_core: Core, _key: Any, _certificate: bytes) -> Unprotected:
    return Unprotected()


async def confirming_nothing(core: Core) -> Answer:
    return await (await by_mac(core)).send(PKIBody(BodyType.CERT_CONF, build_cert_confirm([])))


async def confirming_what_was_confirmed(core: Core) -> Answer:
    client = await by_mac(core)
    answer = await client.ir(new_key(), info=GeneralInfo(implicit_confirm=True))
    return await client.confirm(answer.certificate)


async def polling_for_nothing(core: Core) -> Answer:
    return await (await by_mac(core)).poll()


# ---- Requests for certificates


def asking(popo: Any = None, *, signs: bool = True, by: Any = None, **named: Any) -> Send:
    async def send(core: Core) -> Answer:
        key = new_key()
        message = request(by or key, template(key), popo=popo, **named)
        if not signs:
            message = CertReqMsg(build_cert_request(0, template(key)))
        client = await by_mac(core)
        return await client.send(PKIBody(BodyType.IR, build_cert_req_messages([message])))

    return send


async def two_requests(core: Core) -> Answer:
    messages = [request(key, template(key), cert_req_id=number) for number, key in enumerate([new_key()] * 2)]
    client = Client(core, ByMAC(await credential(core, uses=2)))
    return await client.send(PKIBody(BodyType.IR, build_cert_req_messages(messages)))


async def no_key_and_none_is_made(core: Core) -> Answer:
    message = CertReqMsg(build_cert_request(0, template(None)))
    return await (await by_mac(core)).send(PKIBody(BodyType.IR, build_cert_req_messages([message])))


async def a_key_that_is_not_certified(core: Core) -> Answer:
    key = ec.generate_private_key(ec.SECP521R1())
    body = PKIBody(BodyType.IR, build_cert_req_messages([request(key, template(key))]))
    return await (await by_mac(core)).send(body)


async def another_profile(core: Core) -> Answer:
    return await (await by_mac(core)).ir(new_key(), info=GeneralInfo(cert_profiles=("tls-server",)))


async def updating_by_a_secret(core: Core) -> Answer:
    return await (await by_mac(core)).kur(new_key())


async def updating_anothers(core: Core) -> Answer:
    other = x509.load_der_x509_certificate((await holder(core, "CN=sensor-8")).certificate)
    old = CertId.of(other.issuer.public_bytes(), other.serial_number).encode()
    controls = [AttributeTypeAndValue(oid.REG_CTRL_OLD_CERT_ID, old)]
    return await (await by_signature(core)).send(
        request_body(BodyType.KUR, new_key(), None, controls=controls)
    )


async def updating_by_another_name(core: Core) -> Answer:
    return await (await by_signature(core)).send(request_body(BodyType.KUR, new_key(), "CN=sensor-8"))


async def updating_what_is_revoked(core: Core) -> Answer:
    held = await holder(core)
    await Client(core, held).send(revocation_body(held.certificate))
    return await Client(core, held).kur(new_key())


# ---- Revocation


def revoking(reason: int | None = None, *, others: bool = False, **changes: Any) -> Send:
    async def send(core: Core) -> Answer:
        held = await holder(core)
        named = (await holder(core, "CN=sensor-8")).certificate if others else held.certificate
        return await Client(core, held).send(revocation_body(named, reason, **changes))

    return send


async def revoking_by_a_secret(core: Core) -> Answer:
    return await (await by_mac(core)).send(revocation_body((await holder(core)).certificate))


async def a_critical_extension(core: Core) -> Answer:
    held = await holder(core)
    certificate = x509.load_der_x509_certificate(held.certificate)
    wanted = replace(
        template(None, None),
        issuer=certificate.issuer.public_bytes(),
        serial_number=certificate.serial_number,
    )
    unknown = Extension("1.3.6.1.4.1.32473.1", True, der.null())
    return await Client(core, held).send(
        PKIBody(BodyType.RR, build_rev_req([RevDetails(wanted, (unknown,))]))
    )


# ---- General messages, and what nobody sends


def asking_for(*infos: InfoTypeAndValue) -> Send:
    async def send(core: Core) -> Answer:
        return await (await by_mac(core)).send(PKIBody(BodyType.GENM, build_general_message(infos)))

    return send


async def an_answer(core: Core) -> Answer:
    return await (await by_mac(core)).send(PKIBody(BodyType.PKICONF, der.null()))


ACCEPTED_AND_NOT = PKIStatusInfo(PKIStatus.ACCEPTED, (), frozenset({Failure.BAD_REQUEST}))
RULES: dict[str, Rule] = {
    "RFC 9483 §3.1 pvno is 2 or 3": Rule(headed(pvno=1), Failure.UNSUPPORTED_VERSION),
    "RFC 9483 §3.1 pvno is not a later one": Rule(headed(pvno=4), Failure.UNSUPPORTED_VERSION),
    "RFC 9483 §3.1 the sender who knows a secret is a directoryName": Rule(
        headed(sender=MAIL), Failure.BAD_MESSAGE_CHECK
    ),
    "RFC 9483 §3.1 the sender who signs is the subject of the certificate": Rule(
        headed(by_signature, sender=STRANGER), Failure.BAD_MESSAGE_CHECK
    ),
    "RFC 9483 §3.1 senderKID names the secret": Rule(headed(sender_kid=None), Failure.BAD_MESSAGE_CHECK),
    "RFC 9483 §3.1 senderKID names a secret that there is": Rule(
        a_secret_of_nobody, Failure.BAD_MESSAGE_CHECK
    ),
    "RFC 9483 §3.1 senderKID is the subjectKeyIdentifier where there is one": Rule(
        headed(by_signature, sender_kid=None), Failure.BAD_MESSAGE_CHECK
    ),
    "RFC 9483 §3.1 and of no other certificate": Rule(
        headed(by_signature, sender_kid=bytes(20)), Failure.BAD_MESSAGE_CHECK
    ),
    "RFC 9483 §3.5 messageTime is there": Rule(headed(message_time=None), Failure.BAD_TIME),
    "RFC 9483 §3.5 messageTime is not too old": Rule(
        headed(message_time=lambda core: core.clock.now() - TOO_FAR), Failure.BAD_TIME
    ),
    "RFC 9483 §3.5 messageTime is not in the future": Rule(
        headed(message_time=lambda core: core.clock.now() + TOO_FAR), Failure.BAD_TIME
    ),
    "RFC 9483 §3.5 transactionID is there": Rule(headed(transaction_id=None), Failure.BAD_DATA_FORMAT),
    "RFC 9483 §3.1 transactionID has 128 bits": Rule(
        headed(transaction_id=os.urandom(15)), Failure.BAD_DATA_FORMAT
    ),
    "RFC 9483 §3.5 transactionID of a first message is not in use": Rule(
        an_id_in_use, Failure.TRANSACTION_ID_IN_USE
    ),
    "RFC 9483 §3.5 senderNonce is there": Rule(headed(sender_nonce=None), Failure.BAD_SENDER_NONCE),
    "RFC 9483 §3.5 senderNonce has 128 bits": Rule(
        headed(sender_nonce=os.urandom(15)), Failure.BAD_SENDER_NONCE
    ),
    "RFC 9483 §3.5 recipNonce is not in a first message": Rule(
        headed(recip_nonce=os.urandom(16)), Failure.BAD_RECIPIENT_NONCE
    ),
    "RFC 9483 §3.5 recipNonce is in a later one": Rule(
        confirming(recip_nonce=None), Failure.BAD_RECIPIENT_NONCE
    ),
    "RFC 9483 §3.5 recipNonce is the senderNonce of the message before": Rule(
        confirming(recip_nonce=bytes(16)), Failure.BAD_RECIPIENT_NONCE
    ),
    "RFC 9483 §3.1 implicitConfirm is NULL": Rule(
        with_info(InfoTypeAndValue(oid.IT_IMPLICIT_CONFIRM, der.boolean(True))), Failure.BAD_REQUEST
    ),
    "RFC 9483 §3.1 implicitConfirm and confirmWaitTime exclude each other": Rule(
        both_ways_to_confirm, Failure.BAD_REQUEST
    ),
    "RFC 9810 §5.1.1.2 confirmWaitTime is a GeneralizedTime": Rule(
        with_info(InfoTypeAndValue(oid.IT_CONFIRM_WAIT_TIME, der.encode(der.UTC_TIME, b"260301120000Z"))),
        Failure.BAD_DATA_FORMAT,
    ),
    "RFC 9483 §3.2 a request is protected": Rule(not_at_all, Failure.BAD_MESSAGE_CHECK),
    "RFC 9483 §3.2 protection is by an algorithm that is named": Rule(
        claimed(named=False, given=True), Failure.BAD_MESSAGE_CHECK
    ),
    "RFC 9483 §3.2 a MAC that is named is there": Rule(
        claimed(named=True, given=False), Failure.BAD_MESSAGE_CHECK
    ),
    "RFC 9483 §3.2 a signature that is named is there": Rule(
        claimed(named=True, given=False, signed=True), Failure.BAD_MESSAGE_CHECK
    ),
    "RFC 9483 §3.5 a MAC is right": Rule(a_wrong_secret, Failure.BAD_MESSAGE_CHECK),
    "RFC 9483 §3.5 a signature is right": Rule(anothers_signature, Failure.BAD_MESSAGE_CHECK),
    "RFC 9483 §3.2 keyUsage of the signer, where there is one, has digitalSignature": Rule(
        a_signer_not_for_signatures, Failure.BAD_MESSAGE_CHECK
    ),
    "RFC 9483 §3.3 extraCerts has the certificate of the signer": Rule(
        no_certificates, Failure.BAD_MESSAGE_CHECK
    ),
    "RFC 9483 §3.3 and has it first": Rule(the_signer_second, Failure.BAD_MESSAGE_CHECK),
    "RFC 9483 §3.5 the signer is trusted": Rule(an_untrusted_signer, Failure.SIGNER_NOT_TRUSTED),
    "RFC 9481 §3 signatures are not over SHA-1": Rule(a_weak_signature, Failure.BAD_ALG),
    "RFC 9481 §2 nor are keys of MACs derived by it": Rule(
        mac(owf=AlgorithmIdentifier(oid.SHA1)), Failure.BAD_ALG
    ),
    "RFC 9045 §4.3 iterationCount is 100 or more": Rule(mac(iteration_count=99), Failure.BAD_ALG),
    "RFC 4211 §4.4 and no more than is allowed here": Rule(mac(iteration_count=1 << 24), Failure.BAD_ALG),
    "RFC 9810 §5.1.3.2 DHBasedMac is not served": Rule(
        by_a_mac(AlgorithmIdentifier(oid.DH_BASED_MAC, der.null())), Failure.BAD_ALG
    ),
    "RFC 9810 §5.1.3.4 KemBasedMac is not served": Rule(
        by_a_mac(AlgorithmIdentifier(oid.KEM_BASED_MAC, der.null())), Failure.BAD_ALG
    ),
    "RFC 9483 §4.1.1 an ir has one request where policy allows no more": Rule(
        two_requests, Failure.BAD_REQUEST
    ),
    "RFC 9483 §4.1.1 certReqId is 0": Rule(asking(cert_req_id=5), Failure.BAD_REQUEST),
    "RFC 9483 §4.1.1 a key that signs proves possession": Rule(
        asking(signs=False), Failure.BAD_POP, BodyType.IP
    ),
    "RFC 9483 §4.1.1 by its own signature": Rule(asking(by=new_key()), Failure.BAD_POP, BodyType.IP),
    "RFC 4211 §4 raVerified is an RA's word": Rule(asking(RAVerified()), Failure.NOT_AUTHORIZED, BodyType.IP),
    "RFC 9483 §4.1.6 there is a public key where none is made": Rule(
        no_key_and_none_is_made, Failure.BAD_CERT_TEMPLATE, BodyType.IP
    ),
    "RFC 9483 §4.1.1 the key is of a kind that policy allows": Rule(
        a_key_that_is_not_certified, Failure.BAD_CERT_TEMPLATE, BodyType.IP
    ),
    "RFC 9483 §4.1.1 the profile is one that the sender may have": Rule(
        another_profile, Failure.NOT_AUTHORIZED, BodyType.IP
    ),
    "RFC 9483 §4.1.3 a kur is signed": Rule(updating_by_a_secret, Failure.WRONG_INTEGRITY, BodyType.KUP),
    "RFC 9483 §4.1.3 oldCertID is the certificate that signs": Rule(
        updating_anothers, Failure.BAD_CERT_ID, BodyType.KUP
    ),
    "RFC 9483 §4.1.3 the subject stays": Rule(
        updating_by_another_name, Failure.BAD_CERT_TEMPLATE, BodyType.KUP
    ),
    "RFC 9483 §4.1.3 the certificate is not revoked": Rule(updating_what_is_revoked, Failure.CERT_REVOKED),
    "RFC 9483 §4.1.1 certConf has certReqId of the request": Rule(
        confirming_with(cert_req_id=1), Failure.BAD_REQUEST
    ),
    "RFC 9483 §4.1.1 certHash is that of the certificate": Rule(
        confirming_with(cert_hash=bytes(32)), Failure.BAD_CERT_ID
    ),
    "RFC 9483 §4.1.1 failInfo does not stand beside accepted": Rule(
        confirming_with(status_info=ACCEPTED_AND_NOT), Failure.BAD_REQUEST
    ),
    "RFC 9810 §5.3.18 hashAlg needs pvno 3": Rule(
        confirming_with(hash_alg=AlgorithmIdentifier(oid.SHA512)), Failure.BAD_REQUEST
    ),
    "RFC 9483 §4.1.1 certConf is by the sender of the request, not by the new certificate": Rule(
        confirming_by(the_new_certificate), Failure.BAD_REQUEST
    ),
    "RFC 9483 §4.1.1 and by the same kind of protection": Rule(
        confirming_by(a_secret), Failure.WRONG_INTEGRITY
    ),
    "RFC 9483 §4.1.1 certConf is protected": Rule(confirming_by(nothing), Failure.BAD_MESSAGE_CHECK),
    "RFC 9483 §4.1.1 certConf belongs to a transaction": Rule(confirming_nothing, Failure.BAD_REQUEST),
    "RFC 9483 §4.1.1 what is confirmed implicitly is not confirmed again": Rule(
        confirming_what_was_confirmed, Failure.CERT_CONFIRMED
    ),
    "RFC 9483 §4.2 an rr is signed": Rule(revoking_by_a_secret, Failure.WRONG_INTEGRITY),
    "RFC 9483 §4.2 a holder revokes the own certificate": Rule(
        revoking(others=True), Failure.NOT_AUTHORIZED, BodyType.RP
    ),
    "RFC 9483 §4.2 issuer names the certificate": Rule(
        revoking(issuer=None), Failure.ADD_INFO_NOT_AVAILABLE, BodyType.RP
    ),
    "RFC 9483 §4.2 so does serialNumber": Rule(
        revoking(serial_number=None), Failure.ADD_INFO_NOT_AVAILABLE, BodyType.RP
    ),
    "RFC 9483 §4.2 the issuer is an authority here": Rule(
        revoking(issuer=parse_subject("CN=stranger").public_bytes()), Failure.BAD_CERT_ID, BodyType.RP
    ),
    "RFC 9483 §4.2 the serial was issued": Rule(
        revoking(serial_number=12345), Failure.BAD_CERT_ID, BodyType.RP
    ),
    "RFC 9483 §4.2 version, where it is given, is v3": Rule(
        revoking(version=1), Failure.BAD_REQUEST, BodyType.RP
    ),
    "RFC 5280 §5.3.1 the reason is a CRLReason": Rule(revoking(20), Failure.BAD_DATA_FORMAT, BodyType.RP),
    "RFC 9483 §4.2 nothing is restored that is not suspended": Rule(
        revoking(8), Failure.BAD_CERT_ID, BodyType.RP
    ),
    "RFC 5280 §5.3 a critical extension of the entry is known": Rule(
        a_critical_extension, Failure.BAD_REQUEST, BodyType.RP
    ),
    "RFC 9483 §4.3.1 caCerts is asked for without a value": Rule(
        asking_for(InfoTypeAndValue(oid.IT_CA_CERTS, der.null())), Failure.BAD_REQUEST
    ),
    "RFC 9483 §4.3.2 rootCaCert has a certificate as its value": Rule(
        asking_for(InfoTypeAndValue(oid.IT_ROOT_CA_CERT, der.null())), Failure.BAD_DATA_FORMAT
    ),
    "RFC 9483 §4.3.3 certReqTemplate is asked for without a value": Rule(
        asking_for(InfoTypeAndValue(oid.IT_CERT_REQ_TEMPLATE, der.null())), Failure.BAD_REQUEST
    ),
    "RFC 9483 §4.3.4 crlStatusList has a value": Rule(
        asking_for(InfoTypeAndValue(oid.IT_CRL_STATUS_LIST)), Failure.BAD_REQUEST
    ),
    "RFC 9483 §4.4 a pollReq belongs to a transaction": Rule(polling_for_nothing, Failure.BAD_REQUEST),
    "RFC 9810 §5.1.2 what only a server sends is not answered": Rule(an_answer, Failure.BAD_REQUEST),
}


def statuses(answer: Answer) -> Iterator[PKIStatusInfo]:
    """Yield the status of an answer, whichever its body is."""
    if answer.body is BodyType.RP:
        yield from der.whole(answer.message.body.content_der, RevRepContent.parse).status
    else:
        yield answer.status


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
async def test_rule(core: Core, clock: "SetClock", rule: Rule) -> None:
    answer = await rule.send(core)
    (status,) = statuses(answer)
    assert (answer.body, status.status) == (rule.body, PKIStatus.REJECTION)
    assert status.fail_info == {rule.failure}, status
    assert status.status_string  # in words, too
    assert answer.message.protection is not None
    assert answer.message.header.message_time == clock.now()
