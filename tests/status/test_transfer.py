"""Export and import between homes: all of it comes over, and whatever is wrong, nothing changes."""

import gzip
import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkiserver.errors import ConflictError, PKIServerError, UnavailableError
from pkiserver.home import Home
from pkiserver.progress import silent
from pkiserver.status import transfer
from pkiserver.status.transfer import Moved, export_responses, import_responses
from store.errors import (
    DamagedExportError,
    StorageError,
    StorageFullError,
    TableLockedError,
    TableMissingError,
)
from store.response_entries import FORMAT_RECORD, ResponderParts, ResponseEntry, response_key
from store.response_stream import FILE, TABLE, StreamHeader, StreamWriter
from store.response_writer import ResponseTableWriter
from store.responses import ResponseTableReader

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
MADE_NS = 1_785_000_000_123_456_789  # one time of all: a compressed form is of the file beside it
FILES = {
    "ca/chain.pem": b"chain",
    "ca/root.cer": b"root",
    "crl/root.crl": bytes(range(256)) * 1000,
    "crl/root.crl.gz": gzip.compress(bytes(range(256)) * 1000),
    "crl/empty.crl": b"",
    "crl/index.html": b"<!DOCTYPE html>",
    "register/2026-07-31.csv.gz": gzip.compress(b"serial"),
}


def entry(number: int, text: bytes = b"data") -> ResponseEntry:
    return ResponseEntry(7, 1_790_000_000, 1_790_086_400 + number, text, b"signature")


def key(number: int) -> bytes:
    return response_key(1, number.to_bytes(2, "big"))


def fill(folder: Path, count: int, text: bytes = b"data", position: int = 5) -> None:
    with closing(ResponseTableWriter(folder)) as table:
        table.put_issuer(b"issuer", 1)
        table.put_responder(ResponderParts(7, b"algorithm", b"certificates"))
        table.put([(key(number), entry(number, text).pack()) for number in range(count)], position=position)


@pytest.fixture
def issuing(tmp_path: Path) -> Home:
    home = Home(tmp_path / "issuing")
    home.make()
    fill(home.responses, 2500)
    for name, content in FILES.items():
        (home.public / name).write_bytes(content)
        os.utime(home.public / name, ns=(MADE_NS, MADE_NS))
    (home.public / "crl" / ".new").write_bytes(b"half a CRL")
    (home.public / "crl" / "notes.txt").write_bytes(b"not served")
    return home


@pytest.fixture
def status(tmp_path: Path) -> Home:
    home = Home(tmp_path / "status")
    home.path.mkdir()
    return home


def exported(home: Home, now: datetime = NOW, *, public: bool = True) -> bytes:
    out = io.BytesIO()
    export_responses(home, out, now, silent, public=public)
    return out.getvalue()


def imported(home: Home, stream: bytes, now: datetime = NOW, *, allow_older: bool = False) -> Moved:
    return import_responses(home, io.BytesIO(stream), now, silent, allow_older=allow_older)


def content(home: Home) -> dict[str, bytes]:
    """Every file below a home, but what locks and readers leave."""
    left_out = {"lock.mdb", "writer.lock"}
    return {
        path.relative_to(home.path).as_posix(): path.read_bytes()
        for path in home.path.rglob("*")
        if path.is_file() and path.name not in left_out
    }


def public_files(home: Home) -> dict[str, bytes]:
    return {
        path.relative_to(home.public).as_posix(): path.read_bytes()
        for path in home.public.rglob("*")
        if path.is_file()
    }


class TestWhole:
    def test_all_of_it_comes_over(self, issuing: Home, status: Home) -> None:
        out = io.BytesIO()
        sent = export_responses(issuing, out, NOW, silent, public=True)
        moved = imported(status, out.getvalue())
        digest = hashlib.sha256(out.getvalue()[:-32]).hexdigest()
        assert moved == sent == Moved(NOW, 2500, len(FILES), digest)
        with closing(ResponseTableReader(status.responses)) as table:
            assert table.count() == 2500
            assert [table.get(key(number)) for number in (0, 1234, 2499)] == [
                entry(0), entry(1234), entry(2499)
            ]  # fmt: skip
            assert (table.position(), table.issuers()) == (5, {b"issuer": 1})
            assert table.responders() == {7: ResponderParts(7, b"algorithm", b"certificates")}
            assert table.exported_at() == int(NOW.timestamp())
        assert public_files(status) == FILES
        modes = {stat.S_IMODE((status.public / name).stat().st_mode) & 0o444 for name in FILES}
        assert modes == {0o444}
        times = {(status.public / name).stat().st_mtime_ns for name in ("crl/root.crl", "crl/root.crl.gz")}
        assert len(times) == 1  # by which the second is known to be of the first

    def test_a_compressed_form_of_a_former_file_stays_behind(self, issuing: Home, status: Home) -> None:
        (issuing.public / "crl" / "root.crl").write_bytes(b"the next CRL")
        imported(status, exported(issuing))
        assert public_files(status)["crl/root.crl"] == b"the next CRL"
        assert "crl/root.crl.gz" not in public_files(status)

    def test_the_second_takes_the_place_of_the_first(self, issuing: Home, status: Home) -> None:
        imported(status, exported(issuing))
        with closing(ResponseTableWriter(issuing.responses)) as table:
            table.delete([key(0)])
            table.put([(key(1), entry(1, b"changed").pack())], position=9)
        (issuing.public / "crl" / "root.crl").write_bytes(b"next CRL")
        imported(status, exported(issuing, NOW + timedelta(minutes=5)), NOW + timedelta(minutes=5))
        with closing(ResponseTableReader(status.responses)) as table:
            assert (table.count(), table.get(key(0)), table.position()) == (2499, None, 9)
            assert table.get(key(1)) == entry(1, b"changed")
        assert public_files(status)["crl/root.crl"] == b"next CRL"
        assert [path.name for path in status.responses.iterdir() if path.is_dir()] == ["2"]

    def test_without_public_files_those_there_stay(self, issuing: Home, status: Home) -> None:
        (status.public / "crl").mkdir(parents=True)
        (status.public / "crl" / "own.crl").write_bytes(b"own")
        assert imported(status, exported(issuing, public=False)).files == 0
        assert public_files(status) == {"crl/own.crl": b"own"}

    def test_a_status_machine_hands_on_what_it_got(self, issuing: Home, status: Home, tmp_path: Path) -> None:
        """With the time of the first export, so that the age stays known; to the octet."""
        stream = exported(issuing)
        imported(status, stream)
        later = NOW + timedelta(hours=1)
        third = Home(tmp_path / "third")
        third.path.mkdir()
        moved = imported(third, exported(status, later), later)
        assert (moved.exported_at, moved.responses, moved.files) == (NOW, 2500, len(FILES))

    def test_an_export_is_of_one_moment(self, issuing: Home, status: Home) -> None:
        """Written while it is read: either all of a batch is in it or nothing."""
        out = io.BytesIO()
        program = (
            "import sys\nfrom pathlib import Path\n"
            "from store.response_entries import ResponseEntry\n"
            "from store.response_writer import ResponseTableWriter\n"
            "table = ResponseTableWriter(Path(sys.argv[1]))\n"
            "keys = list(table.keys(1))\n"
            "for number in range(30):\n"
            "    table.put([(key, ResponseEntry(7, 1, 2, b'%d' % number, b's').pack()) for key in keys])\n"
            "    print(number, flush=True)\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(issuing.responses)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        export_responses(issuing, out, NOW, silent, public=False)
        process.communicate()
        imported(status, out.getvalue())
        with closing(ResponseTableReader(status.responses)) as table:
            texts = {found.response_data for one in range(2500) if (found := table.get(key(one)))}
        assert len(texts) == 1


class TestRefused:
    def test_where_there_is_a_database(self, issuing: Home, status: Home) -> None:
        status.database.touch()
        with pytest.raises(ConflictError, match="issues"):
            imported(status, exported(issuing))
        assert set(content(status)) == {"pkiserver.db"}

    def test_an_older_one_unless_it_is_allowed(self, issuing: Home, status: Home) -> None:
        older = exported(issuing)
        imported(status, exported(issuing, NOW + timedelta(seconds=1)))
        before = content(status)
        with pytest.raises(ConflictError, match="older"):
            imported(status, older)
        assert content(status) == before
        imported(status, older, allow_older=True)
        with closing(ResponseTableReader(status.responses)) as table:
            assert table.exported_at() == int(NOW.timestamp())

    def test_one_of_the_future(self, issuing: Home, status: Home) -> None:
        """It would keep every later one out."""
        stream = exported(issuing, NOW + transfer.CLOCK_TOLERANCE + timedelta(seconds=1))
        with pytest.raises(DamagedExportError, match="future"):
            imported(status, stream)
        far = StreamHeader(2**64 - 1, 0, 0, 0, 0)
        with pytest.raises(DamagedExportError, match="future"):
            imported(status, stream_of([], far))

    def test_two_at_once(self, issuing: Home, status: Home) -> None:
        stream = exported(issuing)
        imported(status, stream)
        with closing(ResponseTableWriter(status.responses)), pytest.raises(TableLockedError):
            imported(status, stream)

    def test_what_has_no_room(self, issuing: Home, status: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        stream = exported(issuing)
        real = os.statvfs(issuing.path)
        full = os.statvfs_result((*real[:4], 10, *real[5:]))
        monkeypatch.setattr("store.response_import.os.statvfs", lambda _: full)
        with pytest.raises(StorageFullError, match="no room"):
            imported(status, stream)

    def test_an_export_of_nothing(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        with pytest.raises(TableMissingError):
            exported(home)
        ResponseTableWriter(home.responses).close()
        with pytest.raises(UnavailableError, match="not filled"):
            exported(home)

    @pytest.mark.parametrize("name", ["crl/link.crl", "crl/folder.crl", "crl/pipe.crl"])
    def test_an_export_of_what_is_no_file(self, issuing: Home, name: str) -> None:
        path = issuing.public / name
        if "link" in name:
            path.symlink_to(issuing.path / "pkiserver.toml")
        elif "folder" in name:
            path.mkdir()
        else:
            os.mkfifo(path)
        with pytest.raises((ConflictError, OSError)):
            exported(issuing)


def stream_of(records: list[tuple[int, bytes, bytes]], header: StreamHeader | None = None) -> bytes:
    """A whole and undamaged stream of whatever records."""
    table = [record for record in records if record[0] == TABLE]
    names = {record[1] for record in records if record[0] == FILE}
    size = sum(len(value) for kind, _, value in records if kind == FILE)
    octets = sum(len(key) + len(value) for _, key, value in table)
    out = io.BytesIO()
    usual = StreamHeader(int(NOW.timestamp()), len(table), octets, len(names), size)
    writer = StreamWriter(out, header or usual)
    for record in records:
        writer.write(*record)
    writer.finish()
    return out.getvalue()


FORMAT = (TABLE, *FORMAT_RECORD)
PLACES = [
    b"../evil.crl", b"crl/../../keys/x.crl", b"/etc/x.crl", b"crl/.hidden.crl", b"crl/x.crl/y.crl", b"x.crl",
    b"crl/x.exe", b"crl/" + b"x" * 101 + b".crl", "crl/т.crl".encode(), b"crl/\xff.crl", b"crl/x.crl\n",
    b"keys/x.cer", b"crl/x\x00.crl",
]  # fmt: skip
HOSTILE: list[tuple[str, list[tuple[int, bytes, bytes]]]] = [
    ("no format", []),
    ("other format", [(TABLE, FORMAT_RECORD[0], b"\x00\x02")]),
    ("short entry", [(TABLE, key(1), b"x"), FORMAT]),
    ("entry without data", [(TABLE, key(1), ResponseEntry(1, 1, 2, b"", b"s").pack()), FORMAT]),
    ("entry that runs over", [(TABLE, key(1), entry(1).pack()[:14]), FORMAT]),
    ("key without serial", [(TABLE, key(1)[:2], entry(1).pack()), FORMAT]),
    ("authority out of range", [(TABLE, b"\xff\x00\x01", entry(1).pack()), FORMAT]),
    ("issuer without number", [FORMAT, (TABLE, b"\xff\xffissuer", b"\x00")]),
    ("issuer out of range", [FORMAT, (TABLE, b"\xff\xffissuer", b"\xff\x00")]),
    ("position", [FORMAT, (TABLE, b"\xff\xffp", b"\x00")]),
    ("responder without number", [FORMAT, (TABLE, b"\xff\xffr", b"\x00\x01x")]),
    ("responder without algorithm", [FORMAT, (TABLE, b"\xff\xffr\x00\x01", b"\x00\x00")]),
    ("unknown record", [FORMAT, (TABLE, b"\xff\xffz", b"")]),
    ("a time of its own", [(TABLE, b"\xff\xffe", bytes(8)), FORMAT]),
    *((f"file {place!r}", [FORMAT, (FILE, place, b"x")]) for place in PLACES),
]


class TestHostile:
    """`nothing changes`: the octets of table and files are those of before, and no generation is left."""

    @pytest.fixture
    def served(self, issuing: Home, status: Home) -> Home:
        imported(status, exported(issuing, NOW - timedelta(hours=1)))
        return status

    @pytest.mark.parametrize("records", [row[1] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
    def test_records_that_no_table_has(self, served: Home, records: list[tuple[int, bytes, bytes]]) -> None:
        before = content(served)
        with pytest.raises(DamagedExportError):
            imported(served, stream_of(records))
        assert content(served) == before

    def test_a_file_that_is_too_large(self, served: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transfer, "MAX_FILE_OCTETS", 3)
        before = content(served)
        pieces = [(FILE, b"crl/x.crl", b"ab"), (FILE, b"crl/x.crl", b"cd")]
        with pytest.raises(DamagedExportError, match="too large"):
            imported(served, stream_of([FORMAT, *pieces]))
        assert content(served) == before

    def test_a_stream_that_fails(self, served: Home, issuing: Home) -> None:
        class Failing(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                if self.tell() > 20_000:
                    raise OSError(5, "Input/output error")
                return super().read(size)

        before = content(served)
        with pytest.raises(OSError, match="Input"):
            import_responses(served, Failing(exported(issuing)), NOW, silent, allow_older=False)
        assert content(served) == before

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_damage_of_any_kind(self, served: Home, issuing: Home, data: st.DataObject) -> None:
        stream = exported(issuing)
        low = data.draw(st.integers(0, len(stream)) | st.integers(0, 200))
        high = data.draw(st.integers(low, min(low + 50, len(stream))) | st.just(len(stream)))
        damaged = stream[:low] + data.draw(st.binary(max_size=60)) + stream[high:]
        if data.draw(st.booleans()):
            damaged = damaged[:-32] + hashlib.sha256(damaged[:-32]).digest()
        if damaged == stream:
            return
        before = content(served)
        try:
            imported(served, damaged)
        except (StorageError, PKIServerError):
            assert content(served) == before
        else:  # well-formed after all: it can only have differed in what the entries and files hold
            imported(served, exported(issuing, NOW - timedelta(hours=1)), allow_older=True)


class TestKilled:
    @pytest.mark.parametrize("after", [0, 1, 2])
    def test_in_the_midst_of_an_import(self, issuing: Home, status: Home, after: int) -> None:
        """While records come, while files come, and when all but the last octets are there."""
        imported(status, exported(issuing, NOW - timedelta(hours=1)))
        with closing(ResponseTableWriter(issuing.responses)) as table:
            table.put([(key(0), entry(0, b"changed").pack())])
        (issuing.public / "crl" / "root.crl").write_bytes(b"next CRL" * 50_000)
        stream = exported(issuing)
        before = content(status)
        program = (
            "import sys\nfrom datetime import datetime\nfrom pathlib import Path\n"
            "from pkiserver.home import Home\nfrom pkiserver.progress import silent\n"
            "from pkiserver.status.transfer import import_responses\n"
            "import_responses(Home(Path(sys.argv[1])), sys.stdin.buffer, datetime.fromisoformat(sys.argv[2]),"
            " silent, allow_older=False)"
        )
        arguments = [sys.executable, "-c", program, str(status.path), NOW.isoformat()]
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(stream[: (50_000, len(stream) - 100_000, len(stream) - 1)[after]])
        process.stdin.flush()
        wanted: list[Callable[[], bool]] = [
            lambda: (status.responses / "2" / "data.mdb").exists(),
            lambda: (status.public / ".import" / "crl" / "root.crl").exists(),
            lambda: (status.public / ".import" / "crl" / "root.crl").exists(),
        ]
        while not wanted[after]():
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdin.close()
        left = ("public/.import/", "responses/2/")
        assert {name: held for name, held in content(status).items() if not name.startswith(left)} == before
        with closing(ResponseTableReader(status.responses)) as table:
            assert table.get(key(0)) == entry(0)
        imported(status, stream)  # and the next one is not hindered
        with closing(ResponseTableReader(status.responses)) as table:
            assert table.get(key(0)) == entry(0, b"changed")
        assert not (status.public / ".import").exists()
        assert len([path for path in status.responses.iterdir() if path.is_dir()]) == 1
