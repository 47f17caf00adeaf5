"""What holders are told of a bulk act: a letter each, batch after batch, once their status is changed."""

from pkiserver.clock import Clock
from pkiserver.ra.letters.notices import Notices
from pkiserver.ra.lifecycle import State
from store import bulk_acts, bulk_status, certificates, renewals
from store.bulk_acts import ActRecord
from store.bulk_status import Named
from store.database import Transaction

_TOLD_OF = {"suspend": State.SUSPENDED, "restore": State.ACTIVE, "revoke": State.REVOKED}


class Telling:
    """Writes the letters of bulk acts."""

    def __init__(self, notices: Notices, clock: Clock) -> None:
        self._notices = notices
        self._clock = clock

    def tell_next(self, tx: Transaction) -> None:
        """Write the letters of the next batch whose holders were not told yet, in this transaction."""
        act = bulk_acts.to_tell(tx)
        if act is None:
            return
        number = act.told + 1
        batch = bulk_acts.batch(tx, act.id, number)
        if batch is not None and batch.first_event is not None and batch.last_event is not None:
            self._tell(tx, act, batch.first_event, batch.last_event)
        bulk_acts.note_told(tx, act.id, number)

    def _tell(self, tx: Transaction, act: ActRecord, first: int, last: int) -> None:
        now, state = self._clock.now(), _TOLD_OF[act.kind]
        for sequence, authority, serial, at in bulk_status.events_of(tx, act.id, first, last):
            number = int.from_bytes(serial, "big")
            if state is State.ACTIVE and certificates.state_of(tx, authority, number) != state.value:
                continue  # another hold is open on it: it was not restored
            person = _holder(tx, (authority, serial))
            self._notices.of_status(tx, sequence, number, state, at, person, act.ground, now)


def _holder(tx: Transaction, named: Named) -> int | None:
    """Return whose certificate it is; for a renewed one, of its subject. None: nobody on record."""
    record = certificates.get(tx, named[0], int.from_bytes(named[1], "big"))
    found = None if record is None else renewals.behind(tx, record)
    return None if found is None else found.person
