"""The keys of a ceremony: made once in a token or a folder, or for a rehearsal and thrown away."""

import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from config.ceremony import Key, Store
from config.pkcs11_uri import FILE, PKCS11URI
from pkiserver.ceremony.inputs import CeremonyFile
from pkiserver.ceremony.journal import Journal
from pkiserver.errors import ConflictError
from pkiserver.signer.algorithms import (
    CURVES,
    KeySpec,
    SigningPublicKey,
    load_public_key,
    public_key_der,
    verify,
)
from pkiserver.signer.keystore import KeyStore
from pkiserver.signer.pkcs11 import Pkcs11KeyStore
from pkiserver.signer.pkcs11_private_keys import opened_token
from pkiserver.signer.secret import read_secret
from pkiserver.signer.software import SoftwareKeyStore

_KIND: Final = "key"


@contextmanager
def opened_store(file: CeremonyFile) -> Iterator[KeyStore]:
    """Give the key store that the file names, for the length of a block; raises `SignerError`s."""
    store: Store = file.ceremony.store
    if store.uri:
        with opened_token(_with_pin_beside(file, PKCS11URI.parse(store.uri))) as token:
            yield token
        return
    secret = read_secret("passphrase", str(file.at(store.passphrase_file or Path())), None)
    software = SoftwareKeyStore(file.at(store.folder or Path()), secret)
    try:
        yield software
    finally:
        software.close()


def _with_pin_beside(file: CeremonyFile, uri: PKCS11URI) -> PKCS11URI:
    """Return a URI whose PIN's file, where it is a relative path, begins at the ceremony's folder."""
    if uri.pin_file is None:
        return uri
    return replace(uri, pin_source=f"{FILE}{file.at(Path(uri.pin_file)).absolute()}")


def device_of(store: KeyStore) -> str | None:
    """Return what a token says of itself, None where the keys are in files (GEN-6.5.1-13)."""
    return store.description() if isinstance(store, Pkcs11KeyStore) else None


@contextmanager
def throw_away_store(keys: Mapping[str, Key]) -> Iterator[KeyStore]:
    """Give a key store that is gone after the block, with keys in place of those that exist elsewhere."""
    with tempfile.TemporaryDirectory(prefix="ceremony-") as folder:
        store = SoftwareKeyStore(Path(folder) / "keys", secrets.token_urlsafe(32))
        for label, key in keys.items():
            if key.existing:
                store.generate(label, KeySpec.parse(key.kind))
        try:
            yield store
        finally:
            store.close()


class CeremonyKeys:
    """The keys of one ceremony. Nothing is overwritten, and a key that is there is used only where said."""

    def __init__(self, store: KeyStore, keys: Mapping[str, Key], journal: Journal) -> None:
        self._store = store
        self._keys = keys
        self._journal = journal
        self._public: dict[str, SigningPublicKey] = {}

    def check(self) -> None:
        """Raise `ConflictError` for every key that is there and should not be, or is not and should."""
        there = set(self._store.labels())
        wrong = [
            f"there is a key {label} already"
            for label, key in self._keys.items()
            if label in there and not key.existing and self._journal.begun(_KIND, label) is None
        ]
        wrong += [
            f"there is no key {label}"
            for label, key in self._keys.items()
            if key.existing and label not in there
        ]
        if wrong:
            raise ConflictError("; ".join(wrong) + ": nothing was made")

    def public_key(self, label: str) -> SigningPublicKey:
        """Return the public part of a key, which is made now where it is not there yet."""
        found = self._public.get(label)
        if found is None:
            found = self._public[label] = self._ensured(label)
        return found

    def sign(self, label: str, data: bytes) -> bytes:
        """Return a signature by a key, verified."""
        public_key = self.public_key(label)
        signature = self._store.sign(label, data)
        verify(public_key, signature, data)
        return signature

    def _ensured(self, label: str) -> SigningPublicKey:
        """Return a key of the right kind; whatever a journal says, a key of this ceremony was made inside."""
        found = self._found_or_made(label)
        if not self._keys[label].existing and isinstance(self._store, Pkcs11KeyStore):
            self._store.require_made_inside(label)
        if _kind_of(found) != self._keys[label].kind:
            raise ConflictError(f"the key {label} is {_kind_of(found)}, not {self._keys[label].kind}")
        return found

    def _found_or_made(self, label: str) -> SigningPublicKey:
        if self._keys[label].existing:
            return self._store.public_key(label)
        done = self._journal.done(_KIND, label)
        if done is not None:
            found = self._store.public_key(label)
            if public_key_der(found) != done:
                raise ConflictError(f"the key {label} is not the one that this ceremony made")
            return load_public_key(done)
        if self._journal.begun(_KIND, label) is None:
            self._journal.begin(_KIND, label, b"")
        if label in self._store.labels():  # made, and not noted before all ended
            found = self._store.public_key(label)
        else:
            found = self._store.generate(label, KeySpec.parse(self._keys[label].kind))
        self._journal.finish(_KIND, label, public_key_der(found))
        return found


def _kind_of(public_key: SigningPublicKey) -> str:
    """Return the kind of a key as a ceremony's file writes it."""
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return next(f"ec:{name}" for name, curve in CURVES.items() if curve.name == public_key.curve.name)
    return f"rsa:{public_key.key_size}" if isinstance(public_key, rsa.RSAPublicKey) else "ed25519"
