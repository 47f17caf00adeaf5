"""Placeholder keys: builders take them, and nothing they sign verifies."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from pkiserver.signer.algorithms import SigningPublicKey, signature_algorithm_for, verify
from pkiserver.signer.errors import BadSignatureError, PlaceholderError, UnsupportedKeyError
from pkiserver.signer.placeholder import placeholder_key
from protocols.asn1 import der

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
KEYS: list[Key] = [
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    ec.generate_private_key(ec.SECP521R1()),
    rsa.generate_private_key(65537, 2048),
    ed25519.Ed25519PrivateKey.generate(),
]
each_key = pytest.mark.parametrize("key", KEYS, ids=["P-256", "P-384", "P-521", "RSA", "Ed25519"])


def _certificate(public_key: SigningPublicKey, signing: Key) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(public_key)
        .serial_number(5)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    return builder.sign(signing, _hash(public_key))


def _request(public_key: SigningPublicKey, signing: Key) -> x509.CertificateSigningRequest:
    return x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(signing, _hash(public_key))


def _crl(public_key: SigningPublicKey, signing: Key) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder().issuer_name(NAME).last_update(NOW)
    return builder.next_update(NOW + timedelta(days=1)).sign(signing, _hash(public_key))


def _hash(public_key: SigningPublicKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    algorithm = signature_algorithm_for(public_key).hash
    assert algorithm is None or isinstance(algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512)
    return algorithm


@each_key
def test_tbs_is_what_the_real_key_would_sign(key: Key) -> None:
    public_key = key.public_key()
    placeholder = placeholder_key(public_key)
    real, made = _certificate(public_key, key), _certificate(public_key, placeholder)
    assert made.tbs_certificate_bytes == real.tbs_certificate_bytes
    assert (
        _request(public_key, placeholder).tbs_certrequest_bytes
        == _request(public_key, key).tbs_certrequest_bytes
    )
    assert _crl(public_key, placeholder).tbs_certlist_bytes == _crl(public_key, key).tbs_certlist_bytes


@each_key
def test_tbs_carries_the_signers_algorithm(key: Key) -> None:
    made = _certificate(key.public_key(), placeholder_key(key.public_key()))
    tbs = der.Reader(made.tbs_certificate_bytes).enter()
    tbs.read_any()  # version
    tbs.read_any()  # serialNumber
    assert tbs.read_raw(der.SEQUENCE) == signature_algorithm_for(key.public_key()).der


@each_key
def test_nothing_made_with_a_placeholder_verifies(key: Key) -> None:
    public_key = key.public_key()
    placeholder = placeholder_key(public_key)
    certificate = _certificate(public_key, placeholder)
    with pytest.raises(InvalidSignature):
        certificate.verify_directly_issued_by(certificate)
    with pytest.raises(BadSignatureError):
        verify(public_key, certificate.signature, certificate.tbs_certificate_bytes)
    assert not _request(public_key, placeholder).is_signature_valid
    assert not _crl(public_key, placeholder).is_signature_valid(public_key)


@each_key
def test_signature_of_the_real_key_fits(key: Key) -> None:
    """The other way round: what the tests above see failing is the signature, not the data."""
    certificate = _certificate(key.public_key(), key)
    verify(key.public_key(), certificate.signature, certificate.tbs_certificate_bytes)


@each_key
def test_nothing_private_comes_out(key: Key) -> None:
    placeholder = placeholder_key(key.public_key())
    private: list[Callable[[], object]] = [
        lambda: placeholder.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    ]
    if isinstance(placeholder, ed25519.Ed25519PrivateKey):
        private.append(placeholder.private_bytes_raw)
    elif isinstance(placeholder, ec.EllipticCurvePrivateKey):
        own = ec.generate_private_key(placeholder.curve).public_key()
        private += [placeholder.private_numbers, lambda: placeholder.exchange(ec.ECDH(), own)]
    else:
        private += [placeholder.private_numbers, lambda: placeholder.decrypt(b"", padding.PKCS1v15())]
    for asked in private:
        with pytest.raises(PlaceholderError):
            asked()
    assert placeholder.public_key() == key.public_key()
    assert copy.copy(placeholder).public_key() == copy.deepcopy(placeholder).public_key()


def test_wrong_hash_or_padding_is_refused() -> None:
    p384, rsa_key = KEYS[1], KEYS[3]
    stand_in = placeholder_key(p384.public_key())
    with pytest.raises(PlaceholderError):
        x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(stand_in, hashes.SHA256())
    rsa_stand_in = placeholder_key(rsa_key.public_key())
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    with pytest.raises(PlaceholderError):
        x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(
            rsa_stand_in, hashes.SHA256(), rsa_padding=pss
        )


def test_foreign_key_has_no_placeholder() -> None:
    with pytest.raises(UnsupportedKeyError):
        placeholder_key(ed448.Ed448PrivateKey.generate().public_key())
