"""rr: a holder revokes, suspends and speaks of the own certificate, a registration client of others'."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from pkiserver.core import Core
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.ocsp import CRLReason
from protocols.asn1.pkix import Extension
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.crmf import CertTemplate
from protocols.cmp.revocation import RevDetails, RevRepContent, build_rev_req
from protocols.cmp.status import PKIFailureInfo as Failure
from protocols.cmp.status import PKIStatus, PKIStatusInfo
from protocols.x509.names import parse_subject
from store import certificates, crl_entries
from tests.cmp_messages import (
    Answer,
    ByMAC,
    BySignature,
    Client,
    credential,
    holder,
    new_key,
    revocation_body,
    spki_of,
)

if TYPE_CHECKING:
    from tests.ra.conftest import Recorded


def status_of(answer: Answer) -> PKIStatusInfo:
    assert answer.body is BodyType.RP, answer.status
    (status,) = der.whole(answer.message.body.content_der, RevRepContent.parse).status
    return status


def failures_of(answer: Answer) -> set[Failure]:
    return set(answer.status.fail_info if answer.body is BodyType.ERROR else status_of(answer).fail_info)


async def told_of(core: Core, certificate: bytes) -> tuple[str, int | None]:
    """Return the state of a certificate and the reason that CRL and OCSP say."""
    serial = x509.load_der_x509_certificate(certificate).serial_number
    (record,) = await core.storage.read(lambda tx: certificates.with_serial(tx, serial))
    told = await core.storage.read(lambda tx: crl_entries.current(tx, record.authority, serial))
    return record.state, told.reason if told else None


async def registered_ra(core: Core, limit: Sequence[str] = ()) -> BySignature:
    ra = await holder(core, "CN=station", "registration-client")
    await core.actors.add("station", "ra", x509.load_der_x509_certificate(ra.certificate), "test", limit)
    return ra


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (None, ("revoked", 0)),
        (CRLReason.KEY_COMPROMISE, ("revoked", 1)),
        (CRLReason.SUPERSEDED, ("revoked", 4)),
        (CRLReason.CERTIFICATE_HOLD, ("suspended", 6)),
    ],
)
async def test_the_own_certificate(
    core: Core, reason: int | None, told: tuple[str, int], recorded: "Recorded"
) -> None:
    sender = await holder(core)
    answer = await Client(core, sender).send(revocation_body(sender.certificate, reason))
    assert status_of(answer).status is PKIStatus.ACCEPTED
    assert await told_of(core, sender.certificate) == told
    content = der.whole(answer.message.body.content_der, RevRepContent.parse)
    parsed = x509.load_der_x509_certificate(sender.certificate)
    assert [one.serial_number for one in content.rev_certs] == [parsed.serial_number]
    (done,) = [
        one
        for one in await recorded(core.storage)
        if one["action"].startswith("certificate.re") or one["action"] == "certificate.suspend"
    ]
    assert done["actor"].startswith("certificate:")


async def test_when_it_became_invalid_is_told(core: Core) -> None:
    sender = await holder(core)
    parsed = x509.load_der_x509_certificate(sender.certificate)
    since = Extension(oid.INVALIDITY_DATE, False, der.generalized_time(parsed.not_valid_before_utc))
    named = CertTemplate(issuer=parsed.issuer.public_bytes(), serial_number=parsed.serial_number)
    body = PKIBody(BodyType.RR, build_rev_req([RevDetails(named, (since,))]))
    assert status_of(await Client(core, sender).send(body)).status is PKIStatus.ACCEPTED
    entry = await core.storage.read(
        lambda tx: crl_entries.current(tx, core.authorities.get("infrastructure").id, parsed.serial_number)
    )
    assert entry is not None
    assert since.value in entry.entry


async def test_a_ra_suspends_restores_and_revokes_what_it_enrols(core: Core) -> None:
    ra, other = await registered_ra(core), await holder(core)
    core.profiles["device"] = core.profiles["device"].model_copy(update={"approval": True})
    for reason, state in (
        (CRLReason.CERTIFICATE_HOLD, "suspended"),
        (CRLReason.REMOVE_FROM_CRL, "active"),
        (CRLReason.CESSATION_OF_OPERATION, "revoked"),
    ):
        answer = await Client(core, ra).send(revocation_body(other.certificate, reason))
        assert status_of(answer).status is PKIStatus.ACCEPTED
        assert (await told_of(core, other.certificate))[0] == state


@pytest.mark.parametrize("who", ["another holder", "a RA of other profiles", "a RA that is not registered"])
async def test_who_may_not(core: Core, who: str) -> None:
    other = await holder(core)
    if who == "another holder":
        sender = await holder(core, "CN=sensor-8")
    elif who == "a RA of other profiles":
        sender = await registered_ra(core)
    else:
        sender = await holder(core, "CN=station", "registration-client")
        core.profiles["device"] = core.profiles["device"].model_copy(update={"approval": True})
    answer = await Client(core, sender).send(revocation_body(other.certificate))
    assert failures_of(answer) == {Failure.NOT_AUTHORIZED}
    assert await told_of(core, other.certificate) == ("active", None)


async def test_under_a_mac(core: Core) -> None:
    other = await holder(core)
    answer = await Client(core, ByMAC(await credential(core))).send(revocation_body(other.certificate))
    assert answer.failure is Failure.WRONG_INTEGRITY
    assert await told_of(core, other.certificate) == ("active", None)


OTHER_NAME = parse_subject("CN=another").public_bytes()


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"issuer": None}, Failure.ADD_INFO_NOT_AVAILABLE),
        ({"serial_number": None}, Failure.ADD_INFO_NOT_AVAILABLE),
        ({"issuer": OTHER_NAME}, Failure.BAD_CERT_ID),
        ({"serial_number": 5}, Failure.BAD_CERT_ID),
        ({"serial_number": -1}, Failure.BAD_CERT_ID),
        ({"serial_number": 1 << 130}, Failure.BAD_CERT_ID),
        ({"subject": OTHER_NAME}, Failure.BAD_CERT_ID),
        ({"public_key": spki_of(new_key())}, Failure.BAD_CERT_ID),
        ({"version": 1}, Failure.BAD_REQUEST),
        (
            {"extensions": (Extension(oid.KEY_USAGE, False, b"\x03\x02\x00\x01"),)},
            Failure.BAD_CERT_ID,
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value.name,
)
async def test_a_template_that_fits_nothing(core: Core, changes: dict[str, Any], failure: Failure) -> None:
    sender = await holder(core)
    answer = await Client(core, sender).send(revocation_body(sender.certificate, **changes))
    assert failures_of(answer) == {failure}
    assert await told_of(core, sender.certificate) == ("active", None)


@pytest.mark.parametrize(
    ("reason", "failure"),
    [(7, Failure.BAD_DATA_FORMAT), (99, Failure.BAD_DATA_FORMAT), (10, Failure.BAD_REQUEST)],
)
async def test_reasons_that_are_none(core: Core, reason: int, failure: Failure) -> None:
    sender = await holder(core)
    answer = await Client(core, sender).send(revocation_body(sender.certificate, reason))
    assert failures_of(answer) == {failure}


async def test_nothing_to_restore(core: Core) -> None:
    sender = await holder(core)
    answer = await Client(core, sender).send(revocation_body(sender.certificate, CRLReason.REMOVE_FROM_CRL))
    assert failures_of(answer) == {Failure.BAD_CERT_ID}


async def test_revoked_already(core: Core) -> None:
    sender = await holder(core)
    await Client(core, sender).send(revocation_body(sender.certificate))
    answer = await Client(core, sender).send(revocation_body(sender.certificate))
    assert answer.failure is Failure.CERT_REVOKED


async def test_the_same_message_of_a_ra_again(core: Core) -> None:
    ra, other = await registered_ra(core), await holder(core)
    core.profiles["device"] = core.profiles["device"].model_copy(update={"approval": True})
    client = Client(core, ra)
    for _ in range(2):
        message = client.sent or client.build(revocation_body(other.certificate))
        assert status_of(await client.post(message)).status is PKIStatus.ACCEPTED


@pytest.mark.parametrize(("limit", "failures"), [("device", set()), ("tls-server", {Failure.NOT_AUTHORIZED})])
async def test_by_an_ra_that_is_limited_to_profiles(core: Core, limit: str, failures: set[Failure]) -> None:
    ra, other = await registered_ra(core, [limit]), await holder(core)
    core.profiles["device"] = core.profiles["device"].model_copy(update={"approval": True})
    answer = await Client(core, ra).send(revocation_body(other.certificate))
    assert failures_of(answer) == failures


async def test_a_critical_extension_that_is_unknown(core: Core) -> None:
    sender = await holder(core)
    parsed = x509.load_der_x509_certificate(sender.certificate)
    named = CertTemplate(issuer=parsed.issuer.public_bytes(), serial_number=parsed.serial_number)
    unknown = Extension("1.2.3.4", True, der.null())
    for extension, failures in ((unknown, {Failure.BAD_REQUEST}), (replace(unknown, critical=False), set())):
        body = PKIBody(BodyType.RR, build_rev_req([RevDetails(named, (extension,))]))
        assert failures_of(await Client(core, sender).send(body)) == failures
