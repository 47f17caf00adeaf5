"""The stream that carries a table: what is written is read again, and nothing else is believed."""

import hashlib
import io
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import DamagedExportError
from store.response_stream import (
    FILE,
    MAX_FILES,
    MAX_OCTETS,
    MAX_RECORDS,
    MAX_VALUE_OCTETS,
    TABLE,
    Record,
    StreamHeader,
    StreamReader,
    StreamWriter,
)

RECORDS = [
    Record(TABLE, b"a", b"1"),
    Record(TABLE, b"b", b""),
    Record(FILE, b"ca/x.cer", b"first"),
    Record(FILE, b"ca/x.cer", b"second"),
    Record(FILE, b"crl/x.crl", b""),
]
HEADER = StreamHeader(exported_at=1_790_000_000, records=2, octets=3, files=2, file_octets=11)


def stream_of(records: list[Record], header: StreamHeader) -> bytes:
    out = io.BytesIO()
    writer = StreamWriter(out, header)
    for record in records:
        writer.write(*record)
    digest = writer.finish()
    assert out.getvalue().endswith(digest)
    assert hashlib.sha256(out.getvalue()[:-32]).digest() == digest
    return out.getvalue()


STREAM = stream_of(RECORDS, HEADER)


def read(stream: bytes) -> tuple[StreamHeader, list[Record]]:
    reader = StreamReader(io.BytesIO(stream))
    return reader.header, list(reader.records())


def sealed(content: bytes) -> bytes:
    """Give a stream without its end the digest that belongs to it."""
    return content + b"\x00" + hashlib.sha256(content + b"\x00").digest()


def headed(header: StreamHeader) -> bytes:
    return stream_of(RECORDS, header)


def test_what_was_written_is_read() -> None:
    assert read(STREAM) == (HEADER, RECORDS)


@given(
    st.dictionaries(st.binary(min_size=1, max_size=511), st.binary(max_size=2000), max_size=20),
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.binary(min_size=1, max_size=99), max_size=5),
)
def test_any_table_and_files_come_back(table: dict[bytes, bytes], files: dict[str, bytes]) -> None:
    records = [Record(TABLE, key, table[key]) for key in sorted(table)]
    records += [Record(FILE, name.encode(), files[name]) for name in sorted(files)]
    octets = sum(len(key) + len(value) for key, value in table.items())
    header = StreamHeader(1, len(table), octets, len(files), sum(map(len, files.values())))
    assert read(stream_of(records, header)) == (header, records)


@pytest.mark.parametrize("length", range(len(STREAM)))
def test_cut_anywhere_it_is_refused(length: int) -> None:
    with pytest.raises(DamagedExportError):
        read(STREAM[:length])


@pytest.mark.parametrize("position", range(len(STREAM)))
def test_a_flipped_bit_anywhere_is_found(position: int) -> None:
    damaged = bytearray(STREAM)
    damaged[position] ^= 1
    with pytest.raises(DamagedExportError):
        read(bytes(damaged))


@given(st.binary(max_size=300), st.integers(0, len(STREAM)), st.integers(0, len(STREAM)), st.booleans())
def test_only_our_own_error_escapes(insert: bytes, low: int, high: int, seal: bool) -> None:
    stream = STREAM[:low] + insert + STREAM[high:]
    try:
        found = read(sealed(stream[:-33]) if seal else stream)
    except DamagedExportError:
        return
    counts = (found[0].records, found[0].files)
    tables = [record for record in found[1] if record.kind == TABLE]
    assert counts == (len(tables), len({record.key for record in found[1] if record.kind == FILE}))


HOSTILE: list[tuple[str, Callable[[], bytes], str]] = [
    ("behind the end", lambda: STREAM + b"x", "behind the end"),
    ("magic", lambda: b"pkiserver ocsp 2" + STREAM[16:], "another version"),
    ("more records", lambda: headed(HEADER._replace(records=1)), "larger than"),
    ("fewer records", lambda: headed(HEADER._replace(records=3)), "as much as"),
    ("more octets", lambda: headed(HEADER._replace(octets=2)), "larger than"),
    ("more files", lambda: headed(HEADER._replace(files=1)), "files in the export are larger"),
    ("fewer files", lambda: headed(HEADER._replace(files=3)), "as much as"),
    ("longer files", lambda: headed(HEADER._replace(file_octets=10)), "files in the export are larger"),
    ("shorter files", lambda: headed(HEADER._replace(file_octets=12)), "shorter"),
    ("too many records", lambda: headed(HEADER._replace(records=MAX_RECORDS + 1)), "more than"),
    ("too many files", lambda: headed(HEADER._replace(files=MAX_FILES + 1)), "more than"),
    ("too large", lambda: headed(HEADER._replace(octets=MAX_OCTETS + 1)), "larger than an export"),
    ("too large files", lambda: headed(HEADER._replace(file_octets=MAX_OCTETS + 1)), "larger than an export"),
    ("key twice", lambda: stream_of([RECORDS[0], RECORDS[0]], HEADER), "order"),
    ("keys backwards", lambda: stream_of([RECORDS[1], RECORDS[0]], HEADER), "order"),
    ("files backwards", lambda: stream_of([RECORDS[4], RECORDS[2]], HEADER), "order"),
    ("file before table", lambda: stream_of([RECORDS[2], RECORDS[0]], HEADER), "order"),
    ("unknown kind", lambda: stream_of([Record(3, b"a", b"")], HEADER), "order"),
    ("no key", lambda: sealed(STREAM[:52] + struct.pack(">BHI", TABLE, 0, 0)), "too long"),
    (
        "long key",
        lambda: sealed(STREAM[:52] + struct.pack(">BHI", TABLE, 512, 0) + bytes(512)),
        "too long",
    ),
    (
        "long value",
        lambda: sealed(STREAM[:52] + struct.pack(">BHI", TABLE, 1, MAX_VALUE_OCTETS + 1)),
        "too long",
    ),
    ("huge value", lambda: STREAM[:52] + struct.pack(">BHI", TABLE, 1, 0xFFFF_FFFF), "too long"),
]


@pytest.mark.parametrize(("make", "reason"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_what_no_writer_writes_is_refused(make: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(DamagedExportError, match=reason):
        read(make())


@pytest.mark.parametrize(
    ("key", "value"), [(b"", b""), (bytes(512), b""), (b"k", bytes(MAX_VALUE_OCTETS + 1))]
)
def test_what_could_not_be_read_is_not_written(key: bytes, value: bytes) -> None:
    with pytest.raises(ValueError, match="bounds"):
        StreamWriter(io.BytesIO(), HEADER).write(TABLE, key, value)
