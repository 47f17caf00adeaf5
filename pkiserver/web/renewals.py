"""Renewal by a signed application over HTTPS, for holders: there is no client certificate to show.

A challenge comes first, which is signed along; then the signed application. Answers are JSON, refusals
problem details as of the API.
"""

import json
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from pkiserver.clock import Clock
from pkiserver.ra.registration.form import FormError
from pkiserver.ra.registration.renewals import Renewals
from pkiserver.web.address_limit import AddressLimiter
from pkiserver.web.api.operations import BASE
from pkiserver.web.api.problems import InvalidRequestError
from pkiserver.web.middleware import CLIENT
from protocols.errors import ErrorKind, MalformedError, ProtocolError

CONTENT_TYPES: Final = ("application/cms", "application/pkcs7-mime")  # RFC 7193, RFC 8551
MAX_A_MINUTE: Final = 30  # of one address: an office with many citizens behind one, and no flood
_HEADERS: Final = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class NotCMSError(ProtocolError):
    """The body is said to be no CMS message."""

    kind = ErrorKind.UNSUPPORTED_MEDIA_TYPE


def renewal_routes(renewals: Renewals, clock: Clock) -> list[web.RouteDef]:
    """Return the two routes, for everybody within the bounds of an address."""
    limiter = AddressLimiter(MAX_A_MINUTE)

    async def challenge(request: web.Request) -> web.Response:
        limiter.take(request[CLIENT], clock.now())
        if await request.read():
            raise MalformedError("this operation takes no body")
        made = renewals.challenge()
        return _answer({"challenge": made.text, "expires_at": made.expires_at.isoformat()})

    async def renew(request: web.Request) -> web.Response:
        limiter.take(request[CLIENT], clock.now())
        if request.content_type not in CONTENT_TYPES:
            raise NotCMSError(f"send {CONTENT_TYPES[0]}, in DER")
        try:
            given = await renewals.apply(await request.read(), request[CLIENT])
        except FormError as error:
            raise InvalidRequestError.of_form(error) from error
        return _answer(
            {
                "application": given.application,
                "profile": given.profile,
                "use": given.use,
                "reference": given.reference,
                "secret": given.secret,
                "expires_at": given.expires_at.isoformat(),
            }
        )

    return [
        web.post(f"{BASE}/renewals/challenge", challenge, name="api.renewalChallenge"),
        web.post(f"{BASE}/renewals", renew, name="api.renew"),
    ]


def _answer(values: Mapping[str, object]) -> web.Response:
    return web.Response(body=json.dumps(values).encode(), headers=_HEADERS)
