"""What `pkiserver.toml` may say: one model a section. The descriptions are the operator's reference.

Defaults are written as an operator would write them; `config.reference` prints them as they stand here.
"""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, StrictInt, model_validator

from config.base import Section, option
from config.errors import Broken, RuleError, refuse
from config.schema_audit import Audit
from config.schema_authorities import DEFAULT_AUTHORITIES, Authorities
from config.schema_cmp import CMP
from config.schema_documents import Documents, Retention
from config.schema_est import API, EST, HTTPS, Approval
from config.schema_keys import KeyPolicy, Keys
from config.schema_letters import Letters
from config.schema_plant import Plant
from config.schema_registration import CivilRegistry, Registration
from config.schema_webhooks import Webhooks
from config.status_policy import StatusPolicy
from config.units import (
    DNS_NAME,
    Duration,
    HostName,
    ListenAddress,
    Size,
    duration_text,
)
from config.validation import validate

DEFAULT_PUBLIC_URL: Final = "http://127.0.0.1:8080"
_URL_RULE: Final = (
    "http://, a host and perhaps a port, without path: addresses in certificates are plain HTTP (RFC 5280 §8)"
)
_MAX_URL_LENGTH: Final = 200  # it is repeated three times in every certificate


def _public_url(value: str) -> str:
    value = value.removesuffix("/")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise refuse(f"{value!r} is no URL", _URL_RULE) from error
    plain = f"http://{f'[{host}]' if ':' in host else host}{'' if port is None else f':{port}'}"
    if value != plain or not _is_host(host) or len(value) > _MAX_URL_LENGTH:
        raise refuse(f"{value!r} is not allowed", _URL_RULE)
    return value


PublicURL = Annotated[str, AfterValidator(_public_url)]


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return DNS_NAME.fullmatch(host) is not None
    return True


class Listen(Section):
    """Where the server listens; an empty list closes that door."""

    http: tuple[ListenAddress, ...] = option(
        ["127.0.0.1:8080"], description="Plain HTTP: OCSP, CRLs, CA certificates and CMP."
    )
    https: tuple[ListenAddress, ...] = option(["127.0.0.1:8443"], description="HTTPS: EST and CMP.")
    metrics: tuple[ListenAddress, ...] = option(
        ["127.0.0.1:9180"], description="Plain HTTP for operators: /metrics, /health and /ready."
    )

    def replaced(self, listen: Mapping[str, list[str]]) -> "Listen":
        """Return this with other addresses for some doors; `ConfigError` for one that is none."""
        values = {name: [*map(str, getattr(self, name))] for name in Listen.model_fields}
        return validate(Listen, values | dict(listen), "command line")


class TLS(Section):
    """The HTTPS side."""

    server_names: tuple[HostName, ...] = option(
        ["localhost", "127.0.0.1", "::1"],
        min_length=1,
        description="DNS names and IP addresses in the certificate of the HTTPS server.",
    )
    min_version: Literal["1.2", "1.3"] = option(
        "1.2", description="The lowest TLS version spoken: 1.2 or 1.3."
    )


def _each_once(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise refuse("one stands there twice", "each at most once")
    return value


class OCSP(Section):
    """Answers about the status of certificates (RFC 6960, RFC 9919)."""

    workers: StrictInt = option(1, ge=1, le=256, description="Processes that share the HTTP port.")
    max_age: Duration = option(
        "60s",
        description="How long HTTP caches may keep a response (max-age); at most ocsp_validity - "
        "ocsp_refresh of each authority.",
    )
    nonce: Literal["ignore", "sign"] = option(
        "ignore",
        description="A client's nonce: ignore gives the response that is signed beforehand (RFC 9919); sign "
        "signs one that holds the nonce (RFC 9654).",
    )
    hashes: Annotated[
        tuple[Literal["sha1", "sha256", "sha384", "sha512"], ...], AfterValidator(_each_once)
    ] = option(
        ["sha1", "sha256"],
        min_length=1,
        description="Hashes by which clients may name an issuer: sha1, sha256, sha384, sha512. Each makes "
        "every response some 110 to 200 bytes longer. After a change all responses are signed anew.",
    )
    queue: StrictInt = option(
        64,
        ge=1,
        le=1024,
        description="Answers signed on request that may be under way; one more is told to try later. Keep it "
        "well below keys.queue: the same signer issues certificates.",
    )


class Storage(Section):
    """The disk under the home folder."""

    min_free: Size = option(
        "64MiB", description="With less free space issuing stops; status keeps answering."
    )


class ClockSection(Section):
    """The machine's clock."""

    tolerance: Duration = option(
        "60s",
        description="When the clock falls back by more than this, issuing stops until it has caught up.",
    )


class Log(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = option(
        "info", description="The least important level written: debug, info, warning or error."
    )
    format: Literal["json", "console"] = option(
        "json", description="json: one object a line; console: to read."
    )


class Settings(Section):
    """The whole of `pkiserver.toml`."""

    public_url: PublicURL = option(
        DEFAULT_PUBLIC_URL,
        description="Where relying parties reach the HTTP side: AIA, CDP and OCSP addresses in certificates "
        "begin with it. Certificates keep the address they were issued with.",
    )
    listen: Listen = option({}, description="Addresses and ports.")
    tls: TLS = option({}, description="The HTTPS side.")
    keys: Keys = option({}, description="Keys of authorities and responders.")
    authorities: Authorities = option(
        DEFAULT_AUTHORITIES,
        description="The hierarchy. Naming one authority replaces the whole list. "
        "Profiles name their issuer here.",
    )
    ocsp: OCSP = option({}, description="Status answers.")
    https: HTTPS = option({}, description="What clients may take of the HTTPS port.")
    est: EST = option({}, description="Enrolment.")
    cmp: CMP = option({}, description="Certificate management over CMP.")
    api: API = option({}, description="The REST API.")
    approval: Approval = option({}, description="Enrolments that await approval.")
    registration: Registration = option({}, description="People and organisations.")
    civil_registry: CivilRegistry = option({}, description="The civil registry.")
    documents: Documents = option({}, description="Forms and decisions as PDF.")
    retention: Retention = option({}, description="How long documents are kept.")
    letters: Letters = option({}, description="Letters to holders.")
    webhooks: Webhooks = option({}, description="Events pushed to connected systems.")
    plant: Plant = option({}, description="Batches of the printing plant.")
    audit: Audit = option({}, description="The audit log.")
    storage: Storage = option({}, description="The disk.")
    clock: ClockSection = option({}, description="The clock.")
    log: Log = option({}, description="The log.")
    key_policy: KeyPolicy = option({}, description="Refused keys.")

    @property
    def status_policies(self) -> Mapping[str, StatusPolicy]:
        """How the status of each authority is told, by its name."""
        return {name: authority.status for name, authority in self.authorities.items()}

    def with_listen(self, listen: Mapping[str, list[str]]) -> Self:
        """Return these settings with other addresses to listen on; `ConfigError` for one that is none."""
        if not listen:
            return self
        return self.model_copy(update={"listen": self.listen.replaced(listen)})

    @model_validator(mode="before")
    @classmethod
    def _tables_are_tables(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise refuse("no table", "the file holds tables of settings")
        return value

    @model_validator(mode="after")
    def _caches_keep_no_old_response(self) -> "Settings":
        short = [
            name
            for name, policy in self.status_policies.items()
            if self.ocsp.max_age > policy.validity - policy.refresh
        ]
        if short:
            problem = f"{duration_text(self.ocsp.max_age)} is too long for {', '.join(short)}"
            compared = ("status_policy", "ocsp_validity", "ocsp_refresh")
            needs = tuple(f"authorities.{name}.{key}" for name in short for key in compared)
            raise RuleError(Broken(problem, "max_age <= ocsp_validity - ocsp_refresh", "ocsp.max_age", needs))
        return self
