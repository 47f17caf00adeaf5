"""When which CRL is due, and what it is to say: pure decisions, one table."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pkiserver.errors import ConflictError
from pkiserver.status.crl_schedule import COSTLY_S, SHARE, Due, due, rest_s
from pkiserver.status.crl_scopes import CRLPolicy, CRLScope, Issuer, Published, plan_delta, plan_full
from protocols.crl import NO_FURTHER_UPDATE
from store.crls import DELTA, FULL
from store.records import CRLRecord

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SCOPE = CRLScope(1, "citizen", "http://pki.mn/crl/citizen.crl")
PLAIN = CRLPolicy(12 * HOUR, 12 * HOUR)
DELTAS = CRLPolicy(12 * HOUR, 12 * HOUR, HOUR)
ISSUER = Issuer(NOW - 100 * DAY, NOW + 100 * DAY)
FULL_5 = CRLRecord(1, 0, FULL, 5, None, NOW, NOW + DAY, 40, None, 0, 300, b"", b"", b"", b"")
DELTA_6 = replace(FULL_5, kind=DELTA, number=6, base_number=5, next_update=NOW + 2 * HOUR)
LAST = replace(FULL_5, next_update=NO_FURTHER_UPDATE)
NOTHING, A_FULL, A_DELTA, BOTH = Due(), Due(full=True), Due(delta=True), Due(full=True, delta=True)


@pytest.mark.parametrize(
    ("policy", "published", "after", "changed", "more", "expected"),
    [
        (PLAIN, Published(), 0 * HOUR, 0, {}, A_FULL),
        (DELTAS, Published(), 0 * HOUR, 0, {}, A_FULL),
        (PLAIN, Published(FULL_5), 10 * HOUR, 40, {}, NOTHING),
        (PLAIN, Published(FULL_5), 12 * HOUR, 40, {}, A_FULL),
        (PLAIN, Published(FULL_5, numbers_after=4), HOUR, 40, {}, NOTHING),
        (PLAIN, Published(FULL_5, numbers_after=5), HOUR, 40, {}, A_FULL),  # of a home restored since
        (PLAIN, Published(LAST, numbers_after=99), HOUR, 99, {}, NOTHING),
        (PLAIN, Published(FULL_5), -HOUR, 40, {}, A_FULL),  # of a clock that was ahead
        (PLAIN, Published(FULL_5), HOUR, 41, {}, A_FULL),
        (PLAIN, Published(FULL_5), HOUR, 41, {"resting": True}, NOTHING),
        (PLAIN, Published(FULL_5), 12 * HOUR, 41, {"resting": True}, A_FULL),
        (DELTAS, Published(FULL_5), HOUR / 2, 40, {}, A_DELTA),  # there is none yet
        (DELTAS, Published(FULL_5, DELTA_6), HOUR / 2, 40, {}, NOTHING),
        (DELTAS, Published(FULL_5, DELTA_6), HOUR / 2, 41, {}, A_DELTA),
        (DELTAS, Published(FULL_5, DELTA_6), HOUR / 2, 41, {"resting": True}, NOTHING),
        (DELTAS, Published(FULL_5, DELTA_6), HOUR, 40, {}, A_DELTA),
        (DELTAS, Published(FULL_5, DELTA_6), 12 * HOUR, 40, {}, BOTH),
        (DELTAS, Published(FULL_5, DELTA_6), DAY, 40, {}, A_FULL),  # its base has run out
        (DELTAS, Published(FULL_5, DELTA_6), -HOUR, 40, {}, A_FULL),
        (DELTAS, Published(FULL_5, DELTA_6), HOUR / 2, 41, {"ending": True}, A_FULL),
        (PLAIN, Published(LAST), 99 * DAY, 99, {}, NOTHING),
        (PLAIN, Published(LAST), 99 * DAY, 99, {"ending": True}, NOTHING),
    ],
)
def test_what_is_due(
    policy: CRLPolicy,
    published: Published,
    after: timedelta,
    changed: int,
    more: dict[str, bool],
    expected: Due,
) -> None:
    assert due(SCOPE, policy, published, last_change=changed, now=NOW + after, **more) == expected


def test_scopes_are_published_at_times_of_their_own() -> None:
    def first_due(shard: int) -> timedelta:
        scope = replace(SCOPE, shard=shard)
        steps = (timedelta(minutes=minute) for minute in range(13 * 60))
        return next(
            step for step in steps if due(scope, PLAIN, Published(FULL_5), last_change=0, now=NOW + step)
        )

    times = {first_due(shard) for shard in range(20)}
    assert len(times) > 10
    assert all(12 * HOUR * 9 / 10 <= time <= 12 * HOUR for time in times)


@pytest.mark.parametrize(("cost_s", "rest"), [(0.01, 0.0), (COSTLY_S, SHARE * COSTLY_S), (1.5, 15.0)])
def test_a_costly_crl_is_followed_by_a_rest(cost_s: float, rest: float) -> None:
    assert rest_s(cost_s) == pytest.approx(rest)


def test_numbers_of_full_and_delta_are_one_sequence() -> None:
    full = plan_full(SCOPE, DELTAS, ISSUER, Published(FULL_5, DELTA_6), events_to=50, now=NOW + HOUR)
    assert (full.number, full.base, full.next_update) == (7, None, NOW + 25 * HOUR)
    published = Published(FULL_5, DELTA_6)
    together = plan_delta(SCOPE, DELTAS, ISSUER, published, events_to=60, now=NOW + HOUR, with_full=full)
    assert (together.number, together.base, together.events_to) == (7, FULL_5, 50)
    alone = plan_delta(SCOPE, DELTAS, ISSUER, published, events_to=60, now=NOW + HOUR)
    assert (alone.number, alone.events_to, alone.next_update) == (7, 60, NOW + 3 * HOUR)


@pytest.mark.parametrize("now", [NOW - HOUR, NOW + DAY])
def test_a_delta_needs_a_base_that_is_valid(now: datetime) -> None:
    with pytest.raises(ConflictError, match="valid now"):
        plan_delta(SCOPE, DELTAS, ISSUER, Published(FULL_5), events_to=50, now=now)


@pytest.mark.parametrize(
    ("retention", "not_expired_at", "expired_since"),
    [
        (None, None, NOW - 100 * DAY),
        (0 * DAY, NOW, None),
        (7 * DAY, NOW - 7 * DAY, NOW + HOUR - 7 * DAY),
        (1000 * DAY, NOW - 1000 * DAY, NOW - 100 * DAY),
    ],
)
def test_how_long_expired_certificates_stay(
    retention: timedelta | None, not_expired_at: datetime | None, expired_since: datetime | None
) -> None:
    policy = replace(PLAIN, retention=retention)
    plan = plan_full(SCOPE, policy, ISSUER, Published(FULL_5), events_to=50, now=NOW + HOUR)
    assert (plan.not_expired_at, plan.expired_since) == (not_expired_at, expired_since)


def test_file_names() -> None:
    shard = replace(SCOPE, shard=3)
    names = [scope.file_name(kind) for scope in (SCOPE, shard) for kind in (FULL, DELTA)]
    assert names == ["citizen.crl", "citizen.delta.crl", "citizen-3.crl", "citizen-3.delta.crl"]
