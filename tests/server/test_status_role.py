"""`serve --role`: real processes on homes with and without keys and database; exports taken up under load."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pkiserver.clock import Clock
from pkiserver.core import open_core
from pkiserver.home import Home
from pkiserver.status.presigner import Presigner
from store.response_writer import ResponseTableWriter

PATIENT_S = 60.0  # what a test waits for what must come; the machine may be busy
CONFIGURATION = '[listen]\nhttp = ["127.0.0.1:0"]\nhttps = ["127.0.0.1:0"]\nmetrics = ["127.0.0.1:0"]\n'
# What signs, keeps rows or holds keys; none of it in the status role.
FORBIDDEN = (
    "cryptography",
    "sqlite3",
    "pkcs11",
    "asn1crypto",
    "pkiserver.core",
    "pkiserver.signer.client",
    "pkiserver.signer.software",
    "pkiserver.ca",
    "store.database",
)
PROGRAM = "from pkiserver.cli import main; main(prog_name='pkiserver')"


def command(home: Home, *words: str) -> list[str]:
    return [sys.executable, "-P", "-c", PROGRAM, "--home", str(home.path), *words]


def run(home: Home, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(home, *words), input=stdin, capture_output=True, timeout=PATIENT_S, check=False
    )


def ok(home: Home, *words: str, stdin: bytes = b"") -> bytes:
    done = run(home, *words, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Server:
    """A server process of some role; `doors` are its addresses."""

    def __init__(self, home: Home, *words: str, endpoints: Path) -> None:
        endpoints.unlink(missing_ok=True)
        self.log = home.path.parent / f"{home.path.name}-{'-'.join(words)}.log".replace("/", "_")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command(home, "serve", *words), stderr=log)
        self._endpoints = endpoints

    async def wait(self) -> None:
        async with asyncio.timeout(PATIENT_S):
            while not self._endpoints.exists():
                assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.05)
        self.doors: dict[str, list[tuple[str, int]]] = json.loads(self._endpoints.read_text())

    def url(self, door: str, path: str) -> str:
        host, port = self.doors[door][0]
        return f"http://{host}:{port}{path}"

    async def get(self, door: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        return await asyncio.to_thread(fetch, self.url(door, path), body)

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, PATIENT_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def fetch(url: str, body: bytes | None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/ocsp-request"} if body else {})
    try:
        with urllib.request.urlopen(request, timeout=PATIENT_S) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    with ExitStack() as stack:

        async def starter(home: Home, role: str, *words: str) -> Server:
            endpoints = home.status_endpoints if role == "status" else home.endpoints
            server = Server(home, "--role", role, *words, endpoints=endpoints)
            stack.callback(server.kill)
            await server.wait()
            return server

        yield starter


@pytest.fixture
def issuing(home: Home) -> Home:
    """A home with its whole hierarchy, listening where there is room."""
    home.configuration.write_text(CONFIGURATION)
    return home


@pytest.fixture
async def presigned(issuing: Home) -> Home:
    """The same, its table filled, as a server leaves it."""
    async with open_core(issuing, Clock()) as core:
        table = ResponseTableWriter(issuing.responses)
        presigner = Presigner(
            storage=core.storage,
            signer=core.signer,
            clock=core.clock,
            authorities=core.authorities,
            table=table,
            policies=core.settings.status_policies,
        )
        await presigner.prepare()
        await presigner.work()
        table.close()
    return issuing


@pytest.fixture
def status(tmp_path: Path) -> Home:
    """The home of a status machine: a folder with a configuration."""
    home = Home(tmp_path / "status")
    home.path.mkdir(mode=0o700)
    home.configuration.write_text(CONFIGURATION)
    return home


def request_for(home: Home, authority: str = "citizen", issuer: str = "root") -> bytes:
    certificates = [
        x509.load_der_x509_certificate((home.public / "ca" / f"{name}.cer").read_bytes())
        for name in (authority, issuer)
    ]
    builder = ocsp.OCSPRequestBuilder().add_certificate(*certificates, hashes.SHA256())
    return builder.build().public_bytes(Encoding.DER)


def status_of(answer: tuple[int, bytes]) -> str:
    code, body = answer
    assert code == 200, body
    response = ocsp.load_der_ocsp_response(body)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return response.response_status.name
    return next(iter(response.responses)).certificate_status.name


def files_below(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.05)


class TestStatusRole:
    async def test_a_home_copied_without_keys_and_database(
        self, presigned: Home, tmp_path: Path, start: Callable[..., Any]
    ) -> None:
        copy = Home(tmp_path / "copy")
        without = shutil.ignore_patterns("keys", "tls", "administrator", "run", "profiles", "pkiserver.db*")
        shutil.copytree(presigned.path, copy.path, ignore=without)
        before = files_below(copy.path)
        server = await start(copy, "status")
        assert status_of(await server.get("http", "/ocsp", request_for(copy))) == "GOOD"
        assert await server.get("http", "/crl/root.crl") == (
            200,
            (copy.public / "crl" / "root.crl").read_bytes(),
        )
        assert (await server.get("http", "/ca/root.cer"))[0] == 200
        assert (await server.get("http", "/ready"))[0] == 200
        code, body = await server.get("metrics", "/ready")
        assert (code, json.loads(body)["ready"]) == (200, True)
        assert [cause["name"] for cause in json.loads(body)["causes"]] == ["responses", "crl"]
        assert (await server.get("metrics", "/health"))[0] == 200
        await asyncio.sleep(1.1)  # workers report once a second
        metrics = (await server.get("metrics", "/metrics"))[1].decode()
        for line in (
            'pkiserver_status_answers_total{outcome="successful"} 1.0',
            'pkiserver_ready{cause="responses"} 1.0',
            'pkiserver_crl_number{crl="root"} 1.0',
            "pkiserver_ocsp_oldest_next_update_timestamp_seconds ",
            "pkiserver_status_answer_duration_seconds_count ",
        ):
            assert line in metrics
        assert server.doors["https"] == []
        assert await server.stop() == 0
        after = files_below(copy.path)
        changed = {file.relative_to(copy.path) for file in after if after[file] != before.get(file)}
        assert {file.name for file in changed} <= {"lock.mdb", "status.lock"}
        assert before.keys() <= after.keys()

    def test_what_it_does_not_load(self, presigned: Home) -> None:
        """Asked of the process that served; of the workers tests/web/test_status_workers.py asks."""
        program = (
            "import os, signal, sys, threading, time\n"
            "from pathlib import Path\n"
            "from pkiserver.cli import main\n"
            "home = Path(sys.argv[1])\n"
            "def stop():\n"
            "    while not (home / 'run' / 'status-endpoints.json').exists(): time.sleep(0.05)\n"
            "    os.kill(os.getpid(), signal.SIGTERM)\n"
            "threading.Thread(target=stop, daemon=True).start()\n"
            "main(['--home', str(home), 'serve', '--role', 'status'], standalone_mode=False)\n"
            f"print([name for name in {FORBIDDEN} if name in sys.modules])\n"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, str(presigned.path)],
            capture_output=True,
            text=True,
            timeout=PATIENT_S,
            check=False,
        )
        assert done.stdout == "[]\n", done.stderr

    async def test_both_roles_on_one_home(self, issuing: Home, start: Callable[..., Any]) -> None:
        issuer = await start(issuing, "issuing")
        assert issuer.doors["http"] == []
        server = await start(issuing, "status")
        request = request_for(issuing, "citizen")
        assert status_of(await server.get("http", "/ocsp", request)) == "GOOD"
        rows = json.loads(ok(issuing, "certificate", "list", "--json"))
        serial = next(row["serial"] for row in rows if row["profile"] == "administrator")
        ok(issuing, "certificate", "suspend", serial)
        administrator = x509.load_pem_x509_certificate(
            (issuing.administrator / "administrator.pem").read_bytes()
        )
        ca = x509.load_der_x509_certificate((issuing.public / "ca" / "infrastructure.cer").read_bytes())
        builder = ocsp.OCSPRequestBuilder().add_certificate(administrator, ca, hashes.SHA256())
        body = builder.build().public_bytes(Encoding.DER)
        await until(lambda: status_of(fetch(server.url("http", "/ocsp"), body)) == "REVOKED")
        for role, said in (("status", "another pkiserver"), ("issuing", "another pkiserver")):
            done = await asyncio.to_thread(run, issuing, "serve", "--role", role)
            assert done.returncode == 1
            assert said in done.stderr.decode()
        findings = json.loads((await asyncio.to_thread(run, issuing, "doctor", "--json")).stdout)
        assert {"server: signer", "server: responses"} <= {finding["check"] for finding in findings}
        assert await issuer.stop() == 0
        assert status_of(await server.get("http", "/ocsp", body)) == "REVOKED"
        assert await server.stop() == 0

    async def test_draining(self, presigned: Home, start: Callable[..., Any]) -> None:
        """A request under way when SIGTERM comes is answered."""
        server = await start(presigned, "status")
        reader, writer = await asyncio.open_connection(*server.doors["http"][0])
        writer.write(b"GET /crl/root.crl HTTP/1.1\r\nHost: h\r\n")
        await asyncio.sleep(0.3)
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0.2)
        writer.write(b"\r\n")
        async with asyncio.timeout(PATIENT_S):
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
            assert await stopping == 0
        writer.close()
        assert not presigned.status_endpoints.exists()

    async def test_without_fresh_responses_it_is_not_ready(
        self, presigned: Home, status: Home, start: Callable[..., Any]
    ) -> None:
        """Load balancers turn away; CRLs and the reason are still given. A good export mends it."""
        good = ok(presigned, "responses", "export", "-")
        with age(presigned):
            ok(status, "responses", "import", "-", stdin=ok(presigned, "responses", "export", "-"))
        server = await start(status, "status")
        request = request_for(status)
        assert status_of(await server.get("http", "/ocsp", request)) == "TRY_LATER"
        assert (await server.get("http", "/ready"))[0] == 503
        assert (await server.get("http", "/crl/root.crl"))[0] == 200
        code, body = await server.get("metrics", "/ready")
        assert code == 503
        assert "past its nextUpdate" in json.loads(body)["causes"][0]["detail"]
        findings = json.loads((await asyncio.to_thread(run, status, "doctor", "--json")).stdout)
        assert [finding["check"] for finding in findings if not finding["ok"]] == ["server: responses"]
        await asyncio.to_thread(ok, status, "responses", "import", "--allow-older", "-", stdin=good)
        await until(lambda: fetch(server.url("http", "/ready"), None)[0] == 200)
        assert status_of(await server.get("http", "/ocsp", request)) == "GOOD"
        assert (await server.get("metrics", "/ready"))[0] == 200

    def test_without_a_table_it_says_what_to_do(self, status: Home) -> None:
        done = run(status, "serve", "--role", "status")
        assert done.returncode == 1
        assert b" responses import`" in done.stderr
        assert done.stderr.count(b"\n") == 1

    def test_a_status_machine_makes_no_database(self, status: Home) -> None:
        for words in (("serve",), ("serve", "--role", "issuing"), ("certificate", "list")):
            done = run(status, *words)
            assert done.returncode == 1
            assert b"--role status" in done.stderr
        assert not status.database.exists()

    @pytest.mark.parametrize(
        "words",
        [
            ("--role", "status", "--https", "127.0.0.1:0"),
            ("--role", "issuing", "--http", "127.0.0.1:0"),
            ("--role", "status", "--welcome"),
            ("--role", "other"),
        ],
    )
    def test_words_that_do_not_fit(self, status: Home, words: tuple[str, ...]) -> None:
        assert run(status, "serve", *words).returncode == 2


@contextmanager
def age(home: Home) -> Iterator[None]:
    """Let every response of the table be of the past for a while."""
    table = ResponseTableWriter(home.responses)
    keys = [key for authority in range(8) for key in table.keys(authority)]
    entries = [(key, entry) for key in keys if (entry := table.get(key)) is not None]
    past = int(datetime.now(UTC).timestamp()) - 5
    table.put((key, entry._replace(next_update=past)) for key, entry in entries)
    table.close()
    yield
    table = ResponseTableWriter(home.responses)
    table.put(entries)
    table.close()


@asynccontextmanager
async def load(server: Server, request: bytes) -> AsyncIterator[list[bytes]]:
    """Ask without a pause on some kept connections; every answer is in the list."""
    head = b"POST /ocsp HTTP/1.1\r\nHost: h\r\nContent-Type: application/ocsp-request\r\n"
    wire = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(request), request)
    answers: list[bytes] = []
    done = asyncio.Event()

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(*server.doors["http"][0])
        while not done.is_set():
            writer.write(wire)
            header = await reader.readuntil(b"\r\n\r\n")
            assert header.startswith(b"HTTP/1.1 200 OK\r\n"), header
            length = int(header.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            answers.append(await reader.readexactly(length))
            await asyncio.sleep(0)
        writer.close()

    tasks = [asyncio.create_task(ask()) for _ in range(6)]
    try:
        yield answers
    finally:
        done.set()
        async with asyncio.timeout(PATIENT_S):
            await asyncio.gather(*tasks)


class TestSwap:
    async def test_under_load_no_request_fails(
        self, presigned: Home, status: Home, start: Callable[..., Any]
    ) -> None:
        """Tables with and without an answer take turns; each is heard, and nothing else is."""
        full = ok(presigned, "responses", "export", "-")
        request = request_for(presigned)
        table = ResponseTableWriter(presigned.responses)
        kept = {key: table.get(key) for authority in range(8) for key in table.keys(authority)}
        table.delete(kept)
        table.close()
        empty = ok(presigned, "responses", "export", "-")
        ok(status, "responses", "import", "-", stdin=full)
        status.configuration.write_text(CONFIGURATION + "[ocsp]\nworkers = 2\n")
        server = await start(status, "status")
        async with load(server, request) as answers:
            for stream, wanted in ((empty, "UNAUTHORIZED"), (full, "GOOD")) * 3:
                words = ("responses", "import", "--allow-older", "-")
                await asyncio.to_thread(ok, status, *words, stdin=stream)
                answers.clear()
                await until(lambda: len(answers) > 200)
                assert {status_of((200, answer)) for answer in answers[-20:]} == {wanted}
        folders = [path.name for path in status.responses.iterdir() if path.is_dir()]
        assert folders == ["7"]  # the former ones are gone while the server runs

    async def test_a_bad_file_changes_nothing_for_who_asks(
        self, presigned: Home, status: Home, tmp_path: Path, start: Callable[..., Any]
    ) -> None:
        good = tmp_path / "export.bin"
        ok(presigned, "responses", "export", str(good))
        assert (good.stat().st_mode & 0o777) == 0o600
        ok(status, "responses", "import", str(good))
        server = await start(status, "status")
        before = files_below(status.path)
        cut = tmp_path / "cut.bin"
        cut.write_bytes(good.read_bytes()[:-40])
        async with load(server, request_for(presigned)) as answers:
            done = await asyncio.to_thread(run, status, "responses", "import", str(cut))
            assert done.returncode == 1
            assert b"cut short" in done.stderr
            assert done.stderr.count(b"\n") == 1
            answers.clear()
            await until(lambda: len(answers) > 50)
        assert {status_of((200, answer)) for answer in answers} == {"GOOD"}
        after = files_below(status.path)
        assert {path for path in before | after if before.get(path) != after.get(path)} <= {
            path for path in after if path.name == "lock.mdb"
        }

    async def test_a_killed_import_changes_nothing_for_who_asks(
        self, presigned: Home, status: Home, start: Callable[..., Any]
    ) -> None:
        stream = ok(presigned, "responses", "export", "-")
        ok(status, "responses", "import", "-", stdin=stream)
        server = await start(status, "status")
        async with load(server, request_for(presigned)) as answers:
            words = command(status, "responses", "import", "-")
            importing = await asyncio.create_subprocess_exec(*words, stdin=subprocess.PIPE)
            assert importing.stdin is not None
            importing.stdin.write(stream[:-1])
            await until((status.responses / "2").exists)
            importing.kill()
            await importing.wait()
            answers.clear()
            await until(lambda: len(answers) > 50)
        assert {status_of((200, answer)) for answer in answers} == {"GOOD"}
        await asyncio.to_thread(ok, status, "responses", "import", "-", stdin=stream)
        assert [path.name for path in status.responses.iterdir() if path.is_dir()] == ["2"]


class TestIssuingRole:
    async def test_a_kill_in_the_midst_of_a_rebuild(self, presigned: Home, start: Callable[..., Any]) -> None:
        """A status server beside it answers before, during and after; the next start finishes the work."""
        server = await start(presigned, "status")
        async with load(server, request_for(presigned)) as answers:
            for _ in range(3):
                table = ResponseTableWriter(presigned.responses)
                table.put([], position=10**6)  # as after a backup was restored: the table must be made anew
                table.close()
                issuer = Server(presigned, "--role", "issuing", endpoints=presigned.endpoints)
                try:
                    folders = set(os.listdir(presigned.responses))
                    await until(lambda seen=folders: set(os.listdir(presigned.responses)) - seen)
                finally:
                    issuer.kill()
            issuer = await start(presigned, "issuing")
            await until(lambda: len([path for path in presigned.responses.iterdir() if path.is_dir()]) == 1)
            assert await issuer.stop() == 0
        assert {status_of((200, answer)) for answer in answers} == {"GOOD"}
