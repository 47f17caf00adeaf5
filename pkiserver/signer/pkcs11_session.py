"""One session with one token: the token found, the PIN tried once, errors translated to ours.

A session that the token ended is given up at once, and with it every object handle: a handle that outlives
its session may sign with the wrong key. Whoever looks handles up keeps them with the session's generation.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import pkcs11
from pkcs11 import TokenFlag
from pkcs11 import exceptions as p11

from pkiserver.signer.errors import (
    SessionLostError,
    SignerError,
    SignerSecretError,
    SignerSettingsError,
    SignerUnavailableError,
)
from pkiserver.signer.secret import SecretSource
from pkiserver.signer.settings import SignerSettings

PIN_ERRORS: Final = (
    p11.PinIncorrect,
    p11.PinInvalid,
    p11.PinLenRange,
    p11.PinLocked,
    p11.PinExpired,
    p11.UserPinNotInitialized,
)
SESSION_ERRORS: Final = (
    p11.SessionClosed,
    p11.SessionHandleInvalid,
    p11.UserNotLoggedIn,
    p11.KeyHandleInvalid,
    p11.ObjectHandleInvalid,
    p11.OperationActive,
    p11.OperationNotInitialized,
)
"""The session is of no use any more, and there is no reason to think so of module and token."""


class TokenSession:
    """The one session of this process; `generation` rises whenever one is given up."""

    def __init__(self, log_in: Callable[[], Any]) -> None:
        """Log in by `log_in`, which returns a session of python-pkcs11; raises as it does."""
        self._log_in = log_in
        self.generation = 0
        self._session: Any = None
        self.open()

    @property
    def now(self) -> Any:
        """The session of python-pkcs11; `SessionLostError` where it was lost."""
        if self._session is None:
            raise SessionLostError("the session with the token was lost")
        return self._session

    def open(self) -> None:
        """Give up the session, where there is one, and log in anew."""
        self.close()
        self._session = self._log_in()

    def close(self) -> None:
        """Give up the session; one that is gone already is closed."""
        session, self._session = self._session, None
        self.generation += 1  # its handles are of no use from now on, also while there is no other session
        if session is not None:
            with suppress(p11.PKCS11Error):
                session.close()

    def errors(self, doing: str) -> "_SessionErrors":
        """Translate the PKCS#11 errors of a block, and give up the session after each."""
        return _SessionErrors(self, doing)


class _SessionErrors:
    """Stands around each signature: a class, for it costs a tenth of what a generator does."""

    __slots__ = ("_doing", "_session")

    def __init__(self, session: TokenSession, doing: str) -> None:
        self._session = session
        self._doing = doing

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, p11.PKCS11Error):
            self._session.close()
            raise translated(error, self._doing) from error
        if isinstance(error, SignerUnavailableError | SignerSecretError):
            self._session.close()


def log_in(settings: SignerSettings, secret: SecretSource) -> Any:
    """Return a session with the token of the settings, by one try of the PIN.

    `SignerSecretError` where the PIN is refused, or the token would lock after one more wrong one.
    `SignerUnavailableError` where module or token are not there, `SignerSettingsError` where more than
    one token is meant.
    """
    token = find_token(settings.module or "", settings.token_label, settings.token_serial)
    with token_errors("log in to the token"):
        # A wrong PIN here would lock the token for good; a person should use the last try.
        if token.flags & (TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.USER_PIN_LOCKED):
            raise SignerSecretError("the PIN is locked, or one try is left; it is not used")
        return token.open(rw=True, user_pin=secret.read())


def find_token(module: str, label: str | None, serial: str | None) -> Any:
    """Return the one token with the label and the serial, where they are given; raises as `log_in` does."""
    wanted: dict[str, Any] = {"token_label": label} if label else {}
    if serial:
        wanted["token_serial"] = serial.encode()
    name = label or serial
    try:
        return pkcs11.lib(module).get_token(**wanted)
    except p11.NoSuchToken as error:
        raise SignerUnavailableError(f"no token {name} is present") from error
    except p11.MultipleTokensReturned as error:
        raise SignerSettingsError(f"more than one token is {name}: give its serial in keys.uri") from error
    except p11.PKCS11Error as error:
        raise SignerUnavailableError("the PKCS#11 module cannot be loaded or fails") from error


@contextmanager
def token_errors(doing: str) -> Iterator[None]:
    """Translate PKCS#11 errors (`translated`)."""
    try:
        yield
    except p11.PKCS11Error as error:
        raise translated(error, doing) from error


def translated(error: p11.PKCS11Error, doing: str) -> SignerError:
    """Return an error of PKCS#11 as ours; its own text stays inside, for it can quote attributes."""
    name = type(error).__name__
    if isinstance(error, PIN_ERRORS):
        return SignerSecretError(f"the token refuses the PIN ({name}); it is not tried again")
    if isinstance(error, SESSION_ERRORS):
        return SessionLostError(f"the session was lost ({name}): cannot {doing}")
    return SignerUnavailableError(f"the token cannot {doing} ({name})")
