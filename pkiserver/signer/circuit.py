"""The circuit between the server and its token: when a log-in may be tried, and when it must not be.

Workers log in one after the other, each in its turn, so that a wrong PIN is tried once and no more: the
refusal opens the circuit, and only an operator closes it. Where the device fails, the turn lasts a pause
that grows, and who asks meanwhile is refused once it has failed `REFUSE_AFTER` times.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from random import SystemRandom
from typing import Final

from pkiserver.signer.errors import SignerError, SignerSecretError

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
REFUSE_AFTER: Final = 3  # a request may wait for one restart; after three failures it waits in vain
_random: Final = SystemRandom()


class CircuitState(Enum):
    """What may be tried."""

    CLOSED = "closed"  # log-ins succeed
    RETRYING = "retrying"  # the last one failed; another is tried after a pause
    OPEN = "open"  # passphrase or PIN were refused; nothing is tried


class CircuitEvent(Enum):
    """What happened to a log-in, or that an operator has acted."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    RESET = "reset"


TRANSITIONS: Final = {
    (CircuitState.CLOSED, CircuitEvent.SUCCEEDED): CircuitState.CLOSED,
    (CircuitState.CLOSED, CircuitEvent.FAILED): CircuitState.RETRYING,
    (CircuitState.CLOSED, CircuitEvent.REFUSED): CircuitState.OPEN,
    (CircuitState.CLOSED, CircuitEvent.RESET): CircuitState.CLOSED,
    (CircuitState.RETRYING, CircuitEvent.SUCCEEDED): CircuitState.CLOSED,
    (CircuitState.RETRYING, CircuitEvent.FAILED): CircuitState.RETRYING,
    (CircuitState.RETRYING, CircuitEvent.REFUSED): CircuitState.OPEN,
    (CircuitState.RETRYING, CircuitEvent.RESET): CircuitState.CLOSED,
    (CircuitState.OPEN, CircuitEvent.SUCCEEDED): CircuitState.OPEN,  # of a log-in begun before the refusal
    (CircuitState.OPEN, CircuitEvent.FAILED): CircuitState.OPEN,
    (CircuitState.OPEN, CircuitEvent.REFUSED): CircuitState.OPEN,
    (CircuitState.OPEN, CircuitEvent.RESET): CircuitState.CLOSED,
}


class Circuit:
    """State of the log-ins to one token, shared by its workers."""

    def __init__(self) -> None:
        self.state = CircuitState.CLOSED
        self.reason: SignerError | None = None
        self.failures = 0
        self._turn = asyncio.Lock()
        self._closed = asyncio.Event()
        self._closed.set()

    @property
    def hopeless(self) -> bool:
        """Whether a request had better be refused at once, unless a worker serves."""
        return self.state is CircuitState.OPEN or self.failures >= REFUSE_AFTER

    @asynccontextmanager
    async def turn(self, losses: int = 0) -> AsyncIterator[None]:
        """Wait until this worker may log in, and tell the others how it went.

        `losses` is how often this worker was lost in a row: its own reason to pause. In the open state the
        turn comes after an operator's `reset`.
        """
        async with self._turn:
            await self._closed.wait()
            await asyncio.sleep(pause_s(max(self.failures, losses)))
            try:
                yield
            except SignerSecretError as error:
                self._follow(CircuitEvent.REFUSED, error)
                raise
            except SignerError as error:
                self.fail(error)
                raise
            self.failures = 0
            self._follow(CircuitEvent.SUCCEEDED, None)

    def fail(self, error: SignerError) -> None:
        """Count a failure: no worker could be brought to log in."""
        self.failures += 1
        self._follow(CircuitEvent.FAILED, error)

    def refuse(self, error: SignerSecretError) -> None:
        """Open the circuit: the token refused the PIN outside a log-in."""
        self._follow(CircuitEvent.REFUSED, error)

    def reset(self) -> None:
        """Close the circuit and forget the failures: an operator has acted."""
        self.failures = 0
        self._follow(CircuitEvent.RESET, None)

    def _follow(self, event: CircuitEvent, reason: SignerError | None) -> None:
        was_open = self.state is CircuitState.OPEN
        self.state = TRANSITIONS[self.state, event]
        if self.state is CircuitState.OPEN:
            self.reason = self.reason if was_open else reason
            self._closed.clear()
        else:
            self.reason = reason
            self._closed.set()


def pause_s(failures: int) -> float:
    """Return the pause after so many failures: none at first, then growing; half of it is chance.

    Several servers share an HSM: without chance they would come back to it all at once.
    """
    if failures == 0:
        return 0.0
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
    return longest * _random.uniform(0.5, 1.0)
