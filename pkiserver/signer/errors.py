"""What can go wrong with keys and signatures, and the codes by which the worker tells it.

The messages are one line, name no secret, and may be shown to an operator.
"""

from typing import Final

from pkiserver.errors import ConflictError, NotFoundError, PKIServerError, RefusedError, UnavailableError


class SignerError(PKIServerError):
    """Base of the errors of keys and signatures; on its own, a fault inside the signer."""


class KeyNotFoundError(SignerError, NotFoundError):
    """No key bears this label."""


class KeyExistsError(SignerError, ConflictError):
    """A key bears this label already, or more than one does."""


class UnsupportedKeyError(SignerError, RefusedError):
    """The kind of key is unknown here, or this key store cannot make or use it."""


class BadLabelError(SignerError, RefusedError):
    """The label is not of the safe form (`keystore.check_label`)."""


class RequestTooLargeError(SignerError, RefusedError):
    """What is to be signed, or how much of it, passes a bound of the signer."""


class SignerUnavailableError(SignerError, UnavailableError):
    """The key store or its process cannot serve now; the same request may succeed later."""


class SignerBusyError(SignerUnavailableError):
    """Too many requests wait already; this one was refused at once and not begun."""


class SessionLostError(SignerUnavailableError):
    """The token ended the session; a new one in the same process may serve."""


class TokenSignatureError(SignerUnavailableError):
    """The token made a signature that its public key does not verify; it was not released."""


class WorkerLostError(SignerUnavailableError):
    """The signer process ended, or could not be started, or left the protocol."""


class WorkerHungError(SignerUnavailableError):
    """The signer process held a request longer than its deadline."""


class SignerSecretError(SignerError, UnavailableError):
    """The passphrase or PIN is wrong, locked or unreadable. Nothing is retried until an operator acts."""


class SignerSettingsError(SignerError):
    """The settings of the signer contradict each other or the machine."""


class BadSignatureError(SignerError):
    """A signature does not verify with the public key; it must not be used or released."""


class WireError(SignerError):
    """A frame between server and worker breaks the rules of `signer.wire`."""


class PlaceholderError(SignerError):
    """A placeholder key was asked for what only a private key can do."""


FAILURES: Final[dict[int, type[SignerError]]] = {
    1: SignerError,
    2: KeyNotFoundError,
    3: KeyExistsError,
    4: UnsupportedKeyError,
    5: BadLabelError,
    6: SignerUnavailableError,
    7: SignerSecretError,
    8: SignerSettingsError,
    9: BadSignatureError,
    10: WireError,
    11: RequestTooLargeError,
    12: SessionLostError,
    13: TokenSignatureError,
}
"""Codes on the wire; 0 is success. The other errors never leave the process that raises them."""

_CODES: Final = {error: code for code, error in FAILURES.items()}

ENDING: Final = (SignerUnavailableError, BadSignatureError, WireError)
"""After one of these the session is not to be trusted: the worker answers, ends, and is replaced.

But for `SessionLostError`: after that the worker gives up the session and waits to be told to open another.
"""


def failure_code(error: SignerError) -> int:
    """Return the code of an error on the wire: its own, or that of `SignerError` where it has none."""
    return _CODES.get(type(error), 1)
