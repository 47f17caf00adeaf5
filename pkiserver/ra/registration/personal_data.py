"""Personal data at rest: encrypted for their place, searched by keyed hashes, erased by removing them.

One key of the home's `keys/` is behind both; the database, and a backup of it alone, tell nobody a number,
an address or a telephone. The store remembers which key it was: with another one nothing is written, since
numbers that are on record would not be found any more. A key is replaced while all goes on: until every value
is encrypted anew the file has both, the new one first.
"""

import hmac
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pkiserver.errors import NotFoundError, UnavailableError
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


@dataclass(frozen=True, slots=True, repr=False)
class _KeyRing:
    """The key that is written with, and the one before while values of it are re-encrypted."""

    current: _Keys
    before: _Keys | None = None

    @property
    def all(self) -> tuple[_Keys, ...]:
        return (self.current,) if self.before is None else (self.current, self.before)


class PersonalData:
    """Keeps values of rows by fields; the key is made when the first value is kept."""

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file
        self._ring: _KeyRing | None = None

    def put(self, tx: Transaction, subject: str, row: int, values: Mapping[str, str]) -> None:
        """Set values of a row; `UnavailableError` where the key is not that of what is kept already."""
        keys = self._ring_for(tx).current
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

    def read(
        self, tx: Transaction, subject: str, row: int, fields: Collection[str] | None = None
    ) -> dict[str, str]:
        """Return the values of a row, or those of `fields` alone; empty where they were erased.

        `UnavailableError` without the key.
        """
        sealed = rows.of_row(tx, subject, row)
        if not sealed:
            return {}
        ring = self._opened()
        return {
            field: _unseal(ring, _place(subject, row, field), value)
            for field, value in sealed.items()
            if fields is None or field in fields
        }

    def find(self, tx: Transaction, subject: str, field: str, value: str) -> list[int]:
        """Return the rows that have this very value in a searchable field, the newest first."""
        if facts.get(tx, _KEY_FACT) is None:
            return []
        found = [
            row
            for keys in self._opened().all
            for row in rows.with_hash(tx, subject, field, _keyed_hash(keys, field, value), MAX_FOUND)
        ]
        return sorted(found, reverse=True)[:MAX_FOUND]

    def erase(self, tx: Transaction, subject: str, row: int) -> int:
        """Remove every value of a row; return how many there were. Needs no key."""
        return rows.erase(tx, subject, row)

    def begin_rotation(self, tx: Transaction) -> None:
        """Have a new key written with from now on; where a rotation was cut short, go on with that one.

        The file has both keys before the store knows the new one, so that a crash loses neither.
        `NotFoundError` where nothing is kept yet.
        """
        if facts.get(tx, _KEY_FACT) is None:
            raise NotFoundError("no personal data are kept yet: there is no key to replace")
        secrets = _read(self._key_file)
        ring = self._ring_for(tx)
        if len(secrets) == 1:
            secrets = [os.urandom(KEY_OCTETS), *secrets]
            _write(self._key_file, secrets)
            ring = _KeyRing(_Keys.of(secrets[0]), ring.current)
        self._ring = ring
        facts.put(tx, _KEY_FACT, ring.current.fingerprint)

    def reencrypt(self, tx: Transaction, after: rows.Place, limit: int) -> tuple[rows.Place | None, int]:
        """Encrypt values behind a place anew; return the place of the last, None at the end, and how many."""
        ring = self._opened()
        found = rows.behind(tx, after, limit)
        for place, sealed in found:
            value = _unseal(ring, _place(*place), sealed)
            keyed_hash = _keyed_hash(ring.current, place[2], value) if place[2] in SEARCHABLE else None
            rows.put(
                tx, place[0], place[1], {place[2]: (_seal(ring.current, _place(*place), value), keyed_hash)}
            )
        return (found[-1][0] if len(found) == limit else None), len(found)

    def end_rotation(self) -> None:
        """Drop the key before, by which nothing is encrypted any more."""
        secrets = _read(self._key_file)
        _write(self._key_file, secrets[:1])
        self._ring = _KeyRing(_Keys.of(secrets[0]))

    def _ring_for(self, tx: Transaction) -> _KeyRing:
        """Return the keys that the store knows, or make one where nothing was kept yet."""
        known = facts.get(tx, _KEY_FACT)
        if known is None and not self._key_file.exists():
            _write(self._key_file, [os.urandom(KEY_OCTETS)])
        ring = self._opened()
        if known is None:
            facts.put(tx, _KEY_FACT, ring.current.fingerprint)
        elif known not in [keys.fingerprint for keys in ring.all]:
            raise UnavailableError(f"personal data have another key than {self._key_file.name}")
        return ring

    def _opened(self) -> _KeyRing:
        if self._ring is None:
            self._ring = _KeyRing(*map(_Keys.of, _read(self._key_file)))
        return self._ring


def _place(subject: str, row: int, field: str) -> bytes:
    return f"{subject}/{row}/{field}".encode()


def _seal(keys: _Keys, place: bytes, value: str) -> bytes:
    nonce = os.urandom(NONCE_OCTETS)
    return nonce + keys.cipher.encrypt(nonce, value.encode(), place)


def _unseal(ring: _KeyRing, place: bytes, sealed: bytes) -> str:
    for keys in ring.all:
        try:
            return keys.cipher.decrypt(sealed[:NONCE_OCTETS], sealed[NONCE_OCTETS:], place).decode()
        except (InvalidTag, ValueError):
            continue
    raise UnavailableError("personal data cannot be read: altered, or of another key")


def _keyed_hash(keys: _Keys, field: str, value: str) -> bytes:
    return hmac.digest(keys.search, f"{field}/{value}".encode(), "sha256")


def _read(path: Path) -> list[bytes]:
    """Return the key of the file, and behind it the one before while that is replaced."""
    try:
        secrets = [bytes.fromhex(line) for line in path.read_text("ascii").split()]
    except (OSError, ValueError) as error:
        raise UnavailableError(f"the key of personal data cannot be read: {path.name}") from error
    if not 1 <= len(secrets) <= 2 or any(len(secret) != KEY_OCTETS for secret in secrets):
        raise UnavailableError(f"the key of personal data is not whole: {path.name}")
    return secrets


def _write(path: Path, secrets: list[bytes]) -> None:
    write_file(path, b"".join(secret.hex().encode() + b"\n" for secret in secrets), PRIVATE_FILE_MODE)
