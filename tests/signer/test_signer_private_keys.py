"""Keys of a token in cryptography's builders, which know nothing of tokens."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from config.pkcs11_uri import PKCS11URI
from pkiserver.signer.settings import SignerSettings

# Each runs in a process of its own, for a module's state belongs to one process and one token folder.
HEAD = """
import sys, copy
from datetime import UTC, datetime, timedelta
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import pkcs7
from config.pkcs11_uri import PKCS11URI
from pkiserver.signer.algorithms import KeySpec
from pkiserver.signer.errors import KeyExistsError, KeyNotFoundError, UnsupportedKeyError
from pkiserver.signer.pkcs11_private_keys import opened_key, opened_token, token_private_key

def certificate(key, hash_, rsa_padding=None):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A")])
    now = datetime.now(UTC)
    builder = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(5).not_valid_before(now).not_valid_after(now + timedelta(days=1)))
    made = builder.sign(key, hash_, rsa_padding=rsa_padding)
    made.verify_directly_issued_by(made)
    return made

with opened_token(PKCS11URI.parse(sys.argv[1])) as store:
    def made(text):
        store.generate(text.replace(":", "-"), KeySpec.parse(text))
        return token_private_key(store, text.replace(":", "-"))
"""
CASES = {
    "ec": """
    sha2 = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
    for text, hash_ in zip(("ec:P-256", "ec:P-384", "ec:P-521"), sha2, strict=True):
        key = made(text)
        assert key.curve.name == key.public_key().curve.name and key.key_size == key.public_key().key_size
        certificate(key, hash_)
        x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hash_)
        assert copy.deepcopy(key) is key
    signature = key.sign(bytes(32), ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    key.public_key().verify(signature, bytes(32), ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    """,
    "rsa": """
    for text in ("rsa:2048", "rsa:3072", "rsa:4096"):
        key = made(text)
        for hash_ in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
            certificate(key, hash_)
            pss = padding.PSS(padding.MGF1(hash_), padding.PSS.DIGEST_LENGTH)
            found = certificate(key, hash_, pss)
            assert found.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSASSA_PSS
        twenty = padding.PSS(padding.MGF1(hash_), 20)
        key.public_key().verify(key.sign(b"x", twenty, hash_), b"x", twenty, hash_)
    with pytest.raises(UnsupportedKeyError, match="salt"):
        key.sign(b"x", padding.PSS(padding.MGF1(hash_), padding.PSS.MAX_LENGTH), hash_)
    with pytest.raises(UnsupportedKeyError, match="sha3"):
        key.sign(b"x", padding.PKCS1v15(), hashes.SHA3_256())
    with pytest.raises(UnsupportedKeyError, match="PSS"):
        key.sign(b"x", padding.OAEP(padding.MGF1(hash_), hash_, None), hash_)
    """,
    "ed25519": """
    key = made("ed25519")
    certificate(key, None)
    """,
    "cms": """
    key = made("ec:P-256")
    sha256 = hashes.SHA256()
    builder = pkcs7.PKCS7SignatureBuilder().set_data(b"text")
    builder = builder.add_signer(certificate(key, sha256), key, sha256)
    message = builder.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])
    pkcs7.load_der_pkcs7_certificates(message)
    """,
    "uri": """
    key, other = made("ec:P-256"), made("rsa:2048")
    with pytest.raises(KeyNotFoundError):
        store.label_of("rsa-2048", bytes(20))
    with pytest.raises(KeyExistsError):
        store.label_of(None, None)
    store.close()
    base, query = sys.argv[1].split("?")
    with opened_key(PKCS11URI.parse(f"{base};object=ec-P-256?{query}")) as again:
        assert again.public_key() == key.public_key()
        again.sign(b"x", ec.ECDSA(hashes.SHA256()))
    """,
    "private": """
    for key in (made("ec:P-256"), made("rsa:2048"), made("ed25519")):
        with pytest.raises(UnsupportedKeyError):
            key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption())
    with pytest.raises(KeyNotFoundError):
        token_private_key(store, "none")
    """,
}


@pytest.mark.parametrize("case", CASES)
def test_builders_sign_with_a_key_of_the_token(token_settings: SignerSettings, case: str) -> None:
    uri = PKCS11URI(
        token_settings.token_label,
        module_path=token_settings.module,
        pin_source=f"file:{token_settings.pin_file}",
    )
    run = subprocess.run(
        [sys.executable, "-c", HEAD + CASES[case], str(uri)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_duplicate_labels_need_the_serial(
    token_settings: SignerSettings, make_token: Callable[..., None]
) -> None:
    make_token()
    uri = PKCS11URI(token_settings.token_label, module_path=token_settings.module, pin_source="file:/none")
    run = subprocess.run(
        [sys.executable, "-c", HEAD, str(uri)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "SignerSettingsError: more than one token is" in run.stderr
