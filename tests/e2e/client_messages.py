"""What clients send and receive: keys, requests, enrolment credentials, HTTP replies, OCSP responses."""

import base64
import http.client
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates
from cryptography.x509 import ocsp


@dataclass(frozen=True)
class Reply:
    """One HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def certificate(self) -> x509.Certificate:
        """Return the one certificate of an EST response."""
        assert self.status == 200, (self.status, self.body)
        (certificate,) = load_der_pkcs7_certificates(base64.b64decode(self.body, validate=True))
        return certificate


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def csr_for(
    key: ec.EllipticCurvePrivateKey,
    subject: x509.Name | str = "",
    san: x509.SubjectAlternativeName | None = None,
) -> x509.CertificateSigningRequest:
    name = x509.Name.from_rfc4514_string(subject) if isinstance(subject, str) else subject
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if san is not None:
        builder = builder.add_extension(san, critical=False)
    return builder.sign(key, hashes.SHA256())


def renewal_csr(held: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    """Return a request with the subject and the alternative names of a certificate."""
    try:
        san = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        san = None
    return csr_for(key, held.subject, san)


def serial_of(certificate: x509.Certificate) -> str:
    return f"{certificate.serial_number:x}"


@dataclass(frozen=True)
class Credential:
    reference: str
    secret: str

    @property
    def userpass(self) -> str:
        return f"{self.reference}:{self.secret}"


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def ocsp_request(issuer: x509.Certificate, serial: int) -> bytes:
    name_hash, key_hash = hashes.Hash(hashes.SHA256()), hashes.Hash(hashes.SHA256())
    name_hash.update(issuer.subject.public_bytes())
    public_key = issuer.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    key_hash.update(public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        name_hash.finalize(), key_hash.finalize(), serial, hashes.SHA256()
    )
    return builder.build().public_bytes(Encoding.DER)


def read_ocsp_status(reply: Reply, issuer: x509.Certificate, serial: int) -> str:
    """Return the status in an OCSP response, after its responder and signature were verified."""
    assert reply.status == 200, reply
    response = ocsp.load_der_ocsp_response(reply.body)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return response.response_status.name.lower()
    (responder,) = response.certificates
    responder.verify_directly_issued_by(issuer)
    public_key, algorithm = responder.public_key(), response.signature_hash_algorithm
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    assert algorithm is not None
    public_key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
    singles = list(response.responses)
    assert {single.serial_number for single in singles} == {serial}
    (status,) = {single.certificate_status for single in singles}
    return status.name.lower()
