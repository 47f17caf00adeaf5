"""Notes certificates whose validity is over, so that who follows the register is told of their end."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog

from pkiserver import audit
from pkiserver.ca.authorities import Authorities
from pkiserver.clock import Clock, utc_text
from pkiserver.errors import PKIServerError
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import expiries, facts
from store.database import Transaction
from store.expiries import EndedRecord
from store.records import from_unix, to_unix

BATCH: Final = 500  # in one transaction: some milliseconds
EVERY: Final = timedelta(minutes=1)
_ACTOR: Final = "register"
_NOTED: Final = "expiries-noted"  # up to which moment all are
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


class Expiries:
    """Notes what ended since it last looked; each certificate once, whenever it was stopped."""

    def __init__(self, storage: Storage, clock: Clock, authorities: Authorities) -> None:
        self._storage = storage
        self._clock = clock
        self._authorities = authorities

    async def run(self) -> None:
        """Note for ever; what the store refuses is tried again."""
        while True:
            try:
                await self.note()
            except PKIServerError as error:
                _log.warning("expiries-wait", reason=str(error))
            await asyncio.sleep(EVERY.total_seconds())

    async def note(self) -> int:
        """Note every certificate that ended before this second and is not noted; return how many."""
        now = self._clock.now()
        told = await self._storage.read(lambda tx: facts.get(tx, _NOTED))
        begin = from_unix(int(told)) if told is not None else datetime(1970, 1, 1, tzinfo=UTC)
        noted = 0
        for record in self._authorities.records:
            for state in expiries.STATES:
                noted += await self._note_all(record.id, state, begin, now)
        if now > begin:
            await self._storage.write(lambda tx: facts.put(tx, _NOTED, str(to_unix(now))))
        return noted

    async def _note_all(self, authority: int, state: str, begin: datetime, end: datetime) -> int:
        noted = 0
        while True:
            asked = partial(_note_batch, authority=authority, state=state, begin=begin, end=end)
            batch = await self._storage.write(asked)
            noted += len(batch)
            if len(batch) < BATCH:
                return noted
            begin = batch[-1].not_after  # more of this second may follow


def _note_batch(
    tx: Transaction, authority: int, state: str, begin: datetime, end: datetime
) -> list[EndedRecord]:
    """Note one batch in the order in which the certificates ended; it is audited with its bounds."""
    batch = expiries.due(tx, authority, state, begin, end, BATCH)
    for ended in batch:
        expiries.add(tx, ended)
    if batch:
        entry = audit.entry(
            end,
            _ACTOR,
            "register.expired",
            authority=authority,
            certificates=len(batch),
            first=utc_text(batch[0].not_after),
            last=utc_text(batch[-1].not_after),
        )
        audit_chain.append(tx, entry)
    return batch
