"""The HTTPS side of the running server: its listeners, their bounds, and TLS that follows its files."""

import asyncio
import ssl
from collections.abc import Sequence

import structlog
from aiohttp import web

from config.errors import ConfigError
from config.schema import Settings
from pkiserver.core import Core
from pkiserver.errors import PKIServerError
from pkiserver.file_stamp import FileStamp, file_stamp
from pkiserver.metrics import Metrics
from pkiserver.process_limits import connections_for
from pkiserver.ra.api_access import APIAccess
from pkiserver.ra.sealed_secrets import SealedSecrets
from pkiserver.web.api.idempotency import IdempotentRequests
from pkiserver.web.api.operations import APIServices
from pkiserver.web.api.problems import write_problem
from pkiserver.web.api.rate_limit import RateLimiter
from pkiserver.web.api.routing import API
from pkiserver.web.api.table import PREFIX, api_routes
from pkiserver.web.cmp import cmp_routes
from pkiserver.web.est import est_routes
from pkiserver.web.est_cmc import cmc_routes
from pkiserver.web.est_server_keys import server_key_routes
from pkiserver.web.https import Listener
from pkiserver.web.limits import Limits
from pkiserver.web.middleware import web_application
from pkiserver.web.proxies import TrustedProxies
from pkiserver.web.tls import TLSSettings, tls_context

_log = structlog.get_logger("pkiserver.https")


def https_limits(settings: Settings) -> Limits:
    """Return the bounds of each HTTPS listener."""
    https, est, listen = settings.https, settings.est, settings.listen
    return Limits(
        max_body_bytes=est.max_body,
        max_cmp_body_bytes=settings.cmp.max_message,
        max_connections=connections_for(len(listen.https) + len(listen.metrics), https.max_connections),
        max_connections_per_address=https.max_connections_per_address,
        max_requests=https.max_requests,
        handshake_s=https.handshake_timeout.total_seconds(),
        header_s=https.idle_timeout.total_seconds(),
        body_s=est.request_timeout.total_seconds(),
        write_s=https.write_timeout.total_seconds(),
    )


class HTTPSSide:
    """Every HTTPS listener of one server; none where the configuration names no address."""

    def __init__(self, core: Core, public_routes: Sequence[web.RouteDef]) -> None:
        """Take what is served; `public_routes` are those besides EST's, for everybody."""
        self._core = core
        self._public_routes = public_routes
        self._certificate_file = core.home.tls / "server.pem"
        self._shown: FileStamp = None  # of the server certificate that the listeners show
        self.listeners: list[Listener] = []

    async def start(self, metrics: Metrics) -> None:
        """Listen on every address."""
        settings = self._core.settings
        limits = https_limits(settings)
        proxies = TrustedProxies(settings.est.trusted_proxies)
        enrollment = self._core.enrollment
        routes = [
            *est_routes(enrollment, proxies),
            *server_key_routes(enrollment, proxies),
            *cmc_routes(self._core.full_pki_requests, enrollment, proxies),
            *(cmp_routes(self._core.cmp) if settings.cmp.enabled else ()),
            *self._public_routes,
            *api_routes(self._api(proxies)),
        ]
        app = web_application(routes, limits, settings.est.realm, proxies, {PREFIX: write_problem})
        self.listeners = [
            Listener(
                "https",
                app,
                host=address.host,
                port=address.port,
                metrics=metrics,
                limits=limits,
                tls=self._tls_context(),
                proxies=proxies,
            )
            for address in settings.listen.https
        ]
        for listener in self.listeners:
            await listener.start()

    def _api(self, proxies: TrustedProxies) -> API:
        core, settings = self._core, self._core.settings.api
        services = APIServices(
            core.storage,
            core.clock,
            core.authorities,
            core.profiles,
            core.approvals,
            core.status_changes,
            core.registration,
            core.actors,
            core.role_grants,
            core.renewals,
        )
        access = APIAccess(
            core.storage,
            core.clock,
            core.actors,
            core.client_certificates,
            core.refusals,
            core.registration.people,
        )
        return API(
            services,
            access,
            RateLimiter(settings.rate, settings.burst),
            IdempotentRequests(
                core.storage, core.clock, settings.key_lifetime, SealedSecrets(core.home.credential_key)
            ),
            proxies,
        )

    def reload_tls(self) -> None:
        """Have new connections get the server certificate and the client CAs as they are now."""
        context = self._tls_context()
        for listener in self.listeners:
            listener.reload_tls(context)

    async def follow_files(self) -> None:
        """Take up a server certificate or trusted issuers that somebody replaced; bad ones change nothing."""
        try:
            if await asyncio.to_thread(self._changed):
                self.reload_tls()
                _log.info("tls-reloaded")
        except ConfigError as error:
            for finding in error.findings:
                _log.error("trusted-issuers-not-reloaded", reason=str(finding))
        except PKIServerError as error:
            _log.error("tls-not-reloaded", reason=str(error))

    def _changed(self) -> bool:
        changed = self._core.trusted_issuers.changed()
        if changed:
            self._core.trusted_issuers.load()
        return changed or file_stamp(self._certificate_file) != self._shown

    def _tls_context(self) -> ssl.SSLContext:
        path = self._certificate_file
        own = [authority.der for authority in self._core.authorities]
        self._shown = file_stamp(path)  # before it is read: a bad one is not tried again until it changes
        context = tls_context(TLSSettings(path, path, client_cas=[*own, *self._core.trusted_issuers.ders]))
        if self._core.settings.tls.min_version == "1.3":
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context
