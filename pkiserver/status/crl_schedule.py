"""When which CRL is due: on schedule, on change, after a failure of the clock. Pure: nothing is read here.

So that the CRLs of many scopes are not made in one wave, publication comes earlier than its period says, by a
part that follows from the scope's name. What a CRL says of its times is not changed by it.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pkiserver.status.crl_scopes import CRLPolicy, CRLScope, Published
from store.records import CRLRecord

COALESCE_S: Final = 0.5  # changes within it share a CRL; what is acknowledged is out within a second
SHARE: Final = 10  # after a costly CRL, changes wait this many times what it cost: a tenth of the time
COSTLY_S: Final = 0.1  # of CPU: some 50,000 entries
MAX_RETRY_S: Final = 30.0  # between attempts at what cannot be made; each leaves an audit record
_PATIENCE: Final = 3  # attempts at once: a signer process that is replaced is back by then
_JITTER: Final = 10  # publication comes earlier by up to a tenth of the period


@dataclass(frozen=True, slots=True)
class Due:
    """Which CRLs of a scope are to be made now."""

    full: bool = False
    delta: bool = False

    def __bool__(self) -> bool:
        return self.full or self.delta


def due(
    scope: CRLScope,
    policy: CRLPolicy,
    published: Published,
    *,
    last_change: int,
    now: datetime,
    resting: bool = False,
    ending: bool = False,
) -> Due:
    """Return what is due in a scope of which entries changed last at event `last_change`.

    While it is `resting` after a costly CRL, a change alone does not lead to another one. Of an authority
    that is `ending` the one CRL is due that has no successor.
    """
    if ending or published.ended:
        return Due(full=not published.ended)
    full = published.full
    if full is None:
        return Due(full=True)
    changed = not resting and last_change > full.events_to
    if full.number <= published.numbers_after or _over(full, _until_next(scope, policy.period), now):
        return Due(full=True, delta=can_have_delta(policy, published, now))
    if not policy.has_deltas:
        return Due(full=changed)
    delta = published.delta
    if delta is None or _over(delta, _until_next(scope, policy.delta_period), now):
        return Due(delta=True)
    return Due(delta=not resting and last_change > delta.events_to)


def can_have_delta(policy: CRLPolicy, published: Published, now: datetime) -> bool:
    """Return whether there are to be deltas, and a full CRL that one can build upon now."""
    full = published.full
    return policy.has_deltas and full is not None and full.this_update <= now < full.next_update


def rest_s(cost_s: float) -> float:
    """Return how long changes wait after a CRL that cost so much CPU time to make."""
    return SHARE * cost_s if cost_s >= COSTLY_S else 0.0


def retry_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row."""
    return min(2.0 ** min(failures - _PATIENCE, 10), MAX_RETRY_S) if failures > _PATIENCE else 0.0


def _over(record: CRLRecord, period: timedelta, now: datetime) -> bool:
    """True once the period is over, and for a CRL of a clock that was ahead."""
    return not timedelta(0) <= now - record.this_update < period


def _until_next(scope: CRLScope, period: timedelta) -> timedelta:
    digest = hashlib.sha256(f"{scope.name}-{scope.shard}".encode()).digest()
    return period - period / _JITTER * (int.from_bytes(digest[:4], "big") / 2**32)
