"""How often one address may be refused."""

from datetime import UTC, datetime, timedelta

import pytest

from pkiserver.errors import UnavailableError
from pkiserver.ra import attempts
from pkiserver.ra.attempts import MAX_FAILURES, WINDOW, AttemptLimiter

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def limiter(failures: int, address: str = "192.0.2.1") -> AttemptLimiter:
    made = AttemptLimiter()
    for _ in range(failures):
        made.failed(address, NOW)
    return made


def test_an_address_is_recorded_until_it_had_its_share() -> None:
    one_left = limiter(MAX_FAILURES - 1)
    one_left.failed("192.0.2.1", NOW)
    with pytest.raises(UnavailableError, match="too many refused requests from this address"):
        one_left.failed("192.0.2.1", NOW)
    one_left.failed("192.0.2.2", NOW)


def test_it_is_counted_anew_after_the_window() -> None:
    full = limiter(MAX_FAILURES)
    with pytest.raises(UnavailableError):
        full.failed("192.0.2.1", NOW + WINDOW - SECOND)
    for _ in range(MAX_FAILURES):
        full.failed("192.0.2.1", NOW + WINDOW)
    with pytest.raises(UnavailableError):
        full.failed("192.0.2.1", NOW + WINDOW)


def test_a_clock_set_back_locks_nobody_out_for_long() -> None:
    limiter(MAX_FAILURES).failed("192.0.2.1", NOW - timedelta(days=300))


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    full = limiter(MAX_FAILURES, "2001:db8::1")
    with pytest.raises(UnavailableError):
        full.failed("2001:db8::ffff:2", NOW)
    full.failed("2001:db8:0:1::1", NOW)


def test_the_longest_unseen_address_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_ADDRESSES", 2)
    full = limiter(MAX_FAILURES, "first")
    for _ in range(MAX_FAILURES):
        full.failed("second", NOW)
    with pytest.raises(UnavailableError):
        full.failed("first", NOW)  # seen again: now the second is the longest unseen
    full.failed("third", NOW)
    full.failed("second", NOW)  # forgotten, so counted from one
