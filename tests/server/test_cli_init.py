"""`init` that is refused, cut short and run again; what the other commands say of such a home."""

import asyncio
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

import pkiserver.cli.init as cli_init
from pkiserver.beginnings import recorded_authorities, unfinished
from pkiserver.cli import main
from pkiserver.control import CommandFailedError, call
from pkiserver.home import Home, HomeLock
from pkiserver.printing import error_text

URL = "http://pki.example.mn"
PROGRAM = (sys.executable, "-m", "pkiserver")


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Commands configure the logs of their process, which is here that of the tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def new(tmp_path: Path) -> Home:
    return Home(tmp_path / "new")


def run(home: Home, *words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, ["--home", str(home.path), *words], input=typed)


def url_of(home: Home) -> str:
    url: str = tomllib.loads(home.configuration.read_text())["public_url"]
    return url


class TestPublicURL:
    @pytest.mark.parametrize("url", ["https://pki.example.mn", "nonsense", 'http://x"\ny', ""])
    def test_a_wrong_one_makes_nothing(self, new: Home, url: str) -> None:
        result = run(new, "init", "--public-url", url)
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: --public-url: ")
        assert "pkiserver.toml" not in result.stderr
        assert not new.path.exists()

    def test_the_right_one_afterwards(self, new: Home) -> None:
        run(new, "init", "--public-url", "https://pki.example.mn")
        assert run(new, "init", "--public-url", f"{URL}/").exit_code == 0
        assert url_of(new) == URL
        assert run(new, "init", "--public-url", URL).exit_code == 0
        assert run(new, "init", "--public-url", "http://other.example.mn").exit_code == 1

    @pytest.mark.parametrize(
        "begun", ["", '# public_url\npublic_url = "https://wrong"\n[log]\nlevel = "error"\n', "[log]\n"]
    )
    def test_replaces_one_that_no_authority_bears(self, new: Home, begun: str) -> None:
        new.make()
        new.configuration.write_text(begun)
        assert run(new, "init", "--public-url", URL).exit_code == 0
        wanted = tomllib.loads(begun) | {"public_url": URL}
        assert tomllib.loads(new.configuration.read_text()) == wanted

    def test_is_asked_for_until_it_is_one(self, new: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cli_init, "is_terminal", lambda: True)
        result = run(new, "init", typed=f"https://pki.example.mn\n{URL}\n")
        assert result.exit_code == 0
        assert "plain HTTP" in result.output
        assert url_of(new) == URL

    def test_is_not_asked_for_without_a_terminal(self, new: Home) -> None:
        result = run(new, "init")
        assert result.exit_code == 2
        assert "give --public-url URL or --defaults" in result.stderr
        assert not new.path.exists()


class TestNextStep:
    def test_serve(self, home: Home) -> None:
        assert run(home, "init", "--defaults").stdout.endswith(f"Next: pkiserver --home {home.path} serve\n")
        assert run(home, "init", "--defaults", "--quiet").output == ""

    def test_below_an_offline_root(self, new: Home) -> None:
        result = run(new, "init", "--defaults", "--offline-root")
        assert f"Next: pkiserver --home {new.path} ca csr citizen" in result.stdout
        assert not unfinished(new)


class TestCutShort:
    @pytest.mark.parametrize("words", [("serve",), ("doctor",)])
    def test_is_said(self, home: Home, words: tuple[str, ...]) -> None:
        home.database.unlink()
        result = run(home, *words)
        assert result.exit_code == 1
        assert "this home was begun and not finished: run" in result.output
        assert f"`pkiserver --home {home.path} init`" in result.output

    def test_a_temporary_file_does_not_take_the_place_of_the_passphrase(self, new: Home) -> None:
        new.make()
        (new.keys / ".passphrase.1.new").touch()
        assert run(new, "init", "--defaults").exit_code == 0

    def test_is_finished_by_the_same_command(self, new: Home) -> None:
        command = [*PROGRAM, "--home", str(new.path), "init", "--defaults"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        with process.stderr as stderr:
            deadline = time.monotonic() + 60
            while not new.configuration.exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
            said = stderr.read()
        assert process.wait(60) == 130
        assert said == "Error: interrupted; run the same command again, it finishes\n"
        assert unfinished(new)
        assert run(new, "init", "--defaults").exit_code == 0
        assert not unfinished(new)
        assert len(recorded_authorities(new)) == 4


class TestRestored:
    def test_without_the_folder_of_the_lock(self, home: Home) -> None:
        shutil.rmtree(home.run)
        assert run(home, "ca", "list").exit_code == 0
        shutil.rmtree(home.run)
        with HomeLock(home):
            assert home.run.is_dir()


class TestPipes:
    @pytest.mark.parametrize("words", [("ca", "list"), ("ca", "export", "root", "--der"), ("doctor",)])
    def test_a_reader_that_goes_away(self, home: Home, words: tuple[str, ...]) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = subprocess.run(
                [*PROGRAM, "--home", str(home.path), *words],
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        finally:
            os.close(writing)
        assert done.stderr == ""


@pytest.mark.parametrize("answer", [b"", b'{"progress": ["x", 1, 2]}\n', b'{"result": '])
async def test_a_server_that_ends_in_the_middle_of_its_answer(new: Home, answer: bytes) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    new.make()
    descriptor = os.open(new.run, os.O_RDONLY)  # the path of the folder may be too long for a socket
    server = await asyncio.start_unix_server(serve, f"/proc/self/fd/{descriptor}/control.sock")
    os.close(descriptor)
    async with server:
        with pytest.raises(CommandFailedError, match="ended before it answered"):
            await call(new, "ca.list", {}, lambda *_: None)


class TestErrorText:
    def test_of_files(self, tmp_path: Path) -> None:
        error = PermissionError(13, "Permission denied", str(tmp_path / "lock"))
        text = error_text(error, None)
        assert text.startswith(f"{tmp_path / 'lock'}: Permission denied: give the command as ")
        assert "Errno" not in text
        assert error_text(OSError(28, "No space left on device"), None) == "No space left on device"

    def test_of_a_port_that_is_taken(self, home: Home) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            command = [*PROGRAM, "--home", str(home.path), "serve", "--https", address]
            command += ["--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert "another program has it" in last
        assert "--https" in last


def test_serving_says_when_it_is_ready_and_when_it_has_stopped(home: Home) -> None:
    async def serve() -> str:
        command = [*PROGRAM, "--home", str(home.path), "serve"]
        for door in ("http", "https", "metrics"):
            command += [f"--{door}", "127.0.0.1:0"]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        lines = []
        while line := await asyncio.wait_for(process.stderr.readline(), 60):
            lines.append(line.decode())
            if '"event": "ready"' in lines[-1]:
                process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        return "".join(lines)

    log = asyncio.run(serve())
    (ready,) = [line for line in log.splitlines() if '"event": "ready"' in line]
    assert '"http": [["127.0.0.1", ' in ready
    assert '"event": "stopped"' in log.splitlines()[-1]
