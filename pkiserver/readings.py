"""What Prometheus reads off the running server's state at each scrape."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from pkiserver.audit_head_readings import register_audit_heads
from pkiserver.ca.server_certificates import server_certificate
from pkiserver.core import Core
from pkiserver.crl_readings import register_crls
from pkiserver.metrics import Metrics, Reading, Sample
from pkiserver.registration_readings import RegistrationReadings
from pkiserver.registry_readings import register_registry
from pkiserver.signer_readings import register_signer
from pkiserver.status.presigner import Presigner
from pkiserver.status.presigner_health import PresignerHealth
from store import audit as audit_chain
from store import certificates, cmp_transactions, enrollments, plant

COUNT_EVERY: Final = timedelta(minutes=1)  # counting takes a third of a second a million certificates
_Counts = dict[str, dict[str, int]]  # by authority, then by state


class Readings:
    """Gives the metrics their values; what needs the database is read beforehand, by `refresh`."""

    def __init__(self, core: Core, presigner: Presigner, health: PresignerHealth) -> None:
        self._core = core
        self._presigner = presigner
        self._health = health
        self._counts: _Counts = {}
        self._counted_at: datetime | None = None
        self._audit_sequence = 0
        self._waiting = enrollments.Waiting(0, None)
        self._unconfirmed = 0
        self._registration = RegistrationReadings(core.storage, core.clock)
        self._plant = plant.Load(0, 0, 0)

    async def refresh(self) -> None:
        """Read what a scrape is to show; certificates are counted at most once in `COUNT_EVERY`."""
        head = await self._core.storage.read(audit_chain.head)
        self._audit_sequence = head.sequence if head else 0
        now = self._core.clock.now()
        self._waiting = await self._core.storage.read(lambda tx: enrollments.waiting(tx, now))
        self._unconfirmed = await self._core.storage.read(cmp_transactions.count_unconfirmed)
        await self._registration.refresh()
        self._plant = await self._core.storage.read(lambda tx: plant.load(tx, now))
        if self._counted_at is None or abs(now - self._counted_at) >= COUNT_EVERY:
            await self._count(now)

    async def _count(self, now: datetime) -> None:
        counts: _Counts = {}
        for authority in self._core.authorities:
            counts[authority.handle] = await self._core.storage.read(
                lambda tx, known=authority.id: certificates.count_by_state(tx, known, now)  # type: ignore[misc]
            )
        self._counts, self._counted_at = counts, now

    def register(self, metrics: Metrics) -> None:
        """Have every reading that this server can give shown."""
        for reading, reader in (
            (Reading.CERTIFICATES, self._certificates),
            (Reading.CERTIFICATE_EXPIRY, self._expiry),
            (Reading.AUTHORITY_STATE, self._authority_states),
            (Reading.AUTHORITY_ROLLOVER, self._rollover_times),
            (Reading.CREDENTIAL_FAILURES, self._credential_failures),
            (Reading.PLANT_QUEUE, lambda: [Sample(self._plant.queued)]),
            (Reading.PLANT_BATCHES_OPEN, lambda: [Sample(self._plant.open_batches)]),
            (Reading.PLANT_BATCHES_OVERDUE, lambda: [Sample(self._plant.overdue_batches)]),
            (Reading.ENROLLMENTS_WAITING, lambda: [Sample(self._waiting.count)]),
            (Reading.ENROLLMENTS_OLDEST, self._oldest_waiting),
            (Reading.ENROLLMENTS_DECIDED, self._decided),
            (Reading.CMP_ANSWERS, self._cmp_answers),
            (Reading.CMP_UNCONFIRMED, lambda: [Sample(self._unconfirmed)]),
            (Reading.AUDIT_SEQUENCE, lambda: [Sample(self._audit_sequence)]),
            (Reading.COMMITS, lambda: [Sample(self._core.storage.database.statistics.commits)]),
            (Reading.TRANSACTIONS, lambda: [Sample(self._core.storage.database.statistics.transactions)]),
            (Reading.COMMIT_FAILURES, lambda: [Sample(self._core.storage.database.statistics.failures)]),
            (Reading.OCSP_OLDEST_RESPONSE, lambda: [Sample(self._health.oldest_response_age_s())]),
            (Reading.PRESIGNER_POSITION, lambda: [Sample(self._presigner.position)]),
            (Reading.OCSP_OLDEST_NEXT_UPDATE, self._oldest_next_update),
        ):
            metrics.read(reading, reader)
        self._registration.register(metrics)
        register_signer(metrics, self._core.signer)
        register_crls(metrics, self._core.crl_publisher.published)
        register_registry(metrics, self._core.registration.http_registry)
        register_audit_heads(metrics, self._core.audit_heads)
        metrics.read_causes(self._core.readiness.causes)

    def _oldest_next_update(self) -> list[Sample]:
        oldest_s = self._health.oldest_next_update_s()
        return [] if oldest_s is None else [Sample(oldest_s)]

    def _certificates(self) -> Iterator[Sample]:
        for name, counts in self._counts.items():
            for state, count in counts.items():
                yield Sample(count, (name, state))

    def _expiry(self) -> Iterator[Sample]:
        for authority in self._core.authorities:
            yield Sample(authority.certificate.not_valid_after_utc.timestamp(), ("ca", authority.handle))
            responder = self._core.authorities.responder(authority.id)
            if responder is not None:
                expiry = responder.certificate.not_valid_after_utc.timestamp()
                yield Sample(expiry, ("ocsp", authority.handle))
        certificate = server_certificate(self._core.home)
        if certificate is not None:
            yield Sample(certificate.not_valid_after_utc.timestamp(), ("tls", "https"))
        for one, labels in (
            (self._core.message_signer, ("cmc", "messages")),
            (self._core.audit_signer, ("audit", "heads")),
        ):
            if one.certificate is not None:
                yield Sample(one.certificate.not_valid_after_utc.timestamp(), labels)

    def _authority_states(self) -> Iterator[Sample]:
        for record in self._core.authorities.records:
            yield Sample(1, (record.handle, record.state))

    def _rollover_times(self) -> Iterator[Sample]:
        for name, latest in self._core.rollover.times().items():
            yield Sample(latest.timestamp(), (name,))

    def _credential_failures(self) -> Iterator[Sample]:
        for outcome, count in self._core.refusals.failures.items():
            yield Sample(count, (outcome,))

    def _cmp_answers(self) -> Iterator[Sample]:
        for labels, count in self._core.cmp.answered.items():
            yield Sample(count, labels)

    def _oldest_waiting(self) -> list[Sample]:
        since = self._waiting.since
        return [Sample(0 if since is None else (self._core.clock.now() - since).total_seconds())]

    def _decided(self) -> Iterator[Sample]:
        for decision, count in self._core.approvals.decided.items():
            yield Sample(count, (decision,))
