"""The one writer of the table of prebuilt OCSP responses."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from store.errors import StorageError
from store.generations import Generations
from store.response_build import TableBuild
from store.response_entries import (
    FORMAT_RECORD,
    ISSUER,
    NUMBER,
    POSITION_KEY,
    RESPONDER,
    REVISION_KEY,
    SHORT,
    ResponderParts,
    response_key,
)
from store.response_environments import open_to_write, translated
from store.responses import ResponseTable


class ResponseTableWriter(ResponseTable):
    """The one writer of a table; it may read as well.

    While it builds a generation, what is put goes into the one that is served, what is added into the new
    one: what happened since the building began must be added too before it is served.
    """

    def __init__(self, folder: Path) -> None:
        """Open or make the table in `folder`; `TableLockedError` where it has a writer."""
        self._generations = Generations(folder)
        self._build: TableBuild | None = None
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
        """Begin a new generation, which has no responses yet."""
        self.abandon()
        self._build = TableBuild(self._generations.begin())

    def add(self, entries: Iterable[tuple[bytes, bytes]]) -> int:
        """Store packed entries in the generation that is built, best in order; return how many there were."""
        packed = sorted(dict(entries).items())
        self._built().add(packed)
        return len(packed)

    def finish(self, *, position: int) -> None:
        """Have the generation that is built on disk, with this position; nothing can be added any more.

        It gets the issuers and responders of the one that is served.
        """
        shared = {
            prefix + key: value
            for prefix in (ISSUER, RESPONDER, REVISION_KEY)
            for key, value in self._records(prefix)
        }
        shared |= {FORMAT_RECORD[0]: FORMAT_RECORD[1], POSITION_KEY: NUMBER.pack(position)}
        build = self._built()
        build.add(sorted(shared.items()))
        build.finish()

    def swap(self) -> None:
        """Have the generation that was finished served from now on."""
        path = self._built().path
        self._build = None
        former = self._environment
        self._generations.swap()
        self._environment, self._path = open_to_write(path), path
        former.close()

    def _built(self) -> TableBuild:
        if self._build is None:
            raise RuntimeError("no generation is built")
        return self._build

    def abandon(self) -> None:
        """Drop the generation that is being built, if any."""
        if self._build is not None:
            self._build.close()
            self._build = None
            self._generations.abandon()

    def sweep(self) -> bool:
        """Remove former generations that nobody reads any more; True when none is left."""
        return self._generations.sweep()

    def put(self, entries: Iterable[tuple[bytes, bytes]], *, position: int | None = None) -> int:
        """Store a batch of packed entries in one durable transaction; return how many there were.

        All or nothing. `position` is stored with it, for a writer that follows a sequence and resumes after a
        crash. Of two entries with one key the later stands. `StorageFullError` where the disk is full.
        """
        packed = sorted(dict(entries).items())
        with self._writing() as tx:
            with tx.cursor() as cursor:
                cursor.putmulti(packed)
            if position is not None:
                tx.put(POSITION_KEY, NUMBER.pack(position))
        return len(packed)

    def delete(self, keys: Iterable[bytes], *, position: int | None = None) -> int:
        """Delete entries in one durable transaction; return how many there were."""
        with self._writing() as tx:
            deleted = sum(tx.delete(key) for key in sorted(keys))
            if position is not None:
                tx.put(POSITION_KEY, NUMBER.pack(position))
        return deleted

    def put_issuer(self, issuer_part: bytes, authority: int) -> None:
        """Have CertIDs with this issuer part answered from this authority's entries."""
        response_key(authority, b"")
        self._put_shared(ISSUER + issuer_part, SHORT.pack(authority))

    def remove_issuer(self, issuer_part: bytes) -> None:
        """Have CertIDs with this issuer part answered no more."""
        with self._writing() as tx:
            if tx.delete(ISSUER + issuer_part):
                _count_revision(tx)

    def put_responder(self, parts: ResponderParts) -> None:
        """Store the shared parts of a responder, before the first entry that names it."""
        self._put_shared(RESPONDER + SHORT.pack(parts.responder), parts.pack())

    def _put_shared(self, key: bytes, value: bytes) -> None:
        with self._writing() as tx:
            if tx.get(key) != value:
                tx.put(key, value)
                _count_revision(tx)

    @contextmanager
    def _writing(self) -> Iterator["lmdb.Transaction[bytes]"]:
        """One writing transaction; the slots of killed readers are freed first: they pin pages."""
        with translated(self._path):
            self._environment.reader_check()
            with self._environment.begin(write=True) as tx:
                yield tx

    def close(self) -> None:
        """Close the table, drop what was being built, and let another writer have it."""
        self.abandon()
        super().close()
        self._generations.close()


def _count_revision(tx: "lmdb.Transaction[bytes]") -> None:
    revision = tx.get(REVISION_KEY, NUMBER.pack(0))
    tx.put(REVISION_KEY, NUMBER.pack(NUMBER.unpack(revision)[0] + 1))
