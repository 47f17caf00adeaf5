"""Homes made once for each test process, copied where a test changes them, and one server to share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_harness import Server, copied, done, initialised, run_installed, run_program, running


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home as `init --defaults` leaves it, never started; copy it.

    The head of its audit log is signed: so a start makes no certificate for that.
    """
    home = tmp_path_factory.mktemp("pristine") / "home"
    done(run_installed(home, "init", "--defaults"))
    done(run_program(home, "audit", "head", "--signed"))
    return home


@pytest.fixture
def home(pristine: Path, tmp_path: Path) -> Path:
    """A home of this test's own."""
    return copied(pristine, tmp_path / "home")


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    """A server of this test's own."""
    with running(home) as started:
        yield started


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the tests that only add to it; its addresses in certificates are public names."""
    home = initialised(tmp_path_factory.mktemp("shared") / "home", "--public-url", "http://pki.example.com")
    with running(home, prepared=False) as started:
        yield started


@pytest.fixture(scope="session")
def strongswan() -> str:
    """The path of strongSwan's `pki`."""
    found = shutil.which("pki")
    if found is None:
        pytest.skip("strongSwan's pki is not installed (Debian package strongswan-pki)")
    return found
