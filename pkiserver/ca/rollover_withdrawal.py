"""Takes steps of a roll-over back: a time of activation that was planned, and a key that never issued."""

from typing import Final

from pkiserver import audit
from pkiserver.ca.authorities import COMING
from pkiserver.ca.own_certificates import CAServices
from pkiserver.clock import utc_text
from pkiserver.errors import ConflictError
from store import audit as audit_chain
from store import authorities as rows
from store.database import Transaction
from store.records import AuthorityRecord

_DROPPED: Final = "dropped"


class RolloverWithdrawal:
    """What leads back from the way that `rollover` leads."""

    def __init__(self, services: CAServices) -> None:
        self._services = services
        self._storage = services.storage
        self._authorities = services.authorities

    async def cancel(self, name: str, actor: str) -> AuthorityRecord:
        """Have the next key of an authority stay published; `ConflictError` where no time was planned."""
        coming = self.coming(name)
        if coming.activate_at is None:
            raise ConflictError(f"no activation of {coming.handle} is planned")
        planned = utc_text(coming.activate_at)
        entry = audit.entry(
            self._services.clock.now(),
            actor,
            "authority.unschedule",
            authority=coming.handle,
            activate_at=planned,
        )

        def transaction(tx: Transaction) -> None:
            if not rows.activate_at(tx, coming.id, None):
                raise ConflictError(f"{coming.handle} is not published any more")
            audit_chain.append(tx, entry)

        await self._storage.write(transaction)
        await self._authorities.reload(self._storage)
        return self._authorities.record_with_id(coming.id)

    async def drop(self, coming: AuthorityRecord, actor: str) -> AuthorityRecord:
        """Have a generation never issue; its keys stay until an operator deletes them.

        To be called when its certificates are revoked. `ConflictError` where it was activated meanwhile.
        """
        entry = audit.entry(
            self._services.clock.now(), actor, "authority.drop", authority=coming.handle, state=coming.state
        )

        def transaction(tx: Transaction) -> None:
            if not rows.move(tx, coming.id, coming.state, _DROPPED):
                raise ConflictError(f"{coming.handle} is not {coming.state} any more")
            audit_chain.append(tx, entry)

        await self._storage.write(transaction)
        await self._authorities.reload(self._storage)
        return self._authorities.record_with_id(coming.id)

    def coming(self, name: str) -> AuthorityRecord:
        """Return the generation that was to follow the present one; `ConflictError` where there is none."""
        for record in self._authorities.generations(name):
            if record.state in COMING:
                return record
        raise ConflictError(f"{name} has no next key: there is nothing to take back")
