"""CMP on the HTTPS port (RFC 9811); its messages protect themselves, TLS only hides them."""

from typing import Final

from aiohttp import web

from pkiserver.errors import NotFoundError
from pkiserver.web.cmp_answering import CMPAnswerer, reply_to
from pkiserver.web.middleware import CLIENT
from protocols.cmp.http import MEDIA_TYPE, PATH, CMPAddress, address_of

_PATHS: Final = {PATH.decode(): "", f"{PATH.decode()}/{{rest:.*}}": ".named"}


def cmp_routes(answerer: CMPAnswerer) -> list[web.RouteDef]:
    """Return the routes of CMP, with and without an operation or a profile in the path."""

    async def message(request: web.Request) -> web.Response:
        reply = await reply_to(answerer, await request.read(), _address(request), request[CLIENT])
        media_type = MEDIA_TYPE if reply.status == web.HTTPOk.status_code else "text/plain"
        headers = {"Cache-Control": "no-store"}
        if reply.retry_after_s is not None:
            headers["Retry-After"] = str(reply.retry_after_s)
        return web.Response(
            status=reply.status,
            body=reply.body,
            headers=headers,
            content_type=media_type if reply.body else None,
        )

    return [web.post(path, message, name=f"cmp.message{variant}") for path, variant in _PATHS.items()]


def _address(request: web.Request) -> CMPAddress:
    """Return what the path names; raises for what is no path or no message of CMP."""
    address = address_of(request.path.encode())
    if address is None:
        raise NotFoundError("there is nothing of this name below /.well-known/cmp")
    if request.content_type != MEDIA_TYPE:
        raise web.HTTPUnsupportedMediaType(text=f"the Content-Type must be {MEDIA_TYPE}")
    return address
