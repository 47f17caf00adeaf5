"""EST over HTTPS (RFC 7030, RFC 8951): cacerts, simpleenroll, simplereenroll.

Owns what HTTP and TLS say of a request: path, credentials, client certificate, body. Who may have which
certificate is the injected service's business; bounds, errors and logs are the middleware's.
"""

import binascii
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, NoReturn, Protocol

from aiohttp import web

from pkiserver.errors import (
    ChallengeError,
    NotAuthenticatedError,
    NotAuthorizedError,
    PKIServerError,
)
from pkiserver.ra.requester import Channel, Password, Requester
from pkiserver.web.middleware import CLIENT, NO_PROXIES, SENT
from pkiserver.web.proxies import TrustedProxies
from protocols.errors import ProtocolError
from protocols.est.client_cert import CLIENT_CERT
from protocols.est.request import decode_csr
from protocols.est.response import (
    CACERTS_CONTENT_TYPE,
    CERTIFICATE_CONTENT_TYPE,
    CONTENT_TRANSFER_ENCODING,
    encode_body,
)
from protocols.x509.certs_only import certs_only

MAX_AUTHORIZATION_CHARACTERS: Final = 1_024  # references and secrets of ours take under 100
PROXIED: Final = Channel("a proxy")
_READS_WRAPPED_LINES: Final = "libest"  # of User-Agent: its decoder refuses base64 in one line
_LABEL: Final = "{label:[A-Za-z0-9][A-Za-z0-9._-]{0,63}}"
_PREFIX: Final = "/.well-known/est"


class EnrollmentService(Protocol):
    """What EST asks of the registration side. Errors are ours; their kind becomes the status."""

    async def enroll(self, csr_der: bytes, requester: Requester, label: str | None) -> bytes:
        """Return the DER certificate issued to who asks; `ChallengeError` where a password would help."""

    async def reenroll(self, csr_der: bytes, requester: Requester, label: str | None) -> bytes:
        """Return the DER certificate that renews or rekeys the client's; its status is checked here."""

    def refuse_unproven(self, label: str | None) -> NoReturn:
        """Raise what a first enrolment gets that proves nothing, `ChallengeError` where a password helps."""

    async def delivered(self, certificate: bytes) -> None:
        """Note that the response with this certificate was written to its client without error."""

    async def refused(self, *, operation: str, peer: str, reason: str) -> None:
        """Audit a refusal that reached neither `enroll` nor `reenroll`."""

    def ca_certificates(self, label: str | None) -> Sequence[bytes]:
        """Return the DER certificates from the root down; `NotFoundError` for an unknown label."""


def est_routes(service: EnrollmentService, proxies: TrustedProxies = NO_PROXIES) -> list[web.RouteDef]:
    """Return the EST routes, each with and without a label (RFC 7030 §3.2.2)."""
    est = _EST(service, proxies)
    routes = []
    for path, variant in ((_PREFIX, ""), (f"{_PREFIX}/{_LABEL}", ".label")):
        routes += [
            web.get(f"{path}/cacerts", est.cacerts, name=f"est.cacerts{variant}"),
            web.post(f"{path}/simpleenroll", est.simpleenroll, name=f"est.simpleenroll{variant}"),
            web.post(f"{path}/simplereenroll", est.simplereenroll, name=f"est.simplereenroll{variant}"),
        ]
    return routes


class _EST:
    def __init__(self, service: EnrollmentService, proxies: TrustedProxies) -> None:
        self._service = service
        self._proxies = proxies

    async def cacerts(self, request: web.Request) -> web.Response:
        """Distribution of CA certificates (RFC 7030 §4.1)."""
        return _pkcs7(request, self._service.ca_certificates(_label(request)), CACERTS_CONTENT_TYPE)

    async def simpleenroll(self, request: web.Request) -> web.Response:
        """Enrolment with HTTP Basic, a client certificate, or both (RFC 7030 §4.2.1, §3.2.3, §3.3.2)."""
        return await self._enroll(request, "enroll", self._service.enroll)

    async def simplereenroll(self, request: web.Request) -> web.Response:
        """Renewal or rekey with the client certificate (RFC 7030 §4.2.2)."""
        return await self._enroll(request, "reenroll", self._service.reenroll)

    async def _enroll(
        self,
        request: web.Request,
        operation: str,
        decide: Callable[[bytes, Requester, str | None], Awaitable[bytes]],
    ) -> web.Response:
        async with self._audited(operation, request[CLIENT]):
            requester = self._requester(request)
            if operation == "enroll" and requester.password is None and requester.certificate is None:
                # Before the body is looked at: many clients send none until they were challenged.
                self._service.refuse_unproven(_label(request))
            csr_der = await _csr(request)
        return await self._deliver(request, await decide(csr_der, requester, _label(request)))

    def _requester(self, request: web.Request) -> Requester:
        """Return who asks, as the connection and the header say it."""
        tls = _tls(request)
        certificate = self._proxies.client_certificate(
            request.remote, request.headers.getall(CLIENT_CERT, []), tls.getpeercert(binary_form=True)
        )
        authorization = request.headers.getall("Authorization", [])
        return Requester(
            peer=request[CLIENT],
            channel=PROXIED if self._proxies.trusts(request.remote) else channel_of(tls),
            password=basic_credentials(authorization) if authorization else None,
            certificate=certificate,
        )

    async def _deliver(self, request: web.Request, certificate: bytes) -> web.Response:
        """Write the response here, since only then may the service call the certificate delivered."""
        response = _pkcs7(request, [certificate], CERTIFICATE_CONTENT_TYPE)
        await response.prepare(request)
        await response.write_eof()
        request[SENT] = response
        await self._service.delivered(certificate)
        return response

    @asynccontextmanager
    async def _audited(self, operation: str, peer: str) -> AsyncIterator[None]:
        try:
            yield
        except ChallengeError:  # nobody is refused
            raise
        except (PKIServerError, ProtocolError) as error:
            await self._service.refused(operation=operation, peer=peer, reason=str(error))
            raise


async def _csr(request: web.Request) -> bytes:
    return decode_csr(await request.read(), request.headers.get("Content-Type"))


def _pkcs7(request: web.Request, certificates: Sequence[bytes], content_type: str) -> web.Response:
    headers = dict([("Content-Type", content_type), CONTENT_TRANSFER_ENCODING])
    wrapped = request.headers.get("User-Agent", "").startswith(_READS_WRAPPED_LINES)
    return web.Response(body=encode_body(certs_only(certificates), wrapped=wrapped), headers=headers)


def _label(request: web.Request) -> str | None:
    return request.match_info.get("label")


def channel_of(tls: ssl.SSLObject) -> Channel:
    """Return the channel of a connection, with tls-unique where it binds (RFC 5929 §3).

    On TLS 1.2 only: Python's value is wrong on TLS 1.3, which has none (RFC 8446 §C.5). Not on a resumed
    session: without the extended master secret, of which Python does not tell, it does not bind there
    (RFC 7627 §1).
    """
    if tls.version() != "TLSv1.2":
        return Channel("TLS 1.3")
    if tls.session_reused:
        return Channel("a resumed session")
    return Channel("TLS 1.2", tls.get_channel_binding("tls-unique"))


def _tls(request: web.Request) -> ssl.SSLObject:
    """Return the TLS side of the connection; Basic and client certificates exist on it only (§3.2.3)."""
    tls = request.get_extra_info("ssl_object")
    if not isinstance(tls, ssl.SSLObject):
        raise NotAuthorizedError("enrolment is served over TLS only")
    return tls


def basic_credentials(headers: Sequence[str]) -> Password:
    """Return user-id and password of the Authorization headers received (RFC 7617 §2).

    `NotAuthenticatedError` unless there is exactly one, of scheme Basic, well formed, in UTF-8, without
    control characters and with a password.
    """
    if len(headers) != 1:
        raise NotAuthenticatedError("there is not exactly one Authorization header")
    scheme, _, encoded = headers[0].partition(" ")
    if len(headers[0]) > MAX_AUTHORIZATION_CHARACTERS or scheme.lower() != "basic":
        raise NotAuthenticatedError("the Authorization header is not one of HTTP Basic")
    try:
        text = binascii.a2b_base64(encoded.strip(" "), strict_mode=True).decode("utf-8")
    except ValueError as error:  # binascii.Error and UnicodeDecodeError are ValueErrors
        raise NotAuthenticatedError("the HTTP Basic credentials are malformed") from error
    user_id, _, password = text.partition(":")
    if not password or not text.isprintable():
        raise NotAuthenticatedError("the HTTP Basic credentials are malformed")
    return Password(user_id, password)
