"""Values with a unit: what is taken, and what is not."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import RuleError
from config.units import (
    Address,
    Lifetime,
    duration_text,
    parse_duration,
    parse_host_name,
    parse_key,
    parse_signing_key,
    parse_size,
)

PARSERS = (
    parse_duration, Lifetime.parse, parse_size, Address.parse, parse_key, parse_signing_key, parse_host_name
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("24h", 86400), ("825d", 825 * 86400), ("0s", 0)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value", ["", "30", "s", "-1s", "1.5h", "1y", " 1s", "1S", "1s\n", 30, True, None, "9" * 30 + "s"]
)
def test_no_durations(value: object) -> None:
    with pytest.raises(RuleError, match="is no duration; a whole number"):
        parse_duration(value)


def test_lifetimes() -> None:
    assert Lifetime.parse("5y") == Lifetime(years=5)
    assert Lifetime.parse("90d") == Lifetime(span=timedelta(days=90))
    start = datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert Lifetime.parse("4y").after(start) == datetime(2028, 2, 29, 12, tzinfo=UTC)
    assert Lifetime.parse("5y").after(start) == datetime(2029, 2, 28, 12, tzinfo=UTC)
    assert Lifetime.parse("1d").after(start) == datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("value", ["0d", "0y", "51y", "99999d", "5", "5m", "5 y", 5, None])
def test_no_lifetimes(value: object) -> None:
    with pytest.raises(RuleError):
        Lifetime.parse(value)


@pytest.mark.parametrize(
    ("text", "size"), [("1B", 1), ("64KiB", 65536), ("64MiB", 1 << 26), ("1GiB", 1 << 30)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["64MB", "64", 64, "1.5MiB", "-1B", True])
def test_no_sizes(value: object) -> None:
    with pytest.raises(RuleError):
        parse_size(value)


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "[::1]:8080", "0.0.0.0:0", "[2001:db8::1]:65535"])
def test_addresses_and_back(text: str) -> None:
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize(
    "value",
    ["", "8080", ":8080", "::1:8080", "127.0.0.1", "127.0.0.1:65536", "[127.0.0.1]:1", "localhost:80", 8080],
)
def test_no_addresses(value: object) -> None:
    with pytest.raises(RuleError):
        Address.parse(value)


@pytest.mark.parametrize(
    "text", ["ec:P-256", "ec:P-384", "ec:P-521", "ed25519", "rsa:2048", "rsa:4096", "rsa:3000"]
)
def test_kinds_of_key(text: str) -> None:
    assert parse_key(text) == text


@pytest.mark.parametrize(
    "value", ["rsa", "rsa:1024", "rsa:2049", "rsa:16384", "ec:P-192", "ed25519:1", "dsa:2048", 1]
)
def test_no_kinds_of_key(value: object) -> None:
    with pytest.raises(RuleError):
        parse_key(value)


def test_the_signer_makes_fewer_sizes() -> None:
    assert parse_signing_key("rsa:3072") == "rsa:3072"
    with pytest.raises(RuleError, match="2048, 3072, 4096"):
        parse_signing_key("rsa:3000")


@pytest.mark.parametrize("text", ["localhost", "pki.example.mn", "127.0.0.1", "::1", "xn--e1afmkfd.mn"])
def test_host_names(text: str) -> None:
    assert parse_host_name(text) == text


@pytest.mark.parametrize("value", ["", "*.example.mn", "a_b", "-a.mn", "1.2.3", "a..b", "a" * 64, 1])
def test_no_host_names(value: object) -> None:
    with pytest.raises(RuleError):
        parse_host_name(value)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40) | st.integers() | st.none() | st.lists(st.integers()))
def test_only_our_own_error_escapes(value: object) -> None:
    for parse in PARSERS:
        with contextlib.suppress(RuleError):
            parse(value)


@pytest.mark.parametrize("text", ["0s", "30s", "90s", "5m", "25h", "1d", "10d"])
def test_a_duration_is_shown_as_it_is_written(text: str) -> None:
    assert duration_text(parse_duration(text)) == text
