"""What is published of each scope: its newest CRLs, the files they are served from, and the page about them.

Files are the copy, the store is the truth: what is missing or damaged is made again from it.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from pkiserver.ca.authorities import Authorities, Authority
from pkiserver.ca.distribution_points import crl_url
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, PKIServerError
from pkiserver.status import crl_files
from pkiserver.status.crl_builder import rebuilt
from pkiserver.status.crl_page import CARow, CRLRow, crl_page
from pkiserver.status.crl_release import ReleasedCRL
from pkiserver.status.crl_scopes import CRLPolicy, CRLScope, Published
from pkiserver.storage import Storage
from protocols.x509.names import subject_text
from store import crls
from store.crls import DELTA, FULL
from store.database import Transaction
from store.records import AuthorityRecord, CRLRecord

_log = structlog.get_logger("pkiserver.crl")


@dataclass(slots=True)
class ScopeState:
    """What is known of one scope; `unwritten` are the kinds that are not where they are served."""

    published: Published
    last_change: int = 0  # the last event by which an entry of it began or ended
    resting_until_s: float = 0.0  # of the monotonic clock
    unwritten: set[str] = field(default_factory=set)
    failures: int = 0  # in a row
    failure: str = ""  # what the last one was
    retry_at_s: float = 0.0  # of the monotonic clock
    lost: bool = False  # what was published cannot be made again: a new one is due


class CRLPublications:
    """The scopes of all authorities and what is served of them."""

    def __init__(
        self,
        *,
        storage: Storage,
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
        self._shown = False  # False while certificates or page are not as they should be
        self.states: dict[CRLScope, ScopeState] = {}

    def served(self) -> Iterator[tuple[CRLScope, CRLRecord]]:
        """Yield the newest CRL of each scope and kind that is served."""
        for scope in self.states:
            for record in self._served(scope):
                yield scope, record

    async def scopes(self, authority: Authority) -> list[CRLScope]:
        """Return the scopes of an authority, shards made meanwhile included; each has its state then."""
        shards = await self._storage.read(lambda tx: crls.shards(tx, authority.id))
        handle = authority.handle
        own = CRLScope(authority.id, handle, crl_url(self._public_url, handle))
        scopes = [own, *(CRLScope(authority.id, handle, one.url, one.shard) for one in shards)]
        for scope in scopes:
            if scope not in self.states:
                published = await self._storage.read(lambda tx, known=scope: _published(tx, known))  # type: ignore[misc] # mypy: a default in a lambda
                self.states[scope] = ScopeState(published)
        return scopes

    async def adopt(self, scope: CRLScope, released: ReleasedCRL) -> None:
        """Take a new CRL as the newest of its scope and kind, and put it where it is served.

        Raises `OSError`; it is then put there by `write_again`.
        """
        state, record = self.states[scope], released.record
        state.published = (
            replace(state.published, full=record)
            if record.kind == FULL
            else replace(state.published, delta=record)
        )
        state.lost = False
        state.unwritten.add(record.kind)
        self._shown = False
        await self._write(scope, released)
        if state.published.ended:
            await asyncio.to_thread(crl_files.remove_crl, self._path(scope, DELTA))

    async def finish(self, scope: CRLScope, made: Iterable[CRLRecord]) -> None:
        """Make what may come later than new CRLs themselves: compressed forms, the page; raises `OSError`."""
        for record in made:
            await asyncio.to_thread(crl_files.compress_crl, self._path(scope, record.kind))
        await self.show()

    async def show(self) -> None:
        """Write certificates and page where they are not as they should be; raises `OSError`."""
        if not self._shown:
            known = list(self._authorities)
            updates = self._authorities.root_updates
            await asyncio.to_thread(crl_files.write_certificates, self._folder / "ca", known, updates)
            page = crl_page([self._row(authority) for authority in known], self._clock.now())
            await asyncio.to_thread(crl_files.write_page, self._folder / "crl", page)
            self._shown = True

    async def restore(self) -> None:
        """Put everything where it is served; what cannot be written now is left to `write_again`, `show`."""
        self._shown = False
        for authority in list(self._authorities):
            for scope in await self.scopes(authority):
                try:
                    await self._restore(scope)
                except (PKIServerError, OSError) as error:
                    _log.error("crl-not-restored", crl=str(scope), reason=str(error))
        try:
            await self.show()
        except OSError as error:
            _log.error("public-files-not-written", reason=str(error))

    async def remove(self, dropped: AuthorityRecord) -> None:
        """Take the files of a generation away, and what is known of its CRLs; raises `OSError`."""
        for scope in [one for one in self.states if one.authority == dropped.id]:
            for kind in (FULL, DELTA):
                await asyncio.to_thread(crl_files.remove_crl, self._path(scope, kind))
            del self.states[scope]
        for suffix in crl_files.CERTIFICATE_SUFFIXES:
            (self._folder / "ca" / f"{dropped.handle}{suffix}").unlink(missing_ok=True)
        self._shown = False
        await self.show()

    async def write_again(self, scope: CRLScope) -> None:
        """Put what is not where it is served there, made again from the store; raises `OSError`."""
        state = self.states[scope]
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

    async def _restore(self, scope: CRLScope) -> None:
        served = self._served(scope)
        for record in served:
            path = self._path(scope, record.kind)
            if not await asyncio.to_thread(crl_files.holds, path, record.sha256):
                self.states[scope].unwritten.add(record.kind)
        if all(record.kind != DELTA for record in served):
            crl_files.remove_crl(self._path(scope, DELTA))
        await self.write_again(scope)

    async def _write(self, scope: CRLScope, released: ReleasedCRL) -> None:
        path = self._path(scope, released.record.kind)
        await asyncio.to_thread(crl_files.write_crl, path, released.pieces)
        self.states[scope].unwritten.discard(released.record.kind)

    def _path(self, scope: CRLScope, kind: str) -> Path:
        return self._folder / "crl" / scope.file_name(kind)

    def _served(self, scope: CRLScope) -> list[CRLRecord]:
        """Return the newest CRLs of a scope that are to be served: no delta any more where there are none."""
        published = self.states[scope].published
        delta = published.delta
        ca = self._authorities.with_id(scope.authority).name
        if published.ended or not self._policies[ca].has_deltas:
            delta = None
        return [record for record in (published.full, delta) if record is not None]

    def _row(self, authority: Authority) -> CARow:
        name = authority.handle
        return CARow(
            name=name,
            subject=subject_text(authority.certificate.subject),
            not_after=authority.certificate.not_valid_after_utc,
            sha256=hashlib.sha256(authority.der).digest(),
            files=[f"{name}{suffix}" for suffix in crl_files.CERTIFICATE_SUFFIXES],
            crls=[_crl_row(scope, record) for scope, record in self.served() if scope.name == name],
        )


def _crl_row(scope: CRLScope, record: CRLRecord) -> CRLRow:
    return CRLRow(
        name=scope.file_name(record.kind),
        is_delta=record.kind == DELTA,
        shard=record.scope or None,
        number=record.number,
        this_update=record.this_update,
        next_update=record.next_update,
        entries=record.entries,
        size=record.octets,
        sha256=record.sha256,
    )


def _published(tx: Transaction, scope: CRLScope) -> Published:
    full, delta = (crls.latest(tx, scope.authority, scope.shard, kind) for kind in (FULL, DELTA))
    return Published(full, delta, crls.numbers_after(tx))
