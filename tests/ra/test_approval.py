"""Enrolments that await approval, and registration clients, with the real store and signer."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from test_enrollment import Registration, csr, new_key

from pkiserver.ca import issuance as issuance_module
from pkiserver.core import Core, open_core
from pkiserver.errors import (
    ChallengeError,
    ConflictError,
    KeyRefusedError,
    NotAuthenticatedError,
    NotAuthorizedError,
    NotFoundError,
    PendingError,
    PKIServerError,
    RefusedError,
    UnavailableError,
)
from pkiserver.home import Home
from pkiserver.progress import silent
from pkiserver.ra.lifecycle import Action
from pkiserver.ra.requester import Channel
from protocols.x509.certificate import serial_text
from protocols.x509.names import parse_subject, subject_text
from store import issuances

GATE = """
description = "A gate, whose enrolment somebody approves"
issuer = "infrastructure"
lifetime = "90d"
keys = ["ec:P-256"]
key_usage = ["digitalSignature"]
extended_key_usage = ["clientAuth"]
approval = true
{more}
[[subject]]
attribute = "countryName"
source = "fixed"
value = "MN"
[[subject]]
attribute = "commonName"
source = "credential"
[[subject]]
attribute = "organizationalUnitName"
source = "request"
required = false
[[san]]
kind = "dns"
source = "request"
max = 3
[[policies]]
oid = "1.3.6.1.4.1.32473.2.1"
"""
SUBJECT = "CN=gate-1"
WHOLE = "CN=gate-1,C=MN"
SAN = ("dns:a.example.mn", "dns:b.example.mn")


@pytest.fixture
def home(initialised_home: Path, tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    shutil.copytree(initialised_home, home.path)
    home.profiles.mkdir(exist_ok=True)
    (home.profiles / "gate.toml").write_text(GATE.format(more=""))
    (home.profiles / "linked.toml").write_text(GATE.format(more='pop_linking = "required"'))
    text = home.configuration.read_text()
    for old, new in (
        ('lifetime = "7d"', 'lifetime = "3d"'),
        ("max_waiting = 10000", "max_waiting = 5"),
        ("max_waiting_per_requester = 16", "max_waiting_per_requester = 2"),
        ("max_waiting_per_registration_client = 1000", "max_waiting_per_registration_client = 4"),
    ):
        assert f"\n{old}\n" in text
        text = text.replace(f"\n{old}\n", f"\n{new}\n")
    home.configuration.write_text(text)
    return home


@pytest.fixture
async def core(home: Home, clock: Any) -> AsyncIterator[Core]:
    async with open_core(home, clock) as opened:
        yield opened


class Office(Registration):
    """A registration with people who decide."""

    async def gate(self, **more: Any) -> Any:
        return await self.credential("gate", SUBJECT, (), **more)

    async def command(self, command: str, /, *, by: str = "user:registrar", **arguments: Any) -> Any:
        return await self.core.commands.run(command, arguments, by, silent)

    async def waiting(self) -> list[int]:
        rows = await self.command("enrollment.list", state="waiting", limit=100)
        return [row["enrollment"] for row in rows]

    async def approve(self, number: int = 1) -> Any:
        return await self.command("enrollment.approve", enrollment=number)

    async def refuse(self, number: int = 1, reason: str = "there is no such gate") -> Any:
        return await self.command("enrollment.refuse", enrollment=number, reason=reason)

    async def state(self, number: int = 1) -> str:
        return str((await self.command("enrollment.show", enrollment=number))["state"])

    async def is_told_to_wait(self, credential: Any, request: bytes | None = None, **more: Any) -> None:
        with pytest.raises(PendingError) as caught:
            await self.enroll(credential, request, **more)
        assert caught.value.retry_after == timedelta(minutes=10)

    async def approved(self, credential: Any, request: bytes | None = None, **more: Any) -> bytes:
        """Return a certificate that was waited for."""
        await self.is_told_to_wait(credential, request, **more)
        await self.approve((await self.waiting())[-1])
        return await self.enroll(credential, request, **more)

    async def delivered(self, certificate: bytes) -> None:
        await self.core.enrollment.delivered(certificate)
        await self.core.storage.write(lambda _: None)  # the note goes with the next commit


@pytest.fixture
async def office(core: Core) -> Office:
    return Office(core)


def gate_csr(key: ec.EllipticCurvePrivateKey, unit: str = "", san: tuple[str, ...] = SAN) -> bytes:
    return csr(key, f"OU={unit}" if unit else "CN=whoever", san)


# Asking, waiting, getting


async def test_rfc7030_4_2_3_a_request_waits_until_it_is_approved(office: Office, recorded: Any) -> None:
    credential = await office.gate()
    for _ in range(3):
        await office.is_told_to_wait(credential)
    before = await office.count()
    assert await office.waiting() == [1]
    approved = await office.approve()
    assert (approved["state"], approved["decided_by"]) == ("approved", "user:registrar")
    assert await office.count() == before  # nothing is made for who does not come
    certificate = x509.load_der_x509_certificate(await office.enroll(credential))
    assert subject_text(certificate.subject) == WHOLE
    assert certificate.public_key() == office.key.public_key()
    shown = await office.command("enrollment.show", enrollment=1)
    assert (shown["state"], shown["serial"]) == ("issued", serial_text(certificate.serial_number))
    asked = [one for one in await recorded(office.core.storage) if "enrollment" in one]
    actor = f"credential:{credential.reference}"
    assert [(one["actor"], one["action"]) for one in asked] == [
        (actor, "enrollment.request"),
        ("user:registrar", "enrollment.approve"),
        (actor, "certificate.sign"),
    ]
    assert asked[0]["personal"]["subject"] == WHOLE
    assert not [one for one in await recorded(office.core.storage) if one["outcome"] == "refused"]


async def test_rfc7030_4_2_3_it_may_be_signed_anew(office: Office) -> None:
    """The same key and identity: signature, order of names and what the profile ignores do not count."""
    credential = await office.gate()
    first, again = gate_csr(office.key), csr(office.key, "CN=other", SAN[::-1])
    assert first != again
    await office.is_told_to_wait(credential, first)
    await office.is_told_to_wait(credential, again)
    await office.approve()
    assert await office.enroll(credential, again)
    assert await office.state() == "issued"


@pytest.mark.parametrize("what", ["key", "subject", "names"])
async def test_another_key_or_identity_is_another_enrolment(office: Office, what: str) -> None:
    credential = await office.gate()
    await office.is_told_to_wait(credential, gate_csr(office.key))
    await office.approve()
    other = {
        "key": gate_csr(new_key()),
        "subject": gate_csr(office.key, unit="North"),
        "names": gate_csr(office.key, san=SAN[:1]),
    }[what]
    await office.is_told_to_wait(credential, other)
    assert await office.waiting() == [2]


async def test_somebody_else_s_approval_is_of_no_use(office: Office) -> None:
    one, other = await office.gate(), await office.gate()
    await office.is_told_to_wait(one)
    await office.approve()
    await office.is_told_to_wait(other)
    assert await office.waiting() == [2]


async def test_one_approval_makes_one_certificate_until_it_is_taken(office: Office, recorded: Any) -> None:
    credential = await office.gate(uses=5)
    first = await office.approved(credential)
    assert await office.enroll(credential) == first  # the connection broke
    assert await office.uses_left(credential) == 4
    log = await recorded(office.core.storage)
    assert [one["action"] for one in log][-1] == "certificate.deliver-again"
    await office.delivered(first)
    await office.is_told_to_wait(credential)  # a further certificate is a further decision
    assert await office.waiting() == [2]


async def test_a_used_credential_gives_the_certificate_that_was_not_taken(office: Office) -> None:
    credential = await office.gate()
    first = await office.approved(credential)
    assert await office.enroll(credential) == first
    await office.delivered(first)
    with pytest.raises(NotAuthenticatedError, match="no use left"):
        await office.enroll(credential)


async def test_what_was_made_and_revoked_is_not_given(office: Office) -> None:
    credential = await office.gate(uses=2)
    first = await office.approved(credential)
    await office.change(first, Action.SUSPEND)
    await office.is_told_to_wait(credential)
    assert await office.waiting() == [2]


async def test_many_at_once_get_one_certificate(office: Office) -> None:
    credential = await office.gate(uses=50)

    async def ask() -> Any:
        return await asyncio.gather(*(office.enroll(credential) for _ in range(20)), return_exceptions=True)

    before = await office.count()
    assert {type(answer) for answer in await ask()} == {PendingError}
    assert await office.waiting() == [1]
    await office.approve()
    answers = await ask()
    assert len({answer for answer in answers if isinstance(answer, bytes)}) == 1
    assert {type(answer) for answer in answers} <= {bytes, PendingError, UnavailableError}
    assert await office.count() == before + 1


async def test_a_restart_forgets_nothing(home: Home, clock: Any) -> None:
    async with open_core(home, clock) as core:
        office = Office(core)
        credential = await office.gate()
        await office.is_told_to_wait(credential)
        await office.approve()
    async with open_core(home, clock) as core:
        office = Office(core, office.key)
        assert await office.enroll(credential)


async def test_a_signature_that_failed_does_not_use_the_approval_up(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = await office.gate()
    await office.is_told_to_wait(credential)
    await office.approve()
    with monkeypatch.context() as broken:

        async def sign(*_: Any) -> bytes:
            raise UnavailableError("the signer is gone")

        broken.setattr(issuance_module.Issuance, "_sign", sign)
        with pytest.raises(UnavailableError):
            await office.enroll(credential)
    assert await office.state() == "approved"
    assert await office.enroll(credential)


async def test_while_it_is_being_made_others_wait(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a crash, until the signer is back: the intent stays, and is not passed by."""
    credential = await office.gate(uses=3)
    await office.is_told_to_wait(credential)
    await office.approve()
    with monkeypatch.context() as broken:

        async def cut(*_: Any) -> bytes:
            raise asyncio.CancelledError

        broken.setattr(issuance_module.Issuance, "_sign", cut)
        with pytest.raises(asyncio.CancelledError):
            await office.enroll(credential)
    await office.is_told_to_wait(credential)
    with pytest.raises(ConflictError, match="is being made"):
        await office.refuse()
    assert await office.core.issuance.recover() == 1
    assert await office.state() == "issued"
    certificate = await office.enroll(credential)
    intents = await office.core.storage.read(lambda tx: issuances.of_enrollment(tx, 1))
    assert intents is not None
    assert intents.serial == x509.load_der_x509_certificate(certificate).serial_number


async def test_what_is_not_approved_is_not_reserved(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the approval is taken back in the moment between."""
    credential = await office.gate()
    await office.is_told_to_wait(credential)
    await office.approve()
    certify = issuance_module.Issuance.certify

    async def refused_meanwhile(self: Any, request: Any) -> Any:
        await office.refuse()
        return await certify(self, request)

    monkeypatch.setattr(issuance_module.Issuance, "certify", refused_meanwhile)
    with pytest.raises(UnavailableError, match="being decided or issued; try again"):
        await office.enroll(credential)
    with pytest.raises(NotAuthorizedError, match="was refused"):
        await office.enroll(credential)
    assert await office.core.storage.read(issuances.unfinished) == []


# Deciding


async def test_a_refusal_is_told_with_its_reason(office: Office, recorded: Any, clock: Any) -> None:
    credential = await office.gate()
    await office.is_told_to_wait(credential)
    await office.refuse(reason="the gate stands elsewhere")
    with pytest.raises(NotAuthorizedError, match=r"enrolment 1 was refused: the gate stands elsewhere"):
        await office.enroll(credential)
    [refusal] = [one for one in await recorded(office.core.storage) if one["action"] == "enrollment.refuse"]
    assert refusal["personal"] == {"reason": "the gate stands elsewhere"}
    clock.moment += timedelta(days=3)
    await office.is_told_to_wait(credential)  # it may be asked again
    assert await office.waiting() == [2]
    assert await office.state(1) == "refused"


async def test_an_approval_can_be_taken_back_until_it_is_used(office: Office) -> None:
    credential = await office.gate()
    await office.is_told_to_wait(credential)
    await office.approve()
    await office.refuse()
    with pytest.raises(NotAuthorizedError, match="refused"):
        await office.enroll(credential)
    used = await office.gate()
    await office.approved(used)
    with pytest.raises(ConflictError, match="enrolment 2 is issued: it cannot be refused"):
        await office.refuse(2)


STATES = ("waiting", "approved", "refused", "issued", "expired")
ALLOWED = {("waiting", "approve"), ("waiting", "refuse"), ("approved", "refuse")}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("decision", ["approve", "refuse"])
async def test_every_state_and_decision(office: Office, clock: Any, state: str, decision: str) -> None:
    credential = await office.gate()
    await office.is_told_to_wait(credential)
    if state in ("approved", "issued"):
        await office.approve()
    if state == "issued":
        await office.enroll(credential)
    if state == "refused":
        await office.refuse()
    if state == "expired":
        clock.moment += timedelta(days=3)
    assert await office.state() == state
    decide = office.approve if decision == "approve" else office.refuse
    if (state, decision) in ALLOWED:
        await decide()
    else:
        with pytest.raises(ConflictError, match=f"enrolment 1 is {state}"):
            await decide()


async def test_decisions_that_are_none(office: Office, recorded: Any) -> None:
    await office.is_told_to_wait(await office.gate())
    for number in (2, 0, -1, 1 << 70):
        with pytest.raises(NotFoundError, match="no enrolment"):
            await office.approve(number)
    for reason in ("", "  ", "x" * 201, "two\nlines"):
        with pytest.raises(RefusedError, match="1 to 200 printable characters"):
            await office.refuse(reason=reason)
    assert await office.state() == "waiting"
    log = [one for one in await recorded(office.core.storage) if one["outcome"] == "refused"]
    assert [one["action"] for one in log] == ["enrollment.approve"] * 4 + ["enrollment.refuse"] * 4


async def test_an_enrolment_runs_out(office: Office, clock: Any) -> None:
    credential = await office.gate()
    await office.is_told_to_wait(credential)
    await office.approve()
    clock.moment += timedelta(days=3)
    assert await office.state() == "expired"
    await office.is_told_to_wait(credential)
    assert await office.waiting() == [2]


async def test_it_never_outlives_the_credential(office: Office) -> None:
    credential = await office.core.credentials.create(
        profile="gate",
        subject=SUBJECT,
        san=(),
        limit_mnt=None,
        uses=1,
        lifetime=timedelta(hours=2),
        actor="user:registrar",
    )
    await office.is_told_to_wait(credential)
    shown = await office.command("enrollment.show", enrollment=1)
    assert shown["expires_at"] == credential.expires_at.isoformat()


async def test_a_cancelled_credential_gets_nothing(office: Office) -> None:
    credential = await office.gate()
    await office.is_told_to_wait(credential)
    await office.approve()
    await office.core.credentials.cancel(credential.reference, "user:registrar")
    with pytest.raises(NotAuthenticatedError):
        await office.enroll(credential)


# Bounds


async def test_one_requester_has_few_open(office: Office) -> None:
    credential, other = await office.gate(uses=9), await office.gate()
    for _ in range(2):
        await office.is_told_to_wait(credential, gate_csr(new_key()))
    with pytest.raises(ConflictError, match="2 other enrolments by you are open"):
        await office.enroll(credential, gate_csr(new_key()))
    await office.is_told_to_wait(other)
    await office.refuse(1)
    await office.is_told_to_wait(credential, gate_csr(new_key()))


async def test_all_have_not_too_many_open(office: Office, clock: Any, recorded: Any) -> None:
    for _ in range(5):
        await office.is_told_to_wait(await office.gate(), gate_csr(new_key()))
    credential = await office.gate()
    with pytest.raises(UnavailableError, match="too many enrolments are open"):
        await office.enroll(credential)
    log = await recorded(office.core.storage)
    assert {one["outcome"] for one in log} == {"done"}  # nobody was refused
    clock.moment += timedelta(days=3)
    await office.is_told_to_wait(credential)


async def test_what_could_not_be_issued_does_not_wait(office: Office) -> None:
    p384 = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(KeyRefusedError):
        await office.enroll(await office.gate(), csr(p384, "CN=x", ()))
    key = new_key()
    await office.enroll(await office.credential(), csr(key))
    with pytest.raises(KeyRefusedError, match="in use by another subject"):
        await office.enroll(await office.gate(), gate_csr(key))
    names = tuple(f"dns:{one}.example.mn" for one in "abcd")
    with pytest.raises(RefusedError, match="more than 3 dns names"):
        await office.enroll(await office.gate(), gate_csr(new_key(), san=names))
    assert await office.waiting() == []


# Re-enrolment


async def test_re_enrolment_waits_too(office: Office) -> None:
    held = await office.approved(await office.gate(), gate_csr(office.key))
    await office.delivered(held)
    key = new_key()
    request = csr(key, WHOLE, SAN)
    with pytest.raises(PendingError):
        await office.reenroll(held, request)
    [number] = await office.waiting()
    shown = await office.command("enrollment.show", enrollment=number)
    serial = x509.load_der_x509_certificate(held).serial_number
    assert (shown["asked_by"], shown["subject"]) == (f"certificate:{serial_text(serial)}", WHOLE)
    await office.approve(number)
    renewed = await office.reenroll(held, csr(key, WHOLE, SAN[::-1]))
    assert x509.load_der_x509_certificate(renewed).public_key() == key.public_key()
    assert await office.reenroll(held, request) == renewed


async def test_a_renewal_never_outlives_what_it_renews(office: Office, clock: Any) -> None:
    held = await office.approved(await office.gate(), gate_csr(office.key))
    clock.moment += timedelta(days=89)
    with pytest.raises(PendingError):
        await office.reenroll(held, csr(new_key(), WHOLE, SAN))
    [number] = await office.waiting()
    ends = x509.load_der_x509_certificate(held).not_valid_after_utc
    shown = await office.command("enrollment.show", enrollment=number)
    assert shown["expires_at"] == ends.isoformat()


async def test_a_holder_who_was_suspended_meanwhile_gets_nothing(office: Office) -> None:
    held = await office.approved(await office.gate(), gate_csr(office.key))
    request = csr(new_key(), WHOLE, SAN)
    with pytest.raises(PendingError):
        await office.reenroll(held, request)
    await office.approve((await office.waiting())[0])
    await office.change(held, Action.SUSPEND)
    with pytest.raises(NotAuthorizedError, match="suspended"):
        await office.reenroll(held, request)


# Registration clients


RA = "CN=station-1,C=MN"


async def registration_client(office: Office, name: str | None = "station-1") -> bytes:
    """Return the certificate of an RA, registered under a name."""
    der = await office.enrolled("registration-client", "CN=station-1", None)
    if name is not None:
        await register(office, der, name)
    return der


async def register(office: Office, der: bytes, name: str = "station-1", **more: Any) -> Any:
    pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()
    return await office.command(
        "actor.add", by="user:root", **{"name": name, "role": "ra", "pem": pem} | more
    )


async def test_rfc7030_3_7_an_ra_enrols_others_when_somebody_approved(office: Office, recorded: Any) -> None:
    """No secret of the holder is needed: two pairs of eyes stand for it."""
    ra = await registration_client(office)
    request = csr(new_key(), "CN=gate-9,OU=North,C=MN", SAN)
    certificate = x509.load_der_x509_certificate(await office.approved(None, request, label="gate", shown=ra))
    assert subject_text(certificate.subject) == "OU=North,CN=gate-9,C=MN"
    shown = await office.command("enrollment.show", enrollment=1)
    assert (shown["asked_by"], shown["decided_by"]) == ("actor:station-1", "user:registrar")
    assert shown["san"] == ", ".join(SAN)
    issued = [one for one in await recorded(office.core.storage) if one["action"] == "certificate.issue"]
    assert issued[-1]["actor"] == "actor:station-1"


async def test_nobody_decides_on_an_own_enrolment(office: Office) -> None:
    ra = await registration_client(office)
    await office.is_told_to_wait(None, csr(new_key(), "CN=gate-9", ()), label="gate", shown=ra)
    for command, more in (("approve", {}), ("refuse", {"reason": "no"})):
        with pytest.raises(NotAuthorizedError, match="your own: somebody else decides"):
            await office.command(f"enrollment.{command}", by="actor:station-1", enrollment=1, **more)
    assert await office.waiting() == [1]


async def test_an_ra_asks_for_what_awaits_approval_and_nothing_else(office: Office) -> None:
    ra = await registration_client(office)
    request = csr(new_key(), "CN=gate-9", ())
    for label, error, reason in (
        ("device", NotAuthorizedError, "profile device does not await approval"),
        ("administrator", NotAuthorizedError, "profile administrator does not await approval"),
        (None, NotAuthorizedError, "for which profile in the path"),
        ("root-ca", NotFoundError, "no profile root-ca"),
    ):
        with pytest.raises(error, match=reason):
            await office.enroll(None, request, label, shown=ra)
    with pytest.raises(RefusedError, match="serialNumber has no place in this profile"):
        await office.enroll(None, csr(new_key(), "CN=gate-9,serialNumber=7", ()), "gate", shown=ra)
    with pytest.raises(RefusedError, match="commonName is required"):
        await office.enroll(None, csr(new_key(), "OU=North", ()), "gate", shown=ra)
    assert await office.waiting() == []


async def test_an_ra_limited_to_profiles_asks_for_no_others(office: Office, recorded: Any) -> None:
    ra = await registration_client(office, None)
    assert (await register(office, ra, profiles=["gate"]))["profiles"] == "gate"
    request = csr(new_key(), "CN=gate-9", ())
    with pytest.raises(NotAuthorizedError, match="limited to the profiles gate: linked is none"):
        await office.enroll(None, request, "linked", shown=ra)
    refused = [one for one in await recorded(office.core.storage) if one["outcome"] == "refused"]
    assert [(one["actor"].partition(":")[0], one["action"]) for one in refused] == [("certificate", "enroll")]
    assert await office.approved(None, request, label="gate", shown=ra)


async def test_a_limit_is_of_the_name_and_narrowed_only(office: Office) -> None:
    ra = await registration_client(office, None)
    await register(office, ra, profiles=["gate", "linked"])
    renewed = await office.reenroll(ra, csr(new_key(), RA, ()))
    await register(office, renewed)
    third = await office.reenroll(ra, csr(new_key(), RA, ()))
    await register(office, third, profiles=["gate"])
    fourth = await office.reenroll(ra, csr(new_key(), RA, ()))
    with pytest.raises(ConflictError, match="limited to gate: remove it, and add it again with linked"):
        await register(office, fourth, profiles=["gate", "linked"])
    with pytest.raises(NotAuthorizedError, match="limited to the profiles gate"):
        await office.enroll(None, csr(new_key(), "CN=gate-9", ()), "linked", shown=renewed)
    assert [one["profiles"] for one in await office.command("actor.list")] == ["gate", None]
    await office.command("actor.remove", by="user:root", name="station-1")
    await register(office, renewed)
    await office.is_told_to_wait(None, csr(new_key(), "CN=gate-9", ()), label="linked", shown=renewed)


@pytest.mark.parametrize(
    ("role", "profiles", "reason"),
    [
        ("ra", ["device"], "no profile device for registration clients: there are gate"),
        ("ra", ["nothing"], "no profile nothing"),
        ("ra", ["gate"] * 65, "64 profiles at most"),
        ("registrar", ["gate"], "role registrar is not limited to profiles"),
    ],
)
async def test_limits_that_cannot_be(office: Office, role: str, profiles: list[str], reason: str) -> None:
    ra = await registration_client(office, None)
    with pytest.raises(RefusedError, match=reason):
        await register(office, ra, role=role, profiles=profiles)


async def test_rfc7030_3_7_an_ra_has_linked_its_client_itself(office: Office) -> None:
    ra = await registration_client(office)
    builder = x509.CertificateSigningRequestBuilder().subject_name(parse_subject("CN=gate-9"))
    builder = builder.add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, b"AAECAwQFBgcICQoL")
    request = builder.sign(new_key(), SHA256()).public_bytes(Encoding.DER)
    channel = Channel("TLS 1.2", b"another connection")
    assert await office.approved(None, request, label="linked", shown=ra, channel=channel)


async def test_an_ra_has_a_bound_of_its_own(office: Office) -> None:
    """More than others, and yet no one of them fills the queue."""
    ra = await registration_client(office)
    for number in range(4):
        request = csr(new_key(), f"CN=gate-{number}", ())
        await office.is_told_to_wait(None, request, label="gate", shown=ra)
    with pytest.raises(ConflictError, match="4 other enrolments by you are open"):
        await office.enroll(None, csr(new_key(), "CN=gate-9", ()), "gate", shown=ra)
    await office.is_told_to_wait(await office.gate())


async def test_the_status_of_an_ra_is_looked_up_at_each_request(office: Office) -> None:
    ra, request = await registration_client(office), csr(new_key(), "CN=gate-9", ())
    await office.is_told_to_wait(None, request, label="gate", shown=ra)
    await office.approve()
    await office.change(ra, Action.SUSPEND)
    with pytest.raises(NotAuthorizedError, match="client certificate is suspended"):
        await office.enroll(None, request, "gate", shown=ra)
    await office.change(ra, Action.RESTORE)
    assert await office.enroll(None, request, "gate", shown=ra)


async def test_an_ra_suspended_in_the_midst_gets_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    ra, request = await registration_client(office), csr(new_key(), "CN=gate-9", ())
    await office.is_told_to_wait(None, request, label="gate", shown=ra)
    await office.approve()
    certify = issuance_module.Issuance.certify

    async def suspended_meanwhile(self: Any, asked: Any) -> Any:
        await office.change(ra, Action.SUSPEND)
        return await certify(self, asked)

    monkeypatch.setattr(issuance_module.Issuance, "certify", suspended_meanwhile)
    with pytest.raises(NotAuthorizedError, match="client certificate is suspended"):
        await office.enroll(None, request, "gate", shown=ra)
    assert await office.state() == "approved"


async def test_a_removed_actor_speaks_for_itself_alone(office: Office, recorded: Any) -> None:
    ra, request = await registration_client(office), csr(new_key(), "CN=gate-9", ())
    await office.is_told_to_wait(None, request, label="gate", shown=ra)
    await office.approve()
    removed = await office.command("actor.remove", by="user:root", name="station-1")
    assert (removed["name"], removed["state"]) == ("station-1", "done")
    with pytest.raises(NotAuthorizedError, match="not registered: see `pkiserver actor add`"):
        await office.enroll(None, request, "gate", shown=ra)
    with pytest.raises(ChallengeError):
        await office.enroll(None, request, "device", shown=ra)
    with pytest.raises(ConflictError, match="neither roles nor certificates"):
        await office.command("actor.remove", by="user:root", name="station-1")
    with pytest.raises(NotFoundError, match="no actor station-2"):
        await office.command("actor.remove", by="user:root", name="station-2")
    log = [one for one in await recorded(office.core.storage) if one["actor"] == "user:root"]
    log = [one for one in log if one["action"].startswith("actor.")]
    assert [(one["actor"], one["action"], one["outcome"]) for one in log] == [
        ("user:root", "actor.certificate", "done"),
        ("user:root", "actor.grant", "done"),
        ("user:root", "actor.remove", "done"),
        ("user:root", "actor.remove", "refused"),
        ("user:root", "actor.remove", "refused"),
    ]


async def test_an_actor_goes_on_with_a_renewed_certificate(office: Office) -> None:
    ra, request = await registration_client(office), csr(new_key(), "CN=gate-9", ())
    await office.is_told_to_wait(None, request, label="gate", shown=ra)
    renewed = await office.reenroll(ra, csr(new_key(), RA, ()))
    with pytest.raises(NotAuthorizedError, match="not registered"):
        await office.enroll(None, request, "gate", shown=renewed)
    await register(office, renewed)
    await office.approve()
    assert await office.enroll(None, request, "gate", shown=renewed)
    listed = (await office.command("actor.list"))[0]
    assert (listed["name"], listed["roles"], len(listed["serials"])) == ("station-1", ["ra"], 2)


async def test_without_registration_the_extended_key_usage_opens_nothing(office: Office) -> None:
    ra = await registration_client(office, None)
    with pytest.raises(NotAuthorizedError, match="not registered"):
        await office.enroll(None, csr(new_key(), "CN=gate-9", ()), "gate", shown=ra)


async def bad_actor(office: Office, what: str) -> tuple[str, str, bytes]:
    """Return name, role and certificate of an actor that cannot be added."""
    if what == "without cmcRA":
        return "x", "ra", await office.enrolled("device", "CN=d")
    ra = await registration_client(office, "there" if what == "twice" else None)
    if what == "suspended":
        await office.change(ra, Action.SUSPEND)
    return {"bad name": "Station 1"}.get(what, "x"), {"bad role": "janitor"}.get(what, "ra"), ra


@pytest.mark.parametrize(
    ("what", "error", "reason"),
    [
        ("without cmcRA", RefusedError, r"role ra needs the extended key usage 1\.3\.6"),
        ("suspended", NotAuthorizedError, "is suspended"),
        ("twice", ConflictError, "registered already, for there"),
        ("bad name", RefusedError, "lower-case letters"),
        ("bad role", RefusedError, "no role janitor: there are ra"),
    ],
)
async def test_rfc6402_2_10_who_cannot_be_registered(
    office: Office, what: str, error: type[PKIServerError], reason: str
) -> None:
    name, role, der = await bad_actor(office, what)
    pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()
    with pytest.raises(error, match=reason):
        await office.command("actor.add", name=name, role=role, pem=pem)


async def test_only_certificates_of_infrastructure_on_record_are_registered(office: Office) -> None:
    with pytest.raises(RefusedError, match="holds no certificate"):
        await office.command("actor.add", name="x", role="ra", pem="nonsense")
    root = office.core.authorities.get("root").certificate
    ra = x509.load_der_x509_certificate(await registration_client(office, None))
    serial = ra.serial_number.to_bytes(16, "big")
    await office.core.storage.write(
        lambda tx: tx.execute("DELETE FROM certificates WHERE serial = ?", (serial,))
    )
    with pytest.raises(RefusedError, match="the certificate is not on record"):
        await office.core.actors.add("x", "ra", ra, "user:root")
    with pytest.raises(RefusedError, match="not one of the authority infrastructure"):
        await office.core.actors.add("x", "ra", root, "user:root")


async def test_certificates_are_registered_one_by_one(office: Office) -> None:
    ra = await registration_client(office)
    other = await registration_client(office, None)
    assert x509.load_der_x509_certificate(ra).subject == x509.load_der_x509_certificate(other).subject
    with pytest.raises(NotAuthorizedError, match="not registered"):
        await office.enroll(None, csr(new_key(), "CN=gate-9", ()), "gate", shown=other)


async def test_counts_of_decisions(office: Office) -> None:
    await office.approved(await office.gate())
    await office.is_told_to_wait(await office.gate(), gate_csr(new_key()))
    await office.refuse(2)
    with pytest.raises(ConflictError):
        await office.refuse(2)
    assert dict(office.core.approvals.decided) == {"approved": 1, "refused": 1}
