"""What operators and load balancers ask: `/metrics`, `/health`, `/ready`, on an address of their own."""

from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web

from pkiserver.health import Cause
from pkiserver.metrics import CONTENT_TYPE, Metrics

_NO_STORE: Final = {"Cache-Control": "no-store"}  # an answer is true only while it is given


def operations_routes(metrics: Metrics, causes: Callable[[], Sequence[Cause]]) -> list[web.RouteDef]:
    """Return the routes of the operations address.

    `causes` gives the conditions of readiness as they are now; the server is ready when all of them are ok.
    """

    async def show_metrics(_request: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE, **_NO_STORE})

    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"}, headers=_NO_STORE)

    async def ready(_request: web.Request) -> web.Response:
        found = causes()
        is_ready = all(cause.ok for cause in found)
        shown = [
            {"name": cause.name, "state": "ok" if cause.ok else "failed", "detail": cause.detail}
            for cause in found
        ]
        return web.json_response(
            {"ready": is_ready, "causes": shown}, status=200 if is_ready else 503, headers=_NO_STORE
        )

    return [
        web.get("/metrics", show_metrics, name="operations.metrics"),
        web.get("/health", health, name="operations.health"),
        web.get("/ready", ready, name="operations.ready"),
    ]
