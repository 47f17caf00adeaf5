"""What each CRL is of and says, but for its entries (RFC 5280 §5.2): scopes, numbers, bases, extensions.

Pure: `plan_full` and `plan_delta` decide from what was published before, nothing is read or written here.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pkiserver.ca.distribution_points import crl_file_name, delta_of
from pkiserver.errors import ConflictError
from protocols.crl import NO_FURTHER_UPDATE
from protocols.crl_extensions import (
    delta_crl_indicator,
    expired_certs_on_crl,
    freshest_crl,
    issuing_distribution_point,
)
from store.crls import DELTA, FULL
from store.records import CRLRecord


@dataclass(frozen=True, slots=True)
class CRLPolicy:
    """How an authority tells its revocations by CRL.

    A full CRL comes at least every `period`, a delta every `delta_period`; zero: there are none. `retention`
    is how long past expiry an entry is kept, None for ever. `last_after_compromise`: a key that is
    compromised signs one more, the last; else none.
    """

    period: timedelta
    overlap: timedelta
    delta_period: timedelta = timedelta(0)
    retention: timedelta | None = timedelta(0)
    last_after_compromise: bool = True

    @property
    def has_deltas(self) -> bool:
        return self.delta_period > timedelta(0)


@dataclass(frozen=True, slots=True)
class CRLScope:
    """What CRLs are of: all certificates of an authority (`shard` 0), or those whose shard is at `url`.

    `name` is the authority's handle.
    """

    authority: int
    name: str
    url: str
    shard: int = 0

    def file_name(self, kind: str) -> str:
        """Return the name of the file that is served, which no other scope or kind has."""
        name = crl_file_name(self.name, self.shard)
        return delta_of(name) if kind == DELTA else name

    def __str__(self) -> str:
        return self.name if not self.shard else f"{self.name}-{self.shard}"


@dataclass(frozen=True, slots=True)
class Published:
    """The newest CRLs of one scope; None before the first.

    Up to `numbers_after` others may be known to the world: of a home that was lost after its backup.
    """

    full: CRLRecord | None = None
    delta: CRLRecord | None = None
    numbers_after: int = 0

    @property
    def next_number(self) -> int:
        """The next of the one sequence that full and delta share (RFC 5280 §5.2.3)."""
        return max(self.newest.number if self.newest is not None else 0, self.numbers_after) + 1

    @property
    def newest(self) -> CRLRecord | None:
        """The one with the highest number; the full one where they share it."""
        found = [record for record in (self.full, self.delta) if record is not None]
        return max(found, key=lambda record: record.number, default=None)

    @property
    def ended(self) -> bool:
        """Whether the last CRL of all is out."""
        return self.full is not None and self.full.next_update == NO_FURTHER_UPDATE


@dataclass(frozen=True, slots=True)
class Issuer:
    """What a CRL takes from its issuer's certificate."""

    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class CRLPlan:
    """One CRL about to be made: all that it says but its entries, which are those at event `events_to`.

    `base` is that of a delta. Certificates that had ended before `not_expired_at` are left out (None: none
    are); revoked ones that expired after `expired_since` are all there (None: that is not said). `delta_url`:
    where deltas to it are, None where there are none. `one_of_many`: under the issuer's name other keys sign
    CRLs too, of the certificates that they issued.
    """

    scope: CRLScope
    kind: str
    number: int
    this_update: datetime
    next_update: datetime
    events_to: int
    base: CRLRecord | None = None
    not_expired_at: datetime | None = None
    expired_since: datetime | None = None
    delta_url: str | None = None
    one_of_many: bool = False

    @property
    def shard_url(self) -> str | None:
        """The address in the certificates that it is of; None where it is of all of its issuer's name.

        Without it a CRL by another key of the issuer would pass for that of a certificate that it does not
        tell of (RFC 5280 §5.2.5, §6.3.3 (b) (2)).
        """
        return self.scope.url if self.scope.shard or self.one_of_many else None

    @property
    def is_last(self) -> bool:
        """Whether it has no successor."""
        return self.next_update == NO_FURTHER_UPDATE

    def extensions(self) -> list[bytes]:
        """Return the DER extensions besides authorityKeyIdentifier and cRLNumber."""
        found = [] if self.base is None else [delta_crl_indicator(self.base.number)]
        if self.shard_url is not None:
            found.append(issuing_distribution_point(self.shard_url))
        if self.delta_url is not None:
            found.append(freshest_crl([self.delta_url]))
        if self.expired_since is not None:
            found.append(expired_certs_on_crl(self.expired_since))
        return found


def plan_full(
    scope: CRLScope,
    policy: CRLPolicy,
    issuer: Issuer,
    published: Published,
    *,
    events_to: int,
    now: datetime,
    last: bool = False,
) -> CRLPlan:
    """Return the next full CRL of a scope; with `last` the one after which there is none."""
    next_update = min(now + policy.period + policy.overlap, issuer.not_after)
    return CRLPlan(
        scope=scope,
        kind=FULL,
        number=published.next_number,
        this_update=now,
        next_update=NO_FURTHER_UPDATE if last else next_update,
        events_to=events_to,
        not_expired_at=_not_expired_at(policy, published.full, now),
        expired_since=_expired_since(policy, issuer, now),
        delta_url=delta_of(scope.url) if policy.has_deltas and not last else None,
    )


def plan_delta(
    scope: CRLScope,
    policy: CRLPolicy,
    issuer: Issuer,
    published: Published,
    *,
    events_to: int,
    now: datetime,
    with_full: CRLPlan | None = None,
) -> CRLPlan:
    """Return the next delta of a scope, to its newest full CRL; `ConflictError` where none can be a base.

    Together with a new full CRL it has that one's number and tells the same, to the full CRL before it.
    It is good for one more period of its own, or the overlap of full CRLs where that is shorter.
    """
    base = published.full
    if base is None or not base.this_update <= now < base.next_update:
        raise ConflictError("a delta CRL needs a published full CRL that is valid now (RFC 5280 §5.2.4)")
    end = now + policy.delta_period + min(policy.overlap, policy.delta_period)
    return CRLPlan(
        scope=scope,
        kind=DELTA,
        number=published.next_number if with_full is None else with_full.number,
        base=base,
        this_update=now,
        next_update=min(end, issuer.not_after),
        events_to=events_to if with_full is None else with_full.events_to,
    )


def _not_expired_at(policy: CRLPolicy, former: CRLRecord | None, now: datetime) -> datetime | None:
    """Return the end of validity from which on certificates are told of, None for all.

    An entry stays until one full CRL after its certificate's expiry had it (RFC 5280 §3.3). No CRL that a
    clock ahead dated into the future drops what has not expired.
    """
    if former is None or policy.retention is None:
        return None
    return min(former.this_update, now) - policy.retention


def _expired_since(policy: CRLPolicy, issuer: Issuer, now: datetime) -> datetime | None:
    """Return the value of ExpiredCertsOnCRL (X.509), None where expired certificates are told of no more."""
    if policy.retention is None:
        return issuer.not_before
    return max(issuer.not_before, now - policy.retention) if policy.retention > timedelta(0) else None
