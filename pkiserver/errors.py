"""Errors of the server itself; each has a kind, as those of `protocols.errors` have."""

from datetime import timedelta
from typing import ClassVar

from protocols.errors import ErrorKind


class PKIServerError(Exception):
    """Base of the server's own errors. The message is one line, safe to show, and says what to do."""

    kind: ClassVar[ErrorKind] = ErrorKind.INTERNAL


class NotFoundError(PKIServerError):
    """There is no such thing."""

    kind = ErrorKind.NOT_FOUND


class ConflictError(PKIServerError):
    """The state of the thing does not allow the command."""

    kind = ErrorKind.CONFLICT


class RefusedError(PKIServerError):
    """The request is well formed, and what it asks for is not allowed by profile or policy."""

    kind = ErrorKind.BAD_REQUEST


class KeyRefusedError(PKIServerError):
    """The key policy refuses this public key."""

    kind = ErrorKind.BAD_KEY


class NotLinkedError(PKIServerError):
    """The request is not bound to the connection that it came over (RFC 7030 §3.5)."""

    kind = ErrorKind.BAD_POP


class NotAuthenticatedError(PKIServerError):
    """Nobody proved who asks. The message never says which part was wrong."""

    kind = ErrorKind.NOT_AUTHENTICATED


class ChallengeError(NotAuthenticatedError):
    """Nobody tried to prove who asks: many clients send a request just to be challenged (RFC 9110 §11.2)."""


class NotAuthorizedError(PKIServerError):
    """Who asks is known, and may not."""

    kind = ErrorKind.NOT_AUTHORIZED


class DeniedError(NotAuthorizedError):
    """The permission table does not allow it, and that is on record already."""


class ChangedError(ConflictError):
    """The thing was changed since who asks saw it."""

    kind = ErrorKind.PRECONDITION_FAILED


class PreconditionFailedError(PKIServerError):
    """The thing was changed since the client saw it (RFC 9110 §13.1.1)."""

    kind = ErrorKind.PRECONDITION_FAILED


class PreconditionRequiredError(PKIServerError):
    """The client does not say which version of the thing it saw (RFC 6585 §3)."""

    kind = ErrorKind.PRECONDITION_REQUIRED


class UnprocessableError(PKIServerError):
    """The request can be read, and some of its values are not allowed."""

    kind = ErrorKind.UNPROCESSABLE


class TooManyRequestsError(PKIServerError):
    """This client asks more than its share; not before `retry_after` (RFC 6585 §4)."""

    kind = ErrorKind.TOO_MANY_REQUESTS

    def __init__(self, message: str, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PendingError(PKIServerError):
    """The request was taken and waits for a decision; the same request gets the answer later.

    Not before `retry_after`: RFC 7030 §4.2.3 has clients keep to it.
    """

    kind = ErrorKind.PENDING

    def __init__(self, message: str, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnavailableError(PKIServerError):
    """It cannot be done now; the same request may succeed later."""

    kind = ErrorKind.UNAVAILABLE
