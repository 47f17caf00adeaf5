"""The one table of operations, and the routes of the whole API: the operations, their document, its page."""

from collections.abc import Sequence
from typing import Final

from aiohttp import web

from pkiserver.web.api import actors, certificates, enrollments, plant
from pkiserver.web.api.openapi import openapi_json
from pkiserver.web.api.operations import Operation
from pkiserver.web.api.page import CONTENT_SECURITY_POLICY, render_page
from pkiserver.web.api.routing import API

PREFIX: Final = "/api/"  # refusals of paths that begin so are problem details
OPERATIONS: Final[Sequence[Operation]] = (
    *certificates.OPERATIONS,
    *enrollments.OPERATIONS,
    *plant.OPERATIONS,
    *actors.OPERATIONS,
)
_NOSNIFF: Final = {"X-Content-Type-Options": "nosniff"}


def api_routes(api: API) -> list[web.RouteDef]:
    """Return the routes of the operations, for registered actors, and of their description, for everybody."""
    document = openapi_json(OPERATIONS)
    page = render_page(OPERATIONS)

    async def show_document(_request: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json", headers=_NOSNIFF)

    async def show_page(_request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Referrer-Policy": "no-referrer"}
        return web.Response(text=page, content_type="text/html", headers=_NOSNIFF | headers)

    return [
        *api.routes(OPERATIONS),
        web.get("/api/openapi.json", show_document, name="api.document"),
        web.get("/api/", show_page, name="api.page"),
    ]
