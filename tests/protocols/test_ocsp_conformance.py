"""The rules of OCSP that the wire formats keep, one row a rule, with its section.

What is decided above the formats (which status, which error response) has its rows with the web layer.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.ocsp import (
    ByKey,
    CRLReason,
    Good,
    OCSPResponse,
    OCSPResponseStatus,
    ResponseData,
    RevokedInfo,
    whole,
)
from protocols.asn1.pkix import Extension
from protocols.errors import MalformedError, ProtocolError, TooLargeError
from protocols.ocsp.http import ERROR_CACHE_HEADERS, cache_headers, etag, request_from_path
from protocols.ocsp.request import CriticalExtensionError, nonce, parse_request, scan
from protocols.ocsp.response import ResponseTemplate, encode_response, error_response

VECTORS = Path(__file__).parents[1] / "vectors" / "ocsp"
ABOUT_REQUESTS = {path.stem for path in VECTORS.glob("*.der")} - {
    "rfc9919_examples_issuer",
    "rfc9919_examples_end_entity",
    "rfc9919_examples_responder",
    "rfc9919_examples_response",
    "rfc6960_4_4_4_archive_cutoff",
}


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.der").read_bytes()


# ---- Requests: the vector, the rule, and what becomes of it: how many Requests, or which error

REQUESTS: list[tuple[str, str, int | type[ProtocolError]]] = [
    ("openssl_sha1", "RFC 6960 §4.1.1 a request by SHA-1 is read", 1),
    ("openssl_sha1_nonce", "RFC 6960 §4.4.1 a nonce is read", 1),
    ("openssl_two_requests", "RFC 6960 §4.1.1 requestList may hold several", 2),
    ("openssl_signed", "RFC 9919 §3.1.2 a signed request is read, its signature not believed", 1),
    ("rfc9919_examples_request", "RFC 9919 §3.1.1 a request by SHA-256 is read", 1),
    ("rfc9919_6_get_request_md5", "RFC 6960 §4.1.1 hashAlgorithm may be any", 1),
    ("rfc6960_4_1_1_sha384_cert_id", "RFC 5754 §2 a request by SHA-384 is read", 1),
    ("rfc6960_4_1_1_sha512_cert_id", "RFC 5754 §2 a request by SHA-512 is read", 1),
    ("rfc9919_3_1_2_signature_wrong", "RFC 9919 §3.1.2 nor is a wrong signature noticed", 1),
    ("rfc6960_4_1_1_requestor_name", "RFC 9919 §3.1.2 requestorName unsigned MUST be as if absent", 1),
    (
        "rfc6960_4_1_1_requestor_name_untagged",
        "RFC 6960 §4.1.1 requestorName is a GeneralName",
        MalformedError,
    ),
    ("rfc6960_4_1_1_no_requests", "RFC 6960 §4.1.1 requestList has one or more", MalformedError),
    ("rfc6960_4_1_1_sixteen_requests", "our bound: sixteen Requests", 16),
    ("rfc6960_4_1_1_seventeen_requests", "our bound: over sixteen Requests", TooLargeError),
    ("rfc6960_4_1_1_version_2", "RFC 6960 §4.1.1 version is v1", MalformedError),
    ("rfc6960_4_1_1_extensions_empty", "RFC 5280 §4.1 Extensions has one or more", MalformedError),
    ("rfc6960_4_1_1_trailing_byte", "RFC 6960 §A.1 nothing follows the request", MalformedError),
    ("rfc6960_4_1_1_trailing_inside", "RFC 6960 §4.1.1 nothing follows optionalSignature", MalformedError),
    ("rfc6960_4_1_1_truncated", "RFC 6960 §A.1 the request is whole", MalformedError),
    ("rfc6960_4_1_2_unknown_extension", "RFC 6960 §4.1.2 unrecognized MUST be ignored", 1),
    (
        "rfc6960_4_1_2_unknown_critical_extension",
        "RFC 6960 §4.1.2 unless critical",
        CriticalExtensionError,
    ),
    (
        "rfc6960_4_1_2_unknown_critical_single_extension",
        "RFC 6960 §4.1.2 unless critical, of one Request",
        CriticalExtensionError,
    ),
    ("rfc6960_4_4_1_critical_nonce", "RFC 6960 §4.4.1 a critical nonce is understood", 1),
    ("rfc6960_4_4_3_without_basic", "RFC 6960 §4.4.3 acceptable responses are a hint unless critical", 1),
    ("rfc6960_4_4_6_service_locator", "RFC 6960 §4.4.6 a service locator is of no use here", 1),
    ("rfc6960_4_4_7_preferred_algorithms", "RFC 6960 §4.4.7 preferred algorithms are a hint", 1),
    ("rfc6960_4_4_3_critical_with_basic", "RFC 6960 §4.4.3 basic is among what the client accepts", 1),
    (
        "rfc6960_4_4_3_critical_without_basic",
        "RFC 6960 §4.4.3 the client insists on another type",
        CriticalExtensionError,
    ),
    ("rfc5280_4_2_extension_repeated", "RFC 5280 §4.2 MUST NOT repeat an extension", MalformedError),
    ("rfc5280_4_1_2_2_serial_negative", "RFC 5280 §4.1.2.2 a negative serial is read gracefully", 1),
    ("rfc5280_4_1_2_2_serial_21_octets", "RFC 5280 §4.1.2.2 a longer serial is read, and unknown to all", 1),
    ("rfc5754_2_parameters_absent", "RFC 5754 §2 MUST accept absent parameters", 1),
    ("rfc5754_2_parameters_other", "RFC 5754 §2 parameters are absent or NULL", MalformedError),
    ("rfc9654_2_1_nonce_1", "RFC 9654 §2.1 a nonce of 1 octet", 1),
    ("rfc9654_2_1_nonce_128", "RFC 9654 §2.1 a nonce of 128 octets", 1),
    ("rfc9654_2_1_nonce_empty", "RFC 9654 §2.1 an empty nonce is malformed", MalformedError),
    ("rfc9654_2_1_nonce_129", "RFC 9654 §2.1 a nonce over 128 octets is malformed", MalformedError),
    ("rfc9654_2_1_nonce_bare", "RFC 9654 §2.1 extnValue holds an OCTET STRING", MalformedError),
    ("x690_8_1_3_long_length", "X.690 §10.1 lengths are the shortest", MalformedError),
    ("x690_8_1_3_indefinite_length", "X.690 §10.1 lengths are definite", MalformedError),
    ("x690_8_3_2_serial_not_minimal", "X.690 §8.3.2 integers are the shortest", MalformedError),
    ("x690_11_5_version_1_written_out", "X.690 §11.5 defaults are left out: version", MalformedError),
    ("x690_11_5_critical_false_written_out", "X.690 §11.5 defaults are left out: critical", MalformedError),
]


@pytest.mark.parametrize(
    ("name", "expected"), [pytest.param(name, expected, id=rule) for name, rule, expected in REQUESTS]
)
def test_request(name: str, expected: int | type[ProtocolError]) -> None:
    if isinstance(expected, int):
        request = parse_request(vector(name))
        assert len(request.tbs_request.request_list) == expected
        assert request.encode() == vector(name)
    else:
        with pytest.raises(expected):
            parse_request(vector(name))
        assert scan(vector(name)) is None


def test_every_vector_of_a_request_has_its_row() -> None:
    assert sorted(name for name, _, _ in REQUESTS) == sorted(ABOUT_REQUESTS)


# ---- Responses and HTTP: the rule, and a function that holds where it is kept

START = datetime(2026, 11, 21, 22, 0, 0, tzinfo=UTC)
END = START + timedelta(hours=12)
PRODUCED = START + timedelta(seconds=3)
HOLD = RevokedInfo(START, CRLReason.CERTIFICATE_HOLD)
TEMPLATE = ResponseTemplate(bytes(20), der.sequence(), b"\x04" + bytes(64))
ALGORITHM = der.sequence(der.oid(oid.ECDSA_WITH_SHA256))
GET = (
    b"MEowSDBGMEQwQjAKBggqhkiG9w0CBQQQ7sp6GTKpL2dAdeGaW267owQQqInESWQD0mGeBArSgv%2FBWQIQLJx%2F"
    b"g9xF8oySYzol80Mbpg%3D%3D"
)


def data(status: Good | RevokedInfo = HOLD) -> ResponseData:
    return whole(TEMPLATE.response_data(7, status, PRODUCED, START, END), ResponseData.parse)


def expired() -> ResponseData:
    cutoff = START.replace(year=2019)
    return whole(TEMPLATE.response_data(7, Good(), PRODUCED, START, END, cutoff), ResponseData.parse)


def answered(certificates: bytes) -> OCSPResponse:
    encoded = TEMPLATE.response_data(7, Good(), PRODUCED, START, END)
    return whole(encode_response(encoded, b"signature", ALGORITHM, certificates), OCSPResponse.parse)


def headers() -> list[bytes]:
    got = cache_headers(this_update=START, next_update=END, now=PRODUCED, max_age_cap=timedelta(days=1))
    assert got.endswith(b"\r\n")
    return got[:-2].split(b"\r\n")


def refused(path: bytes) -> bool:
    with pytest.raises(MalformedError):
        request_from_path(path)
    return True


def written_in_whole_seconds() -> bool:
    encoded = TEMPLATE.response_data(
        7, HOLD, *(moment.replace(microsecond=9) for moment in (PRODUCED, START, END))
    )
    return encoded == TEMPLATE.response_data(7, HOLD, PRODUCED, START, END)


RULES: list[tuple[str, Callable[[], object]]] = [
    (
        "RFC 6960 §4.2.1 an error has no responseBytes",
        lambda: all(len(error_response(status)) == 5 for status in OCSPResponseStatus if status),
    ),
    (
        "RFC 6960 §4.2.1 certs is absent rather than empty",
        lambda: (basic := answered(b"").response) and basic.encode().endswith(der.bit_string(b"signature")),
    ),
    (
        "RFC 6960 §4.2.1 certs holds the responder's certificate",
        lambda: (
            (basic := answered(vector("rfc9919_examples_responder")).response)
            and basic.certs == (vector("rfc9919_examples_responder"),)
        ),
    ),
    (
        "RFC 6960 §2.2 suspended is revoked with certificateHold",
        lambda: {response.cert_status for response in data().responses} == {HOLD},
    ),
    (
        "RFC 5280 §5.3.1 reason unspecified is left out",
        lambda: (
            {response.cert_status for response in data(RevokedInfo(START, CRLReason.UNSPECIFIED)).responses}
            == {RevokedInfo(START)}
        ),
    ),
    (
        "RFC 9919 §3.2.1 two SingleResponses, by SHA-1 and by SHA-256",
        lambda: (
            [response.cert_id.hash_algorithm.oid for response in data().responses] == [oid.SHA1, oid.SHA256]
        ),
    ),
    (
        "RFC 6960 §4.4.4 archiveCutoff is a GeneralizedTime among singleExtensions",
        lambda: (
            [response.single_extensions for response in expired().responses]
            == [(Extension("1.3.6.1.5.5.7.48.1.6", False, b"\x18\x0f20191121220000Z"),)] * 2
        ),
    ),
    (
        "RFC 6960 §4.4.4 archiveCutoff is not given of a certificate that has not expired",
        lambda: {response.single_extensions for response in data().responses} == {()},
    ),
    ("RFC 9919 §3.2.1 no responseExtensions", lambda: data().response_extensions == ()),
    ("RFC 9919 §3.2.2 MUST use byKey", lambda: data().responder_id == ByKey(bytes(20))),
    (
        "RFC 9919 §3.2.3 unauthorized for what is not known",
        lambda: error_response(OCSPResponseStatus.UNAUTHORIZED) == bytes.fromhex("30030a0106"),
    ),
    (
        "RFC 9919 §3.2.4 MUST give nextUpdate",
        lambda: {response.next_update for response in data().responses} == {END},
    ),
    (
        "RFC 9919 §3.2.4 thisUpdate is when the status was known, producedAt when it was signed",
        lambda: (data().responses[0].this_update, data().produced_at) == (START, PRODUCED),
    ),
    ("RFC 9919 §3.2.4 MUST NOT write fractions of a second", written_in_whole_seconds),
    (
        "RFC 9654 §2.1 a nonce is what the OCTET STRING holds",
        lambda: nonce(parse_request(vector("rfc9654_2_1_nonce_128"))) == bytes(range(128)),
    ),
    (
        "RFC 9919 §6 the example of GET",
        lambda: request_from_path(GET) == vector("rfc9919_6_get_request_md5"),
    ),
    ("RFC 9919 §6 MUST NOT hold white space", lambda: refused(GET[:8] + b"%0A" + GET[8:])),
    ("RFC 9919 §6 MUST NOT hold what is not base64", lambda: refused(GET[:8] + b"*" + GET[9:])),
    (
        "RFC 9919 §7.2 Last-Modified is thisUpdate",
        lambda: b"Last-Modified: Sat, 21 Nov 2026 22:00:00 GMT" in headers(),
    ),
    (
        "RFC 9919 §7.2 Expires is nextUpdate",
        lambda: b"Expires: Sun, 22 Nov 2026 10:00:00 GMT" in headers(),
    ),
    (
        "RFC 9919 §7.2 ETag is the SHA-256 of the response in hexadecimal",
        lambda: etag(b"response") == b'"%b"' % hashlib.sha256(b"response").hexdigest().encode(),
    ),
    (
        "RFC 9919 §7.2 max-age ends before nextUpdate; public, no-transform, must-revalidate",
        lambda: b"Cache-Control: max-age=43196, public, no-transform, must-revalidate" in headers(),
    ),
    (
        "RFC 9919 §7.2 MUST NOT say no-cache or no-store of an authoritative response",
        lambda: not any(word in b"".join(headers()) for word in (b"no-cache", b"no-store", b"Pragma")),
    ),
    (
        "RFC 9919 §7.2 SHOULD say so of others",
        lambda: b"no-cache" in ERROR_CACHE_HEADERS and b"no-store" in ERROR_CACHE_HEADERS,
    ),
]


@pytest.mark.parametrize("holds", [pytest.param(holds, id=rule) for rule, holds in RULES])
def test_rule(holds: Callable[[], object]) -> None:
    assert holds()
