"""EnvelopedData (RFC 5652 §6) built for one recipient: by a shared key, a password, RSA or elliptic curves.

RFC 7030 §4.4.2 asks for EnvelopedData, not for AuthEnvelopedData; AES-CBC is what its recipients must
decrypt (RFC 8551 §2.7), and the SignedData inside guards the integrity. Content keys, initialisation vectors
and ephemeral keys are arguments.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cms.content_info import CertificateIdentifier, ContentInfo, SubjectKeyIdentifier
from protocols.errors import BadKeyError

CONTENT_KEY_OCTETS: Final = {oid.AES128_CBC: 16, oid.AES256_CBC: 32}
WRAP_KEY_OCTETS: Final = {oid.AES128_WRAP: 16, oid.AES192_WRAP: 24, oid.AES256_WRAP: 32}
IV_OCTETS: Final = 16

_BLOCK_BITS: Final = 128
_PASSWORD: Final = der.context(3)
_KEK_VERSION: Final = 4  # §6.2.3
_KEY_AGREE_VERSION: Final = 3  # §6.2.2
_KEY_TRANS_BY_KEY_VERSION: Final = 2  # §6.2.1: rid is a subjectKeyIdentifier
_KEY_TRANS_BY_ISSUER_VERSION: Final = 0
_PASSWORD_VERSION: Final = 0  # §6.2.4
_SHA256_WITH_NULL: Final = der.sequence(der.oid(oid.SHA256), der.null())
_OAEP_SHA256: Final = der.sequence(  # RFC 4055 §4.1, with the default pSourceAlgorithm left out
    der.explicit(0, _SHA256_WITH_NULL),
    der.explicit(1, der.sequence(der.oid(oid.MGF1), _SHA256_WITH_NULL)),
)

# The algorithms by which a recipient may get the content key, and the parameters they are used with.
KEY_TRANSPORT: Final[dict[str, bytes | None]] = {
    oid.RSAES_OAEP: _OAEP_SHA256,
    oid.RSA_ENCRYPTION: der.null(),
}
KEY_WRAP: Final[dict[str, bytes | None]] = dict.fromkeys(WRAP_KEY_OCTETS)


@dataclass(frozen=True, slots=True)
class RecipientInfo:
    """The content key as one recipient gets it; `encoded` is the DER of the CHOICE RecipientInfo."""

    version: int
    encoded: bytes = field(repr=False)

    @property
    def enveloped_version(self) -> int:
        """The version of an EnvelopedData for it (§6.1)."""
        if self.encoded[0] == _PASSWORD:
            return 3
        return 2 if self.version else 0


def kek_recipient(key_identifier: bytes, kek: bytes, content_key: bytes) -> RecipientInfo:
    """Return the KEKRecipientInfo (§6.2.3) for a shared key of AES; `BadKeyError` for another length."""
    wrap = next((wrap for wrap, octets in WRAP_KEY_OCTETS.items() if octets == len(kek)), None)
    if wrap is None:
        raise BadKeyError("the key-encryption key is no AES key")
    fields = (
        der.integer(_KEK_VERSION),
        der.sequence(der.octet_string(key_identifier)),
        der.sequence(der.oid(wrap)),
        der.octet_string(aes_key_wrap(kek, content_key)),
    )
    return RecipientInfo(_KEK_VERSION, der.encode(der.context(2), b"".join(fields)))


def password_recipient(
    password: bytes, *, salt: bytes, iterations: int, wrap: str, content_key: bytes
) -> RecipientInfo:
    """Return the PasswordRecipientInfo (§6.2.4) by PBKDF2 and AES key wrap (RFC 9481 §4.4).

    `wrap` is one of `WRAP_KEY_OCTETS`. The work is that of the iterations.
    """
    octets = WRAP_KEY_OCTETS[wrap]
    kek = PBKDF2HMAC(hashes.SHA256(), octets, salt, iterations).derive(password)
    parameters = der.sequence(
        der.octet_string(salt),
        der.integer(iterations),
        der.integer(octets),
        AlgorithmIdentifier(oid.HMAC_WITH_SHA256, der.null()).encode(),
    )
    derivation = AlgorithmIdentifier(oid.PBKDF2, parameters).encode()
    fields = (
        der.integer(_PASSWORD_VERSION),
        der.encode(der.context(0), der.Reader(derivation).read(der.SEQUENCE)),
        der.sequence(der.oid(wrap)),
        der.octet_string(aes_key_wrap(kek, content_key)),
    )
    return RecipientInfo(_PASSWORD_VERSION, der.encode(_PASSWORD, b"".join(fields)))


def key_trans_recipient(
    rid: CertificateIdentifier, key: RSAPublicKey, algorithm: str, content_key: bytes
) -> RecipientInfo:
    """Return the KeyTransRecipientInfo (§6.2.1) by an algorithm of `KEY_TRANSPORT`; OAEP is with SHA-256.

    `BadKeyError` where the key is too short for that.
    """
    by_key = isinstance(rid, SubjectKeyIdentifier)
    version = _KEY_TRANS_BY_KEY_VERSION if by_key else _KEY_TRANS_BY_ISSUER_VERSION
    try:
        encrypted_key = key.encrypt(content_key, _PADDINGS[algorithm]())
    except ValueError as error:
        raise BadKeyError("the recipient's RSA key is too short") from error
    return RecipientInfo(
        version,
        der.sequence(
            der.integer(version),
            rid.encode(),
            AlgorithmIdentifier(algorithm, KEY_TRANSPORT[algorithm]).encode(),
            der.octet_string(encrypted_key),
        ),
    )


def _oaep() -> padding.AsymmetricPadding:
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


_PADDINGS: Final[dict[str, Callable[[], padding.AsymmetricPadding]]] = {
    oid.RSAES_OAEP: _oaep,
    oid.RSA_ENCRYPTION: padding.PKCS1v15,
}


def key_agree_recipient(
    rid: CertificateIdentifier,
    key: ec.EllipticCurvePublicKey,
    ephemeral: ec.EllipticCurvePrivateKey,
    wrap: str,
    content_key: bytes,
) -> RecipientInfo:
    """Return the KeyAgreeRecipientInfo (§6.2.2) by ephemeral-static ECDH, SHA-256 KDF and AES key wrap.

    RFC 5753 §3.1. `ephemeral` is used once, on the curve of `key`, else `BadKeyError`; `wrap` is one of
    `WRAP_KEY_OCTETS`.
    """
    wrap_algorithm = der.sequence(der.oid(wrap))
    try:
        shared_secret = ephemeral.exchange(ec.ECDH(), key)
    except ValueError as error:
        raise BadKeyError("the ephemeral key is not on the curve of the recipient's") from error
    kek = _derived_key(shared_secret, wrap_algorithm, WRAP_KEY_OCTETS[wrap])
    identifier = rid.encode()
    if isinstance(rid, SubjectKeyIdentifier):
        identifier = der.encode(der.context(0), der.octet_string(rid.key_identifier))
    fields = (
        der.integer(_KEY_AGREE_VERSION),
        der.explicit(0, der.encode(der.context(1), _originator_key(ephemeral))),
        der.sequence(der.oid(oid.ECDH_SHA256_KDF), wrap_algorithm),
        der.sequence(der.sequence(identifier, der.octet_string(aes_key_wrap(kek, content_key)))),
    )
    return RecipientInfo(_KEY_AGREE_VERSION, der.encode(der.context(1), b"".join(fields)))


def _originator_key(ephemeral: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the content of OriginatorPublicKey, which has the shape of a SubjectPublicKeyInfo."""
    spki = ephemeral.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der.Reader(spki).read(der.SEQUENCE)


def _derived_key(shared_secret: bytes, wrap_algorithm: bytes, octets: int) -> bytes:
    """Return the key-encryption key by the KDF of X9.63 over ECC-CMS-SharedInfo (RFC 5753 §7.2)."""
    length_in_bits = (octets * 8).to_bytes(4, "big")
    shared_info = der.sequence(wrap_algorithm, der.explicit(2, der.octet_string(length_in_bits)))
    return X963KDF(hashes.SHA256(), octets, shared_info).derive(shared_secret)


def enveloped_data(
    content_type: str,
    content: bytes,
    recipient: RecipientInfo,
    *,
    cipher: str,
    content_key: bytes,
    initialisation_vector: bytes,
) -> bytes:
    """Return the DER ContentInfo of an EnvelopedData for one recipient.

    `content` is what is encrypted: the DER of the type itself, such as a SignedData, without ContentInfo; for
    id-data the bare octets. `cipher` is one of `CONTENT_KEY_OCTETS`; `content_key` is the one that
    `recipient` was made for.
    """
    encrypted_content_info = der.sequence(
        der.oid(content_type),
        AlgorithmIdentifier(cipher, der.octet_string(initialisation_vector)).encode(),
        der.encode(
            der.context(0, constructed=False), cbc_encrypted(content, content_key, initialisation_vector)
        ),
    )
    fields = der.sequence(
        der.integer(recipient.enveloped_version),
        der.set_of([recipient.encoded]),
        encrypted_content_info,
    )
    return ContentInfo(oid.PKCS7_ENVELOPED_DATA, fields).encode()


def cbc_encrypted(content: bytes, content_key: bytes, initialisation_vector: bytes) -> bytes:
    """Return a content padded (§6.3) and encrypted by AES-CBC."""
    padder = PKCS7(_BLOCK_BITS).padder()
    encryptor = Cipher(AES(content_key), CBC(initialisation_vector)).encryptor()
    return encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()
