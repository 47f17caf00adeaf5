"""The software key store: encrypted PKCS#8 files (RFC 5958), one a key, `<label>.pem` in one folder."""

import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from pkiserver.signer.algorithms import (
    CURVES,
    KeySpec,
    SigningPublicKey,
    check_digest,
    prehashed,
    signature_algorithm_for,
    verify,
)
from pkiserver.signer.errors import (
    KeyExistsError,
    KeyNotFoundError,
    SignerSecretError,
    SignerSettingsError,
    SignerUnavailableError,
    UnsupportedKeyError,
)
from pkiserver.signer.keystore import check_label
from pkiserver.signer.secret import SecretSource
from pkiserver.signer.settings import SignerSettings

SoftwareKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Sign = Callable[[bytes], bytes]

SUFFIX: Final = ".pem"
_CHECK_KEY: Final = ec.generate_private_key(ec.SECP256R1())  # signs for `check`, and is nobody's
_CHECK_DATA: Final = b"pkiserver signer check"
MAX_KEY_FILE_BYTES: Final = 65_536  # an encrypted RSA-4096 key has about 3,500


class SoftwareKeyStore:
    """A `KeyStore` of files. The folder is 0700 and the files 0600; keys are decrypted at first use.

    Opening makes the folder where it is missing and tries the passphrase on one key, so that a wrong
    one shows at start and no key is ever made under another passphrase than its neighbours.
    """

    def __init__(self, directory: Path, passphrase: str) -> None:
        self._directory = directory
        self._passphrase = passphrase.encode()
        self._keys: dict[str, SoftwareKey] = {}
        self._signs: dict[str, Sign] = {}
        _prepare(directory)
        for label in self.labels()[:1]:
            self._key(label)

    @classmethod
    def open(cls, settings: SignerSettings, secret: SecretSource) -> "SoftwareKeyStore":
        """Return the store that the settings name; `SignerSecretError` where the passphrase is wrong."""
        return cls(Path(settings.directory or ""), secret.read())

    def generate(self, label: str, spec: KeySpec) -> SigningPublicKey:
        """See `KeyStore.generate`."""
        check_label(label)
        if self._path(label).exists():
            raise KeyExistsError(f"there is a key {label} already")
        key = _generate(spec)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(self._passphrase),
        )
        with _storage_errors():
            self._write(label, pem)
        self._keys[label] = key
        return key.public_key()

    def public_key(self, label: str) -> SigningPublicKey:
        """See `KeyStore.public_key`."""
        return self._key(label).public_key()

    def sign(self, label: str, data: bytes) -> bytes:
        """See `KeyStore.sign`."""
        return self._signing(label)(data)

    def sign_many(self, label: str, data: Sequence[bytes]) -> list[bytes]:
        """See `KeyStore.sign_many`."""
        sign = self._signing(label)
        return [sign(one) for one in data]

    def sign_digest(self, label: str, hashed: bytes) -> bytes:
        """See `KeyStore.sign_digest`."""
        key = self._key(label)
        check_digest(key.public_key(), hashed)
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(hashed, padding.PKCS1v15(), prehashed(key.public_key()))
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(hashed, ec.ECDSA(prehashed(key.public_key())))
        raise UnsupportedKeyError("the key's algorithm takes no hash")

    def labels(self) -> list[str]:
        """See `KeyStore.labels`."""
        with _storage_errors():
            names = os.listdir(self._directory)
        return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX) and name[0] != ".")

    def check(self) -> None:
        """See `KeyStore.check`; the folder must be there, too."""
        self.labels()
        verify(_CHECK_KEY.public_key(), _signing(_CHECK_KEY)(_CHECK_DATA), _CHECK_DATA)

    def reopen(self) -> None:
        """See `KeyStore.reopen`: the files are read anew when a key is next used."""
        self._keys.clear()
        self._signs.clear()

    def close(self) -> None:
        """See `KeyStore.close`."""
        self._keys.clear()
        self._signs.clear()

    def _path(self, label: str) -> Path:
        return self._directory / f"{label}{SUFFIX}"

    def _key(self, label: str) -> SoftwareKey:
        key = self._keys.get(label)
        if key is None:
            check_label(label)
            key = self._keys[label] = self._load(label)
        return key

    def _signing(self, label: str) -> Sign:
        sign = self._signs.get(label)
        if sign is None:
            sign = self._signs[label] = _signing(self._key(label))
        return sign

    def _load(self, label: str) -> SoftwareKey:
        try:
            with _storage_errors(), self._path(label).open("rb") as stream:
                pem = stream.read(MAX_KEY_FILE_BYTES)
        except KeyNotFoundError as error:
            raise KeyNotFoundError(f"there is no key {label}") from error
        return _decrypt(label, pem, self._passphrase)

    def _write(self, label: str, pem: bytes) -> None:
        """Write the file whole and durable under a hidden name, then link it: a link replaces nothing."""
        hidden = self._directory / f".{label}.{secrets.token_hex(8)}"
        try:
            descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(pem)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(hidden, self._path(label))
        finally:
            with suppress(FileNotFoundError):
                hidden.unlink()
        _sync_folder(self._directory)


def _prepare(directory: Path) -> None:
    """Make the folder, or check that nobody but its owner may enter it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode
    except OSError as error:
        raise SignerSettingsError(f"the folder of the keys cannot be used: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SignerSettingsError("the folder of the keys is open to others: chmod 700 it")


def _sync_folder(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise KeyExistsError("there is a key of this label already") from error
    except FileNotFoundError as error:
        raise KeyNotFoundError("there is no such key") from error
    except OSError as error:
        raise SignerUnavailableError(f"the folder of the keys fails: {error.strerror}") from error


def _decrypt(label: str, pem: bytes, passphrase: bytes) -> SoftwareKey:
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except TypeError as error:  # raised for a key that is not encrypted at all
        raise SignerSecretError(f"the key {label} is stored in clear; it is not used") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignerSecretError(
            f"the passphrase does not open the key {label}, or its file is damaged"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise UnsupportedKeyError(f"the key {label} is of an unknown kind")
    signature_algorithm_for(key.public_key())
    return key


def _generate(spec: KeySpec) -> SoftwareKey:
    if spec.algorithm == "ec":
        return ec.generate_private_key(CURVES[spec.parameter])
    if spec.algorithm == "rsa":
        return rsa.generate_private_key(65537, int(spec.parameter))
    return ed25519.Ed25519PrivateKey.generate()


def _signing(key: SoftwareKey) -> Sign:
    """Return what signs with a key; what depends on the key alone is found once, not for each signature."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign
    algorithm = signature_algorithm_for(key.public_key()).hash
    if algorithm is None:
        raise UnsupportedKeyError("the key's algorithm names no hash")
    if isinstance(key, rsa.RSAPrivateKey):
        return partial(key.sign, padding=padding.PKCS1v15(), algorithm=algorithm)
    return partial(key.sign, signature_algorithm=ec.ECDSA(algorithm))
