"""Publishes the CRLs of every authority whose key is here: on change, on schedule, on request (RFC 5280 §5).

One that cannot be made leaves the others, and the last one served; it is tried again, more and more seldom.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from pkiserver import audit
from pkiserver.ca.authorities import Authorities, Authority
from pkiserver.ca.hierarchy import RESPONDER_PROFILE, ROOT_PROFILE
from pkiserver.ca.root_updates import LINK_PROFILE
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, PKIServerError, UnavailableError
from pkiserver.signer.client import Signer
from pkiserver.status.crl_builder import read_entries
from pkiserver.status.crl_copies import CRLCopies
from pkiserver.status.crl_publications import CRLPublications
from pkiserver.status.crl_release import CRLReleases
from pkiserver.status.crl_schedule import COALESCE_S, Due, can_have_delta, due, rest_s, retry_s
from pkiserver.status.crl_scopes import CRLPlan, CRLPolicy, CRLScope, Issuer, plan_delta, plan_full
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import authorities as authority_rows
from store import certificates, crl_entries, issuances, status_events
from store.database import Transaction
from store.records import AuthorityRecord, CRLRecord

POLL_S: Final = 1.0
MAX_DELTA_ENTRIES: Final = 50_000  # 2.5 MB: with more, a new full CRL serves better than a delta
_log = structlog.get_logger("pkiserver.crl")


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
        self._releases = CRLReleases(storage, signer, clock)
        self._publications = CRLPublications(
            storage=storage,
            clock=clock,
            authorities=authorities,
            policies=policies,
            public_url=public_url,
            folder=folder,
        )
        self._wake = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._seen: dict[int, int] = {}  # by authority: the event up to which its changes are taken up
        self.failure: str | None = None

    def copies(self) -> CRLCopies:
        """Return the complete CRLs that are published, as they are at each time they are asked for."""
        return CRLCopies(self._publications, self._storage)

    def notify(self) -> None:
        """Say that there are new events."""
        self._wake.set()

    def published(self) -> Iterator[tuple[str, CRLRecord]]:
        """Yield the newest CRL of each scope and kind that is served, with its file's name without `.crl`."""
        for scope, record in self._publications.served():
            yield scope.file_name(record.kind).removesuffix(".crl"), record

    def latest(self, name: str) -> CRLRecord | None:
        """Return the newest full CRL of all certificates of an authority, None before the first."""
        return next((record for stem, record in self.published() if stem == name), None)

    async def restore_files(self) -> None:
        """Put the newest CRLs and the certificates where they are served, the CRLs made again if need be.

        What cannot be written now is tried again by `work`: a full disk must not keep status from answering.
        """
        await self._publications.restore()

    async def remove_files(self, dropped: AuthorityRecord) -> None:
        """Serve certificates and CRLs of a generation no more that was dropped; raises `OSError`."""
        async with self._publishing:
            await self._publications.remove(dropped)

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
        for authority in list(self._authorities):
            for scope in await self._publications.scopes(authority):
                failure = await self._tried(authority, scope)
                failures += [f"{scope}: {failure}"] if failure else []
        try:
            await self._publications.show()
        except OSError as error:
            failures.append(str(error))
        if failures:
            raise UnavailableError("; ".join(failures))

    async def publish(self, name: str, actor: str) -> list[CRLRecord]:
        """Publish new full CRLs of one authority now, and deltas where it makes them.

        Raises `PKIServerError` where one cannot be signed.
        """
        authority = self._authorities.get(name)
        authority.signing_key()
        if self._clock.now() >= authority.certificate.not_valid_after_utc:
            raise ConflictError(f"authority {authority.handle} has expired: it signs no CRL any more")
        if authority.ended:
            raise ConflictError(
                f"authority {authority.handle} has issued its last CRL: there is no further one"
            )
        if self._is_mute(authority):
            raise ConflictError(
                f"the key of {authority.handle} is compromised, and compromise_crl has it sign no CRL"
            )
        made: list[CRLRecord] = []
        for scope in await self._publications.scopes(authority):
            made += await self._publish(authority, scope, actor)
        return made

    async def publish_after_compromise(self, authority: Authority, actor: str) -> list[CRLRecord]:
        """End a compromised authority as its policy says: with its last CRLs, or with none."""
        if authority.key_label is None or authority.ended or self._is_mute(authority):
            return []
        return await self.publish_last(authority.exact, actor)

    def _is_mute(self, authority: Authority) -> bool:
        """Return whether its key is compromised and signs nothing more, not even that."""
        policy = self._policies[authority.name]
        return authority.state == "compromised" and not authority.ended and not policy.last_after_compromise

    async def publish_last(self, name: str, actor: str) -> list[CRLRecord]:
        """End an authority with CRLs that have no successors; again where that was cut short.

        `ConflictError` while it has a certificate that is neither expired nor revoked, its own and its OCSP
        responders' aside, or one is being issued.
        """
        authority = self._authorities.get(name)
        authority.signing_key()
        now = self._clock.now()
        await self._storage.write(lambda tx: _end(tx, authority, now, actor))
        await self._authorities.reload(self._storage)
        authority = self._authorities.with_id(authority.id)
        made: list[CRLRecord] = []
        for scope in await self._publications.scopes(authority):
            if not self._publications.states[scope].published.ended:
                made += await self._publish(authority, scope, actor)
        return made

    async def _tried(self, authority: Authority, scope: CRLScope) -> str:
        """Work on one scope, where it is time to; return why it could not be done, or nothing."""
        state = self._publications.states[scope]
        if time.monotonic() < state.retry_at_s:
            return state.failure
        try:
            await self._work_on(authority, scope)
        except (PKIServerError, OSError) as error:
            state.failures, state.failure = state.failures + 1, str(error)
            state.retry_at_s = time.monotonic() + retry_s(state.failures)
        else:
            state.failures, state.failure = 0, ""
        return state.failure

    async def _work_on(self, authority: Authority, scope: CRLScope) -> None:
        if self._publications.states[scope].unwritten:
            await self._publications.write_again(scope)
        if authority.key_label is None or self._clock.now() >= authority.certificate.not_valid_after_utc:
            return
        if self._is_mute(authority):
            return
        if wanted := await self._due(authority, scope):
            await self._publish(authority, scope, "system", wanted)

    async def _due(self, authority: Authority, scope: CRLScope) -> Due:
        await self._see_changes(authority)
        state = self._publications.states[scope]
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
        states = {
            scope.shard: state
            for scope, state in self._publications.states.items()
            if scope.authority == authority.id
        }
        seen = self._seen.get(authority.id)
        if seen is None:
            known = [state.published.full for state in states.values()]
            seen = min(record.events_to if record else 0 for record in known)

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
            authority = self._authorities.with_id(authority.id)  # it may have ended while this waited
            if self._publications.states[scope].published.ended:
                return []
            started_s = time.process_time()
            try:
                made = await self._make(authority, scope, actor, wanted)
            finally:
                rest = rest_s(time.process_time() - started_s)
                self._publications.states[scope].resting_until_s = time.monotonic() + rest
        await self._publications.finish(scope, made)
        return made

    async def _make(
        self, authority: Authority, scope: CRLScope, actor: str, wanted: Due | None
    ) -> list[CRLRecord]:
        policy, former = self._policies[authority.name], self._publications.states[scope].published
        # Under one name there may be CRLs by several keys: each says then whose certificates it is of.
        one_of_many = len(self._authorities.generations(authority.name)) > 1
        issuer = Issuer(authority.certificate.not_valid_before_utc, authority.certificate.not_valid_after_utc)
        now = self._clock.now()
        head = await self._storage.read(status_events.head)
        if wanted is None:
            delta = can_have_delta(policy, former, now) and not authority.ended
            wanted = Due(full=True, delta=delta)
        full: CRLPlan | None = None
        plans: list[CRLPlan] = []
        if wanted.full:
            full = plan_full(scope, policy, issuer, former, events_to=head, now=now, last=authority.ended)
            plans.append(full)
        if wanted.delta:
            plans.append(plan_delta(scope, policy, issuer, former, events_to=head, now=now, with_full=full))
        plans = [replace(plan, one_of_many=one_of_many) for plan in plans]
        made: list[CRLRecord] = []
        for plan in plans:
            entries = await read_entries(self._storage, plan, MAX_DELTA_ENTRIES)
            if entries is not None:
                released = await self._releases.release(
                    plan,
                    entries,
                    authority,
                    previous=former.newest,
                    together=made[0] if made else None,
                    actor=actor,
                )
                await self._publications.adopt(scope, released)
                made.append(released.record)
            elif full is None:
                return await self._make(authority, scope, actor, Due(full=True))
        return made


def _end(tx: Transaction, authority: Authority, now: datetime, actor: str) -> None:
    """Note that an authority issues nothing more; `ConflictError` while something of it is in use."""
    name = authority.handle
    if certificates.any_in_use(tx, authority.id, now, (ROOT_PROFILE, RESPONDER_PROFILE, LINK_PROFILE)):
        raise ConflictError(
            f"authority {name} has certificates in use: revoke them, or wait for their end; see"
            f" `pkiserver certificate list --ca {authority.exact}`"
        )
    if any(intent.authority == authority.id for intent in issuances.unfinished(tx)):
        raise ConflictError(f"authority {name} is about to issue a certificate: try again")
    if not authority_rows.has_ended(tx, authority.id):
        authority_rows.end(tx, authority.id, now)
        audit_chain.append(tx, audit.entry(now, actor, "authority.end", authority=name))
