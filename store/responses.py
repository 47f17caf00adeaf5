"""The table of prebuilt OCSP responses: LMDB, memory-mapped, one writer and any number of readers.

An entry keeps what varies from certificate to certificate; what many share (the responder's algorithm and
certificates, the issuers answered for) is kept once. Keys and values are opaque bytes here: what they
mean on the wire is the business of `protocols.ocsp`.

LMDB forbids to open one table twice in a process (its locks belong to process and file): a process that
writes also reads through its writer. Open a table after a fork, never before.
"""

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

import lmdb

from store.errors import StorageError, StorageFullError

MAP_SIZE: Final = 1 << 38  # 256 GiB of address space, sparse: 400 million entries; costs nothing until used
MAX_READERS: Final = 1024  # slots of reading processes; one worker takes one, and one left by a killed worker
MAX_KEY_OCTETS: Final = 511  # LMDB's own limit; no key over it can be in the table
MAX_AUTHORITY: Final = 0xFEFF  # keys from 0xFFFF on are the shared records
KEYS_A_TRANSACTION: Final = 10_000  # a long reading transaction would keep the writer from re-using pages

_FORMAT: Final = b"\x00\x01"
_SHARED: Final = b"\xff\xff"
_FORMAT_KEY: Final = _SHARED + b"f"
_ISSUER: Final = _SHARED + b"i"
_POSITION_KEY: Final = _SHARED + b"p"
_RESPONDER: Final = _SHARED + b"r"
_REVISION_KEY: Final = _SHARED + b"v"
_ENTRY_HEADER: Final = struct.Struct(">HIIH")  # responder, thisUpdate, nextUpdate, octets of response data
_ENTRY_OCTETS: Final = _ENTRY_HEADER.size
_tuple: Final = tuple.__new__  # a named tuple's own constructor is a second call
_SHORT: Final = struct.Struct(">H")
_NUMBER: Final = struct.Struct(">Q")


class TableLockedError(StorageError):
    """Another process writes this table already."""


class TableMissingError(StorageError):
    """There is no table at this place, or its format is of another version."""


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
            entries = self._environment.stat()["entries"]
        return entries - len(self._records(_SHARED))

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

    def __init__(self, path: Path) -> None:
        """Open the table in the folder `path`; `TableMissingError` where no writer made one."""
        if not (path / "data.mdb").is_file():
            raise TableMissingError(f"there is no response table at {path}; the presigner makes it")
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
        super().__init__(path, environment)
        try:
            _require_format(path, environment)
        except StorageError:
            environment.close()
            raise


class ResponseTableWriter(_ResponseTable):
    """The one writer of a table; it may read as well."""

    def __init__(self, path: Path) -> None:
        """Open or make the table in the folder `path`; `TableLockedError` where it has a writer."""
        try:
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock = _locked(path)
        except OSError as error:
            raise StorageError(f"the response table {path} cannot be opened: {error.strerror}") from error
        try:
            with _translated(path):
                environment = lmdb.open(str(path), map_size=MAP_SIZE, max_readers=MAX_READERS, mode=0o750)
                super().__init__(path, environment)
                self._prepare()
        except StorageError:
            os.close(self._lock)
            raise

    def _prepare(self) -> None:
        self._environment.reader_check()
        with self._environment.begin(write=True) as tx:
            tx.put(_FORMAT_KEY, _FORMAT, overwrite=False)
        _require_format(self._path, self._environment)

    def put(self, entries: Iterable[tuple[bytes, ResponseEntry]], *, position: int | None = None) -> int:
        """Store a batch in one durable transaction, all or nothing; return how many entries it had.

        `position` is stored with it, for a writer that follows a sequence and resumes after a crash. Of
        two entries with one key the later stands. `StorageFullError` where the disk is full.
        """
        packed = {key: entry.pack() for key, entry in entries}
        with self._writing() as tx:
            with tx.cursor() as cursor:
                cursor.putmulti(sorted(packed.items()))
            if position is not None:
                tx.put(_POSITION_KEY, _NUMBER.pack(position))
        return len(packed)

    def delete(self, keys: Iterable[bytes], *, position: int | None = None) -> int:
        """Delete entries in one durable transaction; return how many there were."""
        with self._writing() as tx:
            deleted = sum(tx.delete(key) for key in sorted(keys))
            if position is not None:
                tx.put(_POSITION_KEY, _NUMBER.pack(position))
        return deleted

    def put_issuer(self, issuer_part: bytes, authority: int) -> None:
        """Have CertIDs with this issuer part answered from this authority's entries."""
        response_key(authority, b"")
        self._put_shared(_ISSUER + issuer_part, _SHORT.pack(authority))

    def remove_issuer(self, issuer_part: bytes) -> None:
        """Have CertIDs with this issuer part answered no more."""
        with self._writing() as tx:
            if tx.delete(_ISSUER + issuer_part):
                _count_revision(tx)

    def put_responder(self, parts: ResponderParts) -> None:
        """Store the shared parts of a responder, before the first entry that names it."""
        self._put_shared(_RESPONDER + _SHORT.pack(parts.responder), parts.pack())

    def _put_shared(self, key: bytes, value: bytes) -> None:
        with self._writing() as tx:
            if tx.get(key) == value:
                return
            tx.put(key, value)
            _count_revision(tx)

    @contextmanager
    def _writing(self) -> Iterator["lmdb.Transaction[bytes]"]:
        """One writing transaction; the slots of killed readers are freed first: they pin pages."""
        with _translated(self._path):
            self._environment.reader_check()
            with self._environment.begin(write=True) as tx:
                yield tx

    def close(self) -> None:
        """Close the table and let another writer have it."""
        super().close()
        os.close(self._lock)


def _count_revision(tx: "lmdb.Transaction[bytes]") -> None:
    revision = tx.get(_REVISION_KEY, _NUMBER.pack(0))
    tx.put(_REVISION_KEY, _NUMBER.pack(_NUMBER.unpack(revision)[0] + 1))


def _locked(path: Path) -> int:
    """Return a descriptor that holds the writer's lock until it is closed, or the process ends."""
    descriptor = os.open(path / "writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise TableLockedError(f"another process writes the response table {path} already") from error
    return descriptor


def _require_format(path: Path, environment: lmdb.Environment) -> None:
    with _translated(path), environment.begin() as tx:
        found = tx.get(_FORMAT_KEY)
    if found != _FORMAT:
        raise TableMissingError(f"the response table at {path} is empty or of another version of the program")
