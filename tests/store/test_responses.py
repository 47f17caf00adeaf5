"""The response table: entries both ways, one writer, readers in other processes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import StorageError, TableLockedError, TableMissingError
from store.response_entries import MAX_AUTHORITY, MAX_KEY_OCTETS, ResponderParts, ResponseEntry, response_key
from store.response_writer import ResponseTableWriter
from store.responses import ResponseTableReader

ENTRY = ResponseEntry(7, 1_790_000_000, 1_790_086_400, b"response data", b"signature")
UINT16 = st.integers(0, 0xFFFF)
UINT32 = st.integers(0, 0xFFFF_FFFF)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "responses"


@pytest.fixture
def table(path: Path) -> Iterator[ResponseTableWriter]:
    writer = ResponseTableWriter(path)
    yield writer
    writer.close()


def in_another_process(path: Path, expression: str) -> str:
    """Return what an expression over `reader` prints, in a process of its own."""
    program = (
        "import sys; from pathlib import Path; from store.responses import *\n"
        f"reader = ResponseTableReader(Path(sys.argv[1])); print({expression})"
    )
    arguments = [sys.executable, "-c", program, str(path)]
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip()


# ---- Entries


@given(st.builds(ResponseEntry, UINT16, UINT32, UINT32, st.binary(max_size=600), st.binary(max_size=600)))
def test_an_entry_comes_back_as_it_was_packed(entry: ResponseEntry) -> None:
    assert ResponseEntry.unpack(entry.pack()) == entry


def test_an_entry_takes_twelve_octets_more_than_what_it_holds() -> None:
    assert len(ENTRY.pack()) == len(ENTRY.response_data) + len(ENTRY.signature) + 12


@pytest.mark.parametrize(
    "entry",
    [
        ResponseEntry(0x1_0000, 0, 0, b"", b""),
        ResponseEntry(0, 1 << 32, 0, b"", b""),
        ResponseEntry(0, 0, -1, b"", b""),
        ResponseEntry(0, 0, 0, bytes(0x1_0000), b""),
    ],
)
def test_a_number_that_does_not_fit_is_refused(entry: ResponseEntry) -> None:
    with pytest.raises(ValueError, match="out of range"):
        entry.pack()


@given(st.binary(max_size=40))
def test_only_storage_errors_escape_from_damaged_entries(value: bytes) -> None:
    try:
        entry = ResponseEntry.unpack(value)
    except StorageError:
        return
    assert entry.pack() == value


def test_a_truncated_entry_is_damaged() -> None:
    with pytest.raises(StorageError, match="damaged"):
        ResponseEntry.unpack(ENTRY.pack()[: 12 + len(ENTRY.response_data) - 1])


# ---- Keys


def test_keys_of_an_authority_sort_together_by_serial() -> None:
    assert response_key(1, b"\x01\x02") == b"\x00\x01\x01\x02"
    assert response_key(1, b"\xff" * 20) < response_key(2, b"\x00")


@pytest.mark.parametrize("authority", [-1, MAX_AUTHORITY + 1])
def test_an_authority_out_of_range_has_no_keys(authority: int) -> None:
    with pytest.raises(ValueError, match="authority"):
        response_key(authority, b"\x01")


# ---- Writing and reading


def test_what_is_put_is_found_and_what_is_deleted_is_not(table: ResponseTableWriter) -> None:
    other = ResponseEntry(1, 1, 2, b"x", b"y")
    assert table.put([(response_key(2, b"\x02"), other), (response_key(1, b"\x01"), ENTRY)]) == 2
    assert table.get(response_key(1, b"\x01")) == ENTRY
    assert table.get(response_key(2, b"\x02")) == other
    assert table.get(response_key(1, b"\x02")) is None
    assert table.count() == 2
    assert table.delete([response_key(1, b"\x01"), response_key(9, b"\x09")]) == 1
    assert table.get(response_key(1, b"\x01")) is None
    assert table.count() == 1


def test_a_later_entry_takes_the_place_of_an_earlier_one(table: ResponseTableWriter) -> None:
    newer = ResponseEntry(7, 5, 6, b"newer", b"signature")
    table.put([(b"\x00\x01\x01", ENTRY)])
    table.put([(b"\x00\x01\x01", ENTRY), (b"\x00\x01\x01", newer)])
    assert table.get(b"\x00\x01\x01") == newer


def test_a_key_longer_than_any_in_the_table_is_not_found(table: ResponseTableWriter) -> None:
    assert table.get(response_key(1, bytes(MAX_KEY_OCTETS))) is None


def test_a_batch_with_a_bad_entry_changes_nothing(table: ResponseTableWriter) -> None:
    with pytest.raises(ValueError, match="out of range"):
        table.put(
            [(response_key(1, b"\x01"), ENTRY), (response_key(1, b"\x02"), ResponseEntry(-1, 0, 0, b"", b""))]
        )
    with pytest.raises(StorageError):
        table.put([(response_key(1, b"\x01"), ENTRY), (response_key(1, bytes(MAX_KEY_OCTETS)), ENTRY)])
    assert table.count() == 0


def test_keys_are_those_of_one_authority_in_order(
    table: ResponseTableWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.responses.KEYS_A_TRANSACTION", 3)
    serials = [bytes((number,)) for number in range(1, 9)]
    for authority in (0, 1, 2, MAX_AUTHORITY):
        table.put((response_key(authority, serial), ENTRY) for serial in reversed(serials))
    table.put_issuer(b"issuer", 1)
    for authority in (0, 1, MAX_AUTHORITY):
        assert list(table.keys(authority)) == [response_key(authority, serial) for serial in serials]
    assert list(table.keys(3)) == []


def test_the_times_of_a_sample(table: ResponseTableWriter) -> None:
    """One response is looked at for each key: at it, or the next; records that are no responses never."""
    table.put_responder(ResponderParts(1, b"algorithm", b"certificates"))
    keys = [response_key(authority, serial) for authority in (1, 2) for serial in (b"\1", b"\5")]
    assert table.oldest_and_newest(keys) is None
    for time, serial in ((70, b"\1"), (50, b"\4"), (60, b"\6"), (80, b"\7")):
        table.put([(response_key(1, serial), ResponseEntry(1, time, time + 1, b"data", b"signature"))])
    assert table.oldest_and_newest(keys) == (60, 70)
    assert table.oldest_and_newest(keys[2:]) is None


def test_shared_records_come_back_and_move_the_revision(table: ResponseTableWriter) -> None:
    assert (table.revision(), table.issuers(), table.responders()) == (0, {}, {})
    parts = ResponderParts(3, b"algorithm", b"certificates")
    table.put_issuer(b"by SHA-1", 1)
    table.put_issuer(b"by SHA-256", 1)
    table.put_responder(parts)
    assert table.issuers() == {b"by SHA-1": 1, b"by SHA-256": 1}
    assert table.responders() == {3: parts}
    assert table.revision() == 3
    table.put_responder(parts)
    table.put_issuer(b"by SHA-1", 1)
    assert table.revision() == 3  # nothing changed
    table.put_issuer(b"by SHA-1", 2)
    assert table.revision() == 4
    assert table.count() == 0  # they are no responses


def test_the_position_is_stored_with_the_batch(path: Path) -> None:
    first = ResponseTableWriter(path)
    assert first.position() == 0
    first.put([(b"\x00\x01\x01", ENTRY)], position=17)
    first.put([(b"\x00\x01\x02", ENTRY)])
    assert first.position() == 17
    first.delete([b"\x00\x01\x02"], position=18)
    first.close()
    again = ResponseTableWriter(path)
    assert again.position() == 18
    assert again.get(b"\x00\x01\x01") == ENTRY
    again.close()


def test_the_table_is_sparse(table: ResponseTableWriter, path: Path) -> None:
    assert (path / "1" / "data.mdb").stat().st_size < 1 << 20


def test_a_second_writer_is_refused_until_the_first_closes(path: Path) -> None:
    first = ResponseTableWriter(path)
    with pytest.raises(TableLockedError, match="another process writes"):
        ResponseTableWriter(path)
    first.close()
    ResponseTableWriter(path).close()


def test_a_reader_in_another_process_sees_each_commit(table: ResponseTableWriter, path: Path) -> None:
    table.put_issuer(b"issuer", 5)
    table.put([(b"\x00\x05\x01", ENTRY)])
    expression = "reader.get(b'\\0\\5\\1').signature, reader.issuers(), reader.revision(), reader.count()"
    expression = expression.replace("reader.revision()", "reader.revision() % 2**48")
    assert in_another_process(path, expression) == "b'signature' {b'issuer': 5} 1 1"


def test_readers_write_nothing_but_the_lock_file(table: ResponseTableWriter, path: Path) -> None:
    table.put([(b"\x00\x05\x01", ENTRY)])
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    in_another_process(path, "reader.get(b'\\0\\5\\1'), reader.follow()")
    after = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert set(before) == {path / name for name in ("current", "writer.lock", "1/data.mdb", "1/lock.mdb")}
    assert after.keys() == before.keys()
    assert {file.name for file in after if after[file] != before[file]} <= {"lock.mdb"}


def test_a_reader_refuses_a_table_that_is_not_there(path: Path) -> None:
    with pytest.raises(TableMissingError, match="no response table"):
        ResponseTableReader(path)
    assert not path.exists()


def test_a_table_of_another_format_is_refused(path: Path) -> None:
    (path / "7").mkdir(parents=True)
    (path / "current").write_text("7\n")
    with lmdb.open(str(path / "7")) as foreign, foreign.begin(write=True) as tx:
        tx.put(b"\xff\xfff", b"\x00\x02")
    with pytest.raises(TableMissingError, match="version"):
        ResponseTableReader(path)
    with pytest.raises(TableMissingError, match="version"):
        ResponseTableWriter(path)
    with pytest.raises(TableMissingError, match="version"):
        ResponseTableWriter(path)  # and the lock was given back


def test_garbage_instead_of_a_table_is_a_storage_error(path: Path) -> None:
    (path / "1").mkdir(parents=True)
    (path / "current").write_text("1")
    (path / "1" / "data.mdb").write_bytes(b"garbage" * 10_000)
    with pytest.raises(StorageError):
        ResponseTableReader(path)
