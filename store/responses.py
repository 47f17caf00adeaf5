"""The table of prebuilt OCSP responses: LMDB, memory-mapped, one writer and any number of readers.

A table is a folder of generations (`store.generations`), each an LMDB environment
(`store.response_environments`); what it holds is in `store.response_entries`, and who writes it in
`store.response_writer`.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import lmdb

from store.errors import StorageError
from store.generations import current_number, lease_current
from store.response_entries import (
    ENTRY_HEADER,
    EXPORTED_KEY,
    ISSUER,
    MAX_KEY_OCTETS,
    NEVER,
    NEXT_UPDATE_AT,
    NUMBER,
    POSITION_KEY,
    RESPONDER,
    REVISION_KEY,
    SHARED,
    SHORT,
    UNIX_TIME,
    ResponderParts,
    ResponseEntry,
    response_key,
)
from store.response_environments import open_to_read, translated

_REVISION_BITS: Final = 48  # of the revision within a generation
KEYS_A_TRANSACTION: Final = 10_000  # a long reading transaction would keep the writer from re-using pages


class ResponseTable:
    """Reading, as readers and the writer do it alike."""

    def __init__(self, path: Path, environment: lmdb.Environment) -> None:
        self._path = path
        self._environment = environment

    def get(self, key: bytes) -> ResponseEntry | None:
        """Return an entry, or None; one short transaction. `StorageError` where the table cannot be read."""
        if len(key) > MAX_KEY_OCTETS:
            return None
        try:
            value = self._environment.begin().get(key)  # the transaction ends with the reference to it
        except lmdb.Error as error:
            raise StorageError(f"the response table {self._path} cannot be read: {error}") from error
        return None if value is None else ResponseEntry.unpack(value)

    def revision(self) -> int:
        """Return a number that grows whenever issuers or responders change."""
        return self._number(REVISION_KEY)

    def position(self) -> int:
        """Return what the last `put` with a position gave, 0 before the first."""
        return self._number(POSITION_KEY)

    def exported_at(self) -> int:
        """Return when the table was exported, in Unix seconds; 0 where it was not imported."""
        return self._number(EXPORTED_KEY)

    def _number(self, key: bytes) -> int:
        with translated(self._path), self._environment.begin() as tx:
            value = tx.get(key)
        return 0 if value is None else int(NUMBER.unpack(value)[0])

    def issuers(self) -> dict[bytes, int]:
        """Return the authority of each issuer part of a CertID that the table answers for."""
        return {key: int(SHORT.unpack(value)[0]) for key, value in self._records(ISSUER)}

    def responders(self) -> dict[int, ResponderParts]:
        """Return the shared parts of every responder by its number."""
        numbered = ((int(SHORT.unpack(key)[0]), value) for key, value in self._records(RESPONDER))
        return {number: ResponderParts.unpack(number, value) for number, value in numbered}

    def _records(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """Return the shared records under a prefix, their keys without it."""
        found: list[tuple[bytes, bytes]] = []
        with translated(self._path), self._environment.begin() as tx, tx.cursor() as cursor:
            there = cursor.set_range(prefix)
            while there and cursor.key().startswith(prefix):
                found.append((cursor.key()[len(prefix) :], cursor.value()))
                there = cursor.next()
        return found

    def count(self) -> int:
        """Return how many responses the table holds."""
        with translated(self._path):
            entries: int = self._environment.stat()["entries"]
        return entries - len(self._records(SHARED))

    def next_updates(self, after: bytes, limit: int) -> "NextUpdates":
        """Look at the nextUpdate of up to `limit` responses whose keys follow `after`, b"" for the first."""
        oldest, newest, seen, last = NEVER, 0, 0, after
        with translated(self._path), self._environment.begin(buffers=True) as tx, tx.cursor() as cursor:
            cursor.set_range(after + b"\x00")
            for key, value in cursor:
                if bytes(key[:2]) == SHARED:
                    break
                if seen == limit:
                    return NextUpdates(oldest, newest, seen, last)
                next_update = UNIX_TIME.unpack_from(value, NEXT_UPDATE_AT)[0]
                oldest, newest = min(oldest, next_update), max(newest, next_update)
                seen += 1
                last = bytes(key)
        return NextUpdates(oldest, newest, seen, None)

    def keys(self, authority: int) -> Iterator[bytes]:
        """Yield the keys of an authority's responses in order; those put or deleted meanwhile may show."""
        prefix = response_key(authority, b"")
        start = prefix
        while found := self._keys_from(start, prefix):
            yield from found
            start = found[-1] + b"\x00"

    def oldest_and_newest(self, keys: Iterable[bytes]) -> tuple[int, int] | None:
        """Return the least and the greatest thisUpdate among the responses that stand at these keys or next
        after them, of the same authority (so a sample of the table), as Unix seconds; None where there is
        none."""
        with translated(self._path), self._environment.begin() as tx, tx.cursor() as cursor:
            found = [
                int(ENTRY_HEADER.unpack_from(cursor.value())[1])
                for key in keys
                if cursor.set_range(key) and cursor.key()[:2] == key[:2]
            ]
        return (min(found), max(found)) if found else None

    def _keys_from(self, start: bytes, prefix: bytes) -> list[bytes]:
        found: list[bytes] = []
        with translated(self._path), self._environment.begin() as tx, tx.cursor() as cursor:
            there = cursor.set_range(start)
            while there and len(found) < KEYS_A_TRANSACTION and cursor.key().startswith(prefix):
                found.append(cursor.key())
                there = cursor.next()
        return found

    def close(self) -> None:
        """Give the table back; no other method may be called afterwards."""
        self._environment.close()


class ResponseTableReader(ResponseTable):
    """Reads a table that another process writes; writes nothing but LMDB's lock file."""

    def __init__(self, folder: Path) -> None:
        """Open the generation that is served; `TableMissingError` where no writer made one."""
        self._folder = folder
        self._lease = lease_current(folder)
        try:
            super().__init__(self._lease.path, open_to_read(self._lease.path))
        except StorageError:
            os.close(self._lease.descriptor)
            raise

    @property
    def generation(self) -> int:
        """The number of the generation that is read."""
        return self._lease.number

    def follow(self) -> bool:
        """Read the generation that is served by now; True where it is another one than before.

        `StorageError` where it cannot be read: then the former one still is.
        """
        if current_number(self._folder) == self._lease.number:
            return False
        lease = lease_current(self._folder)
        try:
            environment = open_to_read(lease.path)
        except StorageError:
            os.close(lease.descriptor)
            raise
        former, self._environment = self._environment, environment
        former.close()
        os.close(self._lease.descriptor)
        self._path, self._lease = lease.path, lease
        return True

    def revision(self) -> int:
        """Return a number that grows whenever issuers or responders change, or the generation does."""
        return (self._lease.number << _REVISION_BITS) + super().revision()

    @contextmanager
    def snapshot(self) -> Iterator["Snapshot"]:
        """Give everything in the table as it is at this moment, whatever is written meanwhile."""
        with translated(self._path), self._environment.begin() as tx, tx.cursor() as cursor:
            stat = tx.stat(self._environment.open_db(None, tx))
            pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
            exported_at = tx.get(EXPORTED_KEY)
            yield Snapshot(
                records=stat["entries"] - (exported_at is not None),
                octets=pages * stat["psize"],
                exported_at=0 if exported_at is None else int(NUMBER.unpack(exported_at)[0]),
                pairs=((key, value) for key, value in cursor if key != EXPORTED_KEY),
            )

    def close(self) -> None:
        """Give the table back; no other method may be called afterwards."""
        super().close()
        os.close(self._lease.descriptor)


class NextUpdates(NamedTuple):
    """When some responses end, in Unix seconds; `last` is where to look on, None at the end of the table."""

    oldest: int
    newest: int
    seen: int
    last: bytes | None


class Snapshot(NamedTuple):
    """Everything that a table holds at one moment; good only inside `ResponseTableReader.snapshot`.

    `octets` is what the records take on disk, `exported_at` that of the table; `pairs` are keys and values in
    the order of the keys.
    """

    records: int
    octets: int
    exported_at: int
    pairs: Iterator[tuple[bytes, bytes]]
