"""Renewal by a signed application (regulation 2.9): who may, when, and everything that is refused."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from config.units import Lifetime
from pkiserver.ca.identity import certificate_identity
from pkiserver.core import Core
from pkiserver.errors import ConflictError, NotAuthorizedError, PKIServerError, RefusedError, UnavailableError
from pkiserver.ra.cases.entry import NewCase
from pkiserver.ra.cases.rules import Channel as CaseChannel
from pkiserver.ra.cases.rules import Kind
from pkiserver.ra.lifecycle import Action as CertificateAction
from pkiserver.ra.lifecycle import Command
from pkiserver.ra.registration import renewal_ends
from pkiserver.ra.registration import renewals as module
from pkiserver.ra.registration.applications import NewApplication
from pkiserver.ra.registration.challenges import LIFETIME
from pkiserver.ra.registration.contracts import Event
from pkiserver.ra.registration.form import FormError
from pkiserver.ra.registration.imports import ImportOptions
from pkiserver.ra.registration.offices import OfficeForm
from pkiserver.ra.registration.registry import IdentityProof
from pkiserver.ra.registration.renewals import CREDENTIAL_LIFETIME, Renewal
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from pkiserver.ra.registration.signed_form import MAX_MESSAGE_BYTES, read_signed_form
from pkiserver.ra.requester import Channel, Password, Requester
from pkiserver.ra.status_changes import StatusChanges
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier, Attribute
from protocols.cmp.status import PKIFailureInfo
from protocols.cms.content_info import IssuerAndSerialNumber
from protocols.cms.signed_data import SignedData, SignerInfo
from protocols.cms.signing import signed_attributes
from protocols.errors import BadSignatureError, MalformedError, ProtocolError, TooLargeError
from protocols.x509.certificate import TBSCertificate
from protocols.x509.names import parse_subject, subject_text
from store import applications, certificates
from store.applications import ApplicationRecord
from tests.citizens import FORM as FIELDS
from tests.cmp_messages import BySignature, Client, new_key

SARAA = FIELDS | {"register_number": "УК90061224", "civil_id": "123456789013", "birth_date": "1990-06-12"}
CITIZEN: dict[str, Any] = {
    "register_number": "УБ05231418",
    "civil_id": "123456789012",
    "birth_date": "2005-03-14",
    "parent_name": "БАТ",
    "clan_name": None,
    "given_name": "ДОРЖ",
    "entitled": True,
}
OTHER = CITIZEN | {"register_number": "УК90061224", "civil_id": "123456789013", "birth_date": "1990-06-12"}
NUMBERS = IdentityProof.of("register_numbers", "the reader is broken")
ADMINISTRATOR = Actor("administrator", (Assignment(Role.ADMINISTRATOR),))
WINDOW = timedelta(days=60)
PEER = "192.0.2.7"
Edit = Callable[[SignedData], SignedData]


@dataclass
class Held:
    """A certificate with its key, as a card has it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


@dataclass
class Sheet:
    """What a test signs, as it likes."""

    held: Held
    signed_at: datetime
    values: dict[str, Any]
    content: bytes | None = None
    extra: tuple[Attribute, ...] = ()
    edit: Edit = field(default=lambda signed: signed)

    def signed(self) -> bytes:
        content = self.content if self.content is not None else json.dumps(self.values).encode()
        attributes = signed_attributes(
            oid.PKCS7_DATA, content, digest_algorithm=oid.SHA256, signing_time=self.signed_at
        )
        reader = der.Reader(attributes)
        parsed = (
            der.repeated(reader.enter(der.SET), Attribute.parse, at_most=9, what="attributes") + self.extra
        )
        octets = der.set_of(one.encode() for one in parsed)
        tbs = TBSCertificate.of_certificate(self.held.der)
        info = SignerInfo(
            IssuerAndSerialNumber(tbs.issuer_der, tbs.serial_number),
            AlgorithmIdentifier(oid.SHA256),
            parsed,
            octets,
            AlgorithmIdentifier(oid.ECDSA_WITH_SHA256),
            self.held.key.sign(octets, ec.ECDSA(hashes.SHA256())),
        )
        signed = SignedData(oid.PKCS7_DATA, content, (self.held.der,), (info,))
        return self.edit(signed).to_content_info().encode()


@dataclass
class Desk:
    core: Core
    clock: Any
    registrar: Actor

    def registry_has(self, *citizens: dict[str, Any]) -> None:
        self.core.home.civil_registry.write_text("".join(json.dumps(one) + "\n" for one in citizens))

    async def issued(self, profile: str = "citizen-signature", fields: dict[str, Any] = FIELDS) -> Held:
        """Have somebody apply at the office, and enrol."""
        services = self.core.registration
        made = await services.applications.draft(
            self.registrar, NewApplication("ub-1", fields, profile=profile)
        )
        verified = await services.applications.verify(self.registrar, made.id, made.version, NUMBERS)
        new = await services.issuing.begin(self.registrar, made.id, verified.version)
        return await self.enrolled(new.reference, new.secret)

    async def enrolled(self, reference: str, secret: str) -> Held:
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(parse_subject("CN=x"))
        octets = request.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
        who = Requester(PEER, Channel("TLS 1.3"), Password(reference, secret), None)
        return Held(x509.load_der_x509_certificate(await self.core.enrollment.enroll(octets, who, None)), key)

    def sheet(self, held: Held, **changes: Any) -> Sheet:
        values = {
            "type": "renewal",
            "challenge": self.core.renewals.challenge(PEER).text,
            "profile": "citizen-signature",
            "carrier": "id_card",
            "use": "est",
            "form": FIELDS,
        }
        return Sheet(held, self.clock.now(), values | changes)

    async def apply(self, message: bytes) -> Renewal:
        return await self.core.renewals.apply(message, PEER)

    async def record(self, application: int) -> ApplicationRecord:
        found = await self.core.storage.read(lambda tx: applications.get(tx, application))
        assert found is not None
        return found

    async def change(self, held: Held, action: CertificateAction) -> None:
        async def nobody(_sequence: int) -> None:
            return None

        authority = self.core.authorities.issuer_of(held.certificate)
        assert authority is not None
        changes = StatusChanges(self.core.storage, self.core.clock, nobody)
        await changes.carry_out(authority.id, held.certificate.serial_number, Command(action), "registrar-1")

    async def simple_reenroll(self, held: Held, label: str | None = None) -> bytes:
        """Renew over EST as the holder of a certificate does."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateSigningRequestBuilder().subject_name(held.certificate.subject)
        octets = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
        return await self.core.enrollment.reenroll(
            octets, Requester(PEER, Channel("TLS 1.3"), None, held.der), label
        )

    def into_window(self, held: Held, margin: timedelta = timedelta(days=1)) -> None:
        self.clock.moment = held.certificate.not_valid_after_utc - WINDOW + margin


@pytest.fixture
async def desk(core: Core, clock: Any) -> Desk:
    office = await core.registration.offices.add(ADMINISTRATOR, "ub-1", OfficeForm("Сүхбаатар дүүрэг"))
    made = Desk(core, clock, Actor("registrar-1", (Assignment(Role.REGISTRAR, office=office.id),)))
    made.registry_has(CITIZEN, OTHER)
    return made


async def test_regulation_2_9_with_the_certificate_itself_in_the_window(desk: Desk, recorded: Any) -> None:
    held = await desk.issued()
    desk.into_window(held, -timedelta(seconds=1))
    with pytest.raises(NotAuthorizedError, match="may be renewed from"):
        await desk.apply(desk.sheet(held).signed())
    desk.into_window(held, timedelta(0))
    form = FIELDS | {"phone": "88112233", "limit_mnt": 7_000_000}
    given = await desk.apply(desk.sheet(held, form=form).signed())
    record = await desk.record(given.application)
    assert (record.state, record.proof, record.channel, record.office) == (
        "issuing",
        "own_signature",
        "online",
        None,
    )
    assert given.expires_at == desk.clock.now() + CREDENTIAL_LIFETIME
    renewed = await desk.enrolled(given.reference, given.secret)
    assert renewed.certificate.subject == held.certificate.subject
    assert certificate_identity(renewed.certificate).limit_mnt == 7_000_000
    assert renewed.certificate.not_valid_after_utc > held.certificate.not_valid_after_utc
    record = await desk.record(given.application)
    assert (record.state, record.serial) == ("issued", renewed.certificate.serial_number)
    auditor = Actor("auditor-1", (Assignment(Role.AUDITOR),))
    shown = await desk.core.registration.people.show(auditor, record.person or 0)
    assert shown.data["phone"] == "+97688112233"
    events = [
        one["action"] for one in await recorded(desk.core.storage) if one.get("application") == record.id
    ]
    assert events == [
        f"application.{one}" for one in ("apply", "verify", "begin_issuing", "certificate_issued")
    ]
    # The renewed one is no reason to renew again.
    with pytest.raises(NotAuthorizedError, match="may be renewed from"):
        await desk.apply(desk.sheet(held).signed())


async def test_regulation_2_9_afterwards_with_another_valid_certificate(desk: Desk) -> None:
    profiles = desk.core.profiles
    assert isinstance(profiles, dict)  # the authority lives for ten years: two lives of five do not fit in
    short = profiles["citizen-signature"].model_copy(update={"lifetime": Lifetime.parse("1y")})
    profiles["citizen-signature"] = short
    signature = await desk.issued()
    desk.clock.moment = signature.certificate.not_valid_after_utc - timedelta(days=200)
    other = await desk.issued("citizen-authentication")
    desk.clock.moment = signature.certificate.not_valid_after_utc + timedelta(days=90)
    with pytest.raises(NotAuthorizedError, match="expired"):
        await desk.apply(desk.sheet(signature).signed())
    given = await desk.apply(desk.sheet(other).signed())
    renewed = await desk.enrolled(given.reference, given.secret)
    assert subject_text(renewed.certificate.subject) == subject_text(signature.certificate.subject)


async def test_regulation_2_1_the_first_issue_is_never_remote(desk: Desk) -> None:
    other = await desk.issued("citizen-authentication")
    with pytest.raises(NotAuthorizedError, match="no citizen-signature certificate"):
        await desk.apply(desk.sheet(other).signed())


async def test_a_message_counts_once(desk: Desk) -> None:
    held = await desk.issued()
    desk.into_window(held)
    message = desk.sheet(held).signed()
    first = await desk.apply(message)
    with pytest.raises(ConflictError, match="taken already"):
        await desk.apply(message)
    # Its credential is the only one that enrols: the one of the replay is cancelled.
    usable = await desk.core.storage.read(
        lambda tx: tx.all("SELECT reference FROM credentials WHERE cancelled_at IS NULL AND uses_left > 0")
    )
    assert usable == [(first.reference,)]


async def test_one_renewal_is_open_at_a_time(desk: Desk) -> None:
    held = await desk.issued()
    desk.into_window(held)
    lost = await desk.apply(desk.sheet(held).signed())
    again = await desk.apply(desk.sheet(held).signed())
    assert (await desk.record(lost.application)).state == "withdrawn"
    with pytest.raises(PKIServerError):
        await desk.enrolled(lost.reference, lost.secret)
    await desk.enrolled(again.reference, again.secret)
    assert (await desk.record(again.application)).state == "issued"


async def test_regulation_2_9_a_renewal_ends_by_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal_ends, "BATCH", 1)
    held, _ = await desk.issued(), await desk.issued("citizen-authentication")
    desk.into_window(held)
    enrolled = await desk.apply(desk.sheet(held).signed())
    forgotten = await desk.apply(desk.sheet(held, profile="citizen-authentication").signed())
    await desk.enrolled(enrolled.reference, enrolled.secret)
    desk.clock.moment += CREDENTIAL_LIFETIME - timedelta(seconds=1)
    ends = desk.core.registration.renewal_ends
    assert await ends.end_due() == 0
    desk.clock.moment += timedelta(seconds=1)
    assert await ends.end_due() == 2
    assert await ends.end_due() == 0
    for renewal, state, event in (
        (enrolled, "closed", "settle"),
        (forgotten, "withdrawn", "withdraw"),
    ):
        assert (await desk.record(renewal.application)).state == state
        look = partial(applications.events, application=renewal.application)
        (*_, last) = await desk.core.storage.read(look)
        assert (last.event, last.actor) == (event, "registration")
    offices = await desk.core.storage.read(lambda tx: applications.newest(tx, applications.Search(), 10))
    assert [one.state for one in offices if one.channel != "online"] == ["issued"] * 2  # an office sees to it


async def test_renewals_of_a_day_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_A_DAY", 2)
    held = await desk.issued()
    desk.into_window(held)
    for _ in range(2):
        await desk.apply(desk.sheet(held).signed())
    with pytest.raises(ConflictError, match="within a day"):
        await desk.apply(desk.sheet(held).signed())
    desk.clock.moment += timedelta(days=1)
    await desk.apply(desk.sheet(held).signed())


@pytest.mark.parametrize(
    ("action", "why"), [(CertificateAction.SUSPEND, "suspended"), (CertificateAction.REVOKE, "revoked")]
)
async def test_a_certificate_that_is_not_good_signs_nothing(
    desk: Desk, action: CertificateAction, why: str, recorded: Any
) -> None:
    held = await desk.issued()
    other = await desk.issued("citizen-authentication")
    desk.into_window(held)
    await desk.change(held, action)
    with pytest.raises(NotAuthorizedError, match=why):
        await desk.apply(desk.sheet(held).signed())
    # Nor is it renewed by another certificate.
    with pytest.raises(NotAuthorizedError, match="could be renewed"):
        await desk.apply(desk.sheet(other).signed())
    refusals = [one for one in await recorded(desk.core.storage) if one["action"] == "renewal.apply"]
    assert [one["outcome"] for one in refusals] == ["refused", "refused"]


async def test_a_revocation_meanwhile_counts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    held = await desk.issued()
    desk.into_window(held)
    create = desk.core.credentials.create

    async def revoked_meanwhile(**given: Any) -> Any:
        await desk.change(held, CertificateAction.REVOKE)
        return await create(**given)

    monkeypatch.setattr(desk.core.credentials, "create", revoked_meanwhile)
    with pytest.raises(NotAuthorizedError, match="revoked"):
        await desk.apply(desk.sheet(held).signed())
    usable = await desk.core.storage.read(
        lambda tx: tx.all("SELECT 1 FROM credentials WHERE cancelled_at IS NULL AND uses_left > 0")
    )
    assert usable == []


@pytest.mark.parametrize("action", [CertificateAction.SUSPEND, CertificateAction.REVOKE])
async def test_a_certificate_that_ends_before_the_new_one_is_enrolled_takes_it_along(
    desk: Desk, action: CertificateAction
) -> None:
    """Whoever stole a card signs and waits; its holder reports the loss; the credential is worth nothing."""
    held = await desk.issued()
    desk.into_window(held)
    new = await desk.apply(desk.sheet(held).signed())
    await desk.change(held, action)
    with pytest.raises(NotAuthorizedError, match="signed"):
        await desk.enrolled(new.reference, new.secret)
    assert (await desk.record(new.application)).state == "issuing"


@pytest.mark.parametrize(
    ("citizen", "error"),
    [
        (CITIZEN | {"entitled": False}, NotAuthorizedError),
        (CITIZEN | {"given_name": "Болд"}, NotAuthorizedError),
        (None, NotAuthorizedError),
    ],
    ids=["dead", "renamed", "unknown"],
)
async def test_who_is_dead_or_renamed_renews_nothing_by_whichever_way(
    desk: Desk, citizen: dict[str, Any] | None, error: type[Exception]
) -> None:
    held = await desk.issued()
    other = await desk.issued("citizen-authentication")
    desk.into_window(other)
    desk.registry_has(*([citizen] if citizen else []), OTHER)
    with pytest.raises(error):
        await desk.apply(desk.sheet(held).signed())
    for label in (None, "citizen-signature"):
        with pytest.raises(error):
            await desk.simple_reenroll(other, label)
    desk.registry_has(CITIZEN)
    assert await desk.simple_reenroll(other, "citizen-signature")


async def test_a_silent_registry_lets_nobody_renew(desk: Desk) -> None:
    held = await desk.issued()
    other = await desk.issued("citizen-authentication")
    desk.into_window(other)
    desk.core.home.civil_registry.unlink()
    with pytest.raises(UnavailableError):
        await desk.apply(desk.sheet(held).signed())
    with pytest.raises(UnavailableError):
        await desk.simple_reenroll(other)


async def test_who_took_another_name_renews_nothing(desk: Desk) -> None:
    """A later application with the new name is on record, and so is the name in the registry."""
    held = await desk.issued()
    other = await desk.issued("citizen-authentication")
    renamed = CITIZEN | {"given_name": "Болд"}
    desk.registry_has(renamed)
    made = await desk.core.registration.applications.draft(
        desk.registrar, NewApplication("ub-1", FIELDS | {"given_name": "Болд"})
    )
    await desk.core.registration.applications.verify(desk.registrar, made.id, made.version, NUMBERS)
    desk.into_window(other)
    for fields in (FIELDS, FIELDS | {"given_name": "Болд"}):
        with pytest.raises(NotAuthorizedError, match="another name"):
            await desk.apply(desk.sheet(held, form=fields).signed())
    with pytest.raises(NotAuthorizedError, match="another name"):
        await desk.simple_reenroll(other)


async def test_who_is_erased_renews_nothing(desk: Desk) -> None:
    held = await desk.issued()
    other = await desk.issued("citizen-authentication")
    desk.into_window(other)
    # What erasing does to the rows; that nothing is erased so early is another test's matter.
    await desk.core.storage.write(
        lambda tx: (
            tx.execute("DELETE FROM personal_data"),
            tx.execute(
                "UPDATE people SET parent_name = NULL, given_name = NULL, name_key = NULL,"
                " full_name_key = NULL, erased_at = 1"
            ),
        )
    )
    with pytest.raises(NotAuthorizedError, match="on record no more"):
        await desk.apply(desk.sheet(held).signed())
    with pytest.raises(NotAuthorizedError, match="on record no more"):
        await desk.simple_reenroll(other)


async def test_a_holder_suspends_a_certificate_that_was_renewed_over_est(desk: Desk) -> None:
    """It came of no application of its own; the case is still the holder's, who is told of it."""
    other = await desk.issued("citizen-authentication")
    desk.into_window(other)
    first = x509.load_der_x509_certificate(await desk.simple_reenroll(other))
    holder = await desk.core.storage.read(
        lambda tx: applications.of_certificate(tx, 2, other.certificate.serial_number)
    )
    assert holder is not None
    kiosk = Actor("kiosk-1", (Assignment(Role.SERVICE),), on_behalf_of=holder.person)
    asked = NewCase(2, first.serial_number, Kind.SUSPEND, CaseChannel.SELF_SERVICE, "holder_request")
    case = await desk.core.registration.cases.receive(kiosk, asked)
    assert (case.person, case.state) == (holder.person, "granted")


async def test_a_certificate_renewed_over_est_is_still_of_its_holder(desk: Desk) -> None:
    """The new certificate came of no application of its own; who holds it is known by the subject."""
    other = await desk.issued("citizen-authentication")
    desk.into_window(other)
    first = x509.load_der_x509_certificate(await desk.simple_reenroll(other))
    desk.clock.moment = first.not_valid_after_utc - timedelta(days=1)
    desk.registry_has(OTHER)
    record = await desk.core.storage.read(
        lambda tx: certificates.newest_of_subject(tx, 2, "citizen-authentication", _subject(other))
    )
    assert record is not None
    with pytest.raises(NotAuthorizedError, match="living citizen"):
        await desk.core.registration.renewal_rules.require(
            record, desk.core.profiles["citizen-authentication"]
        )


def _subject(held: Held) -> str:
    return subject_text(held.certificate.subject)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"given_name": "Болд"}, ["given_name"]),
        ({"register_number": "УБ05231419"}, ["register_number"]),
        ({"birth_date": "2005-03-15"}, ["birth_date"]),
        ({"phone": "1"}, ["phone"]),
        ({"more": "1"}, ["more"]),
    ],
)
async def test_regulation_2_10_what_differs_is_named(
    desk: Desk, changes: dict[str, Any], fields: list[str]
) -> None:
    held = await desk.issued()
    desk.into_window(held)
    with pytest.raises(FormError) as caught:
        await desk.apply(desk.sheet(held, form=FIELDS | changes).signed())
    assert [fault.field for fault in caught.value.faults] == fields


async def test_nobody_signs_for_another(desk: Desk) -> None:
    held = await desk.issued()
    stranger = await desk.issued(fields=SARAA)
    desk.into_window(held)
    with pytest.raises(NotAuthorizedError, match="another person's"):
        await desk.apply(desk.sheet(stranger).signed())
    # A certificate of somebody else beside the own signature; the signer then names it.
    mixed = Held(stranger.certificate, held.key)
    with pytest.raises(BadSignatureError):
        await desk.apply(desk.sheet(mixed).signed())


async def test_only_certificates_of_ours_and_of_citizens(desk: Desk) -> None:
    held = await desk.issued()
    desk.into_window(held)
    authority = ec.generate_private_key(ec.SECP256R1())
    forged = (
        x509.CertificateBuilder()
        .subject_name(held.certificate.subject)
        .issuer_name(held.certificate.issuer)
        .public_key(held.key.public_key())
        .serial_number(held.certificate.serial_number)
        .not_valid_before(held.certificate.not_valid_before_utc)
        .not_valid_after(held.certificate.not_valid_after_utc)
        .add_extension(
            held.certificate.extensions.get_extension_for_class(x509.KeyUsage).value, critical=True
        )
        .sign(authority, hashes.SHA256())
    )
    with pytest.raises(NotAuthorizedError):
        await desk.apply(desk.sheet(Held(forged, held.key)).signed())
    new = await desk.core.credentials.create(
        profile="device",
        subject="CN=gate-1,serialNumber=PNOMN-123456789012",
        san=("dns:gate-1.example.mn",),
        limit_mnt=None,
        uses=1,
        lifetime=None,
        actor="test",
    )
    device = await desk.enrolled(new.reference, new.secret)
    with pytest.raises(NotAuthorizedError, match=r"expired|not a citizen's"):
        await desk.apply(desk.sheet(device).signed())


async def test_challenges(desk: Desk) -> None:
    held = await desk.issued()
    desk.into_window(held)
    sheet = desk.sheet(held)
    text = sheet.values["challenge"]
    flipped = ("B" if text[0] == "A" else "A") + text[1:]
    for challenge, error in (
        (flipped, NotAuthorizedError),
        ("*" * len(text), NotAuthorizedError),
        ("ы" * len(text), NotAuthorizedError),
        (text[:-1], RefusedError),
        ("", RefusedError),
    ):
        with pytest.raises(error):
            await desk.apply(desk.sheet(held, challenge=challenge).signed())
    desk.clock.moment += LIFETIME + timedelta(seconds=1)
    with pytest.raises(NotAuthorizedError, match="run out"):
        await desk.apply(replace(sheet, signed_at=desk.clock.now()).signed())


@pytest.mark.parametrize("shift", [timedelta(minutes=-6), timedelta(minutes=6), timedelta(days=-400)])
async def test_signing_time_is_of_now(desk: Desk, shift: timedelta) -> None:
    held = await desk.issued()
    desk.into_window(held)
    sheet = desk.sheet(held)
    with pytest.raises(NotAuthorizedError, match="signingTime"):
        await desk.apply(replace(sheet, signed_at=sheet.signed_at + shift).signed())


def ess(certificate: bytes, *, algorithm: bytes = b"") -> Attribute:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(certificate)
    named = der.sequence(algorithm, der.octet_string(digest.finalize()))
    return Attribute(oid.AA_SIGNING_CERTIFICATE_V2, (der.sequence(der.sequence(named)),))


async def test_ess_signing_certificate_v2(desk: Desk) -> None:
    held = await desk.issued()
    stranger = await desk.issued(fields=SARAA)
    desk.into_window(held)
    sha256 = AlgorithmIdentifier(oid.SHA256).encode()
    sha1 = AlgorithmIdentifier(oid.SHA1).encode()
    for bad, error in (
        (ess(stranger.der), BadSignatureError),
        (ess(held.der, algorithm=sha1), BadSignatureError),
        (Attribute(oid.AA_SIGNING_CERTIFICATE_V2, (der.sequence(der.sequence()),)), MalformedError),
        (Attribute(oid.AA_SIGNING_CERTIFICATE_V2, (der.integer(1),)), MalformedError),
    ):
        with pytest.raises(error):
            await desk.apply(replace(desk.sheet(held), extra=(bad,)).signed())
    for good in (ess(held.der), ess(held.der, algorithm=sha256)):
        await desk.apply(replace(desk.sheet(held), extra=(good,)).signed())


def first(signed: SignedData, **changes: Any) -> SignedData:
    return replace(signed, signer_infos=(replace(signed.signer_infos[0], **changes),))


EDITS: dict[str, tuple[Edit, type[Exception]]] = {
    "other content": (lambda one: replace(one, content=b"{}"), BadSignatureError),
    "detached": (lambda one: replace(one, content=None), BadSignatureError),
    "other type": (lambda one: replace(one, content_type=oid.PKCS7_SIGNED_DATA), BadSignatureError),
    "no signer": (lambda one: replace(one, signer_infos=()), RefusedError),
    "two signers": (lambda one: replace(one, signer_infos=one.signer_infos * 2), RefusedError),
    "no certificate": (lambda one: replace(one, certificates=()), BadSignatureError),
    "SHA-1 digest": (
        lambda one: first(one, digest_algorithm=AlgorithmIdentifier(oid.SHA1)),
        BadSignatureError,
    ),
    "SHA-1 signature": (
        lambda one: first(one, signature_algorithm=AlgorithmIdentifier(oid.ECDSA_WITH_SHA1)),
        BadSignatureError,
    ),
    "no attributes": (lambda one: first(one, signed_attributes=(), signed_octets=b""), BadSignatureError),
    "other signature": (lambda one: first(one, signature=bytes(70)), BadSignatureError),
}


@pytest.mark.parametrize("name", EDITS)
async def test_messages_that_prove_nothing(desk: Desk, name: str) -> None:
    held = await desk.issued()
    desk.into_window(held)
    edit, error = EDITS[name]
    with pytest.raises(error):
        await desk.apply(replace(desk.sheet(held), edit=edit).signed())


async def test_signing_time_must_be_there(desk: Desk) -> None:
    held = await desk.issued()
    desk.into_window(held)

    def without(signed: SignedData) -> SignedData:
        info = signed.signer_infos[0]
        kept = tuple(one for one in info.signed_attributes if one.attr_type != oid.SIGNING_TIME)
        octets = der.set_of(one.encode() for one in kept)
        signature = held.key.sign(octets, ec.ECDSA(hashes.SHA256()))
        return first(signed, signed_attributes=kept, signed_octets=octets, signature=signature)

    with pytest.raises(MalformedError, match="signingTime"):
        await desk.apply(replace(desk.sheet(held), edit=without).signed())


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", MalformedError),
        (b"[]", MalformedError),
        (b"\xff", MalformedError),
        (b'{"type": "renewal", "type": "renewal"}', MalformedError),
        (b'{"type": NaN}', MalformedError),
        (b"[" * 8000, MalformedError),
        (b"{}", RefusedError),
        (b" " * 8193, TooLargeError),
    ],
)
async def test_what_is_no_application(desk: Desk, content: bytes, error: type[Exception]) -> None:
    held = await desk.issued()
    with pytest.raises(error):
        await desk.apply(replace(desk.sheet(held), content=content).signed())


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "revocation"},
        {"profile": "government-token"},
        {"carrier": "paper"},
        {"use": "scep"},
        {"form": []},
        {"form": "x"},
        {"more": "x"},
        {"use": 1},
    ],
)
async def test_what_an_application_must_say(desk: Desk, changes: dict[str, Any]) -> None:
    held = await desk.issued()
    desk.into_window(held)
    with pytest.raises(RefusedError):
        await desk.apply(desk.sheet(held, **changes).signed())


async def test_huge_messages_are_not_read(desk: Desk) -> None:
    with pytest.raises(TooLargeError):
        await desk.apply(bytes(MAX_MESSAGE_BYTES + 1))


async def test_an_address_has_its_share_of_refusals(desk: Desk) -> None:
    for _ in range(30):
        with pytest.raises(MalformedError):
            await desk.apply(b"x")
    with pytest.raises(UnavailableError):
        await desk.apply(b"x")


async def test_what_was_signed_is_kept_and_read_by_nobody_without_the_key(desk: Desk) -> None:
    held = await desk.issued()
    desk.into_window(held)
    message = desk.sheet(held).signed()
    given = await desk.apply(message)
    rows = await desk.core.storage.read(
        lambda tx: tx.all(
            "SELECT sealed FROM personal_data WHERE subject = 'applications' AND row = ? AND field ="
            " 'signed_application'",
            (given.application,),
        )
    )
    assert len(rows) == 1
    assert b"challenge" not in rows[0][0]


async def test_by_cmp(desk: Desk) -> None:
    held = await desk.issued()
    desk.into_window(held)
    given = await desk.apply(desk.sheet(held, use="cmp").signed())
    found = await desk.core.storage.read(
        lambda tx: tx.one(
            "SELECT sealed_secret IS NOT NULL FROM credentials WHERE reference = ?", (given.reference,)
        )
    )
    assert found == (1,)


@pytest.mark.parametrize(
    ("into_window", "citizen", "renews"),
    [(False, CITIZEN, False), (True, CITIZEN | {"entitled": False}, False), (True, CITIZEN, True)],
    ids=["too early", "dead", "good"],
)
async def test_a_key_update_over_cmp_keeps_to_the_same(
    desk: Desk, into_window: bool, citizen: dict[str, Any], renews: bool
) -> None:
    held = await desk.issued("citizen-authentication")
    if into_window:
        desk.into_window(held)
    desk.registry_has(citizen)
    answer = await Client(desk.core, BySignature(held.key, held.der)).kur(new_key())
    assert (answer.failure is None) is renews, answer
    if not renews:
        assert answer.failure == PKIFailureInfo.NOT_AUTHORIZED


class TestOfficers:
    """A government token is renewed by who is in office still, in the same position."""

    NUMBER = "1234567"
    LIST = (
        "parent_name,given_name,register_number,civil_id,work_mail,phone,position,unit\n"
        "Бат,Дорж,УБ05231418,123456789012,dorj@tax.gov.mn,99112233,Мэргэжилтэн,Аудит"
    )
    SPECIALIST = Actor("specialist-1", (Assignment(Role.SPECIALIST),))

    async def held(self, desk: Desk) -> tuple[Held, ApplicationRecord]:
        services = desk.core.registration
        record = await services.organizations.register("public", self.NUMBER, "Татвар", "info@tax.gov.mn")
        for event in (Event.SEND_CONTRACT, Event.SIGN_CONTRACT):
            record = await services.organizations.move(
                self.SPECIALIST, self.NUMBER, event, record.version, "letter 12"
            )
        await services.organizations.set_domains(self.SPECIALIST, self.NUMBER, ("gov.mn",))
        report = await services.imports.run(self.SPECIALIST, self.NUMBER, self.LIST.encode(), ImportOptions())
        made = await desk.record(report.rows[0].application or 0)
        verified = await services.applications.verify(self.SPECIALIST, made.id, made.version, NUMBERS)
        new = await services.issuing.begin(self.SPECIALIST, made.id, verified.version)
        held = await desk.enrolled(new.reference, new.secret)
        desk.into_window(held)
        return held, await desk.record(made.id)

    async def renew(self, desk: Desk, held: Held) -> bytes:
        builder = x509.CertificateSigningRequestBuilder().subject_name(held.certificate.subject)
        san = held.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        request = builder.add_extension(san, critical=False).sign(
            ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()
        )
        who = Requester(PEER, Channel("TLS 1.3"), None, held.der)
        return await desk.core.enrollment.reenroll(request.public_bytes(Encoding.DER), who, None)

    async def test_in_office(self, desk: Desk) -> None:
        held, _ = await self.held(desk)
        assert await self.renew(desk, held)

    async def test_another_position(self, desk: Desk) -> None:
        held, record = await self.held(desk)
        await desk.core.registration.officers.change_position(
            self.SPECIALIST, self.NUMBER, record.officer or 0, "Дарга", "Аудит", "order 2"
        )
        with pytest.raises(NotAuthorizedError, match="another position"):
            await self.renew(desk, held)

    async def test_left(self, desk: Desk) -> None:
        held, record = await self.held(desk)
        await desk.core.registration.officers.remove(self.SPECIALIST, self.NUMBER, record.officer or 0)
        with pytest.raises(NotAuthorizedError, match="is revoked"):
            await self.renew(desk, held)

    async def test_without_a_contract(self, desk: Desk) -> None:
        held, _ = await self.held(desk)
        await desk.core.registration.organizations.move(
            self.SPECIALIST, self.NUMBER, Event.END, 3, "letter 13"
        )
        with pytest.raises(NotAuthorizedError, match="no contract"):
            await self.renew(desk, held)

    async def test_a_token_signs_no_citizens_application(self, desk: Desk) -> None:
        await desk.issued()
        held, _ = await self.held(desk)
        with pytest.raises(NotAuthorizedError, match="not a citizen's"):
            await desk.apply(desk.sheet(held).signed())


@given(st.binary(max_size=200))
def test_any_octets_raise_only_our_errors(octets: bytes) -> None:
    with pytest.raises((ProtocolError, PKIServerError)):
        read_signed_form(octets)
