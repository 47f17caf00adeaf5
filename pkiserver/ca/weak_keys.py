"""Look-up of RSA keys whose private half is public, above all those of Debian's OpenSSL (CVE-2008-0166).

The format is that of Debian's openssl-blacklist: a line is 20 hexadecimal digits, the last 80 bits of the
SHA-1 of `Modulus=`, the modulus in upper-case hexadecimal, and a newline (what `openssl rsa -modulus`
prints); `#` begins a comment line. An operator gives such files (blacklist.RSA-2048 and its like); only the
fingerprints in `PUBLISHED_WEAK_KEYS` come with the program.

A fingerprint is cut to 80 bits, so a sound key is refused by mistake with a chance of entries / 2^80: with
half a million entries, one key in 2^61. Such a key's owner makes another one.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pkiserver.errors import PKIServerError

FINGERPRINT_BYTES: Final = 10
MAX_ENTRIES: Final = 4_000_000  # all published Debian keys are about 2 million; this keeps memory at 40 MB
_MAX_LINE: Final = 1000  # no comment of the published files comes near


class WeakKeyListError(PKIServerError):
    """A list of weak keys cannot be read, or is not in the format of openssl-blacklist."""


def rsa_fingerprint(modulus: int) -> bytes:
    """Return the 10 bytes by which openssl-blacklist knows an RSA modulus."""
    digest = hashlib.sha1(b"Modulus=%X\n" % modulus, usedforsecurity=False).digest()
    return digest[-FINGERPRINT_BYTES:]


class WeakKeyList:
    """An immutable set of fingerprints, 10 bytes each, searched by bisection."""

    __slots__ = ("_entries",)

    def __init__(self, fingerprints: Iterable[bytes]) -> None:
        self._entries = b"".join(sorted(set(fingerprints)))

    def __len__(self) -> int:
        return len(self._entries) // FINGERPRINT_BYTES

    def _entry(self, index: int) -> bytes:
        return self._entries[index * FINGERPRINT_BYTES : (index + 1) * FINGERPRINT_BYTES]

    def has_modulus(self, modulus: int) -> bool:
        """Return True when the RSA modulus is listed."""
        wanted = rsa_fingerprint(modulus)
        index = bisect_left(range(len(self)), wanted, key=self._entry)
        return self._entry(index) == wanted


def load_weak_keys(paths: Iterable[Path]) -> WeakKeyList:
    """Return the published fingerprints together with those of openssl-blacklist files.

    Raises `WeakKeyListError` for a file that cannot be read, a line of another form or over `MAX_ENTRIES`.
    """
    fingerprints = set(_PUBLISHED)
    for path in paths:
        for fingerprint in _read(path):
            fingerprints.add(fingerprint)
            if len(fingerprints) > MAX_ENTRIES:
                raise WeakKeyListError(f"the lists of weak keys hold more than {MAX_ENTRIES} entries")
    return WeakKeyList(fingerprints)


def _read(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(_MAX_LINE):
                number += 1
                if text := line.strip():
                    yield from _parse(text, f"{path.name} line {number}")
    except OSError as error:
        raise WeakKeyListError(f"the list of weak keys {path} cannot be read: {error.strerror}") from error


def _parse(text: bytes, where: str) -> Iterator[bytes]:
    if text.startswith(b"#"):
        return
    try:
        fingerprint = bytes.fromhex(text.decode("ascii"))
    except ValueError as error:
        raise WeakKeyListError(f"{where} is not hexadecimal") from error
    if len(fingerprint) != FINGERPRINT_BYTES or len(text) != 2 * FINGERPRINT_BYTES:
        raise WeakKeyListError(f"{where} is not 20 hexadecimal digits")
    yield fingerprint


# Computed from the RSA 2048 key that the badkeys project publishes as its example of CVE-2008-0166, so that
# the check is live, and can be tried on a running server, before an operator gives a list.
_PUBLISHED: Final = frozenset({bytes.fromhex("b7ead9492dfd921fc4f9")})
PUBLISHED_WEAK_KEYS: Final = WeakKeyList(_PUBLISHED)
