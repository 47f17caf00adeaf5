"""The Certificate Management Protocol (RFC 9810): `[cmp]` of `pkiserver.toml`."""

from typing import Annotated, Final

from pydantic import AfterValidator, StrictBool, StrictInt, model_validator

from config.base import Section, option
from config.errors import Broken, RuleError, refuse
from config.units import CertificateLifetime, PositiveDuration, Size

MAX_CMP_MESSAGE_BYTES: Final = 256 * 1024  # protocols.cmp.message reads no longer one
LEAST_MAC_ITERATIONS: Final = 100  # RFC 4211 §4.4 has fewer not be used
MOST_MAC_ITERATIONS: Final = 1_000_000  # a quarter of a second of CPU, before it is known who asks
MAX_PEERS: Final = 16
MAX_REQUESTS: Final = 8  # each costs a signature; a token has two or three keys


def _message_size(value: int) -> int:
    if not 0 < value <= MAX_CMP_MESSAGE_BYTES:
        raise refuse(f"{value} bytes are not allowed here", "256KiB at most, and more than nothing")
    return value


MessageSize = Annotated[Size, AfterValidator(_message_size)]


class CMP(Section):
    """Certificate management over CMP (RFC 9810, RFC 9483)."""

    enabled: StrictBool = option(True, description="Whether CMP is served.")
    max_message: MessageSize = option("64KiB", description="A larger message is refused, 256KiB at most.")
    queue: StrictInt = option(
        64,
        ge=1,
        le=1024,
        description="Messages over plain HTTP that may be under way; one more is told to come again.",
    )
    message_time_window: PositiveDuration = option(
        "5m", description="By how much the messageTime of a request may differ from the clock here."
    )
    require_message_time: StrictBool = option(
        True, description="Whether a request without messageTime is refused."
    )
    confirm_wait: PositiveDuration = option(
        "5m",
        description="A certificate that is not confirmed within this time is revoked (confirmWaitTime). A "
        "client that asks for another time gets no longer one.",
    )
    check_after: PositiveDuration = option(
        "30s", description="When a client whose request waits for approval may poll again (checkAfter)."
    )
    max_requests: StrictInt = option(
        1, ge=1, le=MAX_REQUESTS, description="Certificates that one ir or cr may ask for."
    )
    peers: tuple[str, ...] = option(
        [],
        max_length=MAX_PEERS,
        description="PEM files, relative to the home, with certificates of other authorities: a registered "
        "RA may have the root certify their names and keys (ccr). None: ccr is refused.",
    )
    peer_lifetime: CertificateLifetime = option(
        "3y", description="Validity of a cross-certificate; cut where the root ends before."
    )
    min_mac_iterations: StrictInt = option(
        LEAST_MAC_ITERATIONS,
        ge=LEAST_MAC_ITERATIONS,
        le=MOST_MAC_ITERATIONS,
        description="A MAC with fewer iterations is refused.",
    )
    max_mac_iterations: StrictInt = option(
        100_000,
        ge=LEAST_MAC_ITERATIONS,
        le=MOST_MAC_ITERATIONS,
        description="A MAC with more is refused, before any work is done for it.",
    )

    @model_validator(mode="after")
    def _some_number_of_iterations_is_allowed(self) -> "CMP":
        if self.min_mac_iterations > self.max_mac_iterations:
            problem = f"{self.max_mac_iterations} is less than min_mac_iterations"
            rule = "min_mac_iterations <= max_mac_iterations"
            raise RuleError(Broken(problem, rule, "max_mac_iterations", ("min_mac_iterations",)))
        return self
