"""The software key store's files."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from pkiserver.signer.algorithms import KeySpec
from pkiserver.signer.errors import (
    KeyExistsError,
    SignerSecretError,
    SignerSettingsError,
    SignerUnavailableError,
    UnsupportedKeyError,
)
from pkiserver.signer.software import SoftwareKeyStore

P256 = KeySpec.parse("ec:P-256")
CLEAR_FORMS = (b"BEGIN PRIVATE KEY", b"BEGIN EC PRIVATE KEY")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "deeper" / "keys"


@pytest.fixture
def store(directory: Path) -> SoftwareKeyStore:
    return SoftwareKeyStore(directory, "passphrase")


def test_files_are_encrypted_and_private(store: SoftwareKeyStore, directory: Path) -> None:
    old = os.umask(0)
    try:
        store.generate("key", P256)
    finally:
        os.umask(old)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    (file,) = directory.iterdir()
    assert file.name == "key.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    pem = file.read_bytes()
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in pem
    assert not any(form in pem for form in CLEAR_FORMS)
    with pytest.raises(ValueError, match="password"):
        serialization.load_pem_private_key(pem, b"Passphrase")


def test_open_folder_is_refused(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o755)
    with pytest.raises(SignerSettingsError, match="chmod 700"):
        SoftwareKeyStore(directory, "passphrase")


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(SignerSettingsError):
        SoftwareKeyStore(tmp_path / "keys", "passphrase")


def test_second_store_never_replaces_a_key(directory: Path, store: SoftwareKeyStore) -> None:
    store.generate("key", P256)
    before = (directory / "key.pem").read_bytes()
    with pytest.raises(KeyExistsError):
        SoftwareKeyStore(directory, "passphrase").generate("key", P256)
    assert (directory / "key.pem").read_bytes() == before


def test_race_for_a_label_has_one_winner(
    directory: Path, store: SoftwareKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one made its file after this one looked: the link refuses, and leaves no rest behind."""
    winner = store.generate("key", P256)
    loser = SoftwareKeyStore(directory, "passphrase")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", lambda _: False)
        with pytest.raises(KeyExistsError):
            loser.generate("key", P256)
    assert [file.name for file in directory.iterdir()] == ["key.pem"]
    assert loser.public_key("key") == winner


def test_full_disk_leaves_nothing(
    directory: Path, store: SoftwareKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(SignerUnavailableError, match="No space"):
            store.generate("key", P256)
    assert list(directory.iterdir()) == []
    store.generate("key", P256)


def test_no_key_is_made_under_a_second_passphrase(directory: Path, store: SoftwareKeyStore) -> None:
    SoftwareKeyStore(directory, "any will do while there is no key")
    store.generate("key", P256)
    with pytest.raises(SignerSecretError):
        SoftwareKeyStore(directory, "another")


def test_key_in_clear_is_not_used(directory: Path, store: SoftwareKeyStore) -> None:
    store.generate("key", P256)
    file = directory / "key.pem"
    key = serialization.load_pem_private_key(file.read_bytes(), b"passphrase")
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(SignerSecretError, match="in clear"):
        SoftwareKeyStore(directory, "passphrase")


def test_damaged_key_is_refused(directory: Path, store: SoftwareKeyStore) -> None:
    store.generate("key", P256)
    (directory / "key.pem").write_bytes(b"-----BEGIN nothing")
    with pytest.raises(SignerSecretError, match="damaged"):
        SoftwareKeyStore(directory, "passphrase")


def test_foreign_curve_is_refused(directory: Path, store: SoftwareKeyStore) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = ec.generate_private_key(ec.SECP256K1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    (directory / "foreign.pem").write_bytes(pem)
    with pytest.raises(UnsupportedKeyError):
        store.sign("foreign", b"")
