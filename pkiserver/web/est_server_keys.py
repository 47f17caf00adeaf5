"""serverkeygen over HTTPS (RFC 7030 §4.4): a key that the server makes, and its certificate."""

from typing import NoReturn, Protocol

from aiohttp import web

from pkiserver.ra.requester import Requester
from pkiserver.ra.server_keys import HandOver, ServerKey
from pkiserver.web.est_messages import PATHS, audited, deliver, label_of, requester_of
from pkiserver.web.middleware import CLIENT, NO_PROXIES
from pkiserver.web.proxies import TrustedProxies
from protocols.est.multipart import MULTIPART_CONTENT_TYPE, encode_multipart, server_key_parts
from protocols.est.request import decode_csr
from protocols.x509.certs_only import certs_only

_OPERATION = "serverkeygen"


class ServerKeyService(Protocol):
    """What serverkeygen asks of the registration side. Errors are ours; their kind becomes the status."""

    async def generate_key(
        self, csr_der: bytes, requester: Requester, label: str | None, hand_over: HandOver
    ) -> None:
        """Have a key and a certificate made for who asks, and `hand_over` write the answer."""

    def refuse_unproven(self, label: str | None) -> NoReturn:
        """Raise what a request gets that proves nothing."""

    async def refused(self, *, operation: str, peer: str, reason: str) -> None:
        """Audit a refusal that did not reach `generate_key`."""


def server_key_routes(service: ServerKeyService, proxies: TrustedProxies = NO_PROXIES) -> list[web.RouteDef]:
    """Return the routes of serverkeygen, with and without a label."""

    async def serverkeygen(request: web.Request) -> web.Response:
        async with audited(service, _OPERATION, request[CLIENT]):
            requester = requester_of(request, proxies)
            if requester.password is None and requester.certificate is None:
                service.refuse_unproven(label_of(request))
            csr_der = decode_csr(await request.read(), request.headers.get("Content-Type"))
        written: list[web.Response] = []

        async def hand_over(made: ServerKey) -> None:
            response = _response(made)
            await deliver(request, response)
            written.append(response)

        await service.generate_key(csr_der, requester, label_of(request), hand_over)
        return written[0]

    return [
        web.post(f"{path}/{_OPERATION}", serverkeygen, name=f"est.{_OPERATION}{variant}")
        for path, variant in PATHS
    ]


def _response(made: ServerKey) -> web.Response:
    """Return the multipart answer; no cache may keep it, whatever stands between (RFC 9111 §5.2.2.5)."""
    parts = server_key_parts(made.key, certs_only([made.certificate]), encrypted=made.encrypted)
    headers = {"Content-Type": MULTIPART_CONTENT_TYPE, "Cache-Control": "no-store"}
    return web.Response(body=encode_multipart(parts), headers=headers)
