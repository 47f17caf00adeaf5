"""`protocols.asn1.ocsp` and `.pkix`: one table both ways, and cryptography's reading of the same bytes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import ocsp as second_opinion
from cryptography import x509
from cryptography.x509.ocsp import load_der_ocsp_response
from hypothesis import given
from hypothesis import strategies as st

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.ocsp import (
    BasicOCSPResponse,
    ByKey,
    ByName,
    CertID,
    CertStatus,
    CRLReason,
    Good,
    OCSPRequest,
    OCSPResponse,
    OCSPResponseStatus,
    Request,
    ResponseData,
    RevokedInfo,
    Signature,
    SingleResponse,
    TBSRequest,
    Unknown,
    archive_cutoff,
    archive_cutoff_extension,
    parse_cert_status,
    parse_responder_id,
    whole,
)
from protocols.asn1.pkix import (
    MAX_EXTENSIONS,
    AlgorithmIdentifier,
    Extension,
    encode_extensions,
    find_extension,
    parse_extensions,
)
from protocols.errors import MalformedError, ProtocolError, TooLargeError

VECTORS = Path(__file__).parents[1] / "vectors" / "ocsp"


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.der").read_bytes()


EXAMPLE_CERT_ID = CertID(
    AlgorithmIdentifier(oid.SHA256, der.null()),
    bytes.fromhex("3a994677568073a707bfde50186345e4cd6134db085ebaa1d10425f03b6f08ea"),
    bytes.fromhex("474a6ca301f23dc9f7f7078704e1c7f5fc96e71675f6ed882e7ab65c3f584543"),
    27979789,
)
EXAMPLE_RESPONSE_DATA = ResponseData(
    ByKey(bytes.fromhex("0ae3a0fe9dd4257698b5eb72ebca0ce7bf3df5f1")),
    datetime(2024, 4, 2, 12, 37, 47, tzinfo=UTC),
    (
        SingleResponse(
            EXAMPLE_CERT_ID,
            Good(),
            datetime(2024, 4, 3, 12, 37, 47, tzinfo=UTC),
            datetime(2024, 4, 10, 12, 37, 47, tzinfo=UTC),
        ),
    ),
)
NONCE = bytes.fromhex("0410") + vector("openssl_sha1_nonce")[-16:]


def sha1_of_example(serial: int = 27979789) -> CertID:
    opinion = second_opinion.OCSPRequest.load(vector("openssl_sha1"))
    cert_id = opinion["tbs_request"]["request_list"][0]["req_cert"]
    hashes = cert_id["issuer_name_hash"].native, cert_id["issuer_key_hash"].native
    return CertID(AlgorithmIdentifier(oid.SHA1, der.null()), *hashes, serial)


REQUESTS = {
    "rfc9919_examples_request": OCSPRequest(TBSRequest((Request(EXAMPLE_CERT_ID),))),
    "openssl_sha1": OCSPRequest(TBSRequest((Request(sha1_of_example()),))),
    "openssl_sha1_nonce": OCSPRequest(
        TBSRequest((Request(sha1_of_example()),), (Extension(oid.OCSP_NONCE, False, NONCE),))
    ),
    "openssl_two_requests": OCSPRequest(
        TBSRequest((Request(sha1_of_example()), Request(sha1_of_example(0x0102030405060708090A0B0C0D0E0F10))))
    ),
    "rfc6960_4_1_1_requestor_name": OCSPRequest(
        TBSRequest((Request(EXAMPLE_CERT_ID),), requestor_name=bytes.fromhex("a4023000"))
    ),
}


@pytest.mark.parametrize(("name", "want"), REQUESTS.items(), ids=REQUESTS)
def test_requests_both_ways(name: str, want: OCSPRequest) -> None:
    assert whole(vector(name), OCSPRequest.parse) == want
    assert want.encode() == vector(name)


def test_signed_request_both_ways() -> None:
    request = whole(vector("openssl_signed"), OCSPRequest.parse)
    signature = request.optional_signature
    assert signature is not None
    assert signature.signature_algorithm == AlgorithmIdentifier(oid.ECDSA_WITH_SHA256)
    [cert] = signature.certs
    subject = x509.load_der_x509_certificate(cert).subject
    assert subject.rfc4514_string() == "CN=Requestor"
    name = request.tbs_request.requestor_name
    assert name is not None
    assert name[2:] == subject.public_bytes()
    assert request.encode() == vector("openssl_signed")


def test_response_both_ways() -> None:
    response = whole(vector("rfc9919_examples_response"), OCSPResponse.parse)
    basic = response.response
    assert response.response_status is OCSPResponseStatus.SUCCESSFUL
    assert basic is not None
    assert basic.response_data() == EXAMPLE_RESPONSE_DATA
    assert basic.signature_algorithm == AlgorithmIdentifier(oid.ECDSA_WITH_SHA384)
    assert basic.certs == (vector("rfc9919_examples_responder"),)
    built = OCSPResponse(
        OCSPResponseStatus.SUCCESSFUL,
        BasicOCSPResponse(
            EXAMPLE_RESPONSE_DATA.encode(), basic.signature_algorithm, basic.signature, basic.certs
        ),
    )
    assert built.encode() == vector("rfc9919_examples_response")


NOW = datetime(2026, 11, 21, 22, 0, 0, tzinfo=UTC)
STATUSES: list[tuple[CertStatus, str]] = [
    (Good(), "8000"),
    (Unknown(), "8200"),
    (RevokedInfo(NOW), "a111180f" + b"20261121220000Z".hex()),
    (RevokedInfo(NOW, CRLReason.CERTIFICATE_HOLD), "a116180f" + b"20261121220000Z".hex() + "a0030a0106"),
]


@pytest.mark.parametrize(("status", "encoded"), STATUSES)
def test_cert_status_both_ways(status: CertStatus, encoded: str) -> None:
    assert status.encode().hex() == encoded
    assert whole(bytes.fromhex(encoded), parse_cert_status) == status


@pytest.mark.parametrize(
    "encoded", ["", "800100", "820100", "8300", "a100", "a114180f" + b"20261121220000Z".hex() + "a0030a0107"]
)
def test_no_cert_status(encoded: str) -> None:
    with pytest.raises(MalformedError):
        whole(bytes.fromhex(encoded), parse_cert_status)


@pytest.mark.parametrize("responder_id", [ByName(bytes.fromhex("3000")), ByKey(bytes(20))])
def test_responder_id_both_ways(responder_id: ByName | ByKey) -> None:
    assert whole(responder_id.encode(), parse_responder_id) == responder_id


def test_full_response_data_both_ways() -> None:
    crl = Extension(oid.OCSP_CRL, False, der.sequence())
    nonce = Extension(oid.OCSP_NONCE, False, der.octet_string(b"n"))
    single = SingleResponse(EXAMPLE_CERT_ID, Unknown(), NOW, None, (crl,))
    data = ResponseData(ByName(der.sequence()), NOW, (single, single), (nonce,))
    assert whole(data.encode(), ResponseData.parse) == data


def test_archive_cutoff_both_ways() -> None:
    """The vector is asn1crypto's."""
    example = EXAMPLE_RESPONSE_DATA.responses[0]
    cutoff = datetime(2019, 11, 21, 22, 0, 0, tzinfo=UTC)
    want = replace(example, single_extensions=(archive_cutoff_extension(cutoff),))
    assert whole(vector("rfc6960_4_4_4_archive_cutoff"), SingleResponse.parse) == want
    assert want.encode() == vector("rfc6960_4_4_4_archive_cutoff")
    assert archive_cutoff(want) == cutoff
    assert archive_cutoff(example) is None


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(der.time(NOW), id="a UTCTime"),
        pytest.param(der.encode(der.GENERALIZED_TIME, b"20191121220000.5Z"), id="fractions of a second"),
        pytest.param(der.encode(der.GENERALIZED_TIME, b"20191321220000Z"), id="no month"),
        pytest.param(der.generalized_time(NOW) + b"\x05\x00", id="something after it"),
        pytest.param(der.octet_string(der.generalized_time(NOW)), id="wrapped"),
    ],
)
def test_no_archive_cutoff(value: bytes) -> None:
    extension = Extension(oid.OCSP_ARCHIVE_CUTOFF, False, value)
    with pytest.raises(MalformedError):
        archive_cutoff(SingleResponse(EXAMPLE_CERT_ID, Good(), NOW, None, (extension,)))


def test_single_request_extensions_both_ways() -> None:
    locator = Extension(oid.OCSP_SERVICE_LOCATOR, True, der.sequence(der.sequence()))
    request = Request(EXAMPLE_CERT_ID, (locator,))
    assert whole(request.encode(), Request.parse) == request


def test_signature_without_certs_both_ways() -> None:
    signature = Signature(AlgorithmIdentifier(oid.ED25519), bytes(64))
    assert whole(signature.encode(), Signature.parse) == signature


@pytest.mark.parametrize("status", [status for status in OCSPResponseStatus if status])
def test_error_responses_both_ways(status: OCSPResponseStatus) -> None:
    encoded = OCSPResponse(status).encode()
    assert encoded == bytes((0x30, 3, 0x0A, 1, status))
    assert whole(encoded, OCSPResponse.parse) == OCSPResponse(status)
    assert load_der_ocsp_response(encoded).response_status.value == status


SUCCESSFUL_BYTES = vector("rfc9919_examples_response")[7:]


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(bytes.fromhex("30030a0104"), id="status 4"),
        pytest.param(bytes.fromhex("30030a0107"), id="status 7"),
        pytest.param(bytes.fromhex("30030a0100"), id="successful without responseBytes"),
        pytest.param(der.sequence(der.enumerated(3), SUCCESSFUL_BYTES), id="tryLater with responseBytes"),
        pytest.param(
            vector("rfc9919_examples_response").replace(
                bytes.fromhex("2b0601050507300101"), bytes.fromhex("2b0601050507300102")
            ),
            id="another responseType",
        ),
    ],
)
def test_no_response(encoded: bytes) -> None:
    with pytest.raises(MalformedError):
        whole(encoded, OCSPResponse.parse)


def test_algorithm_identifiers_both_ways() -> None:
    for algorithm in (AlgorithmIdentifier(oid.SHA1), AlgorithmIdentifier(oid.SHA1, der.sequence(der.null()))):
        assert whole(algorithm.encode(), AlgorithmIdentifier.parse) == algorithm
    with pytest.raises(MalformedError):
        whole(der.sequence(der.oid(oid.SHA1), der.null(), der.null()), AlgorithmIdentifier.parse)


def test_extensions_both_ways() -> None:
    extensions = (
        Extension(oid.KEY_USAGE, True, b"\x03\x02\x06\x40"),
        Extension(oid.OCSP_NOCHECK, False, b""),
    )
    encoded = encode_extensions(extensions)
    assert whole(encoded, parse_extensions) == extensions
    assert find_extension(extensions, oid.OCSP_NOCHECK) is extensions[1]
    assert find_extension(extensions, oid.OCSP_NONCE) is None


def test_extensions_are_bounded() -> None:
    many = [Extension(f"1.3.6.1.4.1.99999.{number}", False, b"") for number in range(MAX_EXTENSIONS + 1)]
    assert len(whole(encode_extensions(many[:-1]), parse_extensions)) == MAX_EXTENSIONS
    with pytest.raises(TooLargeError):
        whole(encode_extensions(many), parse_extensions)


def test_enumerations_are_those_of_cryptography() -> None:
    for reason in CRLReason:
        if reason is not CRLReason.UNSPECIFIED:
            data = SingleResponse(EXAMPLE_CERT_ID, RevokedInfo(NOW, reason), NOW, NOW + timedelta(1))
            single = second_opinion.SingleResponse.load(data.encode(), strict=True)
            name = single["cert_status"].chosen["revocation_reason"].native
            assert name.replace("_", "") == reason.name.replace("_", "").lower()
    names = {flag.value.lower() for flag in x509.ReasonFlags}
    assert names == {reason.name.replace("_", "").lower() for reason in CRLReason}


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.der")), ids=lambda path: path.stem)
def test_requests_are_encoded_as_they_were_read(path: Path) -> None:
    encoded = path.read_bytes()
    try:
        request = whole(encoded, OCSPRequest.parse)
    except ProtocolError:
        return
    assert request.encode() == encoded


PARSERS: list[Callable[[Reader], OCSPRequest | OCSPResponse]] = [OCSPRequest.parse, OCSPResponse.parse]
SEEDS = [path.read_bytes() for path in sorted(VECTORS.glob("*re[qs]*.der"))]


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 2**12), st.binary(max_size=2)), max_size=3))
def test_what_is_read_is_written_the_same_and_only_our_errors_escape(
    seed: bytes, edits: list[tuple[int, bytes]]
) -> None:
    encoded = seed
    for position, octets in edits:
        position %= len(encoded) + 1
        encoded = encoded[:position] + octets + encoded[position + 1 :]
    for parse in PARSERS:
        try:
            value = whole(encoded, parse)
        except ProtocolError:
            continue
        assert value.encode() == encoded


def test_the_example_is_read_alike() -> None:
    response = load_der_ocsp_response(vector("rfc9919_examples_response"))
    single = EXAMPLE_RESPONSE_DATA.responses[0]
    assert response.issuer_name_hash == single.cert_id.issuer_name_hash
    assert response.issuer_key_hash == single.cert_id.issuer_key_hash
    assert response.serial_number == single.cert_id.serial_number
    assert response.this_update_utc == single.this_update
    assert response.next_update_utc == single.next_update
    assert response.produced_at_utc == EXAMPLE_RESPONSE_DATA.produced_at
    assert response.responder_key_hash == bytes.fromhex("0ae3a0fe9dd4257698b5eb72ebca0ce7bf3df5f1")
    assert response.tbs_response_bytes == EXAMPLE_RESPONSE_DATA.encode()
