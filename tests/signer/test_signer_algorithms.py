"""Kinds of keys, their algorithms, and verification."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from pkiserver.signer.algorithms import (
    KeySpec,
    load_public_key,
    public_key_der,
    signature_algorithm_for,
    verify,
)
from pkiserver.signer.errors import BadSignatureError, UnsupportedKeyError
from protocols.errors import ErrorKind

SPECS = ["ec:P-256", "ec:P-384", "ec:P-521", "rsa:2048", "rsa:3072", "rsa:4096", "ed25519"]
NOT_SPECS = [
    "",
    "ec",
    "ec:",
    "ec:P-224",
    "ec:p-256",
    "rsa",
    "rsa:1024",
    "rsa:2049",
    "rsa:8192",
    "ed25519:",
    "dsa:1",
]

# AlgorithmIdentifiers as RFC 5758 §3.2, RFC 4055 §5 and RFC 8410 §3 give them.
ALGORITHMS = [
    (ec.generate_private_key(ec.SECP256R1()), "ecdsa-with-SHA256", "300a06082a8648ce3d040302", "sha256"),
    (ec.generate_private_key(ec.SECP384R1()), "ecdsa-with-SHA384", "300a06082a8648ce3d040303", "sha384"),
    (ec.generate_private_key(ec.SECP521R1()), "ecdsa-with-SHA512", "300a06082a8648ce3d040304", "sha512"),
    (
        rsa.generate_private_key(65537, 2048),
        "sha256WithRSAEncryption",
        "300d06092a864886f70d01010b0500",
        "sha256",
    ),
    (ed25519.Ed25519PrivateKey.generate(), "id-Ed25519", "300506032b6570", None),
]


@pytest.mark.parametrize("text", SPECS)
def test_spec_both_ways(text: str) -> None:
    assert str(KeySpec.parse(text)) == text


@pytest.mark.parametrize("text", NOT_SPECS)
def test_other_specs_are_refused(text: str) -> None:
    if text == "ed25519:":  # the same words with an empty parameter
        assert str(KeySpec.parse(text)) == "ed25519"
        return
    with pytest.raises(UnsupportedKeyError) as caught:
        KeySpec.parse(text)
    assert caught.value.kind is ErrorKind.BAD_REQUEST


@pytest.mark.parametrize(("key", "name", "identifier", "hash_name"), ALGORITHMS, ids=lambda v: str(v)[:24])
def test_algorithm_of_key(
    key: ec.EllipticCurvePrivateKey, name: str, identifier: str, hash_name: str | None
) -> None:
    algorithm = signature_algorithm_for(key.public_key())
    assert algorithm.name == name
    assert algorithm.der.hex() == identifier
    assert (algorithm.hash.name if algorithm.hash else None) == hash_name


def _sign(key: object, data: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    if isinstance(key, rsa.RSAPrivateKey):
        algorithm = signature_algorithm_for(key.public_key()).hash
        assert algorithm
        return key.sign(data, padding.PKCS1v15(), algorithm)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    algorithm = signature_algorithm_for(key.public_key()).hash
    assert algorithm
    return key.sign(data, ec.ECDSA(algorithm))


@pytest.mark.parametrize("key", [row[0] for row in ALGORITHMS])
def test_verify(key: ec.EllipticCurvePrivateKey) -> None:
    signature = _sign(key, b"data")
    verify(key.public_key(), signature, b"data")
    for wrong, data in ((signature, b"Data"), (signature[:-1], b"data"), (b"", b"data")):
        with pytest.raises(BadSignatureError):
            verify(key.public_key(), wrong, data)


@pytest.mark.parametrize(
    "public_key",
    [ec.generate_private_key(ec.SECP256K1()).public_key(), ed448.Ed448PrivateKey.generate().public_key()],
)
def test_foreign_keys_have_no_algorithm(public_key: ec.EllipticCurvePublicKey | ed448.Ed448PublicKey) -> None:
    with pytest.raises(UnsupportedKeyError):
        signature_algorithm_for(public_key)
    with pytest.raises(UnsupportedKeyError):
        verify(public_key, b"", b"")
    with pytest.raises(UnsupportedKeyError):
        load_public_key(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize("key", [row[0] for row in ALGORITHMS])
def test_public_key_both_ways(key: ec.EllipticCurvePrivateKey) -> None:
    spki = public_key_der(key.public_key())
    assert public_key_der(load_public_key(spki)) == spki


@given(st.binary(max_size=200))
def test_load_public_key_raises_only_its_error(spki: bytes) -> None:
    with pytest.raises(UnsupportedKeyError):
        load_public_key(spki)
