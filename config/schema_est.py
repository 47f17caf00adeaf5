"""The HTTPS side and enrolment over it: `[https]`, `[est]` and `[approval]` of `pkiserver.toml`."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field, StrictInt

from config.base import Section, option
from config.errors import refuse
from config.units import Network, PositiveDuration, Size

MAX_EST_BODY_BYTES: Final = 32 * 1024  # protocols.est.request.MAX_BODY_BYTES: no longer body is read there


class HTTPS(Section):
    """What clients may take of the HTTPS port; each listening address has these bounds for itself."""

    max_connections: StrictInt = option(
        1024,
        ge=16,
        le=65536,
        description="Connections at once, handshakes included; further ones wait. Fewer where the limit of "
        "file descriptors is low.",
    )
    max_connections_per_address: StrictInt = option(
        64,
        ge=1,
        le=65536,
        description="Connections at once of one address (of IPv6, one /64); further ones are closed. Trusted "
        "proxies are not held to it.",
    )
    max_requests: StrictInt = option(
        256, ge=1, le=65536, description="Requests in work at once; further ones are told to come again."
    )
    handshake_timeout: PositiveDuration = option("10s", description="A TLS handshake is done by then.")
    idle_timeout: PositiveDuration = option(
        "30s", description="From the connection, or the last answer, to the end of the next request's header."
    )
    write_timeout: PositiveDuration = option(
        "20s", description="How long a client may leave an answer unread."
    )


def _enrolment_size(value: int) -> int:
    if not 0 < value <= MAX_EST_BODY_BYTES:
        raise refuse(f"{value} bytes are not allowed here", "32KiB at most, and more than nothing")
    return value


EnrolmentSize = Annotated[Size, AfterValidator(_enrolment_size)]


class EST(Section):
    """Enrolment over EST (RFC 7030)."""

    realm: Annotated[str, Field(pattern=r"^[ !#-\[\]-~]{1,64}$")] = option(
        "pkiserver",
        description='Realm of HTTP Basic authentication: 1 to 64 ASCII characters, no " and no \\.',
    )
    max_attempts: StrictInt = option(
        10, ge=1, le=1000, description="Wrong secrets until an enrolment credential is locked."
    )
    credential_lifetime: PositiveDuration = option(
        "7d", description="How long an enrolment credential may be used, unless it is made with another time."
    )
    max_body: EnrolmentSize = option(
        "32KiB",
        description="A larger request is refused, 32KiB at most; a CSR has 1 to 3 KiB.",
    )
    request_timeout: PositiveDuration = option(
        "30s", description="A request must have arrived within this time; slower clients are cut off."
    )
    trusted_proxies: tuple[Network, ...] = option(
        [],
        description="Addresses and networks of the load balancers that end the clients' TLS. Client-Cert "
        "(RFC 9440) and X-Forwarded-For are believed: name nothing else here.",
    )


class API(Section):
    """The REST API on the HTTPS port."""

    rate: StrictInt = option(
        20, ge=1, le=10_000, description="Requests a second of one actor, however many certificates it has."
    )
    burst: StrictInt = option(
        100, ge=1, le=100_000, description="Requests that an actor may make at once after a rest."
    )
    key_lifetime: PositiveDuration = option(
        "24h", description="How long an answer is kept for its Idempotency-Key."
    )


class Approval(Section):
    """Enrolments that await approval, where the profile says `approval = true`."""

    retry_after: PositiveDuration = option(
        "10m", description="When a client that waits may ask again (Retry-After)."
    )
    lifetime: PositiveDuration = option(
        "7d",
        description="From the request until the certificate was made; what runs out is asked for anew. It "
        "ends with the credential or certificate by which it was asked.",
    )
    max_waiting: StrictInt = option(
        10_000,
        ge=1,
        le=1_000_000,
        description="Enrolments open at once: waiting, or approved and not made yet.",
    )
    max_waiting_per_requester: StrictInt = option(
        16,
        ge=1,
        le=1_000_000,
        description="The same of one credential, certificate or device.",
    )
    max_waiting_per_registration_client: StrictInt = option(
        1_000, ge=1, le=1_000_000, description="The same of one registration client."
    )
