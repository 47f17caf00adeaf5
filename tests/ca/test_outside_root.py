"""Authorities under a root that is kept outside: requests, and every refusal of what comes back."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from pkiserver.ca.ca_certificates import ca_certificates
from pkiserver.ca.outside_root import check_imported
from pkiserver.core import Core, open_core
from pkiserver.errors import ConflictError, NotFoundError, RefusedError
from pkiserver.home import Home
from pkiserver.initialise import initialise
from pkiserver.signer.algorithms import public_key_der
from protocols.x509.names import parse_subject
from store.records import AuditRecord

if TYPE_CHECKING:
    from tests.conftest import FakeClock

NOW = datetime.now(UTC).replace(microsecond=0)
YEAR = timedelta(days=365)
CA_USAGE: dict[str, bool] = dict.fromkeys(
    [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "encipher_only",
        "decipher_only",
    ],
    False,
) | {"key_cert_sign": True, "crl_sign": True}
ROOT_KEY = ec.generate_private_key(ec.SECP384R1())
OTHER_KEY = ec.generate_private_key(ec.SECP384R1())
ROOT_NAME = parse_subject("CN=Outside Root,C=MN")


@dataclass
class Outside:
    """A certificate as an outside root makes it; a test changes what is to be wrong."""

    key: Any = field(default_factory=ROOT_KEY.public_key)
    subject: x509.Name = ROOT_NAME
    issuer: x509.Name = ROOT_NAME
    signer: ec.EllipticCurvePrivateKey = ROOT_KEY
    ca: bool = True
    constraints: bool = True
    usage: dict[str, bool] | None = field(default_factory=lambda: dict(CA_USAGE))
    key_identifier: bool = True
    not_before: datetime = NOW - YEAR
    not_after: datetime = NOW + 10 * YEAR

    def make(self) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            self.issuer, self.subject, self.key, 7, self.not_before, self.not_after
        )
        if self.constraints:
            builder = builder.add_extension(x509.BasicConstraints(self.ca, None), critical=True)
        if self.usage is not None:
            builder = builder.add_extension(x509.KeyUsage(**self.usage), critical=True)
        if self.key_identifier:
            builder = builder.add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key), critical=False
            )
        return builder.sign(self.signer, hashes.SHA384())


ROOT = Outside().make()


def test_a_fitting_certificate_is_taken() -> None:
    spki = public_key_der(OTHER_KEY.public_key())
    issuing = Outside(key=OTHER_KEY.public_key(), subject=parse_subject("CN=Citizen CA")).make()
    check_imported(issuing, ROOT, spki, NOW)
    check_imported(ROOT, ROOT, None, NOW)


REFUSALS: dict[str, tuple[Callable[[Outside], None], str]] = {
    "another key": (lambda one: setattr(one, "key", ROOT_KEY.public_key()), "for another key"),
    "another signer": (lambda one: setattr(one, "signer", OTHER_KEY), "not signed by"),
    "another issuer": (lambda one: setattr(one, "issuer", parse_subject("CN=Other")), "not signed by"),
    "no constraints": (lambda one: setattr(one, "constraints", False), "lacks an extension"),
    "no key usage": (lambda one: setattr(one, "usage", None), "lacks an extension"),
    "no key identifier": (lambda one: setattr(one, "key_identifier", False), "lacks an extension"),
    "no CA": (lambda one: setattr(one, "ca", False), "not a CA's"),
    "no keyCertSign": (lambda one: one.usage.update(key_cert_sign=False), "not a CA's"),  # type: ignore[union-attr]
    "no cRLSign": (lambda one: one.usage.update(crl_sign=False), "not a CA's"),  # type: ignore[union-attr]
    "not yet valid": (lambda one: setattr(one, "not_before", NOW + timedelta(seconds=1)), "not valid now"),
    "expired": (lambda one: setattr(one, "not_after", NOW - timedelta(seconds=1)), "not valid now"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused(name: str) -> None:
    change, message = REFUSALS[name]
    outside = Outside(key=OTHER_KEY.public_key(), subject=parse_subject("CN=Citizen CA"))
    if name == "no keyCertSign":
        outside.ca = True
    change(outside)
    with pytest.raises(RefusedError, match=message):
        check_imported(outside.make(), ROOT, public_key_der(OTHER_KEY.public_key()), NOW)


@pytest.mark.parametrize("spki", [None, public_key_der(OTHER_KEY.public_key())])
def test_a_key_of_unknown_kind_is_refused(spki: bytes | None) -> None:
    """P-384 renamed to a curve that nobody knows."""
    curve, unknown = bytes.fromhex("06052b81040022"), bytes.fromhex("06052b8104007f")
    certificate = x509.load_der_x509_certificate(ROOT.public_bytes(Encoding.DER).replace(curve, unknown))
    with pytest.raises(RefusedError):
        check_imported(certificate, certificate, spki, NOW)


@pytest.fixture(scope="module")
def offline_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("offline") / "home"
    asyncio.run(initialise(Home(path), None, offline_root=True, progress=lambda _: None))
    return path


@pytest.fixture
async def offline(offline_home: Path, tmp_path: Path, clock: "FakeClock") -> AsyncIterator[Core]:
    """A core whose root is kept outside; nothing is imported yet."""
    async with open_core(Home(shutil.copytree(offline_home, tmp_path / "home")), clock) as core:
        yield core


async def run(core: Core, command: str, **arguments: Any) -> Any:
    return await core.commands.run(command, arguments, "test", lambda *_: None)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


async def certificate_for(core: Core, name: str) -> x509.Certificate:
    request = x509.load_pem_x509_csr((await run(core, "ca.csr", name=name))["pem"].encode())
    assert request.is_signature_valid
    return Outside(key=request.public_key(), subject=request.subject).make()


async def test_the_whole_way(offline: Core) -> None:
    told: list[bool] = []
    offline.followers.authorities.append(lambda: told.append(True))
    shown = await run(offline, "ca.import", name="root", pem=pem(ROOT))
    assert shown["state"] == "kept outside"
    certificate = await certificate_for(offline, "infrastructure")
    shown = await run(offline, "ca.import", name="infrastructure", pem=pem(certificate))
    assert shown["state"] == "ready"
    assert told == [True, True]
    authority = offline.authorities.get("infrastructure")
    assert offline.authorities.responder(authority.id) is not None
    assert (offline.home.tls / "server.pem").exists()
    assert (offline.home.public / "ca" / "infrastructure.cer").read_bytes() == certificate.public_bytes(
        Encoding.DER
    )
    assert [row["state"] for row in await run(offline, "ca.list")] == [
        "kept outside",
        "waits for its certificate",
        "waits for its certificate",
        "ready",
    ]
    assert [row["ca"] for row in await run(offline, "crl.publish", ca=None)] == ["infrastructure"]


async def test_the_request_bears_the_configured_name(offline: Core) -> None:
    request = x509.load_der_x509_csr(
        x509.load_pem_x509_csr((await run(offline, "ca.csr", name="citizen"))["pem"].encode()).public_bytes(
            Encoding.DER
        )
    )
    assert request.subject == parse_subject(offline.settings.authorities["citizen"].subject)


async def test_a_request_is_audited_before_and_after_its_signature(
    offline: Core, audited: Callable[[Core], Awaitable[list[AuditRecord]]]
) -> None:
    request = x509.load_pem_x509_csr((await run(offline, "ca.csr", name="citizen"))["pem"].encode())
    before, after = (await audited(offline))[-2:]
    assert (before.action, after.action) == ("authority.request.sign", "authority.request")
    assert before.actor == after.actor == "test"
    digest = hashlib.sha256(request.tbs_certrequest_bytes).hexdigest()
    assert digest in before.detail
    assert digest in after.detail


async def test_refusals_of_the_command(offline: Core) -> None:
    with pytest.raises(ConflictError, match="kept outside"):
        await run(offline, "ca.csr", name="root")
    with pytest.raises(NotFoundError, match="no authority"):
        await run(offline, "ca.csr", name="nobody")
    with pytest.raises(ConflictError, match="no certificate yet"):
        await run(offline, "ca.import", name="citizen", pem=pem(await certificate_for(offline, "citizen")))
    with pytest.raises(RefusedError, match="no certificate in PEM"):
        await run(offline, "ca.import", name="root", pem="garbage")
    await run(offline, "ca.import", name="root", pem=pem(ROOT))
    with pytest.raises(ConflictError, match="already"):
        await run(offline, "ca.import", name="root", pem=pem(ROOT))
    with pytest.raises(RefusedError, match="another key"):
        await run(offline, "ca.import", name="citizen", pem=pem(await certificate_for(offline, "government")))
    citizen = await certificate_for(offline, "citizen")
    renamed = Outside(key=citizen.public_key(), subject=parse_subject("CN=Citizens CA")).make()
    with pytest.raises(RefusedError, match="configured name"):
        await run(offline, "ca.import", name="citizen", pem=pem(renamed))
    assert [record.name for record in offline.authorities.pending] == [
        "citizen",
        "government",
        "infrastructure",
    ]


async def test_a_root_with_its_key_here_takes_no_certificate(core: Core) -> None:
    with pytest.raises(ConflictError, match="already"):
        await run(core, "ca.import", name="citizen", pem=pem(ROOT))


NEXT_KEY = ec.generate_private_key(ec.SECP384R1())
NEXT_ROOT = Outside(key=NEXT_KEY.public_key(), signer=NEXT_KEY, not_after=NOW + 12 * YEAR)
NEW_WITH_OLD = Outside(key=NEXT_KEY.public_key())
OLD_WITH_NEW = Outside(signer=NEXT_KEY)


@pytest.fixture
async def two_roots(offline: Core) -> Core:
    """An outside root and the key that follows it."""
    await run(offline, "ca.import", name="root", pem=pem(ROOT))
    await run(offline, "ca.rollover.prepare", name="root")
    await run(offline, "ca.import", name="root.2", pem=pem(NEXT_ROOT.make()))
    await run(offline, "ca.rollover.publish", name="root")
    return offline


async def test_links_of_an_outside_root_are_handed_out(
    two_roots: Core, audited: Callable[[Core], Awaitable[list[AuditRecord]]]
) -> None:
    links = [OLD_WITH_NEW.make(), NEW_WITH_OLD.make()]
    assert await run(two_roots, "ca.import_link", pem=pem(links[1])) == {"of": "root.2", "by": "root.1"}
    assert await run(two_roots, "ca.import_link", pem=pem(links[0])) == {"of": "root.1", "by": "root.2"}
    ders = [link.public_bytes(Encoding.DER) for link in links]
    (update,) = two_roots.authorities.root_updates
    assert update.links == ders
    assert ca_certificates(two_roots.authorities, NOW)[-2:] == ders
    found = pkcs7.load_der_pkcs7_certificates((two_roots.home.public / "ca" / "root.2.p7c").read_bytes())
    assert set(links) <= set(found)
    assert (await audited(two_roots))[-1].action == "authority.import_link"
    with pytest.raises(ConflictError, match="known already"):
        await run(two_roots, "ca.import_link", pem=pem(links[0]))


async def test_links_end_with_the_trust_in_either_root(two_roots: Core) -> None:
    await run(two_roots, "ca.import_link", pem=pem(NEW_WITH_OLD.make()))

    async def take(_name: str, _piece: bytes) -> None:
        """Nobody is to be enrolled anew."""

    arguments = {"name": "root.1", "confirmed": True}
    await two_roots.commands.run("ca.compromise", arguments, "test", lambda *_: None, take)
    assert two_roots.authorities.root_updates[0].links == []
    with pytest.raises(RefusedError, match="links no two keys"):
        await run(two_roots, "ca.import_link", pem=pem(OLD_WITH_NEW.make()))


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (Outside(), "links no two keys"),
        (replace(NEW_WITH_OLD, key=OTHER_KEY.public_key()), "links no two keys"),
        (replace(NEW_WITH_OLD, signer=OTHER_KEY), "links no two keys"),
        (replace(NEW_WITH_OLD, subject=parse_subject("CN=Another")), "links no two keys"),
        (replace(NEW_WITH_OLD, ca=False, usage=None), "lacks an extension"),
        (replace(NEW_WITH_OLD, ca=False), "not a CA's"),
        (replace(NEW_WITH_OLD, not_after=NOW - timedelta(seconds=1)), "not valid now"),
    ],
    ids=["the root itself", "another key", "another issuer", "another name", "no usage", "no CA", "expired"],
)
async def test_no_link(two_roots: Core, link: Outside, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        await run(two_roots, "ca.import_link", pem=pem(link.make()))
    assert two_roots.authorities.root_updates[0].links == []


async def test_a_root_of_our_own_takes_no_links(core: Core) -> None:
    with pytest.raises(RefusedError, match="links no two keys"):
        await run(core, "ca.import_link", pem=pem(core.authorities.get("root").certificate))
