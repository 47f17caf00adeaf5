"""A whole issuing side for a test: a home initialised once, copied for each test, and a clock to be moved."""

import asyncio
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pkiserver.ca.authorized_request import AuthorizedRequest
from pkiserver.ca.identity import Identity
from pkiserver.clock import Clock
from pkiserver.core import Core, load_configuration, open_core
from pkiserver.home import Home
from pkiserver.initialise import initialise
from pkiserver.signer.process import WorkerProcess
from protocols.x509.names import parse_san, parse_subject
from store import audit
from store.records import AuditRecord, CertificateRecord
from tests.prepared_signer import execute_prepared

Request = Callable[..., AuthorizedRequest]
Issue = Callable[..., Awaitable[CertificateRecord]]


def pytest_configure() -> None:
    """Handle Ctrl-C as Python does, by another function: so asyncio leaves it to us.

    It would put a handler of its own in place for each loop, a fifth of the time of a test on an open core.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test's name that is another in each process: tests run in several, which compare the names."""
    for item in items:
        if re.search(r"\{[^:{}]*, |<.* at 0x", item.name):
            raise pytest.UsageError(f"{item.nodeid}: give its cases ids that are the same in every process.")


@pytest.fixture(autouse=True)
def prepared_signer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork signers from a process that has loaded them, but for the tests of the signer itself."""
    if "signer" not in request.node.path.parts:
        monkeypatch.setattr(WorkerProcess, "_execute", execute_prepared)


class FakeClock(Clock):
    """Stands still until it is moved."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def advance(self, span: timedelta) -> None:
        self.moment += span


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands at the present second."""
    return FakeClock(datetime.now(UTC).replace(microsecond=0))


@pytest.fixture(scope="session")
def initialised_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with its whole hierarchy; to be copied, not used."""
    path = tmp_path_factory.mktemp("initialised") / "home"
    asyncio.run(initialise(Home(path), None, offline_root=False, progress=lambda _: None))
    return path


@pytest.fixture
def home(initialised_home: Path, tmp_path: Path) -> Home:
    """A home of this test's own, with its whole hierarchy."""
    return Home(shutil.copytree(initialised_home, tmp_path / "home"))


@pytest.fixture
async def core(home: Home, clock: FakeClock) -> AsyncIterator[Core]:
    """The issuing side, open."""
    async with open_core(home, clock) as opened:
        yield opened


@pytest.fixture(scope="session")
def make_request(initialised_home: Path) -> Request:
    """Makes requests that somebody was entitled to make: of a new key and a server name, unless given."""
    _, profiles = load_configuration(Home(initialised_home))

    def make(
        name: str = "www.example.mn",
        *,
        key: ec.EllipticCurvePrivateKey | None = None,
        credential: int | None = None,
    ) -> AuthorizedRequest:
        return AuthorizedRequest(
            profile=profiles["tls-server"],
            authority="infrastructure",
            identity=Identity(parse_subject(f"CN={name}"), (parse_san(f"dns:{name}"),)),
            public_key=(key or ec.generate_private_key(ec.SECP256R1())).public_key(),
            requested_by="test",
            credential=credential,
        )

    return make


@pytest.fixture(scope="session")
def issue(make_request: Request) -> Issue:
    """Issues a certificate on an open core; takes what `make_request` takes."""

    async def issue_one(
        core: Core, name: str = "www.example.mn", *, key: ec.EllipticCurvePrivateKey | None = None
    ) -> CertificateRecord:
        return await core.issuance.issue(await core.issuance.prepare(make_request(name, key=key)))

    return issue_one


@pytest.fixture
def audited() -> Callable[[Core], Awaitable[list[AuditRecord]]]:
    """Reads the whole audit log of an open core."""

    async def read(core: Core) -> list[AuditRecord]:
        return await core.storage.read(lambda tx: audit.after(tx, 0, 100_000))

    return read


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, so small that a test can fill it: `SIZE_MIB` of its module."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = f"size={request.module.SIZE_MIB}m,mode=700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs mount(8)")
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a small tmpfs (root): {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
