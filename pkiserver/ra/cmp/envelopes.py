"""What CMP sends encrypted (RFC 9810 §5.2.2, RFC 9481 §4): how the one recipient gets the content key.

In EnvelopedData RSA keys get it by OAEP, keys on curves by ephemeral-static Diffie-Hellman, who shares a
secret by PBKDF2. In EncryptedValue, for pvno 2, RSA keys get it by RSAES-PKCS1-v1_5, and nobody else does.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pkiserver.errors import NotAuthorizedError
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.encrypted_key import EncryptedKey
from protocols.cmp.encrypted_value import encrypted_value
from protocols.cms.content_info import CertificateIdentifier, ContentInfo, IssuerAndSerialNumber
from protocols.cms.enveloped_data import (
    CONTENT_KEY_OCTETS,
    IV_OCTETS,
    RecipientInfo,
    enveloped_data,
    key_agree_recipient,
    key_trans_recipient,
    password_recipient,
)
from protocols.errors import BadKeyError
from protocols.x509.spki import PublicKey

CIPHER: Final = oid.AES256_CBC
ITERATIONS: Final = 100_000  # the secrets are random already; what is derived here opens a private key
_SALT_OCTETS: Final = 16

Recipient = Callable[[bytes], RecipientInfo]
"""Gives the RecipientInfo for a content key."""


def to_key(public_key: PublicKey, rid: CertificateIdentifier) -> Recipient:
    """Return the recipient that holds a private key; `BadKeyError` where it is of a kind that only signs."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return lambda content_key: key_trans_recipient(rid, public_key, oid.RSAES_OAEP, content_key)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return lambda content_key: key_agree_recipient(
            rid, public_key, ec.generate_private_key(public_key.curve), oid.AES256_WRAP, content_key
        )
    raise BadKeyError("nothing can be encrypted to a key that only signs")


def to_certificate(certificate: x509.Certificate) -> Recipient:
    """Return the recipient that a certificate is of (RFC 9483 §4.1.6.1, §4.1.6.2); raises as `key_for`."""
    rid = IssuerAndSerialNumber(certificate.issuer.public_bytes(), certificate.serial_number)
    return to_key(key_for(certificate), rid)


def key_for(certificate: x509.Certificate) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    """Return the key that a certificate lets encrypt to.

    `NotAuthorizedError` where it is for neither keyEncipherment (RSA) nor keyAgreement (curves).
    """
    key = certificate.public_key()
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if isinstance(key, rsa.RSAPublicKey) and (usage is None or usage.key_encipherment):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and (usage is None or usage.key_agreement):
        return key
    raise NotAuthorizedError(
        "the certificate of the sender is not for keyEncipherment (RSA) or keyAgreement (elliptic curves):"
        " a key made for it could not be encrypted"
    )


def to_secret(secret: bytes) -> Recipient:
    """Return the recipient that knows a secret (RFC 9483 §4.1.6.3); its salt is of no other use."""
    salt = secrets.token_bytes(_SALT_OCTETS)
    return lambda content_key: password_recipient(
        secret, salt=salt, iterations=ITERATIONS, wrap=oid.AES256_WRAP, content_key=content_key
    )


async def sealed(recipient: Recipient, content_type: str, content: bytes) -> EncryptedKey:
    """Return a content encrypted for one recipient, with a content key of its own."""
    return await asyncio.to_thread(_sealed, recipient, content_type, content)


def _sealed(recipient: Recipient, content_type: str, content: bytes) -> EncryptedKey:
    content_key = secrets.token_bytes(CONTENT_KEY_OCTETS[CIPHER])
    message = enveloped_data(
        content_type,
        content,
        recipient(content_key),
        cipher=CIPHER,
        content_key=content_key,
        initialisation_vector=secrets.token_bytes(IV_OCTETS),
    )
    return EncryptedKey.of(der.whole(message, ContentInfo.parse).content)


async def sealed_value(
    recipient: rsa.RSAPublicKey, content: bytes, intended_alg: AlgorithmIdentifier | None = None
) -> EncryptedKey:
    """Return a content encrypted as pvno 2 has it; `intended_alg` is that of a private key."""
    value = encrypted_value(
        content,
        recipient,
        cipher=CIPHER,
        content_key=secrets.token_bytes(CONTENT_KEY_OCTETS[CIPHER]),
        initialisation_vector=secrets.token_bytes(IV_OCTETS),
        intended_alg=intended_alg,
    )
    return EncryptedKey.of_value(value)
