"""What can go wrong, in the words of the protocols; `pkiserver.web.wire` gives each kind its wire codes."""

from enum import Enum
from typing import ClassVar


class ErrorKind(Enum):
    """Every kind of refusal the server knows. One table, `pkiserver.web.wire.WIRE`, maps it to HTTP."""

    MALFORMED = "malformed"  # not the encoding that the protocol asks for
    TOO_LARGE = "too_large"  # over a bound on bytes, depth or count
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    BAD_POP = "bad_pop"  # possession of the key is not proved
    BAD_MESSAGE_CHECK = "bad_message_check"  # the signature of a message does not verify
    BAD_ALGORITHM = "bad_algorithm"  # an algorithm, or its parameters, that is not supported
    BAD_KEY = "bad_key"  # the key policy refuses the public key
    BAD_REQUEST = "bad_request"  # well formed, but not what the profile or the state allows
    NOT_AUTHENTICATED = "not_authenticated"
    NOT_AUTHORIZED = "not_authorized"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"  # the state of the thing does not allow the command
    PRECONDITION_FAILED = "precondition_failed"  # the thing is no longer what the client saw
    PRECONDITION_REQUIRED = "precondition_required"  # the client must say what it saw
    UNPROCESSABLE = "unprocessable"  # can be read, and its values cannot be
    TOO_MANY_REQUESTS = "too_many_requests"  # of one client; others are served
    PENDING = "pending"  # taken; the same request gets its answer later
    UNAVAILABLE = "unavailable"  # try again later
    INTERNAL = "internal"
    # What CMP tells apart (RFC 9810 §5.2.3).
    BAD_TIME = "bad_time"
    BAD_CERT_ID = "bad_cert_id"
    BAD_CERT_TEMPLATE = "bad_cert_template"
    BAD_SENDER_NONCE = "bad_sender_nonce"
    BAD_RECIPIENT_NONCE = "bad_recipient_nonce"
    CERT_REVOKED = "cert_revoked"
    CERT_CONFIRMED = "cert_confirmed"
    INCOMPLETE = "incomplete"  # what is there to look something up does not suffice
    SIGNER_NOT_TRUSTED = "signer_not_trusted"
    TRANSACTION_ID_IN_USE = "transaction_id_in_use"
    UNSUPPORTED_VERSION = "unsupported_version"
    WRONG_INTEGRITY = "wrong_integrity"  # protected in another way than is asked for


class ProtocolError(Exception):
    """What was received, or asked to be built, breaks a rule of a protocol. The message is safe to show."""

    kind: ClassVar[ErrorKind] = ErrorKind.MALFORMED


class MalformedError(ProtocolError):
    """The bytes are not the encoding that was expected."""


class TooLargeError(ProtocolError):
    """The input exceeds a bound on bytes, depth or count."""

    kind = ErrorKind.TOO_LARGE


class BadPOPError(ProtocolError):
    """The request does not prove possession of its key (RFC 2986 §3, RFC 4211 §4)."""

    kind = ErrorKind.BAD_POP


class BadSignatureError(ProtocolError):
    """The signature of a message does not verify, or is by an algorithm that is too weak or unknown."""

    kind = ErrorKind.BAD_MESSAGE_CHECK


class BadMACError(ProtocolError):
    """The MAC of a message was not made with this secret (RFC 9810 §5.1.3.1)."""

    kind = ErrorKind.BAD_MESSAGE_CHECK


class UnsupportedAlgorithmError(ProtocolError):
    """An algorithm is unknown or too weak, or its parameters are out of bounds."""

    kind = ErrorKind.BAD_ALGORITHM


class BadKeyError(ProtocolError):
    """The public key cannot be used: unknown algorithm, bad parameters or a weakness."""

    kind = ErrorKind.BAD_KEY
