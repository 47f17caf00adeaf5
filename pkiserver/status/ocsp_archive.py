"""Keeps the OCSP responses from around each change of status: the one that was replaced, and the new one.

Between two changes a response is signed anew at every refresh and says the same; those are not kept.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from pkiserver.errors import UnavailableError
from pkiserver.storage import Storage
from protocols.asn1.der import integer_content
from store import ocsp_archive
from store.records import ArchivedResponseRecord, StatusEventRecord, from_unix
from store.response_entries import ResponseEntry, response_key

_log = structlog.get_logger("pkiserver.ocsp-archive")


class OCSPArchive:
    """Keeps responses in the store; `served` gives what the table holds under a key now."""

    def __init__(self, storage: Storage, served: Callable[[bytes], ResponseEntry | None]) -> None:
        self._storage = storage
        self._served = served
        self._failing = False

    async def keep(self, events: Iterable[StatusEventRecord], entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep what the changes among `events` replace and bring, before `entries` (packed) are served.

        An issuance changes nothing. What cannot be stored now is logged and lost: a full disk must not keep
        a revocation from being served, and the CRLs are evidence too.
        """
        changed = [event for event in events if event.from_state is not None]
        if not changed:
            return
        records = list(self._around(changed, dict(entries)))
        try:
            await self._storage.write(lambda tx: ocsp_archive.add(tx, records))
        except UnavailableError as error:
            if not self._failing:
                _log.error("ocsp-responses-not-archived", reason=str(error))
            self._failing = True
            return
        self._failing = False

    def _around(
        self, changed: Iterable[StatusEventRecord], entries: Mapping[bytes, bytes]
    ) -> Iterable[ArchivedResponseRecord]:
        for authority, serial in sorted({(event.authority, event.serial) for event in changed}):
            key = response_key(authority, integer_content(serial))
            packed = entries.get(key)
            if (served := self._served(key)) is not None:
                yield _record(authority, serial, served, served.pack())
            if packed is not None:
                yield _record(authority, serial, ResponseEntry.unpack(packed), packed)


def _record(authority: int, serial: int, entry: ResponseEntry, packed: bytes) -> ArchivedResponseRecord:
    this_update, next_update = from_unix(entry.this_update), from_unix(entry.next_update)
    return ArchivedResponseRecord(authority, serial, this_update, next_update, packed)
