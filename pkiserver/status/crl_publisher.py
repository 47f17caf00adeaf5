"""Builds, signs and publishes full CRLs: on change, on schedule and on request (RFC 5280 §5)."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver import audit
from pkiserver.ca.authorities import Authorities, Authority
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, PKIServerError, UnavailableError
from pkiserver.home import PUBLIC_FILE_MODE, write_file
from pkiserver.signer.algorithms import signature_algorithm_for, verify
from pkiserver.signer.client import Signer
from pkiserver.storage import Storage
from protocols.crl import assemble_crl, build_tbs_cert_list
from store import audit as audit_chain
from store import crls, status_events
from store.database import Transaction
from store.records import CRLRecord

POLL_S: Final = 1.0  # also the shortest time between two CRLs of an authority: changes within it share one
_log = structlog.get_logger("pkiserver.crl")


@dataclass(frozen=True, slots=True)
class CRLSchedule:
    """How often an authority publishes at least, and how long a CRL is good beyond that."""

    period: timedelta
    overlap: timedelta


@dataclass(frozen=True, slots=True)
class _Scope:
    """What one CRL is to hold, read in one snapshot."""

    number: int
    entries: list[bytes]
    events_to: int


class CRLPublisher:
    """Publishes the CRLs of every authority whose key is here."""

    def __init__(
        self,
        *,
        storage: Storage,
        signer: Signer,
        clock: Clock,
        authorities: Authorities,
        schedules: Mapping[str, CRLSchedule],
        folder: Path,
    ) -> None:
        self._storage = storage
        self._signer = signer
        self._clock = clock
        self._authorities = authorities
        self._schedules = schedules
        self._folder = folder
        self._wake = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._unwritten: set[str] = set()  # authorities whose latest CRL is not where it is served
        self._restored = True  # False while other files of `restore_files` could not be written
        self.latest: dict[str, CRLRecord] = {}
        self.failure: str | None = None

    def notify(self) -> None:
        """Say that there are new events."""
        self._wake.set()

    async def run(self) -> None:
        """Publish what is due until cancelled; what fails stays served as it is and is tried again."""
        while True:
            self._wake.clear()
            await self.attempt()
            await asyncio.sleep(POLL_S)
            try:
                await asyncio.wait_for(self._wake.wait(), POLL_S)
            except TimeoutError:
                continue

    async def attempt(self) -> None:
        """Publish what is due; `failure` says why it cannot be done now."""
        try:
            await self.work()
        except (PKIServerError, OSError) as error:
            if self.failure is None:
                _log.error("crl-publication-stopped", reason=str(error))
            self.failure = str(error)
            return
        if self.failure is not None:
            _log.info("crl-publication-resumed")
            self.failure = None

    async def work(self) -> None:
        """Publish the CRL of each authority that has something new to say or whose time has come.

        One that cannot does not hold up the others; `UnavailableError` names all that could not.
        """
        failures: list[str] = []
        if not self._restored:
            try:
                self._write_all()
            except OSError as error:
                failures.append(str(error))
        for authority in list(self._authorities):
            try:
                await self._publish_due(authority)
            except (PKIServerError, OSError) as error:
                failures.append(f"{authority.name}: {error}")
        if failures:
            raise UnavailableError("; ".join(failures))

    async def _publish_due(self, authority: Authority) -> None:
        if authority.name in self._unwritten:
            await self._write(authority.name)
        if _can_publish(authority, self._clock.now()) and await self._due(authority):
            await self.publish(authority.name, "system")

    async def publish(self, name: str, actor: str) -> CRLRecord:
        """Publish a new CRL of one authority now; raises `PKIServerError` where it cannot be signed."""
        async with self._publishing:
            authority = self._authorities.get(name)
            key_label = authority.signing_key()
            now = self._clock.now()
            if not _can_publish(authority, now):
                raise ConflictError(f"authority {name} has expired: it signs no CRL any more")
            scope = await self._storage.read(lambda tx: _scope(tx, authority.id, now))
            tbs = self._tbs(authority, scope, now)
            await self._audit(actor, "crl.sign", authority, scope)
            signature = await self._signer.sign(key_label, tbs)
            return await self._record(authority, scope, tbs, signature, actor)

    async def restore_files(self) -> None:
        """Put the newest CRL and the CA certificate of each authority where they are served.

        Beside `NAME.cer` lie `NAME.pem` and all of them in `chain.pem`, for people and their tools. What
        cannot be written now is tried again by `work`: a full disk must not keep status from answering.
        """
        for authority in self._authorities:
            record = await self._storage.read(lambda tx, known=authority.id: crls.latest(tx, known))  # type: ignore[misc]
            if record is not None and record.crl is not None:
                self.latest[authority.name] = record
        try:
            self._write_all()
        except OSError as error:
            _log.error("public-files-not-written", reason=str(error))

    def _write_all(self) -> None:
        self._restored = False
        chain = b""
        for authority in self._authorities:
            pem = authority.certificate.public_bytes(Encoding.PEM)
            chain += pem
            _replace(self._folder / "ca" / f"{authority.name}.cer", authority.der)
            _replace(self._folder / "ca" / f"{authority.name}.pem", pem)
            record = self.latest.get(authority.name)
            if record is not None and record.crl is not None:
                _replace(self._folder / "crl" / f"{authority.name}.crl", record.crl)
        _replace(self._folder / "ca" / "chain.pem", chain)
        self._restored = True

    async def _due(self, authority: Authority) -> bool:
        latest = self.latest.get(authority.name)
        if latest is None:
            return True
        age = self._clock.now() - latest.this_update
        if not timedelta(0) <= age < self._schedules[authority.name].period:  # below: the clock was ahead
            return True
        changed = await self._storage.read(lambda tx: status_events.last_change(tx, authority.id))
        return changed > latest.events_to

    def _tbs(self, authority: Authority, scope: _Scope, now: datetime) -> bytes:
        schedule = self._schedules[authority.name]
        return build_tbs_cert_list(
            signature_algorithm=signature_algorithm_for(authority.certificate.public_key()).der,
            issuer_der=authority.certificate.subject.public_bytes(),
            this_update=now,
            next_update=min(
                now + schedule.period + schedule.overlap, authority.certificate.not_valid_after_utc
            ),
            entries=scope.entries,
            authority_key_identifier=authority.key_identifier,
            crl_number=scope.number,
        )

    async def _record(
        self, authority: Authority, scope: _Scope, tbs: bytes, signature: bytes, actor: str
    ) -> CRLRecord:
        public_key = authority.certificate.public_key()
        verify(public_key, signature, tbs)
        crl = assemble_crl(tbs, signature_algorithm_for(public_key).der, signature)
        parsed = x509.load_der_x509_crl(crl)
        record = CRLRecord(
            authority=authority.id,
            number=scope.number,
            this_update=parsed.last_update_utc,
            next_update=parsed.next_update_utc or parsed.last_update_utc,
            events_to=scope.events_to,
            sha256=hashlib.sha256(crl).digest(),
            crl=crl,
        )
        entry = audit.entry(
            self._clock.now(),
            actor,
            "crl.publish",
            authority=authority.id,
            number=scope.number,
            entries=len(scope.entries),
            sha256=record.sha256.hex(),
        )

        def transaction(tx: Transaction) -> None:
            crls.add(tx, record)
            audit_chain.append(tx, entry)

        await self._storage.write(transaction)
        self.latest[authority.name] = record
        self._unwritten.add(authority.name)
        await self._write(authority.name)
        return record

    async def _write(self, name: str) -> None:
        """Put the latest CRL where it is served; what fails is tried again by `work`."""
        crl = self.latest[name].crl
        if crl is not None:
            await asyncio.to_thread(_replace, self._folder / "crl" / f"{name}.crl", crl)
        self._unwritten.discard(name)

    async def _audit(self, actor: str, action: str, authority: Authority, scope: _Scope) -> None:
        entry = audit.entry(
            self._clock.now(),
            actor,
            action,
            authority=authority.id,
            number=scope.number,
            entries=len(scope.entries),
        )
        await self._storage.write(lambda tx: audit_chain.append(tx, entry))


def _scope(tx: Transaction, authority: int, now: datetime) -> _Scope:
    """Read what the next CRL holds. An entry stays until one CRL after its certificate's expiry had it
    (RFC 5280 §3.3). No CRL that a clock ahead dated into the future drops what has not expired."""
    latest = crls.latest(tx, authority)
    entries = status_events.crl_entries(tx, authority, min(latest.this_update, now) if latest else None)
    return _Scope(latest.number + 1 if latest else 1, entries, status_events.head(tx))


def _can_publish(authority: Authority, now: datetime) -> bool:
    return authority.key_label is not None and now < authority.certificate.not_valid_after_utc


def _replace(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        write_file(path, content, PUBLIC_FILE_MODE)
