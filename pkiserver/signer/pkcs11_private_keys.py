"""Keys of a token as private keys of cryptography: its builders, CMS and PKCS #10 sign with them.

For programs that use this package, in one thread that may wait for the token. What pkiserver itself signs it
writes down before, as a TBS, so a ceremony opens its token here and signs what was noted (`signed_once`), and
the server asks `client.Signer`. Nothing private is there to be exported. Every signature is verified before
it is returned.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from config.pkcs11_uri import PKCS11URI
from pkiserver.signer.algorithms import digest
from pkiserver.signer.errors import UnsupportedKeyError
from pkiserver.signer.pkcs11 import Pkcs11KeyStore
from pkiserver.signer.pkcs11_signing import Padding
from pkiserver.signer.public_part import ECPublicPart, Ed25519PublicPart, RSAPublicPart
from pkiserver.signer.secret import SecretSource, ask_secret
from pkiserver.signer.settings import SignerSettings

TokenPrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@contextmanager
def opened_token(uri: PKCS11URI) -> Iterator[Pkcs11KeyStore]:
    """Open the token that a URI names, for the length of a block; its PIN is typed where no source is named.

    Raises as `pkcs11_session.log_in` does. A path of the PIN that is relative begins at the working folder.
    """
    settings = SignerSettings(
        store="pkcs11",
        module=uri.module_path,
        token_label=uri.token,
        token_serial=uri.serial,
        pin_file=uri.pin_file,
        pin_env=uri.pin_environment,
        pin_prompt=uri.pin_source is None,
    )
    typed = ask_secret(f"PIN of {settings.token_name}") if settings.pin_prompt else None
    store = Pkcs11KeyStore.open(settings, SecretSource.of(settings, typed))
    try:
        yield store
    finally:
        store.close()


@contextmanager
def opened_key(uri: PKCS11URI) -> Iterator[TokenPrivateKey]:
    """Open the token and give the key that a URI names by object, id or both, for the length of a block.

    Raises as `opened_token`, `Pkcs11KeyStore.label_of` and `token_private_key` do.
    """
    with opened_token(uri) as store:
        yield token_private_key(store, store.label_of(uri.object, uri.id))


def token_private_key(store: Pkcs11KeyStore, label: str) -> TokenPrivateKey:
    """Return the key with this label; raises as `KeyStore.public_key` does."""
    public_key = store.public_key(label)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return _ECTokenKey(store, label, public_key)
    if isinstance(public_key, rsa.RSAPublicKey):
        return _RSATokenKey(store, label, public_key)
    return _Ed25519TokenKey(store, label, public_key)


def _nothing_private() -> NoReturn:
    raise UnsupportedKeyError("the token keeps its private keys to itself")


def _hashed(algorithm: object, data: bytes) -> tuple[bytes, hashes.HashAlgorithm]:
    """Return the digest of `data`, or `data` itself where it is one already, and the hash."""
    if isinstance(algorithm, Prehashed):
        algorithm, hashed = algorithm._algorithm, data
        if len(hashed) != algorithm.digest_size:
            raise UnsupportedKeyError("the digest is not of the hash that is named")
        return hashed, algorithm
    if not isinstance(algorithm, hashes.HashAlgorithm):
        raise UnsupportedKeyError("no hash algorithm")
    return digest(algorithm, data), algorithm


class _ECTokenKey(ECPublicPart):
    def __init__(self, store: Pkcs11KeyStore, label: str, public_key: ec.EllipticCurvePublicKey) -> None:
        super().__init__(public_key, _nothing_private)
        self._store = store
        self._label = label

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        return self._store.sign_hashed(self._label, *_hashed(signature_algorithm.algorithm, bytes(data)))


class _RSATokenKey(RSAPublicPart):
    def __init__(self, store: Pkcs11KeyStore, label: str, public_key: rsa.RSAPublicKey) -> None:
        super().__init__(public_key, _nothing_private)
        self._store = store
        self._label = label

    def sign(self, data: Any, padding_: object, algorithm: object) -> bytes:
        if not isinstance(padding_, Padding):
            raise UnsupportedKeyError("RSA signs with PKCS #1 v1.5 or PSS")
        return self._store.sign_hashed(self._label, *_hashed(algorithm, bytes(data)), padding_)


class _Ed25519TokenKey(Ed25519PublicPart):
    def __init__(self, store: Pkcs11KeyStore, label: str, public_key: ed25519.Ed25519PublicKey) -> None:
        super().__init__(public_key, _nothing_private)
        self._store = store
        self._label = label

    def sign(self, data: Any) -> bytes:
        return self._store.sign(self._label, bytes(data))
