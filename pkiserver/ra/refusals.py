"""Refusals, on record, and the limits on those who are refused: one share of both for every protocol."""

from collections import Counter
from datetime import datetime

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import UnavailableError
from pkiserver.ra.attempts import AttemptLimiter, GuessLimiter
from pkiserver.ra.credentials import WrongCredentialError
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import credentials
from store.database import Transaction
from store.records import CredentialRecord


class Refusals:
    """Audits refusals and slows down who guesses secrets.

    `failures` counts by outcome how secrets were tried in vain: wrong, slowed, locked.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._attempts = AttemptLimiter()
        self._guesses = GuessLimiter()
        self.failures: Counter[str] = Counter({"wrong": 0, "slowed": 0, "locked": 0})

    def require_patience(self, reference: str, now: datetime) -> None:
        """Raise `UnavailableError` where a secret of this reference was guessed at just now."""
        try:
            self._guesses.require_patience(reference, now)
        except UnavailableError:
            self.failures["slowed"] += 1
            raise

    def require_share(self, peer: str, now: datetime) -> None:
        """Raise `UnavailableError` where an address was refused so often that it gets no costly work done."""
        self._attempts.require_share(peer, now)

    async def wrong_secret(
        self, operation: str, reference: str, peer: str, error: WrongCredentialError, now: datetime
    ) -> None:
        """Record a wrong secret and count it against its credential, where it has one."""
        self.failures["wrong"] += 1
        self._guesses.wrong(reference, now)
        await self.record("anonymous", operation, peer, str(error), error.credential)

    def right_secret(self, reference: str) -> None:
        """Forget the wrong ones."""
        self._guesses.right(reference)

    async def record(
        self, actor: str, operation: str, peer: str, reason: str, guessed: CredentialRecord | None = None
    ) -> None:
        """Audit a refusal, with a wrong secret counted against its credential.

        Records are durable writes, and an address gets only so many a minute: `UnavailableError` after.
        Guesses are recorded nevertheless until they lock their credential: no flood hides them.
        """
        now = self._clock.now()
        try:
            self._attempts.failed(peer, now)
            over_share = None
        except UnavailableError as error:
            if guessed is None or guessed.attempts_left == 0:
                raise
            over_share = error
        # The reason may quote what was asked for, a name or a mail address.
        entry = audit.entry(now, actor, operation, "refused", peer=peer, personal={"reason": reason})

        def transaction(tx: Transaction) -> bool:
            locks = guessed is not None and credentials.take_attempt(tx, guessed.id)
            audit_chain.append(tx, entry)
            if guessed is not None and locks:
                lock = audit.entry(now, actor, "credential.lock", peer=peer, reference=guessed.reference)
                audit_chain.append(tx, lock)
            return locks

        if await self._storage.write(transaction, brief=True):
            self.failures["locked"] += 1
        if over_share is not None:
            raise over_share
