"""Where certificates say that their CRL is (RFC 5280 §4.2.1.13): that of all, or of the shard they are given.

A shard is given at random when a certificate is issued and stays its own. Its address is that of the moment
it was made: when `public_url` or the number of shards changes, new certificates get shards at new addresses,
and the CRLs of the old ones go on being made.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pkiserver.storage import Storage
from store import crls
from store.database import Transaction
from store.records import AuthorityRecord, CRLShardRecord

_SUFFIX: Final = ".crl"
_DELTA_SUFFIX: Final = ".delta.crl"


def crl_file_name(name: str, shard: int) -> str:
    """Return the name of the file of a full CRL; `name` is a handle, shard 0 means of all certificates."""
    return (f"{name}-{shard}" if shard else name) + _SUFFIX


def crl_url(public_url: str, name: str, shard: int = 0) -> str:
    """Return where relying parties find that file."""
    return f"{public_url}/crl/{crl_file_name(name, shard)}"


def delta_of(full: str) -> str:
    """Return the file name or address of the delta to the full CRL of this file name or address."""
    return full.removesuffix(_SUFFIX) + _DELTA_SUFFIX


@dataclass(frozen=True, slots=True)
class CRLAddress:
    """The CRL that covers a certificate; `shard` 0: that of all, `delta` None: there is no delta to it."""

    shard: int
    url: str
    delta: str | None


class DistributionPoints:
    """Gives each new certificate its CRL."""

    def __init__(
        self, storage: Storage, public_url: str, shards: Mapping[str, int], with_deltas: Collection[str]
    ) -> None:
        """Take the number of shards of each authority that has more than one, and who makes deltas."""
        self._storage = storage
        self._public_url = public_url
        self._wanted = shards
        self._with_deltas = with_deltas
        self._shards: dict[int, Sequence[CRLShardRecord]] = {}

    async def choose(self, authority: AuthorityRecord) -> CRLAddress:
        """Return the CRL of one more certificate of an authority; makes its shards the first time."""
        shard, url = 0, crl_url(self._public_url, authority.handle)
        if (wanted := self._wanted.get(authority.name, 1)) > 1:
            if authority.id not in self._shards:
                self._shards[authority.id] = await self._storage.write(
                    lambda tx: self._ensure(tx, authority, wanted)
                )
            chosen = secrets.choice(self._shards[authority.id])
            shard, url = chosen.shard, chosen.url
        return CRLAddress(shard, url, delta_of(url) if authority.name in self._with_deltas else None)

    def _ensure(self, tx: Transaction, authority: AuthorityRecord, wanted: int) -> Sequence[CRLShardRecord]:
        """Return as many shards at addresses of today, the first ones where there are more."""
        known = crls.shards(tx, authority.id)
        here = [one for one in known if one.url == crl_url(self._public_url, authority.handle, one.shard)]
        first_new = max((one.shard for one in known), default=0) + 1
        for shard in range(first_new, first_new + wanted - len(here)):
            made = CRLShardRecord(authority.id, shard, crl_url(self._public_url, authority.handle, shard))
            crls.add_shard(tx, made)
            here.append(made)
        return here[:wanted]
