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


def test_an_address_is_admitted_until_it_was_refused_too_often() -> None:
    one_left = limiter(MAX_FAILURES - 1)
    one_left.admit("192.0.2.1", NOW)
    one_left.failed("192.0.2.1", NOW)
    with pytest.raises(UnavailableError, match="too many refused requests from this address"):
        one_left.admit("192.0.2.1", NOW)
    one_left.admit("192.0.2.2", NOW)


def test_it_is_admitted_again_after_the_window() -> None:
    full = limiter(MAX_FAILURES)
    with pytest.raises(UnavailableError):
        full.admit("192.0.2.1", NOW + WINDOW - SECOND)
    full.admit("192.0.2.1", NOW + WINDOW)
    full.failed("192.0.2.1", NOW + WINDOW)
    full.admit("192.0.2.1", NOW + WINDOW)  # counted anew


def test_a_clock_set_back_locks_nobody_out_for_long() -> None:
    full = limiter(MAX_FAILURES)
    full.admit("192.0.2.1", NOW - timedelta(days=300))


def test_asking_without_a_refusal_counts_nothing() -> None:
    quiet = limiter(0)
    for _ in range(MAX_FAILURES * 2):
        quiet.admit("192.0.2.1", NOW)


def test_the_longest_unseen_address_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_ADDRESSES", 2)
    full = limiter(MAX_FAILURES, "first")
    for _ in range(MAX_FAILURES):
        full.failed("second", NOW)
    full.failed("first", NOW)  # seen again: now the second is the longest unseen
    full.failed("third", NOW)
    full.admit("second", NOW)
    with pytest.raises(UnavailableError):
        full.admit("first", NOW)
