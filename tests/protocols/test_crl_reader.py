"""Whole CRLs read back: what OpenSSL and our own encoders build, what cryptography reads, what is refused."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import Extension
from protocols.crl import NO_FURTHER_UPDATE, RevokedEntry, assemble_crl, build_tbs_cert_list, revoked_entry
from protocols.crl_extensions import (
    CRLExtensions,
    IssuingDistributionPoint,
    delta_crl_indicator,
    expired_certs_on_crl,
    freshest_crl,
    issuing_distribution_point,
)
from protocols.crl_reader import MAX_CRL_OCTETS, V2, CRLTimes, TBSCertList, crl_times, parse_crl
from protocols.errors import MalformedError, ProtocolError, TooLargeError
from protocols.x509.names import parse_subject

VECTORS = Path(__file__).parent.parent / "vectors" / "crl"
ALGORITHM = der.sequence(der.oid(oid.ECDSA_WITH_SHA256))
ISSUER = parse_subject("CN=Жишээ CA,C=MN").public_bytes()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
IDENTIFIER = bytes(range(20))
URL = "http://pki.example.mn/crl/citizen-7.crl"
DELTA_URL = "http://pki.example.mn/crl/citizen-7.delta.crl"
SIGNATURE = b"\x30\x06\x02\x01\x01\x02\x01\x01"
PLAIN = CRLExtensions(IDENTIFIER, 7, None, None, (), None)


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.der").read_bytes()


def build(
    *entries: bytes, extensions: Sequence[bytes] = (), number: int = 7, next_update: datetime = NOW + DAY
) -> bytes:
    tbs = build_tbs_cert_list(ALGORITHM, ISSUER, NOW, next_update, entries, IDENTIFIER, number, extensions)
    return assemble_crl(tbs, ALGORITHM, SIGNATURE)


# ---- both ways


KINDS = [
    ("full", [], PLAIN),
    ("full_with_freshest", [freshest_crl([DELTA_URL])], replace(PLAIN, freshest_crl=(DELTA_URL,))),
    (
        "shard",
        [issuing_distribution_point(URL)],
        replace(PLAIN, issuing_distribution_point=IssuingDistributionPoint((URL,))),
    ),
    (
        "delta_of_a_shard",
        [delta_crl_indicator(5), issuing_distribution_point(URL)],
        replace(PLAIN, base_crl_number=5, issuing_distribution_point=IssuingDistributionPoint((URL,))),
    ),
    ("kept_expired", [expired_certs_on_crl(NOW - DAY)], replace(PLAIN, expired_certs_on_crl=NOW - DAY)),
]


@pytest.mark.parametrize(("kind", "extensions", "says"), KINDS, ids=[row[0] for row in KINDS])
def test_every_kind_of_crl_both_ways(kind: str, extensions: list[bytes], says: CRLExtensions) -> None:
    entries = [RevokedEntry(5, NOW - DAY, 6), RevokedEntry(9, NOW, None, NOW - DAY), RevokedEntry(12, NOW, 8)]
    encoded = build(
        *(revoked_entry(e.serial, e.revocation_date, e.reason, e.invalidity_date) for e in entries),
        extensions=extensions,
    )

    crl = parse_crl(encoded)

    tbs = crl.tbs_cert_list
    assert crl.extensions == says
    assert list(crl.entries()) == entries
    assert (tbs.version, tbs.signature, tbs.issuer) == (V2, ALGORITHM, ISSUER)
    assert (tbs.this_update, tbs.next_update) == (NOW, NOW + DAY)
    assert (crl.signature_algorithm, crl.signature) == (ALGORITHM, SIGNATURE)
    assert assemble_crl(tbs.encoded, crl.signature_algorithm, crl.signature) == encoded
    assert TBSCertList.parse(tbs.encoded).extensions == tbs.extensions
    assert list(TBSCertList.parse(tbs.encoded).entries()) == entries


def test_en319411_last_crl_both_ways() -> None:
    crl = build(next_update=NO_FURTHER_UPDATE)

    assert b"99991231235959Z" in crl
    assert parse_crl(crl).tbs_cert_list.next_update == NO_FURTHER_UPDATE


HELD = [
    RevokedEntry(10, datetime(2025, 1, 1, tzinfo=UTC), 1),
    RevokedEntry(16, datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC), 6),
]
OPENSSL: dict[str, tuple[CRLExtensions, list[bytes], list[RevokedEntry]]] = {
    "openssl_full": (
        replace(PLAIN, crl_number=256),
        [],
        [
            RevokedEntry(10, datetime(2025, 1, 1, tzinfo=UTC), 1),
            RevokedEntry(
                11, datetime(2025, 1, 4, tzinfo=UTC), 1, datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC)
            ),
            RevokedEntry(255, datetime(2025, 1, 3, tzinfo=UTC)),
            RevokedEntry(0x7F << 120 | 1, datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC), 6),
        ],
    ),
    "openssl_empty": (replace(PLAIN, crl_number=0), [], []),
    "openssl_delta": (
        replace(PLAIN, crl_number=256, base_crl_number=255),
        [delta_crl_indicator(255)],
        [
            RevokedEntry(10, datetime(2025, 1, 1, tzinfo=UTC), 8),
            RevokedEntry(255, datetime(2025, 1, 4, tzinfo=UTC)),
        ],
    ),
    "openssl_shard": (
        replace(
            PLAIN,
            crl_number=257,
            issuing_distribution_point=IssuingDistributionPoint((URL,)),
            freshest_crl=(DELTA_URL,),
        ),
        [issuing_distribution_point(URL), freshest_crl([DELTA_URL])],
        HELD,
    ),
    "openssl_last": (
        replace(PLAIN, crl_number=258, expired_certs_on_crl=datetime(2016, 7, 1, tzinfo=UTC)),
        [expired_certs_on_crl(datetime(2016, 7, 1, tzinfo=UTC))],
        HELD,
    ),
}


@pytest.mark.parametrize("name", OPENSSL)
def test_what_openssl_builds_both_ways(name: str) -> None:
    says, extensions, entries = OPENSSL[name]
    theirs = x509.load_der_x509_crl(vector(name))

    crl = parse_crl(vector(name))

    tbs, identifier = crl.tbs_cert_list, crl.extensions.authority_key_identifier
    assert replace(crl.extensions, authority_key_identifier=IDENTIFIER) == says
    assert list(crl.entries()) == entries
    assert tbs.encoded == theirs.tbs_certlist_bytes
    assert crl.signature == theirs.signature
    assert tbs.next_update is not None
    assert identifier is not None
    assert crl_times(vector(name)) == CRLTimes(theirs.last_update_utc, tbs.next_update, says.crl_number)
    built = build_tbs_cert_list(
        ALGORITHM,
        theirs.issuer.public_bytes(),
        theirs.last_update_utc,
        tbs.next_update,
        [revoked_entry(e.serial, e.revocation_date, e.reason, e.invalidity_date) for e in entries],
        identifier,
        says.crl_number or 0,
        extensions,
    )
    assert assemble_crl(built, ALGORITHM, theirs.signature) == vector(name)


@pytest.mark.parametrize("name", ["openssl_delta", "openssl_shard", "openssl_last"])
def test_the_issuer_of_the_vectors_signed_them(name: str) -> None:
    issuer = x509.load_der_x509_certificate(vector("openssl_delta_issuer"))
    public_key = issuer.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    assert x509.load_der_x509_crl(vector(name)).is_signature_valid(public_key)


def test_rfc5280_5_1_2_1_version_1_says_less() -> None:
    """Without extensions, here without nextUpdate too (RFC 5280 §5.1.2.5)."""
    v1 = der.sequence(ALGORITHM, ISSUER, der.time(NOW), der.sequence(revoked_entry(1, NOW)))

    crl = parse_crl(wrapped(v1))

    assert (crl.tbs_cert_list.version, crl.tbs_cert_list.next_update) == (None, None)
    assert crl.extensions == CRLExtensions(None, None, None, None, (), None)
    assert crl_times(wrapped(v1)) == CRLTimes(NOW, None, None)


MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 - hypothesis asks for naive bounds
    lambda moment: moment.replace(microsecond=0)
)
NUMBERS = st.integers(0, 2**159 - 1)
URLS = st.from_regex(r"http://[a-z]{1,9}\.mn/[a-z0-9]{0,99}", fullmatch=True)


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            RevokedEntry,
            st.integers(1, 2**159 - 1),
            MOMENTS,
            st.none() | st.sampled_from([1, 2, 3, 4, 5, 6, 8, 9, 10]),
            st.none() | MOMENTS,
        ),
        max_size=9,
    ),
    NUMBERS,
    st.none() | NUMBERS,
    st.none() | URLS,
    st.lists(URLS, max_size=3),
    st.none() | MOMENTS,
)
def test_any_crl_comes_back_and_cryptography_reads_the_same(
    entries: list[RevokedEntry],
    number: int,
    base: int | None,
    url: str | None,
    freshest: list[str],
    since: datetime | None,
) -> None:
    extensions = [
        *([] if base is None else [delta_crl_indicator(base)]),
        *([] if url is None else [issuing_distribution_point(url)]),
        *([freshest_crl(freshest)] if freshest else []),
        *([] if since is None else [expired_certs_on_crl(since)]),
    ]
    encoded = build(
        *(revoked_entry(e.serial, e.revocation_date, e.reason, e.invalidity_date) for e in entries),
        extensions=extensions,
        number=number,
    )

    crl, theirs = parse_crl(encoded), x509.load_der_x509_crl(encoded)

    point = None if url is None else IssuingDistributionPoint((url,))
    assert crl.extensions == CRLExtensions(IDENTIFIER, number, base, point, tuple(freshest), since)
    assert list(crl.entries()) == entries
    assert [found.serial_number for found in theirs] == [entry.serial for entry in entries]
    assert [found.revocation_date_utc for found in theirs] == [entry.revocation_date for entry in entries]
    assert theirs.tbs_certlist_bytes == crl.tbs_cert_list.encoded
    assert [(found.oid.dotted_string, found.critical) for found in theirs.extensions] == [
        (found.oid, found.critical) for found in crl.tbs_cert_list.extensions
    ]
    if base is not None:
        assert theirs.extensions.get_extension_for_class(x509.DeltaCRLIndicator).value.crl_number == base


# ---- what is refused


def wrapped(tbs: bytes, algorithm: bytes = ALGORITHM) -> bytes:
    return der.sequence(tbs, algorithm, der.bit_string(SIGNATURE))


def tbs_of(
    *after_times: bytes,
    version: bytes = der.integer(V2),
    times: bytes = der.time(NOW) + der.time(NOW + DAY),
) -> bytes:
    return der.sequence(version, ALGORITHM, ISSUER, times, *after_times)


def extensions_of(*extensions: bytes) -> bytes:
    return der.explicit(0, der.sequence(*extensions))


NUMBER = Extension(oid.CRL_NUMBER, False, der.integer(1)).encode()
PRIVATE = "1.3.6.1.4.1.32473.1"

REFUSED = [
    ("empty", b""),
    ("trailing", build() + b"\x00"),
    ("truncated", build()[:-1]),
    ("no_signature", der.sequence(tbs_of(), ALGORITHM)),
    ("more_than_a_signature", der.sequence(tbs_of(), ALGORITHM, der.bit_string(b"x"), der.null())),
    ("rfc5280_5_1_1_2_two_algorithms", wrapped(tbs_of(), der.sequence(der.oid(oid.ED25519)))),
    ("rfc5280_5_1_2_1_version_1_written_out", wrapped(tbs_of(version=der.integer(0)))),
    ("rfc5280_5_1_2_1_version_3", wrapped(tbs_of(version=der.integer(2)))),
    ("rfc5280_5_1_2_1_version_1_with_extensions", wrapped(tbs_of(extensions_of(NUMBER), version=b""))),
    ("rfc5280_5_1_2_4_no_this_update", wrapped(tbs_of(times=b""))),
    ("rfc5280_4_1_2_5_1_no_seconds", wrapped(tbs_of(times=der.encode(der.UTC_TIME, b"2601010000Z")))),
    ("rfc5280_5_1_2_6_empty_sequence", wrapped(tbs_of(der.sequence()))),
    ("rfc5280_5_1_2_7_no_extension", wrapped(tbs_of(extensions_of()))),
    ("rfc5280_5_2_twice", wrapped(tbs_of(extensions_of(NUMBER, NUMBER)))),
    ("rfc5280_5_2_unknown_critical", wrapped(tbs_of(extensions_of(Extension(PRIVATE, True, b"").encode())))),
    ("own_unknown", wrapped(tbs_of(extensions_of(Extension(PRIVATE, False, b"").encode())))),
    (
        "rfc5280_5_2_4_not_critical",
        wrapped(tbs_of(extensions_of(Extension(oid.DELTA_CRL_INDICATOR, False, der.integer(1)).encode()))),
    ),
    (
        "rfc5280_5_2_3_critical",
        wrapped(tbs_of(extensions_of(Extension(oid.CRL_NUMBER, True, der.integer(1)).encode()))),
    ),
    (
        "rfc5280_5_2_5_empty_sequence",
        wrapped(
            tbs_of(extensions_of(Extension(oid.ISSUING_DISTRIBUTION_POINT, True, der.sequence()).encode()))
        ),
    ),
    ("after_extensions", wrapped(tbs_of(extensions_of(NUMBER), der.null()))),
]


@pytest.mark.parametrize("crl", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_crl_that_breaks_a_rule_is_refused(crl: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_crl(crl)


def test_the_crl_that_those_were_made_of_is_read() -> None:
    assert parse_crl(wrapped(tbs_of(extensions_of(NUMBER)))).extensions.crl_number == 1


def test_an_entry_that_is_not_ours_is_refused_when_it_is_reached() -> None:
    entries = parse_crl(build(revoked_entry(1, NOW), der.sequence(der.integer(0)))).entries()

    assert next(entries) == RevokedEntry(1, NOW)
    with pytest.raises(MalformedError):
        next(entries)


def test_own_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_CRL_OCTETS >= 2 * 50_000_000
    crl = build()
    monkeypatch.setattr("protocols.crl_reader.MAX_CRL_OCTETS", len(crl) - 1)
    with pytest.raises(TooLargeError):
        parse_crl(crl)
    with pytest.raises(TooLargeError):
        TBSCertList.parse(crl)


def test_a_large_crl_is_neither_copied_nor_unfolded() -> None:
    entry = revoked_entry(1 << 120, NOW, 1)
    crl = build(entry * 100_000)

    tracemalloc.start()
    try:
        read = parse_crl(crl)
        count = sum(1 for _ in read.tbs_cert_list.raw_entries())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert count == 100_000
    assert peak < 100_000 < len(crl)


def test_a_list_is_built_with_its_entries_held_once_beside_it() -> None:
    entry = revoked_entry(1 << 120, NOW, 1)
    size = 100_000 * len(entry)

    tracemalloc.start()
    try:
        tbs = build_tbs_cert_list(
            ALGORITHM, ISSUER, NOW, NOW + DAY, (entry for _ in range(100_000)), IDENTIFIER, 1
        )
        built = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        assemble_crl(tbs, ALGORITHM, SIGNATURE)
        assembled = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert built < 2.3 * size  # a growing array takes an eighth more than it holds
    assert assembled < 2.1 * size


@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 400))
def test_only_our_errors_escape_from_what_is_no_crl(insert: bytes, low: int, high: int) -> None:
    encoded = vector("openssl_full")
    for damaged in (insert, encoded[:low] + insert + encoded[high:]):
        try:
            crl = parse_crl(damaged)
            list(crl.entries())
        except ProtocolError:
            continue
        assert assemble_crl(crl.tbs_cert_list.encoded, crl.signature_algorithm, crl.signature) == damaged
