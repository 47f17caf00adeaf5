"""The mock server of `openssl cmp` takes requests that are built here, and its answers are read."""

import secrets
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.certificates import CertRepMessage
from protocols.cmp.crmf import (
    CertReqMsg,
    CertTemplate,
    POPOSigningKey,
    build_cert_req_messages,
    build_cert_request,
)
from protocols.cmp.general_info import GeneralInfo, read_general_info
from protocols.cmp.general_name import general_name
from protocols.cmp.header import PKIHeader
from protocols.cmp.mac import PBMParameter
from protocols.cmp.message import finish_message, parse_pki_message, protected_part_of
from protocols.cmp.protection import mac_protected, verify_mac, verify_signature
from protocols.cmp.status import PKIStatus

SECRET = b"vector"
KEY = ec.generate_private_key(ec.SECP256R1())
CA_KEY = ec.generate_private_key(ec.SECP256R1())
ECDSA = AlgorithmIdentifier(oid.ECDSA_WITH_SHA256)
CA_NAME = x509.Name.from_rfc4514_string("CN=CA")
NAME = x509.Name.from_rfc4514_string("CN=New")
NOW = datetime.now(UTC).replace(microsecond=0)


def certificate(name: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.Certificate:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name.from_rfc4514_string("CN=Root"))
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(days=1))
        .public_key(key)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .sign(CA_KEY, hashes.SHA256())
    )


def root() -> x509.Certificate:
    name = x509.Name.from_rfc4514_string("CN=Root")
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .serial_number(1)
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(days=1))
        .public_key(CA_KEY.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(CA_KEY, hashes.SHA256())
    )


def request_body() -> PKIBody:
    """Return an ir for `KEY`, with a proof by signature."""
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    request = build_cert_request(0, CertTemplate(subject=NAME.public_bytes(), public_key=spki))
    proof = POPOSigningKey(ECDSA, KEY.sign(request.der, ec.ECDSA(hashes.SHA256())))
    return PKIBody(BodyType.IR, build_cert_req_messages([CertReqMsg(request, proof)]))


HEADER = PKIHeader(
    sender=general_name(NAME.public_bytes()),
    recipient=general_name(CA_NAME.public_bytes()),
    message_time=NOW,
    general_info=GeneralInfo(implicit_confirm=True).infos(),
)


def fresh_header() -> PKIHeader:
    return replace(HEADER, transaction_id=secrets.token_bytes(16), sender_nonce=secrets.token_bytes(16))


def answer_of_openssl(folder: Path, request: bytes, options: list[str]) -> bytes:
    """Have the mock server answer `request`; return its answer."""
    (folder / "request.der").write_bytes(request)
    (folder / "new.pem").write_bytes(certificate(NAME, KEY.public_key()).public_bytes(Encoding.PEM))
    (folder / "root.pem").write_bytes(root().public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    command = ["openssl", "cmp", "-cmd", "ir", "-use_mock_srv", "-batch", "-recipient", "/CN=CA"]
    command += ["-newkey", "key.pem", "-subject", "/CN=New", "-implicit_confirm", "-grant_implicitconf"]
    command += [
        "-rsp_cert",
        "new.pem",
        "-certout",
        "out.pem",
        "-reqin",
        "request.der",
        "-rspout",
        "answer.der",
    ]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "answer.der").read_bytes()


def check_answer(answer: bytes, request: PKIHeader) -> None:
    message = parse_pki_message(answer)
    (response,) = der.whole(message.body.content_der, CertRepMessage.parse).response

    assert message.header.transaction_id == request.transaction_id
    assert message.header.recip_nonce == request.sender_nonce
    assert read_general_info(message.header.general_info).implicit_confirm
    assert response.status.status is PKIStatus.ACCEPTED
    assert response.certified_key_pair is not None
    given = x509.load_der_x509_certificate(response.certified_key_pair.certificate or b"")
    assert given.public_key() == KEY.public_key()


@pytest.mark.interop
@pytest.mark.parametrize("mac", [oid.HMAC_SHA1, oid.HMAC_WITH_SHA256, oid.HMAC_WITH_SHA512])
def test_openssl_takes_a_request_by_mac(mac: str, tmp_path: Path) -> None:
    parameters = PBMParameter(
        secrets.token_bytes(16),
        AlgorithmIdentifier(oid.SHA256, der.null()),
        1000,
        AlgorithmIdentifier(mac, der.null()),
    )
    header = replace(fresh_header(), sender_kid=b"4711")
    request = mac_protected(header, request_body(), parameters.key_of(SECRET))
    secret = f"pass:{SECRET.decode()}"
    options = ["-srv_ref", "srv", "-srv_secret", secret, "-ref", "4711", "-secret", secret]

    answer = answer_of_openssl(tmp_path, request, options)

    verify_mac(parse_pki_message(answer), SECRET)
    check_answer(answer, header)


@pytest.mark.interop
def test_openssl_takes_a_request_by_signature(tmp_path: Path) -> None:
    signer = certificate(NAME, KEY.public_key())
    identifier = x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()).digest
    header = replace(fresh_header(), protection_alg=ECDSA, sender_kid=identifier)
    part = protected_part_of(header, request_body())
    extra_certs = [signer.public_bytes(Encoding.DER)]
    request = finish_message(part, KEY.sign(part, ec.ECDSA(hashes.SHA256())), extra_certs)
    (tmp_path / "server.pem").write_bytes(certificate(CA_NAME, KEY.public_key()).public_bytes(Encoding.PEM))
    (tmp_path / "client.pem").write_bytes(signer.public_bytes(Encoding.PEM))
    options = ["-srv_cert", "server.pem", "-srv_key", "key.pem", "-srv_trusted", "root.pem"]
    options += ["-trusted", "root.pem", "-cert", "client.pem", "-key", "key.pem"]

    answer = answer_of_openssl(tmp_path, request, options)

    verify_signature(parse_pki_message(answer), KEY.public_key())
    check_answer(answer, header)
