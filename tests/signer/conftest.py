"""Key stores of both kinds, each in the test's own folder."""

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pkiserver.signer.client import Signer
from pkiserver.signer.settings import SignerSettings
from tests import faulty_token

TOKEN = "test-token"
PIN = "correct-PIN-1"
PASSPHRASE = "a correct passphrase"


@pytest.fixture
def softhsm_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Path of the SoftHSM module, with a token folder of its own for this test."""
    module = faulty_token.softhsm_module()
    if module is None:
        pytest.skip("SoftHSM is not installed (Debian package softhsm2)")
    configuration = faulty_token.softhsm_configuration(tmp_path)
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    return module


def init_token(label: str = TOKEN, pin: str = PIN) -> None:
    """Make a token in the folder that SOFTHSM2_CONF names."""
    faulty_token.init_token(Path(os.environ["SOFTHSM2_CONF"]), label, pin)


def secret_file(path: Path, secret: str) -> str:
    """Write a secret for its owner alone and return the path."""
    path.touch(mode=0o600)
    path.write_text(secret + "\n")
    return str(path)


def read_secret_file(settings: SignerSettings) -> str:
    """Return the secret that these settings name, as its file has it."""
    return Path(settings.passphrase_file or settings.pin_file or "").read_text().strip()


def write_secret_file(settings: SignerSettings, secret: str) -> None:
    """Change the secret in the file that these settings name."""
    Path(settings.passphrase_file or settings.pin_file or "").write_text(secret)


@pytest.fixture
def secret_of() -> Callable[[SignerSettings], str]:
    """Tells the passphrase or PIN that the settings name."""
    return read_secret_file


@pytest.fixture
def change_secret() -> Callable[[SignerSettings, str], None]:
    """Changes the passphrase or PIN that the settings name."""
    return write_secret_file


@pytest.fixture
def software_settings(tmp_path: Path) -> SignerSettings:
    return SignerSettings(
        store="software",
        directory=str(tmp_path / "keys"),
        passphrase_file=secret_file(tmp_path / "passphrase", PASSPHRASE),
    )


@pytest.fixture
def token_settings(tmp_path: Path, softhsm_module: str) -> SignerSettings:
    init_token()
    return SignerSettings(
        store="pkcs11",
        module=softhsm_module,
        token_label=TOKEN,
        pin_file=secret_file(tmp_path / "pin", PIN),
    )


@pytest.fixture(params=["software", "pkcs11"])
def settings(request: pytest.FixtureRequest) -> SignerSettings:
    """Settings of each kind of key store in turn."""
    name = {"software": "software_settings", "pkcs11": "token_settings"}[request.param]
    found: SignerSettings = request.getfixturevalue(name)
    return found


@pytest.fixture
def wrong_secret(tmp_path: Path) -> Callable[[SignerSettings], SignerSettings]:
    """Settings changed to name a wrong passphrase or PIN."""

    def change(settings: SignerSettings) -> SignerSettings:
        wrong = secret_file(tmp_path / "wrong", "a wrong one")
        if settings.store == "software":
            return replace(settings, passphrase_file=wrong)
        return replace(settings, pin_file=wrong)

    return change


@pytest.fixture
async def signer(settings: SignerSettings) -> AsyncIterator[Signer]:
    """A started signer of each kind; its process is gone after the test."""
    started = Signer(settings)
    await started.start()
    pids = started.pids
    assert pids
    yield started
    pids += started.pids
    await started.close()
    assert not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie that somebody else has yet to reap."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state not in ("Z", "X")


@pytest.fixture
def process_is_running() -> Callable[[int], bool]:
    """Tells whether a process still runs."""
    return is_running


@pytest.fixture
def make_token(softhsm_module: str) -> Callable[..., None]:
    """Make further tokens."""
    return init_token


@pytest.fixture
def faulty(softhsm_module: str, tmp_path: Path) -> faulty_token.FaultyModule:
    """The module that fails as it is told, before SoftHSM's."""
    if reason := faulty_token.missing():
        pytest.skip(reason)
    return faulty_token.FaultyModule.build(tmp_path)


@pytest.fixture
def faulty_settings(token_settings: SignerSettings, faulty: faulty_token.FaultyModule) -> SignerSettings:
    """A token behind that module."""
    return replace(token_settings, module=str(faulty.path))
