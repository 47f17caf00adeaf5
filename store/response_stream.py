"""The stream that carries a response table and the public files beside it to another machine.

    magic       16 octets
    header      when it was exported; records and octets of the table; files and octets of them
    records     kind (1 octet), length of the key (2), length of the value (4), key, value
    end         kind 0, then the SHA-256 of all octets before it

Numbers are big-endian. Records of the table come first, in the order of their keys; then the files in the
order of their names, each in pieces under its name. The digest finds damage, not malice: what is served is
signed, and who may import is trusted to know the file. Every length is bounded before it is believed.
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from store.errors import DamagedExportError

MAX_KEY_OCTETS: Final = 511  # LMDB's own limit; a name of a file is shorter
MAX_VALUE_OCTETS: Final = 1 << 18  # a response entry has two parts of 64 KiB at most
MAX_RECORDS: Final = 1 << 32
MAX_OCTETS: Final = 1 << 38  # as much as a table may have
MAX_FILES: Final = 10_000  # CRLs and CA certificates; a few dozen are usual
PIECE_OCTETS: Final = 1 << 16  # of a file

_MAGIC: Final = b"pkiserver ocsp 1"  # the digit is the version of the format
_HEADER: Final = struct.Struct(">QQQIQ")
_RECORD: Final = struct.Struct(">BHI")
_END: Final = b"\x00"
_BUFFER_OCTETS: Final = 1 << 20

TABLE: Final = 1
FILE: Final = 2


class StreamHeader(NamedTuple):
    """What a stream says of itself; `exported_at` in Unix seconds, `octets` at least those of the table."""

    exported_at: int
    records: int
    octets: int
    files: int
    file_octets: int


class Record(NamedTuple):
    """One record of the table, or one piece of the file that `key` names."""

    kind: int
    key: bytes
    value: bytes


class StreamWriter:
    """Writes one stream, in the order of the format."""

    def __init__(self, out: BinaryIO, header: StreamHeader) -> None:
        self._out = out
        self._digest = hashlib.sha256()
        self._buffer = bytearray(_MAGIC + _HEADER.pack(*header))

    def write(self, kind: int, key: bytes, value: bytes) -> None:
        """Write one record; `ValueError` where it is over a bound, and could not be read again."""
        if not 0 < len(key) <= MAX_KEY_OCTETS or len(value) > MAX_VALUE_OCTETS:
            raise ValueError("a record of the response table is over the bounds of an export")
        self._buffer += _RECORD.pack(kind, len(key), len(value)) + key + value
        if len(self._buffer) >= _BUFFER_OCTETS:
            self._flush()

    def finish(self) -> bytes:
        """Write the end and return the SHA-256 in it."""
        self._buffer += _END
        self._flush()
        digest = self._digest.digest()
        self._out.write(digest)
        return digest

    def _flush(self) -> None:
        self._digest.update(self._buffer)
        self._out.write(self._buffer)
        self._buffer.clear()


class StreamReader:
    """Reads one stream. Every method raises `DamagedExportError` for what is no such stream."""

    def __init__(self, source: BinaryIO) -> None:
        """Read the beginning; `digest` is that of the whole, once all records were read."""
        self.digest = b""
        self._source = source
        self._digest = hashlib.sha256()
        if self._read(len(_MAGIC)) != _MAGIC:
            raise DamagedExportError("this is no export of a response table, or one of another version")
        self.header = StreamHeader(*_HEADER.unpack(self._read(_HEADER.size)))
        header = self.header
        if header.records > MAX_RECORDS or header.files > MAX_FILES:
            raise DamagedExportError("the export says that it holds more than an export may")
        if header.octets > MAX_OCTETS or header.file_octets > MAX_OCTETS:
            raise DamagedExportError("the export says that it is larger than an export may be")

    def records(self) -> Iterator[Record]:
        """Yield every record; after the last, the whole stream has been found undamaged and ended.

        What was yielded is not to be believed before that.
        """
        counts = _Counts(self.header)
        while (kind := self._read(1)) != _END:
            key_length, value_length = struct.unpack(">HI", self._read(_RECORD.size - 1))
            if not 0 < key_length <= MAX_KEY_OCTETS or value_length > MAX_VALUE_OCTETS:
                raise DamagedExportError("a record of the export is too long")
            record = Record(kind[0], self._read(key_length), self._read(value_length))
            counts.take(record)
            yield record
        counts.finish()
        self.digest = self._digest.digest()
        if self._source.read(len(self.digest)) != self.digest:
            raise DamagedExportError("the export is damaged or cut short: its SHA-256 does not fit")
        if self._source.read(1):
            raise DamagedExportError("there is more behind the end of the export")

    def _read(self, octets: int) -> bytes:
        found = self._source.read(octets)
        if len(found) != octets:
            raise DamagedExportError("the export is cut short")
        self._digest.update(found)
        return found


class _Counts:
    """Holds what comes to what the header said, and to the order."""

    def __init__(self, header: StreamHeader) -> None:
        self._header = header
        self._records = self._octets = self._files = self._file_octets = 0
        self._kind = TABLE
        self._key = b""

    def take(self, record: Record) -> None:
        in_order = record.kind == self._kind and record.key > self._key
        if record.kind == TABLE and in_order:
            self._records += 1
            self._octets += len(record.key) + len(record.value)
        elif record.kind == FILE and record.kind >= self._kind:
            self._take_piece(record)
        else:
            raise DamagedExportError("the records of the export are not in order")
        self._kind, self._key = record.kind, record.key
        header = self._header
        if self._records > header.records or self._octets > header.octets:
            raise DamagedExportError("the table in the export is larger than the export says")
        if self._files > header.files or self._file_octets > header.file_octets:
            raise DamagedExportError("the files in the export are larger than the export says")

    def _take_piece(self, record: Record) -> None:
        if record.kind != self._kind or record.key > self._key:
            self._files += 1
        elif record.key < self._key:
            raise DamagedExportError("the files of the export are not in order")
        self._file_octets += len(record.value)

    def finish(self) -> None:
        header = self._header
        if (self._records, self._files) != (header.records, header.files):
            raise DamagedExportError("the export does not hold as much as it says")
        if self._file_octets != header.file_octets:
            raise DamagedExportError("the files of the export are shorter than it says")
