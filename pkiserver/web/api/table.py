"""The one table of operations, and the routes of the whole API: the operations, their document, its page."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from aiohttp import web

from pkiserver.web.api import (
    actor_proposals,
    actors,
    application_ends,
    applications,
    bulk_acts,
    carrier_codes,
    cases,
    certificates,
    documents,
    enrollments,
    erasures,
    imports,
    letters,
    officers,
    offices,
    organizations,
    people,
    plant,
    public_organizations,
    register_events,
    registry_messages,
    renewals,
    reports,
    timelines,
    tokens,
    webhooks,
)
from pkiserver.web.api.openapi import openapi_json
from pkiserver.web.api.operations import Operation
from pkiserver.web.api.page import CONTENT_SECURITY_POLICY, render_page
from pkiserver.web.api.routing import API

PREFIX: Final = "/api/"  # refusals of paths that begin so are problem details
OPERATIONS: Final[Sequence[Operation]] = (
    *certificates.OPERATIONS,
    *enrollments.OPERATIONS,
    *offices.OPERATIONS,
    *people.OPERATIONS,
    *erasures.OPERATIONS,
    *organizations.OPERATIONS,
    *officers.OPERATIONS,
    *imports.OPERATIONS,
    *tokens.OPERATIONS,
    *carrier_codes.OPERATIONS,
    *public_organizations.OPERATIONS,
    *applications.OPERATIONS,
    *application_ends.OPERATIONS,
    *cases.OPERATIONS,
    *documents.OPERATIONS,
    *bulk_acts.OPERATIONS,
    *letters.OPERATIONS,
    *register_events.OPERATIONS,
    *reports.OPERATIONS,
    *timelines.OPERATIONS,
    *webhooks.OPERATIONS,
    *registry_messages.OPERATIONS,
    *plant.OPERATIONS,
    *actors.OPERATIONS,
    *actor_proposals.OPERATIONS,
)
PUBLIC: Final[Sequence[Operation]] = (*public_organizations.PUBLIC, *renewals.PUBLIC)  # for everybody
_NOSNIFF: Final = {"X-Content-Type-Options": "nosniff"}
_Made = TypeVar("_Made")


class _MadeOnce(Generic[_Made]):
    """What takes half a second to make: made when somebody first asks, beside the event loop, and kept.

    However many ask meanwhile, and whether they wait for it or go away, it is made once.
    """

    def __init__(self, make: Callable[[], _Made]) -> None:
        self._make = make
        self._made: asyncio.Task[_Made] | None = None

    async def get(self) -> _Made:
        """Return it."""
        if self._made is None:
            self._made = asyncio.create_task(asyncio.to_thread(self._make))
        return await asyncio.shield(self._made)


def api_routes(api: API) -> list[web.RouteDef]:
    """Return the routes of the operations, for registered actors, and of their description, for everybody."""
    every = (*OPERATIONS, *PUBLIC)
    document = _MadeOnce(lambda: openapi_json(every))
    page = _MadeOnce(lambda: render_page(every))

    async def show_document(_request: web.Request) -> web.Response:
        body = await document.get()
        return web.Response(body=body, content_type="application/json", headers=_NOSNIFF)

    async def show_page(_request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Referrer-Policy": "no-referrer"}
        text = await page.get()
        return web.Response(text=text, content_type="text/html", headers=_NOSNIFF | headers)

    return [
        *api.routes(every),
        web.get("/api/openapi.json", show_document, name="api.document"),
        web.get("/api/", show_page, name="api.page"),
    ]
