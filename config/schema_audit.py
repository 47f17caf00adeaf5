"""The audit log's heads, and where they go: `[audit]` of `pkiserver.toml`."""

from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, StrictInt, model_validator

from config.base import Section, option
from config.errors import Broken, RuleError, refuse
from config.units import OptionalPath, PositiveDuration, parse_host_name

_SYSLOG_RULE: Final = "udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH"
_MAIL_RULE: Final = "an address such as auditor@example.mn"
_MAX_MAIL_CHARACTERS: Final = 254  # RFC 5321 §4.5.3.1.3
_MAX_PLACES: Final = 8  # each is tried at every interval


def _syslog(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise refuse(f"{value[:60]!r} is no syslog receiver", _SYSLOG_RULE) from error
    if parts.scheme == "unix":
        is_right = value == f"unix://{parts.path}" and Path(parts.path).is_absolute()
    else:
        is_right = parts.scheme in ("udp", "tcp") and bool(host) and bool(port) and parts.username is None
        is_right = is_right and value == f"{parts.scheme}://{parts.netloc}"
    if not is_right:
        raise refuse(f"{value[:60]!r} is no syslog receiver", _SYSLOG_RULE)
    if host:
        parse_host_name(host)
    return value


def _mail(value: str) -> str:
    name, _, domain = value.rpartition("@")
    is_plain = value.isascii() and value.isprintable() and not any(one in value for one in " <>,;:")
    if not name or not domain or not is_plain or len(value) > _MAX_MAIL_CHARACTERS:
        raise refuse(f"{value[:60]!r} is no address", _MAIL_RULE)
    return value


def _each_once(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise refuse("one stands there twice", "each at most once")
    return value


class Audit(Section):
    """The audit log: its head is signed and sent out of reach of whoever might cut the log's tail."""

    head_interval: PositiveDuration = option(
        "1h", description="How often the head is signed and sent; also at a stop, and as head_records has it."
    )
    head_records: StrictInt = option(
        10_000, ge=1, description="After so many new records the head is signed before its time."
    )
    head_file: OptionalPath = option(
        "audit-heads.pem",
        description="File that signed heads are appended to; put it on another disk or machine. Empty: none.",
    )
    syslog: Annotated[tuple[Annotated[str, AfterValidator(_syslog)], ...], AfterValidator(_each_once)] = (
        option(
            [],
            max_length=_MAX_PLACES,
            description="Receivers of signed heads by syslog (RFC 5424): udp://HOST:PORT, tcp://HOST:PORT, "
            "unix:///dev/log.",
        )
    )
    mail: Annotated[tuple[Annotated[str, AfterValidator(_mail)], ...], AfterValidator(_each_once)] = option(
        [], max_length=_MAX_PLACES, description="Addresses that signed heads are mailed to, as letters are."
    )
    mail_interval: PositiveDuration = option("1d", description="How often they are, at most.")

    @model_validator(mode="after")
    def _heads_leave(self) -> Self:
        if not (self.head_file or self.syslog or self.mail):
            raise RuleError(
                Broken("missing", "heads that nobody is sent prove nothing: name one way", "head_file")
            )
        return self
