"""Enrolment and re-enrolment on a home of its own, with the real store and signer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.ca import issuance_rules
from pkiserver.ca.identity import certificate_identity
from pkiserver.core import Core
from pkiserver.errors import (
    ConflictError,
    KeyRefusedError,
    NotAuthenticatedError,
    NotAuthorizedError,
    NotFoundError,
    PKIServerError,
    RefusedError,
    UnavailableError,
)
from pkiserver.ra.attempts import FREE_GUESSES, MAX_DELAY, MAX_FAILURES
from pkiserver.ra.credentials import NewCredential
from pkiserver.ra.lifecycle import Action, Command
from pkiserver.ra.requester import Channel, Password, Requester
from pkiserver.ra.status_changes import StatusChanges
from protocols.asn1.ocsp import CRLReason
from protocols.x509.certificate import serial_text
from protocols.x509.names import parse_san, parse_subject, subject_text
from store import certificates, issuances, status_events
from store import credentials as credential_rows

PEER = "192.0.2.7"
CHANNEL = Channel("TLS 1.3")
DEVICE = "CN=sensor-7,O=Жишээ"
DEVICE_SAN = ("dns:sensor-7.example.mn", "ip:192.0.2.70")
CITIZEN = "CN=Бат Дорж,givenName=Дорж,SN=Бат,serialNumber=PNOMN-123456789012,C=MN"
WINDOW = timedelta(days=60)  # of the shipped profiles of people
LIMIT = 5_000_000
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def csr(key: Key, subject: str = DEVICE, san: Sequence[str] = DEVICE_SAN) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(parse_subject(subject))
    if san:
        names = x509.SubjectAlternativeName([parse_san(text) for text in san])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


@dataclass
class Registration:
    """What a registrar and a client do with a core."""

    core: Core
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    async def credential(
        self,
        profile: str = "device",
        subject: str = DEVICE,
        san: tuple[str, ...] = DEVICE_SAN,
        *,
        uses: int = 1,
        limit: int | None = None,
    ) -> NewCredential:
        return await self.core.credentials.create(
            profile=profile,
            subject=subject,
            san=san,
            limit_mnt=limit,
            uses=uses,
            lifetime=None,
            actor="registrar:7",
        )

    async def enroll(
        self,
        credential: NewCredential | None,
        request: bytes | None = None,
        label: str | None = None,
        *,
        shown: bytes | None = None,
        channel: Channel = CHANNEL,
    ) -> bytes:
        password = Password(credential.reference, credential.secret) if credential else None
        requester = Requester(PEER, channel, password, shown)
        return await self.core.enrollment.enroll(request or csr(self.key), requester, label)

    async def enrolled(self, profile: str, subject: str, limit: int | None = None) -> bytes:
        """Return a certificate without subjectAltName, of a new key."""
        credential = await self.credential(profile, subject, (), limit=limit)
        return await self.enroll(credential, csr(new_key(), subject, ()))

    async def reenroll(
        self,
        held: bytes | None,
        request: bytes | None = None,
        label: str | None = None,
        *,
        channel: Channel = CHANNEL,
    ) -> bytes:
        requester = Requester(PEER, channel, certificate=held)
        return await self.core.enrollment.reenroll(request or csr(new_key()), requester, label)

    async def change(self, der: bytes, action: Action) -> None:
        certificate = x509.load_der_x509_certificate(der)
        issuer = self.core.authorities.issuer_of(certificate)
        assert issuer is not None
        changes = StatusChanges(self.core.storage, self.core.clock, AsyncMock())
        await changes.carry_out(issuer.id, certificate.serial_number, Command(action), "registrar:7")

    async def uses_left(self, credential: NewCredential) -> int:
        record = await self.core.storage.read(lambda tx: credential_rows.get(tx, credential.reference))
        assert record is not None
        return record.uses_left

    async def count(self) -> int:
        """Return how many certificates there are."""
        rows = await self.core.storage.read(lambda tx: tx.one("SELECT count(*) FROM certificates"))
        assert rows is not None
        return int(rows[0])


@pytest.fixture
async def registration(core: Core) -> Registration:
    return Registration(core)


@pytest.fixture
def refusals(core: Core, recorded: Any) -> Any:
    """Return what the audit log says was refused: actor, action, peer, reason."""

    async def read() -> list[tuple[str, str, str, str]]:
        return [
            (one["actor"], one["action"], one["peer"], one["personal"]["reason"])
            for one in await recorded(core.storage)
            if one["outcome"] == "refused"
        ]

    return read


def sans_of(certificate: x509.Certificate) -> set[x509.GeneralName]:
    return set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


# Enrolment


async def test_what_was_approved_is_issued_and_on_record(registration: Registration, recorded: Any) -> None:
    credential = await registration.credential()
    der = await registration.enroll(credential)
    certificate = x509.load_der_x509_certificate(der)
    core = registration.core
    issuer = core.authorities.get("infrastructure")
    certificate.verify_directly_issued_by(issuer.certificate)
    assert certificate.subject == parse_subject(DEVICE)
    assert sans_of(certificate) == {parse_san(text) for text in DEVICE_SAN}
    assert certificate.public_key() == registration.key.public_key()
    serial = certificate.serial_number
    record = await core.storage.read(lambda tx: certificates.get(tx, issuer.id, serial))
    assert record is not None
    assert (record.certificate, record.state, record.profile) == (der, "active", "device")
    (event,) = await core.storage.read(lambda tx: status_events.of_certificate(tx, issuer.id, serial))
    assert (event.from_state, event.to_state) == (None, "active")
    assert event.actor == f"credential:{credential.reference}"
    steps = [
        one["action"] for one in await recorded(core.storage) if one.get("serial") == serial_text(serial)
    ]
    assert steps == ["certificate.sign", "certificate.issue"]


async def test_a_request_does_not_choose_its_identity(registration: Registration) -> None:
    credential = await registration.credential()
    asked = csr(registration.key, "CN=Administrator,O=somebody else", ("dns:bank.example.mn",))
    certificate = x509.load_der_x509_certificate(await registration.enroll(credential, asked))
    assert certificate.subject == parse_subject(DEVICE)
    assert sans_of(certificate) == {parse_san(text) for text in DEVICE_SAN}


async def test_a_credential_has_as_many_uses_as_it_says(registration: Registration, refusals: Any) -> None:
    credential = await registration.credential(uses=2)
    for left in (1, 0):
        await registration.enroll(credential, csr(new_key()))
        assert await registration.uses_left(credential) == left
    with pytest.raises(NotAuthenticatedError, match="no use left"):
        await registration.enroll(credential, csr(new_key()))
    actor = f"credential:{credential.reference}"
    assert await refusals() == [(actor, "enroll", PEER, "the credential has no use left")]


async def test_of_many_at_once_one_gets_the_only_use(registration: Registration, refusals: Any) -> None:
    credential = await registration.credential()
    before = await registration.count()
    requests = [csr(new_key()) for _ in range(5)]
    results = await asyncio.gather(
        *(registration.enroll(credential, request) for request in requests), return_exceptions=True
    )
    assert sum(isinstance(result, bytes) for result in results) == 1
    assert sum(isinstance(result, PKIServerError) for result in results) == 4
    assert await registration.count() == before + 1
    assert await registration.uses_left(credential) == 0
    assert len(await refusals()) == 4


async def test_wrong_secrets_are_audited_without_the_secret_and_lock(
    registration: Registration, recorded: Any, clock: Any
) -> None:
    credential = await registration.credential()
    attempts = registration.core.settings.est.max_attempts
    guessed = NewCredential(credential.reference, "guessed-secret", credential.expires_at)
    unknown = NewCredential("nobody", "guessed-secret", credential.expires_at)
    for wrong in [unknown, *[guessed] * attempts]:
        with pytest.raises(NotAuthenticatedError, match="reference or secret is wrong"):
            await registration.enroll(wrong)
        clock.moment += MAX_DELAY
    with pytest.raises(NotAuthenticatedError, match="locked"):
        await registration.enroll(credential)
    assert registration.core.refusals.failures == {"wrong": attempts + 2, "slowed": 0, "locked": 1}
    log = await recorded(registration.core.storage)
    refused = [one for one in log if one["outcome"] == "refused"]
    assert [one["actor"] for one in refused] == [
        "anonymous",
        *["anonymous"] * (attempts + 1),
    ]
    locks = [one["reference"] for one in log if one["action"] == "credential.lock"]
    assert locks == [credential.reference]
    assert "guessed-secret" not in str(log)
    assert credential.secret not in str(log)


async def test_guesses_at_one_credential_are_slowed_down(registration: Registration, clock: Any) -> None:
    credential, other = await registration.credential(), await registration.credential()
    for reference in (credential.reference, "nobody"):  # one that does not exist is no different
        wrong = NewCredential(reference, "guessed", credential.expires_at)
        for _ in range(FREE_GUESSES):
            with pytest.raises(NotAuthenticatedError):
                await registration.enroll(wrong)
        for _ in range(2):  # not compared: it takes no attempt either
            with pytest.raises(UnavailableError, match="too many wrong secrets for this reference"):
                await registration.enroll(wrong)
    with pytest.raises(UnavailableError):
        await registration.enroll(credential)
    assert await registration.enroll(other)
    record = await registration.core.storage.read(lambda tx: credential_rows.get(tx, credential.reference))
    assert record is not None
    assert record.attempts_left == registration.core.settings.est.max_attempts - FREE_GUESSES
    assert registration.core.refusals.failures == {"wrong": 2 * FREE_GUESSES, "slowed": 5, "locked": 0}
    clock.moment += timedelta(seconds=1)
    assert await registration.enroll(credential, csr(new_key()))


async def test_expired_and_cancelled_credentials(
    registration: Registration, clock: Any, refusals: Any
) -> None:
    cancelled, expired = await registration.credential(), await registration.credential()
    await registration.core.credentials.cancel(cancelled.reference, "registrar:7")
    clock.moment = expired.expires_at
    for credential in (cancelled, expired):
        with pytest.raises(NotAuthenticatedError, match="cancelled, locked or expired"):
            await registration.enroll(credential)
    assert len(await refusals()) == 2


async def test_the_label_names_the_profile_of_the_credential(
    registration: Registration, refusals: Any
) -> None:
    credential = await registration.credential()
    with pytest.raises(NotAuthorizedError, match="for profile device, not tls-server"):
        await registration.enroll(credential, label="tls-server")
    with pytest.raises(NotFoundError, match="no profile other to enrol for"):
        await registration.enroll(credential, label="other")
    with pytest.raises(NotFoundError, match="no profile root-ca to enrol for"):
        await registration.enroll(credential, label="root-ca")
    assert len(await refusals()) == 3
    assert await registration.enroll(credential, label="device")


async def test_a_key_that_is_refused_costs_no_use(registration: Registration, refusals: Any) -> None:
    credential = await registration.credential()
    for key in (
        rsa.generate_private_key(public_exponent=3, key_size=2048),
        ec.generate_private_key(ec.SECP521R1()),
    ):
        with pytest.raises(KeyRefusedError):
            await registration.enroll(credential, csr(key))
    assert len(await refusals()) == 2
    assert await registration.uses_left(credential) == 1
    assert await registration.enroll(credential)


async def test_the_key_of_somebody_else(registration: Registration) -> None:
    await registration.enroll(await registration.credential())
    credential = await registration.credential(subject="CN=another", san=())
    with pytest.raises(KeyRefusedError, match="in use by another subject"):
        await registration.enroll(credential)
    assert await registration.uses_left(credential) == 1


async def test_a_certificate_that_was_not_taken_is_given_again(registration: Registration) -> None:
    credential = await registration.credential()
    der = await registration.enroll(credential)
    before = await registration.count()
    assert await registration.enroll(credential) == der
    assert await registration.enroll(credential, label="device") == der
    assert await registration.count() == before
    with pytest.raises(NotAuthenticatedError, match="no use left"):
        await registration.enroll(credential, csr(new_key()))
    await registration.core.enrollment.delivered(der)
    assert await registration.enroll(credential) == der  # so far the note goes with the next commit
    await registration.core.storage.write(lambda _: None)
    with pytest.raises(NotAuthenticatedError, match="no use left"):
        await registration.enroll(credential)


async def test_a_credential_with_uses_left_gives_it_again_too(registration: Registration, clock: Any) -> None:
    """The repeat of a client that got no answer costs no second use and makes no second certificate."""
    credential = await registration.credential(uses=3)
    der = await registration.enroll(credential)
    assert await registration.enroll(credential) == der
    assert await registration.uses_left(credential) == 2
    other = await registration.enroll(credential, csr(new_key()))  # of another device
    assert other != der
    await registration.core.enrollment.delivered(der)
    again = await registration.enroll(credential)
    assert again not in (der, other)
    assert await registration.uses_left(credential) == 0


async def test_what_is_half_over_is_not_given_again(registration: Registration, clock: Any) -> None:
    held = x509.load_der_x509_certificate(await registration.enroll(await registration.credential()))
    request, der = csr(new_key()), held.public_bytes(Encoding.DER)
    renewed = await registration.reenroll(der, request)
    half = (held.not_valid_after_utc - held.not_valid_before_utc) // 2
    clock.moment = held.not_valid_before_utc + timedelta(seconds=half // timedelta(seconds=1))
    assert await registration.reenroll(der, request) == renewed
    clock.moment += timedelta(seconds=2)
    assert await registration.reenroll(der, request) != renewed


async def test_it_is_given_to_its_own_credential_only(registration: Registration) -> None:
    first = await registration.credential()
    der = await registration.enroll(first)
    second = await registration.credential()
    again = await registration.enroll(second)  # the same key and identity, another approval
    assert again != der
    assert await registration.enroll(first) == der
    wrong = NewCredential(first.reference, second.secret, first.expires_at)
    with pytest.raises(NotAuthenticatedError, match="is wrong"):
        await registration.enroll(wrong)


async def test_delivered_notes_nothing_for_a_certificate_of_others(registration: Registration) -> None:
    credential = await registration.credential()
    der = await registration.enroll(credential)
    await registration.core.enrollment.delivered(_foreign(registration.core, der))
    await registration.core.storage.write(lambda _: None)
    assert await registration.enroll(credential) == der


async def test_nothing_is_issued_with_the_clock_behind(registration: Registration, clock: Any) -> None:
    credential = await registration.credential()
    clock.moment -= timedelta(hours=1)
    with pytest.raises(UnavailableError, match=r"nothing is issued now: the clock is .* behind"):
        await registration.enroll(credential)
    assert await registration.uses_left(credential) == 1
    clock.moment += timedelta(hours=1)
    assert await registration.enroll(credential)


async def test_an_address_is_refused_so_often_and_then_not_even_audited(
    registration: Registration, clock: Any, refusals: Any
) -> None:
    enrollment = registration.core.enrollment
    for _ in range(MAX_FAILURES):
        await enrollment.refused(operation="enroll", peer=PEER, reason="not a CSR")
    credential = await registration.credential()
    wrong = NewCredential(credential.reference, "wrong", credential.expires_at)
    unknown = NewCredential("nobody", "wrong", credential.expires_at)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="too many refused requests"):
            await enrollment.refused(operation="enroll", peer=PEER, reason="not a CSR")
        with pytest.raises(UnavailableError, match="too many refused requests"):
            await registration.enroll(unknown)
    assert await refusals() == [("anonymous", "enroll", PEER, "not a CSR")] * MAX_FAILURES
    # Who has the right secret is served, whatever others behind the same address did.
    assert await registration.enroll(credential)
    clock.moment += timedelta(minutes=1)
    with pytest.raises(NotAuthenticatedError):
        await registration.enroll(wrong)


async def test_no_flood_of_refusals_hides_guesses(
    registration: Registration, clock: Any, refusals: Any, recorded: Any
) -> None:
    """Whoever had its share of refusals has its guesses counted still: they lock the credential."""
    credential, attempts = await registration.credential(), registration.core.settings.est.max_attempts
    wrong = NewCredential(credential.reference, "wrong", credential.expires_at)
    for _ in range(attempts + 2):
        for _ in range(MAX_FAILURES):
            await registration.core.enrollment.refused(operation="enroll", peer=PEER, reason="not a CSR")
        with pytest.raises(UnavailableError, match="too many refused requests"):  # as for any reference
            await registration.enroll(wrong)
        clock.moment += MAX_DELAY
    with pytest.raises(NotAuthenticatedError, match="locked"):
        await registration.enroll(credential)
    log = await recorded(registration.core.storage)
    assert [one["action"] for one in log].count("credential.lock") == 1
    guesses = [one for one in await refusals() if one[3] == "reference or secret is wrong"]
    assert len(guesses) == attempts  # what comes after the lock costs no write


async def test_certificates_that_a_client_needs(registration: Registration) -> None:
    enrollment, authorities = registration.core.enrollment, registration.core.authorities
    assert set(enrollment.ca_certificates(None)) == {
        authorities.get(name).der for name in ("root", "citizen", "government", "infrastructure")
    }
    chain = [authorities.get(name).der for name in ("government", "root")]
    assert list(enrollment.ca_certificates("government-token")) == chain
    with pytest.raises(NotFoundError):
        enrollment.ca_certificates("other")


# Re-enrolment


async def test_a_holder_gets_a_new_certificate_of_the_same_identity(registration: Registration) -> None:
    held = await registration.enroll(await registration.credential())
    key = new_key()
    renewed = x509.load_der_x509_certificate(await registration.reenroll(held, csr(key)))
    before = x509.load_der_x509_certificate(held)
    assert renewed.serial_number != before.serial_number
    assert certificate_identity(renewed) == certificate_identity(before)
    assert renewed.public_key() == key.public_key()
    assert await registration.reenroll(held, csr(registration.key), label="device")  # rekeying is not asked


async def test_a_renewal_that_was_not_taken_is_given_again(registration: Registration) -> None:
    """The same holder, key and identity; once it was taken, the holder gets another."""
    held = await registration.enroll(await registration.credential())
    request = csr(new_key())
    renewed = await registration.reenroll(held, request)
    before = await registration.count()
    assert await registration.reenroll(held, request) == renewed
    assert await registration.reenroll(held, request, "device") == renewed
    assert await registration.count() == before
    assert await registration.reenroll(renewed, csr(registration.key)) != renewed  # another holder and key
    await registration.core.enrollment.delivered(renewed)
    assert await registration.reenroll(held, request) != renewed


async def test_a_revoked_renewal_is_not_given_again(registration: Registration) -> None:
    held, request = await registration.enroll(await registration.credential()), csr(new_key())
    renewed = await registration.reenroll(held, request)
    await _revoke(registration, renewed, CRLReason.SUPERSEDED)
    assert await registration.reenroll(held, request) != renewed


@pytest.mark.parametrize(
    ("subject", "san"),
    [
        ("CN=sensor-8,O=Жишээ", DEVICE_SAN),
        ("CN=sensor-7", DEVICE_SAN),
        (DEVICE, DEVICE_SAN[:1]),
        (DEVICE, (*DEVICE_SAN, "dns:more.example.mn")),
        (DEVICE, ()),
    ],
)
async def test_subject_and_names_must_be_those_of_the_certificate(
    registration: Registration, refusals: Any, subject: str, san: tuple[str, ...]
) -> None:
    held = await registration.enroll(await registration.credential())
    with pytest.raises(RefusedError, match="differ from the certificate"):
        await registration.reenroll(held, csr(new_key(), subject, san))
    ((actor, action, peer, _),) = await refusals()
    serial = x509.load_der_x509_certificate(held).serial_number
    assert (actor, action, peer) == (f"certificate:{serial_text(serial)}", "reenroll", PEER)


async def test_a_profile_re_enrols_what_it_says(registration: Registration, refusals: Any) -> None:
    held = await registration.enroll(await registration.credential())
    for label in ("government-token", "tls-server", "administrator", "unknown"):
        with pytest.raises(NotAuthorizedError, match=f"of profile device cannot re-enrol {label}"):
            await registration.reenroll(held, label=label)
    server = await registration.enroll(await registration.credential("tls-server"), csr(new_key()))
    with pytest.raises(NotAuthorizedError, match="tls-server cannot re-enrol tls-server"):
        await registration.reenroll(server)
    assert len(await refusals()) == 5


async def test_a_suspended_or_revoked_certificate_does_not_re_enrol(
    registration: Registration, refusals: Any
) -> None:
    held = await registration.enroll(await registration.credential())
    before = await registration.count()
    await registration.change(held, Action.SUSPEND)
    with pytest.raises(NotAuthorizedError, match="client certificate is suspended"):
        await registration.reenroll(held)
    assert await registration.count() == before
    await registration.change(held, Action.RESTORE)
    await registration.reenroll(held)
    await registration.change(held, Action.REVOKE)
    with pytest.raises(NotAuthorizedError, match="client certificate is revoked"):
        await registration.reenroll(held)
    assert [reason for *_, reason in await refusals()] == [
        "the client certificate is suspended",
        "the client certificate is revoked",
    ]


async def test_an_expired_certificate_does_not_re_enrol(registration: Registration, clock: Any) -> None:
    held = await registration.enroll(await registration.credential())
    clock.moment = x509.load_der_x509_certificate(held).not_valid_after_utc
    await registration.reenroll(held)
    clock.moment += timedelta(seconds=1)
    with pytest.raises(NotAuthorizedError, match="client certificate is expired"):
        await registration.reenroll(held)


def _foreign(core: Core, like: bytes) -> bytes:
    """Return a certificate that says what this one says, signed by somebody of our CA's name."""
    model = x509.load_der_x509_certificate(like)
    builder = x509.CertificateBuilder(
        issuer_name=core.authorities.get("infrastructure").certificate.subject,
        subject_name=model.subject,
        public_key=model.public_key(),
        serial_number=model.serial_number,
        not_valid_before=model.not_valid_before_utc,
        not_valid_after=model.not_valid_after_utc,
        extensions=list(model.extensions),
    )
    return builder.sign(new_key(), SHA256()).public_bytes(Encoding.DER)


async def test_a_certificate_of_others_does_not_re_enrol(registration: Registration, refusals: Any) -> None:
    held = await registration.enroll(await registration.credential())
    with pytest.raises(NotAuthorizedError, match="neither of this CA nor of a trusted issuer"):
        await registration.reenroll(_foreign(registration.core, held))
    assert len(await refusals()) == 1


async def test_a_certificate_that_is_not_on_record_does_not_re_enrol(registration: Registration) -> None:
    held = await registration.enroll(await registration.credential())
    serial = x509.load_der_x509_certificate(held).serial_number.to_bytes(16, "big")
    await registration.core.storage.write(
        lambda tx: tx.execute("DELETE FROM certificates WHERE serial = ?", (serial,))
    )
    with pytest.raises(NotAuthorizedError, match="not on record"):
        await registration.reenroll(held)


async def test_an_authentication_certificate_renews_the_signature_with_its_limit(
    registration: Registration, clock: Any
) -> None:
    await registration.enrolled("citizen-signature", CITIZEN, LIMIT)
    held = await registration.enrolled("citizen-authentication", CITIZEN)
    opens_at = x509.load_der_x509_certificate(held).not_valid_after_utc - WINDOW
    clock.moment = opens_at - timedelta(seconds=1)
    for label in ("citizen-signature", None):
        with pytest.raises(NotAuthorizedError, match="may be renewed from"):
            await registration.reenroll(held, csr(new_key(), CITIZEN, ()), label=label)
    clock.moment = opens_at
    key = new_key()
    renewed = x509.load_der_x509_certificate(
        await registration.reenroll(held, csr(key, CITIZEN, ()), label="citizen-signature")
    )
    usage = renewed.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.content_commitment, usage.digital_signature) == (True, False)
    assert certificate_identity(renewed).limit_mnt == LIMIT
    assert subject_text(renewed.subject) == subject_text(parse_subject(CITIZEN))
    own = x509.load_der_x509_certificate(await registration.reenroll(held, csr(new_key(), CITIZEN, ())))
    usage = own.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.content_commitment, usage.digital_signature) == (False, True)


@pytest.mark.parametrize(
    "action", [None, Action.SUSPEND, Action.REVOKE], ids=["none", "suspended", "revoked"]
)
async def test_no_way_around_a_signature_certificate_that_is_not_good(
    registration: Registration, refusals: Any, action: Action | None
) -> None:
    if action is not None:
        signature = await registration.enrolled("citizen-signature", CITIZEN, LIMIT)
        await registration.change(signature, action)
    held = await registration.enrolled("citizen-authentication", CITIZEN)
    with pytest.raises(NotAuthorizedError, match="no citizen-signature certificate of this holder"):
        await registration.reenroll(held, csr(new_key(), CITIZEN, ()), label="citizen-signature")
    assert len(await refusals()) == 1


async def test_the_signature_certificate_of_another_citizen_is_not_renewed(
    registration: Registration,
) -> None:
    other = CITIZEN.replace("123456789012", "210987654321")
    await registration.enrolled("citizen-signature", other, LIMIT)
    held = await registration.enrolled("citizen-authentication", CITIZEN)
    for subject, error in ((CITIZEN, NotAuthorizedError), (other, RefusedError)):
        with pytest.raises(error):
            await registration.reenroll(held, csr(new_key(), subject, ()), label="citizen-signature")


# Entitlement while others change it


async def _revoke(registration: Registration, der: bytes, reason: CRLReason) -> None:
    certificate = x509.load_der_x509_certificate(der)
    issuer = registration.core.authorities.issuer_of(certificate)
    assert issuer is not None
    changes = StatusChanges(registration.core.storage, registration.core.clock, AsyncMock())
    command = Command(Action.REVOKE, reason=reason)
    await changes.carry_out(issuer.id, certificate.serial_number, command, "registrar:7")


async def test_who_is_revoked_meanwhile_gets_nothing(
    registration: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await registration.enroll(await registration.credential())
    before = await registration.count()
    original = registration.core.issuance._reserve

    async def after_revocation(*arguments: Any) -> Any:
        await _revoke(registration, held, CRLReason.KEY_COMPROMISE)
        return await original(*arguments)

    monkeypatch.setattr(registration.core.issuance, "_reserve", after_revocation)
    with pytest.raises(NotAuthorizedError, match="client certificate is revoked"):
        await registration.reenroll(held, csr(new_key()))
    assert await registration.count() == before
    left = await registration.core.storage.read(issuances.unfinished)
    assert left == []


async def test_a_key_known_as_compromised_speaks_for_nobody(registration: Registration) -> None:
    first = await registration.enroll(await registration.credential())
    sibling = await registration.reenroll(first, csr(registration.key))
    await _revoke(registration, first, CRLReason.KEY_COMPROMISE)
    with pytest.raises(NotAuthorizedError, match="revoked as compromised"):
        await registration.reenroll(sibling, csr(new_key()))


async def test_renewals_are_bounded(registration: Registration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuance_rules, "MAX_RENEWALS_A_DAY", 2)
    held = await registration.enroll(await registration.credential())
    await registration.reenroll(held)
    with pytest.raises(RefusedError, match="within a day"):
        await registration.reenroll(held)


async def test_a_certificate_revoked_before_it_was_taken_is_not_given(registration: Registration) -> None:
    credential = await registration.credential()
    der = await registration.enroll(credential)
    await _revoke(registration, der, CRLReason.SUPERSEDED)
    with pytest.raises(NotAuthenticatedError, match="no use left"):
        await registration.enroll(credential)


async def test_giving_again_is_on_record(registration: Registration, recorded: Any) -> None:
    credential = await registration.credential()
    await registration.enroll(credential)
    await registration.enroll(credential)
    last = (await recorded(registration.core.storage))[-1]
    assert (last["action"], last["actor"]) == (
        "certificate.deliver-again",
        f"credential:{credential.reference}",
    )


async def test_a_signature_key_serves_nothing_else(registration: Registration) -> None:
    key = new_key()
    request = csr(key, CITIZEN, ())
    await registration.enroll(await registration.credential("citizen-signature", CITIZEN, ()), request)
    authentication = await registration.credential("citizen-authentication", CITIZEN, ())
    with pytest.raises(KeyRefusedError, match="in use for citizen-signature"):
        await registration.enroll(authentication, request)
    other = csr(new_key(), CITIZEN, ())
    await registration.enroll(authentication, other)
    signature = await registration.credential("citizen-signature", CITIZEN, ())
    with pytest.raises(KeyRefusedError, match="in use for citizen-authentication"):
        await registration.enroll(signature, other)


async def test_a_revoked_authority_issues_nothing(registration: Registration) -> None:
    credential = await registration.credential()
    await _revoke(
        registration, registration.core.authorities.get("infrastructure").der, CRLReason.CA_COMPROMISE
    )
    with pytest.raises(ConflictError, match="authority infrastructure is revoked"):
        await registration.enroll(credential)
    assert await registration.uses_left(credential) == 1
