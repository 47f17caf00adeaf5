"""Copies of the complete CRLs that are published, for who asks by other ways than their addresses."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pkiserver.status.crl_builder import rebuilt
from pkiserver.status.crl_publications import CRLPublications
from pkiserver.status.crl_scopes import CRLScope
from pkiserver.storage import Storage
from store.crls import FULL
from store.records import CRLRecord


@dataclass(frozen=True, slots=True)
class CRLCopy:
    """One of them, not yet read: large ones need not be."""

    scope: CRLScope
    record: CRLRecord
    storage: Storage

    @property
    def authority(self) -> int:
        """The number of the authority."""
        return self.scope.authority

    @property
    def shard(self) -> int:
        """Which part of its certificates it is of, 0 for all."""
        return self.scope.shard

    @property
    def url(self) -> str:
        """What certificates name as its distribution point."""
        return self.scope.url

    @property
    def this_update(self) -> datetime:
        """Since when it tells the truth."""
        return self.record.this_update

    @property
    def octets(self) -> int:
        """How large it is."""
        return self.record.octets

    async def read(self) -> bytes:
        """Return the DER; `ConflictError` where it cannot be made again as it was published."""
        return b"".join(await rebuilt(self.storage, self.record))


@dataclass(frozen=True, slots=True)
class CRLCopies:
    """The newest complete CRL of each scope."""

    publications: CRLPublications
    storage: Storage

    def complete(self) -> Iterator[CRLCopy]:
        """Yield them, without deltas."""
        for scope, record in self.publications.served():
            if record.kind == FULL:
                yield CRLCopy(scope, record, self.storage)
