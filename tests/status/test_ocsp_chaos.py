"""kill -9 of status worker, signer and the whole issuing process, under load: what clients see.

A real server in its processes, with every kind of request. No answer may be wrong, and none missing but
those on connections of the process that was killed; a change that was acknowledged is never forgotten.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from status_plane import issuer_hashes, verify

import pkiserver
from pkiserver.clock import Clock
from pkiserver.control import call
from pkiserver.core import open_core
from pkiserver.home import Home
from pkiserver.progress import silent
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.ocsp import (
    CertID,
    OCSPRequest,
    OCSPResponse,
    Request,
    TBSRequest,
    whole,
)
from protocols.asn1.pkix import NULL_PARAMETERS, AlgorithmIdentifier, Extension
from store.records import CertificateRecord

if TYPE_CHECKING:
    from tests.conftest import Issue

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("ocsp-chaos")]

PATIENT_S = 60.0
CONNECTIONS = 12
NEVER_ISSUED = 0x7777
SERVE = "from pkiserver.cli import main; main()"
ANSWERED_MEANWHILE = 300  # requests between one event and the next


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


# ---- The server's processes


class ServerProcess:
    """`pkiserver serve` on a home, and the processes below it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self.address = ("", 0)

    async def start(self) -> None:
        self.home.endpoints.unlink(missing_ok=True)
        root = str(Path(pkiserver.__file__).parents[1])
        doors = [word for door in ("http", "https", "metrics") for word in (f"--{door}", "127.0.0.1:0")]
        with (self.home.path / "server.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                [sys.executable, "-c", SERVE, "--home", str(self.home.path), "serve", *doors],
                env={**os.environ, "PYTHONPATH": root},
                stdout=log,
                stderr=log,
            )
        await until(lambda: self.home.endpoints.exists() or self.ended)
        assert not self.ended, (self.home.path / "server.log").read_text()
        [host, port] = json.loads(self.home.endpoints.read_text())["http"][0]
        self.address = (host, port)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def children(self, module: str) -> list[int]:
        """The pids of the child processes that run a module."""
        try:
            listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            return []
        return [int(pid) for pid in listed if module.encode() in command_line(int(pid)).split(b"\0")]

    @property
    def workers(self) -> list[int]:
        return self.children("pkiserver.web.status_worker")

    @property
    def signers(self) -> list[int]:
        return self.children("pkiserver.signer.worker")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def ports_of(pid: int) -> set[int]:
    """The clients' ports of the connections that a process holds."""
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(os.readlink(descriptor))
        except OSError:
            continue
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[2].split(":")[1], 16) for row in rows if row[9] in inodes} - {0}


# ---- What is asked, and what may be said


@dataclass
class Truth:
    """The statuses that may be said of each serial now, and how to ask for them."""

    authorities: Any
    records: dict[str, CertificateRecord]
    may_say: dict[int, set[str]] = field(default_factory=dict)

    def cert_id(self, serial: int) -> CertID:
        certificate = self.authorities.get("infrastructure").certificate
        parts = issuer_hashes(certificate, hashes.SHA256())
        return CertID(AlgorithmIdentifier(oid.SHA256, NULL_PARAMETERS), *parts, serial)

    def request(self, serials: list[int], nonce: bytes) -> bytes:
        extensions = (Extension(oid.OCSP_NONCE, False, der.octet_string(nonce)),) if nonce else ()
        singles = tuple(Request(self.cert_id(serial)) for serial in serials)
        return OCSPRequest(TBSRequest(singles, extensions)).encode()

    def fault(self, serials: list[int], nonce: bytes, body: bytes) -> str | None:
        """Return what is wrong with an answer; None where it answers what was asked, truly and signed."""
        response = whole(body, OCSPResponse.parse)
        if response.response is None:
            return f"{response.response_status.name} about {serials}, nonce {nonce.hex()}"
        verify(self, ocsp.load_der_ocsp_response(body))
        data = response.response.response_data()
        said = {single.cert_id.serial_number: type(single.cert_status).__name__ for single in data.responses}
        if set(said) != set(serials):
            return f"asked about {serials}, answered about {sorted(said)}"
        if any(what not in self.may_say[serial] for serial, what in said.items()):
            return f"said {said}, while {self.may_say}"
        echoed = [one.value for one in data.response_extensions if one.oid == oid.OCSP_NONCE]
        if echoed != ([der.octet_string(nonce)] if nonce else []):
            return f"nonce {nonce.hex()} came back as {echoed}"
        return None


@dataclass
class Load:
    """Clients that ask without pause, each on a connection of its own, made anew when it breaks."""

    address: tuple[str, int]
    truth: Truth
    answered: int = 0
    broken: list[int] = field(default_factory=list)  # the ports of connections that ended
    faults: list[str] = field(default_factory=list)
    paused: bool = False  # there is no server: connections are refused

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._client(Random(number))) for number in range(CONNECTIONS)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [one for one in results if not isinstance(one, asyncio.CancelledError)] == []

    async def answers(self, number: int = ANSWERED_MEANWHILE) -> None:
        """Wait for so many more answers."""
        wanted = self.answered + number
        await until(lambda: self.answered >= wanted)

    async def _client(self, random: Random) -> None:
        while True:
            if self.paused:
                await asyncio.sleep(0.02)
                continue
            try:
                reader, writer = await asyncio.open_connection(*self.address)
            except OSError as error:
                if not self.paused:
                    self.faults.append(f"no connection: {error}")
                await asyncio.sleep(0.02)
                continue
            try:
                await self._ask_for_ever(random, reader, writer)
            except (OSError, EOFError):
                self.broken.append(writer.get_extra_info("sockname")[1])
            finally:
                writer.transport.abort()

    async def _ask_for_ever(
        self, random: Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        serials = sorted(self.truth.may_say)
        while True:
            asked = random.sample(serials, random.choice((1, 1, 1, 3)))
            nonce = random.randbytes(16) if random.random() < 0.4 else b""
            request = self.truth.request(asked, nonce)
            head = "POST /ocsp HTTP/1.1\r\nHost: h\r\nContent-Type: application/ocsp-request\r\n"
            writer.write(f"{head}Content-Length: {len(request)}\r\n\r\n".encode() + request)
            async with asyncio.timeout(PATIENT_S):
                answer = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
                fields = dict(line.split(": ", 1) for line in answer.split("\r\n")[1:-2])
                body = await reader.readexactly(int(fields["Content-Length"]))
            status = answer.split("\r\n")[0]
            fault = status if " 200 " not in status else self.truth.fault(asked, nonce, body)
            # A worker whose parent is gone answers what it can without a signer, and ends.
            if fault is not None and not (self.paused and fault.startswith("TRY_LATER ")):
                self.faults.append(fault)
            self.answered += 1


# ---- The scene


@pytest.fixture(scope="module")
def prepared(
    initialised_home: Path, issue: "Issue", tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, CertificateRecord], Any]:
    """A home with certificates, two workers, and answers that need the signer."""
    home = Home(shutil.copytree(initialised_home, tmp_path_factory.mktemp("chaos") / "home"))
    text = home.configuration.read_text()
    for old, new in (
        ('\nnonce = "ignore"\n', '\nnonce = "sign"\n'),
        ("share the HTTP port.\nworkers = 1\n", "share the HTTP port.\nworkers = 2\n"),
        ('\nocsp_unknown = "preset"\n', '\nocsp_unknown = "unknown"\n'),
    ):
        assert old in text
        text = text.replace(old, new)
    home.configuration.write_text(text)

    async def make() -> tuple[dict[str, CertificateRecord], Any]:
        async with open_core(home, Clock()) as core:
            names = [f"{number}.example.mn" for number in range(6)]
            return {name: await issue(core, name) for name in names}, core.authorities

    records, authorities = asyncio.run(make())
    return home.path, records, authorities


@dataclass
class Scene:
    server: ServerProcess
    load: Load
    truth: Truth

    async def change(self, action: str, record: CertificateRecord) -> None:
        """Change a status as an operator does; until the answers show it, both are right."""
        becomes = {"suspend": "RevokedInfo", "restore": "Good", "revoke": "RevokedInfo"}[action]
        before = self.truth.may_say[record.serial]
        self.truth.may_say[record.serial] = before | {becomes}
        arguments = {"serial": f"{record.serial:x}", "ca": "infrastructure"}
        arguments |= {"reason": "superseded"} if action == "revoke" else {"by": "holder"}
        assert await call(self.server.home, f"certificate.{action}", arguments, silent) is not None

    async def settle(self, record: CertificateRecord, status: str) -> None:
        """Wait until both workers show a change, prebuilt; from then on nothing else may be said."""
        truth = Truth(self.truth.authorities, {}, {record.serial: {status}})
        request = truth.request([record.serial], b"")
        right = 0
        async with asyncio.timeout(PATIENT_S):
            while right < 20:  # each on a connection of its own: both workers are asked
                right = right + 1 if await self._says(truth, record.serial, request) else 0
        self.truth.may_say[record.serial] = {status}

    async def _says(self, truth: Truth, serial: int, request: bytes) -> bool:
        reader, writer = await asyncio.open_connection(*self.server.address)
        head = "POST /ocsp HTTP/1.0\r\nContent-Type: application/ocsp-request\r\n"
        writer.write(f"{head}Content-Length: {len(request)}\r\n\r\n".encode() + request)
        body = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
        return truth.fault([serial], b"", body) is None


@pytest.fixture
def home(prepared: tuple[Path, dict[str, CertificateRecord], Any], tmp_path: Path) -> Home:
    return Home(shutil.copytree(prepared[0], tmp_path / "home"))


@pytest.fixture
def server(home: Home) -> Iterator[ServerProcess]:
    server = ServerProcess(home)
    yield server
    server.stop()


@pytest.fixture
async def scene(
    server: ServerProcess, prepared: tuple[Path, dict[str, CertificateRecord], Any]
) -> AsyncIterator[Scene]:
    _, records, authorities = prepared
    await server.start()
    may_say = {record.serial: {"Good"} for record in records.values()} | {NEVER_ISSUED: {"Unknown"}}
    truth = Truth(authorities, records, may_say)
    load = Load(server.address, truth)
    async with load.running():
        await load.answers()
        yield Scene(server, load, truth)
    assert load.faults == []


async def kill_and_wait(pids: Callable[[], list[int]], victim: int) -> None:
    """Kill a process and wait until another has its place."""
    number = len(pids())
    os.kill(victim, signal.SIGKILL)
    await until(lambda: victim not in pids() and len(pids()) == number)


async def test_a_killed_worker(scene: Scene) -> None:
    """Only its own connections break; what was acknowledged meanwhile is shown by all."""
    records = list(scene.truth.records.values())
    for turn in range(3):
        victim = scene.server.workers[turn % 2]
        theirs, before = ports_of(victim), len(scene.load.broken)
        changed = asyncio.create_task(scene.change("suspend", records[turn]))
        await kill_and_wait(lambda: scene.server.workers, victim)
        await changed
        await scene.load.answers()
        assert set(scene.load.broken[before:]) <= theirs
        await scene.settle(records[turn], "RevokedInfo")
        await scene.load.answers()
    assert sorted(scene.load.faults) == []


async def test_a_killed_signer(scene: Scene) -> None:
    """Answers that it was to sign wait for the next one; no connection breaks."""
    records = list(scene.truth.records.values())
    for turn in range(3):
        [victim] = scene.server.signers
        changed = asyncio.create_task(scene.change("suspend", records[turn]))
        await kill_and_wait(lambda: scene.server.signers, victim)
        await changed
        await scene.load.answers()
        await scene.settle(records[turn], "RevokedInfo")
        await scene.load.answers()
    assert scene.load.broken == []
    assert sorted(scene.load.faults) == []


async def test_the_whole_server_killed(scene: Scene, prepared: Any) -> None:
    """Everything ends by itself; started again, all that was acknowledged is right."""
    records = list(scene.truth.records.values())
    for turn in range(2):
        await scene.change("suspend", records[turn])
        left = [*scene.server.workers, *scene.server.signers]
        running = {pid: command_line(pid) for pid in left}
        scene.load.paused = True
        os.kill(scene.server.pid, signal.SIGKILL)
        assert scene.server.process is not None
        await asyncio.to_thread(scene.server.process.wait)
        await until(lambda was=running: all(command_line(pid) != line for pid, line in was.items()))
        await scene.server.start()
        scene.load.address = scene.server.address
        # The start brings the table up to what was acknowledged before its doors open.
        scene.truth.may_say[records[turn].serial] = {"RevokedInfo"}
        scene.load.paused = False
        await scene.load.answers()
        assert len(scene.load.broken) >= CONNECTIONS
        await scene.change("restore", records[turn])
        await scene.settle(records[turn], "Good")
        await scene.load.answers()
    assert sorted(scene.load.faults) == []
