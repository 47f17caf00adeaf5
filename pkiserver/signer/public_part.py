"""Private keys of cryptography of which the public part alone is here (`placeholder`, `pkcs11_private_keys`).

cryptography's builders take a subclass of its private-key classes. What these ask of one, but for `sign`, is
the same whoever signs: the public key is shown, and everything private is refused.
"""

from collections.abc import Callable
from typing import Any, Generic, NoReturn, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

Refusal = Callable[[], NoReturn]
"""Raises, and tells why nothing private is given away."""
_Public = TypeVar("_Public", ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey)


class _PublicPart(Generic[_Public]):
    """What keys of every kind have."""

    def __init__(self, public_key: _Public, refuse: Refusal) -> None:
        self._public_key: _Public = public_key
        self._refuse = refuse

    def public_key(self) -> _Public:
        return self._public_key

    def private_bytes(self, *_: object) -> NoReturn:
        self._refuse()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class ECPublicPart(_PublicPart[ec.EllipticCurvePublicKey], ec.EllipticCurvePrivateKey):
    """A key on a curve that `sign`s as a subclass says."""

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def exchange(self, *_: object) -> NoReturn:
        self._refuse()

    def private_numbers(self) -> NoReturn:
        self._refuse()


class RSAPublicPart(_PublicPart[rsa.RSAPublicKey], rsa.RSAPrivateKey):
    """An RSA key that `sign`s as a subclass says."""

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def decrypt(self, *_: object) -> NoReturn:
        self._refuse()

    def private_numbers(self) -> NoReturn:
        self._refuse()


class Ed25519PublicPart(_PublicPart[ed25519.Ed25519PublicKey], ed25519.Ed25519PrivateKey):
    """An Ed25519 key that `sign`s as a subclass says."""

    def private_bytes_raw(self) -> NoReturn:
        self._refuse()
