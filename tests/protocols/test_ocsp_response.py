"""`protocols.ocsp.response`: templates against the types, whole responses before foreign readers."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPCertStatus, load_der_ocsp_response
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.ocsp import (
    BasicOCSPResponse,
    ByKey,
    CertStatus,
    CRLReason,
    Good,
    OCSPResponse,
    OCSPResponseStatus,
    ResponseData,
    RevokedInfo,
    Unknown,
    archive_cutoff,
    whole,
)
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.ocsp.request import DEFAULT_HASHES, issuer_parts, parse_request, scan, table_key
from protocols.ocsp.response import ResponseTemplate, ResponseWrapper, encode_response, error_response

ECDSA_SHA256 = AlgorithmIdentifier(oid.ECDSA_WITH_SHA256)
START = datetime(2026, 11, 21, 22, 0, 0, tzinfo=UTC)
NAME = der.sequence(der.set_of([der.sequence(der.oid(oid.COMMON_NAME), der.utf8_string("Иргэний CA"))]))
KEY_BITS = b"\x04" + bytes(range(96))
TEMPLATE = ResponseTemplate(bytes(range(20)), NAME, KEY_BITS)

SERIALS = st.integers(0, 2**159 - 1)
MOMENTS = st.integers(0, 2**33).map(
    lambda seconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
REASONS = [reason for reason in CRLReason if reason not in (CRLReason.UNSPECIFIED, CRLReason.REMOVE_FROM_CRL)]
STATUSES = st.one_of(
    st.just(Good()), st.just(Unknown()), st.builds(RevokedInfo, MOMENTS, st.sampled_from([None, *REASONS]))
)


@given(
    SERIALS,
    STATUSES,
    MOMENTS,
    MOMENTS,
    st.timedeltas(timedelta(seconds=1), timedelta(days=30)),
    st.none() | MOMENTS,
)
def test_response_data_is_what_the_types_read(
    serial: int,
    status: CertStatus,
    produced_at: datetime,
    this_update: datetime,
    validity: timedelta,
    cutoff: datetime | None,
) -> None:
    next_update = this_update + timedelta(seconds=int(validity.total_seconds()))
    encoded = TEMPLATE.response_data(serial, status, produced_at, this_update, next_update, cutoff)
    data = whole(encoded, ResponseData.parse)
    assert data.encode() == encoded
    assert data.responder_id == ByKey(bytes(range(20)))
    assert data.produced_at == produced_at
    assert data.response_extensions == ()
    parts = issuer_parts(NAME, KEY_BITS)
    for response, part in zip(data.responses, (parts[0], parts[2]), strict=True):
        assert table_key(response.cert_id) == (part, der.integer_content(serial))
        assert response.cert_status == status
        assert (response.this_update, response.next_update) == (this_update, next_update)
        assert len(response.single_extensions) == (cutoff is not None)
        assert archive_cutoff(response) == cutoff


def test_the_two_hash_algorithms_in_order() -> None:
    data = whole(TEMPLATE.response_data(1, Good(), START, START, START + timedelta(1)), ResponseData.parse)
    algorithms = [response.cert_id.hash_algorithm for response in data.responses]
    assert algorithms == [
        AlgorithmIdentifier(oid.SHA1, der.null()),
        AlgorithmIdentifier(oid.SHA256, der.null()),
    ]


def test_unspecified_is_left_out() -> None:
    times = (START, START, START + timedelta(1))
    with_reason = TEMPLATE.response_data(1, RevokedInfo(START, CRLReason.UNSPECIFIED), *times)
    assert with_reason == TEMPLATE.response_data(1, RevokedInfo(START), *times)


def test_what_no_response_may_say() -> None:
    with pytest.raises(ValueError, match="nextUpdate"):
        TEMPLATE.response_data(1, Good(), START, START, START)
    with pytest.raises(ValueError, match="removeFromCRL"):
        TEMPLATE.response_data(
            1, RevokedInfo(START, CRLReason.REMOVE_FROM_CRL), START, START, START + timedelta(1)
        )
    with pytest.raises(ValueError, match="20 octets"):
        ResponseTemplate(bytes(32), NAME, KEY_BITS)


@given(
    SERIALS,
    st.binary(min_size=1, max_size=512),
    st.lists(
        st.binary(max_size=700).map(lambda content: der.sequence(der.octet_string(content))), max_size=3
    ),
)
def test_wrapping_is_encoding(serial: int, signature: bytes, certs: list[bytes]) -> None:
    data = TEMPLATE.response_data(serial, Good(), START, START, START + timedelta(1))
    basic = BasicOCSPResponse(data, ECDSA_SHA256, signature, tuple(certs))
    want = OCSPResponse(OCSPResponseStatus.SUCCESSFUL, basic).encode()
    wrapper = ResponseWrapper(ECDSA_SHA256.encode(), b"".join(certs))
    assert wrapper.wrap(data, signature) == want
    assert encode_response(data, signature, ECDSA_SHA256.encode(), b"".join(certs)) == want


@pytest.mark.parametrize(
    ("status", "encoded"),
    [
        (OCSPResponseStatus.MALFORMED_REQUEST, "30030a0101"),
        (OCSPResponseStatus.INTERNAL_ERROR, "30030a0102"),
        (OCSPResponseStatus.TRY_LATER, "30030a0103"),
        (OCSPResponseStatus.SIG_REQUIRED, "30030a0105"),
        (OCSPResponseStatus.UNAUTHORIZED, "30030a0106"),
    ],
)
def test_error_responses(status: OCSPResponseStatus, encoded: str) -> None:
    assert error_response(status).hex() == encoded


def test_successful_is_no_error() -> None:
    with pytest.raises(ValueError, match="successful"):
        error_response(OCSPResponseStatus.SUCCESSFUL)


# ---- before foreign readers


@dataclass(frozen=True)
class Authority:
    """A CA, its OCSP signer and one certificate, all of now."""

    ca: x509.Certificate
    responder: x509.Certificate
    end_entity: x509.Certificate
    responder_key: ec.EllipticCurvePrivateKey
    now: datetime

    def respond(
        self,
        status: CertStatus,
        serial: int | None = None,
        cutoff: datetime | None = None,
        hash_names: Sequence[str] = DEFAULT_HASHES,
    ) -> bytes:
        ca_key = x509.SubjectKeyIdentifier.from_public_key(self.responder.public_key()).digest
        template = ResponseTemplate(ca_key, self.ca.subject.public_bytes(), point(self.ca), hash_names)
        serial = self.end_entity.serial_number if serial is None else serial
        next_update = self.now + timedelta(hours=1)
        data = template.response_data(serial, status, self.now, self.now, next_update, cutoff)
        signature = self.responder_key.sign(data, ec.ECDSA(hashes.SHA256()))
        wrapper = ResponseWrapper(ECDSA_SHA256.encode(), self.responder.public_bytes(Encoding.DER))
        return wrapper.wrap(data, signature)


def point(certificate: x509.Certificate) -> bytes:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    numbers, size = key.public_numbers(), (key.key_size + 7) // 8
    return b"\x04" + numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")


@pytest.fixture(scope="module")
def authority() -> Authority:
    now = datetime.now(UTC).replace(microsecond=0)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("CA", "Responder", "End entity")}

    def issue(subject: str, *extensions: x509.ExtensionType) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA")]))
            .public_key(keys[subject].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, isinstance(extension, x509.BasicConstraints))
        return builder.sign(keys["CA"], hashes.SHA256())

    return Authority(
        issue("CA", x509.BasicConstraints(True, None)),
        issue("Responder", x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), x509.OCSPNoCheck()),
        issue("End entity"),
        keys["Responder"],
        now,
    )


@pytest.mark.parametrize(
    ("status", "want"),
    [
        pytest.param(Good(), OCSPCertStatus.GOOD, id="good"),
        pytest.param(RevokedInfo(START), OCSPCertStatus.REVOKED, id="revoked"),
        pytest.param(RevokedInfo(START, CRLReason.CERTIFICATE_HOLD), OCSPCertStatus.REVOKED, id="hold"),
        pytest.param(Unknown(), OCSPCertStatus.UNKNOWN, id="unknown"),
    ],
)
def test_cryptography_reads_it(authority: Authority, status: CertStatus, want: OCSPCertStatus) -> None:
    response = load_der_ocsp_response(authority.respond(status))
    singles = list(response.responses)
    assert [single.hash_algorithm.name for single in singles] == ["sha1", "sha256"]
    assert {single.certificate_status for single in singles} == {want}
    assert {single.serial_number for single in singles} == {authority.end_entity.serial_number}
    if isinstance(status, RevokedInfo):
        assert singles[0].revocation_time_utc == status.revocation_time
        hold = x509.ReasonFlags.certificate_hold if status.revocation_reason else None
        assert singles[0].revocation_reason is hold
    assert response.produced_at_utc == authority.now
    assert response.certificates == [authority.responder]
    assert response.responder_key_hash is not None
    public_key = authority.responder.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    public_key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))


@pytest.fixture
def openssl(authority: Authority, tmp_path: Path) -> Callable[..., str]:
    """Runs `openssl ocsp` about the end entity, in a folder of its own."""
    for name, certificate in (("ca", authority.ca), ("ee", authority.end_entity)):
        (tmp_path / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))

    def run(*arguments: str) -> str:
        command = ["openssl", "ocsp", "-issuer", "ca.pem", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30)
        return done.stdout + done.stderr

    return run


HOLD = RevokedInfo(START, CRLReason.CERTIFICATE_HOLD)


@pytest.mark.interop
@pytest.mark.parametrize("algorithm", ["-sha1", "-sha256"])
@pytest.mark.parametrize(
    ("status", "says"),
    [
        pytest.param(Good(), ["ee.pem: good"], id="good"),
        pytest.param(HOLD, ["ee.pem: revoked", "Reason: certificateHold"], id="hold"),
        pytest.param(Unknown(), ["ee.pem: unknown"], id="unknown"),
    ],
)
def test_openssl_accepts_it(
    authority: Authority,
    openssl: Callable[..., str],
    tmp_path: Path,
    algorithm: str,
    status: CertStatus,
    says: list[str],
) -> None:
    (tmp_path / "response.der").write_bytes(authority.respond(status))
    got = openssl(algorithm, "-cert", "ee.pem", "-no_nonce", "-CAfile", "ca.pem", "-respin", "response.der")
    assert "Response verify OK" in got
    for words in says:
        assert words in got


@pytest.mark.parametrize("status", [Good(), HOLD], ids=["good", "hold"])
def test_cryptography_reads_the_archive_cutoff(authority: Authority, status: CertStatus) -> None:
    """It has no type of its own for it: what it gives are the identifier and the octets."""
    response = load_der_ocsp_response(authority.respond(status, cutoff=START, hash_names=["sha1"]))
    (extension,) = response.single_extensions
    assert extension.oid.dotted_string == oid.OCSP_ARCHIVE_CUTOFF
    assert not extension.critical
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    assert extension.value.value == der.generalized_time(START)


@pytest.mark.interop
@pytest.mark.parametrize("status", [Good(), HOLD], ids=["good", "hold"])
def test_openssl_reads_the_archive_cutoff(
    authority: Authority, openssl: Callable[..., str], tmp_path: Path, status: CertStatus
) -> None:
    (tmp_path / "response.der").write_bytes(authority.respond(status, cutoff=START))
    got = openssl(
        "-cert", "ee.pem", "-no_nonce", "-CAfile", "ca.pem", "-respin", "response.der", "-resp_text"
    )
    assert "Response verify OK" in got
    assert got.count("OCSP Archive Cutoff: \n                Nov 21 22:00:00 2026 GMT") == 2


@pytest.mark.interop
def test_openssl_refuses_an_answer_about_another(
    authority: Authority, openssl: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "response.der").write_bytes(authority.respond(Good(), serial=1))
    got = openssl("-cert", "ee.pem", "-no_nonce", "-CAfile", "ca.pem", "-respin", "response.der")
    assert "ee.pem: ERROR: No Status found." in got


@pytest.mark.interop
@pytest.mark.parametrize("algorithm", ["-sha1", "-sha256"])
@pytest.mark.parametrize("nonce", [(), ("-no_nonce",)], ids=["nonce", "no nonce"])
def test_openssl_asks_for_an_issuer_part_we_have(
    authority: Authority, openssl: Callable[..., str], tmp_path: Path, algorithm: str, nonce: tuple[str, ...]
) -> None:
    openssl(algorithm, "-cert", "ee.pem", *nonce, "-reqout", "request.der")
    request = (tmp_path / "request.der").read_bytes()
    [single] = parse_request(request).tbs_request.request_list
    key = table_key(single.req_cert)
    assert key[0] in issuer_parts(authority.ca.subject.public_bytes(), point(authority.ca))
    assert key[1] == der.integer_content(authority.end_entity.serial_number)
    assert scan(request) == (key if nonce else None)


@pytest.mark.interop
@pytest.mark.parametrize("cutoff", [None, START], ids=["as it is", "archiveCutoff"])
@pytest.mark.parametrize("status", [Good(), HOLD], ids=["good", "hold"])
def test_pkilint_finds_nothing(
    authority: Authority, tmp_path: Path, status: CertStatus, cutoff: datetime | None
) -> None:
    path = tmp_path / "response.der"
    path.write_bytes(authority.respond(status, cutoff=cutoff))
    command = [sys.executable, "-m", "pkilint.bin.lint_ocsp_response", "lint", "-s", "NOTICE", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
