"""What the HTTPS and EST tests share: certificates, a fake service, a listener on a free port, clients."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pkiserver.errors import ChallengeError, NotAuthorizedError, NotFoundError
from pkiserver.metrics import Metrics
from pkiserver.ra.requester import Requester
from pkiserver.web.est import est_routes
from pkiserver.web.https import Listener
from pkiserver.web.limits import Limits
from pkiserver.web.middleware import NO_PROXIES, web_application
from pkiserver.web.proxies import TrustedProxies
from pkiserver.web.tls import TLSSettings, tls_context
from protocols.est.csr_attributes import CSRDescription, csr_attrs
from protocols.x509.csr import parse_csr

PEM = serialization.Encoding.PEM
DER = serialization.Encoding.DER
_BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_END = datetime.datetime(2049, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Issued:
    """A key and its certificate, in memory and as files."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    key_file: Path
    certificate_file: Path

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(DER)


@dataclass(frozen=True)
class Certificates:
    """The server's side, a client that it trusts and one that it does not."""

    ca: Issued
    server: Issued
    client: Issued
    stranger: Issued

    def settings(self) -> TLSSettings:
        return TLSSettings(self.server.certificate_file, self.server.key_file, client_cas=[self.ca.der])

    def client_context(self, certificate: Issued | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca.certificate_file)
        if certificate:
            context.load_cert_chain(certificate.certificate_file, certificate.key_file)
        return context


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def issue(
    folder: Path, common_name: str, issuer: Issued | None, *, usage: x509.ObjectIdentifier | None
) -> Issued:
    """Make a key and a certificate, self-signed without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(issuer.certificate.subject if issuer else _name(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
        .add_extension(x509.BasicConstraints(ca=usage is None, path_length=None), critical=True)
    )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False).add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False
        )
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    key_file, certificate_file = folder / f"{common_name}.key", folder / f"{common_name}.pem"
    key_file.write_bytes(
        key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate_file.write_bytes(certificate.public_bytes(PEM))
    return Issued(key, certificate, key_file, certificate_file)


def make_certificates(folder: Path) -> Certificates:
    ca = issue(folder, "ca", None, usage=None)
    other = issue(folder, "other-ca", None, usage=None)
    return Certificates(
        ca,
        issue(folder, "server", ca, usage=ExtendedKeyUsageOID.SERVER_AUTH),
        issue(folder, "client", ca, usage=ExtendedKeyUsageOID.CLIENT_AUTH),
        issue(folder, "stranger", other, usage=ExtendedKeyUsageOID.CLIENT_AUTH),
    )


def csr_der(common_name: str = "device-1") -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(common_name))
    return request.sign(key, hashes.SHA256()).public_bytes(DER)


@dataclass
class FakeService:
    """Remembers what EST asked of it; `error` is raised by the next enrolments."""

    certificate: bytes
    error: Exception | None = None
    before_answer: Callable[[], Awaitable[object]] | None = None
    calls: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)  # of those refusals
    taken: list[bytes] = field(default_factory=list)

    @property
    def requesters(self) -> list[Requester]:
        """Who asked, at each call."""
        found = [arguments["requester"] for _, arguments in self.calls]
        return [one for one in found if isinstance(one, Requester)]

    async def _answer(self, operation: str, **arguments: object) -> bytes:
        self.calls.append((operation, arguments))
        if self.before_answer:
            await self.before_answer()
        if self.error:
            raise self.error
        return self.certificate

    async def enroll(self, csr_der: bytes, requester: Requester, label: str | None) -> bytes:
        return await self._answer("enroll", csr=parse_csr(csr_der), requester=requester, label=label)

    async def reenroll(self, csr_der: bytes, requester: Requester, label: str | None) -> bytes:
        return await self._answer("reenroll", csr=parse_csr(csr_der), requester=requester, label=label)

    def refuse_unproven(self, label: str | None) -> NoReturn:
        if label == "idevid":
            raise NotAuthorizedError("profile idevid is enrolled with a client certificate alone")
        raise ChallengeError("no credentials were sent")

    async def delivered(self, certificate: bytes) -> None:
        self.taken.append(certificate)

    async def refused(self, *, operation: str, peer: str, reason: str) -> None:
        self.peers.append(peer)
        self.refusals.append((operation, reason))

    def ca_certificates(self, label: str | None) -> Sequence[bytes]:
        if label not in (None, "device"):
            raise NotFoundError("no profile is named so")
        return [self.certificate]

    def csr_attributes(self, label: str | None) -> bytes | None:
        if label is None:
            return None
        return csr_attrs(CSRDescription(challenge_password=True), template=False).encode()


@asynccontextmanager
async def listening(
    routes: Sequence[web.RouteDef],
    certificates: Certificates | None,
    *,
    limits: Limits | None = None,
    metrics: Metrics | None = None,
    proxies: TrustedProxies = NO_PROXIES,
) -> AsyncIterator[Listener]:
    """Run a listener on a free port, over TLS where there are certificates."""
    limits = limits or Limits(drain_s=2.0)
    listener = Listener(
        "test",
        web_application(routes, limits, proxies=proxies),
        host="127.0.0.1",
        port=0,
        metrics=metrics or Metrics(),
        limits=limits,
        tls=tls_context(certificates.settings()) if certificates else None,
        proxies=proxies,
    )
    await listener.start()
    try:
        yield listener
    finally:
        await listener.drain()


@dataclass(frozen=True)
class Server:
    """An EST server under test."""

    listener: Listener
    service: FakeService
    certificates: Certificates
    metrics: Metrics

    @property
    def port(self) -> int:
        _, port = self.listener.address
        return port

    def url(self, operation: str) -> str:
        return f"https://localhost:{self.port}/.well-known/est/{operation}"

    async def curl(
        self,
        operation: str,
        *arguments: str | Path,
        body: bytes | None = None,
        content_type: str = "application/pkcs10",
    ) -> "Reply":
        """Ask with curl; a body is sent from standard input."""
        data = ["--data-binary", "@-", "-H", f"Content-Type:{content_type}"] if body is not None else []
        given = [*data, "--cacert", self.certificates.ca.certificate_file, *arguments]
        return await curl(self.url(operation), *given, body=body)


@asynccontextmanager
async def est_server(
    certificates: Certificates, limits: Limits | None = None, proxies: TrustedProxies = NO_PROXIES
) -> AsyncIterator[Server]:
    service, metrics = FakeService(certificates.client.der), Metrics()
    routes = est_routes(service, proxies)
    async with listening(routes, certificates, limits=limits, metrics=metrics, proxies=proxies) as listener:
        yield Server(listener, service, certificates, metrics)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


def parse_reply(received: bytes) -> Reply:
    """Read the last response of what `curl --include` printed; interim responses (100) are passed over."""
    while True:
        head, _, rest = received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        status = int(status_line.split(" ")[1])
        if status >= 200:
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            return Reply(status, headers, rest)
        received = rest


async def curl(url: str, *arguments: str | Path, body: bytes | None = None) -> Reply:
    """Run curl and return its one response; fails the test where curl fails."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--show-error", "--include", "--max-time", "20", *arguments, url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    received, complaint = await process.communicate(body)
    assert process.returncode == 0, complaint.decode()
    return parse_reply(received)
