"""The operations side of a running server, in every role: metrics and readiness on addresses of their own."""

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from config.units import Address
from pkiserver.health import Cause
from pkiserver.metrics import Metrics
from pkiserver.process_limits import connections_for
from pkiserver.web.https import Listener
from pkiserver.web.limits import Limits
from pkiserver.web.middleware import web_application
from pkiserver.web.operations import operations_routes

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


class OperationsSide:
    """The operations listeners of one server; none where the configuration names no address."""

    def __init__(self, metrics: Metrics, causes: Callable[[], list[Cause]]) -> None:
        """Take what is shown: metrics, and the conditions of readiness as they are when it is asked."""
        self._metrics = metrics
        self._causes = causes
        self._was_ok: dict[str, bool] = {}
        self.listeners: list[Listener] = []

    async def start(self, addresses: Sequence[Address], *, doors: int) -> None:
        """Listen on every address; `doors` are all listeners of this process, which share its descriptors."""
        limits = Limits(max_connections=connections_for(doors, Limits().max_connections))
        app = web_application(operations_routes(self._metrics, self._causes), limits)
        self.listeners = [
            Listener("metrics", app, host=one.host, port=one.port, metrics=self._metrics, limits=limits)
            for one in addresses
        ]
        for listener in self.listeners:
            await listener.start()

    def log_changes(self) -> None:
        """Log each condition of readiness that has changed since the last call."""
        for cause in self._causes():
            if self._was_ok.get(cause.name, True) != cause.ok:
                log = _log.info if cause.ok else _log.error
                log("readiness", cause=cause.name, ok=cause.ok, detail=cause.detail)
            self._was_ok[cause.name] = cause.ok
