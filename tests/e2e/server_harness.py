"""A real server as a subprocess on a home of its own, and clients of the standard library for it."""

import asyncio
import base64
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar

from client_messages import Credential, Reply, ask, csr_for, ocsp_request, read_ocsp_status, serial_of
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.control import call
from pkiserver.home import Home
from tests.prepared_program import Forked, start_prepared

PROGRAM = str(Path(sys.executable).with_name("pkiserver"))
FAULTY = (sys.executable, str(Path(__file__).with_name("faulty_server.py")))
ANY_PORTS = ("--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
PATIENCE_S = 60.0  # for what takes a second on an idle machine
POLL_S = 0.05
Result = TypeVar("Result")


def eventually(probe: Callable[[], Result | None], what: str, patience_s: float = PATIENCE_S) -> Result:
    """Return the first true result of `probe`; fails the test when there is none in good time."""
    deadline = time.monotonic() + patience_s
    while not (found := probe()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(POLL_S)
    return found


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return True


def children(pid: int) -> dict[int, str]:
    """Return the children of a process with their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found[int(folder.name)] = command
    return found


def run_program(
    home: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line, prepared, and return what it did; it is never waited for in vain."""
    words = [PROGRAM, "--home", str(home), *arguments]
    with Path(os.devnull).open() as nothing, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        program = _start_prepared(words, os.environ | (environment or {}), nothing, out, err)
        try:
            status = program.wait(PATIENCE_S)
        finally:
            program.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, status, out.read(), err.read())


def _start_prepared(words: list[str], environment: dict[str, str], *streams: IO[Any]) -> Forked:
    return start_prepared("pkiserver", words, environment, [one.fileno() for one in streams])


def run_installed(
    home: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line as an operator does, and return what it did."""
    return subprocess.run(
        [PROGRAM, "--home", str(home), *arguments],
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def done(run: subprocess.CompletedProcess[str]) -> str:
    """Return the standard output of a command that must have succeeded without a word of complaint."""
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return run.stdout


def initialised(home: Path, *options: str) -> Path:
    """Make a home as an operator does."""
    done(run_program(home, "init", "--defaults", *options))
    return home


@dataclass
class Server:
    """A started server and what a client knows of it."""

    home: Path
    process: subprocess.Popen[bytes] | Forked
    log_path: Path
    endpoints: dict[str, list[list[Any]]] = field(default_factory=dict)
    known_children: dict[int, str] = field(default_factory=dict)

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port('http')}"

    @property
    def est_url(self) -> str:
        return f"https://127.0.0.1:{self.port('https')}/.well-known/est"

    @property
    def root_pem(self) -> Path:
        return self.home / "public" / "ca" / "root.pem"

    @property
    def chain_pem(self) -> Path:
        return self.home / "public" / "ca" / "chain.pem"

    def port(self, door: str) -> int:
        return int(self.endpoints[door][0][1])

    def ca_pem(self, name: str) -> Path:
        return self.home / "public" / "ca" / f"{name}.pem"

    def ca(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.ca_pem(name).read_bytes())

    def log(self) -> str:
        return self.log_path.read_text()

    def log_events(self) -> list[dict[str, Any]]:
        """Return the lines of the log, each of which must be one JSON object."""
        return [json.loads(line) for line in self.log().splitlines()]

    def command(self, command: str, /, **arguments: Any) -> Any:
        """Give the running server a command over its control socket, as the command line does."""
        answer = asyncio.run(call(Home(self.home), command, arguments, lambda *_: None))
        assert answer is not None, "no server answers on the control socket"
        return answer[0]

    def credential(self, profile: str, subject: str, *san: str, uses: int = 1, **more: Any) -> Credential:
        created = self.command(
            "credential.create",
            **{"limit_mnt": None, "lifetime_s": None} | more,
            profile=profile,
            subject=subject,
            san=list(san),
            uses=uses,
        )
        return Credential(created["reference"], created["secret"])

    def suspend(self, certificate: x509.Certificate) -> None:
        self.command("certificate.suspend", serial=serial_of(certificate), ca=None, by="holder")

    def restore(self, certificate: x509.Certificate) -> None:
        self.command("certificate.restore", serial=serial_of(certificate), ca=None, by="holder")

    def revoke(self, certificate: x509.Certificate, reason: str = "unspecified") -> None:
        self.command("certificate.revoke", serial=serial_of(certificate), ca=None, reason=reason)

    def certificates(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.command("certificate.list", ca=None, state=None, limit=1000)
        return found

    def tls(self, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """Return a client's context that trusts the root alone; `client` is certificate and key in PEM."""
        context = ssl.create_default_context(cafile=str(self.root_pem))
        if client is not None:
            context.load_cert_chain(*map(str, client))
        return context

    def connection(
        self, context: ssl.SSLContext | None = None, source: str = "127.0.0.1"
    ) -> http.client.HTTPSConnection:
        """Return a connection; each `source` has its own share of refusals a minute."""
        return http.client.HTTPSConnection(
            "127.0.0.1",
            self.port("https"),
            timeout=PATIENCE_S,
            source_address=(source, 0),
            context=context or self.tls(),
        )

    def enroll(
        self,
        credential: Credential,
        csr: x509.CertificateSigningRequest,
        *,
        context: ssl.SSLContext | None = None,
    ) -> Reply:
        """Ask for a certificate over EST; network errors are the caller's."""
        basic = base64.b64encode(credential.userpass.encode()).decode()
        body = base64.b64encode(csr.public_bytes(Encoding.DER))
        headers = {"Content-Type": "application/pkcs10", "Authorization": f"Basic {basic}"}
        connection = self.connection(context)
        try:
            return ask(connection, "POST", "/.well-known/est/simpleenroll", body, headers)
        finally:
            connection.close()

    def issued(
        self, key: ec.EllipticCurvePrivateKey, profile: str, subject: str, *san: str, **more: Any
    ) -> x509.Certificate:
        """Return a certificate from a new credential."""
        return self.enroll(self.credential(profile, subject, *san, **more), csr_for(key)).certificate()

    def device(self, key: ec.EllipticCurvePrivateKey, name: str = "gate-1") -> x509.Certificate:
        return self.issued(key, "device", f"CN={name}", f"dns:{name}.example.mn")

    def get(self, path: str, door: str = "http") -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port(door), timeout=PATIENCE_S)
        try:
            return ask(connection, "GET", path)
        finally:
            connection.close()

    def post_ocsp(self, request: bytes) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port("http"), timeout=PATIENCE_S)
        try:
            headers = {"Content-Type": "application/ocsp-request"}
            return ask(connection, "POST", "/ocsp", request, headers)
        finally:
            connection.close()

    def ocsp_status(self, issuer: str, serial: int) -> str:
        """Return what OCSP says of a serial: good, revoked, unauthorized; the signature is verified."""
        return read_ocsp_status(
            self.post_ocsp(ocsp_request(self.ca(issuer), serial)), self.ca(issuer), serial
        )

    def status_of(self, certificate: x509.Certificate, issuer: str = "infrastructure") -> str:
        return self.ocsp_status(issuer, certificate.serial_number)

    def shows(self, certificate: x509.Certificate, status: str, issuer: str = "infrastructure") -> float:
        """Wait until OCSP says this of a certificate; return how many seconds that took."""
        begin = time.monotonic()
        what = f"OCSP to say {status}"
        eventually(lambda: self.status_of(certificate, issuer) == status, what)
        return time.monotonic() - begin

    def crl(self, name: str = "infrastructure") -> x509.CertificateRevocationList:
        """Return the CRL of an authority as served; its signature is verified."""
        reply = self.get(f"/crl/{name}.crl")
        assert reply.status == 200
        crl = x509.load_der_x509_crl(reply.body)
        public_key = self.ca(name).public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey)
        assert crl.is_signature_valid(public_key)
        return crl

    def ready(self) -> tuple[int, dict[str, dict[str, str]]]:
        """Return the status of /ready and its causes by name."""
        reply = self.get("/ready", "metrics")
        return reply.status, {cause["name"]: cause for cause in json.loads(reply.body)["causes"]}

    def metric(self, name: str) -> float:
        """Return the value of one metric, named with its labels as Prometheus writes them."""
        lines = self.get("/metrics", "metrics").body.decode().splitlines()
        (value,) = (line.rpartition(" ")[2] for line in lines if line.rpartition(" ")[0] == name)
        return float(value)

    def child(self, module: str) -> int:
        """Return the process id of the child that runs this module."""
        (pid,) = (pid for pid, command in children(self.process.pid).items() if module in command)
        self.known_children[pid] = module
        return pid

    def wait_killed(self) -> None:
        """Wait until the server has killed itself, and its children have noticed."""
        assert self.process.wait(PATIENCE_S) == -signal.SIGKILL
        self._expect_no_child()

    def kill(self) -> None:
        """End the server by SIGKILL; its children must end by themselves."""
        self.known_children |= children(self.process.pid)
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self._expect_no_child()

    def stop(self) -> None:
        """Stop the server as an operator does: it must end with 0, and all its children with it."""
        if self.process.poll() is None:
            self.known_children |= children(self.process.pid)
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0, self.log()
        self._expect_no_child()
        assert not (self.home / "run" / "endpoints.json").exists()
        assert "Traceback" not in self.log(), self.log()

    def _expect_no_child(self) -> None:
        for pid, command in self.known_children.items():
            eventually(partial(has_ended, pid), f"the end of {command}")


def start(
    home: Path,
    *options: str,
    program: tuple[str, ...] = (PROGRAM,),
    environment: dict[str, str] | None = None,
    ready: bool = True,
    log_path: Path | None = None,
    prepared: bool = True,
) -> Server:
    """Start a server on chosen ports; return it when it serves, and says so where `ready`.

    One that is not `prepared` is a new interpreter, as an operator starts it.
    """
    (home / "run" / "endpoints.json").unlink(missing_ok=True)  # of a server that was killed
    log_path = log_path or home.parent / f"{home.name}.log"
    words = [*program, "--home", str(home), "serve", *ANY_PORTS, *options]
    process: subprocess.Popen[bytes] | Forked
    with log_path.open("wb") as log, Path(os.devnull).open("r+") as nothing:
        given = os.environ | (environment or {})
        if prepared:
            process = _start_prepared(words, given, nothing, nothing, log)
        else:
            process = subprocess.Popen(words, env=given, stdin=nothing, stdout=nothing, stderr=log)
    server = Server(home, process, log_path)
    try:
        _await_start(server, ready=ready)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return server


def _await_start(server: Server, *, ready: bool) -> None:
    path = server.home / "run" / "endpoints.json"

    def endpoints() -> Any:
        assert server.process.poll() is None, f"the server ended: {server.log()}"
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            return None

    server.endpoints = eventually(endpoints, "the server's endpoints")
    server.known_children |= children(server.process.pid)
    if ready:
        eventually(lambda: server.ready()[0] == 200, f"readiness: {server.log()}")


@contextmanager
def running(home: Path, *options: str, **more: Any) -> Iterator[Server]:
    """A server for the length of a block, stopped in the end as an operator does."""
    server = start(home, *options, **more)
    try:
        yield server
    except BaseException:
        server.kill()
        raise
    server.stop()


@contextmanager
def doomed(home: Path, **more: Any) -> Iterator[Server]:
    """A server that is to die in a block; whatever happens, it does not outlive it."""
    server = start(home, **more)
    try:
        yield server
    finally:
        server.kill()


def copied(pristine: Path, target: Path) -> Path:
    """Return a copy of a home; the files of the response table keep their holes."""
    shutil.copytree(pristine, target)
    return target
