"""A real server to be enrolled at, and a bare one that only shakes hands."""

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.processes import cpu_s
from config.reference import reference
from pkiserver.control import call
from pkiserver.home import Home
from pkiserver.web.tls import TLSSettings, tls_context

PROGRAM: Final = str(Path(sys.executable).with_name("pkiserver"))
USES: Final = 10_000  # of a credential


def descendants(pid: int) -> list[int]:
    """Return a process and all that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in descendants(int(child)))]


@dataclass
class EnrolmentServer:
    """A started server; `folder` has what the load reads."""

    home: Home
    folder: Path
    pid: int
    port: int
    asked: int = 0
    pids: list[int] = field(default_factory=list)

    def load(self, mode: str, **options: Any) -> dict[str, Any]:
        """Run a load in a process of its own; every CSR is used once."""
        found = run_load(mode, self.folder, self.port, skip=self.asked, **options)
        self.asked += len(found["ms"]) + 64  # those that were under way at the end
        return found

    def measured(self, mode: str, **options: Any) -> tuple[dict[str, Any], float]:
        """Run a load and return the CPU seconds of all processes of the server with it."""
        before = cpu_s(self.pids)
        found = self.load(mode, **options)
        return found, cpu_s(self.pids) - before


def run_load(mode: str, folder: Path, port: int, **options: Any) -> dict[str, Any]:
    """Run `benchmarks.est_load` and return what it found."""
    flags = [
        part
        for name, value in options.items()
        for part in ([f"--{name}"] if value is True else [f"--{name}", str(value)])
    ]
    command = [sys.executable, "-m", "benchmarks.est_load", mode, str(folder), str(port), *flags]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"the load did not go through:\n{result.stderr}")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def write_csrs(path: Path, count: int) -> None:
    """Write certification requests, each of a key of its own, one a line in base64."""
    name = x509.Name.from_rfc4514_string("CN=bench")
    with path.open("wb") as file:
        for _ in range(count):
            builder = x509.CertificateSigningRequestBuilder().subject_name(name)
            csr = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
            file.write(base64.b64encode(csr.public_bytes(Encoding.DER)) + b"\n")


@contextmanager
def enrolment_server(folder: Path, kind: str, count: int) -> Iterator[EnrolmentServer]:
    """Run a server whose authorities have keys of this kind, with credentials for so many enrolments."""
    with started(folder, kind) as (home, pid, ports):
        server = EnrolmentServer(home, folder, pid, ports["https"], pids=descendants(pid))
        asyncio.run(_prepare(server, count))
        yield server


@contextmanager
def started(
    folder: Path, kind: str, equip: Callable[[Home], object] = lambda _: None
) -> Iterator[tuple[Home, int, dict[str, int]]]:
    """Run a server with a new home, which is equipped before; give home, process id and ports by protocol."""
    folder.mkdir()
    home = Home(folder / "home")
    home.path.mkdir(mode=0o700)
    text = reference().replace('key = "ec:P-384"', f'key = "{kind}"')
    # All clients are of one address here, and a closed connection is counted until its end was noticed.
    held = "max_connections_per_address = "
    home.configuration.write_text(text.replace(f"{held}64", f"{held}256"))
    subprocess.run([PROGRAM, "--home", str(home.path), "init"], check=True, capture_output=True)
    equip(home)
    ports = ("--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "--home", str(home.path), "serve", *ports], stderr=log)
    try:
        yield home, process.pid, asyncio.run(_ports(home, process))
    finally:
        process.terminate()
        process.wait()


async def _ports(home: Home, process: "subprocess.Popen[bytes]") -> dict[str, int]:
    for _ in range(200):
        if home.endpoints.exists():
            endpoints = json.loads(home.endpoints.read_text())
            return {name: int(endpoints[name][0][1]) for name in ("http", "https")}
        if process.poll() is not None:
            break
        await asyncio.sleep(0.1)
    raise RuntimeError("the server did not start")


async def new_credentials(home: Home, count: int, **more: Any) -> list[dict[str, Any]]:
    """Return credentials for so many enrolments of a running server."""
    arguments = {
        "profile": "device", "subject": "CN=bench", "san": [], "limit_mnt": None, "lifetime_s": None,
        "uses": USES, **more,
    }  # fmt: skip
    credentials = []
    for _ in range(count // USES + 1):
        answer = await call(home, "credential.create", arguments, lambda *_: None)
        assert answer is not None
        credentials.append(answer[0])
    return credentials


async def _prepare(server: EnrolmentServer, count: int) -> None:
    credentials = await new_credentials(server.home, count)
    lines = [f"{one['reference']}:{one['secret']}" for one in credentials]
    (server.folder / "credentials").write_text("\n".join(lines))
    (server.folder / "root.pem").write_bytes((server.home.public / "ca" / "root.pem").read_bytes())
    write_csrs(server.folder / "csrs", count)
    (server.folder / "client.pem").write_bytes((server.home.tls / "server.pem").read_bytes())


def client_identity(server: EnrolmentServer) -> None:
    """Enrol the client certificate of mutual TLS, and put it with its key where the load looks for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name.from_rfc4514_string("CN=bench"))
    body = base64.b64encode(csr.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)).decode()
    credential = (server.folder / "credentials").read_text().split()[0]
    answer = subprocess.run(
        [
            "curl", "-sS", "--fail", "--cacert", str(server.folder / "root.pem"), "-u", credential,
            "-H", "Content-Type: application/pkcs10", "--data-binary", body,
            f"https://127.0.0.1:{server.port}/.well-known/est/simpleenroll",
        ],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    pem = subprocess.run(
        ["openssl", "pkcs7", "-inform", "DER", "-print_certs"],
        input=base64.b64decode(answer), capture_output=True, check=True,
    ).stdout  # fmt: skip
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (server.folder / "client.pem").write_bytes(pem + private)


@contextmanager
def bare_server(server: EnrolmentServer) -> Iterator[tuple[int, int]]:
    """Run plain asyncio with the same TLS settings, one octet a connection; give its pid and port."""
    command = [sys.executable, "-m", "benchmarks.est_server", str(server.home.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


async def _serve_bare(home: Home) -> None:
    path = home.tls / "server.pem"
    authorities = (home.public / "ca").glob("*.cer")
    context = tls_context(TLSSettings(path, path, client_cas=[one.read_bytes() for one in authorities]))

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve_bare(Home(Path(sys.argv[1]))))
