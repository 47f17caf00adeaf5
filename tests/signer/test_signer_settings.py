"""Settings of the signer, and where its secret is read from."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiserver.signer.errors import SignerSecretError, SignerSettingsError
from pkiserver.signer.process import worker_environment
from pkiserver.signer.secret import MAX_SECRET_BYTES, read_secret
from pkiserver.signer.settings import MAX_SETTINGS_BYTES, SignerSettings

GOOD: list[dict[str, Any]] = [
    {"store": "software", "directory": "keys", "passphrase_file": "p"},
    {"store": "software", "directory": "keys", "passphrase_env": "P"},
    {"store": "pkcs11", "module": "m.so", "token_label": "t", "pin_env": "P"},
    {
        "store": "pkcs11",
        "module": "m.so",
        "token_label": "t",
        "token_serial": "0123",
        "pin_file": "p",
    },
]
BAD: list[dict[str, Any]] = [
    {},
    {"directory": "keys"},
    {"directory": "keys", "passphrase_file": "p", "passphrase_env": "P"},
    {"passphrase_file": "p"},
    {"store": "pkcs11", "token_label": "t", "pin_env": "P"},
    {"store": "pkcs11", "module": "m.so", "pin_env": "P"},
    {"store": "pkcs11", "module": "m.so", "token_label": "t"},
    {"store": "cloud", "directory": "keys", "passphrase_file": "p"},
]


@pytest.mark.parametrize("values", GOOD)
def test_settings_both_ways(values: dict[str, Any]) -> None:
    settings = SignerSettings(**values)
    assert SignerSettings.decode(settings.encode()) == settings


@pytest.mark.parametrize("values", BAD)
def test_contradictory_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SignerSettingsError):
        SignerSettings(**values)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(SignerSettingsError, match=r"module.*token_label.*pin_file"):
        SignerSettings(store="pkcs11")


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"[]",
        b"{",
        b'{"store": 1}',
        b'{"unknown": "x"}',
        b'{"directory": "k", "passphrase_env": ["P"]}',
        b"[" * MAX_SETTINGS_BYTES,
        b" " * (MAX_SETTINGS_BYTES + 1),
        b"\xff",
    ],
    ids=lambda encoded: encoded[:40].decode("latin-1"),
)
def test_other_frames_are_no_settings(encoded: bytes) -> None:
    with pytest.raises(SignerSettingsError):
        SignerSettings.decode(encoded)


@given(st.binary(max_size=80))
def test_decode_raises_only_its_error(encoded: bytes) -> None:
    with pytest.raises(SignerSettingsError):
        SignerSettings.decode(encoded)


def test_secret_from_file_without_line_end(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_bytes(b" two words \r\n")
    assert read_secret("PIN", str(path), None) == " two words "


def test_secret_from_variable_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNER_TEST_SECRET", "s3cret")
    assert read_secret("PIN", None, "SIGNER_TEST_SECRET") == "s3cret"
    with pytest.raises(SignerSecretError, match="not set"):
        read_secret("PIN", None, "SIGNER_TEST_SECRET")


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"", 0o600, "empty"),
        (b"\n", 0o600, "empty"),
        (b"secret", 0o604, "open to others"),
        (b"secret", 0o602, "open to others"),
        (b"x" * (MAX_SECRET_BYTES + 1), 0o600, "too long"),
        (b"\xff\xfe", 0o600, "UTF-8"),
    ],
)
def test_bad_secret_file_is_refused(tmp_path: Path, content: bytes, mode: int, reason: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(SignerSecretError, match=reason) as caught:
        read_secret("PIN", str(path), None)
    assert "secret" not in str(caught.value)


def test_missing_secret_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SignerSecretError, match="cannot be read"):
        read_secret("PIN", str(tmp_path / "none"), None)


def test_worker_gets_only_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "SIGNER_PASS", "DATABASE_PASSWORD", "SOFTHSM2_CONF"):
        monkeypatch.setenv(name, f"value of {name}")
    settings = SignerSettings(directory="k", passphrase_env="SIGNER_PASS")
    environment = worker_environment(settings)
    assert environment["SIGNER_PASS"] == "value of SIGNER_PASS"
    assert {"PATH", "SOFTHSM2_CONF"} <= environment.keys()
    assert "DATABASE_PASSWORD" not in environment
