"""Secrets that the server must know again: those that key the MACs of CMP (RFC 9810 §5.1.3.1).

They are stored encrypted, under a key in a file of the home's `keys/`: the database, and a backup of it
alone, tell nobody a secret.
"""

import hmac
import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pkiserver.errors import UnavailableError
from pkiserver.home import PRIVATE_FILE_MODE, write_file

KEY_OCTETS: Final = 32
NONCE_OCTETS: Final = 12  # NIST SP 800-38D §8.2.2: random ones, for far fewer than 2**32 secrets
_WHAT: Final = b"pkiserver credential\0"  # with the reference it is the associated data: none is moved
_HASHING: Final = b"pkiserver keyed hash\0"  # a key of its own is made by it


class SealedSecrets:
    """Encrypts and decrypts secrets; the key is made when the first one is sealed."""

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file
        self._cipher: AESGCM | None = None
        self._hash_key: bytes | None = None

    def seal(self, reference: str, secret: str) -> bytes:
        """Return the secret of a credential, encrypted (AES-256-GCM) for this reference alone."""
        self._make_key()
        nonce = os.urandom(NONCE_OCTETS)
        return nonce + self._opened().encrypt(nonce, secret.encode(), _WHAT + reference.encode())

    def unseal(self, reference: str, sealed: bytes) -> str:
        """Return the secret; `UnavailableError` where the key is not the one that it was sealed with."""
        nonce, encrypted = sealed[:NONCE_OCTETS], sealed[NONCE_OCTETS:]
        try:
            return self._opened().decrypt(nonce, encrypted, _WHAT + reference.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise UnavailableError(
                f"the secret of this credential cannot be read: {self._key_file.name} is another one"
            ) from error

    def keyed_hash(self, octets: bytes) -> bytes:
        """Return a hash that says nothing of what it is of, however few that may be, without the key."""
        if self._hash_key is None:
            self._make_key()
            self._hash_key = hmac.digest(_read(self._key_file), _HASHING, "sha256")
        return hmac.digest(self._hash_key, octets, "sha256")

    def _make_key(self) -> None:
        if self._cipher is None and not self._key_file.exists():
            write_file(self._key_file, os.urandom(KEY_OCTETS).hex().encode() + b"\n", PRIVATE_FILE_MODE)

    def _opened(self) -> AESGCM:
        if self._cipher is None:
            self._cipher = AESGCM(_read(self._key_file))
        return self._cipher


def _read(path: Path) -> bytes:
    try:
        key = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise UnavailableError(f"the key of the credentials' secrets cannot be read: {path.name}") from error
    if len(key) != KEY_OCTETS:
        raise UnavailableError(f"the key of the credentials' secrets is not whole: {path.name}")
    return key
