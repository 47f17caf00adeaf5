"""What OCSP says of a certificate, its signature verified (RFC 6960)."""

import http.client
import time
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pkiserver.demo.client import TIMEOUT_S, Doors, exchanged
from pkiserver.demo.errors import DemoError

PATIENCE_S: Final = 10.0  # a change is published within 5 s
_PAUSE_S: Final = 0.1


def await_status(where: Doors, issuer: x509.Certificate, certificate: x509.Certificate, wanted: str) -> str:
    """Ask until OCSP says `good`, `on hold` or `revoked` as wanted; `DemoError` where it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while (said := status(where, issuer, certificate)) != wanted:
        if time.monotonic() > deadline:
            raise DemoError(f"OCSP says {said} and not {wanted}")
        time.sleep(_PAUSE_S)
    return said


def status(where: Doors, issuer: x509.Certificate, certificate: x509.Certificate) -> str:
    """Return good, on hold, revoked, unknown, or the error that is answered instead (RFC 6960 §4.2.1)."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256())
    request = builder.build().public_bytes(Encoding.DER)
    connection = http.client.HTTPConnection(*where.http, timeout=TIMEOUT_S)
    headers = {"Content-Type": "application/ocsp-request"}
    answer = exchanged(connection, "POST", "/ocsp", headers, request)
    try:
        response = ocsp.load_der_ocsp_response(answer.octets)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return response.response_status.name.lower()
        _verify(response, issuer)
        return _said(response, certificate)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise DemoError("the OCSP response is none of the issuer's responder") from error


def _verify(response: ocsp.OCSPResponse, issuer: x509.Certificate) -> None:
    (responder,) = response.certificates
    responder.verify_directly_issued_by(issuer)
    key, algorithm = responder.public_key(), response.signature_hash_algorithm
    if algorithm is None:
        raise ValueError("the responder's algorithm is not one of ours")
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm)
    else:
        raise TypeError("the responder's key is not one of ours")


def _said(response: ocsp.OCSPResponse, certificate: x509.Certificate) -> str:
    for single in response.responses:
        if single.serial_number == certificate.serial_number:
            if single.revocation_reason is x509.ReasonFlags.certificate_hold:
                return "on hold"
            return single.certificate_status.name.lower()
    raise ValueError("the response is about another certificate")
