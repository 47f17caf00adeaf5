"""A file sealed with a passphrase: scrypt (RFC 7914) gives the key of AES-256-GCM over a row of pieces.

    magic       17 octets, the last the version of the format
    cost        1 octet: log2 of scrypt's N; r is 8, p is 1
    salt        16 octets, random: each file has a key of its own
    pieces      length (4 octets, big-endian), ciphertext with its tag

A piece's nonce is its number (11 octets) and whether it is the last (1 octet); all before the pieces is
authenticated with each of them. So none can be changed, moved, left out or cut off unseen.
"""

import os
import struct
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from pkiserver.errors import RefusedError

COST: Final = 17  # 128 MiB and some tenths of a second for each guess
MIN_PASSPHRASE: Final = 12  # characters; a file may be guessed at for as long as it exists
PIECE_OCTETS: Final = 1 << 20

_MAGIC: Final = b"pkiserver backup\x01"
_SALT_OCTETS: Final = 16
_TAG_OCTETS: Final = 16
_COSTS: Final = range(10, 21)  # a file may not ask for more than 1 GiB of memory
_R: Final = 8
_LENGTH: Final = struct.Struct(">I")


class DamagedBackupError(RefusedError):
    """The file is no backup, not whole, or was altered; or the passphrase is another one."""


def _key(passphrase: str, salt: bytes, cost: int) -> AESGCM:
    derived = Scrypt(salt=salt, length=32, n=1 << cost, r=_R, p=1).derive(passphrase.encode())
    return AESGCM(derived)


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


class SealedWriter:
    """Writes one sealed file; it is not whole before `finish`."""

    def __init__(self, out: BinaryIO, passphrase: str, *, cost: int = COST) -> None:
        """Begin the file; `RefusedError` for a passphrase that is too short."""
        if len(passphrase) < MIN_PASSPHRASE:
            raise RefusedError(f"the passphrase is too short: {MIN_PASSPHRASE} characters at least")
        salt = os.urandom(_SALT_OCTETS)
        self._out = out
        self._header = _MAGIC + bytes([cost]) + salt
        self._key = _key(passphrase, salt, cost)
        self._number = 0
        self._buffer = bytearray()
        out.write(self._header)

    def write(self, data: bytes) -> None:
        """Write some octets."""
        self._buffer += data
        while len(self._buffer) > PIECE_OCTETS:
            self._seal(bytes(self._buffer[:PIECE_OCTETS]), last=False)
            del self._buffer[:PIECE_OCTETS]

    def finish(self) -> None:
        """Write the last piece."""
        self._seal(bytes(self._buffer), last=True)
        self._buffer.clear()

    def _seal(self, piece: bytes, *, last: bool) -> None:
        sealed = self._key.encrypt(_nonce(self._number, last=last), piece, self._header)
        self._out.write(_LENGTH.pack(len(sealed)) + sealed)
        self._number += 1


class SealedReader:
    """Reads one sealed file; what it gives is authentic, and `finish` says that nothing is missing.

    Every method raises `DamagedBackupError`.
    """

    def __init__(self, source: BinaryIO, passphrase: str) -> None:
        self._source = source
        self._header = source.read(len(_MAGIC) + 1 + _SALT_OCTETS)
        if len(self._header) != len(_MAGIC) + 1 + _SALT_OCTETS or not self._header.startswith(_MAGIC):
            raise DamagedBackupError("this is no backup, or one of another version")
        cost = self._header[len(_MAGIC)]
        if cost not in _COSTS:
            raise DamagedBackupError("the backup asks for more work than a backup may")
        self._key = _key(passphrase, self._header[-_SALT_OCTETS:], cost)
        self._number = 0
        self._piece = b""
        self._ended = False

    def rewind(self) -> None:
        """Begin again, without the work on the passphrase."""
        self._source.seek(len(self._header))
        self._number, self._piece, self._ended = 0, b"", False

    def read(self, octets: int) -> bytes:
        """Return so many octets, at most a piece at once; fewer only where the piece or the file ends."""
        if not self._piece and not self._ended:
            self._piece = self._next()
        found, self._piece = self._piece[:octets], self._piece[octets:]
        return found

    def exactly(self, octets: int) -> bytes:
        """Return exactly so many octets; the caller has bounded them."""
        found = b""
        while len(found) < octets:
            part = self.read(octets - len(found))
            if not part:
                raise DamagedBackupError("the backup ends early")
            found += part
        return found

    def finish(self) -> None:
        """Check that all was read and nothing stands behind the end."""
        if self._piece or not self._ended or self._source.read(1):
            raise DamagedBackupError("there is more in the backup than it says")

    def _next(self) -> bytes:
        head = self._source.read(_LENGTH.size)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
        if not _TAG_OCTETS <= length <= PIECE_OCTETS + _TAG_OCTETS:
            raise DamagedBackupError("the backup is damaged or cut short")
        sealed = self._source.read(length)
        if len(sealed) != length:
            raise DamagedBackupError("the backup is cut short")
        for last in (False, True):
            try:
                piece = self._key.decrypt(_nonce(self._number, last=last), sealed, self._header)
            except InvalidTag:
                continue
            self._number, self._ended = self._number + 1, last
            return piece
        if self._number == 0:
            raise DamagedBackupError("the passphrase is not that of this backup, or the backup is damaged")
        raise DamagedBackupError("the backup is damaged")
