"""A home whose keys lie on a PKCS #11 token: SoftHSM stands for an HSM."""

import subprocess
from pathlib import Path

import pytest
from client_messages import new_key
from consistency import assert_consistent
from foreign_clients import expect_crl_verdict, openssl_ocsp, save_certificate
from server_harness import done, eventually, run_program, running

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
PIN = "correct-PIN-1"


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The module of a SoftHSM with one fresh token."""
    module = next((path for path in MODULES if Path(path).exists()), None)
    if module is None:
        pytest.skip("SoftHSM is not installed (Debian package softhsm2)")
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    secrets = ("--pin", PIN, "--so-pin", "87654321")
    make = ["softhsm2-util", "--init-token", "--free", "--label", "national", *secrets]
    subprocess.run(make, check=True, capture_output=True)
    return module


def configured(home: Path, module: str) -> Path:
    """Write the configuration of a new home whose keys are on the token."""
    home.mkdir(mode=0o700)
    text = done(run_program(home, "init", "--show-config"))
    for former, new in (
        ('store = "software"', 'store = "pkcs11"'),
        ('uri = ""', f'uri = "pkcs11:token=national?module-path={module}&pin-source=file:pin"'),
    ):
        assert text.count(f"\n{former}\n") == 1
        text = text.replace(f"\n{former}\n", f"\n{new}\n")
    (home / "pkiserver.toml").write_text(text)
    (home / "pin").touch(mode=0o600)
    (home / "pin").write_text(f"{PIN}\n")
    return home


@pytest.mark.interop
def test_a_home_on_a_token(token: str, tmp_path: Path) -> None:
    home = configured(tmp_path / "home", token)
    done(run_program(home, "init", "--defaults"))
    assert not list((home / "keys").glob("*.pem"))
    with running(home) as server:
        certificate = server.device(new_key())
        file = save_certificate(tmp_path / "device.pem", certificate)
        server.shows(certificate, "good")
        assert openssl_ocsp(server, "infrastructure", file) == "good"
        expect_crl_verdict(server, "infrastructure", file, "OK")
        server.suspend(certificate)
        server.shows(certificate, "revoked")
        eventually(lambda: list(server.crl()), "the CRL to change")
    with running(home) as server:  # the keys are found again
        server.restore(certificate)
        server.shows(certificate, "good")
        server.shows(server.device(new_key()), "good")
        assert_consistent(server)


def test_a_wrong_pin_is_one_clear_line(token: str, tmp_path: Path) -> None:
    home = configured(tmp_path / "home", token)
    (home / "pin").write_text("wrong-PIN-1\n")
    run = run_program(home, "init", "--defaults")
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert "PIN" in line
    assert "wrong-PIN-1" not in line
