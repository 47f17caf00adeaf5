"""What the tests of the API share: an issuing side behind a real HTTPS port, and actors with certificates."""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import load_der_x509_certificate

from pkiserver.ca.identity import Identity
from pkiserver.ca.issuance import AuthorizedRequest
from pkiserver.core import Core
from pkiserver.errors import PendingError
from pkiserver.https_side import HTTPSSide
from pkiserver.metrics import Metrics
from pkiserver.progress import silent
from protocols.x509.names import parse_san, parse_subject
from store import audit
from store.records import AuditRecord, CertificateRecord

BASE = "/api/v1"
# A citizen, an officer and an administrator as their profiles have them.
SUBJECTS = {
    "administrator": ("CN={name}", ("email:{name}@example.mn",)),
    "device": ("CN={name}", ()),
    "registration-client": ("CN={name}", ()),
    "citizen-signature": ("CN={name},GN={name},SN=Bold,serialNumber=PNOMN-123456789012", ()),
}


@dataclass(frozen=True)
class Reply:
    """An answer of the API."""

    status: int
    headers: Mapping[str, str]
    octets: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The object that it holds."""
        found = json.loads(self.octets)
        assert isinstance(found, dict)
        return found

    @property
    def etag(self) -> str:
        return self.headers["ETag"]

    def refused(self, status: int, kind: str) -> str:
        """Return the exact reason of a refusal of this status and kind."""
        assert (self.status, self.headers["Content-Type"]) == (status, "application/problem+json"), (
            self.octets
        )
        problem = self.body
        assert (problem["status"], problem["kind"]) == (status, kind)
        reason = problem["reason"]
        assert isinstance(reason, str)
        return reason


@dataclass
class Client:
    """Somebody who asks, on a connection of their own for each request but where it is `kept`."""

    url: str
    tls: ssl.SSLContext
    name: str = "nobody"
    certificate: CertificateRecord | None = None
    files: tuple[Path, Path] | None = None
    _session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep connections from request to request in this block: a handshake is half of one's time."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.tls)) as self._session:
            yield
        self._session = None

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Reply:
        """Ask; `body` is sent as JSON, `data` as it is."""
        given: dict[str, Any] = {"data": data} if data is not None else {}
        if body is not None:
            given["json"] = body
        if self._session is not None:
            return await _asked(self._session, method, self.url + path, headers=headers, **given)
        connector = aiohttp.TCPConnector(ssl=self.tls, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            return await _asked(session, method, self.url + path, headers=headers, **given)

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.ask("GET", BASE + path, headers=_named(headers))

    async def post(self, path: str, body: object = None, **headers: str) -> Reply:
        return await self.ask("POST", BASE + path, body, _named(headers))

    async def put(self, path: str, body: object = None, **headers: str) -> Reply:
        return await self.ask("PUT", BASE + path, body, _named(headers))


async def _asked(session: aiohttp.ClientSession, method: str, url: str, **given: Any) -> Reply:
    async with session.request(method, url, **given) as response:
        return Reply(response.status, response.headers, await response.read())


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


class Desk:
    """The HTTPS side of an open core, on a free port, and who may ask there."""

    def __init__(self, core: Core, folder: Path) -> None:
        self.core = core
        self.url = ""
        self._folder = folder

    def _context(self) -> ssl.SSLContext:
        root = load_der_x509_certificate(self.core.authorities.get("root").der)
        return ssl.create_default_context(cadata=root.public_bytes(Encoding.PEM).decode())

    def nobody(self) -> Client:
        """Somebody without a client certificate."""
        return Client(self.url, self._context())

    async def holder(self, name: str, profile: str = "administrator") -> Client:
        """Somebody with a certificate that is registered for no actor."""
        key = ec.generate_private_key(ec.SECP256R1())
        record = await self.issue(name, profile, key)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        files = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate = load_der_x509_certificate(record.certificate).public_bytes(Encoding.PEM)
        files[0].write_bytes(certificate)
        files[1].write_bytes(pem)
        tls = self._context()
        tls.load_cert_chain(*files)
        return Client(self.url, tls, name, record, files)

    async def actor(
        self,
        name: str,
        role: str,
        profile: str = "administrator",
        civil_id: str | None = None,
        **place: object,
    ) -> Client:
        """Somebody with a certificate that is registered for an actor in this role."""
        client = await self.holder(name, profile)
        await self.register(client, role, civil_id=civil_id, **place)
        return client

    async def register(
        self,
        client: Client,
        role: str,
        name: str | None = None,
        civil_id: str | None = None,
        **place: object,
    ) -> None:
        """Register a certificate; a role that needs a place has all offices, or an organisation.

        Who it is, where that is not said, nobody applies as.
        """
        assert client.files is not None
        if not place and role in ("registrar", "senior_registrar"):
            place = {"everywhere": True}
        if not place and role == "org_officer":
            place = {"organization": await self.organization()}
        called = name or client.name
        who = civil_id or f"9{crc32(called.encode()):011d}"
        given = {"name": called, "role": role, "pem": client.files[0].read_text(), "civil_id": who} | place
        added = await self.command("actor.add", **given)
        for proposal in added["waiting"]:
            await self.confirmed(proposal)

    async def confirmed(self, proposal: int) -> None:
        """Have a second person at the machine confirm a change of an actor."""
        waiting = await self.command("actor.proposals", state="waiting")
        (version,) = [one["version"] for one in waiting if one["proposal"] == proposal]
        given = {"proposal": proposal, "version": version}
        await self.core.commands.run("actor.confirm", given, "user:second", silent)

    async def organization(self, number: str = "1234567", *, contracted: bool = True) -> str:
        """Register an organisation, unless it is there, and bring it to its contract."""
        known = [one["number"] for one in await self.command("organization.list", state=None, limit=100)]
        if number in known:
            return number
        await self.command("organization.register", number=number, name="Аудит", mail="it@audit.gov.mn")
        for event in ("send_contract", "sign_contract") if contracted else ():
            await self.command("organization.move", number=number, event=event, ground="test", version=None)
        await self.command("organization.domains", number=number, domains=["audit.gov.mn"])
        return number

    async def issue(
        self,
        name: str,
        profile: str = "citizen-signature",
        key: ec.EllipticCurvePrivateKey | None = None,
        subject: str | None = None,
    ) -> CertificateRecord:
        """Issue a certificate of this profile, with what it asks for, or for this subject."""
        request = self._request(name, profile, key)
        if subject is not None:
            request = replace(request, identity=replace(request.identity, subject=parse_subject(subject)))
        return await self.core.issuance.issue(await self.core.issuance.prepare(request))

    async def enrollment(self, name: str, profile: str = "citizen-signature", by: str = "test") -> int:
        """Have an enrolment wait for a decision; return its number."""
        request = self._request(name, profile)
        awaiting = request.profile.model_copy(update={"approval": True})
        with pytest.raises(PendingError):
            await self.core.approvals.obtain(replace(request, profile=awaiting, requested_by=by))
        found: list[dict[str, int]] = await self.command("enrollment.list", state=None, limit=1)
        return found[0]["enrollment"]

    def _request(
        self, name: str, profile: str, key: ec.EllipticCurvePrivateKey | None = None
    ) -> AuthorizedRequest:
        chosen = self.core.profiles[profile]
        assert chosen.issuer is not None
        subject, san = SUBJECTS[profile]
        return AuthorizedRequest(
            profile=chosen,
            authority=chosen.issuer,
            identity=Identity(
                parse_subject(subject.format(name=name)),
                tuple(parse_san(one.format(name=name)) for one in san),
            ),
            public_key=(key or ec.generate_private_key(ec.SECP256R1())).public_key(),
            requested_by="test",
        )

    async def command(self, name: str, /, **given: object) -> Any:
        return await self.core.commands.run(name, given, "user:root", silent)

    async def audited(self, action: str) -> list[AuditRecord]:
        """Return the audit records of this action."""
        found = await self.core.storage.read(lambda tx: audit.after(tx, 0, 100_000))
        return [record for record in found if record.action == action]

    async def audited_with(self, first: str) -> list[AuditRecord]:
        """Return the audit records of actions of which this is the first word."""
        found = await self.core.storage.read(lambda tx: audit.after(tx, 0, 100_000))
        return [record for record in found if record.action.startswith(f"{first}.")]


def path_of(core: Core, record: CertificateRecord) -> str:
    """Return the path of a certificate."""
    handle = core.authorities.record_with_id(record.authority).handle
    return f"/certificates/{handle}/{record.serial:032x}"


@asynccontextmanager
async def desk(core: Core, folder: Path, **api: int) -> AsyncIterator[Desk]:
    """Open the HTTPS side of a core; `api` are settings of `[api]`."""
    settings = core.settings.with_listen({"https": ["127.0.0.1:0"]})
    core.settings = settings.model_copy(update={"api": settings.api.model_copy(update=api)})
    await core.server_certificates.maintain()
    side = HTTPSSide(core, [])
    await side.start(Metrics())
    opened = Desk(core, folder)
    opened.url = f"https://localhost:{side.listeners[0].address[1]}"
    try:
        yield opened
    finally:
        for listener in side.listeners:
            await listener.drain()
