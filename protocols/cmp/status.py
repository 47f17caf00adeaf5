"""How a request fared (RFC 9810 §5.2.3), and the message that says only that (§5.3.21)."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.cmp.free_text import encode_free_text, optional_free_text
from protocols.errors import MalformedError

_MAX_FAIL_INFO_OCTETS: Final = 8  # 27 bits are defined, "more codes may be added in the future"


class PKIStatus(IntEnum):
    """The outcome of one request."""

    ACCEPTED = 0
    GRANTED_WITH_MODS = 1
    REJECTION = 2
    WAITING = 3
    REVOCATION_WARNING = 4
    REVOCATION_NOTIFICATION = 5
    KEY_UPDATE_WARNING = 6


class PKIFailureInfo(IntEnum):
    """The reasons of a rejection, by the number of their bit."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4
    BAD_DATA_FORMAT = 5
    WRONG_AUTHORITY = 6
    INCORRECT_DATA = 7
    MISSING_TIME_STAMP = 8
    BAD_POP = 9
    CERT_REVOKED = 10
    CERT_CONFIRMED = 11
    WRONG_INTEGRITY = 12
    BAD_RECIPIENT_NONCE = 13
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16
    ADD_INFO_NOT_AVAILABLE = 17
    BAD_SENDER_NONCE = 18
    BAD_CERT_TEMPLATE = 19
    SIGNER_NOT_TRUSTED = 20
    TRANSACTION_ID_IN_USE = 21
    UNSUPPORTED_VERSION = 22
    NOT_AUTHORIZED = 23
    SYSTEM_UNAVAIL = 24
    SYSTEM_FAILURE = 25
    DUPLICATE_CERT_REQ = 26


def parse_status(reader: Reader) -> PKIStatus:
    """Read a PKIStatus; `MalformedError` for a number that has no meaning."""
    value = reader.integer()
    try:
        return PKIStatus(value)
    except ValueError as error:
        raise MalformedError(f"{value} is no PKIStatus") from error


def parse_failure_info(reader: Reader) -> frozenset[PKIFailureInfo]:
    """Read a PKIFailureInfo, a named bit list (X.690 §11.2.2); bits without a name are passed over."""
    content = reader.read(der.BIT_STRING)
    if not content or content[0] > 7 or len(content) > _MAX_FAIL_INFO_OCTETS + 1:
        raise MalformedError("failInfo is no BIT STRING of a few bits")
    bits = int.from_bytes(content[1:], "big")
    if content[0] and (len(content) == 1 or bits & ((1 << content[0]) - 1)):
        raise MalformedError("unused bits of failInfo are set")
    if len(content) > 1 and not bits >> content[0] & 1:
        raise MalformedError("failInfo ends in a bit that is not set")
    width = 8 * (len(content) - 1)
    return frozenset(
        reason for reason in PKIFailureInfo if reason < width and bits >> (width - 1 - reason) & 1
    )


def encode_failure_info(reasons: Iterable[PKIFailureInfo]) -> bytes:
    """Return the DER of a PKIFailureInfo with these bits set."""
    numbers = set(reasons)
    if not numbers:
        return der.encode(der.BIT_STRING, b"\x00")
    width = max(numbers) // 8 + 1
    unused = 8 * width - 1 - max(numbers)
    bits = sum(1 << (8 * width - 1 - number) for number in numbers)
    return der.encode(der.BIT_STRING, bytes((unused,)) + bits.to_bytes(width, "big"))


@dataclass(frozen=True, slots=True)
class PKIStatusInfo:
    """A status, what to tell people of it, and, of a rejection, its reasons."""

    status: PKIStatus
    status_string: tuple[str, ...] = ()
    fail_info: frozenset[PKIFailureInfo] = frozenset()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a PKIStatusInfo."""
        fields = reader.enter()
        status = parse_status(fields)
        status_string = optional_free_text(fields)
        fail_info = frozenset() if fields.at_end else parse_failure_info(fields)
        fields.finish()
        return cls(status, status_string, fail_info)

    def encode(self) -> bytes:
        """Return the DER; without reasons there is no failInfo."""
        fail_info = encode_failure_info(self.fail_info) if self.fail_info else b""
        return der.sequence(der.integer(self.status), encode_free_text(self.status_string), fail_info)


@dataclass(frozen=True, slots=True)
class ErrorMsgContent:
    """The body `error`; `error_code` is of the sender's own making."""

    status_info: PKIStatusInfo
    error_code: int | None = None
    error_details: tuple[str, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an ErrorMsgContent."""
        fields = reader.enter()
        status_info = PKIStatusInfo.parse(fields)
        error_code = fields.integer() if fields.peek() == der.INTEGER else None
        error_details = optional_free_text(fields)
        fields.finish()
        return cls(status_info, error_code, error_details)

    def encode(self) -> bytes:
        """Return the DER."""
        code = b"" if self.error_code is None else der.integer(self.error_code)
        return der.sequence(self.status_info.encode(), code, encode_free_text(self.error_details))
