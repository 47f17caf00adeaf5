"""The running server: status workers, HTTPS, operations, control socket and the tasks between them.

It issues, whatever else it does; the role that serves status alone is `pkiserver.status_server`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from config.hierarchy import INFRASTRUCTURE
from pkiserver.clock import Clock
from pkiserver.control_server import ControlServer
from pkiserver.core import Core, open_core, register_first
from pkiserver.errors import PKIServerError, UnavailableError
from pkiserver.health import Cause
from pkiserver.home import Home
from pkiserver.https_side import HTTPSSide
from pkiserver.metrics import Metrics
from pkiserver.operations_side import OperationsSide
from pkiserver.process_limits import prepare_process, settle_garbage_collection, trim_heap
from pkiserver.ra.letters.post_office import open_post_office
from pkiserver.readings import Readings
from pkiserver.serving import Addresses, Tasks, stop_signal, until_stopped
from pkiserver.signer.circuit import CircuitState
from pkiserver.status.fresh import FreshResponses
from pkiserver.status.presigner_health import PresignerHealth
from pkiserver.status.register import Register
from pkiserver.status.register_files import RegisterFiles
from pkiserver.web.register import register_routes
from pkiserver.web.status_worker import CMPSettings, SigningSettings
from pkiserver.web.workers import StatusWorkers, StatusWorkersSettings
from pkiserver.worker_readings import register_workers
from protocols.errors import ProtocolError
from store.response_writer import ResponseTableWriter

UPKEEP_S: Final = 1.0
MAINTENANCE: Final = timedelta(hours=1)  # how often responders and server certificates are looked at
DRAIN: Final = timedelta(seconds=10)
_log = structlog.get_logger("pkiserver.app")


class Server:
    """One running server on an open core; without `status` it leaves the HTTP port to others."""

    def __init__(self, core: Core, *, status: bool = True) -> None:
        self.core = core
        self._serves_status = status and bool(core.settings.listen.http)
        self.metrics = Metrics()
        settings = core.settings
        self.table = ResponseTableWriter(core.home.responses)
        core.served_responses.attach(self.table.get)
        self.presigner = core.presigning.make(self.table)
        self.workers = StatusWorkers(
            StatusWorkersSettings(
                table=core.home.responses,
                public=core.home.public,
                addresses=tuple((address.host, address.port) for address in settings.listen.http),
                workers=settings.ocsp.workers,
                max_age=settings.ocsp.max_age,
                signing=self._signing_settings(),
                cmp=CMPSettings(settings.cmp.queue, settings.cmp.max_message),
            ),
            self._fresh_responses().respond,
            core.cmp if settings.cmp.enabled else None,
        )
        self.register = Register(core.storage, core.authorities)
        self.register_files = RegisterFiles(
            storage=core.storage, clock=core.clock, source=self.register, folder=core.home.public / "register"
        )
        self.presigner_health = PresignerHealth(self.presigner, core.clock)
        self.readings = Readings(core, self.presigner, self.presigner_health)
        self.postman = open_post_office(
            storage=core.storage,
            clock=core.clock,
            home=core.home,
            outbox=core.registration.outbox,
            settings=core.settings.letters,
            webhooks=core.settings.webhooks,
        )
        self.https = HTTPSSide(core, register_routes(self.register, core.clock.now))
        self.operations = OperationsSide(self.metrics, self.causes)
        self._control = ControlServer(core.home, core.commands.run)
        self._tasks = Tasks()
        self._is_started = False
        self._was_answering = False

    def _fresh_responses(self) -> FreshResponses:
        core, ocsp = self.core, self.core.settings.ocsp
        return FreshResponses(
            storage=core.storage,
            signer=core.signer,
            clock=core.clock,
            authorities=core.authorities,
            policies=core.settings.status_policies,
            echo_nonce=ocsp.nonce == "sign",
            hashes=ocsp.hashes,
        )

    def _signing_settings(self) -> SigningSettings:
        ocsp = self.core.settings.ocsp
        return SigningSettings(
            limit=ocsp.queue, echo_nonce=ocsp.nonce == "sign", unknown=self._signed_unknown()
        )

    def _signed_unknown(self) -> tuple[int, ...]:
        """Return the keys that sign what they say of certificates that they did not issue."""
        policies = self.core.settings.status_policies
        signed = {name for name, one in policies.items() if one.unknown != "unauthorized"}
        return tuple(record.id for record in self.core.authorities.records if record.name in signed)

    @property
    def addresses(self) -> Addresses:
        """Return where it listens."""
        return Addresses(
            self.workers.addresses if self._serves_status else [],
            [listener.address for listener in self.https.listeners],
            [listener.address for listener in self.operations.listeners],
        )

    async def start(self) -> None:
        """Recover what a crash left, show every event and open the doors; what takes long goes on behind."""
        core = self.core
        core.home.endpoints.unlink(missing_ok=True)  # of a server that was killed
        core.authorities.get(INFRASTRUCTURE)  # without it there is no certificate to serve HTTPS with
        # None of this stops the start: a full disk or a wrong clock must not keep status from answering.
        await self._recover()
        await self._maintain()
        self._tasks.start("presigner", self.presigner.run())
        core.presigning.lend(self.presigner)
        await self.presigner.settle()
        await core.crl_publisher.attempt()
        self._listen_for_events()
        core.readiness.shows(self.presigner_health.cause)
        core.readiness.shows(self._crl_cause)
        core.readiness.shows(self._signer_cause)
        core.readiness.shows(self._rollover_cause)
        core.readiness.shows(core.audit_heads.cause)
        if core.registration.http_registry is not None:
            core.readiness.shows(core.registration.http_registry.cause)
        self.readings.register(self.metrics)
        await self.readings.refresh()
        if self._serves_status:
            register_workers(self.metrics, self.workers)
            self._was_answering = self.presigner_health.has_answers()
            await self.workers.start(ready=self._was_answering)
        listen = core.settings.listen
        await self.operations.start(listen.metrics, doors=len(listen.https) + len(listen.metrics))
        await self.https.start(self.metrics)
        await self._control.start()
        self._tasks.start("crl-publisher", core.crl_publisher.run())
        self._tasks.start("register", self.register_files.run())
        self._tasks.start("expiries", core.registration.register.expiries.run())
        self._tasks.start("upkeep", self._keep_up())
        self._tasks.start("trim-heap", trim_heap())
        self._tasks.start("postman", self.postman.run())
        self._tasks.start("bulk-acts", core.registration.bulk_runner.run())
        self._tasks.start("webhooks", core.registration.register.webhooks.run())
        self._tasks.start("audit-heads", core.audit_heads.run())
        self._is_started = True
        self.addresses.tell(core.home.endpoints)
        self.metrics.started.set(datetime.now(UTC).timestamp())

    async def wait_failed(self) -> None:
        """Return only by raising what ended one of the tasks that must not end."""
        await self._tasks.wait_failed()

    async def stop(self) -> None:
        """Drain: no new connections, requests under way are answered, then everything ends."""
        self.workers.set_ready(ready=False)
        await asyncio.gather(
            self.workers.drain(DRAIN) if self._serves_status else asyncio.sleep(0),
            *(listener.drain() for listener in (*self.https.listeners, *self.operations.listeners)),
            self._control.close(),
        )
        if self._is_started:
            await self.core.audit_heads.finish()  # a certificate for it needs the tasks
        await self._tasks.cancel()
        await self.postman.close()
        self.table.close()
        self.core.home.endpoints.unlink(missing_ok=True)

    def causes(self) -> list[Cause]:
        """Return the conditions of readiness as they are now."""
        return self.core.readiness.causes()

    def _listen_for_events(self) -> None:
        self.core.followers.changed.append(self._follow_change)
        self.core.followers.issued.append(self.presigner.wait_for_new)
        self.core.followers.authorities.append(self._show_authorities)

    def _show_authorities(self) -> None:
        self.workers.sign_unknown(self._signed_unknown())
        self.presigner.introduce()
        self.https.reload_tls()

    async def _follow_change(self, sequence: int) -> None:
        """Have the status plane tell of a change before its command is acknowledged."""
        self.core.crl_publisher.notify()
        await self.presigner.wait_for(sequence)

    async def _recover(self) -> None:
        try:
            count = await self.core.issuance.recover()
            lost = await self.core.server_keys.recover()
            unconfirmed = await self.core.cmp.expire()
        except PKIServerError as error:
            _log.error("issuances-not-recovered", reason=str(error))
            return
        if count:
            _log.warning("issuances-recovered", count=count)
        if unconfirmed:
            _log.info("unconfirmed-certificates-withdrawn", transactions=unconfirmed)
        if lost:
            _log.warning("undelivered-keys-withdrawn", count=lost)

    async def _keep_up(self) -> None:
        """Once a second: what must be tried again; once an hour: what may have to be renewed."""
        maintained_at = self.core.clock.now()
        while True:
            await asyncio.sleep(UPKEEP_S)
            await self.core.storage_guard.probe()
            self._tell_load_balancers()
            self.operations.log_changes()
            if self._may_issue():
                await self._recover()
            await self._attempt(self.core.rollover.activate_due, self._show_authorities)
            await self._refresh_readings()
            await self.https.follow_files()
            if self.core.clock.now() - maintained_at > MAINTENANCE:
                maintained_at = self.core.clock.now()
                await self._maintain()

    def _tell_load_balancers(self) -> None:
        """Have them turn away while there is no answer to give; a signer that fails takes none away."""
        answering = self.presigner_health.has_answers()
        if self._serves_status and answering != self._was_answering:
            self.workers.set_ready(answering)
            self._was_answering = answering

    async def _maintain(self) -> None:
        await self._attempt(self.core.hierarchy.maintain, self.presigner.introduce)
        await self._attempt(self._maintain_certificates, self.https.reload_tls)
        await self._attempt(self._end_renewals, self.operations.log_changes)

    async def _maintain_certificates(self) -> bool:
        made = await self.core.server_certificates.maintain()
        await register_first(self.core)
        return made

    async def _end_renewals(self) -> bool:
        return await self.core.registration.renewal_ends.end_due() > 0

    async def _attempt(self, maintain: Callable[[], Awaitable[bool]], show: Callable[[], None]) -> None:
        """Have one part make what is due, and show it also where only some of it could be made."""
        made = True
        try:
            made = await maintain()
        except (PKIServerError, ProtocolError, OSError) as error:
            _log.error("maintenance-failed", reason=str(error))
        try:
            if made:
                show()
        except (PKIServerError, OSError) as error:
            _log.error("maintenance-not-shown", reason=str(error))

    def _may_issue(self) -> bool:
        try:
            self.core.readiness.gate()
        except UnavailableError:
            return False
        return True

    async def _refresh_readings(self) -> None:
        try:
            await self.readings.refresh()
        except PKIServerError as error:
            _log.error("metrics-not-read", reason=str(error))

    def _crl_cause(self) -> Cause:
        now = self.core.clock.now()
        authorities = self.core.authorities
        stale = [
            name
            for name, crl in self.core.crl_publisher.published()
            if crl.next_update <= now and authorities.with_id(crl.authority).answers_at(now)
        ]
        detail = f"the CRL {', '.join(stale)} is past its nextUpdate" if stale else ""
        return Cause("crl", ok=not stale, detail=detail or self.core.crl_publisher.failure or "")

    def _rollover_cause(self) -> Cause:
        """Never a reason to turn clients away, but long before it would be, one to tell people."""
        near = [f"{name} by {latest:%Y-%m-%d}" for name, latest in self.core.rollover.near().items()]
        told = f"a new key has to be active: {', '.join(near)}; see `pkiserver ca rollover`" if near else ""
        return Cause("rollover", ok=True, detail=told)

    def _signer_cause(self) -> Cause:
        if self.core.signer.healthy:
            return Cause("signer", ok=True)
        signer = self.core.signer
        if signer.circuit is CircuitState.OPEN:
            return Cause(
                "signer", ok=False, detail=f"{signer.failure}; mend it and say `pkiserver signer reset`"
            )
        return Cause("signer", ok=False, detail=signer.failure or "its processes are being replaced")


@asynccontextmanager
async def running_server(
    home: Home, clock: Clock, listen: Mapping[str, list[str]] | None = None, *, status: bool = True
) -> AsyncIterator[Server]:
    """Run a server on a home whose lock is held, until the block is left.

    `listen` replaces addresses of the configuration: `http`, `https`, `metrics`. Without `status` it only
    issues: everything but the HTTP port.
    """
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(home, clock))
        core.settings = core.settings.with_listen(listen or {})
        server = Server(core, status=status)
        stack.push_async_callback(server.stop)
        await server.start()
        yield server


async def serve(
    home: Home,
    clock: Clock,
    started: Callable[[Server], Awaitable[None]],
    listen: Mapping[str, list[str]] | None = None,
    *,
    status: bool = True,
) -> None:
    """Serve until SIGINT or SIGTERM, or until a part fails that must not; then drain."""
    prepare_process()
    stop = stop_signal()
    async with running_server(home, clock, listen, status=status) as server:
        await started(server)
        settle_garbage_collection()
        await until_stopped(server, stop)
