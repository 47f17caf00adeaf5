"""Certificates taken apart and put together again, octet for octet."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import oid
from protocols.asn1 import der
from protocols.errors import MalformedError, ProtocolError, TooLargeError
from protocols.x509.certificate import (
    MAX_CERTIFICATE_BYTES,
    TBSCertificate,
    assemble_certificate,
    read_certificate,
    subject_public_key_bits,
)
from protocols.x509.names import parse_subject

VECTORS = Path(__file__).parent.parent / "vectors"
KEY = ec.derive_private_key(0x5280, ec.SECP256R1())
OPENSSL = (VECTORS / "crl" / "openssl_full_issuer.der").read_bytes()
OPENSSL_TBS = x509.load_der_x509_certificate(OPENSSL).tbs_certificate_bytes


def certificate(*, extended: bool = True) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(parse_subject("CN=Бат"))
        .issuer_name(parse_subject("CN=Жишээ CA,C=MN"))
        .serial_number(2**126 + 1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
        .public_key(KEY.public_key())
    )
    if extended:
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return builder.sign(KEY, hashes.SHA384())


@pytest.mark.parametrize(
    "encoded",
    [
        certificate().public_bytes(Encoding.DER),
        certificate(extended=False).public_bytes(Encoding.DER),
        OPENSSL,
    ],
    ids=["version 3", "without extensions", "openssl"],
)
def test_certificate_both_ways(encoded: bytes) -> None:
    independent = x509.load_der_x509_certificate(encoded)

    parsed = TBSCertificate.parse(independent.tbs_certificate_bytes)

    assert parsed.serial_number == independent.serial_number
    assert parsed.issuer_der == independent.issuer.public_bytes()
    assert parsed.subject_der == independent.subject.public_bytes()
    assert parsed.spki_der == independent.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    signed = (independent.tbs_certificate_bytes, parsed.signature_algorithm, independent.signature)
    assert assemble_certificate(*signed) == encoded


def test_key_bits_give_the_subject_key_identifier() -> None:
    independent = x509.load_der_x509_certificate(OPENSSL)
    hashed = hashes.Hash(hashes.SHA1())  # noqa: S303 - RFC 5280 §4.2.1.2 method (1)
    hashed.update(subject_public_key_bits(TBSCertificate.parse(OPENSSL_TBS).spki_der))

    identifier = independent.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert hashed.finalize() == identifier


def tbs(*, version: int | None = 2, tail: bytes = b"") -> bytes:
    return der.sequence(
        b"" if version is None else der.explicit(0, der.integer(version)),
        der.integer(1),
        der.sequence(der.oid(oid.ED25519)),
        der.sequence(),
        der.sequence(),
        der.sequence(),
        der.sequence(),
        tail,
    )


UNIQUE_IDS = der.encode(0x81, b"\x00") + der.encode(0x82, b"\x00")
EXTENSIONS = der.explicit(3, der.sequence())


@pytest.mark.parametrize(
    ("version", "tail"),
    [(None, b""), (1, b""), (1, UNIQUE_IDS), (2, b""), (2, UNIQUE_IDS), (2, UNIQUE_IDS + EXTENSIONS)],
)
def test_rfc5280_4_1_2_1_optional_parts_of_each_version(version: int | None, tail: bytes) -> None:
    assert TBSCertificate.parse(tbs(version=version, tail=tail)).serial_number == 1


@pytest.mark.parametrize(
    ("version", "tail"),
    [
        (None, UNIQUE_IDS),
        (None, EXTENSIONS),
        (1, EXTENSIONS),
        (0, b""),
        (3, b""),
        (2, der.null()),
        (2, EXTENSIONS * 2),
    ],
)
def test_rfc5280_4_1_2_1_other_parts_are_refused(version: int | None, tail: bytes) -> None:
    with pytest.raises(MalformedError):
        TBSCertificate.parse(tbs(version=version, tail=tail))


def test_rfc5280_4_1_1_2_algorithms_must_agree() -> None:
    other = der.sequence(der.oid(oid.ECDSA_WITH_SHA256))

    with pytest.raises(MalformedError, match="two different signature algorithms"):
        assemble_certificate(certificate().tbs_certificate_bytes, other, b"x")


def test_oversize_is_refused() -> None:
    with pytest.raises(TooLargeError):
        TBSCertificate.parse(bytes(MAX_CERTIFICATE_BYTES + 1))


@settings(deadline=None)
@given(st.integers(0, len(OPENSSL_TBS) - 1), st.integers(0, 4), st.binary(max_size=4))
def test_altered_certificate_raises_only_protocol_errors(at: int, cut: int, put: bytes) -> None:
    try:
        TBSCertificate.parse(OPENSSL_TBS[:at] + put + OPENSSL_TBS[at + cut :])
    except ProtocolError:
        return


def altered(*changes: tuple[bytes, bytes]) -> bytes:
    """Return a certificate with octets replaced, each of which must be there once."""
    usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = x509.CertificateBuilder(
        parse_subject("CN=Maker"), parse_subject("CN=Device"), KEY.public_key(), 0x1234
    )
    builder = builder.not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    encoded = (
        builder.add_extension(usage, critical=False).sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)
    )
    for old, new in changes:
        assert encoded.count(old) == 1
        encoded = encoded.replace(old, new)
    return encoded


def test_a_certificate_of_anybody_is_read() -> None:
    encoded = altered()
    assert read_certificate(encoded).public_bytes(Encoding.DER) == encoded


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ((b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"), "rfc5280_4_1_2_1_version"),
        ((b"\x02\x02\x12\x34", b"\x02\x02\x92\x34"), "rfc5280_4_1_2_2_negative_serial"),
        ((b"\x02\x02\x12\x34", b"\x02\x01\x00\x05"), "x690_trailing_octets"),
        ((b"\x0c\x05Maker", b"\x1c\x05Maker"), "rfc5280_4_1_2_4_issuer"),
        ((b"\x0c\x06Device", b"\x0c\x06\xff\xffvice"), "rfc5280_4_1_2_6_subject"),
        ((b"\x06\x03\x55\x1d\x25", b"\x06\x03\x55\x1d\x13"), "rfc5280_4_2_extension_twice"),
        ((b"260101000000Z", b"269901000000Z"), "rfc5280_4_1_2_5_validity"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_certificate_that_cannot_be_read_is_refused_as_ours(change: tuple[bytes, bytes], rule: str) -> None:
    """cryptography has exceptions of its own for some, and finds others only when a part is asked for."""
    with pytest.raises(MalformedError):
        read_certificate(altered(change))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 600), st.integers(0, 3), st.binary(max_size=4))
def test_any_altered_certificate_is_refused_or_read_whole(at: int, cut: int, put: bytes) -> None:
    original = altered()
    try:
        read = read_certificate(original[:at] + put + original[at + cut :])
    except ProtocolError:
        return
    for part in ("issuer", "subject", "extensions", "not_valid_before_utc", "not_valid_after_utc"):
        getattr(read, part)
