"""EST over HTTPS (RFC 7030, RFC 8951): cacerts, csrattrs, simpleenroll, simplereenroll.

Who may have which certificate is the injected service's business; bounds, errors and logs are the
middleware's.
"""

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import NoReturn, Protocol

from aiohttp import web

from pkiserver.ra.requester import Requester
from pkiserver.web.est_messages import PATHS, audited, deliver, encoded, label_of, requester_of
from pkiserver.web.middleware import CLIENT, NO_PROXIES
from pkiserver.web.proxies import TrustedProxies
from pkiserver.web.turns import Turns
from protocols.est.csr_attributes import CSR_ATTRS_CONTENT_TYPE
from protocols.est.request import decode_csr
from protocols.est.response import CACERTS_CONTENT_TYPE, CERTIFICATE_CONTENT_TYPE
from protocols.x509.certs_only import certs_only


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

    def csr_attributes(self, label: str | None) -> bytes | None:
        """Return the DER CsrAttrs of a profile, None for nothing to say; `NotFoundError` likewise."""


def est_routes(service: EnrollmentService, proxies: TrustedProxies = NO_PROXIES) -> list[web.RouteDef]:
    """Return the EST routes, each with and without a label (RFC 7030 §3.2.2)."""
    est = _EST(service, proxies)
    routes = []
    for path, variant in PATHS:
        routes += [
            web.get(f"{path}/cacerts", est.cacerts, name=f"est.cacerts{variant}"),
            web.get(f"{path}/csrattrs", est.csrattrs, name=f"est.csrattrs{variant}"),
            web.post(f"{path}/simpleenroll", est.simpleenroll, name=f"est.simpleenroll{variant}"),
            web.post(f"{path}/simplereenroll", est.simplereenroll, name=f"est.simplereenroll{variant}"),
        ]
    return routes


class _EST:
    def __init__(self, service: EnrollmentService, proxies: TrustedProxies) -> None:
        self._service = service
        self._proxies = proxies
        self._turns = Turns()

    async def cacerts(self, request: web.Request) -> web.Response:
        """Distribution of CA certificates (RFC 7030 §4.1)."""
        certificates = self._service.ca_certificates(label_of(request))
        return encoded(request, certs_only(certificates), CACERTS_CONTENT_TYPE)

    async def csrattrs(self, request: web.Request) -> web.Response:
        """What a request should hold, for whoever asks (RFC 7030 §4.5)."""
        attributes = self._service.csr_attributes(label_of(request))
        if attributes is None:
            return web.Response(status=HTTPStatus.NO_CONTENT)
        return encoded(request, attributes, CSR_ATTRS_CONTENT_TYPE)

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
        async with audited(self._service, operation, request[CLIENT]):
            requester = requester_of(request, self._proxies)
            if operation == "enroll" and requester.password is None and requester.certificate is None:
                # Before the body is looked at: many clients send none until they were challenged.
                self._service.refuse_unproven(label_of(request))
            csr_der = await _csr(request)
        async with self._turns.turn():
            certificate = await decide(csr_der, requester, label_of(request))
        return await self._deliver(request, certificate)

    async def _deliver(self, request: web.Request, certificate: bytes) -> web.Response:
        response = encoded(request, certs_only([certificate]), CERTIFICATE_CONTENT_TYPE)
        await deliver(request, response)
        await self._service.delivered(certificate)
        return response


async def _csr(request: web.Request) -> bytes:
    return decode_csr(await request.read(), request.headers.get("Content-Type"))
