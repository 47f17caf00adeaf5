"""The PKCS#11 key store: one module, one token, one session, in a process that does nothing else.

Private keys are found by CKA_LABEL and their public keys by CKA_ID. One that the token would give away, or
may not sign, is not used. After a PKCS#11 error the session is given up: where only it was lost, another is
opened when asked for (`reopen`), else the process ends and is replaced.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

from pkiserver.signer.algorithms import (
    KeySpec,
    SigningPublicKey,
    check_digest,
    digest,
    hash_of,
    signature_algorithm_for,
)
from pkiserver.signer.errors import (
    KeyExistsError,
    KeyNotFoundError,
    SignerError,
    UnsupportedKeyError,
)
from pkiserver.signer.keystore import check_label
from pkiserver.signer.pkcs11_keys import CURVE_OIDS, ED25519_OID, read_public_key
from pkiserver.signer.pkcs11_session import TokenSession, log_in
from pkiserver.signer.pkcs11_signing import Padding, Signing, signing
from pkiserver.signer.secret import SecretSource
from pkiserver.signer.settings import SignerSettings
from protocols.asn1 import der

_ID_BYTES: Final = 20  # the length of the SHA-1 of a key, which tools expect of a CKA_ID
_GENERATORS: Final = {
    "ec": Mechanism.EC_KEY_PAIR_GEN,
    "rsa": Mechanism.RSA_PKCS_KEY_PAIR_GEN,
    "ed25519": Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
}
CHECK_KEY: Final = "health-check"  # a key of this label, where there is one, signs for `check`
_MADE_INSIDE: Final = (Attribute.LOCAL, Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE)
_CHECK_DATA: Final = b"pkiserver signer check"
_CHECK_SPEC: Final = KeySpec("ec", "P-256")


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key of the token; `generation` is that of the session in which its handle was found."""

    generation: int
    private: Any
    public_key: SigningPublicKey
    hash: hashes.HashAlgorithm | None
    signing: Signing

    def sign(self, data: Sequence[bytes]) -> list[bytes]:
        """Return verified signatures over `data` by the algorithm of keys of this kind; all or an error."""
        if self.hash is not None:
            data = [digest(self.hash, one) for one in data]
        return self.signing.signatures(data)


class Pkcs11KeyStore:
    """A `KeyStore` on a token; logged in when it is opened, by one try of the PIN."""

    def __init__(self, log_in: Callable[[], Any]) -> None:
        """Open the first session by `log_in`, and further ones when asked to."""
        self._session = TokenSession(log_in)
        self._mechanisms: Any = self._session.now.token.slot.get_mechanisms()
        self._keys: dict[str, TokenKey] = {}
        self._check_key: TokenKey | None = None

    @classmethod
    def open(cls, settings: SignerSettings, secret: SecretSource) -> "Pkcs11KeyStore":
        """Return the store that the settings name; raises as `pkcs11_session.log_in` does."""
        return cls(lambda: log_in(settings, secret))

    def generate(self, label: str, spec: KeySpec) -> SigningPublicKey:
        """See `KeyStore.generate`; the private key is sensitive and cannot be extracted."""
        check_label(label)
        if _GENERATORS[spec.algorithm] not in self._mechanisms:
            raise UnsupportedKeyError(f"the token makes no {spec} keys")
        with self._session.errors("make a key"):
            if self._find(ObjectClass.PRIVATE_KEY, label) or self._find(ObjectClass.PUBLIC_KEY, label):
                raise KeyExistsError(f"there is a key {label} already")
            public, private = self._generate(label, spec)
            if not _stays_inside(private):
                private.destroy()
                public.destroy()
                raise UnsupportedKeyError("the token does not keep its private keys to itself")
        return self.public_key(label)

    def public_key(self, label: str) -> SigningPublicKey:
        """See `KeyStore.public_key`."""
        return self.key(label).public_key

    def sign(self, label: str, data: bytes) -> bytes:
        """See `KeyStore.sign`; `TokenSignatureError` where the token's signature does not verify."""
        (signature,) = self.sign_many(label, (data,))
        return signature

    def sign_many(self, label: str, data: Sequence[bytes]) -> list[bytes]:
        """See `KeyStore.sign_many`."""
        key = self.key(label)
        with self._session.errors("sign"):
            return key.sign(data)

    def sign_digest(self, label: str, hashed: bytes) -> bytes:
        """See `KeyStore.sign_digest`; verified as in `sign`."""
        public_key = self.key(label).public_key
        check_digest(public_key, hashed)
        return self.sign_hashed(label, hashed, hash_of(public_key))

    def sign_hashed(
        self,
        label: str,
        hashed: bytes,
        algorithm: hashes.HashAlgorithm,
        rsa_padding: Padding | None = None,
    ) -> bytes:
        """Return the verified signature over what has this hash; raises as `pkcs11_signing` does."""
        key = self.key(label)
        signing_ = signing(key.private, key.public_key, algorithm, rsa_padding)
        with self._session.errors("sign"):
            (signature,) = signing_.signatures((hashed,))
        return signature

    def labels(self) -> list[str]:
        """See `KeyStore.labels`; keys whose label is not of our form are none of ours."""
        with self._session.errors("list keys"):
            found = {
                str(key[Attribute.LABEL])
                for key in self._session.now.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
            }
        return sorted(label for label in found if _is_ours(label))

    def require_made_inside(self, label: str) -> None:
        """Raise `UnsupportedKeyError` unless the token itself made a key, which was never outside it.

        It marks such keys (PKCS#11 §4.9): one that was brought in is neither CKA_LOCAL, nor
        CKA_ALWAYS_SENSITIVE, nor CKA_NEVER_EXTRACTABLE.
        """
        private = self.key(label).private
        with self._session.errors("find a key"):
            missing = [mark.name for mark in _MADE_INSIDE if not private[mark]]
        if missing:
            raise UnsupportedKeyError(
                f"the key {label} was not made in this token, or has been outside: no {', '.join(missing)}"
            )

    def description(self) -> str:
        """Return what the token says of itself: maker, model, serial number, hardware and firmware."""
        with self._session.errors("describe itself"):
            token = self._session.now.token
            hardware, firmware = (
                ".".join(map(str, version)) for version in (token.hardware_version, token.firmware_version)
            )
            serial = token.serial.decode(errors="backslashreplace")
            return (
                f"{token.manufacturer_id}, {token.model}, serial number {serial},"
                f" hardware {hardware}, firmware {firmware}"
            )

    def label_of(self, label: str | None, identifier: bytes | None) -> str:
        """Return the label of the one private key with this CKA_LABEL and this CKA_ID, where they are given.

        `KeyNotFoundError`, and `KeyExistsError` where there is more than one.
        """
        wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
        if label is not None:
            wanted[Attribute.LABEL] = label
        if identifier is not None:
            wanted[Attribute.ID] = identifier
        with self._session.errors("find a key"):
            return str(_only_one(self._objects(wanted), "such key")[Attribute.LABEL])

    def check(self) -> None:
        """See `KeyStore.check`: with the token's key `CHECK_KEY`, or with one that ends with the session."""
        if self._check_key is None or self._check_key.generation != self._session.generation:
            self._check_key = self._find_check_key()
        with self._session.errors("sign"):
            self._check_key.sign((_CHECK_DATA,))

    def reopen(self) -> None:
        """See `KeyStore.reopen`; raises as `pkcs11_session.log_in` does."""
        self._session.open()

    def close(self) -> None:
        """See `KeyStore.close`."""
        self._keys.clear()
        self._session.close()

    def key(self, label: str) -> TokenKey:
        """Return a key by a handle of the present session; raises as `KeyStore.sign` does."""
        found = self._keys.get(label)
        if found is None or found.generation != self._session.generation:
            check_label(label)
            with self._session.errors("find a key"):
                found = self._keys[label] = self._look_up(label)
        return found

    def _find(self, object_class: ObjectClass, label: str) -> list[Any]:
        return self._objects({Attribute.CLASS: object_class, Attribute.LABEL: label})

    def _objects(self, wanted: dict[Attribute, Any]) -> list[Any]:
        # A list: a search that is not read to its end stays active and blocks the next one.
        return list(self._session.now.get_objects(wanted))

    def _find_check_key(self) -> TokenKey:
        with self._session.errors("find a key"):
            if self._find(ObjectClass.PRIVATE_KEY, CHECK_KEY):
                return self._look_up(CHECK_KEY)
            if _GENERATORS[_CHECK_SPEC.algorithm] not in self._mechanisms:
                raise UnsupportedKeyError(f"the token makes no EC keys: give it a key {CHECK_KEY}")
            public, private = self._generate("", _CHECK_SPEC, store=False)
            return self._token_key(private, public)

    def _look_up(self, label: str) -> TokenKey:
        private = _only_one(self._find(ObjectClass.PRIVATE_KEY, label), f"key {label}")
        identifier = private[Attribute.ID]
        if not identifier:
            raise UnsupportedKeyError(f"the key {label} has no CKA_ID")
        if not private[Attribute.SIGN]:
            raise UnsupportedKeyError(f"the key {label} may not sign")
        if not _stays_inside(private):
            raise UnsupportedKeyError(f"the token would give the key {label} away; it is not used")
        public = self._objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: identifier})
        return self._token_key(private, _only_one(public, f"public key with the CKA_ID of {label}"))

    def _token_key(self, private: Any, public: Any) -> TokenKey:
        public_key = read_public_key(public)
        hash_ = signature_algorithm_for(public_key).hash
        signing_ = signing(private, public_key, hash_)
        return TokenKey(self._session.generation, private, public_key, hash_, signing_)

    def _generate(self, label: str, spec: KeySpec, *, store: bool = True) -> tuple[Any, Any]:
        options: dict[str, Any] = {
            "id": secrets.token_bytes(_ID_BYTES),
            "label": label,
            "store": store,
            "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
            "private_template": {
                Attribute.PRIVATE: True,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
            },
        }
        if spec.algorithm == "rsa":
            public, private = self._session.now.generate_keypair(KeyType.RSA, int(spec.parameter), **options)
            return public, private
        key_type, oid = (
            (KeyType.EC, CURVE_OIDS[spec.parameter])
            if spec.algorithm == "ec"
            else (KeyType.EC_EDWARDS, ED25519_OID)
        )
        parameters = self._session.now.create_domain_parameters(
            key_type, {Attribute.EC_PARAMS: der.oid(oid)}, local=True
        )
        public, private = parameters.generate_keypair(**options)
        return public, private


def _stays_inside(private: Any) -> bool:
    return bool(private[Attribute.SENSITIVE]) and not private[Attribute.EXTRACTABLE]


def _only_one(found: list[Any], what: str) -> Any:
    if not found:
        raise KeyNotFoundError(f"there is no {what}")
    if len(found) > 1:
        raise KeyExistsError(f"there is more than one {what}; none is used")
    return found[0]


def _is_ours(label: str) -> bool:
    try:
        check_label(label)
    except SignerError:
        return False
    return True
