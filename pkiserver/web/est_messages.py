"""What HTTP and TLS say of an EST request, and how its answers are written; shared by its operations."""

import binascii
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

from aiohttp import web

from pkiserver.errors import (
    ChallengeError,
    NotAuthenticatedError,
    NotAuthorizedError,
    PKIServerError,
)
from pkiserver.ra.requester import Channel, Password, Requester
from pkiserver.web.middleware import CLIENT, SENT
from pkiserver.web.proxies import TrustedProxies
from protocols.errors import ProtocolError
from protocols.est.client_cert import CLIENT_CERT
from protocols.est.response import CONTENT_TRANSFER_ENCODING, encode_body

MAX_AUTHORIZATION_CHARACTERS: Final = 1_024  # references and secrets of ours take under 100
PROXIED: Final = Channel("a proxy")
_READS_WRAPPED_LINES: Final = "libest"  # of User-Agent: its decoder refuses base64 in one line
_LABEL: Final = "{label:[A-Za-z0-9][A-Za-z0-9._-]{0,63}}"
_PREFIX: Final = "/.well-known/est"
PATHS: Final = ((_PREFIX, ""), (f"{_PREFIX}/{_LABEL}", ".label"))  # and how each ends a route's name


class Refusals(Protocol):
    """Where refusals are audited that no service saw."""

    async def refused(self, *, operation: str, peer: str, reason: str) -> None:
        """Audit a refusal."""


def label_of(request: web.Request) -> str | None:
    """Return the label of the path, None where there is none."""
    return request.match_info.get("label")


def requester_of(request: web.Request, proxies: TrustedProxies) -> Requester:
    """Return who asks, as the connection and the header say it."""
    tls = _tls(request)
    certificate = client_certificate_of(request, proxies)
    authorization = request.headers.getall("Authorization", [])
    return Requester(
        peer=request[CLIENT],
        channel=PROXIED if proxies.trusts(request.remote) else channel_of(tls),
        password=basic_credentials(authorization) if authorization else None,
        certificate=certificate,
    )


def client_certificate_of(request: web.Request, proxies: TrustedProxies) -> bytes | None:
    """Return the client's certificate (DER), of the connection or as a trusted proxy says, or None."""
    own = _tls(request).getpeercert(binary_form=True)
    return proxies.client_certificate(request.remote, request.headers.getall(CLIENT_CERT, []), own)


@asynccontextmanager
async def audited(refusals: Refusals, operation: str, peer: str) -> AsyncIterator[None]:
    """Have what is refused inside audited; nobody is refused by a challenge."""
    try:
        yield
    except ChallengeError:
        raise
    except (PKIServerError, ProtocolError) as error:
        await refusals.refused(operation=operation, peer=peer, reason=str(error))
        raise


def encoded(request: web.Request, message: bytes, content_type: str, status: int = 200) -> web.Response:
    """Return a response of this DER in base64 (RFC 8951 §3.1)."""
    headers = dict([("Content-Type", content_type), CONTENT_TRANSFER_ENCODING])
    wrapped = request.headers.get("User-Agent", "").startswith(_READS_WRAPPED_LINES)
    return web.Response(status=status, body=encode_body(message, wrapped=wrapped), headers=headers)


async def deliver(request: web.Request, response: web.Response) -> None:
    """Write a response here: only then may a service call what is in it delivered."""
    await response.prepare(request)
    await response.write_eof()
    request[SENT] = response


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
