"""CRLs by concatenation: equal to OpenSSL's octets, and read by cryptography and asn1crypto."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from asn1crypto import crl as asn1crypto_crl
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import Extension
from protocols.crl import (
    REASONS,
    RevokedEntry,
    assemble_crl,
    build_tbs_cert_list,
    parse_entry,
    revoked_entry,
)
from protocols.errors import MalformedError, ProtocolError
from protocols.x509.names import parse_subject

VECTORS = Path(__file__).parent.parent / "vectors" / "crl"
KEY = ec.derive_private_key(0x5280, ec.SECP256R1())
ECDSA_SHA256 = der.sequence(der.oid(oid.ECDSA_WITH_SHA256))
ISSUER = parse_subject("CN=Жишээ CA,C=MN").public_bytes()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
KEY_IDENTIFIER = bytes(range(20))


def day(number: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2025, 1, number, hour, minute, second, tzinfo=UTC)


def build(*entries: bytes, crl_number: int = 1, **changes: object) -> bytes:
    arguments: dict[str, object] = {
        "signature_algorithm": ECDSA_SHA256,
        "issuer_der": ISSUER,
        "this_update": NOW,
        "next_update": NOW + DAY,
        "entries": entries,
        "authority_key_identifier": KEY_IDENTIFIER,
        "crl_number": crl_number,
    } | changes
    return build_tbs_cert_list(**arguments)  # type: ignore[arg-type]  # one row changes one argument


def signed(tbs: bytes) -> bytes:
    return assemble_crl(tbs, ECDSA_SHA256, KEY.sign(tbs, ec.ECDSA(hashes.SHA256())))


# ---- entries, both ways

ENTRIES = [
    ("rfc5280_5_1_2_6_plain", RevokedEntry(255, day(3)), "3013020200ff170d3235303130333030303030305a"),
    (
        "rfc5280_5_3_1_reason",
        RevokedEntry(10, day(1), 1),
        "302002010a170d3235303130313030303030305a300c300a0603551d1504030a0101",
    ),
    (
        "rfc5280_5_3_1_hold",
        RevokedEntry(0x7F << 120 | 1, day(2, 3, 4, 5), 6),
        "302f02107f000000000000000000000000000001170d3235303130323033303430355a300c300a0603551d1504030a0106",
    ),
    (
        "rfc5280_5_3_2_invalidity_date",
        RevokedEntry(11, day(4), 1, datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (
            "303a02010b170d3235303130343030303030305a3026300a0603551d1504030a01013018"
            "0603551d180411180f32303234313233313233353935395a"
        ),
    ),
    (
        "rfc5280_5_3_2_invalidity_date_alone",
        RevokedEntry(1, day(1), None, day(1)),
        "302e020101170d3235303130313030303030305a301a30180603551d180411180f32303235303130313030303030305a",
    ),
    (
        "rfc5280_4_1_2_5_from_2050",
        RevokedEntry(1, datetime(2050, 1, 1, tzinfo=UTC)),
        "3014020101180f32303530303130313030303030305a",
    ),
    (
        "rfc5280_4_1_2_5_through_2049",
        RevokedEntry(1, datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        "3012020101170d3439313233313233353935395a",
    ),
    (
        "rfc5280_4_1_2_5_from_1950",
        RevokedEntry(1, datetime(1950, 1, 1, tzinfo=UTC)),
        "3012020101170d3530303130313030303030305a",
    ),
]


@pytest.mark.parametrize(("rule", "entry", "encoded"), ENTRIES, ids=[row[0] for row in ENTRIES])
def test_entry_both_ways(rule: str, entry: RevokedEntry, encoded: str) -> None:
    built = revoked_entry(entry.serial, entry.revocation_date, entry.reason, entry.invalidity_date)

    assert built.hex() == encoded
    assert parse_entry(bytes.fromhex(encoded)) == entry


def test_rfc5280_5_3_1_unspecified_is_left_out() -> None:
    assert revoked_entry(1, NOW, 0) == revoked_entry(1, NOW)


def test_other_zones_are_written_as_utc() -> None:
    assert revoked_entry(1, NOW.astimezone(timezone(timedelta(hours=8)))) == revoked_entry(1, NOW)


@pytest.mark.parametrize(
    ("serial", "revocation_date", "reason", "invalidity_date"),
    [
        (0, NOW, None, None),
        (-1, NOW, None, None),
        (1 << 159, NOW, None, None),
        (1, NOW, 7, None),
        (1, NOW, 11, None),
        (1, NOW, -1, None),
        (1, NOW.replace(tzinfo=None), None, None),
        (1, NOW, None, NOW.replace(tzinfo=None)),
    ],
    ids=[
        "rfc5280_4_1_2_2_zero",
        "rfc5280_4_1_2_2_negative",
        "rfc5280_4_1_2_2_over_20_octets",
        "rfc5280_5_3_1_reason_7",
        "rfc5280_5_3_1_reason_11",
        "rfc5280_5_3_1_reason_negative",
        "revocation_date_without_zone",
        "invalidity_date_without_zone",
    ],
)
def test_entry_that_breaks_a_rule_is_not_built(
    serial: int, revocation_date: datetime, reason: int | None, invalidity_date: datetime | None
) -> None:
    with pytest.raises(MalformedError):
        revoked_entry(serial, revocation_date, reason, invalidity_date)


def raw_entry(*extensions: bytes, serial: bytes = der.integer(1), moment: bytes | None = None) -> bytes:
    return der.sequence(
        serial, der.time(NOW) if moment is None else moment, der.sequence(*extensions) if extensions else b""
    )


def reason_extension(value: bytes, *, critical: bool = False) -> bytes:
    return Extension(oid.CRL_REASON, critical, value).encode()


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        raw_entry() + b"\x00",
        raw_entry(serial=der.integer(0)),
        raw_entry(reason_extension(der.enumerated(0))),
        raw_entry(reason_extension(der.enumerated(7))),
        raw_entry(reason_extension(der.enumerated(1) * 2)),
        raw_entry(reason_extension(der.integer(1))),
        raw_entry(reason_extension(der.enumerated(1), critical=True)),
        raw_entry(Extension(oid.CERTIFICATE_ISSUER, True, der.sequence()).encode()),
        raw_entry(moment=der.generalized_time(NOW)),
        raw_entry(moment=der.encode(der.UTC_TIME, b"2501010000Z")),
        raw_entry(moment=der.encode(der.UTC_TIME, b"250101000000+")),
        raw_entry(moment=der.encode(der.UTC_TIME, b"251301000000Z")),
    ],
    ids=[
        "empty",
        "trailing",
        "rfc5280_4_1_2_2_zero",
        "rfc5280_5_3_1_unspecified",
        "rfc5280_5_3_1_reason_7",
        "two_reasons",
        "reason_integer",
        "rfc5280_5_3_1_critical",
        "rfc5280_5_3_3_certificate_issuer",
        "rfc5280_4_1_2_5_generalized_before_2050",
        "rfc5280_4_1_2_5_1_no_seconds",
        "rfc5280_4_1_2_5_1_offset",
        "no_date",
    ],
)
def test_entry_that_is_not_ours_is_refused(entry: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_entry(entry)


MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 - hypothesis asks for naive bounds
    lambda moment: moment.replace(microsecond=0)
)


@given(
    st.integers(1, 2**159 - 1),
    MOMENTS,
    st.none() | st.sampled_from(sorted(REASONS - {0})),
    st.none() | MOMENTS,
)
def test_any_entry_comes_back(
    serial: int, revocation_date: datetime, reason: int | None, invalidity_date: datetime | None
) -> None:
    entry = revoked_entry(serial, revocation_date, reason, invalidity_date)

    assert parse_entry(entry) == RevokedEntry(serial, revocation_date, reason, invalidity_date)


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 3), st.binary(max_size=3))
def test_any_octets_as_entry_raise_only_protocol_errors(octets: bytes, at: int, cut: int, put: bytes) -> None:
    entry = bytes.fromhex(ENTRIES[3][2])
    for candidate in (octets, entry[:at] + put + entry[at + cut :]):
        try:
            parsed = parse_entry(candidate)
        except ProtocolError:
            continue
        assert (
            revoked_entry(parsed.serial, parsed.revocation_date, parsed.reason, parsed.invalidity_date)
            == candidate
        )


# ---- lists


def openssl_parts(name: str) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Return TBS, whole CRL, signature, issuer's name and key identifier of a CRL that OpenSSL made."""
    encoded = (VECTORS / f"{name}.der").read_bytes()
    issuer_der = (VECTORS / "openssl_full_issuer.der").read_bytes()
    loaded = x509.load_der_x509_crl(encoded)
    issuer = x509.load_der_x509_certificate(issuer_der)
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    return (
        loaded.tbs_certlist_bytes,
        encoded,
        loaded.signature,
        issuer.subject.public_bytes(),
        identifier,
    )


def test_full_crl_is_the_one_openssl_builds() -> None:
    tbs, encoded, signature, issuer, identifier = openssl_parts("openssl_full")
    entries = [
        revoked_entry(10, day(1), 1),
        revoked_entry(11, day(4), 1, datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC)),
        revoked_entry(255, day(3)),
        revoked_entry(0x7F << 120 | 1, day(2, 3, 4, 5), 6),
    ]

    built = build_tbs_cert_list(ECDSA_SHA256, issuer, NOW, NOW + DAY, entries, identifier, 256)

    assert built.hex() == tbs.hex()
    assert assemble_crl(built, ECDSA_SHA256, signature) == encoded


def test_rfc5280_5_1_2_6_empty_crl_is_the_one_openssl_builds() -> None:
    tbs, encoded, signature, issuer, identifier = openssl_parts("openssl_empty")
    this_update, next_update = datetime(2049, 1, 1, tzinfo=UTC), datetime(2051, 1, 2, tzinfo=UTC)

    built = build_tbs_cert_list(ECDSA_SHA256, issuer, this_update, next_update, b"", identifier, 0)

    assert built.hex() == tbs.hex()
    assert assemble_crl(built, ECDSA_SHA256, signature) == encoded


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 2**159 - 1), st.none() | st.sampled_from([1, 3, 4, 5, 6, 9])), max_size=20
    ),
    st.integers(0, 2**159 - 1),
)
def test_cryptography_reads_the_same(revoked: list[tuple[int, int | None]], crl_number: int) -> None:
    entries = [revoked_entry(serial, NOW, reason) for serial, reason in revoked]

    loaded = x509.load_der_x509_crl(signed(build(*entries, crl_number=crl_number)))

    assert loaded.is_signature_valid(KEY.public_key())
    assert loaded.issuer == parse_subject("CN=Жишээ CA,C=MN")
    assert (loaded.last_update_utc, loaded.next_update_utc) == (NOW, NOW + DAY)
    assert [entry.serial_number for entry in loaded] == [serial for serial, _ in revoked]
    assert loaded.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == crl_number
    identifier = loaded.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert identifier.key_identifier == KEY_IDENTIFIER


def test_asn1crypto_reads_the_same() -> None:
    encoded = signed(build(revoked_entry(5, day(1), 6), revoked_entry(6, day(2), None, day(1)), crl_number=7))

    loaded = asn1crypto_crl.CertificateList.load(encoded, strict=True)

    assert loaded.dump(force=True) == encoded
    assert loaded["tbs_cert_list"]["version"].native == "v2"
    assert loaded.crl_number_value.native == 7
    assert loaded.authority_key_identifier == KEY_IDENTIFIER
    hold, invalid = loaded["tbs_cert_list"]["revoked_certificates"]
    assert hold.crl_reason_value.native == "certificate_hold"
    assert invalid.invalidity_date_value.native == day(1)


def test_entries_may_come_joined_or_in_pieces() -> None:
    first, second, third = (revoked_entry(serial, NOW) for serial in (1, 2, 3))
    want = build(first, second, third)

    assert build(entries=first + second + third) == want
    assert build(entries=iter([first + second, third])) == want


def test_rfc5280_5_2_further_extensions_are_put_last() -> None:
    indicator = Extension(oid.DELTA_CRL_INDICATOR, True, der.integer(1)).encode()

    loaded = x509.load_der_x509_crl(signed(build(extensions=[indicator], crl_number=2)))

    assert loaded.extensions[2].critical
    assert loaded.extensions.get_extension_for_class(x509.DeltaCRLIndicator).value.crl_number == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"crl_number": -1},
        {"crl_number": 1 << 159},
        {"next_update": NOW},
        {"next_update": NOW - DAY},
        {"this_update": NOW.replace(tzinfo=None)},
        {"next_update": NOW.replace(tzinfo=None)},
    ],
    ids=[
        "rfc5280_5_2_3_negative",
        "rfc5280_5_2_3_over_20_octets",
        "rfc5280_5_1_2_5_same_time",
        "rfc5280_5_1_2_5_before",
        "this_update_without_zone",
        "next_update_without_zone",
    ],
)
def test_list_that_breaks_a_rule_is_not_built(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        build(**changes)  # type: ignore[arg-type]  # one row changes one argument


def test_rfc5280_5_2_3_longest_number_has_20_octets() -> None:
    assert der.encode(der.INTEGER, b"\x7f" + b"\xff" * 19) in build(crl_number=(1 << 159) - 1)


def test_rfc5280_5_1_1_2_algorithms_must_agree() -> None:
    with pytest.raises(MalformedError, match="two different signature algorithms"):
        assemble_crl(build(), der.sequence(der.oid(oid.ED25519)), b"x")
