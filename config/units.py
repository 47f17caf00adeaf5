"""Values with a unit, as an operator writes them: durations, lifetimes, sizes, addresses, kinds of key."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, PlainValidator

from config.errors import RuleError, refuse

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd])")
_YEARS: Final = re.compile(r"([0-9]{1,3})y")
_LIFETIME: Final = re.compile(r"([0-9]{1,5})([hdy])")
_SIZE: Final = re.compile(r"([0-9]{1,9})(B|KiB|MiB|GiB)")
_BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_ADDRESS: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})")
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
DNS_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")  # RFC 1034 §3.5, RFC 1123 §2.1; no wildcard

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAX_PORT: Final = 65535
_LEAP_YEAR: Final = timedelta(days=366)  # what is kept for years is never kept too short
_MAX_RETENTION: Final = 100 * _LEAP_YEAR  # what is longer is meant for ever
_MAX_YEARS: Final = 50  # beyond any CA's life, and far from the end of GeneralizedTime
EC_CURVES: Final = ("P-256", "P-384", "P-521")
RSA_MIN_BITS: Final = 2048  # NIST SP 800-57 part 1, table 2: 112 bits of security
RSA_MAX_BITS: Final = 8192  # larger ones only cost time
SIGNING_RSA_BITS: Final = (2048, 3072, 4096)  # sizes that key stores and HSMs make alike

DURATION_RULE: Final = "a whole number and a unit s, m, h or d, such as 30s, 5m or 24h"
RETENTION_RULE: Final = (
    "forever, or a whole number and a unit s, m, h, d or y, such as 0s, 3650d or 7y, 100 years at most"
)
LIFETIME_RULE: Final = f"a whole number and a unit h, d or y, such as 90d or 5y, {_MAX_YEARS} years at most"
SIZE_RULE: Final = "a whole number and a unit B, KiB, MiB or GiB, such as 64MiB"
ADDRESS_RULE: Final = (
    "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080; port 0 takes a free one"
)
NETWORK_RULE: Final = "an IP address or a network, such as 192.0.2.7, 10.1.0.0/24 or 2001:db8::/48"
KEY_RULE: Final = f"ec:P-256, ec:P-384, ec:P-521, ed25519, or rsa: and {RSA_MIN_BITS} to {RSA_MAX_BITS} bits"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def parse_duration(value: Any) -> timedelta:
    """Return the duration that a text such as `30s` says; `RuleError` for anything else."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise refuse(f"{_shown(value)} is no duration", DURATION_RULE)
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def duration_text(span: timedelta) -> str:
    """Return a duration of whole seconds as an operator writes it, in the largest unit that it fills."""
    seconds = int(span.total_seconds())
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % _SECONDS[unit] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}" if seconds else "0s"


def parse_retention(value: Any) -> timedelta | Literal["forever"]:
    """Return how long something is kept, `forever` as it stands; `RuleError` for anything else."""
    if value == "forever":
        return "forever"
    years = _YEARS.fullmatch(value) if isinstance(value, str) else None
    try:
        kept = int(years[1]) * _LEAP_YEAR if years else parse_duration(value)
    except RuleError as error:
        raise refuse(f"{_shown(value)} is no time to keep something", RETENTION_RULE) from error
    if kept > _MAX_RETENTION:
        raise refuse(f"{_shown(value)} is too long", RETENTION_RULE)
    return kept


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a certificate is valid: calendar years, or a fixed span. One of the two is zero.

    A year is a calendar year: the regulation promises five years, and 1,825 days would fall short by the
    leap days. 29 February ends on 28 February where the last year has no leap day.
    """

    years: int = 0
    span: timedelta = timedelta(0)

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Return the lifetime that a text such as `90d` or `5y` says; `RuleError` for anything else."""
        if isinstance(value, cls):
            return value
        match = _LIFETIME.fullmatch(value) if isinstance(value, str) else None
        if match is None or int(match[1]) == 0:
            raise refuse(f"{_shown(value)} is no lifetime", LIFETIME_RULE)
        number = int(match[1])
        years = number if match[2] == "y" else 0
        span = timedelta(0) if years else timedelta(seconds=number * _SECONDS[match[2]])
        if years > _MAX_YEARS or span > timedelta(days=_MAX_YEARS * 365):
            raise refuse(f"{_shown(value)} is too long", LIFETIME_RULE)
        return cls(years, span)

    def after(self, moment: datetime) -> datetime:
        """Return the moment at which a lifetime that starts at `moment` is over."""
        if not self.years:
            return moment + self.span
        year = moment.year + self.years
        try:
            return moment.replace(year=year)
        except ValueError:  # 29 February, and that year has none
            return moment.replace(year=year, day=28)


def parse_size(value: Any) -> int:
    """Return the bytes that a text such as `64MiB` says; `RuleError` for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise refuse(f"{value} has no unit", SIZE_RULE)
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise refuse(f"{_shown(value)} is no size", SIZE_RULE)
    return int(match[1]) * _BYTES[match[2]]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: an IP address and a port; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Return the address that a text such as `[::1]:8080` says; `RuleError` for anything else."""
        if isinstance(value, cls):
            return value
        match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
        if match is None or int(match["port"]) > _MAX_PORT:
            raise refuse(f"{_shown(value)} is no address", ADDRESS_RULE)
        try:
            host = ipaddress.ip_address(match["six"] or match["four"])
        except ValueError as error:
            raise refuse(f"{_shown(value)} is no address", ADDRESS_RULE) from error
        if (host.version == 6) != bool(match["six"]):
            raise refuse(f"{_shown(value)} is no address", ADDRESS_RULE)
        return cls(str(host), int(match["port"]))


def parse_network(value: Any) -> IPNetwork:
    """Return the network that a text such as `10.1.0.0/24` says; `RuleError` for anything else."""
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError as error:
        raise refuse(f"{_shown(value)} is no network ({error})", NETWORK_RULE) from error


def parse_key(value: Any) -> str:
    """Return the text of a kind of key, checked; `RuleError` for anything else."""
    text = value if isinstance(value, str) else ""
    kind, _, parameter = text.partition(":")
    known = text == "ed25519" or (kind == "ec" and parameter in EC_CURVES)
    if not known and not (kind == "rsa" and _is_modulus_size(parameter)):
        raise refuse(f"{_shown(value)} is no kind of key", KEY_RULE)
    return text


def _is_modulus_size(text: str) -> bool:
    return (
        re.fullmatch(r"[1-9][0-9]{3}", text) is not None
        and RSA_MIN_BITS <= int(text) <= RSA_MAX_BITS
        and int(text) % 8 == 0
    )


def parse_signing_key(value: Any) -> str:
    """Return the text of a kind of key that the signer makes; `RuleError` for anything else."""
    text = parse_key(value)
    if text.startswith("rsa:") and int(text.removeprefix("rsa:")) not in SIGNING_RSA_BITS:
        raise refuse(
            f"{_shown(value)} is not made here", f"RSA keys of {', '.join(map(str, SIGNING_RSA_BITS))} bits"
        )
    return text


def parse_host_name(value: Any) -> str:
    """Return a DNS name or an IP address, checked; `RuleError` for anything else."""
    rule = "a DNS name or an IP address, such as pki.example.mn or 127.0.0.1"
    if not isinstance(value, str) or len(value) > 253:
        raise refuse(f"{_shown(value)} is no host name", rule)
    try:
        return str(ipaddress.ip_address(value))
    except ValueError as error:
        if DNS_NAME.fullmatch(value) is None or re.fullmatch(r"[0-9.]+", value):
            raise refuse(f"{_shown(value)} is no host name", rule) from error
    return value


def _optional_path(value: Any) -> Any:
    return None if value == "" else value


PRESET: Final = "preset"  # written for a value that the status policy's preset has


def _or_preset(parse: Callable[[Any], Any]) -> PlainValidator:
    """Return what reads a value by `parse`, or `PRESET` as None."""
    return PlainValidator(lambda value: None if value == PRESET else parse(value))


def _parse_positive(value: Any) -> timedelta:
    return _positive(parse_duration(value))


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise refuse("0 is not allowed here", "more than nothing")
    return value


Duration = Annotated[timedelta, PlainValidator(parse_duration)]
PositiveDuration = Annotated[timedelta, PlainValidator(_parse_positive)]
PresetDuration = Annotated[timedelta | None, _or_preset(_parse_positive)]
PresetRetention = Annotated[timedelta | Literal["forever"] | None, _or_preset(parse_retention)]
CertificateLifetime = Annotated[Lifetime, PlainValidator(Lifetime.parse)]
Size = Annotated[int, PlainValidator(parse_size)]
ListenAddress = Annotated[Address, PlainValidator(Address.parse)]
Network = Annotated[IPNetwork, PlainValidator(parse_network)]
KeyKind = Annotated[str, PlainValidator(parse_key)]
SigningKey = Annotated[str, PlainValidator(parse_signing_key)]
HostName = Annotated[str, PlainValidator(parse_host_name)]
OptionalPath = Annotated[Path | None, BeforeValidator(_optional_path)]  # "" means none
