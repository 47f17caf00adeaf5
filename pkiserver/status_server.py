"""The status role: OCSP, CRLs and CA certificates from what another machine signed, and nothing else.

It holds no key and opens no database. Of a home it reads the configuration, the response table and the public
files; it writes LMDB's lock file and its own files in `run/`. It may run beside an issuing server.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import UTC, datetime
from typing import Final

import structlog

from config.schema_status import StatusSettings
from pkiserver.clock import Clock
from pkiserver.crl_readings import register_crls
from pkiserver.health import Cause
from pkiserver.home import Home
from pkiserver.metrics import Metrics, Reading, Sample
from pkiserver.operations_side import OperationsSide
from pkiserver.process_limits import prepare_process
from pkiserver.serving import Addresses, Tasks, stop_signal, until_stopped
from pkiserver.status.watch import Horizon, StatusWatch
from pkiserver.web.workers import StatusWorkers, StatusWorkersSettings
from pkiserver.worker_readings import register_workers
from store.responses import ResponseTableReader

LOOK_S: Final = 1.0
BUSY_LOOK_S: Final = 0.02  # in the midst of a look through the table
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


class StatusServer:
    """One running server of the status role."""

    def __init__(
        self, home: Home, settings: StatusSettings, clock: Clock, table: ResponseTableReader
    ) -> None:
        """Take a table that nobody else in this process uses."""
        self.metrics = Metrics()
        self._home = home
        self._settings = settings
        self._clock = clock
        self.watch = StatusWatch(table, home.public)
        self.workers = StatusWorkers(
            StatusWorkersSettings(
                table=home.responses,
                public=home.public,
                addresses=tuple((address.host, address.port) for address in settings.listen.http),
                workers=settings.ocsp.workers,
                max_age=settings.ocsp.max_age,
            )
        )
        self._operations = OperationsSide(self.metrics, self.causes)
        self._tasks = Tasks()
        self._looking = asyncio.Lock()

    @property
    def addresses(self) -> Addresses:
        """Return where it listens."""
        http = self.workers.addresses if self._settings.listen.http else []
        return Addresses(http, [], [listener.address for listener in self._operations.listeners])

    def causes(self) -> list[Cause]:
        """Return the conditions of readiness as they are now."""
        return self.watch.causes(self._clock.now())

    async def start(self) -> None:
        """Look at what there is to serve and open the doors."""
        self._home.status_endpoints.unlink(missing_ok=True)  # of a server that was killed
        await asyncio.to_thread(self.watch.look)
        self._register()
        if self._settings.listen.http:
            await self.workers.start(ready=self._has_answers())
        doors = self._settings.listen.metrics
        await self._operations.start(doors, doors=len(doors))
        self._tasks.start("watch", self._watch())
        self.addresses.tell(self._home.status_endpoints)
        self.metrics.started.set(datetime.now(UTC).timestamp())

    async def wait_failed(self) -> None:
        """Return only by raising what ended a task that must not end."""
        await self._tasks.wait_failed()

    async def stop(self) -> None:
        """Drain: no new connections, requests under way are answered, then everything ends."""
        self.workers.set_ready(ready=False)
        await asyncio.gather(
            self.workers.drain() if self._settings.listen.http else asyncio.sleep(0),
            *(listener.drain() for listener in self._operations.listeners),
        )
        async with self._looking:  # a look goes on in its thread, whatever becomes of its task
            await self._tasks.cancel()
        self._home.status_endpoints.unlink(missing_ok=True)

    def _has_answers(self) -> bool:
        return self.watch.responses_cause(self._clock.now()).ok

    async def _watch(self) -> None:
        """Look again and again; have load balancers turn away while there is nothing to answer with."""
        while True:
            await asyncio.sleep(BUSY_LOOK_S if self.watch.busy else LOOK_S)
            async with self._looking:
                await asyncio.to_thread(self.watch.look)
            self.workers.set_ready(self._has_answers())
            self._operations.log_changes()

    def _register(self) -> None:
        watch, metrics = self.watch, self.metrics
        register_workers(metrics, self.workers)
        metrics.read_causes(self.causes)
        metrics.read(Reading.PRESIGNER_POSITION, lambda: [Sample(watch.position)])
        metrics.read(Reading.OCSP_OLDEST_NEXT_UPDATE, lambda: _oldest(watch.horizon))
        register_crls(metrics, lambda: watch.crls.items())


def _oldest(horizon: Horizon | None) -> list[Sample]:
    return [] if horizon is None else [Sample(horizon.oldest_s)]


@asynccontextmanager
async def running_status_server(
    home: Home, settings: StatusSettings, clock: Clock
) -> AsyncIterator[StatusServer]:
    """Run the status role on a home whose status lock is held, until the block is left.

    `TableMissingError` where there is nothing to serve.
    """
    async with AsyncExitStack() as stack:
        table = stack.enter_context(closing(ResponseTableReader(home.responses)))
        server = StatusServer(home, settings, clock, table)
        stack.push_async_callback(server.stop)
        await server.start()
        yield server


async def serve_status(
    home: Home,
    settings: StatusSettings,
    clock: Clock,
    started: Callable[[StatusServer], Awaitable[None]],
) -> None:
    """Serve status until SIGINT or SIGTERM, or until a part fails that must not; then drain."""
    prepare_process()
    stop = stop_signal()
    async with running_status_server(home, settings, clock) as server:
        await started(server)
        await until_stopped(server, stop)
