"""The one table that gives every kind of error its codes on the wire."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from pkiserver.errors import PendingError, PKIServerError, TooManyRequestsError
from pkiserver.logs import escaped
from protocols.cmc.status import CMCFailInfo
from protocols.cmp.status import PKIFailureInfo, PKIStatus, PKIStatusInfo
from protocols.errors import ErrorKind, ProtocolError

MAX_REASON_CHARACTERS: Final = 300  # a reason is one line that a field engineer reads
RETRY_AFTER_S: Final = 5  # a restarting signer is back by then; a full disk may take as long as it likes


@dataclass(frozen=True, slots=True)
class Wire:
    """How one kind of refusal is answered.

    `cmc` is the reason in CMC (RFC 5272 §6.1.4), `cmp` that in CMP (RFC 9810 §5.2.3), None for the kind that
    is no failure.
    `text` replaces the error's own message: "" is an empty body, None shows the message.
    `retry_after_s` is the value of Retry-After; None: there is none, or the error itself says it.
    """

    http: HTTPStatus
    cmc: CMCFailInfo | None
    cmp: PKIFailureInfo | None
    text: str | None = None
    retry_after_s: int | None = None


WIRE: Final[dict[ErrorKind, Wire]] = {
    ErrorKind.MALFORMED: Wire(
        HTTPStatus.BAD_REQUEST, CMCFailInfo.BAD_REQUEST, PKIFailureInfo.BAD_DATA_FORMAT
    ),
    ErrorKind.TOO_LARGE: Wire(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, CMCFailInfo.BAD_REQUEST, PKIFailureInfo.BAD_DATA_FORMAT
    ),
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: Wire(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, CMCFailInfo.BAD_REQUEST, PKIFailureInfo.BAD_REQUEST
    ),
    ErrorKind.BAD_POP: Wire(HTTPStatus.BAD_REQUEST, CMCFailInfo.POP_FAILED, PKIFailureInfo.BAD_POP),
    ErrorKind.BAD_MESSAGE_CHECK: Wire(
        HTTPStatus.BAD_REQUEST, CMCFailInfo.BAD_MESSAGE_CHECK, PKIFailureInfo.BAD_MESSAGE_CHECK
    ),
    ErrorKind.BAD_ALGORITHM: Wire(HTTPStatus.BAD_REQUEST, CMCFailInfo.BAD_ALG, PKIFailureInfo.BAD_ALG),
    ErrorKind.BAD_KEY: Wire(HTTPStatus.BAD_REQUEST, CMCFailInfo.BAD_ALG, PKIFailureInfo.BAD_CERT_TEMPLATE),
    ErrorKind.BAD_REQUEST: Wire(HTTPStatus.BAD_REQUEST, CMCFailInfo.BAD_REQUEST, PKIFailureInfo.BAD_REQUEST),
    # Empty: Bouncy Castle's EST client fails on a 401 that has a body; nor should a guesser learn a reason.
    ErrorKind.NOT_AUTHENTICATED: Wire(
        HTTPStatus.UNAUTHORIZED, CMCFailInfo.BAD_IDENTITY, PKIFailureInfo.BAD_MESSAGE_CHECK, text=""
    ),
    ErrorKind.NOT_AUTHORIZED: Wire(
        HTTPStatus.FORBIDDEN, CMCFailInfo.BAD_IDENTITY, PKIFailureInfo.NOT_AUTHORIZED
    ),
    ErrorKind.NOT_FOUND: Wire(HTTPStatus.NOT_FOUND, CMCFailInfo.BAD_REQUEST, PKIFailureInfo.BAD_REQUEST),
    ErrorKind.CONFLICT: Wire(HTTPStatus.CONFLICT, CMCFailInfo.BAD_REQUEST, PKIFailureInfo.BAD_REQUEST),
    # What the REST API alone knows; of the last the error says when to come again.
    ErrorKind.PRECONDITION_FAILED: Wire(
        HTTPStatus.PRECONDITION_FAILED, CMCFailInfo.BAD_REQUEST, PKIFailureInfo.BAD_REQUEST
    ),
    ErrorKind.PRECONDITION_REQUIRED: Wire(
        HTTPStatus.PRECONDITION_REQUIRED, CMCFailInfo.BAD_REQUEST, PKIFailureInfo.BAD_REQUEST
    ),
    ErrorKind.UNPROCESSABLE: Wire(
        HTTPStatus.UNPROCESSABLE_ENTITY, CMCFailInfo.BAD_REQUEST, PKIFailureInfo.BAD_REQUEST
    ),
    ErrorKind.TOO_MANY_REQUESTS: Wire(
        HTTPStatus.TOO_MANY_REQUESTS, CMCFailInfo.TRY_LATER, PKIFailureInfo.SYSTEM_UNAVAIL
    ),
    # Empty, too: the same client fails on a 202 that has a body. The error says when to come again.
    ErrorKind.PENDING: Wire(HTTPStatus.ACCEPTED, None, None, text=""),
    ErrorKind.UNAVAILABLE: Wire(
        HTTPStatus.SERVICE_UNAVAILABLE,
        CMCFailInfo.TRY_LATER,
        PKIFailureInfo.SYSTEM_UNAVAIL,
        retry_after_s=RETRY_AFTER_S,
    ),
    ErrorKind.INTERNAL: Wire(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        CMCFailInfo.INTERNAL_CA_ERROR,
        PKIFailureInfo.SYSTEM_FAILURE,
        text="internal error",
    ),
    **{
        kind: Wire(HTTPStatus.BAD_REQUEST, CMCFailInfo.BAD_REQUEST, failure)
        for kind, failure in {
            ErrorKind.BAD_TIME: PKIFailureInfo.BAD_TIME,
            ErrorKind.BAD_CERT_ID: PKIFailureInfo.BAD_CERT_ID,
            ErrorKind.BAD_CERT_TEMPLATE: PKIFailureInfo.BAD_CERT_TEMPLATE,
            ErrorKind.BAD_SENDER_NONCE: PKIFailureInfo.BAD_SENDER_NONCE,
            ErrorKind.BAD_RECIPIENT_NONCE: PKIFailureInfo.BAD_RECIPIENT_NONCE,
            ErrorKind.CERT_REVOKED: PKIFailureInfo.CERT_REVOKED,
            ErrorKind.CERT_CONFIRMED: PKIFailureInfo.CERT_CONFIRMED,
            ErrorKind.INCOMPLETE: PKIFailureInfo.ADD_INFO_NOT_AVAILABLE,
            ErrorKind.SIGNER_NOT_TRUSTED: PKIFailureInfo.SIGNER_NOT_TRUSTED,
            ErrorKind.TRANSACTION_ID_IN_USE: PKIFailureInfo.TRANSACTION_ID_IN_USE,
            ErrorKind.UNSUPPORTED_VERSION: PKIFailureInfo.UNSUPPORTED_VERSION,
            ErrorKind.WRONG_INTEGRITY: PKIFailureInfo.WRONG_INTEGRITY,
        }.items()
    },
}


def kind_of(error: BaseException) -> ErrorKind:
    """Return the kind of one of our errors, and INTERNAL for every other exception."""
    if isinstance(error, PKIServerError | ProtocolError):
        return error.kind
    return ErrorKind.INTERNAL


def reason_of(error: BaseException) -> str:
    """Return what the client is told of `error`: one printable line without newline, or "" for nothing."""
    text = WIRE[kind_of(error)].text
    return escaped(str(error), MAX_REASON_CHARACTERS) if text is None else text


def cmp_failure_of(error: BaseException) -> PKIStatusInfo:
    """Return what a CMP client is told of `error`: a rejection, its reason as a bit and in words."""
    wire = WIRE[kind_of(error)]
    text = escaped(str(error), MAX_REASON_CHARACTERS) if not wire.text else wire.text
    failures = frozenset() if wire.cmp is None else frozenset({wire.cmp})
    return PKIStatusInfo(PKIStatus.REJECTION, (text,) if text else (), failures)


def retry_after_of(error: BaseException) -> int | None:
    """Return after how many seconds the client may come again, None where nothing is said of it."""
    if isinstance(error, PendingError | TooManyRequestsError):
        return int(error.retry_after.total_seconds())
    return WIRE[kind_of(error)].retry_after_s
