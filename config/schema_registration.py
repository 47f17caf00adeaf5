"""Registration: `[registration]` and `[civil_registry]` of `pkiserver.toml`."""

from datetime import timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, PlainValidator, StrictBool, StrictInt, model_validator

from config.base import Section, option
from config.errors import Broken, RuleError, refuse
from config.units import OptionalPath, PositiveDuration, Size, parse_retention

LEAST_RETENTION: Final = timedelta(days=7 * 365 + 2)  # seven calendar years have two leap days at most
MAX_ANSWER_BYTES: Final = 1 << 20
_URL_RULE: Final = "https://, a host and perhaps a port and a path, without query: personal data go there"


def _retention(value: Any) -> timedelta:
    rule = "7y or longer, as 7y or 3650d: signatures are disputed for as long"
    kept = value if isinstance(value, timedelta) else parse_retention(value)
    if kept == "forever" or kept < LEAST_RETENTION:
        raise refuse("this is not allowed here", rule)
    return kept


def _registry_url(value: str) -> str:
    if not value:
        return value
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise refuse("this is no URL", _URL_RULE) from error
    odd = parts.username is not None or parts.query or parts.fragment or not value.isascii()
    if parts.scheme != "https" or not host or odd or any(one.isspace() for one in value):
        raise refuse("this is not allowed here", _URL_RULE)
    return value.rstrip("/")


def _answer_size(value: int) -> int:
    if not 0 < value <= MAX_ANSWER_BYTES:
        raise refuse(f"{value} bytes are not allowed here", "1MiB at most, and more than nothing")
    return value


Retention = Annotated[timedelta, PlainValidator(_retention)]
RegistryURL = Annotated[str, AfterValidator(_registry_url)]
AnswerSize = Annotated[Size, AfterValidator(_answer_size)]


class CivilRegistry(Section):
    """The civil registry that identities are held to."""

    url: RegistryURL = option(
        "",
        description="Where the civil registry answers over HTTPS, such as https://registry.example.mn/v1. "
        "Empty: the file civil-registry.jsonl of the home is asked.",
    )
    ca_file: OptionalPath = option(
        "", description="PEM file of the authorities that the registry's certificate is of; no others count."
    )
    certificate_file: OptionalPath = option(
        "", description="PEM file of our client certificate and its key, in this order."
    )
    connect_timeout: PositiveDuration = option(
        "3s", description="How long a connection with its TLS handshake may take."
    )
    timeout: PositiveDuration = option(
        "10s", description="How long a look-up may take as a whole, attempts and pauses included."
    )
    attempts: StrictInt = option(
        3, ge=1, le=10, description="How often a look-up is tried where no answer came, or 502, 503, 504."
    )
    max_answer: AnswerSize = option("64KiB", description="A longer answer is none.")
    max_lookups: StrictInt = option(
        16, ge=1, le=1024, description="Look-ups under way at once; one more is told to come again."
    )
    open_after: StrictInt = option(
        5, ge=1, le=1000, description="Look-ups that fail in a row until the registry is left alone."
    )
    pause: PositiveDuration = option(
        "5s",
        description="How long it is left alone before one look-up probes it; twice as long after each probe "
        "that fails, up to 16 times.",
    )

    @model_validator(mode="after")
    def _both_sides_prove_who_they_are(self) -> "CivilRegistry":
        missing = [name for name in ("ca_file", "certificate_file") if getattr(self, name) is None]
        if self.url and missing:
            rule = "a registry over HTTPS needs ca_file and certificate_file"
            raise RuleError(*(Broken("missing", rule, name) for name in missing))
        if self.connect_timeout > self.timeout:
            raise RuleError(Broken("longer than timeout", "connect_timeout <= timeout", "connect_timeout"))
        return self


class Registration(Section):
    """Registration of people and organisations."""

    retention: Retention = option(
        "7y",
        description="How long data of a person are kept after the last certificate has expired, 7y at least.",
    )
    public_organizations: StrictBool = option(
        True, description="Whether organisations may register themselves, without a client certificate."
    )
    public_per_hour: StrictInt = option(
        5, ge=1, le=1000, description="Registrations an hour of one address (of IPv6, one /64)."
    )
    public_waiting: StrictInt = option(
        1000, ge=1, le=100_000, description="Registrations that may wait for a specialist; more are refused."
    )
