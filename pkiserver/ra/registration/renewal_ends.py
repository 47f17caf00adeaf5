"""How a signed application ends (regulation 2.9): by itself, for no office sees to it.

Its credential is over a day after it was given. What came to a certificate is closed then: the signature is
the confirmation of the form, and the holder has the carrier. What did not is withdrawn.
"""

from datetime import datetime
from typing import Final

from pkiserver.clock import Clock
from pkiserver.ra.registration.application_events import end_credential, record_event, standing_of
from pkiserver.ra.registration.issuing import FOLLOWER
from pkiserver.ra.registration.renewals import CREDENTIAL_LIFETIME
from pkiserver.ra.registration.states import Command, Event, State, decide
from pkiserver.storage import Storage
from store import applications, renewals
from store.applications import ApplicationRecord
from store.database import Transaction

BATCH: Final = 100  # of a transaction, between which others have their turn


class RenewalEnds:
    """Ends signed applications that are a day old."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    async def end_due(self) -> int:
        """Close or withdraw what is due; return how many. One whose certificate is being made waits."""
        now, ended = self._clock.now(), 0

        def transaction(tx: Transaction) -> int:
            found = renewals.open_since(tx, now - CREDENTIAL_LIFETIME, BATCH)
            return sum(_end(tx, one, now) for one in found)

        while count := await self._storage.write(transaction):
            ended += count
        return ended


def _end(tx: Transaction, application: ApplicationRecord, now: datetime) -> bool:
    """End an application; False where it is being issued."""
    issued = application.state == State.ISSUED.value
    if not issued and applications.is_being_issued(tx, application.id):
        return False
    event, ground = (
        (Event.SETTLE, "signed and enrolled by the holder")
        if issued
        else (Event.WITHDRAW, "nobody enrolled within a day")
    )
    command = Command(event, application.version, FOLLOWER, ground)
    changed = decide(standing_of(application), command, now)
    end_credential(tx, application, now)
    record_event(tx, application, changed, {})
    return True
