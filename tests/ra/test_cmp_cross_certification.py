"""ccr: the root certifies authorities of the configuration, for registered RAs (RFC 9810 appendix D.6)."""

import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from config.errors import ConfigError
from pkiserver.core import Core, open_core
from pkiserver.home import Home
from protocols import oid
from protocols.asn1.pkix import Extension
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.crmf import CertTemplate, RAVerified, build_cert_req_messages
from protocols.cmp.general_info import GeneralInfo
from protocols.cmp.status import PKIFailureInfo, PKIStatus
from protocols.x509.names import parse_subject
from tests.cmp_messages import (
    Answer,
    ByMAC,
    BySignature,
    Client,
    credential,
    holder,
    new_key,
    request,
    spki_of,
)

if TYPE_CHECKING:
    from tests.ra.conftest import SetClock

PEER = "CN=Bridge CA,O=Neighbour,C=KZ"
PEER_KEY = ec.generate_private_key(ec.SECP384R1())
IMPLICIT = GeneralInfo(implicit_confirm=True)


def peer_pem(*, ca: bool = True) -> bytes:
    name, now = parse_subject(PEER), datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(PEER_KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=9))
    builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    return builder.sign(PEER_KEY, hashes.SHA384()).public_bytes(Encoding.PEM)


def configured(initialised_home: Path, folder: Path, pem: bytes) -> Home:
    home = Home(folder / "home")
    shutil.copytree(initialised_home, home.path)
    (home.path / "bridge.pem").write_bytes(pem)
    text = home.configuration.read_text()
    assert "\npeers = []\n" in text
    home.configuration.write_text(text.replace("\npeers = []\n", '\npeers = ["bridge.pem"]\n'))
    return home


@pytest.fixture
async def core(initialised_home: Path, tmp_path: Path, clock: "SetClock") -> AsyncIterator[Core]:
    async with open_core(configured(initialised_home, tmp_path, peer_pem()), clock) as opened:
        yield opened


async def registered(core: Core, limit: Sequence[str] = ()) -> BySignature:
    ra = await holder(core, "CN=station-1,C=MN", "registration-client")
    await core.actors.add("station-1", "ra", x509.load_der_x509_certificate(ra.certificate), "test", limit)
    return ra


def asked() -> CertTemplate:
    return CertTemplate(subject=parse_subject(PEER).public_bytes(), public_key=spki_of(PEER_KEY))


def ccr(template: CertTemplate, key: ec.EllipticCurvePrivateKey = PEER_KEY) -> PKIBody:
    return PKIBody(BodyType.CCR, build_cert_req_messages([request(key, template)]))


async def ask(core: Core, body: PKIBody, info: GeneralInfo = IMPLICIT) -> Answer:
    return await Client(core, await registered(core)).send(body, info=info)


async def test_a_peer_is_certified_once(core: Core) -> None:
    ra = await registered(core)
    answer = await Client(core, ra).send(ccr(asked()), info=IMPLICIT)
    assert answer.body is BodyType.CCP
    certificate = x509.load_der_x509_certificate(answer.certificate)
    root = core.authorities.get("root").certificate
    certificate.verify_directly_issued_by(root)
    assert certificate.subject == parse_subject(PEER)
    assert certificate.public_key() == PEER_KEY.public_key()
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert timedelta(days=3 * 365) <= lifetime + timedelta(days=1) <= timedelta(days=3 * 366)
    again = await Client(core, ra).send(ccr(asked()), info=IMPLICIT)
    assert again.certificate == answer.certificate


async def test_an_ra_that_is_limited_to_profiles_asks_for_none(core: Core) -> None:
    answer = await Client(core, await registered(core, ["device"])).send(ccr(asked()), info=IMPLICIT)
    assert answer.failure is PKIFailureInfo.NOT_AUTHORIZED


async def test_what_is_wished_beyond_is_told(core: Core) -> None:
    wished = replace(asked(), extensions=(Extension(oid.BASIC_CONSTRAINTS, True, b"\x30\x00"),))
    answer = await ask(core, ccr(wished))
    assert answer.status.status is PKIStatus.GRANTED_WITH_MODS


@pytest.mark.parametrize(
    ("template", "key", "failure"),
    [
        (replace(asked(), subject=parse_subject("CN=Other CA").public_bytes()), PEER_KEY, "NOT_AUTHORIZED"),
        (replace(asked(), public_key=spki_of(new_key())), PEER_KEY, "NOT_AUTHORIZED"),
        (replace(asked(), subject=None), PEER_KEY, "BAD_CERT_TEMPLATE"),
        (asked(), new_key(), "BAD_POP"),
    ],
    ids=["another name", "another key", "no name", "signed by another key"],
)
async def test_what_is_not_certified(
    core: Core, template: CertTemplate, key: ec.EllipticCurvePrivateKey, failure: str
) -> None:
    answer = await ask(core, ccr(template, key))
    assert (answer.body, answer.failure) == (BodyType.ERROR, PKIFailureInfo[failure])


async def test_an_ra_cannot_vouch_for_an_authority(core: Core) -> None:
    body = build_cert_req_messages([request(PEER_KEY, asked(), popo=RAVerified())])
    answer = await ask(core, PKIBody(BodyType.CCR, body))
    assert answer.failure is PKIFailureInfo.BAD_POP


async def test_one_request_at_a_time_and_without_confirmation(core: Core) -> None:
    two = [request(PEER_KEY, asked(), cert_req_id=number) for number in range(2)]
    answer = await ask(core, PKIBody(BodyType.CCR, build_cert_req_messages(two)))
    assert answer.failure is PKIFailureInfo.BAD_REQUEST


async def test_confirmation_is_not_waited_for(core: Core) -> None:
    answer = await ask(core, ccr(asked()), GeneralInfo())
    assert answer.failure is PKIFailureInfo.BAD_REQUEST


async def test_who_may_not_ask(core: Core) -> None:
    answer = await Client(core, await holder(core)).send(ccr(asked()), info=IMPLICIT)
    assert answer.failure is PKIFailureInfo.NOT_AUTHORIZED
    answer = await Client(core, ByMAC(await credential(core))).send(ccr(asked()), info=IMPLICIT)
    assert answer.failure is PKIFailureInfo.WRONG_INTEGRITY


@pytest.mark.parametrize("pem", [b"", peer_pem(ca=False)], ids=["empty", "no authority"])
async def test_files_that_hold_no_authority(
    initialised_home: Path, tmp_path: Path, clock: "SetClock", pem: bytes
) -> None:
    with pytest.raises(ConfigError, match=r"cmp\.peers"):
        async with open_core(configured(initialised_home, tmp_path, pem), clock):
            pass
