"""OCSP requests that the fast scan leaves aside: what is looked up for them, and which need a signer.

Without a key the answers are from the same table, or none:

- a nonce is ignored and the prebuilt response given (RFC 9919 §3.2.1); so are requestorName, a signature
  (RFC 9919 §3.1.2) and extensions that are not critical;
- several certificates in one request: unauthorized, for there is no response for just these
  (RFC 9919 §3.1.1 has clients ask for one);
- a CertID by a hash that is not configured names no issuer in the table: unauthorized;
- what is not DER of a request, over a bound, has a nonce of bad length (RFC 9654 §2.1) or a critical
  extension that is not understood: malformedRequest.

Where a signer can be asked, `signing_answer` leaves it what it can better: several certificates in one
request, and nonces where they are to be echoed.
"""

from typing import NamedTuple

from protocols.asn1.ocsp import OCSPRequest, OCSPResponseStatus
from protocols.errors import ProtocolError
from protocols.ocsp.request import nonce, parse_request, table_key

Sought = tuple[bytes, bytes] | OCSPResponseStatus
"""Issuer part and serial octets of what is to be looked up, or the error to answer with."""


class Unprepared(NamedTuple):
    """What only a signer can answer: the issuers it asks about, and what is sought where none can."""

    issuer_parts: frozenset[bytes]
    keyless: Sought


def keyless_answer(request: bytes) -> Sought:
    """Return what is to be looked up where nothing can be signed."""
    try:
        return _keyless(parse_request(request))
    except ProtocolError:
        return OCSPResponseStatus.MALFORMED_REQUEST


def signing_answer(request: bytes, *, echo_nonce: bool) -> Sought | Unprepared:
    """Return what is to be looked up, or what a signer is to be asked."""
    try:
        parsed = parse_request(request)
        wanted = len(parsed.tbs_request.request_list) > 1 or (echo_nonce and nonce(parsed) is not None)
    except ProtocolError:
        return OCSPResponseStatus.MALFORMED_REQUEST
    if not wanted:
        return _keyless(parsed)
    issuer_parts = {table_key(single.req_cert)[0] for single in parsed.tbs_request.request_list}
    return Unprepared(frozenset(issuer_parts), _keyless(parsed))


def _keyless(request: OCSPRequest) -> Sought:
    requests = request.tbs_request.request_list
    return table_key(requests[0].req_cert) if len(requests) == 1 else OCSPResponseStatus.UNAUTHORIZED
