"""Generations of the response table: swapped in at once, kept while they are read, then removed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from store.errors import StorageError, TableLockedError, TableMissingError
from store.generations import Generations, current_number, lease_current
from store.response_entries import ResponderParts, ResponseEntry, response_key
from store.response_writer import ResponseTableWriter
from store.responses import ResponseTableReader

OLD = ResponseEntry(7, 1_790_000_000, 1_790_086_400, b"old", b"signature")
NEW = ResponseEntry(7, 1_790_000_001, 1_790_086_401, b"new", b"signature")
KEY, OTHER, STRAY = (response_key(1, bytes((number,))) for number in (1, 2, 3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "responses"


@pytest.fixture
def table(folder: Path) -> Iterator[ResponseTableWriter]:
    writer = ResponseTableWriter(folder)
    writer.put_issuer(b"issuer", 1)
    writer.put_responder(ResponderParts(7, b"algorithm", b"certificates"))
    writer.put([(KEY, OLD), (STRAY, OLD)], position=5)
    yield writer
    writer.close()


def numbers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


class Reading:
    """A reader in a process of its own: LMDB forbids a second opening in this one."""

    def __init__(self, folder: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from store.responses import *\n"
            "reader = ResponseTableReader(Path(sys.argv[1])); print('open', flush=True)\n"
            "for line in sys.stdin: print(eval(line), flush=True)"
        )
        arguments = [sys.executable, "-c", program, str(folder)]
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._said() == "open"

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def says(self, expression: str) -> str:
        assert self._process.stdin is not None
        print(expression, file=self._process.stdin, flush=True)
        return self._said()

    def data(self, key: bytes) -> str:
        return self.says(f"(reader.get({key!r}) or [b''] * 5)[3]")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


class TestTable:
    def test_what_is_built_is_served_from_the_swap_on(self, table: ResponseTableWriter, folder: Path) -> None:
        with closing(Reading(folder)) as reader:
            table.build()
            table.put([(KEY, NEW)])
            assert reader.says("reader.follow()") == "False"
            assert reader.data(KEY) == "b'new'"  # what is put while building is served at once, too
            assert reader.data(STRAY) == "b'old'"
            table.swap(position=9)
            assert reader.data(STRAY) == "b'old'"  # of the generation that it still reads
            revision = int(reader.says("reader.revision()"))
            assert reader.says("reader.follow()") == "True"
            assert reader.data(KEY) == "b'new'"
            assert reader.data(STRAY) == "b''"
            assert int(reader.says("reader.revision()")) > revision
            assert reader.says("reader.issuers(), reader.position()") == "({b'issuer': 1}, 9)"
            assert reader.says("reader.responders()[7].certificates") == "b'certificates'"
            assert reader.says("reader.follow()") == "False"
        assert (table.get(KEY), table.get(STRAY), table.position()) == (NEW, None, 9)
        table.put([(STRAY, NEW)])
        assert table.get(STRAY) == NEW

    def test_issuers_and_responders_put_meanwhile_are_in_both(self, table: ResponseTableWriter) -> None:
        table.build()
        table.put_issuer(b"another", 2)
        assert table.issuers() == {b"issuer": 1, b"another": 2}
        table.swap(position=1)
        assert table.issuers() == {b"issuer": 1, b"another": 2}
        assert table.responders().keys() == {7}

    def test_a_generation_is_kept_while_it_is_read_and_no_longer(
        self, table: ResponseTableWriter, folder: Path
    ) -> None:
        with closing(Reading(folder)) as reader:
            for position in (6, 7):
                table.build()
                table.put([(KEY, NEW)])
                table.swap(position=position)
            assert table.sweep() is False
            assert numbers(folder) == {"1", "3"}  # nobody reads the second
            reader.says("reader.follow()")
            assert table.sweep() is True
            assert numbers(folder) == {"3"}
            table.build()
            table.swap(position=8)
        assert table.sweep() is True  # the reader was killed
        assert numbers(folder) == {"4"}

    def test_what_is_abandoned_changes_nothing(self, table: ResponseTableWriter, folder: Path) -> None:
        table.build()
        table.put([(OTHER, NEW)])
        table.abandon()
        assert numbers(folder) == {"1"}
        assert (table.get(KEY), table.get(OTHER), table.position()) == (OLD, NEW, 5)
        with pytest.raises(RuntimeError, match="built"):
            table.swap(position=1)
        table.build()
        table.build()
        table.swap(position=6)
        assert table.count() == 0

    def test_a_kill_while_building_leaves_what_was_served(self, folder: Path) -> None:
        program = (
            "import os, signal, sys\nfrom pathlib import Path\n"
            "from store.response_entries import ResponseEntry\n"
            "from store.response_writer import ResponseTableWriter\n"
            "entry = ResponseEntry(7, 1, 2, b'x', b'y')\n"
            "table = ResponseTableWriter(Path(sys.argv[1]))\n"
            "table.put([(b'\\0\\1\\1', entry)], position=5)\n"
            "table.build()\n"
            "for number in range(2, 100): table.put([(bytes((0, 1, number)), entry)])\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        killed = subprocess.run([sys.executable, "-c", program, str(folder)], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert numbers(folder) == {"1", "2"}
        with closing(ResponseTableReader(folder)) as reader:
            assert (reader.generation, reader.position(), reader.count()) == (1, 5, 99)
        with closing(ResponseTableWriter(folder)) as table:
            assert table.count() == 99
            assert numbers(folder) == {"1"}

    def test_a_table_from_before_generations_is_taken_over(self, folder: Path) -> None:
        with closing(ResponseTableWriter(folder)) as table:
            table.put([(KEY, OLD)], position=5)
        for name in ("data.mdb", "lock.mdb"):
            (folder / "1" / name).rename(folder / name)
        (folder / "current").unlink()
        (folder / "1").rmdir()
        with closing(ResponseTableWriter(folder)) as again:
            assert (again.get(KEY), again.position()) == (OLD, 5)
            assert numbers(folder) == {"1"}

    def test_the_ends_of_responses_are_found_part_by_part(self, table: ResponseTableWriter) -> None:
        table.put([(OTHER, ResponseEntry(7, 1, 1_700_000_000, b"x", b"y"))])
        whole = table.next_updates(b"", 10)
        assert whole == (1_700_000_000, 1_790_086_400, 3, None)
        first = table.next_updates(b"", 1)
        assert first == (1_790_086_400, 1_790_086_400, 1, KEY)
        second = table.next_updates(KEY, 2)
        assert (second.oldest, second.seen, second.last) == (1_700_000_000, 2, None)
        assert table.next_updates(STRAY, 2).seen == 0


class TestFolder:
    def test_nothing_is_current_before_the_first_swap(self, folder: Path) -> None:
        with closing(Generations(folder)) as generations:
            assert generations.current() is None
            assert generations.begin() == folder / "1"
            with pytest.raises(TableMissingError, match="no response table"):
                lease_current(folder)
            assert generations.swap() == 1
            assert generations.current() == 1
            with pytest.raises(RuntimeError, match="begun"):
                generations.swap()

    def test_one_process_holds_it(self, folder: Path) -> None:
        with closing(Generations(folder)), pytest.raises(TableLockedError, match="another process"):
            Generations(folder)
        Generations(folder).close()

    def test_numbers_go_up(self, folder: Path) -> None:
        with closing(Generations(folder)) as generations:
            seen = []
            for _ in range(3):
                generations.begin()
                seen.append(generations.swap())
                generations.begin()
                generations.abandon()
            assert seen == sorted(set(seen))

    @pytest.mark.parametrize("text", [b"", b"0", b"-1", b"1/../2", b"x", b"99999999999", b"1\n2", b"\xff"])
    def test_a_damaged_pointer_is_told(self, folder: Path, text: bytes) -> None:
        Generations(folder).close()
        (folder / "current").write_bytes(text)
        with pytest.raises(StorageError, match="damaged"):
            current_number(folder)
        with pytest.raises(StorageError, match="damaged"):
            Generations(folder)
        (folder / "current").unlink()
        Generations(folder).close()  # and the lock was given back

    def test_a_pointer_to_nothing_is_told(self, folder: Path) -> None:
        Generations(folder).close()
        (folder / "current").write_text("3")
        with pytest.raises(TableMissingError, match="generation 3"):
            lease_current(folder)

    def test_a_lease_is_taken_again_where_the_generation_was_swapped(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the reading of the pointer and the lock the first was swapped out, and removed."""
        generations = Generations(folder)
        generations.begin()
        generations.swap()
        opened = os.open

        def slow(path: object, flags: int, mode: int = 0o777) -> int:
            if path == folder / "1":
                monkeypatch.undo()
                generations.begin()
                generations.swap()
                assert not (folder / "1").exists()
            return opened(path, flags, mode)  # type: ignore[arg-type]

        monkeypatch.setattr("store.generations.os.open", slow)
        lease = lease_current(folder)
        assert lease.number == 2
        os.close(lease.descriptor)
        generations.close()
