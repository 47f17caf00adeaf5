"""serverkeygen on a home of its own, with the real store, signer and key process (RFC 7030 §4.4)."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from test_enrollment import CHANNEL, PEER, Registration, csr, new_key

from pkiserver.core import Core, open_core
from pkiserver.errors import (
    ChallengeError,
    NotAuthenticatedError,
    NotAuthorizedError,
    NotLinkedError,
    RefusedError,
    UnavailableError,
)
from pkiserver.home import Home
from pkiserver.ra import key_maker
from pkiserver.ra.credentials import NewCredential
from pkiserver.ra.key_maker import KeyMaker
from pkiserver.ra.requester import Password, Requester
from pkiserver.ra.server_keys import ServerKey, ServerKeys
from protocols import oid
from protocols.asn1 import der
from protocols.cms.signed_data import SignedData
from protocols.cms.verification import signer_certificate, verify_signer
from protocols.errors import ProtocolError
from protocols.x509.names import parse_subject
from store import certificates
from store import undelivered_keys as rows

PROFILE = """
description = "A sensor whose key is made here"
issuer = "infrastructure"
lifetime = "90d"
keys = ["{key}"]
key_usage = ["digitalSignature", "{usage}"]
extended_key_usage = ["clientAuth"]
server_keygen = true
{more}
[[subject]]
attribute = "commonName"
source = "credential"
[[policies]]
oid = "1.3.6.1.4.1.32473.2.1"
"""
PROFILES = {
    "sensor": ("ec:P-256", "keyAgreement", ""),
    "sensor-rsa": ("rsa:2048", "keyEncipherment", ""),
    "linked": ("ec:P-256", "keyAgreement", 'pop_linking = "required"\n'),
}
SENSOR = "CN=sensor-9"
IDENTIFIER, SHARED_KEY = b"sensor 9", bytes(range(16))


@pytest.fixture
def home(initialised_home: Path, tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    shutil.copytree(initialised_home, home.path)
    home.profiles.mkdir(exist_ok=True)
    for name, (key, usage, more) in PROFILES.items():
        (home.profiles / f"{name}.toml").write_text(PROFILE.format(key=key, usage=usage, more=more))
    home.decrypt_keys.mkdir(mode=0o700)
    shared(home, SHARED_KEY.hex())
    return home


def shared(home: Home, text: str, mode: int = 0o600) -> None:
    path = home.decrypt_keys / f"{IDENTIFIER.hex()}.key"
    path.write_text(text)
    path.chmod(mode)


@pytest.fixture
async def core(home: Home, clock: Any) -> AsyncIterator[Core]:
    async with open_core(home, clock) as opened:
        yield opened


@dataclass
class Clients:
    """Asks for keys, and takes or loses the answers."""

    core: Core
    taken: list[ServerKey] = field(default_factory=list)
    lost: BaseException | None = None
    issued_before_loss: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registration = Registration(self.core)

    async def credential(self, profile: str = "sensor") -> NewCredential:
        return await self.registration.credential(profile, SENSOR, ())

    async def hand_over(self, made: ServerKey) -> None:
        if self.lost:
            self.issued_before_loss.append(made.certificate)
            raise self.lost
        self.taken.append(made)

    async def ask(
        self,
        credential: NewCredential | None,
        request: bytes | None = None,
        *,
        label: str | None = None,
        shown: bytes | None = None,
    ) -> ServerKey:
        password = Password(credential.reference, credential.secret) if credential else None
        requester = Requester(PEER, CHANNEL, password, shown)
        await self.core.enrollment.generate_key(request or wanted(), requester, label, self.hand_over)
        return self.taken[-1]

    async def state(self, certificate: bytes) -> str:
        parsed = x509.load_der_x509_certificate(certificate)
        issuer = self.core.authorities.get("infrastructure")
        record = await self.core.storage.read(
            lambda tx: certificates.get(tx, issuer.id, parsed.serial_number)
        )
        assert record is not None
        return record.state

    async def open_deliveries(self) -> int:
        found = await self.core.storage.read(lambda tx: tx.one("SELECT count(*) FROM undelivered_keys"))
        assert found is not None
        return int(found[0])


@pytest.fixture
async def clients(core: Core) -> Clients:
    return Clients(core)


def wanted(*attributes: tuple[str, bytes], capabilities: Sequence[str] = (), subject: str = SENSOR) -> bytes:
    """Return a request whose own key and signature count for nothing."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(parse_subject(subject))
    if capabilities:
        named = der.sequence(*(der.sequence(der.oid(one)) for one in capabilities))
        attributes = (*attributes, (oid.SMIME_CAPABILITIES, named))
    request = builder.sign(new_key(), SHA256()).public_bytes(Encoding.DER)
    info = der.Reader(request).enter()
    fields = info.enter()
    head = der.integer(fields.integer()) + fields.read_raw(der.SEQUENCE) + fields.read_raw(der.SEQUENCE)
    encoded = der.encode(
        der.context(0),
        b"".join(sorted(der.sequence(der.oid(kind), der.set_of([value])) for kind, value in attributes)),
    )
    signature = der.sequence(der.oid(oid.ECDSA_WITH_SHA256)) + der.bit_string(b"no signature")
    return der.sequence(der.sequence(head, encoded), signature)


async def test_key_and_certificate_belong_together(clients: Clients, recorded: Any) -> None:
    credential = await clients.credential()
    made = await clients.ask(credential)

    key = load_der_private_key(made.key, None)
    certificate = x509.load_der_x509_certificate(made.certificate)
    assert not made.encrypted
    assert key.public_key() == certificate.public_key()
    assert certificate.subject == parse_subject(SENSOR)
    assert await clients.open_deliveries() == 0
    assert await clients.registration.uses_left(credential) == 0
    [noted] = [one for one in await recorded(clients.core.storage) if one["action"] == "key.make"]
    assert (noted["actor"], noted["kind"]) == (f"credential:{credential.reference}", "ec:P-256")
    assert noted["encrypted_by"] == "TLS alone"


async def test_the_private_key_is_nowhere(clients: Clients, home: Home) -> None:
    made = await clients.ask(await clients.credential())
    secret = load_der_private_key(made.key, None)
    assert isinstance(secret, ec.EllipticCurvePrivateKey)
    octets = secret.private_numbers().private_value.to_bytes(32, "big")
    files = [path for path in home.path.rglob("*") if path.is_file()]
    assert any(made.certificate in path.read_bytes() for path in files)  # it would be found
    for path in files:
        content = path.read_bytes()
        assert octets not in content
        assert octets.hex().encode() not in content


async def test_kind_of_key_is_the_profile_s(clients: Clients) -> None:
    made = await clients.ask(await clients.credential("sensor-rsa"))
    key = load_der_private_key(made.key, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048


async def test_holder_of_a_certificate_gets_another(clients: Clients) -> None:
    first = await clients.ask(await clients.credential())
    again = await clients.ask(None, shown=first.certificate)
    assert again.certificate != first.certificate
    assert again.key != first.key
    with pytest.raises(RefusedError, match=r"differ from the certificate \(RFC 7030 §4.2.2\)"):
        await clients.ask(None, wanted(subject="CN=another"), shown=first.certificate)


async def test_off_by_default(clients: Clients) -> None:
    credential = await clients.registration.credential()
    with pytest.raises(NotAuthorizedError, match="no keys are made for profile device"):
        await clients.ask(credential, csr(new_key()))
    assert await clients.registration.uses_left(credential) == 1


async def test_who_asks_is_authenticated_as_for_enrolment(clients: Clients) -> None:
    with pytest.raises(ChallengeError):
        await clients.ask(None)
    credential = await clients.credential()
    with pytest.raises(NotAuthenticatedError):
        await clients.ask(NewCredential(credential.reference, "wrong", credential.expires_at))
    with pytest.raises(NotLinkedError, match="requires tls-unique"):
        await clients.ask(await clients.credential("linked"))
    await clients.ask(credential)
    with pytest.raises(NotAuthenticatedError, match="no use left"):
        await clients.ask(credential)


# ---- answers that are lost


@pytest.mark.parametrize("loss", [ConnectionResetError(), TimeoutError()])
async def test_a_lost_answer_revokes_and_the_repeat_gets_another(
    clients: Clients, loss: Exception, recorded: Any
) -> None:
    credential = await clients.credential()
    clients.lost = loss
    with pytest.raises(type(loss)):
        await clients.ask(credential)
    [lost] = clients.issued_before_loss
    assert await clients.state(lost) == "revoked"
    assert await clients.open_deliveries() == 0
    assert "key.lost" in [one["action"] for one in await recorded(clients.core.storage)]

    clients.lost = None
    made = await clients.ask(credential)
    assert made.certificate != lost
    assert await clients.state(made.certificate) == "active"


async def test_a_crash_before_the_answer(
    clients: Clients, home: Home, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed server leaves is settled by the next one, once."""
    credential = await clients.credential()
    clients.lost = KeyboardInterrupt()
    monkeypatch.setattr(ServerKeys, "_try_to_withdraw", _nothing)
    with pytest.raises(KeyboardInterrupt):
        await clients.ask(credential)
    [lost] = clients.issued_before_loss
    assert (await clients.state(lost), await clients.open_deliveries()) == ("active", 1)

    assert await clients.core.server_keys.recover() == 1
    assert (await clients.state(lost), await clients.open_deliveries()) == ("revoked", 0)
    assert await clients.registration.uses_left(credential) == 1
    assert await clients.core.server_keys.recover() == 0
    assert await clients.registration.uses_left(credential) == 1


async def _nothing(*_: object) -> None:
    return None


async def test_revoked_meanwhile(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    credential = await clients.credential()
    clients.lost = ConnectionResetError()
    monkeypatch.setattr(ServerKeys, "_try_to_withdraw", _nothing)
    with pytest.raises(ConnectionResetError):
        await clients.ask(credential)
    issuer = clients.core.authorities.get("infrastructure")
    serial = x509.load_der_x509_certificate(clients.issued_before_loss[0]).serial_number
    found = await clients.core.storage.read(lambda tx: rows.find(tx, issuer.id, serial))
    assert found is not None
    await clients.core.server_keys._withdraw(found)
    await clients.core.server_keys._withdraw(found)  # two at once give one use back
    assert await clients.registration.uses_left(credential) == 1


async def test_under_way_is_left_alone(clients: Clients) -> None:
    async def recovering(made: ServerKey) -> None:
        assert await clients.core.server_keys.recover() == 0
        await Clients.hand_over(clients, made)

    credential = await clients.credential()
    requester = Requester(PEER, CHANNEL, Password(credential.reference, credential.secret))
    await clients.core.enrollment.generate_key(wanted(), requester, None, recovering)
    assert await clients.state(clients.taken[0].certificate) == "active"


# ---- encrypted beyond TLS


def openssl(*arguments: str, given: bytes) -> bytes:
    done = subprocess.run(
        ["openssl", "cms", "-inform", "DER", "-outform", "DER", *arguments],
        input=given,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def opened(core: Core, made: ServerKey, *arguments: str) -> Any:
    """Return the private key that OpenSSL decrypts, whose SignedData the CA's own certificate signed."""
    assert made.encrypted
    signed_data = der.whole(openssl("-decrypt", *arguments, given=made.key), SignedData.parse)
    [signer] = signed_data.signer_infos
    named = signer_certificate(signed_data, signer)
    assert named is not None
    certificate = x509.load_der_x509_certificate(named)
    verify_signer(signed_data, signer, certificate.public_key())  # type: ignore[arg-type]  # an EC key
    issuer = core.authorities.issuer_of(certificate)
    assert issuer is not None
    assert issuer.name == "infrastructure"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [one.dotted_string for one in usage] == [oid.KP_CMC_CA, oid.KP_CM_KGA]
    assert signed_data.content_type == oid.CT_KEY_PACKAGE
    assert signed_data.content is not None
    packages = der.Reader(signed_data.content).enter()
    return load_der_private_key(packages.read_raw(der.SEQUENCE), None)


@pytest.mark.interop
async def test_by_a_shared_key(clients: Clients, core: Core) -> None:
    """RFC 7030 §4.4.1.1: kekid is the DecryptKeyIdentifier, the wrap one that the client names."""
    request = wanted(
        (oid.AA_DECRYPT_KEY_ID, der.octet_string(IDENTIFIER)), capabilities=[oid.AES256_CBC, oid.AES128_WRAP]
    )
    made = await clients.ask(await clients.credential(), request)
    key = opened(core, made, "-secretkey", SHARED_KEY.hex(), "-secretkeyid", IDENTIFIER.hex())
    assert key.public_key() == x509.load_der_x509_certificate(made.certificate).public_key()


@pytest.mark.interop
@pytest.mark.parametrize(
    ("profile", "capability"),
    [("sensor", oid.AES256_WRAP), ("sensor-rsa", oid.RSAES_OAEP), ("sensor-rsa", oid.RSA_ENCRYPTION)],
)
async def test_by_a_certificate_of_the_same_subject(
    clients: Clients, core: Core, tmp_path: Path, profile: str, capability: str
) -> None:
    """RFC 7030 §4.4.1.2: rid is the subjectKeyIdentifier that the request names."""
    first = await clients.ask(await clients.credential(profile))
    held = x509.load_der_x509_certificate(first.certificate)
    identifier = held.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    request = wanted(
        (oid.AA_ASYMM_DECRYPT_KEY_ID, der.octet_string(identifier)),
        capabilities=[capability, oid.AES128_CBC],
    )
    made = await clients.ask(None, request, shown=first.certificate)
    file = tmp_path / "recipient.pem"
    key = load_der_private_key(first.key, None)
    file.write_bytes(
        held.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    new = opened(core, made, "-recip", str(file))
    assert new.public_key() == x509.load_der_x509_certificate(made.certificate).public_key()
    assert new.public_key() != held.public_key()


@pytest.mark.parametrize(
    ("attributes", "capabilities", "reason"),
    [
        ([(oid.AA_DECRYPT_KEY_ID, b"unknown")], [oid.AES128_WRAP], "no key is known here"),
        ([(oid.AA_DECRYPT_KEY_ID, b"../" * 9)], [oid.AES128_WRAP], "no key is known here"),
        ([(oid.AA_DECRYPT_KEY_ID, b"l" * 256)], [oid.AES128_WRAP], "no key is known here"),
        ([(oid.AA_DECRYPT_KEY_ID, IDENTIFIER)], [oid.AES256_WRAP], "name no key encryption"),
        ([(oid.AA_DECRYPT_KEY_ID, IDENTIFIER)], [], "name no key encryption"),
        ([(oid.AA_ASYMM_DECRYPT_KEY_ID, b"k" * 20)], [oid.AES128_WRAP], "no current certificate"),
        (
            [(oid.AA_ASYMM_DECRYPT_KEY_ID, b"k"), (oid.AA_DECRYPT_KEY_ID, IDENTIFIER)],
            [oid.AES128_WRAP],
            "names both",
        ),
    ],
)
async def test_what_cannot_be_encrypted_as_asked_is_refused(
    clients: Clients, attributes: list[tuple[str, bytes]], capabilities: list[str], reason: str
) -> None:
    credential = await clients.credential()
    encoded = [(kind, der.octet_string(value)) for kind, value in attributes]
    with pytest.raises((RefusedError, ProtocolError), match=reason):
        await clients.ask(credential, wanted(*encoded, capabilities=capabilities))
    assert clients.taken == []
    assert await clients.registration.uses_left(credential) == 1


@pytest.mark.parametrize(
    ("text", "mode"), [("00" * 16, 0o644), ("00" * 15, 0o600), ("no key", 0o600), ("é", 0o600)]
)
async def test_shared_key_that_cannot_be_used(clients: Clients, home: Home, text: str, mode: int) -> None:
    shared(home, text, mode)
    request = wanted((oid.AA_DECRYPT_KEY_ID, der.octet_string(IDENTIFIER)), capabilities=[oid.AES128_WRAP])
    with pytest.raises(RefusedError, match="cannot be used: tell the operator"):
        await clients.ask(await clients.credential(), request)


async def test_certificate_that_is_not_for_encryption(clients: Clients) -> None:
    """RFC 7030 §4.4.1.2 MUST: keyTransport or keyAgreement, explicitly."""
    key = new_key()
    credential = await clients.registration.credential("device", SENSOR, ())
    device = await clients.registration.enroll(credential, csr(key, SENSOR, ()))
    held = x509.load_der_x509_certificate(device)
    identifier = held.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    request = wanted(
        (oid.AA_ASYMM_DECRYPT_KEY_ID, der.octet_string(identifier)), capabilities=[oid.AES128_WRAP]
    )
    with pytest.raises(RefusedError, match="not for keyEncipherment"):
        await clients.ask(await clients.credential(), request)


async def test_certificate_of_somebody_else(clients: Clients) -> None:
    other = await clients.registration.credential("sensor", "CN=sensor-8", ())
    first = await clients.ask(other, wanted(subject="CN=sensor-8"))
    held = x509.load_der_x509_certificate(first.certificate)
    identifier = held.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    request = wanted(
        (oid.AA_ASYMM_DECRYPT_KEY_ID, der.octet_string(identifier)), capabilities=[oid.AES128_WRAP]
    )
    with pytest.raises(RefusedError, match="no current certificate"):
        await clients.ask(await clients.credential(), request)


# ---- the process


async def test_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_maker, "MAX_WAITING", 0)
    with pytest.raises(UnavailableError, match="too many keys"):
        await KeyMaker().make("ec:P-256")


async def test_a_process_that_fails() -> None:
    with pytest.raises(UnavailableError, match="could not be made"):
        await KeyMaker().make("ec:P-000")


async def test_a_process_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_maker, "DEADLINE_S", 0.0)
    with pytest.raises(UnavailableError, match="not made in time"):
        await KeyMaker().make("ec:P-256")


@pytest.mark.parametrize("kind", ["ec:P-521", "rsa:2048", "ed25519"])
def test_kinds(kind: str) -> None:
    key = key_maker.make_key(kind)
    assert isinstance(key, ec.EllipticCurvePrivateKey) == kind.startswith("ec")
    assert isinstance(key, rsa.RSAPrivateKey) == kind.startswith("rsa")
