"""Publishes the CRLs of every authority whose key is here: on change, on schedule, on request (RFC 5280 §5).

One that cannot be made leaves the others, and the last one served; it is tried again every second.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from pkiserver import audit
from pkiserver.ca.authorities import Authorities, Authority
from pkiserver.ca.distribution_points import crl_url
from pkiserver.ca.hierarchy import RESPONDER_PROFILE, ROOT_PROFILE
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, PKIServerError, UnavailableError
from pkiserver.signer.client import Signer
from pkiserver.status import crl_files
from pkiserver.status.crl_builder import Entries, read_entries, rebuilt
from pkiserver.status.crl_release import CRLReleases, ReleasedCRL
from pkiserver.status.crl_schedule import COALESCE_S, Due, can_have_delta, due, rest_s
from pkiserver.status.crl_scopes import (
    CRLPlan,
    CRLPolicy,
    CRLScope,
    Issuer,
    Published,
    plan_delta,
    plan_full,
)
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import authorities as authority_rows
from store import certificates, crl_entries, crls, issuances, status_events
from store.crls import DELTA, FULL
from store.database import Transaction
from store.records import CRLRecord

POLL_S: Final = 1.0
MAX_DELTA_ENTRIES: Final = 50_000  # 2.5 MB: with more, a new full CRL serves better than a delta
_log = structlog.get_logger("pkiserver.crl")


@dataclass(slots=True)
class _State:
    """What is known of one scope; `unwritten` are the kinds that are not where they are served."""

    published: Published
    last_change: int = 0  # the last event by which an entry of it began or ended
    resting_until_s: float = 0.0
    unwritten: set[str] = field(default_factory=set)
    lost: bool = False  # what was published cannot be made again: a new one is due


class CRLPublisher:
    """The one that publishes CRLs, and knows what is published."""

    def __init__(
        self,
        *,
        storage: Storage,
        signer: Signer,
        clock: Clock,
        authorities: Authorities,
        policies: Mapping[str, CRLPolicy],
        public_url: str,
        folder: Path,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._authorities = authorities
        self._policies = policies
        self._public_url = public_url
        self._folder = folder
        self._releases = CRLReleases(storage, signer, clock)
        self._wake = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._states: dict[CRLScope, _State] = {}
        self._seen: dict[int, int] = {}  # by authority: the event up to which changes are in the states
        self._restored = True  # False while certificates could not be written
        self.failure: str | None = None

    def notify(self) -> None:
        """Say that there are new events."""
        self._wake.set()

    def published(self) -> Iterator[tuple[str, CRLRecord]]:
        """Yield the newest CRL of each scope and kind that is served, with its file's name without `.crl`."""
        for scope in self._states:
            for record in self._served(scope):
                yield self._path(scope, record.kind).stem, record

    def latest(self, name: str) -> CRLRecord | None:
        """Return the newest full CRL of all certificates of an authority, None before the first."""
        return next(
            (
                state.published.full
                for scope, state in self._states.items()
                if (scope.name, scope.shard) == (name, 0)
            ),
            None,
        )

    async def run(self) -> None:
        """Publish what is due until cancelled; what fails stays served as it is and is tried again."""
        while True:
            self._wake.clear()
            await self.attempt()
            await asyncio.sleep(COALESCE_S)
            try:
                await asyncio.wait_for(self._wake.wait(), POLL_S - COALESCE_S)
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
        """Publish each CRL that has something new to say or whose time has come.

        One that cannot does not hold up the others; `UnavailableError` names all that could not.
        """
        failures: list[str] = []
        if not self._restored:
            try:
                self._write_certificates()
            except OSError as error:
                failures.append(str(error))
        for authority in list(self._authorities):
            for scope in await self._scopes(authority):
                try:
                    await self._work_on(authority, scope)
                except (PKIServerError, OSError) as error:
                    failures.append(f"{scope}: {error}")
        if failures:
            raise UnavailableError("; ".join(failures))

    async def publish(self, name: str, actor: str) -> list[CRLRecord]:
        """Publish new full CRLs of one authority now, and deltas where it makes them.

        Raises `PKIServerError` where one cannot be signed.
        """
        authority = self._authorities.get(name)
        authority.signing_key()
        if self._clock.now() >= authority.certificate.not_valid_after_utc:
            raise ConflictError(f"authority {name} has expired: it signs no CRL any more")
        if authority.ended:
            raise ConflictError(f"authority {name} has issued its last CRL: there is no further one")
        made: list[CRLRecord] = []
        for scope in await self._scopes(authority):
            made += await self._publish(authority, scope, actor)
        return made

    async def publish_last(self, name: str, actor: str) -> list[CRLRecord]:
        """End an authority with CRLs that have no successors; again where that was cut short.

        `ConflictError` while it has a certificate that is neither expired nor revoked, its own and its OCSP
        responders' aside, or one is being issued.
        """
        authority = self._authorities.get(name)
        authority.signing_key()
        now = self._clock.now()
        entry = audit.entry(now, actor, "authority.end", authority=name)

        def transaction(tx: Transaction) -> None:
            if certificates.any_in_use(tx, authority.id, now, (ROOT_PROFILE, RESPONDER_PROFILE)):
                raise ConflictError(
                    f"certificates of authority {name} are in use: all must be revoked or expired before"
                )
            if any(intent.authority == authority.id for intent in issuances.unfinished(tx)):
                raise ConflictError(f"authority {name} is about to issue a certificate: try again")
            if not authority_rows.has_ended(tx, authority.id):
                authority_rows.end(tx, authority.id, now)
                audit_chain.append(tx, entry)

        await self._storage.write(transaction)
        await self._authorities.reload(self._storage)
        made: list[CRLRecord] = []
        authority = self._authorities.get(name)
        for scope in await self._scopes(authority):
            if not self._states[scope].published.ended:
                made += await self._publish(authority, scope, actor)
        return made

    async def restore_files(self) -> None:
        """Put the newest CRLs and the certificates where they are served, the CRLs made again if need be.

        What cannot be written now is tried again by `work`: a full disk must not keep status from answering.
        """
        for authority in list(self._authorities):
            for scope in await self._scopes(authority):
                await self._find_files(scope)
        try:
            self._write_certificates()
        except OSError as error:
            _log.error("public-files-not-written", reason=str(error))

    def _write_certificates(self) -> None:
        self._restored = False
        crl_files.write_certificates(self._folder / "ca", self._authorities)
        self._restored = True

    async def _scopes(self, authority: Authority) -> list[CRLScope]:
        """Return the scopes of an authority, shards made meanwhile included; each has its state then."""
        shards = await self._storage.read(lambda tx: crls.shards(tx, authority.id))
        scopes = [CRLScope(authority.id, authority.name, crl_url(self._public_url, authority.name))]
        scopes += [CRLScope(authority.id, authority.name, one.url, one.shard) for one in shards]
        for scope in scopes:
            if scope not in self._states:
                published = await self._storage.read(lambda tx, known=scope: _published(tx, known))  # type: ignore[misc] # mypy: a default in a lambda
                self._states[scope] = _State(published)
        return scopes

    async def _find_files(self, scope: CRLScope) -> None:
        state = self._states[scope]
        served = self._served(scope)
        for record in served:
            path = self._path(scope, record.kind)
            if not await asyncio.to_thread(crl_files.holds, path, record.sha256):
                state.unwritten.add(record.kind)
        if all(record.kind != DELTA for record in served):
            crl_files.remove_crl(self._path(scope, DELTA))
        if state.unwritten:
            try:
                await self._write_again(scope)
            except (PKIServerError, OSError) as error:
                _log.error("crl-not-restored", crl=str(scope), reason=str(error))

    async def _write_again(self, scope: CRLScope) -> None:
        """Put what is not where it is served there, made again from the store."""
        state = self._states[scope]
        for record in self._served(scope):
            if record.kind not in state.unwritten:
                continue
            try:
                pieces = await rebuilt(self._storage, record)
            except ConflictError as error:
                _log.error("crl-not-rebuilt", crl=str(scope), number=record.number, reason=str(error))
                state.lost = True
                state.unwritten.discard(record.kind)
                continue
            await self._write(scope, ReleasedCRL(record, pieces))
            await asyncio.to_thread(crl_files.compress_crl, self._path(scope, record.kind))

    async def _work_on(self, authority: Authority, scope: CRLScope) -> None:
        state = self._states[scope]
        if state.unwritten:
            await self._write_again(scope)
        if not _can_publish(authority, self._clock.now()):
            return
        if wanted := await self._due(authority, scope):
            await self._publish(authority, scope, "system", wanted)

    async def _due(self, authority: Authority, scope: CRLScope) -> Due:
        await self._see_changes(authority)
        state = self._states[scope]
        if state.lost:
            return Due(full=True)
        return due(
            scope,
            self._policies[authority.name],
            state.published,
            last_change=state.last_change,
            now=self._clock.now(),
            resting=time.monotonic() < state.resting_until_s,
            ending=authority.ended,
        )

    async def _see_changes(self, authority: Authority) -> None:
        """Take up which scopes of an authority changed since the last look."""
        states = {scope.shard: state for scope, state in self._states.items() if scope.name == authority.name}
        seen = self._seen.get(authority.id)
        if seen is None:
            known = [state.published.full for state in states.values()]
            seen = min((record.events_to if record else 0 for record in known), default=0)

        def read(tx: Transaction) -> tuple[int, dict[int, int]]:
            head = status_events.head(tx)
            return head, crl_entries.last_changes(tx, authority.id, seen) if head > seen else {}

        head, changes = await self._storage.read(read)
        for shard, position in changes.items():
            if shard in states:
                states[shard].last_change = max(states[shard].last_change, position)
        self._seen[authority.id] = head

    async def _publish(
        self, authority: Authority, scope: CRLScope, actor: str, wanted: Due | None = None
    ) -> list[CRLRecord]:
        """Make, record and serve what is wanted of one scope: unless said, all that is to be there."""
        async with self._publishing:
            started_s = time.process_time()
            try:
                made = await self._make(authority, scope, actor, wanted)
            finally:
                state = self._states[scope]
                state.resting_until_s = time.monotonic() + rest_s(time.process_time() - started_s)
        for record in made:
            await asyncio.to_thread(crl_files.compress_crl, self._path(scope, record.kind))
        return made

    async def _make(
        self, authority: Authority, scope: CRLScope, actor: str, wanted: Due | None
    ) -> list[CRLRecord]:
        state, policy = self._states[scope], self._policies[authority.name]
        former, now = state.published, self._clock.now()
        issuer = Issuer(authority.certificate.not_valid_before_utc, authority.certificate.not_valid_after_utc)
        head = await self._storage.read(status_events.head)
        if wanted is None:
            wanted = Due(full=True, delta=can_have_delta(policy, former, now) and not authority.ended)
        full: CRLPlan | None = None
        plans: list[CRLPlan] = []
        if wanted.full:
            full = plan_full(scope, policy, issuer, former, events_to=head, now=now, last=authority.ended)
            plans.append(full)
        if wanted.delta:
            plans.append(plan_delta(scope, policy, issuer, former, events_to=head, now=now, with_full=full))
        made: list[CRLRecord] = []
        for plan in plans:
            entries = await read_entries(self._storage, plan, MAX_DELTA_ENTRIES)
            if entries is not None:
                made.append(await self._release(authority, plan, entries, former, made, actor))
            elif full is None:
                return await self._make(authority, scope, actor, Due(full=True))
        return made

    async def _release(
        self,
        authority: Authority,
        plan: CRLPlan,
        entries: Entries,
        former: Published,
        together: Sequence[CRLRecord],
        actor: str,
    ) -> CRLRecord:
        """Make a CRL, the newest of its scope and kind from now on, and put it where it is served."""
        released = await self._releases.release(
            plan,
            entries,
            authority,
            previous=former.newest,
            together=together[0] if together else None,
            actor=actor,
        )
        state, record = self._states[plan.scope], released.record
        state.published = (
            replace(state.published, full=record)
            if record.kind == FULL
            else replace(state.published, delta=record)
        )
        state.lost = False
        state.unwritten.add(record.kind)
        await self._write(plan.scope, released)
        if plan.is_last:
            await asyncio.to_thread(crl_files.remove_crl, self._path(plan.scope, DELTA))
        return record

    async def _write(self, scope: CRLScope, released: ReleasedCRL) -> None:
        """Put a CRL where it is served; what fails is tried again by `work`."""
        path = self._path(scope, released.record.kind)
        await asyncio.to_thread(crl_files.write_crl, path, released.pieces)
        self._states[scope].unwritten.discard(released.record.kind)

    def _path(self, scope: CRLScope, kind: str) -> Path:
        return self._folder / "crl" / scope.file_name(kind)

    def _served(self, scope: CRLScope) -> list[CRLRecord]:
        """Return the newest CRLs of a scope that are to be served: no delta any more where there are none."""
        published = self._states[scope].published
        delta = published.delta
        if published.ended or not self._policies[scope.name].has_deltas:
            delta = None
        return [record for record in (published.full, delta) if record is not None]


def _published(tx: Transaction, scope: CRLScope) -> Published:
    return Published(*(crls.latest(tx, scope.authority, scope.shard, kind) for kind in (FULL, DELTA)))


def _can_publish(authority: Authority, now: datetime) -> bool:
    return authority.key_label is not None and now < authority.certificate.not_valid_after_utc
