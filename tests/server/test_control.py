"""The control socket: who may speak on it, what it takes, and what becomes of clients that misbehave."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pkiserver import control_server
from pkiserver.bounds import MAX_LINE_BYTES
from pkiserver.control import CommandFailedError, call, local_actor
from pkiserver.control_server import MAX_CLIENTS, ControlServer
from pkiserver.errors import ConflictError, NotAuthorizedError
from pkiserver.home import Home
from pkiserver.progress import silent
from protocols.errors import MalformedError

Run = Callable[[str, dict[str, Any], str, Any], Any]


async def echo(command: str, arguments: dict[str, Any], actor: str, *_: Any) -> Any:
    return {"command": command, "arguments": arguments, "actor": actor}


@pytest.fixture
def bare(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make()
    return home


@asynccontextmanager
async def serving(home: Home, run: Run = echo) -> AsyncIterator[ControlServer]:
    server = ControlServer(home, run)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


def connect(home: Home) -> socket.socket:
    """A raw connection, also where the home's path is long."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(30)
    folder = os.open(home.run, os.O_RDONLY | os.O_DIRECTORY)
    try:
        client.connect(f"/proc/self/fd/{folder}/control.sock")
    finally:
        os.close(folder)
    return client


def exchange(home: Home, request: bytes, *, half_close: bool = False) -> list[Any]:
    """Send octets and return the lines of the answer."""
    with connect(home) as client:
        try:
            client.sendall(request)
            if half_close:
                client.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass  # the server has answered and gone
        received = b""
        while True:
            try:
                chunk = client.recv(1 << 16)
            except ConnectionResetError:
                break
            if not chunk:
                break
            received += chunk
    return [json.loads(line) for line in received.splitlines()]


async def exchanged(home: Home, request: bytes, *, half_close: bool = False) -> list[Any]:
    return await asyncio.to_thread(exchange, home, request, half_close=half_close)


def line(command: Any, arguments: Any) -> bytes:
    return json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"


async def test_a_command_and_its_actor(bare: Home) -> None:
    async with serving(bare):
        answer = await call(bare, "say", {"text": "Сайн уу"}, silent)
    actor = local_actor(os.geteuid())
    assert answer == ({"command": "say", "arguments": {"text": "Сайн уу"}, "actor": actor},)


async def test_without_a_server_there_is_none(bare: Home) -> None:
    assert await call(bare, "say", {}, silent) is None
    async with serving(bare):
        pass
    assert await call(bare, "say", {}, silent) is None


async def test_a_socket_that_a_killed_server_left(bare: Home) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(bare.run / "control.sock"))
    left.close()
    assert await call(bare, "say", {}, silent) is None
    async with serving(bare):
        assert await call(bare, "say", {}, silent) is not None


async def test_a_none_result_is_not_taken_for_no_server(bare: Home) -> None:
    async def nothing(*_: Any) -> None:
        return None

    async with serving(bare, nothing):
        assert await call(bare, "say", {}, silent) == (None,)


async def test_the_socket_is_the_owners_alone(bare: Home) -> None:
    async with serving(bare):
        path = bare.run / "control.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(bare.run.stat().st_mode) == 0o700
    assert not path.exists()


async def test_a_long_home(tmp_path: Path) -> None:
    """A socket address holds 108 octets (unix(7)); a path may be longer."""
    home = Home(tmp_path / ("a" * 120) / ("b" * 120))
    home.make()
    async with serving(home):
        assert await call(home, "say", {}, silent) is not None


class TestPeer:
    class Stranger:
        @staticmethod
        def unpack(_: bytes) -> tuple[int, int, int]:
            return 1, 54321, 54321

        size = 12

    async def test_a_stranger_is_refused(self, bare: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        ran: list[str] = []

        async def run(command: str, *_: Any) -> None:
            ran.append(command)

        async with serving(bare, run):
            monkeypatch.setattr(control_server, "_CREDENTIALS", self.Stranger)
            (answer,) = await exchanged(bare, line("say", {}))
        assert answer["error"]["kind"] == "not_authorized"
        assert "only the user that runs the server" in answer["error"]["message"]
        assert ran == []

    def test_root_and_the_servers_user_may(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Connection:
            def __init__(self, uid: int) -> None:
                self.uid = uid

            def getsockopt(self, *_: int) -> bytes:
                return control_server._CREDENTIALS.pack(1, self.uid, 1)

        monkeypatch.setattr(os, "geteuid", lambda: 54321)
        assert control_server._peer(Connection(0)) == local_actor(0)  # type: ignore[arg-type]
        assert control_server._peer(Connection(54321)) == "user:54321"  # type: ignore[arg-type]
        with pytest.raises(NotAuthorizedError):
            control_server._peer(Connection(54322))  # type: ignore[arg-type]


class TestRequests:
    @pytest.mark.parametrize(
        "request_",
        [
            b"\n",
            b"garbage\n",
            b"\xff\xfe\n",
            b"[]\n",
            b"1\n",
            b"null\n",
            b'"command"\n',
            b"{}\n",
            b'{"command": "say"}\n',
            b'{"arguments": {}}\n',
            line(1, {}),
            line("say", []),
            line("say", None),
            b"[" * 100_000 + b"\n",
            b'{"command": "say", "arguments": {}',
            b"",
        ],
        ids=lambda octets: repr(octets[:20]),
    )
    async def test_malformed(self, bare: Home, request_: bytes) -> None:
        async with serving(bare):
            (answer,) = await exchanged(bare, request_, half_close=True)
            assert answer["error"]["kind"] == "bad_request"
            assert await call(bare, "say", {}, silent) is not None

    async def test_oversized(self, bare: Home) -> None:
        async with serving(bare):
            answers = await exchanged(bare, line("say", {"text": "x" * (2 * MAX_LINE_BYTES)}))
            assert [answer["error"]["kind"] for answer in answers] in ([], ["bad_request"])
            assert await call(bare, "say", {}, silent) is not None

    async def test_large_but_allowed(self, bare: Home) -> None:
        text = "x" * (MAX_LINE_BYTES - 100)
        async with serving(bare):
            answer = await call(bare, "say", {"text": text}, silent)
        assert answer is not None
        assert answer[0]["arguments"]["text"] == text

    async def test_one_that_never_arrives(self, bare: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(control_server, "REQUEST_TIMEOUT_S", 0.1)
        async with serving(bare):
            (answer,) = await exchanged(bare, b'{"command": ')
        assert "error" in answer

    async def test_only_the_first_line_counts(self, bare: Home) -> None:
        async with serving(bare):
            (answer,) = await exchanged(bare, line("one", {}) + line("two", {}))
        assert answer["result"]["command"] == "one"


class TestAnswers:
    async def test_a_long_list(self, bare: Home) -> None:
        """As many certificates as a list may have, each with a long Cyrillic subject."""
        rows = [{"serial": f"{n:032x}", "subject": "CN=" + "Ө" * 500} for n in range(1000)]

        async def run(*_: Any) -> Any:
            return rows

        async with serving(bare, run):
            assert await call(bare, "certificate.list", {}, silent) == (rows,)

    async def test_progress(self, bare: Home) -> None:
        async def run(_command: str, _arguments: Any, _actor: str, progress: Any, _give_file: Any) -> str:
            progress("first")
            progress("second", 1, 2)
            return "done"

        told: list[tuple[Any, ...]] = []
        async with serving(bare, run):
            answer = await call(bare, "say", {}, lambda *told_: told.append(told_))
        assert answer == ("done",)
        assert told == [("first", 0, 0), ("second", 1, 2)]

    @pytest.mark.parametrize(
        ("error", "kind", "message"),
        [
            (ConflictError("it is so already"), "conflict", "it is so already"),
            (MalformedError("not a name"), "malformed", "not a name"),
            (RuntimeError("with a secret"), "internal", "internal error; see the log"),
            (RecursionError("with a secret"), "internal", "internal error; see the log"),
        ],
    )
    async def test_errors(self, bare: Home, error: Exception, kind: str, message: str) -> None:
        async def run(*_: Any) -> None:
            raise error

        async with serving(bare, run):
            (answer,) = await exchanged(bare, line("say", {}))
            with pytest.raises(CommandFailedError, match=message):
                await call(bare, "say", {}, silent)
        assert answer == {"error": {"kind": kind, "message": message}}

    async def test_a_server_that_ends_first(self, bare: Home) -> None:
        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _reader.readline()
            writer.close()

        server = await asyncio.start_unix_server(hang_up, bare.run / "control.sock")
        try:
            with pytest.raises(CommandFailedError, match="ended before it answered"):
                await call(bare, "say", {}, silent)
        finally:
            server.close()


class TestClients:
    async def test_many_at_once_and_one_too_many(self, bare: Home) -> None:
        inside, go_on = 0, asyncio.Event()

        async def run(command: str, *_: Any) -> str:
            nonlocal inside
            inside += 1
            await go_on.wait()
            return command

        async with serving(bare, run):
            calls = [asyncio.create_task(call(bare, f"say-{n}", {}, silent)) for n in range(MAX_CLIENTS)]
            async with asyncio.timeout(30):
                while inside < MAX_CLIENTS:  # noqa: ASYNC110 - a state of the server
                    await asyncio.sleep(0.01)
            with pytest.raises(CommandFailedError, match="too many commands"):
                await call(bare, "one too many", {}, silent)
            go_on.set()
            assert await asyncio.gather(*calls) == [(f"say-{n}",) for n in range(MAX_CLIENTS)]
            assert await call(bare, "again", {}, silent) == ("again",)

    async def test_one_that_leaves_does_not_stop_its_command(self, bare: Home) -> None:
        begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def run(command: str, _arguments: Any, _actor: str, progress: Any, _give_file: Any) -> str:
            begun.set()
            await go_on.wait()
            for _ in range(20):
                progress("to nobody")
                await asyncio.sleep(0)
            ended.set()
            return command

        async with serving(bare, run):
            client = await asyncio.to_thread(connect, bare)
            client.sendall(line("say", {}))
            await begun.wait()
            client.close()
            go_on.set()
            await asyncio.wait_for(ended.wait(), 30)
            assert await call(bare, "again", {}, silent) == ("again",)

    async def test_a_reset_is_no_failed_command(self, bare: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        logged: list[str] = []
        log = control_server._log
        monkeypatch.setattr(log, "error", lambda event, **_: logged.append(event), raising=False)
        reset = asyncio.Event()

        async def failing(_: asyncio.StreamReader) -> Any:
            reset.set()
            raise ConnectionResetError(104, "Connection reset by peer")

        monkeypatch.setattr(control_server, "_request", failing)
        async with serving(bare):
            await exchanged(bare, b"")
            await asyncio.wait_for(reset.wait(), 30)
        assert logged == []

    async def test_closing_lets_a_command_end(self, bare: Home) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def run(command: str, *_: Any) -> str:
            begun.set()
            await go_on.wait()
            return command

        server = ControlServer(bare, run)
        await server.start()
        answer = asyncio.create_task(call(bare, "say", {}, silent))
        await begun.wait()
        closing = asyncio.create_task(server.close())
        await asyncio.sleep(0.05)
        assert await call(bare, "too late", {}, silent) is None
        assert not closing.done()
        go_on.set()
        assert await answer == ("say",)
        await closing
