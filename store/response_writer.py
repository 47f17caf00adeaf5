"""The one writer of the table of prebuilt OCSP responses."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from store.errors import StorageError
from store.generations import Generations
from store.response_entries import (
    ISSUER,
    NUMBER,
    POSITION_KEY,
    RESPONDER,
    REVISION_KEY,
    SHORT,
    ResponderParts,
    ResponseEntry,
    response_key,
)
from store.response_environments import open_to_write, translated
from store.responses import ResponseTable


class ResponseTableWriter(ResponseTable):
    """The one writer of a table; it may read as well.

    While it builds a generation, what is put goes into that one and into the one that is served.
    """

    def __init__(self, folder: Path) -> None:
        """Open or make the table in `folder`; `TableLockedError` where it has a writer."""
        self._generations = Generations(folder)
        self._next: lmdb.Environment | None = None
        try:
            number = self._generations.current() or self._first()
            path = self._generations.path(number)
            super().__init__(path, open_to_write(path))
        except StorageError:
            self._generations.close()
            raise

    def _first(self) -> int:
        open_to_write(self._generations.begin()).close()
        return self._generations.swap()

    def build(self) -> None:
        """Begin a new generation, which has issuers and responders of this one and no responses."""
        self.abandon()
        path = self._generations.begin()
        environment = open_to_write(path, durable=False)  # until it is served nothing would be lost
        with translated(path), environment.begin(write=True) as tx:
            for prefix in (ISSUER, RESPONDER, REVISION_KEY):
                for key, value in self._records(prefix):
                    tx.put(prefix + key, value)
        self._next = environment

    def swap(self, *, position: int) -> None:
        """Have the generation that was built served from now on, with this position."""
        if self._next is None:
            raise RuntimeError("no generation is built")
        with translated(self._path):
            with self._next.begin(write=True) as tx:
                tx.put(POSITION_KEY, NUMBER.pack(position))
            self._next.sync(True)
        self._next.close()
        self._next = None
        former = self._environment
        path = self._generations.path(self._generations.swap())
        self._environment, self._path = open_to_write(path), path
        former.close()

    def abandon(self) -> None:
        """Drop the generation that is being built, if any."""
        if self._next is not None:
            self._next.close()
            self._next = None
            self._generations.abandon()

    def sweep(self) -> bool:
        """Remove former generations that nobody reads any more; True when none is left."""
        return self._generations.sweep()

    def put(self, entries: Iterable[tuple[bytes, ResponseEntry]], *, position: int | None = None) -> int:
        """Store a batch in one durable transaction, all or nothing; return how many entries it had.

        While a generation is built it is another transaction there, which a crash may lose with all of it.

        `position` is stored with it, for a writer that follows a sequence and resumes after a crash. Of
        two entries with one key the later stands. `StorageFullError` where the disk is full.
        """
        packed = sorted({key: entry.pack() for key, entry in entries}.items())
        for environment in self._environments():
            with self._writing(environment) as tx:
                with tx.cursor() as cursor:
                    cursor.putmulti(packed)
                if position is not None:
                    tx.put(POSITION_KEY, NUMBER.pack(position))
        return len(packed)

    def delete(self, keys: Iterable[bytes], *, position: int | None = None) -> int:
        """Delete entries in one durable transaction; return how many there were."""
        ordered = sorted(keys)
        deleted = []
        for environment in self._environments():
            with self._writing(environment) as tx:
                deleted.append(sum(tx.delete(key) for key in ordered))
                if position is not None:
                    tx.put(POSITION_KEY, NUMBER.pack(position))
        return deleted[0]

    def put_issuer(self, issuer_part: bytes, authority: int) -> None:
        """Have CertIDs with this issuer part answered from this authority's entries."""
        response_key(authority, b"")
        self._put_shared(ISSUER + issuer_part, SHORT.pack(authority))

    def remove_issuer(self, issuer_part: bytes) -> None:
        """Have CertIDs with this issuer part answered no more."""
        for environment in self._environments():
            with self._writing(environment) as tx:
                if tx.delete(ISSUER + issuer_part):
                    _count_revision(tx)

    def put_responder(self, parts: ResponderParts) -> None:
        """Store the shared parts of a responder, before the first entry that names it."""
        self._put_shared(RESPONDER + SHORT.pack(parts.responder), parts.pack())

    def _put_shared(self, key: bytes, value: bytes) -> None:
        for environment in self._environments():
            with self._writing(environment) as tx:
                if tx.get(key) != value:
                    tx.put(key, value)
                    _count_revision(tx)

    def _environments(self) -> list[lmdb.Environment]:
        """Return what is served and, where one is built, the next."""
        return [self._environment] if self._next is None else [self._environment, self._next]

    @contextmanager
    def _writing(self, environment: lmdb.Environment) -> Iterator["lmdb.Transaction[bytes]"]:
        """One writing transaction; the slots of killed readers are freed first: they pin pages."""
        with translated(self._path):
            environment.reader_check()
            with environment.begin(write=True) as tx:
                yield tx

    def close(self) -> None:
        """Close the table, drop what was being built, and let another writer have it."""
        self.abandon()
        super().close()
        self._generations.close()


def _count_revision(tx: "lmdb.Transaction[bytes]") -> None:
    revision = tx.get(REVISION_KEY, NUMBER.pack(0))
    tx.put(REVISION_KEY, NUMBER.pack(NUMBER.unpack(revision)[0] + 1))
