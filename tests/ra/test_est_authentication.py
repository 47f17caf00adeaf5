"""How a first enrolment is authenticated: by credential, by a trusted issuer's certificate, or by both."""

import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA224, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from test_enrollment import DEVICE, PEER, Registration, csr, new_key

from config.errors import ConfigError
from pkiserver.ca.issuance_rules import MAX_RENEWALS_A_DAY
from pkiserver.clock import Clock
from pkiserver.core import Core, open_core
from pkiserver.errors import (
    ChallengeError,
    NotAuthorizedError,
    NotLinkedError,
    PendingError,
    RefusedError,
)
from pkiserver.home import Home
from pkiserver.ra.lifecycle import Action
from pkiserver.ra.requester import Channel
from pkiserver.ra.trusted_issuers import MAX_FILE_BYTES
from protocols import oid
from protocols.asn1 import der
from protocols.errors import BadPOPError
from protocols.x509.names import parse_subject, subject_text

MACHINE = """
description = "A machine that its manufacturer numbered"
issuer = "infrastructure"
lifetime = "90d"
keys = ["ec:P-256"]
key_usage = ["digitalSignature"]
extended_key_usage = ["clientAuth"]
{more}
[[subject]]
attribute = "organizationName"
source = "fixed"
value = "Acme"
[[subject]]
attribute = "serialNumber"
source = "credential"
pattern = "A-[0-9]+"
[[subject]]
attribute = "commonName"
source = "request"
required = false
pattern = "hall-[0-9]"
[[policies]]
oid = "1.3.6.1.4.1.32473.2.1"
"""
TRUSTS_ACME = 'trusted_issuers = ["acme.pem"]\n'
PROFILES = {
    "idevid": f'est_authentication = ["certificate"]\n{TRUSTS_ACME}',
    "either": f'est_authentication = ["credential", "certificate"]\n{TRUSTS_ACME}',
    "both": f'est_authentication = ["credential+certificate"]\n{TRUSTS_ACME}',
    "both-own": 'est_authentication = ["credential+certificate"]\n',
    "approved": f'approval = true\nest_authentication = ["certificate"]\n{TRUSTS_ACME}',
    "linked": 'pop_linking = "required"\n',
    "renaming": "change_subject = true\n",
}
NOW = Clock().now()
LONG = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # as IEEE 802.1AR has IDevIDs end


@dataclass(frozen=True)
class Manufacturer:
    """A CA of somebody else."""

    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def device(self, serial: str | None = "A-1", **changes: Any) -> bytes:
        """Return an IDevID (DER); `changes` break it."""
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Somebody Else")]
        if serial:
            names.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
        return issued(x509.Name(names), self, **changes)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def issued(
    subject: x509.Name,
    issuer: Manufacturer | None,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    since: datetime = NOW - timedelta(days=1),
    until: datetime = LONG,
    hash_algorithm: Any = SHA256,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
) -> bytes:
    key = key or new_key()
    builder = x509.CertificateBuilder(
        issuer_name=issuer.certificate.subject if issuer else subject,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=since,
        not_valid_after=until,
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer.key if issuer else key, hash_algorithm()).public_bytes(Encoding.DER)


def manufacturer(name: str, *, ca: bool = True, **changes: Any) -> Manufacturer:
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    constraints = ((x509.BasicConstraints(ca=ca, path_length=None), True),)
    der = issued(subject, None, key=key, extensions=constraints, **changes)
    return Manufacturer(name, key, x509.load_der_x509_certificate(der))


ACME, OTHER = manufacturer("Acme CA"), manufacturer("Other CA")


@pytest.fixture
def home(initialised_home: Path, tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    shutil.copytree(initialised_home, home.path)
    home.profiles.mkdir(exist_ok=True)
    for name, more in PROFILES.items():
        (home.profiles / f"{name}.toml").write_text(MACHINE.format(more=more))
    (home.path / "acme.pem").write_bytes(ACME.pem)
    return home


@pytest.fixture
async def core(home: Home, clock: Any) -> AsyncIterator[Core]:
    async with open_core(home, clock) as opened:
        yield opened


@pytest.fixture
async def registration(core: Core) -> Registration:
    return Registration(core)


def request() -> bytes:
    return csr(new_key(), "O=anything", ())


async def machine(registration: Registration, profile: str) -> Any:
    return await registration.credential(profile, "serialNumber=A-5,O=Acme", ())


async def test_a_manufacturer_s_certificate_enrols_first(registration: Registration, recorded: Any) -> None:
    """Its serialNumber is the identity, nothing else of it; the profile says the rest."""
    device = ACME.device("A-17")
    for label in ("idevid", "either"):
        der = await registration.enroll(None, request(), label, shown=device)
        assert subject_text(x509.load_der_x509_certificate(der).subject) == "serialNumber=A-17,O=Acme"
    actor = f"device:{x509.load_der_x509_certificate(device).fingerprint(SHA256()).hex()}"
    log = await recorded(registration.core.storage)
    assert sum(one["actor"] == actor and one["action"] == "certificate.issue" for one in log) == 2


async def test_what_it_got_renews_without_the_manufacturer(registration: Registration) -> None:
    held = await registration.enroll(None, request(), "idevid", shown=ACME.device("A-17"))
    assert await registration.reenroll(held, csr(new_key(), "serialNumber=A-17,O=Acme", ()))


async def test_a_device_waits_where_somebody_approves_it(registration: Registration) -> None:
    """So does strongSwan, which asks to re-enrol: both are the same request."""
    device, asked = ACME.device("A-17"), request()
    with pytest.raises(PendingError):
        await registration.enroll(None, asked, "approved", shown=device)
    with pytest.raises(PendingError):
        await registration.enroll(None, asked, "approved", shown=ACME.device("A-17"))  # another certificate
    await registration.core.approvals.decide(1, "approved", "user:7", None)
    der = await registration.reenroll(device, asked, "approved")
    assert subject_text(x509.load_der_x509_certificate(der).subject) == "serialNumber=A-17,O=Acme"


async def test_strongswan_asks_to_re_enrol_with_it(registration: Registration, home: Home) -> None:
    device = ACME.device()
    der = await registration.reenroll(device, request(), "idevid")
    assert subject_text(x509.load_der_x509_certificate(der).subject) == "serialNumber=A-1,O=Acme"


async def test_without_a_label_several_profiles_are_too_many(registration: Registration) -> None:
    with pytest.raises(NotAuthorizedError, match=r"say for which profile .*: approved, both, either, idevid"):
        await registration.enroll(None, request(), None, shown=ACME.device())


UNKNOWN_EXTENSION = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")
SIGNS_ONLY = x509.KeyUsage(False, True, False, False, False, False, False, False, False)
SERVES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (OTHER.device(), "neither of this CA nor of a trusted issuer"),
        (ACME.device(until=NOW - timedelta(seconds=1)), "the client certificate is expired"),
        (ACME.device(since=NOW + timedelta(days=1)), "the client certificate is not valid yet"),
        (ACME.device(hash_algorithm=SHA224), "neither of this CA nor of a trusted issuer"),
        (ACME.device(extensions=((x509.BasicConstraints(ca=True, path_length=0), True),)), "that of a CA"),
        (ACME.device(extensions=((SIGNS_ONLY, True),)), "not for digitalSignature"),
        (ACME.device(extensions=((SERVES, False),)), "not for clientAuth"),
        (ACME.device(extensions=((UNKNOWN_EXTENSION, True),)), "unknown critical extension, 1.3.6"),
        (b"\x30\x03\x02\x01\x07", "no certificate that can be read"),
        (b"", "no certificate that can be read"),
    ],
)
async def test_a_bad_device_certificate_is_refused_and_audited(
    registration: Registration, recorded: Any, device: bytes, reason: str
) -> None:
    """TLS verified none of it where a proxy says it."""
    with pytest.raises(NotAuthorizedError, match=reason):
        await registration.enroll(None, request(), "idevid", shown=device)
    [refused] = [one for one in await recorded(registration.core.storage) if one["outcome"] == "refused"]
    assert (refused["peer"], refused["action"]) == (PEER, "enroll")


async def test_a_device_certificate_that_names_no_device(registration: Registration) -> None:
    with pytest.raises(RefusedError, match="no single serialNumber"):
        await registration.enroll(None, request(), "idevid", shown=ACME.device(None))
    with pytest.raises(RefusedError, match="serialNumber does not match"):
        await registration.enroll(None, request(), "idevid", shown=ACME.device("X"))


async def test_a_trusted_issuer_opens_what_the_profile_says_and_no_more(registration: Registration) -> None:
    device = ACME.device()
    for label in ("device", "linked", "both-own"):
        with pytest.raises(ChallengeError):
            await registration.enroll(None, request(), label, shown=device)
    with pytest.raises(ChallengeError):
        await registration.enroll(None, request(), "both", shown=device)
    credential = await machine(registration, "both-own")
    with pytest.raises(NotAuthorizedError, match="does not trust the client certificate's issuer"):
        await registration.enroll(credential, request(), shown=device)


async def test_a_profile_that_wants_both(registration: Registration) -> None:
    credential = await machine(registration, "both")
    with pytest.raises(NotAuthorizedError, match="a credential and a client certificate"):
        await registration.enroll(credential, request())
    with pytest.raises(NotAuthorizedError, match="neither of this CA nor of a trusted"):
        await registration.enroll(credential, request(), shown=OTHER.device())
    own = await registration.enroll(await registration.credential())
    with pytest.raises(NotAuthorizedError, match="wants a client certificate of a trusted issuer"):
        await registration.enroll(credential, request(), shown=own)
    assert await registration.uses_left(credential) == 1
    der = await registration.enroll(credential, request(), shown=ACME.device("A-99"))
    subject = subject_text(x509.load_der_x509_certificate(der).subject)
    assert subject == "serialNumber=A-5,O=Acme"  # the credential's, not the certificate's


async def test_a_profile_that_wants_a_certificate_of_ours_beside_the_credential(
    registration: Registration,
) -> None:
    own = await registration.enroll(await registration.credential())
    assert await registration.enroll(await machine(registration, "both-own"), request(), shown=own)
    await registration.change(own, Action.SUSPEND)
    with pytest.raises(NotAuthorizedError, match="client certificate is suspended"):
        await registration.enroll(await machine(registration, "both-own"), request(), shown=own)


async def test_a_credential_is_enough_where_the_profile_says_so(registration: Registration) -> None:
    """The certificate beside it is not looked at: it may be of anybody."""
    assert await registration.enroll(await machine(registration, "either"), request(), shown=OTHER.device())
    with pytest.raises(RefusedError, match="profile idevid is enrolled with a client certificate alone"):
        await machine(registration, "idevid")
    with pytest.raises(NotAuthorizedError, match="enrolled with a client certificate alone"):
        registration.core.enrollment.refuse_unproven("idevid")
    with pytest.raises(ChallengeError):
        registration.core.enrollment.refuse_unproven("either")


async def test_a_certificate_of_ours_enrols_nothing_by_itself(
    registration: Registration, refusals: Any
) -> None:
    own = await registration.enroll(await registration.credential())
    for label in (None, "device", "either"):
        with pytest.raises(ChallengeError):
            await registration.enroll(None, csr(new_key()), label, shown=own)
    assert await refusals() == []  # a challenge, not a refusal


@pytest.fixture
def refusals(core: Core, recorded: Any) -> Callable[[], Any]:
    async def read() -> list[dict[str, Any]]:
        return [one for one in await recorded(core.storage) if one["outcome"] == "refused"]

    return read


async def test_a_device_is_bounded_in_what_it_makes_the_ca_sign(
    registration: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pkiserver.ca.issuance_rules.MAX_RENEWALS_A_DAY", 2)
    assert MAX_RENEWALS_A_DAY > 2
    for _ in range(2):
        await registration.enroll(None, request(), "idevid", shown=ACME.device())
    with pytest.raises(RefusedError, match="2 certificates were issued to this holder"):
        await registration.enroll(None, request(), "idevid", shown=ACME.device())


async def test_what_a_device_did_not_take_is_given_again(registration: Registration) -> None:
    device, key = ACME.device("A-7"), new_key()
    der = await registration.enroll(None, csr(key, "CN=hall-1", ()), "idevid", shown=device)
    assert await registration.enroll(None, csr(key, "CN=hall-1", ()), "idevid", shown=device) == der
    other = await registration.enroll(None, csr(new_key(), "CN=hall-1", ()), "idevid", shown=device)
    assert other != der


async def test_trusted_issuers_are_read_anew(registration: Registration, home: Home) -> None:
    trusted, device = registration.core.trusted_issuers, OTHER.device("A-3")
    assert not trusted.changed()
    (home.path / "acme.pem").write_bytes(OTHER.pem + ACME.pem)
    assert trusted.changed()
    trusted.load()
    assert not trusted.changed()
    assert await registration.enroll(None, request(), "idevid", shown=device)
    (home.path / "acme.pem").write_text("nonsense")
    with pytest.raises(ConfigError, match=r"trusted_issuers: 'acme.pem': holds no certificates in PEM"):
        trusted.load()
    assert not trusted.changed()  # it is not read again before it changes
    assert await registration.enroll(None, request(), "idevid", shown=OTHER.device("A-4"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "holds no certificates"),
        (b"#" * (MAX_FILE_BYTES + 1), "is larger than"),
        (manufacturer("Leaf", ca=False).pem, "is no CA certificate"),
        (x509.load_der_x509_certificate(ACME.device()).public_bytes(Encoding.PEM), "is no CA certificate"),
    ],
)
async def test_bad_trusted_issuers_stop_the_start(
    home: Home, clock: Any, content: bytes | None, reason: str
) -> None:
    (home.path / "acme.pem").unlink()
    if content is not None:
        (home.path / "acme.pem").write_bytes(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        async with open_core(home, clock):
            pass
    assert [finding.file for finding in caught.value.findings] == [
        "approved.toml",
        "both.toml",
        "either.toml",
        "idevid.toml",
    ]


async def test_an_issuer_that_has_expired_vouches_for_nobody(home: Home, clock: Any) -> None:
    expired = manufacturer("Old CA", until=NOW - timedelta(days=1), since=NOW - timedelta(days=9))
    (home.path / "acme.pem").write_bytes(expired.pem)
    async with open_core(home, clock) as core:
        with pytest.raises(NotAuthorizedError, match="issuer is expired"):
            await Registration(core).enroll(None, request(), "idevid", shown=expired.device())


def linked_csr(challenge_password: str | None, subject: str = "O=x") -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(parse_subject(subject))
    if challenge_password is not None:
        kind = x509.oid.AttributeOID.CHALLENGE_PASSWORD
        builder = builder.add_attribute(kind, challenge_password.encode())
    return builder.sign(new_key(), SHA256()).public_bytes(Encoding.DER)


BINDING = bytes(range(12))
RIGHT, WRONG = "AAECAwQFBgcICQoL", "AAECAwQFBgcICQoM"
BOUND = Channel("TLS 1.2", BINDING)
UNBOUND = [Channel("TLS 1.3"), Channel("a proxy"), Channel("a resumed session")]


async def test_rfc7030_3_5_tls_unique_is_verified_when_present(registration: Registration) -> None:
    for profile in ("device", "linked"):
        subject = DEVICE if profile == "device" else "serialNumber=A-1,O=Acme"
        credential = await registration.credential(profile, subject, ())
        with pytest.raises(BadPOPError, match="not the tls-unique value of this TLS session"):
            await registration.enroll(credential, linked_csr(WRONG), channel=BOUND)
        assert await registration.enroll(credential, linked_csr(RIGHT), channel=BOUND)


async def test_rfc7030_3_5_a_profile_may_require_it(registration: Registration) -> None:
    credential = await machine(registration, "linked")
    with pytest.raises(
        NotLinkedError, match=r"requires tls-unique in the challengePassword \(RFC 7030 §3.5\)$"
    ):
        await registration.enroll(credential, linked_csr(None), channel=BOUND)
    for channel in UNBOUND:
        with pytest.raises(
            NotLinkedError, match=f"{channel.name} cannot give it: connect directly, over TLS 1.2"
        ):
            await registration.enroll(credential, linked_csr(None), channel=channel)
    assert await registration.enroll(credential, linked_csr(RIGHT), channel=BOUND)


@pytest.mark.parametrize("channel", UNBOUND, ids=lambda channel: channel.name)
async def test_a_challenge_password_that_cannot_be_verified_is_not_passed_over(
    registration: Registration, channel: Channel
) -> None:
    credential = await registration.credential()
    with pytest.raises(
        NotLinkedError, match=f"cannot be verified over {channel.name}: leave it out, or connect"
    ):
        await registration.enroll(credential, linked_csr(RIGHT), channel=channel)
    assert await registration.enroll(credential, linked_csr(None), channel=channel)


async def test_re_enrolment_is_linked_too(registration: Registration) -> None:
    identity = "serialNumber=A-5,O=Acme"
    held = await registration.enroll(await machine(registration, "linked"), linked_csr(RIGHT), channel=BOUND)
    with pytest.raises(NotLinkedError, match="requires tls-unique"):
        await registration.reenroll(held, linked_csr(None, identity), channel=BOUND)
    with pytest.raises(BadPOPError):
        await registration.reenroll(held, linked_csr(WRONG, identity), channel=BOUND)
    assert await registration.reenroll(held, linked_csr(RIGHT, identity), channel=BOUND)


def renaming_csr(new: str, subject: str) -> bytes:
    """Return a request with a ChangeSubjectName, which cryptography's builder would write as a text."""
    key = new_key()
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    change = der.sequence(
        der.oid(oid.CMC_CHANGE_SUBJECT_NAME),
        der.set_of([der.sequence(parse_subject(new).public_bytes())]),
    )
    name = parse_subject(subject).public_bytes()
    info = der.sequence(der.integer(0), name, spki, der.encode(der.context(0), change))
    signature = der.bit_string(key.sign(info, ec.ECDSA(SHA256())))
    return der.sequence(info, der.sequence(der.oid("1.2.840.10045.4.3.2")), signature)


async def test_rfc6402_2_8_the_subject_changes_as_far_as_the_profile_leaves_it_to_the_request(
    registration: Registration,
) -> None:
    now, moved = "CN=hall-1,serialNumber=A-5,O=Acme", "CN=hall-2,serialNumber=A-5,O=Acme"
    credential = await machine(registration, "renaming")
    held = await registration.enroll(credential, csr(new_key(), "CN=hall-1", ()))
    renamed = await registration.reenroll(held, renaming_csr(moved, now))
    assert subject_text(x509.load_der_x509_certificate(renamed).subject) == moved
    for other in ("CN=hall-2,serialNumber=A-6,O=Acme", "CN=lobby,serialNumber=A-5,O=Acme", "CN=hall-2"):
        with pytest.raises(RefusedError):
            await registration.reenroll(held, renaming_csr(other, now))
    with pytest.raises(RefusedError, match="differ from the certificate"):
        await registration.reenroll(held, renaming_csr(moved, moved))


async def test_the_subject_does_not_change_where_the_profile_does_not_say_so(
    registration: Registration,
) -> None:
    held = await registration.enroll(await registration.credential("device", "CN=gate-1", ()))
    with pytest.raises(RefusedError, match="lets nobody change the subject"):
        await registration.reenroll(held, renaming_csr("CN=gate-2", "CN=gate-1"))


# What a trusted third party has revoked


def crl_of(
    issuer: Manufacturer,
    *revoked: bytes,
    since: datetime = NOW - timedelta(hours=1),
    until: datetime = NOW + timedelta(days=1),
    key: ec.EllipticCurvePrivateKey | None = None,
    hash_algorithm: Any = SHA256,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
) -> bytes:
    """Return a CRL (PEM) that revokes these certificates."""
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, since, until)
    for certificate in revoked:
        serial = x509.load_der_x509_certificate(certificate).serial_number
        entry = x509.RevokedCertificateBuilder(serial, since).build()
        builder = builder.add_revoked_certificate(entry)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key or issuer.key, hash_algorithm()).public_bytes(Encoding.PEM)


async def test_what_its_manufacturer_has_revoked_enrols_nothing(
    registration: Registration, home: Home, clock: Any
) -> None:
    """The CRL stands in the file beside its CA, and is read again when that changes."""
    trusted, bad, good = registration.core.trusted_issuers, ACME.device("A-1"), ACME.device("A-2")
    assert await registration.enroll(None, request(), "idevid", shown=bad)
    (home.path / "acme.pem").write_bytes(ACME.pem + OTHER.pem + crl_of(ACME, bad))
    trusted.load()
    for label in ("idevid", "either"):
        with pytest.raises(NotAuthorizedError, match="the client certificate is revoked by its issuer"):
            await registration.enroll(None, request(), label, shown=bad)
    credential = await machine(registration, "both")
    with pytest.raises(NotAuthorizedError, match="revoked by its issuer"):
        await registration.enroll(credential, request(), shown=bad)
    assert await registration.enroll(None, request(), "idevid", shown=good)
    assert await registration.enroll(None, request(), "idevid", shown=OTHER.device("A-3"))  # it has no CRL
    clock.moment += timedelta(days=1, seconds=1)
    with pytest.raises(NotAuthorizedError, match="CRL of the client certificate's issuer is out of date"):
        await registration.enroll(None, request(), "idevid", shown=good)
    newer = crl_of(ACME, bad, since=clock.moment, until=clock.moment + timedelta(days=1))
    (home.path / "acme.pem").write_bytes(ACME.pem + newer + crl_of(ACME))
    assert trusted.changed()
    trusted.load()
    assert await registration.enroll(None, request(), "idevid", shown=good)
    with pytest.raises(NotAuthorizedError, match="revoked by its issuer"):
        await registration.enroll(None, request(), "idevid", shown=bad)


ONLY_SOME = x509.IssuingDistributionPoint(
    None, None, False, False, frozenset({x509.ReasonFlags.key_compromise}), False, False
)


@pytest.mark.parametrize(
    ("crl", "reason"),
    [
        (crl_of(OTHER), "a CRL that none of its CAs has signed"),
        (crl_of(ACME, key=OTHER.key), "a CRL that none of its CAs has signed"),
        (crl_of(ACME, hash_algorithm=SHA224), "a CRL that none of its CAs has signed"),
        (crl_of(ACME, extensions=((x509.DeltaCRLIndicator(1), True),)), "a CRL with a critical extension"),
        (crl_of(ACME, extensions=((ONLY_SOME, True),)), "a CRL with a critical extension"),
        (b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n", "a CRL that cannot be read"),
    ],
)
async def test_bad_crls_change_nothing(
    registration: Registration, home: Home, crl: bytes, reason: str
) -> None:
    device = ACME.device()
    (home.path / "acme.pem").write_bytes(ACME.pem + crl_of(ACME, device))
    registration.core.trusted_issuers.load()
    (home.path / "acme.pem").write_bytes(ACME.pem + crl)
    with pytest.raises(ConfigError, match=reason):
        registration.core.trusted_issuers.load()
    with pytest.raises(NotAuthorizedError, match="revoked by its issuer"):  # by the CRL before
        await registration.enroll(None, request(), "idevid", shown=device)
