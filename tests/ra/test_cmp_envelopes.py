"""What CMP sends encrypted: opened by OpenSSL where it can, else by hand (RFC 5652 §6.2, RFC 9483 §4.1.6)."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pkiserver.errors import NotAuthorizedError
from pkiserver.ra.cmp.deliveries import IN_CLEAR, ToItsKey, WithKey
from pkiserver.ra.cmp.envelopes import ITERATIONS, sealed, to_certificate, to_key, to_secret
from protocols import oid
from protocols.cmp.encrypted_key import EncryptedKey
from protocols.cms.content_info import ContentInfo, IssuerAndSerialNumber, SubjectKeyIdentifier
from protocols.errors import BadKeyError

NOW = datetime.now(UTC).replace(microsecond=0)
CONTENT = b"what nobody else may read"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP384R1())


def certificate_of(key: Any, *usages: str) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Recipient")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(4711)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    if usages:
        names = (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
            "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        )  # fmt: skip
        usage = x509.KeyUsage(**{name: name in usages for name in names})
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(key, hashes.SHA256())


def opened(encrypted: EncryptedKey, key: Any, certificate: x509.Certificate, folder: Path) -> bytes:
    """Return what OpenSSL reads."""
    assert encrypted.enveloped_data is not None
    message = ContentInfo(oid.PKCS7_ENVELOPED_DATA, encrypted.enveloped_data).encode()
    recipient, private = folder / "recipient.pem", folder / "recipient.key"
    recipient.write_bytes(certificate.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-binary"]
    return subprocess.run(
        [*command, "-recip", str(recipient), "-inkey", str(private)],
        input=message,
        capture_output=True,
        check=True,
    ).stdout


@pytest.mark.interop
@pytest.mark.parametrize(
    ("key", "usages"),
    [
        (RSA_KEY, ("digital_signature", "key_encipherment")),
        (EC_KEY, ("digital_signature", "key_agreement")),
        (RSA_KEY, ()),
        (EC_KEY, ()),
    ],
    ids=["ktri", "kari", "ktri without keyUsage", "kari without keyUsage"],
)
async def test_to_a_certificate(key: Any, usages: tuple[str, ...], tmp_path: Path) -> None:
    """RFC 9483 §4.1.6.1, §4.1.6.2."""
    certificate = certificate_of(key, *usages)
    encrypted = await sealed(to_certificate(certificate), oid.PKCS7_DATA, CONTENT)
    assert opened(encrypted, key, certificate, tmp_path) == CONTENT


@pytest.mark.parametrize(
    ("key", "usage"),
    [(RSA_KEY, "digital_signature"), (EC_KEY, "digital_signature"), (RSA_KEY, "key_agreement")],
)
def test_a_certificate_that_is_for_something_else(key: Any, usage: str) -> None:
    with pytest.raises(NotAuthorizedError):
        to_certificate(certificate_of(key, usage))


def test_keys_that_only_sign() -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    with pytest.raises(BadKeyError):
        to_key(key, SubjectKeyIdentifier(b"k"))


async def test_to_a_secret() -> None:
    """RFC 9483 §4.1.6.3, RFC 9481 §4.4: PBKDF2 with a salt of its own, and AES key wrap."""
    recipient = to_secret(b"secret")
    found = []
    for encrypted in [await sealed(recipient, oid.PKCS7_DATA, CONTENT) for _ in range(2)]:
        assert encrypted.enveloped_data is not None
        content = cms.EnvelopedData.load(encrypted.enveloped_data, strict=True)
        assert content["version"].native == "v3"  # RFC 5652 §6.1
        (info,) = content["recipient_infos"]
        info = info.chosen
        assert info["version"].native == "v0"
        derivation = info["key_derivation_algorithm"]
        parameters = derivation["parameters"]
        assert derivation["algorithm"].native == "pbkdf2"
        assert parameters["iteration_count"].native == ITERATIONS
        assert parameters["prf"]["algorithm"].native == "sha256"
        assert info["key_encryption_algorithm"]["algorithm"].dotted == oid.AES256_WRAP
        length = parameters["key_length"].native
        salt = parameters["salt"].native
        kek = PBKDF2HMAC(hashes.SHA256(), length, salt, ITERATIONS).derive(b"secret")
        content_key = aes_key_unwrap(kek, info["encrypted_key"].native)
        found.append(content_key)
        assert decrypted(content["encrypted_content_info"], content_key) == CONTENT
    assert found[0] != found[1]
    other = await sealed(to_secret(b"secret"), oid.PKCS7_DATA, CONTENT)
    assert other.enveloped_data is not None
    again = cms.EnvelopedData.load(other.enveloped_data)["recipient_infos"][0].chosen
    assert again["key_derivation_algorithm"]["parameters"]["salt"].native != salt


def decrypted(info: Any, content_key: bytes) -> bytes:
    assert info["content_encryption_algorithm"]["algorithm"].native == "aes256_cbc"
    iv = info["content_encryption_algorithm"]["parameters"].native
    decryptor = Cipher(AES(content_key), CBC(iv)).decryptor()
    padded = decryptor.update(info["encrypted_content"].native) + decryptor.finalize()
    unpadder = PKCS7(128).unpadder()
    return unpadder.update(padded) + unpadder.finalize()


# ---- How certificates are delivered


async def test_in_clear() -> None:
    certificate = certificate_of(EC_KEY).public_bytes(Encoding.DER)
    pair = await IN_CLEAR.pair(certificate)
    assert (pair.certificate, pair.encrypted_cert, pair.private_key) == (certificate, None, None)
    assert not IN_CLEAR.needs_confirmation


@pytest.mark.interop
@pytest.mark.parametrize("key", [RSA_KEY, EC_KEY], ids=["RSA", "EC"])
async def test_to_its_own_key(key: Any, tmp_path: Path) -> None:
    """RFC 9810 §5.2.8.3.2: nobody else can read it, and so confirm it."""
    certificate = certificate_of(key)
    der_ = certificate.public_bytes(Encoding.DER)
    delivery = ToItsKey(key.public_key())
    pair = await delivery.pair(der_)
    assert delivery.needs_confirmation
    assert pair.certificate is None
    assert pair.encrypted_cert is not None
    assert der_ not in pair.encode()
    assert opened(pair.encrypted_cert, key, certificate, tmp_path) == der_
    rid = IssuerAndSerialNumber(certificate.issuer.public_bytes(), 4711).encode()
    assert rid in (pair.encrypted_cert.enveloped_data or b"")


async def test_with_the_key_that_was_made() -> None:
    private_key = await sealed(to_secret(b"secret"), oid.PKCS7_SIGNED_DATA, CONTENT)
    delivery = WithKey(private_key)
    pair = await delivery.pair(certificate_of(EC_KEY).public_bytes(Encoding.DER))
    assert pair.private_key == private_key
    assert delivery.needs_confirmation
    assert repr(private_key.der) not in repr(pair)
