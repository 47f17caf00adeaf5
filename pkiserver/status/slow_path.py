"""OCSP requests that the fast scan leaves aside, answered without a key from the same table.

The keyless answers, which a responder that can sign may better:

- a nonce is ignored and the prebuilt response given (RFC 9919 §3.2.1); so are requestorName, a signature
  (RFC 9919 §3.1.2) and extensions that are not critical;
- several certificates in one request: unauthorized, for there is no response for just these
  (RFC 9919 §3.1.1 has clients ask for one);
- a CertID by another hash than SHA-1 and SHA-256 names no issuer in the table: unauthorized;
- what is not DER of a request, over a bound, has a nonce of bad length (RFC 9654 §2.1) or a critical
  extension that is not understood: malformedRequest.
"""

from protocols.asn1.ocsp import OCSPResponseStatus
from protocols.errors import ProtocolError
from protocols.ocsp.request import parse_request, table_key


def keyless_answer(request: bytes) -> tuple[bytes, bytes] | OCSPResponseStatus:
    """Return issuer part and serial octets of what is to be looked up, or the error to answer with."""
    try:
        parsed = parse_request(request)
    except ProtocolError:
        return OCSPResponseStatus.MALFORMED_REQUEST
    requests = parsed.tbs_request.request_list
    if len(requests) != 1:
        return OCSPResponseStatus.UNAUTHORIZED
    return table_key(requests[0].req_cert)
