"""The PKCS#11 key store: one module, one token, one session, in a process that does nothing else.

Private keys are found by CKA_LABEL and their public keys by CKA_ID. Hashing is done here (CKM_ECDSA,
CKM_RSA_PKCS), so that any token will do and only digests travel; every signature is verified with the
public key before it leaves. After a PKCS#11 error the session is given up and the store serves no more
(its process ends and is replaced): a handle that outlives its session may sign with the wrong key.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, TokenFlag
from pkcs11 import exceptions as p11

from pkiserver.signer.algorithms import (
    KeySpec,
    SigningPublicKey,
    check_digest,
    digest,
    signature_algorithm_for,
    verify,
    verify_digest,
)
from pkiserver.signer.errors import (
    BadSignatureError,
    KeyExistsError,
    KeyNotFoundError,
    SignerError,
    SignerSecretError,
    SignerSettingsError,
    SignerUnavailableError,
    UnsupportedKeyError,
)
from pkiserver.signer.keystore import check_label
from pkiserver.signer.pkcs11_keys import CURVE_OIDS, ED25519_OID, read_public_key
from pkiserver.signer.secret import read_secret
from pkiserver.signer.settings import SignerSettings
from protocols.asn1 import der

_ID_BYTES: Final = 20  # the length of the SHA-1 of a key, which tools expect of a CKA_ID
_SHA256_IDENTIFIER: Final = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), der.null())
_PIN_ERRORS: Final = (
    p11.PinIncorrect,
    p11.PinInvalid,
    p11.PinLenRange,
    p11.PinLocked,
    p11.PinExpired,
    p11.UserPinNotInitialized,
)
_GENERATORS: Final = {
    "ec": Mechanism.EC_KEY_PAIR_GEN,
    "rsa": Mechanism.RSA_PKCS_KEY_PAIR_GEN,
    "ed25519": Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
}


class Pkcs11KeyStore:
    """A `KeyStore` on a token. Its one session is logged in when the store is opened, once."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._mechanisms = session.token.slot.get_mechanisms()
        self._keys: dict[str, tuple[Any, SigningPublicKey]] = {}

    @classmethod
    def open(cls, settings: SignerSettings) -> "Pkcs11KeyStore":
        """Return the store that the settings name.

        `SignerSecretError` where the PIN is refused; it was tried once and never is again.
        `SignerUnavailableError` where module or token are not there, or not unique.
        """
        pin = read_secret("PIN", settings.pin_file, settings.pin_env)
        token = _token(settings)
        # A wrong PIN here would lock the token for good; a person should use the last try.
        if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
            raise SignerSecretError("one PIN try is left on the token; it is not used")
        with _token_errors("log in to the token"):
            return cls(token.open(rw=True, user_pin=pin))

    def generate(self, label: str, spec: KeySpec) -> SigningPublicKey:
        """See `KeyStore.generate`; the private key is sensitive and cannot be extracted."""
        check_label(label)
        if _GENERATORS[spec.algorithm] not in self._mechanisms:
            raise UnsupportedKeyError(f"the token makes no {spec} keys")
        with _token_errors("make a key"):
            if self._find(ObjectClass.PRIVATE_KEY, label) or self._find(ObjectClass.PUBLIC_KEY, label):
                raise KeyExistsError(f"there is a key {label} already")
            public, private = self._generate(label, spec)
            if not private[Attribute.SENSITIVE] or private[Attribute.EXTRACTABLE]:
                private.destroy()
                public.destroy()
                raise UnsupportedKeyError("the token does not keep its private keys to itself")
        return self.public_key(label)

    def public_key(self, label: str) -> SigningPublicKey:
        """See `KeyStore.public_key`."""
        return self._key(label)[1]

    def sign(self, label: str, data: bytes) -> bytes:
        """See `KeyStore.sign`; `BadSignatureError` where the token's signature does not verify."""
        private, public_key = self._key(label)
        with _token_errors("sign"):
            signature = _sign(private, public_key, data)
        try:
            verify(public_key, signature, data)
        except BadSignatureError as error:
            raise BadSignatureError(
                f"the token made a signature that the key {label} does not verify"
            ) from error
        return signature

    def sign_many(self, label: str, data: Sequence[bytes]) -> list[bytes]:
        """See `KeyStore.sign_many`."""
        return [self.sign(label, one) for one in data]

    def sign_digest(self, label: str, hashed: bytes) -> bytes:
        """See `KeyStore.sign_digest`; verified as in `sign`."""
        private, public_key = self._key(label)
        check_digest(public_key, hashed)
        with _token_errors("sign"):
            signature = _sign_digest(private, public_key, hashed)
        try:
            verify_digest(public_key, signature, hashed)
        except BadSignatureError as error:
            raise BadSignatureError(
                f"the token made a signature that the key {label} does not verify"
            ) from error
        return signature

    def labels(self) -> list[str]:
        """See `KeyStore.labels`; keys whose label is not of our form are none of ours."""
        with _token_errors("list keys"):
            found = {
                str(key[Attribute.LABEL])
                for key in self._session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
            }
        return sorted(label for label in found if _is_ours(label))

    def close(self) -> None:
        """See `KeyStore.close`."""
        self._keys.clear()
        with suppress(p11.PKCS11Error):  # a session that is gone already is closed
            self._session.close()

    def _find(self, object_class: ObjectClass, label: str) -> list[Any]:
        # A list: a search that is not read to its end stays active and blocks the next one.
        return list(self._session.get_objects({Attribute.CLASS: object_class, Attribute.LABEL: label}))

    def _key(self, label: str) -> tuple[Any, SigningPublicKey]:
        found = self._keys.get(label)
        if found is None:
            check_label(label)
            with _token_errors("find a key"):
                found = self._keys[label] = self._look_up(label)
        return found

    def _look_up(self, label: str) -> tuple[Any, SigningPublicKey]:
        private = _only_one(self._find(ObjectClass.PRIVATE_KEY, label), f"key {label}")
        identifier = private[Attribute.ID]
        if not identifier:
            raise UnsupportedKeyError(f"the key {label} has no CKA_ID")
        if not private[Attribute.SIGN]:
            raise UnsupportedKeyError(f"the key {label} may not sign")
        wanted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: identifier}
        public = _only_one(list(self._session.get_objects(wanted)), f"public key with the CKA_ID of {label}")
        return private, read_public_key(public)

    def _generate(self, label: str, spec: KeySpec) -> tuple[Any, Any]:
        options: dict[str, Any] = {
            "id": secrets.token_bytes(_ID_BYTES),
            "label": label,
            "store": True,
            "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
            "private_template": {
                Attribute.PRIVATE: True,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
            },
        }
        if spec.algorithm == "rsa":
            public, private = self._session.generate_keypair(KeyType.RSA, int(spec.parameter), **options)
            return public, private
        key_type, oid = (
            (KeyType.EC, CURVE_OIDS[spec.parameter])
            if spec.algorithm == "ec"
            else (KeyType.EC_EDWARDS, ED25519_OID)
        )
        parameters = self._session.create_domain_parameters(
            key_type, {Attribute.EC_PARAMS: der.oid(oid)}, local=True
        )
        public, private = parameters.generate_keypair(**options)
        return public, private


def _token(settings: SignerSettings) -> Any:
    """Return the one token with the label, and the serial where one is given."""
    wanted: dict[str, Any] = {"token_label": settings.token_label}
    if settings.token_serial:
        wanted["token_serial"] = settings.token_serial.encode()
    try:
        return pkcs11.lib(settings.module or "").get_token(**wanted)
    except p11.NoSuchToken as error:
        raise SignerUnavailableError(f"no token {settings.token_label} is present") from error
    except p11.MultipleTokensReturned as error:
        raise SignerSettingsError(
            f"more than one token is {settings.token_label}: give its token_serial"
        ) from error
    except p11.PKCS11Error as error:
        raise SignerUnavailableError("the PKCS#11 module cannot be loaded or fails") from error


@contextmanager
def _token_errors(doing: str) -> Iterator[None]:
    """Translate PKCS#11 errors; their own texts stay inside, for they can quote attributes."""
    try:
        yield
    except _PIN_ERRORS as error:
        raise SignerSecretError(
            f"the token refuses the PIN ({type(error).__name__}); it is not tried again"
        ) from error
    except p11.PKCS11Error as error:
        raise SignerUnavailableError(f"the token cannot {doing} ({type(error).__name__})") from error


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


def _sign(private: Any, public_key: SigningPublicKey, data: bytes) -> bytes:
    """Return the signature in the form that X.509 has, not yet verified."""
    algorithm = signature_algorithm_for(public_key)
    if algorithm.hash is None:
        return bytes(private.sign(data, mechanism=Mechanism.EDDSA))
    return _sign_digest(private, public_key, digest(algorithm.hash, data))


def _sign_digest(private: Any, public_key: SigningPublicKey, hashed: bytes) -> bytes:
    if isinstance(public_key, rsa.RSAPublicKey):
        digest_info = der.sequence(_SHA256_IDENTIFIER, der.octet_string(hashed))  # RFC 8017 §9.2
        return bytes(private.sign(digest_info, mechanism=Mechanism.RSA_PKCS))
    return _ecdsa_der(private.sign(hashed, mechanism=Mechanism.ECDSA), public_key)


def _ecdsa_der(raw: bytes, public_key: SigningPublicKey) -> bytes:
    """Return Ecdsa-Sig-Value (RFC 3279 §2.2.3) of the r and s that PKCS#11 concatenates."""
    width = len(raw) // 2
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not raw or len(raw) % 2:
        raise BadSignatureError("the token made something that is no ECDSA signature")
    return encode_dss_signature(int.from_bytes(raw[:width], "big"), int.from_bytes(raw[width:], "big"))
