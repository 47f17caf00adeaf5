"""What a CMC server says of a request (RFC 5272 §6.1): CMCStatusInfoV2, and CMCStatusInfo of RFC 2797."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final, Self, TypeVar

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.cmc.body_parts import MAX_BODY_PARTS, MAX_PATH, TaggedAttribute, parse_body_part_id
from protocols.errors import MalformedError, TooLargeError

MAX_BODY_LIST: Final = 4 * MAX_BODY_PARTS  # all parts of a request
MAX_STATUS_STRING_CHARS: Final = 1024  # a few lines for a person
MAX_PEND_TOKEN_BYTES: Final = 256  # tokens are random; ours take 16

_EXTENDED_FAIL_INFO: Final = der.context(1)  # RFC 6402 §A.2; without a tag it looks like a PendInfo

BodyPartReference = int | tuple[int, ...]  # an ID, or a path of IDs through nested messages (§3.2.2)


class CMCStatus(IntEnum):
    """How a part of the request fared (§6.1.3); 1 is reserved."""

    SUCCESS = 0
    FAILED = 2
    PENDING = 3
    NO_SUPPORT = 4
    CONFIRM_REQUIRED = 5
    POP_REQUIRED = 6
    PARTIAL = 7


class CMCFailInfo(IntEnum):
    """Why it failed (§6.1.4)."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4
    UNSUPPORTED_EXT = 5
    MUST_ARCHIVE_KEYS = 6
    BAD_IDENTITY = 7
    POP_REQUIRED = 8
    POP_FAILED = 9
    NO_KEY_REUSE = 10
    INTERNAL_CA_ERROR = 11
    TRY_LATER = 12
    AUTH_DATA_FAIL = 13


@dataclass(frozen=True, slots=True)
class PendInfo:
    """When to ask again, and by which token (§6.1.1); the time is in whole seconds of UTC."""

    pend_token: bytes
    pend_time: datetime

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a PendInfo."""
        fields = reader.enter()
        pend_info = cls(_pend_token(fields), fields.generalized_time())
        fields.finish()
        return pend_info

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(der.octet_string(self.pend_token), der.generalized_time(self.pend_time))


@dataclass(frozen=True, slots=True)
class ExtendedFailInfo:
    """A reason that others defined; `value` is DER. Who does not know it takes internalCAError."""

    fail_info_oid: str
    value: bytes


OtherInfo = CMCFailInfo | PendInfo | ExtendedFailInfo


@dataclass(frozen=True, slots=True)
class CMCStatusInfo:
    """The status of the parts in `body_list`.

    The rules of §6.1.1 hold: a fail info is there only where the status is failed, a pend info only where it
    is pending or partial; `MalformedError` otherwise.
    """

    status: CMCStatus
    body_list: tuple[BodyPartReference, ...]
    status_string: str | None = None
    other_info: OtherInfo | None = None

    def __post_init__(self) -> None:
        """Hold the rules of §6.1.1."""
        if not self.body_list:
            raise MalformedError("the bodyList of a status is empty")
        waiting = self.status in (CMCStatus.PENDING, CMCStatus.PARTIAL)
        if isinstance(self.other_info, PendInfo):
            if not waiting:
                raise MalformedError("pendInfo stands with a status that is neither pending nor partial")
        elif self.other_info is not None and self.status is not CMCStatus.FAILED:
            raise MalformedError("a reason of failure stands with a status that is not failed")

    @classmethod
    def parse_v2(cls, reader: Reader) -> Self:
        """Read a CMCStatusInfoV2."""
        fields = reader.enter()
        info = cls(
            _enum(fields, CMCStatus),
            der.repeated(
                fields.enter(), parse_reference, at_most=MAX_BODY_LIST, what="body parts in a status"
            ),
            _optional_string(fields),
            _optional_other_info(fields),
        )
        fields.finish()
        return info

    def encode_v2(self) -> bytes:
        """Return the DER of a CMCStatusInfoV2."""
        return der.sequence(
            der.integer(self.status),
            der.sequence(*map(_encode_reference, self.body_list)),
            b"" if self.status_string is None else der.utf8_string(self.status_string),
            b"" if self.other_info is None else _encode_other_info(self.other_info),
        )

    def encode_v1(self) -> bytes:
        """Return the DER of a CMCStatusInfo (§6.1.2), for clients of RFC 2797.

        `ValueError` for what it cannot say: paths, and reasons that others defined.
        """
        if isinstance(self.other_info, ExtendedFailInfo):
            raise ValueError("CMCStatusInfo has no extendedFailInfo")  # noqa: TRY004 - of the right type
        if not all(isinstance(reference, int) for reference in self.body_list):
            raise ValueError("CMCStatusInfo has no paths")
        return self.encode_v2()  # what is left is the same in both

    def control(self, body_part_id: int) -> TaggedAttribute:
        """Return the Extended CMC Status Info control, which servers MUST use (§6.1)."""
        return TaggedAttribute(body_part_id, oid.CMC_STATUS_INFO_V2, (self.encode_v2(),))


_E = TypeVar("_E", CMCStatus, CMCFailInfo)


def _enum(reader: Reader, kind: type[_E]) -> _E:
    try:
        return kind(reader.integer())
    except ValueError as error:
        raise MalformedError(f"no {kind.__name__}") from error


def _pend_token(reader: Reader) -> bytes:
    token = reader.octet_string()
    if len(token) > MAX_PEND_TOKEN_BYTES:
        raise TooLargeError(f"a pendToken is longer than {MAX_PEND_TOKEN_BYTES} bytes")
    return token


def parse_reference(reader: Reader) -> BodyPartReference:
    """Read a BodyPartReference."""
    if reader.peek() == der.INTEGER:
        return parse_body_part_id(reader)
    return parse_path(reader)


def parse_path(reader: Reader) -> tuple[int, ...]:
    """Read a BodyPartPath or BodyPartList of one or more IDs."""
    path = der.repeated(reader.enter(), parse_body_part_id, at_most=MAX_PATH, what="body parts in a path")
    if not path:
        raise MalformedError("a path of body parts is empty")
    return path


def _encode_reference(reference: BodyPartReference) -> bytes:
    if isinstance(reference, int):
        return der.integer(reference)
    return der.sequence(*map(der.integer, reference))


def _optional_string(reader: Reader) -> str | None:
    if reader.peek() != der.UTF8_STRING:
        return None
    return utf8_text(reader, MAX_STATUS_STRING_CHARS)


def utf8_text(reader: Reader, max_chars: int) -> str:
    """Return a UTF8String of at most `max_chars` characters."""
    try:
        text = reader.read(der.UTF8_STRING).decode()
    except UnicodeDecodeError as error:
        raise MalformedError("a UTF8String is not valid") from error
    if len(text) > max_chars:
        raise TooLargeError(f"a text is longer than {max_chars} characters")
    return text


def _optional_other_info(reader: Reader) -> OtherInfo | None:
    match reader.peek():
        case None:
            return None
        case der.INTEGER:
            return _enum(reader, CMCFailInfo)
        case der.SEQUENCE if reader.look().enter().peek() != der.OID:
            return PendInfo.parse(reader)
        case der.SEQUENCE:  # as the ASN.1 module of 1988 has it, and Bouncy Castle writes it
            fields = reader.enter()
        case _:
            fields = reader.enter(_EXTENDED_FAIL_INFO)
    info = ExtendedFailInfo(fields.oid(), fields.read_any()[1])
    fields.finish()
    return info


def _encode_other_info(info: OtherInfo) -> bytes:
    match info:
        case CMCFailInfo():
            return der.integer(info)
        case PendInfo():
            return info.encode()
    return der.encode(_EXTENDED_FAIL_INFO, der.oid(info.fail_info_oid) + info.value)
