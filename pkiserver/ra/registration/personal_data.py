"""Personal data at rest: encrypted for their place, searched by keyed hashes, erased by removing them.

One key of the home's `keys/` is behind both; the database, and a backup of it alone, tell nobody a number,
an address or a telephone. The store remembers which key it was: with another one nothing is written, since
numbers that are on record would not be found any more.
"""

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pkiserver.errors import UnavailableError
from pkiserver.home import PRIVATE_FILE_MODE, write_file
from store import facts
from store import personal_data as rows
from store.database import Transaction

KEY_OCTETS: Final = 32
NONCE_OCTETS: Final = 12  # NIST SP 800-38D §8.3: random ones, for fewer than 2**32 values
SEARCHABLE: Final = frozenset({"register_number", "civil_id"})
MAX_FOUND: Final = 100
_KEY_FACT: Final = "personal-data-key"


@dataclass(frozen=True, slots=True, repr=False)
class _Keys:
    cipher: AESGCM
    search: bytes
    fingerprint: str

    @classmethod
    def of(cls, secret: bytes) -> "_Keys":
        """Derive a key for each use (RFC 5869): none tells another."""
        seal, search, name = (
            HKDF(SHA256(), KEY_OCTETS, None, b"pkiserver personal data " + use).derive(secret)
            for use in (b"seal", b"search", b"name")
        )
        return cls(AESGCM(seal), search, name.hex()[:32])


class PersonalData:
    """Keeps values of rows by fields; the key is made when the first value is kept."""

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file
        self._keys: _Keys | None = None

    def put(self, tx: Transaction, subject: str, row: int, values: Mapping[str, str]) -> None:
        """Set values of a row; `UnavailableError` where the key is not that of what is kept already."""
        keys = self._keys_for(tx)
        rows.put(
            tx,
            subject,
            row,
            {
                field: (
                    _seal(keys, _place(subject, row, field), value),
                    _keyed_hash(keys, field, value) if field in SEARCHABLE else None,
                )
                for field, value in values.items()
            },
        )

    def read(self, tx: Transaction, subject: str, row: int) -> dict[str, str]:
        """Return the values of a row; empty where they were erased. `UnavailableError` without the key."""
        sealed = rows.of_row(tx, subject, row)
        if not sealed:
            return {}
        keys = self._opened()
        return {field: _unseal(keys, _place(subject, row, field), value) for field, value in sealed.items()}

    def find(self, tx: Transaction, subject: str, field: str, value: str) -> list[int]:
        """Return the rows that have this very value in a searchable field, the newest first."""
        if facts.get(tx, _KEY_FACT) is None:
            return []
        return rows.with_hash(tx, subject, field, _keyed_hash(self._opened(), field, value), MAX_FOUND)

    def erase(self, tx: Transaction, subject: str, row: int) -> int:
        """Remove every value of a row; return how many there were. Needs no key."""
        return rows.erase(tx, subject, row)

    def _keys_for(self, tx: Transaction) -> _Keys:
        """Return the keys that the store knows, or make them where nothing was kept yet."""
        known = facts.get(tx, _KEY_FACT)
        if known is None and not self._key_file.exists():
            write_file(self._key_file, os.urandom(KEY_OCTETS).hex().encode() + b"\n", PRIVATE_FILE_MODE)
        keys = self._opened()
        if known is None:
            facts.put(tx, _KEY_FACT, keys.fingerprint)
        elif known != keys.fingerprint:
            raise UnavailableError(f"personal data have another key than {self._key_file.name}")
        return keys

    def _opened(self) -> _Keys:
        if self._keys is None:
            self._keys = _Keys.of(_read(self._key_file))
        return self._keys


def _place(subject: str, row: int, field: str) -> bytes:
    return f"{subject}/{row}/{field}".encode()


def _seal(keys: _Keys, place: bytes, value: str) -> bytes:
    nonce = os.urandom(NONCE_OCTETS)
    return nonce + keys.cipher.encrypt(nonce, value.encode(), place)


def _unseal(keys: _Keys, place: bytes, sealed: bytes) -> str:
    try:
        return keys.cipher.decrypt(sealed[:NONCE_OCTETS], sealed[NONCE_OCTETS:], place).decode()
    except (InvalidTag, ValueError) as error:
        raise UnavailableError("personal data cannot be read: altered, or of another key") from error


def _keyed_hash(keys: _Keys, field: str, value: str) -> bytes:
    return hmac.digest(keys.search, f"{field}/{value}".encode(), "sha256")


def _read(path: Path) -> bytes:
    try:
        secret = bytes.fromhex(path.read_text("ascii").strip())
    except (OSError, ValueError) as error:
        raise UnavailableError(f"the key of personal data cannot be read: {path.name}") from error
    if len(secret) != KEY_OCTETS:
        raise UnavailableError(f"the key of personal data is not whole: {path.name}")
    return secret
