"""`protocols.ocsp.request`: the scan never differs from the parser, and both from what an issuer is."""

from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPRequestBuilder
from hypothesis import example, given
from hypothesis import strategies as st

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.ocsp import CertID, OCSPRequest, Request, TBSRequest
from protocols.asn1.pkix import AlgorithmIdentifier, Extension
from protocols.errors import ProtocolError, TooLargeError
from protocols.ocsp import request as ocsp_request
from protocols.ocsp.request import (
    CriticalExtensionError,
    issuer_parts,
    nonce,
    parse_request,
    scan,
    table_key,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "ocsp"
SEEDS = [path.read_bytes() for path in sorted(VECTORS.glob("*.der"))]


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.der").read_bytes()


ISSUER = x509.load_der_x509_certificate(vector("rfc9919_examples_issuer"))
END_ENTITY = x509.load_der_x509_certificate(vector("rfc9919_examples_end_entity"))


def key_bits(certificate: x509.Certificate) -> bytes:
    """The content of subjectPublicKey, found without the code under test."""
    spki = der.Reader(certificate.tbs_certificate_bytes).enter()
    for _ in range(6):
        spki.read_any()
    fields = spki.enter()
    fields.read_any()
    return fields.bit_string()


PARTS = issuer_parts(ISSUER.subject.public_bytes(), key_bits(ISSUER))


def plain(cert_id: CertID) -> bytes:
    return OCSPRequest(TBSRequest((Request(cert_id),))).encode()


SIZES = {oid.SHA1: 20, oid.SHA256: 32}
CERT_IDS = st.sampled_from(sorted(SIZES)).flatmap(
    lambda algorithm: st.builds(
        CertID,
        st.builds(AlgorithmIdentifier, st.just(algorithm), st.sampled_from([None, der.null()])),
        st.binary(min_size=SIZES[algorithm], max_size=SIZES[algorithm]),
        st.binary(min_size=SIZES[algorithm], max_size=SIZES[algorithm]),
        st.integers(-(2**159), 2**159 - 1),
    )
)


# ---- the issuer part


@pytest.mark.parametrize(
    "algorithm",
    [hashes.SHA1(), hashes.SHA256()],  # noqa: S303 - what clients send
    ids=lambda algorithm: algorithm.name,
)
def test_issuer_parts_are_what_clients_send(algorithm: hashes.SHA1 | hashes.SHA256) -> None:
    request = OCSPRequestBuilder().add_certificate(END_ENTITY, ISSUER, algorithm).build()
    found = scan(request.public_bytes(Encoding.DER))
    assert found is not None
    assert found[0] in PARTS
    assert int.from_bytes(found[1], "big") == END_ENTITY.serial_number


@pytest.mark.parametrize("name", ["openssl_sha1", "rfc9919_examples_request", "rfc5754_2_parameters_absent"])
def test_issuer_parts_of_the_examples(name: str) -> None:
    found = scan(vector(name))
    assert found is not None
    assert found[0] in PARTS
    assert found[1] == bytes.fromhex("01aaf00d")


def test_four_issuer_parts() -> None:
    assert len(set(PARTS)) == 4
    assert len(set(issuer_parts(b"", b"") + PARTS)) == 8


# ---- the scan


@given(CERT_IDS)
def test_plain_requests_are_scanned(cert_id: CertID) -> None:
    assert scan(plain(cert_id)) == table_key(cert_id)


@pytest.mark.parametrize(
    "cert_id",
    [
        pytest.param(CertID(AlgorithmIdentifier(oid.SHA384), bytes(48), bytes(48), 1), id="SHA-384"),
        pytest.param(CertID(AlgorithmIdentifier(oid.SHA1), bytes(32), bytes(20), 1), id="name hash of 32"),
        pytest.param(CertID(AlgorithmIdentifier(oid.SHA1), bytes(20), bytes(32), 1), id="key hash of 32"),
        pytest.param(CertID(AlgorithmIdentifier(oid.SHA1), bytes(20), bytes(20), 2**159), id="serial of 21"),
    ],
)
def test_unusual_requests_go_to_the_parser(cert_id: CertID) -> None:
    assert scan(plain(cert_id)) is None
    assert parse_request(plain(cert_id)).tbs_request.request_list[0].req_cert == cert_id


def test_only_the_plain_vectors_are_scanned() -> None:
    scanned = {path.stem for path in VECTORS.glob("*.der") if scan(path.read_bytes()) is not None}
    assert scanned == {
        "openssl_sha1",
        "rfc9919_examples_request",
        "rfc5754_2_parameters_absent",
        "rfc5280_4_1_2_2_serial_negative",
    }


def agrees(encoded: bytes) -> bool:
    """Assert that the scan finds nothing, or what the parser finds; only our errors escape."""
    found = scan(encoded)
    try:
        request = parse_request(encoded)
    except ProtocolError:
        assert found is None
        return False
    if found is not None:
        [single] = request.tbs_request.request_list
        assert request == OCSPRequest(TBSRequest((Request(single.req_cert),)))
        assert table_key(single.req_cert) == found
    return found is not None


@given(CERT_IDS, st.lists(st.tuples(st.integers(0, 130), st.binary(max_size=2)), min_size=1, max_size=4))
def test_mutated_plain_requests(cert_id: CertID, edits: list[tuple[int, bytes]]) -> None:
    encoded = plain(cert_id)
    for position, octets in edits:
        encoded = encoded[:position] + octets + encoded[position + 1 :]
    agrees(encoded)


@given(st.sampled_from(SEEDS), st.integers(0, 600), st.binary(max_size=3), st.integers(0, 3))
def test_mutated_vectors(seed: bytes, position: int, octets: bytes, removed: int) -> None:
    agrees(seed[:position] + octets + seed[position + removed :])


@given(st.binary(max_size=300))
@example(b"")
@example(b"\x30")
def test_garbage(encoded: bytes) -> None:
    agrees(encoded)


@pytest.mark.parametrize("name", ["openssl_sha1", "rfc9919_examples_request"])
def test_every_change_of_one_octet_and_every_cut(name: str) -> None:
    encoded = vector(name)
    assert agrees(encoded)
    structural = range(21)  # up to the first hash
    for position in range(len(encoded)):
        for value in {encoded[position] ^ mask for mask in (0x01, 0x02, 0x7F, 0x80, 0xFF)}:
            changed = encoded[:position] + bytes((value,)) + encoded[position + 1 :]
            if agrees(changed):
                assert position not in structural
        assert not agrees(encoded[:position])
        assert not agrees(encoded[:position] + encoded[position + 1 :])
    assert not agrees(encoded + b"\0")


def mutated(random: Random, seed: bytes) -> bytes:
    """Change, remove, insert, repeat or lengthen: what breaks a scan that trusts lengths."""
    encoded = bytearray(seed)
    for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
        position = random.randrange(len(encoded) + 1)
        match random.randrange(6):
            case 0:
                encoded[position : position + 1] = bytes((random.randrange(256),))
            case 1:
                del encoded[position : position + random.randrange(1, 4)]
            case 2:
                encoded[position:position] = random.randbytes(random.randrange(1, 4))
            case 3:
                encoded[position:position] = encoded[position : position + random.randrange(1, 24)]
            case 4:  # a length, and the content with it
                longer = random.randrange(-3, 4)
                for index in range(1, 2 * random.randrange(1, 6), 2):
                    if index < len(encoded):
                        encoded[index] = (encoded[index] + longer) % 256
                encoded += random.randbytes(max(longer, 0))
            case 5:
                encoded[position : position + 2] = random.choice(
                    (b"\x30\x80", b"\x05\x00", b"\x30\x81", b"\x02\x14")
                )
    return bytes(encoded)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(8))
def test_deep_fuzz_of_the_scan_against_the_parser(seed: int) -> None:
    """A quarter of a million mutants a case; the seed of the case makes them the same again."""
    random = Random(seed)
    seeds = [encoded for encoded in SEEDS if len(encoded) < 700]
    plain_ones = [encoded for encoded in seeds if scan(encoded) is not None]
    accepted = 0
    for number in range(250_000):
        encoded = mutated(random, random.choice(plain_ones if number % 8 else seeds))
        if scan(encoded) is not None or not number % 16:
            accepted += agrees(encoded)
    assert accepted > 1000  # the mutants are not all nonsense


# ---- the parser's bounds


def test_bounds_are_bounds() -> None:
    one = Request(CertID(AlgorithmIdentifier(oid.SHA1), bytes(20), bytes(20), 1))

    def extensions(count: int) -> tuple[Extension, ...]:
        return tuple(Extension(f"1.3.6.1.4.1.99999.{number}", False, b"") for number in range(count))

    limit = ocsp_request.MAX_REQUEST_EXTENSIONS
    assert parse_request(OCSPRequest(TBSRequest((one,), extensions(limit))).encode())
    with pytest.raises(TooLargeError):
        parse_request(OCSPRequest(TBSRequest((one,), extensions(limit + 1))).encode())
    with pytest.raises(TooLargeError):
        parse_request(bytes(ocsp_request.MAX_REQUEST_BYTES + 1))
    padding = Extension("1.3.6.1.4.1.99999.1", False, bytes(3999))
    largest = OCSPRequest(TBSRequest((one,), (padding,))).encode()
    assert len(largest) == ocsp_request.MAX_REQUEST_BYTES
    assert parse_request(largest).encode() == largest


def test_nonce() -> None:
    encoded = vector("openssl_sha1_nonce")
    assert nonce(parse_request(encoded)) == encoded[-16:]
    assert nonce(parse_request(vector("openssl_sha1"))) is None


def test_a_critical_nonce_may_go_unanswered() -> None:
    extension = Extension(oid.OCSP_NONCE, True, der.octet_string(b"12345678"))
    request = OCSPRequest(
        TBSRequest(parse_request(vector("openssl_sha1")).tbs_request.request_list, (extension,))
    )
    assert nonce(parse_request(request.encode())) == b"12345678"


def test_a_critical_extension_is_malformed_on_the_wire() -> None:
    with pytest.raises(CriticalExtensionError) as caught:
        parse_request(vector("rfc6960_4_1_2_unknown_critical_extension"))
    assert caught.value.kind.value == "malformed"
