"""The key of personal data replaced while the server works: a new one, then value by value anew."""

from typing import Final

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.home import Home, HomeLock
from pkiserver.progress import Progress
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.roles import Action, Actor, Permission
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import personal_data as rows
from store.database import Transaction

BATCH: Final = 500  # values a transaction: some milliseconds, so that others get their turn between


class DataKey:
    """Replaces the key of personal data."""

    def __init__(self, *, home: Home, storage: Storage, clock: Clock, gate: Gate, data: PersonalData) -> None:
        self._home = home
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._data = data

    async def rotate(self, actor: Actor, progress: Progress) -> int:
        """Encrypt every value with a new key and drop the old one; return how many values there are.

        Cut short, it is gone on with when it is asked for again; what is written meanwhile has the new key.
        `ConflictError` while a backup is made: it would have the values of one key and the file of another.
        """
        await self._gate.require(Permission(actor, Action.REPLACE_DATA_KEY))
        with HomeLock(self._home, "backup"):
            return await self._rotate(actor, progress)

    async def _rotate(self, actor: Actor, progress: Progress) -> int:
        await self._storage.write(lambda tx: self._begin(tx, actor))
        total = await self._storage.read(rows.count)
        done, place = 0, rows.BEGINNING
        while True:
            last, count = await self._storage.write(lambda tx, at=place: self._data.reencrypt(tx, at, BATCH))  # type: ignore[misc]
            done += count
            progress("personal data are encrypted anew", done, max(done, total))
            if last is None:
                break
            place = last
        self._data.end_rotation()
        await self._storage.write(lambda tx: self._record(tx, actor, "person.key.replaced", values=done))
        return done

    def _begin(self, tx: Transaction, actor: Actor) -> None:
        self._data.begin_rotation(tx)
        self._record(tx, actor, "person.key.replace")

    def _record(self, tx: Transaction, actor: Actor, action: str, values: int | None = None) -> None:
        audit_chain.append(tx, audit.entry(self._clock.now(), actor.name, action, values=values))
