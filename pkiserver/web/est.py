"""EST over HTTPS (RFC 7030, RFC 8951): cacerts, simpleenroll, simplereenroll.

Owns what HTTP and TLS say of a request: path, credentials, client certificate, body. Who may have which
certificate is the injected service's business; bounds, errors and logs are the middleware's.
"""

import binascii
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

from aiohttp import web

from pkiserver.errors import NotAuthenticatedError, NotAuthorizedError, PKIServerError
from pkiserver.web.middleware import SENT
from protocols.errors import ProtocolError
from protocols.est.request import decode_csr
from protocols.est.response import (
    CACERTS_CONTENT_TYPE,
    CERTIFICATE_CONTENT_TYPE,
    CONTENT_TRANSFER_ENCODING,
    encode_body,
)
from protocols.x509.certs_only import certs_only

MAX_AUTHORIZATION_CHARACTERS: Final = 1_024  # references and secrets of ours take under 100
_LABEL: Final = "{label:[A-Za-z0-9][A-Za-z0-9._-]{0,63}}"
_PREFIX: Final = "/.well-known/est"


class EnrollmentService(Protocol):
    """What EST asks of the registration side. Errors are ours; their kind becomes the status."""

    async def enroll(
        self, csr_der: bytes, *, reference: str, secret: str, label: str | None, peer: str
    ) -> bytes:
        """Return the DER certificate issued for a credential; `NotAuthenticatedError` when it is not good."""

    async def reenroll(
        self, csr_der: bytes, *, client_certificate: bytes, label: str | None, peer: str
    ) -> bytes:
        """Return the DER certificate that renews or rekeys the client's; its status is checked here."""

    async def delivered(self, certificate: bytes) -> None:
        """Note that the response with this certificate was written to its client without error."""

    async def refused(self, *, operation: str, peer: str, reason: str) -> None:
        """Audit a refusal that reached neither `enroll` nor `reenroll`."""

    def ca_certificates(self, label: str | None) -> Sequence[bytes]:
        """Return the DER certificates from the root down; `NotFoundError` for an unknown label."""


def est_routes(service: EnrollmentService) -> list[web.RouteDef]:
    """Return the EST routes, each with and without a label (RFC 7030 §3.2.2)."""
    est = _EST(service)
    routes = []
    for path, variant in ((_PREFIX, ""), (f"{_PREFIX}/{_LABEL}", ".label")):
        routes += [
            web.get(f"{path}/cacerts", est.cacerts, name=f"est.cacerts{variant}"),
            web.post(f"{path}/simpleenroll", est.simpleenroll, name=f"est.simpleenroll{variant}"),
            web.post(f"{path}/simplereenroll", est.simplereenroll, name=f"est.simplereenroll{variant}"),
        ]
    return routes


class _EST:
    def __init__(self, service: EnrollmentService) -> None:
        self._service = service

    async def cacerts(self, request: web.Request) -> web.Response:
        """Distribution of CA certificates (RFC 7030 §4.1)."""
        return _pkcs7(self._service.ca_certificates(_label(request)), CACERTS_CONTENT_TYPE)

    async def simpleenroll(self, request: web.Request) -> web.Response:
        """Enrolment with HTTP Basic (RFC 7030 §4.2.1, §3.2.3)."""
        peer = _peer(request)
        authorization = request.headers.getall("Authorization", [])
        if not authorization:
            # Nobody is refused: many clients send a request just to be challenged (RFC 9110 §11.2).
            raise NotAuthenticatedError("no credentials were sent")
        async with self._audited("enroll", peer):
            _tls(request)
            reference, secret = basic_credentials(authorization)
            csr_der = await _csr(request)
        certificate = await self._service.enroll(
            csr_der, reference=reference, secret=secret, label=_label(request), peer=peer
        )
        return await self._deliver(request, certificate)

    async def simplereenroll(self, request: web.Request) -> web.Response:
        """Renewal or rekey with the TLS client certificate (RFC 7030 §4.2.2)."""
        peer = _peer(request)
        async with self._audited("reenroll", peer):
            client_certificate = _tls(request).getpeercert(binary_form=True)
            if client_certificate is None:
                raise NotAuthorizedError("re-enrolment needs a TLS client certificate of this CA")
            csr_der = await _csr(request)
        try:
            certificate = await self._service.reenroll(
                csr_der, client_certificate=client_certificate, label=_label(request), peer=peer
            )
        except NotAuthenticatedError as error:
            # Not 401: its challenge would ask for a password, which does not help here.
            raise NotAuthorizedError("the TLS client certificate is not accepted") from error
        return await self._deliver(request, certificate)

    async def _deliver(self, request: web.Request, certificate: bytes) -> web.Response:
        """Write the response here, since only then may the service call the certificate delivered."""
        response = _pkcs7([certificate], CERTIFICATE_CONTENT_TYPE)
        await response.prepare(request)
        await response.write_eof()
        request[SENT] = response
        await self._service.delivered(certificate)
        return response

    @asynccontextmanager
    async def _audited(self, operation: str, peer: str) -> AsyncIterator[None]:
        try:
            yield
        except (PKIServerError, ProtocolError) as error:
            await self._service.refused(operation=operation, peer=peer, reason=str(error))
            raise


async def _csr(request: web.Request) -> bytes:
    return decode_csr(await request.read(), request.headers.get("Content-Type"))


def _pkcs7(certificates: Sequence[bytes], content_type: str) -> web.Response:
    headers = dict([("Content-Type", content_type), CONTENT_TRANSFER_ENCODING])
    return web.Response(body=encode_body(certs_only(certificates)), headers=headers)


def _label(request: web.Request) -> str | None:
    return request.match_info.get("label")


def _peer(request: web.Request) -> str:
    return request.remote or "unknown"


def _tls(request: web.Request) -> ssl.SSLObject:
    """Return the TLS side of the connection; Basic and client certificates exist on it only (§3.2.3)."""
    tls = request.get_extra_info("ssl_object")
    if not isinstance(tls, ssl.SSLObject):
        raise NotAuthorizedError("enrolment is served over TLS only")
    return tls


def basic_credentials(headers: Sequence[str]) -> tuple[str, str]:
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
    return user_id, password
