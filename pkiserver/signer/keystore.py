"""What every key store can do, and what a label looks like. A key store serves one thread."""

import re
from collections.abc import Sequence
from typing import Final, Protocol

from pkiserver.signer.algorithms import KeySpec, SigningPublicKey
from pkiserver.signer.errors import BadLabelError

# Safe as a file name, a CKA_LABEL and a URI part; no leading dot, so no hidden or parent folder.
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_label(label: str) -> None:
    """Raise `BadLabelError` unless `label` is 1 to 64 of `A-Z a-z 0-9 . _ -`, the first a letter or digit."""
    if not _LABEL.fullmatch(label):
        raise BadLabelError(
            "a key label is 1 to 64 letters, digits, '.', '_' or '-', and starts with neither mark"
        )


class KeyStore(Protocol):
    """Keys by label. Each method raises `SignerError`s only.

    `BadLabelError` for an unsafe label, `KeyNotFoundError` for an unknown one, `KeyExistsError` where
    a label is taken or not unique, `SignerUnavailableError` where the store itself fails,
    `SessionLostError` where only its session did: then nothing but `reopen` and `close` is of use.
    """

    def generate(self, label: str, spec: KeySpec) -> SigningPublicKey:
        """Make a key, durable when this returns, and return its public part; never replaces a key."""

    def public_key(self, label: str) -> SigningPublicKey:
        """Return the public part of a key."""

    def sign(self, label: str, data: bytes) -> bytes:
        """Return the signature over `data` by the key's algorithm, in the form that X.509 has it."""

    def sign_many(self, label: str, data: Sequence[bytes]) -> list[bytes]:
        """Return one signature for each of `data`, in order; all or none."""

    def sign_digest(self, label: str, hashed: bytes) -> bytes:
        """Return the signature over what hashes to `hashed` by the hash of the key's algorithm.

        `UnsupportedKeyError` where the algorithm hashes by itself or the length is not that of its hash.
        """

    def labels(self) -> list[str]:
        """Return the labels of all keys, sorted."""

    def check(self) -> None:
        """Sign with a key that exists for nothing else, and verify; return where all is well."""

    def reopen(self) -> None:
        """Give up the session, where there is one, and open another with keys looked up anew."""

    def close(self) -> None:
        """Give up keys and session; the store is not used afterwards."""
