"""OpenSSL verifies the SignedData and opens the EnvelopedData that we build; asn1crypto reads fields."""

import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from protocols import oid
from protocols.asn1 import der
from protocols.cms.content_info import (
    CertificateIdentifier,
    IssuerAndSerialNumber,
    SubjectKeyIdentifier,
    read_content_info,
)
from protocols.cms.enveloped_data import (
    CONTENT_KEY_OCTETS,
    RecipientInfo,
    enveloped_data,
    kek_recipient,
    key_agree_recipient,
    key_trans_recipient,
)
from protocols.cms.signed_data import SignedData
from protocols.cms.signing import assemble, signed_attributes
from protocols.cms.verification import signer_certificate, verify_signer
from protocols.errors import BadKeyError
from protocols.est.server_key import asymmetric_key_package

CONTENT = b"Content of RFC 5652"
NOW = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEYS = {
    "P-256": ec.derive_private_key(0x5652, ec.SECP256R1()),
    "P-384": ec.derive_private_key(0x5753, ec.SECP384R1()),
    "P-521": ec.derive_private_key(0x5958, ec.SECP521R1()),
}
CONTENT_KEY = bytes(range(32))
IV = bytes(range(16))


@cache  # ECDSA signatures differ from one time to the next
def certificate_of(key: Any) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Recipient")])
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), 0x5652)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=36500))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def identifiers(certificate: x509.Certificate) -> dict[str, CertificateIdentifier]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return {
        "issuer": IssuerAndSerialNumber(certificate.issuer.public_bytes(), certificate.serial_number),
        "key": SubjectKeyIdentifier(extension.value.key_identifier),
    }


def openssl(*arguments: str, given: bytes) -> bytes:
    return subprocess.run(
        ["openssl", "cms", "-inform", "DER", "-binary", *arguments],
        input=given,
        capture_output=True,
        check=True,
    ).stdout


def files(tmp_path: Path, key: Any) -> list[str]:
    """Write the recipient's certificate and key, and return the options that name them."""
    certificate, private = tmp_path / "recipient.pem", tmp_path / "recipient.key"
    certificate.write_bytes(certificate_of(key).public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return ["-recip", str(certificate), "-inkey", str(private)]


def envelope(recipient: RecipientInfo, cipher: str = oid.AES256_CBC) -> bytes:
    return enveloped_data(
        oid.PKCS7_DATA,
        CONTENT,
        recipient,
        cipher=cipher,
        content_key=CONTENT_KEY[: CONTENT_KEY_OCTETS[cipher]],
        initialisation_vector=IV,
    )


# ---- SignedData


def signers() -> list[Any]:
    ecdsa_p256 = (EC_KEYS["P-256"], oid.SHA256, oid.ECDSA_WITH_SHA256)
    ecdsa_p384 = (EC_KEYS["P-384"], oid.SHA384, oid.ECDSA_WITH_SHA384)
    return [
        pytest.param(*ecdsa_p256, "issuer", id="p256-issuer"),
        pytest.param(*ecdsa_p384, "key", id="p384-key"),
        pytest.param(RSA_KEY, oid.SHA256, oid.SHA256_WITH_RSA, "key", id="rsa-key"),
        pytest.param(RSA_KEY, oid.SHA512, oid.SHA512_WITH_RSA, "issuer", id="rsa-issuer"),
    ]


HASHES: dict[str, hashes.HashAlgorithm] = {
    oid.SHA256: hashes.SHA256(),
    oid.SHA384: hashes.SHA384(),
    oid.SHA512: hashes.SHA512(),
}


def signed(key: Any, digest: str, algorithm: str, named_by: str) -> bytes:
    certificate = certificate_of(key)
    attributes = signed_attributes(oid.CCT_PKI_RESPONSE, CONTENT, digest_algorithm=digest, signing_time=NOW)
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(attributes, padding.PKCS1v15(), HASHES[digest])
        parameters = der.null()
    else:
        signature = key.sign(attributes, ec.ECDSA(HASHES[digest]))
        parameters = b""
    return assemble(
        oid.CCT_PKI_RESPONSE,
        CONTENT,
        attributes,
        signer=identifiers(certificate)[named_by],
        digest_algorithm=digest,
        signature_algorithm=der.sequence(der.oid(algorithm), parameters),
        signature=signature,
        certificates=[certificate.public_bytes(Encoding.DER)],
    )


@pytest.mark.interop
@pytest.mark.parametrize(("key", "digest", "algorithm", "named_by"), signers())
def test_openssl_verifies(key: Any, digest: str, algorithm: str, named_by: str, tmp_path: Path) -> None:
    message = signed(key, digest, algorithm, named_by)
    anchor = tmp_path / "anchor.pem"
    anchor.write_bytes(certificate_of(key).public_bytes(Encoding.PEM))

    content = openssl("-verify", "-CAfile", str(anchor), "-purpose", "any", given=message)

    assert content == CONTENT
    signed_data = SignedData.from_content_info(read_content_info(message))
    assert signer_certificate(signed_data, signed_data.signer_infos[0]) == signed_data.certificates[0]
    verify_signer(signed_data, signed_data.signer_infos[0], key.public_key())


@pytest.mark.interop
def test_openssl_refuses_what_was_altered(tmp_path: Path) -> None:
    message = signed(EC_KEYS["P-256"], oid.SHA256, oid.ECDSA_WITH_SHA256, "issuer")
    altered = message.replace(CONTENT, CONTENT[::-1])
    assert altered != message

    with pytest.raises(subprocess.CalledProcessError):
        openssl("-verify", "-noverify", given=altered)


# ---- EnvelopedData (RFC 7030 §4.4.2)


@pytest.mark.interop
@pytest.mark.parametrize("cipher", CONTENT_KEY_OCTETS)
@pytest.mark.parametrize("octets", [16, 24, 32])
def test_openssl_opens_it_by_a_shared_key(octets: int, cipher: str) -> None:
    kek = bytes(range(octets))
    message = envelope(kek_recipient(b"kek 7", kek, CONTENT_KEY[: CONTENT_KEY_OCTETS[cipher]]), cipher)

    opened = openssl("-decrypt", "-secretkey", kek.hex(), "-secretkeyid", b"kek 7".hex(), given=message)

    assert opened == CONTENT
    recipient = cms.ContentInfo.load(message, strict=True)["content"]["recipient_infos"][0].chosen
    assert recipient["version"].native == "v4"
    assert recipient["kekid"]["key_identifier"].native == b"kek 7"


@pytest.mark.interop
@pytest.mark.parametrize("named_by", ["issuer", "key"])
@pytest.mark.parametrize("algorithm", [oid.RSAES_OAEP, oid.RSA_ENCRYPTION])
def test_openssl_opens_it_by_an_rsa_key(algorithm: str, named_by: str, tmp_path: Path) -> None:
    rid = identifiers(certificate_of(RSA_KEY))[named_by]
    message = envelope(key_trans_recipient(rid, RSA_KEY.public_key(), algorithm, CONTENT_KEY))

    assert openssl("-decrypt", *files(tmp_path, RSA_KEY), given=message) == CONTENT

    content = cms.ContentInfo.load(message, strict=True)["content"]
    version = "v0" if named_by == "issuer" else "v2"  # RFC 5652 §6.1, §6.2.1
    assert content["version"].native == version
    assert content["recipient_infos"][0].chosen["version"].native == version


@pytest.mark.interop
@pytest.mark.parametrize("named_by", ["issuer", "key"])
@pytest.mark.parametrize("wrap", [oid.AES128_WRAP, oid.AES192_WRAP, oid.AES256_WRAP])
@pytest.mark.parametrize("curve", EC_KEYS)
def test_openssl_opens_it_by_an_ec_key(curve: str, wrap: str, named_by: str, tmp_path: Path) -> None:
    key = EC_KEYS[curve]
    rid = identifiers(certificate_of(key))[named_by]
    ephemeral = ec.generate_private_key(key.curve)
    message = envelope(key_agree_recipient(rid, key.public_key(), ephemeral, wrap, CONTENT_KEY))

    assert openssl("-decrypt", *files(tmp_path, key), given=message) == CONTENT

    content = cms.ContentInfo.load(message, strict=True)["content"]
    recipient = content["recipient_infos"][0].chosen
    assert (content["version"].native, recipient["version"].native) == ("v2", "v3")
    assert recipient["originator"].name == "originator_key"


@pytest.mark.interop
def test_rfc5958_4_key_package_in_signed_data_in_enveloped_data(tmp_path: Path) -> None:
    private_key = EC_KEYS["P-256"].private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    package = asymmetric_key_package(private_key)
    attributes = signed_attributes(oid.CT_KEY_PACKAGE, package, digest_algorithm=oid.SHA256, signing_time=NOW)
    message = assemble(
        oid.CT_KEY_PACKAGE,
        package,
        attributes,
        signer=identifiers(certificate_of(RSA_KEY))["issuer"],
        digest_algorithm=oid.SHA256,
        signature_algorithm=der.sequence(der.oid(oid.SHA256_WITH_RSA), der.null()),
        signature=RSA_KEY.sign(attributes, padding.PKCS1v15(), hashes.SHA256()),
        certificates=[certificate_of(RSA_KEY).public_bytes(Encoding.DER)],
    )
    inner = read_content_info(message)
    sealed = enveloped_data(
        inner.content_type,
        inner.content,
        kek_recipient(b"k", CONTENT_KEY, CONTENT_KEY),
        cipher=oid.AES256_CBC,
        content_key=CONTENT_KEY,
        initialisation_vector=IV,
    )
    assert private_key not in sealed

    opened = openssl("-decrypt", "-secretkey", CONTENT_KEY.hex(), "-secretkeyid", b"k".hex(), given=sealed)

    assert opened == inner.content
    outer = cms.ContentInfo.load(sealed, strict=True)["content"]["encrypted_content_info"]
    assert outer["content_type"].native == "signed_data"
    signed_data = der.whole(opened, SignedData.parse)
    verify_signer(signed_data, signed_data.signer_infos[0], RSA_KEY.public_key())
    assert signed_data.content == der.sequence(private_key)


# ---- keys that do not fit


def test_keys_that_do_not_fit_are_refused() -> None:
    rid = SubjectKeyIdentifier(b"k")
    p256, p384 = EC_KEYS["P-256"], EC_KEYS["P-384"]

    with pytest.raises(BadKeyError):
        kek_recipient(b"k", bytes(20), CONTENT_KEY)
    with pytest.raises(BadKeyError):
        key_agree_recipient(rid, p256.public_key(), p384, oid.AES256_WRAP, CONTENT_KEY)
    with pytest.raises(BadKeyError):
        key_trans_recipient(rid, RSA_KEY.public_key(), oid.RSAES_OAEP, bytes(256))
