"""The table of prebuilt OCSP responses: LMDB, memory-mapped, one writer and any number of readers.

An entry keeps what varies from certificate to certificate; what many share (the responder's algorithm and
certificates, the issuers answered for) is kept once. Keys and values are opaque bytes here: what they
mean on the wire is the business of `protocols.ocsp`.

A table is a folder of generations (`store.generations`), each an LMDB environment. LMDB forbids to open one
of them twice in a process (its locks belong to process and file): a process that writes also reads through
its writer. Open a table after a fork, never before.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

import lmdb

from store.errors import DamagedExportError, StorageError, StorageFullError, TableMissingError
from store.generations import FOLDER_MODE, Generations, current_number, lease_current

MAP_SIZE: Final = 1 << 38  # 256 GiB of address space, sparse: 400 million entries; costs nothing until used
MAX_READERS: Final = 1024  # slots of reading processes; one worker takes one, and one left by a killed worker
MAX_KEY_OCTETS: Final = 511  # LMDB's own limit; no key over it can be in the table
MAX_AUTHORITY: Final = 0xFEFF  # keys from 0xFFFF on are the shared records
_NEVER: Final = 0xFFFF_FFFF  # Unix seconds; the year 2106, the end of what an entry can say
_REVISION_BITS: Final = 48  # of the revision within a generation
KEYS_A_TRANSACTION: Final = 10_000  # a long reading transaction would keep the writer from re-using pages

_FORMAT: Final = b"\x00\x01"
_SHARED: Final = b"\xff\xff"
_FORMAT_KEY: Final = _SHARED + b"f"
FORMAT_RECORD: Final = (_FORMAT_KEY, _FORMAT)  # every table has it
_EXPORTED_KEY: Final = _SHARED + b"e"
_ISSUER: Final = _SHARED + b"i"
_POSITION_KEY: Final = _SHARED + b"p"
_RESPONDER: Final = _SHARED + b"r"
_REVISION_KEY: Final = _SHARED + b"v"
_ENTRY_HEADER: Final = struct.Struct(">HIIH")  # responder, thisUpdate, nextUpdate, octets of response data
_NEXT_UPDATE: Final = struct.Struct(">I")
_NEXT_UPDATE_AT: Final = 6  # in the header of an entry
_ENTRY_OCTETS: Final = _ENTRY_HEADER.size
_tuple: Final = tuple.__new__  # a named tuple's own constructor is a second call
_SHORT: Final = struct.Struct(">H")
_NUMBER: Final = struct.Struct(">Q")


class ResponseEntry(NamedTuple):
    """What varies in one OCSP response; a named tuple, since one is made for each look-up.

    `responder` says which shared parts complete it; `this_update` and `next_update` are Unix seconds (to
    the year 2106), repeated from `response_data`, the DER ResponseData (RFC 6960 §4.2.1); `signature` is
    the signature's octets, without the BIT STRING around them.
    """

    responder: int
    this_update: int
    next_update: int
    response_data: bytes
    signature: bytes

    def pack(self) -> bytes:
        """Return the entry as the table keeps it; `ValueError` where a number does not fit."""
        try:
            header = _ENTRY_HEADER.pack(
                self.responder, self.this_update, self.next_update, len(self.response_data)
            )
        except struct.error as error:
            raise ValueError("a number of the response entry is out of range") from error
        return header + self.response_data + self.signature

    @classmethod
    def unpack(cls, value: bytes) -> Self:
        """Return the entry of a packed value; `StorageError` where it is none."""
        try:
            responder, this_update, next_update, length = _ENTRY_HEADER.unpack_from(value)
        except struct.error as error:
            raise StorageError("an entry of the response table is damaged") from error
        end = _ENTRY_OCTETS + length
        if end > len(value):
            raise StorageError("an entry of the response table is damaged")
        return _tuple(cls, (responder, this_update, next_update, value[_ENTRY_OCTETS:end], value[end:]))


@dataclass(frozen=True, slots=True)
class ResponderParts:
    """What all responses of one responder certificate share.

    `signature_algorithm` is a DER AlgorithmIdentifier, `certificates` DER certificates one after another.
    """

    responder: int
    signature_algorithm: bytes
    certificates: bytes

    def pack(self) -> bytes:
        """Return the shared parts as the table keeps them, without the number."""
        return _SHORT.pack(len(self.signature_algorithm)) + self.signature_algorithm + self.certificates

    @classmethod
    def unpack(cls, responder: int, value: bytes) -> Self:
        """Return the parts of a packed value."""
        end = _SHORT.size + _SHORT.unpack_from(value)[0]
        return cls(responder, value[_SHORT.size : end], value[end:])


def response_key(authority: int, serial: bytes) -> bytes:
    """Return the key of a certificate's response.

    `serial` is the serial number's INTEGER content octets as they stand in DER. `ValueError` where
    `authority` is not within 0 to `MAX_AUTHORITY`.
    """
    if not 0 <= authority <= MAX_AUTHORITY:
        raise ValueError("the number of the authority is out of range")
    return _SHORT.pack(authority) + serial


def is_response(key: bytes) -> bool:
    """Tell the key of a response from those of the shared records."""
    return not key.startswith(_SHARED)


def check_record(key: bytes, value: bytes) -> None:
    """Raise `DamagedExportError` for a record that no writer of a table made, as far as the record shows."""
    try:
        if not key.startswith(_SHARED):
            sound = 2 < len(key) <= MAX_KEY_OCTETS and _SHORT.unpack_from(key)[0] <= MAX_AUTHORITY
            sound = sound and bool(ResponseEntry.unpack(value).response_data)
        elif key.startswith(_ISSUER):
            sound = _SHORT.unpack(value)[0] <= MAX_AUTHORITY
        elif key.startswith(_RESPONDER):
            sound = bool(ResponderParts.unpack(_SHORT.unpack(key[3:])[0], value).signature_algorithm)
        elif key == _FORMAT_KEY:
            sound = value == _FORMAT
        else:
            sound = key in (_POSITION_KEY, _REVISION_KEY) and len(value) == _NUMBER.size
    except (StorageError, struct.error) as error:
        raise DamagedExportError("a record of the export is damaged") from error
    if not sound:
        raise DamagedExportError("the export holds a record that no table has, or is of another version")


def exported_record(exported_at: int) -> tuple[bytes, bytes]:
    """Return the record by which an imported table knows when it was exported, in Unix seconds."""
    return _EXPORTED_KEY, _NUMBER.pack(exported_at)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn LMDB's errors into those of the store."""
    try:
        yield
    except (lmdb.DiskError, lmdb.MapFullError) as error:
        raise StorageFullError(f"the disk of the response table {path} is full") from error
    except lmdb.Error as error:
        raise StorageError(f"the response table {path} cannot be used: {error}") from error


class _ResponseTable:
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
        return self._number(_REVISION_KEY)

    def position(self) -> int:
        """Return what the last `put` with a position gave, 0 before the first."""
        return self._number(_POSITION_KEY)

    def exported_at(self) -> int:
        """Return when the table was exported, in Unix seconds; 0 where it was not imported."""
        return self._number(_EXPORTED_KEY)

    def _number(self, key: bytes) -> int:
        with _translated(self._path), self._environment.begin() as tx:
            value = tx.get(key)
        return 0 if value is None else int(_NUMBER.unpack(value)[0])

    def issuers(self) -> dict[bytes, int]:
        """Return the authority of each issuer part of a CertID that the table answers for."""
        return {key: int(_SHORT.unpack(value)[0]) for key, value in self._records(_ISSUER)}

    def responders(self) -> dict[int, ResponderParts]:
        """Return the shared parts of every responder by its number."""
        numbered = ((int(_SHORT.unpack(key)[0]), value) for key, value in self._records(_RESPONDER))
        return {number: ResponderParts.unpack(number, value) for number, value in numbered}

    def _records(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """Return the shared records under a prefix, their keys without it."""
        found: list[tuple[bytes, bytes]] = []
        with _translated(self._path), self._environment.begin() as tx, tx.cursor() as cursor:
            there = cursor.set_range(prefix)
            while there and cursor.key().startswith(prefix):
                found.append((cursor.key()[len(prefix) :], cursor.value()))
                there = cursor.next()
        return found

    def count(self) -> int:
        """Return how many responses the table holds."""
        with _translated(self._path):
            entries: int = self._environment.stat()["entries"]
        return entries - len(self._records(_SHARED))

    def next_updates(self, after: bytes, limit: int) -> "NextUpdates":
        """Look at the nextUpdate of up to `limit` responses whose keys follow `after`, b"" for the first."""
        oldest, newest, seen, last = _NEVER, 0, 0, after
        with _translated(self._path), self._environment.begin(buffers=True) as tx, tx.cursor() as cursor:
            cursor.set_range(after + b"\x00")
            for key, value in cursor:
                if bytes(key[:2]) == _SHARED:
                    break
                if seen == limit:
                    return NextUpdates(oldest, newest, seen, last)
                next_update = _NEXT_UPDATE.unpack_from(value, _NEXT_UPDATE_AT)[0]
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
        """Return the least and the greatest thisUpdate among the responses that stand at or next after
        these keys (in order, so a sample of the table), as Unix seconds; None where there is none."""
        with _translated(self._path), self._environment.begin() as tx, tx.cursor() as cursor:
            found = [
                int(_ENTRY_HEADER.unpack_from(cursor.value())[1])
                for key in keys
                if cursor.set_range(key) and not cursor.key().startswith(_SHARED)
            ]
        return (min(found), max(found)) if found else None

    def _keys_from(self, start: bytes, prefix: bytes) -> list[bytes]:
        found: list[bytes] = []
        with _translated(self._path), self._environment.begin() as tx, tx.cursor() as cursor:
            there = cursor.set_range(start)
            while there and len(found) < KEYS_A_TRANSACTION and cursor.key().startswith(prefix):
                found.append(cursor.key())
                there = cursor.next()
        return found

    def close(self) -> None:
        """Give the table back; no other method may be called afterwards."""
        self._environment.close()


class ResponseTableReader(_ResponseTable):
    """Reads a table that another process writes; writes nothing but LMDB's lock file."""

    def __init__(self, folder: Path) -> None:
        """Open the generation that is served; `TableMissingError` where no writer made one."""
        self._folder = folder
        self._lease = lease_current(folder)
        try:
            super().__init__(self._lease.path, _open_to_read(self._lease.path))
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
            environment = _open_to_read(lease.path)
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
        with _translated(self._path), self._environment.begin() as tx, tx.cursor() as cursor:
            stat = tx.stat(self._environment.open_db(None, tx))
            pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
            exported_at = tx.get(_EXPORTED_KEY)
            yield Snapshot(
                records=stat["entries"] - (exported_at is not None),
                octets=pages * stat["psize"],
                exported_at=0 if exported_at is None else int(_NUMBER.unpack(exported_at)[0]),
                pairs=((key, value) for key, value in cursor if key != _EXPORTED_KEY),
            )

    def close(self) -> None:
        """Give the table back; no other method may be called afterwards."""
        super().close()
        os.close(self._lease.descriptor)


class ResponseTableWriter(_ResponseTable):
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
            super().__init__(path, _open_to_write(path))
        except StorageError:
            self._generations.close()
            raise

    def _first(self) -> int:
        _open_to_write(self._generations.begin()).close()
        return self._generations.swap()

    def build(self) -> None:
        """Begin a new generation, which has issuers and responders of this one and no responses."""
        self.abandon()
        path = self._generations.begin()
        environment = _open_to_write(path, durable=False)  # until it is served nothing would be lost
        with _translated(path), environment.begin(write=True) as tx:
            for prefix in (_ISSUER, _RESPONDER, _REVISION_KEY):
                for key, value in self._records(prefix):
                    tx.put(prefix + key, value)
        self._next = environment

    def swap(self, *, position: int) -> None:
        """Have the generation that was built served from now on, with this position."""
        if self._next is None:
            raise RuntimeError("no generation is built")
        with _translated(self._path):
            with self._next.begin(write=True) as tx:
                tx.put(_POSITION_KEY, _NUMBER.pack(position))
            self._next.sync(True)
        self._next.close()
        self._next = None
        former = self._environment
        path = self._generations.path(self._generations.swap())
        self._environment, self._path = _open_to_write(path), path
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
                    tx.put(_POSITION_KEY, _NUMBER.pack(position))
        return len(packed)

    def delete(self, keys: Iterable[bytes], *, position: int | None = None) -> int:
        """Delete entries in one durable transaction; return how many there were."""
        ordered = sorted(keys)
        deleted = []
        for environment in self._environments():
            with self._writing(environment) as tx:
                deleted.append(sum(tx.delete(key) for key in ordered))
                if position is not None:
                    tx.put(_POSITION_KEY, _NUMBER.pack(position))
        return deleted[0]

    def put_issuer(self, issuer_part: bytes, authority: int) -> None:
        """Have CertIDs with this issuer part answered from this authority's entries."""
        response_key(authority, b"")
        self._put_shared(_ISSUER + issuer_part, _SHORT.pack(authority))

    def remove_issuer(self, issuer_part: bytes) -> None:
        """Have CertIDs with this issuer part answered no more."""
        for environment in self._environments():
            with self._writing(environment) as tx:
                if tx.delete(_ISSUER + issuer_part):
                    _count_revision(tx)

    def put_responder(self, parts: ResponderParts) -> None:
        """Store the shared parts of a responder, before the first entry that names it."""
        self._put_shared(_RESPONDER + _SHORT.pack(parts.responder), parts.pack())

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
        with _translated(self._path):
            environment.reader_check()
            with environment.begin(write=True) as tx:
                yield tx

    def close(self) -> None:
        """Close the table, drop what was being built, and let another writer have it."""
        self.abandon()
        super().close()
        self._generations.close()


def _count_revision(tx: "lmdb.Transaction[bytes]") -> None:
    revision = tx.get(_REVISION_KEY, _NUMBER.pack(0))
    tx.put(_REVISION_KEY, _NUMBER.pack(_NUMBER.unpack(revision)[0] + 1))


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


def _open_to_read(path: Path) -> lmdb.Environment:
    """Open a generation; `TableMissingError` where there is none, or one of another format."""
    if not (path / "data.mdb").is_file():
        raise TableMissingError(f"there is no response table at {path}")
    with _translated(path):
        environment = lmdb.open(
            str(path),
            map_size=MAP_SIZE,
            max_readers=MAX_READERS,
            readonly=True,
            create=False,
            readahead=False,  # look-ups come in random order
            max_spare_txns=1,  # keeps the reader's slot, not a snapshot, from one look-up to the next
        )
        environment.reader_check()  # where nobody writes, nobody else frees the slots of killed readers
    return _of_this_format(path, environment)


def _open_to_write(path: Path, *, durable: bool = True) -> lmdb.Environment:
    """Open or make a generation; what is not `durable` must be synchronised in the end."""
    with _translated(path):
        environment = lmdb.open(
            str(path), map_size=MAP_SIZE, max_readers=MAX_READERS, mode=FOLDER_MODE, sync=durable
        )
        environment.reader_check()
        with environment.begin(write=True) as tx:
            tx.put(_FORMAT_KEY, _FORMAT, overwrite=False)
    return _of_this_format(path, environment)


def _of_this_format(path: Path, environment: lmdb.Environment) -> lmdb.Environment:
    with _translated(path), environment.begin() as tx:
        found = tx.get(_FORMAT_KEY)
    if found != _FORMAT:
        environment.close()
        raise TableMissingError(f"the response table at {path} is empty or of another version of the program")
    return environment
