"""Certs-only messages: equal to OpenSSL's octets, and read by asn1crypto, cryptography and OpenSSL."""

import base64
import subprocess
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from protocols.errors import MalformedError
from protocols.x509.certs_only import certs_only

VECTORS = Path(__file__).parent.parent / "vectors"
ISSUER = (VECTORS / "crl" / "openssl_full_issuer.der").read_bytes()


def vector(name: str) -> bytes:
    return (VECTORS / "est" / name).read_bytes()


def certificates_of(message: bytes) -> list[bytes]:
    """Return what asn1crypto finds in a certs-only message."""
    signed_data = cms.ContentInfo.load(message, strict=True)["content"]
    return [choice.chosen.dump() for choice in signed_data["certificates"]]


def test_rfc5652_5_1_message_is_the_one_openssl_builds() -> None:
    assert certs_only([ISSUER]) == vector("openssl_certs_only.der")


@pytest.mark.parametrize("name", ["rfc7030_a_1_cacerts.b64", "rfc7030_a_3_enroll_response.b64"])
def test_rfc7030_a_certificates_come_back(name: str) -> None:
    certificates = certificates_of(base64.b64decode(vector(name)))

    message = certs_only(certificates)

    assert certificates_of(message) == sorted(certificates)
    assert {
        loaded.public_bytes(Encoding.DER) for loaded in pkcs7.load_der_pkcs7_certificates(message)
    } == set(certificates)


def test_rfc5652_5_1_fields_of_the_message() -> None:
    content_info = cms.ContentInfo.load(certs_only([ISSUER]), strict=True)
    signed_data = content_info["content"]

    assert content_info["content_type"].native == "signed_data"
    assert signed_data["version"].native == "v1"
    assert len(signed_data["digest_algorithms"]) == 0
    assert signed_data["encap_content_info"]["content_type"].native == "data"
    assert signed_data["encap_content_info"]["content"].native is None
    assert signed_data["crls"].native is None
    assert len(signed_data["signer_infos"]) == 0


def test_x690_11_6_order_given_does_not_matter() -> None:
    certificates = certificates_of(base64.b64decode(vector("rfc7030_a_1_cacerts.b64")))

    assert certs_only(certificates) == certs_only(certificates[::-1])


@pytest.mark.parametrize("certificates", [[], [b""], [ISSUER, b"\x05\x00"], [ISSUER * 2], [ISSUER[:-1]]])
def test_message_without_whole_certificates_is_not_built(certificates: list[bytes]) -> None:
    with pytest.raises(MalformedError):
        certs_only(certificates)


@pytest.mark.interop
def test_openssl_prints_every_certificate() -> None:
    example = base64.b64decode(vector("rfc7030_a_1_cacerts.b64"))
    certificates = certificates_of(example)

    printed = subprocess.run(
        ["openssl", "pkcs7", "-inform", "DER", "-print_certs", "-noout"],
        input=certs_only(certificates),
        capture_output=True,
        check=True,
    ).stdout.decode()

    subjects = {line for line in printed.splitlines() if line.startswith("subject=")}
    assert subjects == {f"subject=CN = estExampleCA {way}" for way in ("OwO", "NwO", "OwN", "NwN")}
