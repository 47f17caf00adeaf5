"""Keys that cannot sign, and keys that are made here: encrCert, challenges, central generation.

RFC 9810 §5.2.8.3, RFC 9483 §4.1.6.
"""

import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)
from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1_alt_modules import rfc4211

from pkiserver.core import Core, open_core
from pkiserver.home import Home
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.certificates import CertifiedKeyPair, CertRepMessage, CertResponse
from protocols.cmp.challenges import Rand, build_challenge_responses, parse_challenges
from protocols.cmp.crmf import (
    AgreeMAC,
    CertReqMsg,
    CertTemplate,
    KeyAgreement,
    KeyEncipherment,
    PKMACValue,
    ProofOfPossession,
    Subsequent,
    SubsequentMessage,
    build_cert_req_messages,
    build_cert_request,
)
from protocols.cmp.encrypted_key import EncryptedKey
from protocols.cmp.header import Version
from protocols.cmp.polling import build_poll_req
from protocols.cmp.status import PKIFailureInfo, PKIStatus
from protocols.cms.signed_data import SignedData
from protocols.cms.verification import signer_certificate, verify_signer
from protocols.x509.spki import read_public_key
from store import certificates, enrollments
from tests.cmp_messages import ByMAC, BySignature, Client, confirm_body, credential

if TYPE_CHECKING:
    from tests.ra.conftest import Recorded, SetClock

PROFILE = """
description = "A machine"
issuer = "infrastructure"
lifetime = "90d"
implicit_confirm = true
{more}
[[subject]]
attribute = "commonName"
source = "credential"
"""
PROFILES = {
    "rsa": """keys = ["rsa:2048"]
key_usage = ["keyEncipherment"]""",
    "ec": """keys = ["ec:P-256"]
key_usage = ["keyAgreement"]""",
    "awaited": """keys = ["ec:P-256"]
key_usage = ["keyAgreement"]
approval = true""",
    "made-rsa": """keys = ["rsa:2048"]
key_usage = ["digitalSignature", "keyEncipherment"]
extended_key_usage = ["clientAuth"]
server_keygen = true""",
    "made-ec": """keys = ["ec:P-256", "ec:P-384"]
key_usage = ["digitalSignature", "keyAgreement"]
extended_key_usage = ["clientAuth"]
server_keygen = true""",
}
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ENCR_CERT = Subsequent(SubsequentMessage.ENCR_CERT)
CHALLENGE = Subsequent(SubsequentMessage.CHALLENGE_RESP)
PROOFS = {
    "RSA": ("rsa", RSA_KEY, KeyEncipherment),
    "EC": ("ec", EC_KEY, KeyAgreement),
    "EC as OpenSSL has it": ("ec", EC_KEY, KeyEncipherment),
}


@pytest.fixture
async def core(initialised_home: Path, tmp_path: Path, clock: "SetClock") -> AsyncIterator[Core]:
    """As everywhere, with profiles for encryption and for keys that are made."""
    home = Home(tmp_path / "home")
    shutil.copytree(initialised_home, home.path)
    home.profiles.mkdir(exist_ok=True)
    for name, more in PROFILES.items():
        (home.profiles / f"{name}.toml").write_text(PROFILE.format(more=more))
    async with open_core(home, clock) as opened:
        yield opened


def requests(key: Any, popo: ProofOfPossession | None) -> bytes:
    spki = (
        None
        if key is None
        else key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    return build_cert_req_messages([CertReqMsg(build_cert_request(0, CertTemplate(public_key=spki)), popo)])


def response(body: PKIBody) -> CertResponse:
    assert body.tag in (BodyType.IP, BodyType.CP, BodyType.KUP), body.tag
    (one,) = der.whole(body.content_der, CertRepMessage.parse).response
    return one


def pair(body: PKIBody) -> CertifiedKeyPair:
    found = response(body)
    assert found.status.status is PKIStatus.ACCEPTED, found.status
    assert found.certified_key_pair is not None
    return found.certified_key_pair


def failure(body: PKIBody) -> frozenset[PKIFailureInfo]:
    found = response(body)
    assert found.status.status is PKIStatus.REJECTION
    assert found.certified_key_pair is None
    return frozenset(found.status.fail_info)


async def mac_client(core: Core, profile: str, subject: str) -> Client:
    """Return who knows the secret of a new credential; what is encrypted needs pvno 3 (RFC 9810 §7)."""
    return Client(core, ByMAC(await credential(core, subject, profile=profile, uses=10), subject))


def begin(client: Client) -> None:
    """Begin another transaction."""
    client.transaction_id, client.recip_nonce = os.urandom(16), None


async def sent(client: Client, tag: BodyType, content: bytes, pvno: int = Version.CMP2021) -> PKIBody:
    return (await client.send(PKIBody(tag, content), pvno=pvno)).message.body


async def resent(client: Client) -> PKIBody:
    return (await client.post(client.sent)).message.body


async def refused(
    client: Client, tag: BodyType, content: bytes, pvno: int = Version.CMP2021
) -> PKIFailureInfo | None:
    """Send a message that is answered by an error."""
    answer = await client.send(PKIBody(tag, content), pvno=pvno)
    assert answer.body is BodyType.ERROR, answer.body
    return answer.failure


def secret_of(client: Client) -> bytes:
    assert isinstance(client.protection, ByMAC)
    return client.protection.credential.secret.encode()


async def confirm(client: Client, certificate: bytes) -> BodyType:
    return (await client.send(confirm_body(certificate), pvno=Version.CMP2021)).body


async def state(core: Core, certificate: bytes) -> str:
    parsed = x509.load_der_x509_certificate(certificate)
    authority = core.authorities.get("infrastructure").id
    record = await core.storage.read(lambda tx: certificates.get(tx, authority, parsed.serial_number))
    assert record is not None
    return record.state


async def issued(core: Core) -> int:
    """Return how many certificates there are, beside those that the server has for itself."""
    count = (
        "SELECT count(*) FROM certificates WHERE profile IN ('rsa', 'ec', 'made-rsa', 'made-ec', 'device')"
    )
    found = await core.storage.read(lambda tx: tx.one(count))
    assert found is not None
    return int(found[0])


# ---- How a recipient opens what it gets


def opened(enveloped_data: bytes | None, key: Any) -> bytes:
    """Return what is inside, by a private key or by a secret."""
    assert enveloped_data is not None
    content = cms.EnvelopedData.load(enveloped_data, strict=True)
    (info,) = content["recipient_infos"]
    encrypted = content["encrypted_content_info"]
    content_key = content_key_of(info.chosen, key)
    iv = encrypted["content_encryption_algorithm"]["parameters"].native
    decryptor = Cipher(AES(content_key), CBC(iv)).decryptor()
    unpadder = PKCS7(128).unpadder()
    padded = decryptor.update(encrypted["encrypted_content"].native) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()


def value_of(encrypted: EncryptedKey | None, key: rsa.RSAPrivateKey) -> bytes:
    """Return what is inside an EncryptedValue, as pyasn1 reads it."""
    assert encrypted is not None
    value, rest = decode(encrypted.der, asn1Spec=rfc4211.EncryptedValue())
    assert (encode(value), rest) == (encrypted.der, b"")
    assert str(value["symmAlg"]["algorithm"]) == oid.AES256_CBC
    assert str(value["keyAlg"]["algorithm"]) == oid.RSA_ENCRYPTION
    content_key = key.decrypt(value["encSymmKey"].asOctets(), padding.PKCS1v15())
    iv = der.Reader(bytes(value["symmAlg"]["parameters"])).octet_string()
    decryptor, unpadder = Cipher(AES(content_key), CBC(iv)).decryptor(), PKCS7(128).unpadder()
    padded = decryptor.update(value["encValue"].asOctets()) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()


def content_key_of(info: Any, key: Any) -> bytes:
    if isinstance(key, bytes):
        parameters = info["key_derivation_algorithm"]["parameters"]
        length, salt = parameters["key_length"].native, parameters["salt"].native
        kek = PBKDF2HMAC(hashes.SHA256(), length, salt, parameters["iteration_count"].native).derive(key)
        return aes_key_unwrap(kek, info["encrypted_key"].native)
    if isinstance(key, rsa.RSAPrivateKey):
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        return key.decrypt(info["encrypted_key"].native, oaep)
    originator = info["originator"].chosen.untag().dump()
    ephemeral = load_der_public_key(der.encode(der.SEQUENCE, der.Reader(originator).read(der.SEQUENCE)))
    assert isinstance(ephemeral, ec.EllipticCurvePublicKey)
    wrap = der.sequence(der.oid(oid.AES256_WRAP))
    shared_info = der.sequence(wrap, der.explicit(2, der.octet_string((256).to_bytes(4, "big"))))
    kek = X963KDF(hashes.SHA256(), 32, shared_info).derive(key.exchange(ec.ECDH(), ephemeral))
    return aes_key_unwrap(kek, info["recipient_encrypted_keys"][0]["encrypted_key"].native)


# ---- encrCert


@pytest.mark.parametrize("name", PROOFS)
async def test_rfc9810_5_2_8_3_2_the_certificate_is_encrypted_to_its_key(core: Core, name: str) -> None:
    profile, key, kind = PROOFS[name]
    client = await mac_client(core, profile, "CN=safe")
    found = pair(await sent(client, BodyType.IR, requests(key, kind(ENCR_CERT))))
    assert found.certificate is None
    assert found.encrypted_cert is not None
    certificate = opened(found.encrypted_cert.enveloped_data, key)
    spki = x509.load_der_x509_certificate(certificate).public_key()
    assert spki == key.public_key()
    again = pair(await resent(client))  # sent again: the same certificate, encrypted anew
    assert again.encrypted_cert is not None
    assert opened(again.encrypted_cert.enveloped_data, key) == certificate
    assert await confirm(client, certificate) is BodyType.PKICONF
    assert await state(core, certificate) == "active"


async def test_a_certificate_that_could_not_be_read_is_never_confirmed(core: Core, clock: "SetClock") -> None:
    """Possession is what the confirmation proves: without it the certificate is revoked."""
    client = await mac_client(core, "rsa", "CN=safe")
    found = pair(await sent(client, BodyType.IR, requests(RSA_KEY, KeyEncipherment(ENCR_CERT))))
    assert found.encrypted_cert is not None
    certificate = opened(found.encrypted_cert.enveloped_data, RSA_KEY)
    guessed = confirm_body(certificate, cert_hash=bytes(48))
    assert (await client.send(guessed)).body is BodyType.ERROR
    clock.moment += core.settings.cmp.confirm_wait
    assert await core.cmp.expire() == 1
    assert await state(core, certificate) == "revoked"


async def test_rfc4211_4_2_the_certificate_is_encrypted_in_pvno_2(core: Core) -> None:
    """As OpenSSL has it with `-popo 2`: an EncryptedValue."""
    client = await mac_client(core, "rsa", "CN=safe")
    answer = await client.send(
        PKIBody(BodyType.IR, requests(RSA_KEY, KeyEncipherment(ENCR_CERT))), pvno=Version.CMP2000
    )
    assert answer.message.header.pvno == Version.CMP2000
    found = pair(answer.message.body)
    assert (found.certificate, found.encrypted_cert is None) == (None, False)
    certificate = value_of(found.encrypted_cert, RSA_KEY)
    assert x509.load_der_x509_certificate(certificate).public_key() == RSA_KEY.public_key()
    assert (await client.send(confirm_body(certificate))).body is BodyType.PKICONF
    assert await state(core, certificate) == "active"


async def test_envelopes_need_pvno_3(core: Core) -> None:
    """RFC 9810 §7: a key on a curve is sent its certificate in one, each key its challenge."""
    client = await mac_client(core, "ec", "CN=safe")
    body = await sent(client, BodyType.IR, requests(EC_KEY, KeyAgreement(ENCR_CERT)), Version.CMP2000)
    assert failure(body) == {PKIFailureInfo.BAD_REQUEST}
    assert "say pvno 3" in response(body).status.status_string[0]
    client = await mac_client(core, "rsa", "CN=safe")
    error = await refused(client, BodyType.IR, requests(RSA_KEY, KeyEncipherment(CHALLENGE)), Version.CMP2000)
    assert error is PKIFailureInfo.BAD_REQUEST


async def test_a_poll_in_another_version_gets_the_answer_in_that_of_the_request(core: Core) -> None:
    """Who asked in pvno 3 reads EnvelopedData, and may poll in pvno 2."""
    client = await mac_client(core, "awaited", "CN=safe")
    body = await sent(client, BodyType.IR, requests(EC_KEY, KeyAgreement(ENCR_CERT)))
    assert response(body).status.status is PKIStatus.WAITING
    (waiting,) = await core.storage.read(
        lambda tx: enrollments.with_state(tx, "waiting", core.clock.now(), 9)
    )
    await core.approvals.decide(waiting.id, "approved", "registrar:1", None)
    answer = await client.send(PKIBody(BodyType.POLL_REQ, build_poll_req([0])), pvno=Version.CMP2000)
    assert answer.message.header.pvno == Version.CMP2021
    encrypted = pair(answer.message.body).encrypted_cert
    assert encrypted is not None
    certificate = opened(encrypted.enveloped_data, EC_KEY)
    assert x509.load_der_x509_certificate(certificate).public_key() == EC_KEY.public_key()


async def test_keys_that_sign_prove_themselves_by_a_signature(core: Core) -> None:
    """A profile without keyEncipherment or keyAgreement has no keys that could be proved otherwise."""
    client, before = await mac_client(core, "device", "CN=sensor"), await issued(core)
    for _, key, kind in PROOFS.values():
        begin(client)
        body = await sent(client, BodyType.IR, requests(key, kind(ENCR_CERT)))
        assert failure(body) == {PKIFailureInfo.BAD_POP}
        begin(client)
        error = await refused(client, BodyType.IR, requests(key, kind(CHALLENGE)))
        assert error is PKIFailureInfo.BAD_POP
    assert await issued(core) == before


async def test_proofs_that_are_not_served(core: Core) -> None:
    """agreeMAC would need a key of ours that clients know beforehand."""
    client = await mac_client(core, "ec", "CN=safe")
    mac = AgreeMAC(PKMACValue(AlgorithmIdentifier(oid.HMAC_WITH_SHA256), bytes(32)))
    before = await issued(core)
    body = await sent(client, BodyType.IR, requests(EC_KEY, KeyAgreement(mac)))
    assert failure(body) == {PKIFailureInfo.BAD_POP}
    assert "encrCert" in response(body).status.status_string[0]
    assert await issued(core) == before


# ---- Challenges


async def challenged(client: Client, key: Any, kind: Any = KeyEncipherment) -> int:
    """Ask for a certificate and return the number that the key decrypts."""
    body = await sent(client, BodyType.CR, requests(key, kind(CHALLENGE)))
    return decrypted_number(body, key)


def decrypted_number(body: PKIBody, key: Any) -> int:
    assert body.tag is BodyType.POPDECC
    (challenge,) = parse_challenges(body.content_der)
    rand = der.whole(opened(challenge.encrypted_rand, key), Rand.parse)
    assert challenge.challenge == b""
    assert challenge.witness == hashlib.sha256(der.integer(rand.number)).digest()
    assert challenge.owf == AlgorithmIdentifier(oid.SHA256)
    return rand.number


async def answer(client: Client, number: int) -> PKIBody:
    return await sent(client, BodyType.POPDECR, build_challenge_responses([number]))


@pytest.mark.parametrize("name", PROOFS)
async def test_rfc9810_5_2_8_3_3_a_challenge_that_is_answered(core: Core, name: str) -> None:
    profile, key, kind = PROOFS[name]
    client = await mac_client(core, profile, "CN=safe")
    number = await challenged(client, key, kind)
    before = await issued(core)
    certificate = pair(await answer(client, number)).certificate
    assert certificate is not None
    assert await issued(core) == before + 1
    assert x509.load_der_x509_certificate(certificate).public_key() == key.public_key()
    assert await confirm(client, certificate) is BodyType.PKICONF


async def test_a_wrong_answer_ends_the_transaction_for_good(core: Core) -> None:
    """Neither the right answer, nor a poll, nor the request itself, sent again, gets a certificate then."""
    client = await mac_client(core, "rsa", "CN=safe")
    number = await challenged(client, RSA_KEY)
    request, before = client.sent, await issued(core)
    error = await refused(client, BodyType.POPDECR, build_challenge_responses([number + 1]))
    assert error is PKIFailureInfo.BAD_POP
    await refused(client, BodyType.POPDECR, build_challenge_responses([number]))
    await refused(client, BodyType.POLL_REQ, build_poll_req([0]))
    client.sent = request
    assert failure(await resent(client)) == {PKIFailureInfo.BAD_REQUEST}
    assert await issued(core) == before


async def test_a_request_sent_again_is_challenged_anew(core: Core) -> None:
    client = await mac_client(core, "rsa", "CN=safe")
    first = await challenged(client, RSA_KEY)
    second = decrypted_number(await resent(client), RSA_KEY)
    assert first != second
    assert (await answer(client, first)).tag is BodyType.ERROR


async def test_a_challenge_is_not_waited_for_for_ever(core: Core, clock: "SetClock") -> None:
    client = await mac_client(core, "rsa", "CN=safe")
    number = await challenged(client, RSA_KEY)
    clock.moment += core.settings.cmp.confirm_wait
    assert await core.cmp.expire() == 1
    assert (await answer(client, number)).tag is BodyType.ERROR


async def test_a_challenge_outlives_a_restart(core: Core) -> None:
    """It is in the store; what answers next knows nothing else of it."""
    client = await mac_client(core, "ec", "CN=safe")
    number = await challenged(client, EC_KEY)
    core.cmp._busy.clear()
    found = await core.storage.read(
        lambda tx: tx.one("SELECT state, challenge, request FROM cmp_transactions")
    )
    assert found is not None
    assert found[0] == "challenged"
    assert found[1] == hashlib.sha256(build_challenge_responses([number])).digest()
    assert pair(await answer(client, number)).certificate is not None


# ---- Keys that are made here


def private_key(found: CertifiedKeyPair, key: Any) -> Any:
    """Return the key that was made, once its signer is found to be the authority's (RFC 9483 §4.1.6)."""
    assert found.private_key is not None
    assert found.certificate is not None
    signed = der.whole(opened(found.private_key.enveloped_data, key), SignedData.parse)
    (signer,) = signed.signer_infos
    signer_der = signer_certificate(signed, signer)
    assert signer_der is not None
    server = x509.load_der_x509_certificate(signer_der)
    purposes = server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert x509.ObjectIdentifier(oid.KP_CM_KGA) in purposes
    spki = server.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    verify_signer(signed, signer, read_public_key(spki))
    assert (signed.content_type, signed.content is not None) == (oid.CT_KEY_PACKAGE, True)
    one_key = der.Reader(signed.content or b"").enter().read_raw(der.SEQUENCE)
    made = load_der_private_key(one_key, None)
    assert x509.load_der_x509_certificate(found.certificate).public_key() == made.public_key()
    return made


async def test_rfc9483_4_1_6_3_a_key_for_who_knows_a_secret(core: Core, recorded: "Recorded") -> None:
    client = await mac_client(core, "made-ec", "CN=sensor")
    found = pair(await sent(client, BodyType.IR, requests(None, None)))
    made = private_key(found, secret_of(client))
    assert isinstance(made, ec.EllipticCurvePrivateKey)  # the profile's first kind
    assert await confirm(client, found.certificate or b"") is BodyType.PKICONF
    (entry,) = [one for one in await recorded(core.storage) if one["action"] == "key.make"]
    assert (entry["profile"], entry["kind"], entry["encrypted_by"]) == ("made-ec", "ec:P-256", "secret")


async def test_a_key_of_the_algorithm_that_is_named(core: Core) -> None:
    """RFC 9483 §4.1.6: publicKey with an algorithm, and no key."""
    client = await mac_client(core, "made-ec", "CN=sensor")
    parameters = der.oid(oid.SECP384R1)
    spki = der.sequence(AlgorithmIdentifier(oid.EC_PUBLIC_KEY, parameters).encode(), der.bit_string(b""))
    template = CertTemplate(public_key=spki)
    wanted = build_cert_req_messages([CertReqMsg(build_cert_request(0, template))])
    found = pair(await sent(client, BodyType.IR, wanted))
    made = private_key(found, secret_of(client))
    assert made.curve.name == "secp384r1"
    begin(client)
    template = CertTemplate(
        public_key=der.sequence(AlgorithmIdentifier(oid.ED25519).encode(), der.bit_string(b""))
    )
    wanted = build_cert_req_messages([CertReqMsg(build_cert_request(0, template))])
    assert failure(await sent(client, BodyType.IR, wanted)) == {PKIFailureInfo.BAD_CERT_TEMPLATE}


@pytest.mark.parametrize("profile", ["made-ec", "made-rsa"], ids=["kari", "ktri"])
async def test_rfc9483_4_1_6_1_and_2_a_key_for_the_holder_of_a_certificate(core: Core, profile: str) -> None:
    """Its certificate is for keyAgreement or keyEncipherment, and protects the request."""
    key, certificate = await made_key(core, profile)
    holder = Client(core, BySignature(key, certificate))
    renewed = pair(await sent(holder, BodyType.KUR, requests(None, None)))
    made = private_key(renewed, key)
    assert made.public_key() != key.public_key()


async def test_a_key_is_sent_once(core: Core, clock: "SetClock") -> None:
    """It is kept nowhere: sent again, the request is refused, and its certificate revoked in time."""
    client = await mac_client(core, "made-ec", "CN=sensor")
    found = pair(await sent(client, BodyType.IR, requests(None, None)))
    assert found.certificate is not None
    body = await resent(client)
    assert "kept nowhere" in response(body).status.status_string[0]
    clock.moment += core.settings.cmp.confirm_wait
    await core.cmp.expire()
    assert await state(core, found.certificate) == "revoked"


async def test_keys_are_made_where_the_profile_says_so_and_nowhere_else(core: Core) -> None:
    client = await mac_client(core, "device", "CN=sensor")
    body = await sent(client, BodyType.IR, requests(None, None))
    assert failure(body) == {PKIFailureInfo.BAD_CERT_TEMPLATE}


async def test_rfc4211_6_4_a_key_in_pvno_2(core: Core, recorded: "Recorded") -> None:
    """OpenSSL 3.5 says 2 in its request, and decrypts an EncryptedValue by the RSA key that it signs with."""
    key, certificate = await made_key(core, "made-rsa")
    holder = Client(core, BySignature(key, certificate))
    answer = await holder.send(PKIBody(BodyType.KUR, requests(None, None)), pvno=Version.CMP2000)
    assert answer.message.header.pvno == Version.CMP2000  # RFC 9810 §7: that of the request
    found = pair(answer.message.body)
    assert found.private_key is not None
    value = found.private_key.encrypted_value
    assert value is not None
    assert value.intended_alg == AlgorithmIdentifier(oid.RSA_ENCRYPTION, der.null())
    made: Any = load_der_private_key(value_of(found.private_key, key), None)
    renewed = x509.load_der_x509_certificate(found.certificate or b"")
    assert made.public_key() == renewed.public_key() != key.public_key()
    entry = [one for one in await recorded(core.storage) if one["action"] == "key.make"][-1]
    assert (entry["encrypted_by"], entry["sent_in"]) == ("certificate", "EncryptedValue")


@pytest.mark.parametrize("by", ["secret", "curve"])
async def test_rfc9810_7_a_key_that_pvno_2_cannot_carry_is_not_made(
    core: Core, recorded: "Recorded", by: str
) -> None:
    client = await mac_client(core, "made-ec", "CN=sensor")
    if by == "curve":
        client = Client(core, BySignature(*await made_key(core, "made-ec")))
    before = [one for one in await recorded(core.storage) if one["action"] == "key.make"]
    body = await sent(client, BodyType.CR, requests(None, None), Version.CMP2000)
    assert failure(body) == {PKIFailureInfo.BAD_REQUEST}
    assert "say pvno 3" in response(body).status.status_string[0]
    begin(client)
    body = await sent(client, BodyType.CR, requests(None, None))  # nothing is used up by the refusal
    assert pair(body).private_key is not None
    after = [one for one in await recorded(core.storage) if one["action"] == "key.make"]
    assert len(after) == len(before) + 1


async def made_key(core: Core, profile: str) -> tuple[Any, bytes]:
    """Return a key that was made for who knows a secret, and its certificate."""
    client = await mac_client(core, profile, "CN=held")
    found = pair(await sent(client, BodyType.IR, requests(None, None)))
    assert found.certificate is not None
    assert await confirm(client, found.certificate) is BodyType.PKICONF
    return private_key(found, secret_of(client)), found.certificate


async def test_keys_that_cannot_be_sent_or_proved(core: Core) -> None:
    client = await mac_client(core, "made-ec", "CN=sensor")
    body = await sent(client, BodyType.IR, requests(None, KeyEncipherment(ENCR_CERT)))
    assert failure(body) == {PKIFailureInfo.BAD_POP}
